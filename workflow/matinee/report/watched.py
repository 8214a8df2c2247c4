"""The report in Weights & Biases: an artifact, and tables, on the page of each training's run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matinee.report.collect import ReportData
from matinee.report.tables import accuracy_rows, case_rows
from matinee.runtime import progress

# wandb's own names of a run's folder: `run-` or `offline-run-`, date, time, and the run's id.
_FOLDER = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-(?P<id>.+)")


def run_id(training: Path) -> str | None:
    """The id under which a training was watched; None where it was not."""
    found = [
        match["id"]
        for folder in sorted((training / "wandb").glob("*run-*"))
        if (match := _FOLDER.fullmatch(folder.name))
    ]
    return found[-1] if found else None


def log_report(data: ReportData, results: Path) -> None:
    """Adds page, summary and tables to every watched training's run.

    Says so where that fails, and goes on: the files lie in the results folder in any case.
    """
    if os.environ.get("WANDB_MODE", "disabled") == "disabled":
        return
    os.environ.setdefault("WANDB_SILENT", "true")
    for training in data.trainings:
        folder = results / "training" / training.variant / f"s{training.seed}"
        identifier = run_id(folder)
        if identifier is None:
            continue
        try:
            _log(data, results, folder, identifier, training.variant)
        except Exception as error:  # noqa: BLE001 (wandb fails in many ways; none spoils the report)
            progress.say(f"! report not logged to W&B run {identifier}: {error}")


def _log(data: ReportData, results: Path, folder: Path, identifier: str, variant: str) -> None:
    import wandb

    # Copies wait beside the run for `wandb sync`, not in the user's home.
    os.environ["WANDB_DATA_DIR"] = str((folder / "wandb").resolve())
    # The run that training began: the same id, resumed, so that both are one run.
    with wandb.init(id=identifier, resume="allow", dir=str(folder), job_type="report") as run:
        artifact = wandb.Artifact(f"report-{identifier}", type="report")
        for name in ("report.html", "summary.json"):
            artifact.add_file(str(results / name), name)
        artifact.add_dir(str(results / "tables"), "tables")
        run.log_artifact(artifact)
        subjects = {s.id for s in data.subjects if s.variant and s.name == variant}
        run.log(
            {
                "report/accuracy": _table(wandb, accuracy_rows(data), subjects),
                "report/cases": _table(wandb, case_rows(data), subjects),
            }
        )


def _table(wandb: Any, rows: Iterator[dict[str, Any]], subjects: set[str]) -> Any:
    chosen = [row for row in rows if row["subject"] in subjects]
    columns = list(dict.fromkeys(key for row in chosen for key in row))
    return wandb.Table(columns=columns, data=[[row.get(key) for key in columns] for row in chosen])
