"""The one door from the workflow into Python: `python workflow/run.py STAGE --help`.

Every rule of the workflow calls this file, and prints the call: copy it to run a stage by hand.
`--params` is the stage's own slice of the configuration as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

sys.path.insert(0, str(Path(__file__).parent))

app = typer.Typer(
    help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
Params = Annotated[str, typer.Option(help="The stage's settings as JSON.")]
Output = Annotated[Path, typer.Option(help="What the stage writes.")]
Inputs = Annotated[list[Path], typer.Option(help="Repeat the option for several files.")]
Gpus = Annotated[
    Optional[int],  # noqa: UP045 (typer reads it)
    typer.Option(help="Devices to hold for this stage; left out, all visible ones are used."),
]


@app.command("fetch-model")
def fetch_model(params: Params, output: Output) -> None:
    """Get a start model from its sources and check it."""
    from matinee.config import Model
    from matinee.stages import data

    data.fetch_model(Model.model_validate_json(params), output)


@app.command("fetch-dataset")
def fetch_dataset(params: Params, output: Output) -> None:
    """Get a data set's files from its sources and check them."""
    from matinee.config import Dataset
    from matinee.stages import data

    data.fetch_dataset(Dataset.model_validate_json(params), output)


@app.command("format-dataset")
def format_dataset(params: Params, raw: Annotated[Path, typer.Option()], output: Output) -> None:
    """Convert a published data set into the one row format."""
    from matinee.config import Dataset
    from matinee.stages import data

    data.format_dataset(Dataset.model_validate_json(params), raw, output)


@app.command("synthesize-dataset")
def synthesize_dataset(params: Params, output: Output) -> None:
    """Make tool-calling conversations from a catalogue of tools."""
    from matinee.config import Dataset
    from matinee.stages import data

    data.synthesize_dataset(Dataset.model_validate_json(params), output)


@app.command("mix-data")
def mix_data(params: Params, part: Inputs, output: Output) -> None:
    """Put a variant's data sets together."""
    from matinee.config import MixPart
    from matinee.stages import data

    values = json.loads(params)
    mixed = [MixPart.model_validate(value) for value in values["parts"]]
    data.mix_data(list(zip(mixed, part, strict=True)), values["validation_share"], output)


@app.command("tokenize-data")
def tokenize_data(
    params: Params,
    conversations: Annotated[Path, typer.Option()],
    model: Annotated[Path, typer.Option()],
    profile: Annotated[Path, typer.Option()],
    output: Output,
    processes: Annotated[int, typer.Option(min=1, help="To tokenize with.")] = 1,
) -> None:
    """Render conversations to token ids and supervision masks, and profile them."""
    from matinee.stages import data

    values = json.loads(params)
    data.tokenize_data(
        conversations,
        model,
        values["template"],
        values["cutoff_length"],
        output,
        profile,
        processes,
    )


@app.command("check-leakage")
def check_leakage(
    params: Params,
    conversations: Annotated[Path, typer.Option()],
    suite: Inputs,
    output: Output,
) -> None:
    """Look for test tools and test questions in the training data."""
    from matinee.stages import data

    data.check_leakage(conversations, suite, json.loads(params)["leakage"], output)


@app.command("train-adapter")
def train_adapter(
    params: Params,
    model: Annotated[Path, typer.Option()],
    tokens: Annotated[Path, typer.Option()],
    checkpoints: Annotated[Path, typer.Option(help="Survives a kill; removed at the end.")],
    output: Output,
    gpus: Gpus = None,
) -> None:
    """LoRA fine-tuning of one variant with one seed."""
    from matinee.config import Training
    from matinee.stages import training
    from matinee.training.parallel import processes, relaunch

    devices = _hold_devices(gpus)
    if len(devices) > 1:
        from matinee.training.parallel import relaunch

        relaunch(len(devices))
    values = json.loads(params)
    settings = Training.model_validate(values["training"])
    if settings.devices > 1 and processes() == 1:
        relaunch(settings.devices)
    training.train_adapter(
        model,
        tokens,
        settings,
        variant=values["variant"],
        seed=values["seed"],
        shuffle=values["shuffle_rows"],
        checkpoints=checkpoints,
        output=output,
    )


@app.command("merge-model")
def merge_model(
    params: Params,
    base: Annotated[Path, typer.Option()],
    adapter: Annotated[Path, typer.Option()],
    tokens: Annotated[Path, typer.Option()],
    output: Output,
    gpus: Gpus = None,
) -> None:
    """Merge an adapter into its base, export the model and certify it."""
    from matinee.config import Export
    from matinee.stages import training

    _hold_devices(gpus)
    values = json.loads(params)
    training.merge_model(
        base,
        adapter,
        tokens,
        values["template"],
        Export.model_validate(values["export"]),
        output,
        variant=values["variant"],
    )


@app.command("publish-model")
def publish_model(params: Params, model: Annotated[Path, typer.Option()], output: Output) -> None:
    """Upload a merged model to a hub, with a token from the environment."""
    from matinee.stages import training

    values = json.loads(params)
    training.publish_model(
        model,
        values["repository"],
        output,
        private=values["private"],
        token_env=values["token_env"],
    )


@app.command("prepare-suite")
def prepare_suite(params: Params, output: Output) -> None:
    """Load and check scenarios and tools."""
    from matinee.config import SuiteSettings
    from matinee.stages import evaluation

    evaluation.prepare_suite(SuiteSettings.model_validate_json(params), output)


@app.command("run-scenarios")
def run_scenarios(
    params: Params,
    suite: Annotated[Path, typer.Option()],
    output: Output,
    model: Annotated[Optional[Path], typer.Option()] = None,  # noqa: UP045 (typer reads it)
    gpus: Gpus = None,
) -> None:
    """Let one subject work through (a part of) a suite; keep every raw text."""
    from matinee.config import Limits, Reference, SampledRuns
    from matinee.stages import evaluation

    _hold_devices(gpus)
    values = json.loads(params)
    reference = values.get("reference")
    sampling = values.get("sampling")
    fixtures = values.get("fixtures")
    evaluation.run_scenarios(
        suite,
        Limits.model_validate(values["limits"]),
        output,
        subject=values["subject"],
        form=values["form"],
        part=values["part"],
        engine=values["engine"],
        model=model,
        template=values.get("template"),
        reference=Reference.model_validate(reference) if reference else None,
        fixtures=Path(fixtures) if fixtures else None,
        constrained=values.get("constrained", False),
        sampling=SampledRuns.model_validate(sampling) if sampling else None,
    )


@app.command("parse-transcripts")
def parse_transcripts(
    params: Params,
    suite: Annotated[Path, typer.Option()],
    part: Inputs,
    output: Output,
) -> None:
    """Gather the parts and parse every raw text; needs no model."""
    from matinee.stages import evaluation

    evaluation.parse_transcripts(suite, part, json.loads(params)["form"], output)


@app.command("score-scenarios")
def score_scenarios(
    params: Params,
    suite: Annotated[Path, typer.Option()],
    transcripts: Annotated[Path, typer.Option()],
    output: Output,
) -> None:
    """Judge every transcript; needs no model."""
    from matinee.stages import evaluation

    evaluation.score_scenarios(suite, transcripts, json.loads(params)["form"], output)


@app.command("check-determinism")
def check_determinism(
    params: Params,
    suite: Annotated[Path, typer.Option()],
    model: Annotated[Path, typer.Option()],
    base: Annotated[Path, typer.Option(help="The start model, for training.")],
    tokens: Annotated[Path, typer.Option()],
    output: Output,
    gpus: Gpus = None,
) -> None:
    """Run stages again in other batch sizes, parts and threads, and compare bit by bit."""
    from matinee.stages import determinism

    _hold_devices(gpus)
    determinism.check_determinism(
        json.loads(params), suite=suite, model=model, base=base, tokens=tokens, output=output
    )


@app.command("render-report")
def render_report(params: Params, results: Annotated[Path, typer.Option()]) -> None:
    """Write report.html, summary.json and tables from what the other stages left."""
    from matinee.stages import report

    report.render_report(_configuration(json.loads(params)), results)


@app.command("compare")
def compare(
    before: Path,
    after: Path,
    fail_if_worse: Annotated[
        bool, typer.Option("--fail-if-worse", help="Exit with 1 where a subject got worse.")
    ] = False,
) -> None:
    """Compare two runs by their summary.json: better, worse, and which cases flipped."""
    from matinee.report import describe_runs
    from matinee.run_comparison import compare_summaries

    comparison = compare_summaries(before, after)
    typer.echo(describe_runs(comparison))
    if fail_if_worse and comparison.worse:
        raise typer.Exit(1)


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
) -> None:
    """Compare ways of running the agent on one model: planners, memory, reflection."""
    from matinee.agent.task import AgentLimits
    from matinee.stages import agents

    tables = agents.compare_agents(
        model,
        template,
        output,
        names=configuration or [],
        tasks_per_kind=tasks_per_kind,
        batch_size=batch_size,
        limits=AgentLimits(max_steps=max_steps, max_new_tokens=max_new_tokens),
    )
    typer.echo(tables)


@app.command("check-scenarios")
def check_scenarios(
    scenarios: Path,
    tools: Path,
    fixtures: Annotated[
        Optional[Path],  # noqa: UP045 (typer reads it)
        typer.Option(help="What your own tools return."),
    ] = None,
) -> None:
    """Say what is wrong with a folder of scenarios and a tool list, by file and line."""
    from matinee.suites import check_suite

    problems = check_suite(scenarios, tools, fixtures)
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise typer.Exit(1)
    typer.echo("All scenarios are sound.")


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
    from matinee.serving import running
    from matinee.serving.app import Limits
    from matinee.serving.loading import Loading

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
    from matinee.chatting import running
    from matinee.serving.loading import Loading

    loading = Loading(template, batch_size=batch_size, context=context)
    with running.open_desk(model, untuned, loading, memory) as desk:
        if page:
            running.show_page(desk, host, port)
        else:
            running.show_terminal(desk, planner, language)


@app.command("import-openapi")
def import_openapi(
    document: Annotated[Path, typer.Argument(help="OpenAPI 3.0 or 3.1, YAML or JSON.")],
    out: Annotated[Path, typer.Option(help="The list of tools that is written.")],
    operation: Annotated[
        Optional[list[str]],  # noqa: UP045 (typer reads it)
        typer.Option(help='operationId or "GET /path"; repeat it. None: all operations.'),
    ] = None,
) -> None:
    """Turn the operations of an OpenAPI document into a list of tools."""
    from matinee import records
    from matinee.openapi import import_openapi as read

    imported = read(document, operation or [])
    records.write_json(out, list(imported.tools))
    for line in imported.left_out:
        typer.echo(line)
    count = "1 tool" if len(imported.tools) == 1 else f"{len(imported.tools)} tools"
    names = ", ".join(tool["name"] for tool in imported.tools)
    typer.echo(f"{count} written to {out}: {names}")


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of config.yaml."""
    from matinee.config import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, sort_keys=True, ensure_ascii=False))


def _hold_devices(gpus: int | None) -> tuple[str, ...]:
    """Devices leased for this process; none where it is one of several that share a lease."""
    if gpus is None or "WORLD_SIZE" in os.environ:
        return ()
    from matinee.leases import lease_until_exit

    return lease_until_exit(gpus)


def _configuration(values: dict[str, Any]) -> Any:
    from matinee.checking import parse_configuration

    return parse_configuration(values, Path.cwd())


def _need(module: str, requirements: str) -> None:
    """Raises UserError where an optional part is not installed."""
    from importlib.util import find_spec

    from matinee.errors import ConfigurationError

    if find_spec(module) is None:
        raise ConfigurationError(
            f"This needs the package {module}, which is not installed here. "
            f"Install it: python -m pip install -r {requirements}"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a stage; an error that a user can mend is one message and exit status 1."""
    from matinee import process, progress
    from matinee.errors import UserError, storage_problem

    stage = sys.argv[1] if len(sys.argv) > 1 else "matinee"
    try:
        process.begin()
        app(arguments)
    except UserError as error:
        progress.say(f"✗ {stage}: {error}")
        raise SystemExit(1) from None
    except Exception as error:
        if problem := storage_problem(error):
            progress.say(f"✗ {stage}: {problem}")
            raise SystemExit(1) from None
        # A fault of ours: the traceback goes to the log, one line to whoever watches.
        progress.say(f"✗ {stage}: {type(error).__name__}: {error} (traceback in the stage's log)")
        raise


if __name__ == "__main__":
    main()
