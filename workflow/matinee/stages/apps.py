"""What keeps a model at hand: the server, the chat, the agents compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from matinee.runtime.errors import ConfigurationError
from matinee.stages.options import with_options

app = typer.Typer()

Template = Annotated[
    str | None, typer.Option(help="Form of the prompts; needed where the folder has none of ours.")
]
Batch = Annotated[int, typer.Option(min=1, help="Answers that grow side by side.")]
Context = Annotated[int, typer.Option(min=64, help="Most tokens of prompt and answer together.")]
Host = Annotated[str, typer.Option(help="Address to listen on; 127.0.0.1 is this machine only.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")]


@dataclass(frozen=True)
class ServeOptions:
    """What `serve` is told."""

    model: Annotated[Path, typer.Argument()]
    template: Template = None
    constrained: Annotated[
        bool, typer.Option("--constrained", help="Calls that break the tools' schemas can't occur.")
    ] = False
    name: Annotated[
        str | None, typer.Option(help="What clients call the model. Default: VARIANT-sSEED.")
    ] = None
    host: Host = "127.0.0.1"
    port: Port = 8000
    batch_size: Batch = 8
    context: Context = 8192
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of one answer.")] = 1024
    max_body: Annotated[int, typer.Option(min=1, help="Most bytes of one request.")] = 2**20
    max_open: Annotated[int, typer.Option(min=1, help="Most requests under way.")] = 64
    timeout: Annotated[float, typer.Option(min=0.1, help="Most seconds of one answer.")] = 300.0
    api_key_env: Annotated[
        str, typer.Option(help="Variable that holds the key; unset, none is asked for.")
    ] = "MATINEE_API_KEY"
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name by which it is reached; repeat for several.")
    ] = None


@app.command()
@with_options(ServeOptions)
def serve(options: ServeOptions) -> None:
    """Serve a model with OpenAI's chat completions until it is stopped."""
    _need("uvicorn", "requirements-serve.txt")
    from matinee.apps.serving import running
    from matinee.apps.serving.app import ServerLimits

    running.serve(
        options.model,
        running.Loading(
            options.template,
            batch_size=options.batch_size,
            context=options.context,
            constrained=options.constrained,
        ),
        ServerLimits(
            body=options.max_body,
            answer=options.max_tokens,
            seconds=options.timeout,
            open=options.max_open,
        ),
        running.Listening(options.host, options.port, options.allow_host or ()),
        name=options.name,
        key_env=options.api_key_env,
    )


@dataclass(frozen=True)
class ChatOptions:
    """What `chat` is told."""

    model: Annotated[Path, typer.Argument()]
    untuned: Annotated[
        Path | None, typer.Option(help="The start model's folder, to compare with.")
    ] = None
    page: Annotated[bool, typer.Option("--page", help="A page for the browser.")] = False
    template: Template = None
    planner: Annotated[str, typer.Option(help="direct, react, plan or sop (terminal).")] = "react"
    language: Annotated[str, typer.Option(help="zh or en (terminal).")] = "en"
    tools: Annotated[
        Path | None, typer.Option(help="JSON file of the tools; `returns` says what one answers.")
    ] = None
    suite: Annotated[Path | None, typer.Option(help="Folder of scenarios to begin with.")] = None
    mcp: Annotated[
        str | None, typer.Option(help="Command or address of an MCP server with real tools.")
    ] = None
    openapi: Annotated[
        Path | None, typer.Option(help="Document of a real service; needs --server and --allow.")
    ] = None
    server: Annotated[str | None, typer.Option(help="Where that service is reached.")] = None
    allow: Annotated[
        list[str] | None, typer.Option(help="A real tool that may be called; repeat for several.")
    ] = None
    memory: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps the memory; without one it is forgotten at the end."),
    ] = None
    host: Host = "127.0.0.1"
    port: Port = 7860
    batch_size: Batch = 4
    context: Context = 8192


@app.command()
@with_options(ChatOptions)
def chat(options: ChatOptions) -> None:
    """Talk to a model as an agent, in the terminal or (--page) in the browser."""
    if options.page:
        _need("gradio", "requirements-chat.txt")
    from matinee.apps.chatting import running
    from matinee.apps.serving.running import Loading

    loading = Loading(options.template, batch_size=options.batch_size, context=options.context)
    tools = running.Tools(
        options.tools,
        options.suite,
        options.mcp,
        options.openapi,
        options.server,
        tuple(options.allow or ()),
    )
    with running.open_desk(options.model, options.untuned, loading, options.memory, tools) as desk:
        if options.page:
            running.show_page(desk, options.host, options.port)
        else:
            running.show_terminal(desk, options.planner, options.language)


def _need(module: str, requirements: str) -> None:
    """Raises ConfigurationError where an optional part is not installed."""
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise ConfigurationError(
            f"This needs the package {module}, which is not installed here. "
            f"Install it: python -m pip install -r {requirements}"
        )
