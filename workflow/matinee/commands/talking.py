"""Commands that keep a model at hand: the server, the chat, the agents compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from matinee.commands.options import Output

app = typer.Typer()

Template = Annotated[
    Optional[str],  # noqa: UP045 (typer reads it)
    typer.Option(help="Form of the prompts; needed where the folder has none of ours."),
]
Batch = Annotated[int, typer.Option(min=1, help="Answers that grow side by side.")]
Context = Annotated[int, typer.Option(min=64, help="Most tokens of prompt and answer together.")]
Host = Annotated[str, typer.Option(help="Address to listen on; 127.0.0.1 is this machine only.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")]


@app.command("serve")
def serve(
    model: Path,
    template: Template = None,
    constrained: Annotated[
        bool, typer.Option("--constrained", help="Calls that break the tools' schemas can't occur.")
    ] = False,
    name: Annotated[
        Optional[str],  # noqa: UP045 (typer reads it)
        typer.Option(help="What clients call the model. Default: VARIANT-sSEED."),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    batch_size: Batch = 8,
    context: Context = 8192,
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of one answer.")] = 1024,
    max_body: Annotated[int, typer.Option(min=1, help="Most bytes of one request.")] = 2**20,
    max_open: Annotated[int, typer.Option(min=1, help="Most requests under way.")] = 64,
    timeout: Annotated[float, typer.Option(min=0.1, help="Most seconds of one answer.")] = 300.0,
    api_key_env: Annotated[
        str, typer.Option(help="Variable that holds the key; unset, none is asked for.")
    ] = "MATINEE_API_KEY",
) -> None:
    """Serve a model with OpenAI's chat completions until it is stopped."""
    _need("uvicorn", "requirements-serve.txt")
    from matinee.apps.serving import running
    from matinee.apps.serving.app import Limits
    from matinee.apps.serving.loading import Loading

    running.serve(
        model,
        Loading(template, batch_size=batch_size, context=context, constrained=constrained),
        Limits(body=max_body, answer=max_tokens, seconds=timeout, open=max_open),
        host=host,
        port=port,
        name=name,
        key_env=api_key_env,
    )


@app.command("chat")
def chat(
    model: Path,
    untuned: Annotated[
        Optional[Path],  # noqa: UP045 (typer reads it)
        typer.Option(help="The start model's folder, to compare with."),
    ] = None,
    page: Annotated[bool, typer.Option("--page", help="A page for the browser.")] = False,
    template: Template = None,
    planner: Annotated[str, typer.Option(help="direct, react, plan or sop (terminal).")] = "react",
    language: Annotated[str, typer.Option(help="zh or en (terminal).")] = "en",
    memory: Annotated[
        Optional[Path],  # noqa: UP045 (typer reads it)
        typer.Option(help="Folder that keeps the memory; without one it is forgotten at the end."),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 7860,
    batch_size: Batch = 4,
    context: Context = 8192,
) -> None:
    """Talk to a model as an agent, in the terminal or (--page) in the browser."""
    if page:
        _need("gradio", "requirements-chat.txt")
    from matinee.apps.chatting import running
    from matinee.apps.serving.loading import Loading

    loading = Loading(template, batch_size=batch_size, context=context)
    with running.open_desk(model, untuned, loading, memory) as desk:
        if page:
            running.show_page(desk, host, port)
        else:
            running.show_terminal(desk, planner, language)


@app.command("agent-compare")
def agent_compare(
    model: Annotated[Path, typer.Option(help="A model folder that merge-model wrote.")],
    template: Annotated[str, typer.Option(help="The prompt format that it was trained with.")],
    output: Output,
    configuration: Annotated[
        Optional[list[str]],  # noqa: UP045 (typer reads it)
        typer.Option(help="Such as sop+reflection; repeat for several. Default: all sixteen."),
    ] = None,
    tasks_per_kind: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Only so many tasks of each kind."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    max_steps: Annotated[int, typer.Option(min=1, help="Model outputs per question.")] = 16,
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 256,
    constrained: Annotated[
        bool, typer.Option("--constrained", help="Only calls of tools that there are.")
    ] = False,
) -> None:
    """Compare ways of running the agent on one model: planners, memory, reflection."""
    from matinee.apps.agent.task import AgentLimits
    from matinee.stages import agents

    tables = agents.compare_agents(
        model,
        template,
        output,
        names=configuration or [],
        tasks_per_kind=tasks_per_kind,
        batch_size=batch_size,
        limits=AgentLimits(max_steps=max_steps, max_new_tokens=max_new_tokens),
        constrained=constrained,
    )
    typer.echo(tables)


def _need(module: str, requirements: str) -> None:
    """Raises UserError where an optional part is not installed."""
    from importlib.util import find_spec

    from matinee.runtime.errors import ConfigurationError

    if find_spec(module) is None:
        raise ConfigurationError(
            f"This needs the package {module}, which is not installed here. "
            f"Install it: python -m pip install -r {requirements}"
        )
