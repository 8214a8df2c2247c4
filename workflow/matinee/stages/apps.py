"""What keeps a model at hand: the server, the chat, the agents compared."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from matinee.config.training import TEMPLATES
from matinee.runtime import progress, records
from matinee.runtime.errors import ConfigurationError, UserError
from matinee.stages.options import Output, with_options

if TYPE_CHECKING:
    from matinee.apps.agent.events import AgentLimits
    from matinee.apps.agent.trials.comparing import AgentSetup, Trial
    from matinee.apps.agent.trials.tasks import TaskSuite
    from matinee.engines.transformers import TransformersEngine

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


@dataclass(frozen=True)
class AgentCompareOptions:
    """What `agent-compare` is told."""

    model: Annotated[Path, typer.Option(help="A model folder that merge-model wrote.")]
    template: Annotated[str, typer.Option(help="The prompt format that it was trained with.")]
    output: Output
    configuration: Annotated[
        list[str] | None,
        typer.Option(help="Such as sop+reflection; repeat for several. Default: all sixteen."),
    ] = None
    tasks_per_kind: Annotated[
        int | None, typer.Option(min=1, help="Only so many tasks of each kind.")
    ] = None
    batch_size: Annotated[int, typer.Option(min=1)] = 16
    max_steps: Annotated[int, typer.Option(min=1, help="Model outputs per question.")] = 16
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 256
    constrained: Annotated[
        bool, typer.Option("--constrained", help="Only calls of tools that there are.")
    ] = False


@app.command()
@with_options(AgentCompareOptions)
def agent_compare(options: AgentCompareOptions) -> None:
    """Compare ways of running the agent on one model: planners, memory, reflection.

    Writes `settings.json`, `NAME.jsonl` per configuration, `comparison.json`, `comparison.md` and
    `comparison.run.json`. A configuration whose file is there is not run again.
    """
    from matinee.apps.agent.events import AgentLimits
    from matinee.apps.agent.trials.comparing import BASELINE
    from matinee.apps.agent.trials.tables import as_markdown, compare
    from matinee.apps.agent.trials.tasks import read_tasks

    if options.template not in TEMPLATES:
        raise UserError(f"template {options.template!r}: allowed are {', '.join(TEMPLATES)}.")
    limits = AgentLimits(max_steps=options.max_steps, max_new_tokens=options.max_new_tokens)
    chosen = _configurations(options.configuration or [])
    suite = _part(read_tasks(), options.tasks_per_kind)
    settings = {
        "model": str(options.model),
        "template": options.template,
        "batch_size": options.batch_size,
        "limits": vars(limits),
        "constrained": options.constrained,
        "tasks": [task.id for task in suite.tasks],
    }
    output = options.output
    _refuse_other_settings(output / "settings.json", settings)
    recorder = records.Recorder("agent_compare", settings)
    engine: TransformersEngine | None = None
    runs = []
    for configuration in chosen:
        path = output / f"{configuration.name}.jsonl"
        trials = _earlier(path, suite)
        if trials is None:
            engine = engine or _engine(options)
            trials = _run(engine, configuration, suite, limits)
            records.write_lines(path, [trial.model_dump(mode="json") for trial in trials])
        runs.append(trials)
    unfit = sum(ask.without_room for trials in runs for trial in trials for ask in trial.asks)
    if unfit:
        progress.say(
            f"! {unfit} prompts and an answer of {limits.max_new_tokens} tokens do not fit into "
            "the model's context and were answered with nothing. Use a model with a longer "
            "context, or lower --max-new-tokens."
        )
    recorder.add(prompts_without_room=unfit)
    comparison = compare(runs, BASELINE.name)
    tables = as_markdown(comparison)
    records.write_json(output / "comparison.json", comparison.model_dump(mode="json"))
    with records.whole(output / "comparison.md") as unfinished:
        unfinished.write_text(tables, encoding="utf-8")
    recorder.write(output / "comparison.run.json")
    typer.echo(tables)


def _engine(options: AgentCompareOptions) -> TransformersEngine:
    from matinee.engines.transformers import TransformersEngine
    from matinee.models.devices import place

    return TransformersEngine.load(
        options.model,
        options.template,
        place("auto"),
        options.batch_size,
        constrained=options.constrained,
    )


def _refuse_other_settings(path: Path, settings: dict[str, Any]) -> None:
    if path.exists() and records.read_json(path) != settings:
        raise UserError(
            f"{path.parent} holds runs under other settings (see {path.name}). "
            "Choose another folder, or delete this one."
        )
    records.write_json(path, settings)


def _run(
    engine: TransformersEngine,
    configuration: AgentSetup,
    suite: TaskSuite,
    limits: AgentLimits,
) -> list[Trial]:
    from matinee.apps.agent.trials.comparing import run_configuration

    with (
        tempfile.TemporaryDirectory() as folder,
        progress.bar(len(suite.tasks), f"agent {configuration.name}", "task") as bar,
    ):
        return run_configuration(
            engine,
            configuration,
            suite,
            folder=Path(folder),
            form=engine.form,
            limits=limits,
            on_finished=lambda trial: bar.update(),
        )


def _configurations(names: Sequence[str]) -> list[AgentSetup]:
    """The named configurations; the baseline is always among them."""
    from matinee.apps.agent.trials.comparing import ALL, BASELINE

    known = {configuration.name: configuration for configuration in ALL}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(f"No configuration {unknown[0]!r}. There are: {', '.join(known)}.")
    wanted = {BASELINE.name, *(names or known)}
    return [configuration for name, configuration in known.items() if name in wanted]


def _part(suite: TaskSuite, per_kind: int | None) -> TaskSuite:
    """So many tasks of each kind, spread over its families; all where None."""
    from matinee.apps.agent.trials.tasks import KINDS

    if per_kind is None:
        return suite
    tasks = []
    for kind in KINDS:
        of_kind = [task for task in suite.tasks if task.kind == kind]
        # The first of every family, then the second of every family, and so on.
        place: dict[str, int] = {}
        for task in of_kind:
            place[task.id] = sum(other.family == task.family for other in of_kind[: len(place)])
        tasks += sorted(of_kind, key=lambda task: place[task.id])[:per_kind]
    return suite.model_copy(update={"tasks": tuple(tasks)})


def _earlier(path: Path, suite: TaskSuite) -> list[Trial] | None:
    """The trials of an earlier run of the same tasks."""
    from matinee.apps.agent.trials.comparing import Trial

    if not path.exists():
        return None
    trials = list(records.read_records(path, Trial))
    same = [trial.task for trial in trials] == [task.id for task in suite.tasks]
    return trials if same else None
