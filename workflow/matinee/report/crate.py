"""`ro-crate-metadata.json`: the results folder described as a Workflow Run Crate.

Profile: https://w3id.org/ro/wfrun/workflow/0.5, and those that it is based on.
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinee import __version__
from matinee.report.collect import ReportData
from matinee.runtime.places import PROJECT
from matinee.runtime.records import sha256_file, whole, write_json

if TYPE_CHECKING:
    from rocrate.rocrate import ROCrate

FOLDER = "crate"
PROFILES = (
    ("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate", "0.5"),
    ("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate", "0.5"),
    ("https://w3id.org/workflowhub/workflow-ro-crate/1.0", "Workflow RO-Crate", "1.0"),
)
BIOSCHEMAS = "https://bioschemas.org/profiles"
FORMATS = {
    ".html": "text/html",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".yaml": "application/yaml",
    ".smk": "text/plain",
}


def write_crate(data: ReportData, results: Path, configuration: str) -> None:
    """Writes the description, and `crate/` with the workflow's files and its configuration (YAML).

    What the description names lies below `results`, so that the folder is complete by itself.
    """
    _copy_workflow(results / FOLDER, configuration)
    write_json(results / "ro-crate-metadata.json", describe(data, results))


def _copy_workflow(folder: Path, configuration: str) -> None:
    with whole(folder) as beside:
        rules = beside / "workflow" / "rules"
        rules.mkdir(parents=True)
        shutil.copyfile(PROJECT / "Snakefile", beside / "Snakefile")
        for path in sorted((PROJECT / "workflow" / "rules").glob("*.smk")):
            shutil.copyfile(path, rules / path.name)
        (beside / "config.yaml").write_text(configuration, encoding="utf-8")


def describe(data: ReportData, results: Path) -> dict[str, Any]:
    """The metadata document as JSON-LD."""
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version="1.1")
    crate.metadata.extra_terms["sha256"] = "https://w3id.org/ro/terms/workflow-run#sha256"
    _describe_root(crate, data)
    workflow = crate.add_workflow(
        results / FOLDER / "Snakefile",
        f"{FOLDER}/Snakefile",
        main=True,
        lang="snakemake",
        lang_version=metadata.version("snakemake"),
        properties={
            "name": "Matinee",
            "version": __version__,
            "encodingFormat": "text/plain",
            "conformsTo": {"@id": f"{BIOSCHEMAS}/ComputationalWorkflow/1.0-RELEASE"},
        },
    )
    parts = sorted((results / FOLDER / "workflow").rglob("*.smk"))
    workflow["hasPart"] = [_file(crate, results, path) for path in parts]
    settings = _file(crate, results, results / FOLDER / "config.yaml")
    parameter = _parameter(crate)
    workflow["input"] = parameter
    settings["exampleOfWork"] = parameter
    outputs = [_entity(crate, results, path) for path in _outputs(data, results)]
    started, ended = _times(data)
    action = crate.add_action(
        workflow,
        identifier="#run",
        object=settings,
        result=outputs,
        properties={
            "name": f"Run of the workflow: {data.configuration.report.title}",
            "description": "Data, training, merging, tests before and after, and this report.",
            "actionStatus": "http://schema.org/CompletedActionStatus",
            "startTime": started,
            "endTime": ended,
        },
    )
    crate.root_dataset["mentions"] = action
    return dict(crate.metadata.generate())


def _describe_root(crate: ROCrate, data: ReportData) -> None:
    from rocrate.model.contextentity import ContextEntity

    crate.name = data.configuration.report.title
    crate.description = (
        "Language models fine-tuned to call tools, tested before and after on the same cases. "
        "report.html is the result for people, summary.json for programs."
    )
    crate.root_dataset["conformsTo"] = [
        crate.add(
            ContextEntity(crate, url, {"@type": "CreativeWork", "name": name, "version": version})
        )
        for url, name, version in PROFILES
    ]
    crate.license = crate.add(
        ContextEntity(
            crate,
            "#licences",
            {
                "@type": "CreativeWork",
                "name": "The licences of the start models and data sets",
                "description": _licences(data),
            },
        )
    )


def _licences(data: ReportData) -> str:
    """What the fetched models and data sets are under, as their sources state it."""
    told = {
        run.artefact: str(run.record.get("facts", {}).get("licence") or "not stated")
        for run in data.runs
        if run.stage in ("fetch_model", "fetch_dataset")
    }
    listed = "; ".join(f"{artefact}: {licence}" for artefact, licence in told.items())
    return listed or "Nothing was fetched."


def _parameter(crate: ROCrate) -> Any:
    from rocrate.model.contextentity import ContextEntity

    return crate.add(
        ContextEntity(
            crate,
            "#configuration",
            {
                "@type": "FormalParameter",
                "conformsTo": {"@id": f"{BIOSCHEMAS}/FormalParameter/1.0-RELEASE"},
                "name": "config.yaml",
                "description": "The resolved configuration of the run.",
                "additionalType": "File",
                "encodingFormat": "application/yaml",
                "valueRequired": True,
            },
        )
    )


def _outputs(data: ReportData, results: Path) -> Iterator[Path]:
    """What the run made that is there: page, numbers, models, transcripts and verdicts."""
    pages = (results / "report.html", results / "summary.json")
    yield from (page for page in pages if page.exists())
    folders = [results / "tables"]
    for run in data.trainings:
        folders.append(results / "training" / run.variant / f"s{run.seed}" / "adapter")
        folders.append(results / "merged" / run.variant / f"s{run.seed}" / "model")
    yield from (folder for folder in folders if folder.is_dir())
    for subject, suite in data.evaluated:
        folder = results / "evaluation" / subject / suite
        yield from (folder / "transcripts.jsonl", folder / "verdicts.jsonl")


def _entity(crate: ROCrate, results: Path, path: Path) -> Any:
    if path.is_dir():
        name = f"{path.relative_to(results).as_posix()}/"
        return crate.add_directory(path, name, properties={"name": name})
    return _file(crate, results, path)


def _file(crate: ROCrate, results: Path, path: Path) -> Any:
    name = path.relative_to(results).as_posix()
    return crate.add_file(
        path,
        name,
        properties={
            "name": name,
            "encodingFormat": FORMATS.get(path.suffix, "application/octet-stream"),
            "contentSize": str(path.stat().st_size),
            "sha256": sha256_file(path),
        },
    )


def _times(data: ReportData) -> tuple[str, str]:
    """When the first stage started, and now, in UTC."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    records = [str(run.record["started"]) for run in data.runs if run.record.get("started")]
    return min(records, default=now).replace("Z", "+00:00"), now
