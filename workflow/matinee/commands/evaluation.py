"""Commands of the evaluation stages: from scenarios to verdicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from matinee.commands.options import Gpus, Inputs, Output, Params, hold_devices

app = typer.Typer()


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

    hold_devices(gpus)
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
