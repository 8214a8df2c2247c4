"""Run the scenarios, keep what was written, score it, and put it on a page; compare two runs."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from matinee.config import Configuration, SuiteSettings
from matinee.config.parameters import RunScenarios, ScoreScenarios
from matinee.runtime import progress, records
from matinee.runtime.errors import DataError, EngineError, ScenarioError
from matinee.stages.options import Gpus, Input, Inputs, Output, hold_devices, told

if TYPE_CHECKING:
    from matinee.engines.base import Engine
    from matinee.evaluation.playing import SimulationFactory
    from matinee.messages.scenarios import Suite
    from matinee.messages.transcripts import Transcript

app = typer.Typer()


@app.command()
def prepare_suite(params: Annotated[SuiteSettings, told(SuiteSettings)], output: Output) -> None:
    """Load and check scenarios and tools, and write the suite that will be run with its floor."""
    from matinee.evaluation.scripted import play_floor
    from matinee.evaluation.suites import select

    recorder = records.Recorder("prepare_suite", params)
    suite, facts = _load_suite(params)
    recorder.add(**facts)
    suite = select(suite, limit=params.limit, categories=params.categories)
    suite = suite.model_copy(update={"id": params.id})
    with records.whole(output) as beside:
        beside.write_text(suite.model_dump_json(indent=1) + "\n", encoding="utf-8")
    floor = [verdict.model_dump(mode="json") for verdict in play_floor(suite)]
    records.write_lines(output.with_suffix(".floor.jsonl"), floor)
    recorder.write(output.with_suffix(".run.json"))
    tools = len(suite.all_tools())
    progress.say(f"✓ suite {suite.id}: {len(suite.scenarios)} scenarios, {tools} tools")


def _load_suite(settings: SuiteSettings) -> tuple[Suite, dict[str, Any]]:
    """The whole suite, and where it comes from."""
    if settings.bfcl is not None:
        from matinee.data.sources import fetch_bfcl
        from matinee.evaluation.bfcl import load_bfcl
        from matinee.stages.data import is_offline

        data, facts = fetch_bfcl(settings.bfcl, offline=is_offline(), root=Path.cwd())
        read = load_bfcl(data, settings.id, settings.categories)
        return read.suite, {**facts, "left_out": read.left_out}
    from matinee.evaluation.suites import load_suite

    if settings.scenarios is None or settings.tools is None:  # the settings refuse this
        raise ScenarioError(f"suite {settings.id}: needs `scenarios` and `tools`, or `bfcl`.")
    return load_suite(settings.scenarios, settings.tools, settings.fixtures), {}


def read_suite(path: Path) -> Suite:
    """The suite that `prepare_suite` wrote. Raises DataError where it is damaged."""
    from matinee.messages.scenarios import Suite

    return records.read_record(path, Suite)


@app.command()
def run_scenarios(
    params: Annotated[RunScenarios, told(RunScenarios)],
    suite: Input,
    output: Output,
    model: Annotated[Path | None, typer.Option()] = None,
    gguf: Annotated[Path | None, typer.Option(help="The file to test in its place.")] = None,
    gpus: Gpus = None,
) -> None:
    """Let one subject work through (a part of) a suite; keep every raw text."""
    from matinee.engines.base import without_room
    from matinee.engines.sampling import GREEDY, Sampling
    from matinee.evaluation.playing import Play, run_suite

    hold_devices(gpus)
    limits, drawn = params.limits, params.sampling
    played = read_suite(suite)
    # Every so manyth scenario, so that each part has its share of every category.
    mine = played.scenarios[params.part :: limits.parts]
    played = played.model_copy(update={"scenarios": mine})
    recorder = records.Recorder("run_scenarios", params)
    repeats = drawn.repeats if drawn else 1
    told_as = f"{params.subject} on {played.id}"
    stack = contextlib.ExitStack()
    if params.engine in ("vllm", "llama_cpp"):
        engine = _served(params, model, gguf, output.with_suffix(".server.log"), stack)
    else:
        engine = _engine(params, played, model)
    with stack, progress.bar(len(mine) * repeats, f"test {told_as}", "case") as bar:
        transcripts = run_suite(
            played,
            engine,
            Play(
                subject=params.subject,
                # The form of a model's own template is known once the model is there.
                form=getattr(engine, "form", params.form),
                max_steps=limits.max_steps,
                max_new_tokens=limits.max_new_tokens,
                max_observation=limits.max_observation,
                repeats=repeats,
                sampling=Sampling(drawn.temperature, drawn.top_p, drawn.seed) if drawn else GREEDY,
            ),
            simulation=_simulation(params.fixtures, played),
            on_finished=lambda transcript: bar.update(),
        )
    records.write_lines(output, [transcript.model_dump(mode="json") for transcript in transcripts])
    steps = [step for transcript in transcripts for step in transcript.steps]
    tokens = sum(step.completion_tokens for step in steps)
    unfit = sum(without_room(step.text, step.completion_tokens, step.finish) for step in steps)
    recorder.add(
        suite=played.id,
        cases=len(transcripts),
        completion_tokens=tokens,
        prompts_without_room=unfit,
    )
    recorder.write(output.with_suffix(".run.json"))
    if unfit:
        progress.say(
            f"! {told_as}: {unfit} prompts and an answer of {limits.max_new_tokens} tokens do not "
            "fit into the model's context and were answered with nothing. Use a model with a "
            "longer context, or lower evaluation.max_new_tokens or evaluation.max_observation."
        )
    progress.say(
        f"✓ tested {told_as}: {len(transcripts)} cases, {tokens:,} tokens written, "
        f"{recorder.summary()}"
    )


def _simulation(fixtures: Path | None, suite: Suite) -> SimulationFactory:
    """The tools of one case, from today's date, the case's faults and the tools that it lists."""
    from matinee.evaluation.simulation import FixtureSimulation, world
    from matinee.messages.conversations import Tool

    if fixtures is None:
        return world
    # Read once: every case and repeat has its own simulation, of the same answers.
    recorded = FixtureSimulation.read(
        fixtures, [Tool.from_openai(tool) for tool in suite.all_tools()]
    )
    return lambda today, faults, tools: recorded.anew(faults, tools)


def _served(
    params: RunScenarios,
    model: Path | None,
    gguf: Path | None,
    log: Path,
    stack: contextlib.ExitStack,
) -> Engine:
    """The model in a server of its own; without a GGUF file, llama.cpp is made one for the run."""
    from matinee.engines.servers import ServedEngine, ServedModel
    from matinee.models.weights import require_whole

    if model is None or params.template is None or params.server is None:
        raise EngineError("A local subject needs a model folder, a template and a server.")
    require_whole(model)
    os.environ["HF_HUB_OFFLINE"] = "1"
    limits = params.limits
    weights = gguf or model
    if params.engine == "llama_cpp" and gguf is None:
        from matinee.export.gguf import convert

        log.parent.mkdir(parents=True, exist_ok=True)
        scratch = stack.enter_context(tempfile.TemporaryDirectory(dir=log.parent))
        weights = convert(model, Path(scratch) / "auto.gguf", "auto")
    return ServedEngine(
        ServedModel(
            kind="vllm" if params.engine == "vllm" else "llama_cpp",
            command=params.server,
            folder=model,
            weights=weights,
            template=params.template,
            precision=limits.precision,
            batch_size=limits.batch_size,
            thinking=limits.thinking == "on",
        ),
        log,
    )


def _engine(params: RunScenarios, suite: Suite, model: Path | None) -> Engine:
    if params.engine == "gold":
        from matinee.evaluation.scripted import GoldEngine

        return GoldEngine(suite, params.form)
    if params.engine == "null":
        from matinee.evaluation.scripted import ConstantEngine

        return ConstantEngine()
    if params.reference is not None:
        from matinee.engines.openai import OpenAIEngine

        reference = params.reference
        return OpenAIEngine(
            **{
                name: getattr(reference, name)
                for name in type(reference).model_fields
                if name != "id"
            }
        )
    if model is None or params.template is None:
        raise EngineError("A local subject needs a model folder and a template.")
    from matinee.models.weights import require_whole

    require_whole(model)
    # Nothing here may reach a hub: the folder is complete.
    os.environ["HF_HUB_OFFLINE"] = "1"
    from matinee.engines.transformers import TransformersEngine
    from matinee.models.devices import place
    from matinee.models.memory import keep_freed

    keep_freed()
    return TransformersEngine.load(
        model,
        params.template,
        place(params.limits.precision),
        params.limits.batch_size,
        constrained=params.constrained,
        thinking=None if params.limits.thinking == "on" else params.limits.thinking_budget or 0,
    )


@app.command()
def score_scenarios(
    params: Annotated[ScoreScenarios, told(ScoreScenarios)],
    suite: Input,
    part: Inputs,
    transcripts: Annotated[Path, typer.Option(help="The parts put together, parsed afresh.")],
    output: Output,
) -> None:
    """Parse every raw text and judge every case, leniently too; needs no model."""
    from matinee.evaluation.scoring import reparse, score_both_ways

    recorder = records.Recorder("score_scenarios", params)
    asked = read_suite(suite)
    tools = {case.id: case.tools or asked.tools for case in asked.scenarios}
    gathered = _gathered(asked, part)
    rows = [reparse(row, params.form, tools=tools[row.case]) for row in gathered]
    verdicts = score_both_ways(asked, rows, params.form)
    records.write_lines(transcripts, [row.model_dump(mode="json") for row in rows])
    records.write_lines(output, [verdict.model_dump(mode="json") for verdict in verdicts])
    right = sum(verdict.success for verdict in verdicts)
    recorder.add(verdicts=len(verdicts), right=right)
    recorder.write(output.with_suffix(".run.json"))
    subject = rows[0].subject if rows else output.parent.parent.name
    progress.say(f"✓ scored {subject} on {asked.id}: {right} of {len(verdicts)} right")


def _gathered(suite: Suite, parts: Sequence[Path]) -> list[Transcript]:
    """What all parts hold, in the suite's order. Raises DataError where a part is damaged."""
    from matinee.messages.transcripts import Transcript

    order = {scenario.id: place for place, scenario in enumerate(suite.scenarios)}
    found: list[Transcript] = []
    for number, part in enumerate(parts):
        rows = list(records.read_records(part, Transcript))
        expected = {scenario.id for scenario in suite.scenarios[number :: len(parts)]}
        if {row.case for row in rows} != expected:
            raise DataError(
                f"{part}: does not hold the cases of its part of the suite. Delete the file and "
                "give the same command again: it is made anew."
            )
        found += rows
    return sorted(found, key=lambda row: (order[row.case], row.repeat))


@app.command()
def render_report(params: Annotated[Configuration, told(Configuration)], results: Input) -> None:
    """Write page, summary and tables from what the other stages left."""
    from matinee.report import (
        collect,
        log_report,
        write_report,
        write_summary,
        write_tables,
    )

    data = collect(results, params)
    write_summary(data, results / "summary.json")
    write_tables(data, results / "tables")
    write_report(data, results / "report.html")
    log_report(data, results)
    progress.say(f"✓ report: {(results / 'report.html').resolve()}")


@app.command()
def compare(
    before: Path,
    after: Path,
    fail_if_worse: Annotated[
        bool, typer.Option("--fail-if-worse", help="Exit with 1 where a subject got worse.")
    ] = False,
) -> None:
    """Compare two runs by their summary.json: better, worse, and which cases flipped."""
    from matinee.report import describe_runs
    from matinee.report.run_comparison import compare_summaries

    comparison = compare_summaries(before, after)
    typer.echo(describe_runs(comparison))
    if fail_if_worse and comparison.worse:
        raise typer.Exit(1)
