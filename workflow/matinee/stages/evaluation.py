"""Run the scenarios, parse what was written, score it: three stages with their own files."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matinee.config import CallForm, Limits, Reference, SampledRuns, SuiteSettings
from matinee.engines.base import Engine, without_room
from matinee.engines.sampling import GREEDY, Sampling
from matinee.messages.conversations import Tool
from matinee.messages.scenarios import Fault, Suite
from matinee.messages.transcripts import Transcript
from matinee.runtime import progress, records
from matinee.runtime.errors import EngineError, ScenarioError


def prepare_suite(settings: SuiteSettings, output: Path) -> None:
    """Loads and checks scenarios and tools, and writes the suite that will be run."""
    from matinee.evaluation.suites import select

    recorder = records.Recorder("prepare_suite", settings.model_dump(mode="json"))
    suite, facts = _load_suite(settings)
    recorder.add(**facts)
    suite = select(suite, limit=settings.limit, categories=settings.categories)
    suite = suite.model_copy(update={"id": settings.id})
    with records.whole(output) as beside:
        beside.write_text(suite.model_dump_json(indent=1) + "\n", encoding="utf-8")
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
    """The suite that `prepare_suite` wrote."""
    return Suite.model_validate_json(path.read_text(encoding="utf-8"))


def run_scenarios(
    suite_file: Path,
    settings: Limits,
    output: Path,
    *,
    subject: str,
    form: CallForm,
    part: int,
    engine: str,
    model: Path | None = None,
    template: str | None = None,
    reference: Reference | None = None,
    fixtures: Path | None = None,
    constrained: bool = False,
    sampling: SampledRuns | None = None,
) -> None:
    """Runs one part of a suite on one subject and writes its raw transcripts.

    `constrained`: the format of calls is guaranteed. `sampling`: every case runs several times
    with drawn tokens.
    """
    from matinee.evaluation.playing import run_suite
    from matinee.evaluation.simulation import FixtureSimulation, Simulation, world

    suite = _part(read_suite(suite_file), part, settings.parts)
    recorder = records.Recorder(
        "run_scenarios",
        {"subject": subject, "suite": suite.id, "part": part, **settings.model_dump(mode="json")},
    )

    recorded: FixtureSimulation | None = None
    if fixtures is not None:
        # Once: every case and repeat has its own simulation, of the same answers.
        tools = [Tool.from_openai(tool) for tool in suite.tools]
        recorded = FixtureSimulation.read(fixtures, tools)

    def simulation(today: datetime.date, faults: Sequence[Fault] = ()) -> Simulation:
        return world(today, faults) if recorded is None else recorded.anew(faults)

    cases = len(suite.scenarios) * (sampling.repeats if sampling else 1)
    with progress.bar(cases, f"test {subject} on {suite.id}", "case") as bar:
        transcripts = run_suite(
            suite,
            _engine(engine, suite, settings, form, model, template, reference, constrained),
            subject=subject,
            form=form,
            max_steps=settings.max_steps,
            max_new_tokens=settings.max_new_tokens,
            max_observation=settings.max_observation,
            repeats=sampling.repeats if sampling else 1,
            sampling=_drawn(sampling) if sampling else GREEDY,
            simulation=simulation,
            on_finished=lambda transcript: bar.update(),
        )
    records.write_lines(output, [transcript.model_dump(mode="json") for transcript in transcripts])
    steps = [step for transcript in transcripts for step in transcript.steps]
    tokens = sum(step.completion_tokens for step in steps)
    unfit = sum(without_room(step.text, step.completion_tokens, step.finish) for step in steps)
    recorder.add(cases=len(transcripts), completion_tokens=tokens, prompts_without_room=unfit)
    recorder.write(output.with_suffix(".run.json"))
    if unfit:
        progress.say(
            f"! {subject} on {suite.id}: {unfit} prompts and an answer of "
            f"{settings.max_new_tokens} tokens do not fit into the model's context and were "
            "answered with nothing. Use a model with a longer context, or lower "
            "evaluation.max_new_tokens or evaluation.max_observation."
        )
    progress.say(
        f"✓ tested {subject} on {suite.id}: {len(transcripts)} cases, {tokens:,} tokens written, "
        f"{recorder.summary()}"
    )


def _drawn(settings: SampledRuns) -> Sampling:
    return Sampling(settings.temperature, settings.top_p, settings.seed)


def _part(suite: Suite, part: int, parts: int) -> Suite:
    """Every `parts`-th scenario, so that each part has its share of every category."""
    return suite.model_copy(update={"scenarios": suite.scenarios[part::parts]})


def _engine(
    kind: str,
    suite: Suite,
    settings: Limits,
    form: CallForm,
    model: Path | None,
    template: str | None,
    reference: Reference | None,
    constrained: bool,
) -> Engine:
    if kind == "gold":
        from matinee.evaluation.scripted import GoldEngine

        return GoldEngine(suite, form)
    if kind == "null":
        from matinee.evaluation.scripted import NullEngine

        return NullEngine()
    if reference is not None:
        from matinee.engines.openai import OpenAIEngine

        return OpenAIEngine(
            base_url=reference.base_url,
            model=reference.model,
            api_key_env=reference.api_key_env,
            concurrency=reference.concurrency,
            timeout=reference.timeout,
            retries=reference.retries,
        )
    if model is None or template is None:
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
        template,
        place(settings.precision),
        settings.batch_size,
        constrained=form if constrained else None,
    )


def parse_transcripts(
    suite_file: Path, parts: Sequence[Path], form: CallForm, output: Path
) -> None:
    """Puts the parts together in the suite's order and parses every raw text afresh."""
    from matinee.evaluation.scoring import reparse

    recorder = records.Recorder("parse_transcripts", {"form": form})
    order = {scenario.id: place for place, scenario in enumerate(read_suite(suite_file).scenarios)}
    transcripts = [
        Transcript.model_validate(row) for part in parts for row in records.read_lines(part)
    ]
    transcripts.sort(key=lambda transcript: (order[transcript.case], transcript.repeat))
    parsed = [reparse(transcript, form) for transcript in transcripts]
    records.write_lines(output, [transcript.model_dump(mode="json") for transcript in parsed])
    recorder.add(transcripts=len(parsed))
    recorder.write(output.with_suffix(".run.json"))


def score_scenarios(suite_file: Path, transcripts: Path, form: CallForm, output: Path) -> None:
    """Writes a verdict per transcript, with the lenient one beside it; no model is loaded."""
    from matinee.evaluation.scoring import score_both_ways

    recorder = records.Recorder("score_scenarios", {})
    suite = read_suite(suite_file)
    rows = [Transcript.model_validate(row) for row in records.read_lines(transcripts)]
    verdicts = score_both_ways(suite, rows, form)
    records.write_lines(output, [verdict.model_dump(mode="json") for verdict in verdicts])
    right = sum(verdict.success for verdict in verdicts)
    recorder.add(verdicts=len(verdicts), right=right)
    recorder.write(output.with_suffix(".run.json"))
    subject = rows[0].subject if rows else output.parent.parent.name
    progress.say(f"✓ scored {subject} on {suite.id}: {right} of {len(verdicts)} right")
