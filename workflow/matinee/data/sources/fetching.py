"""Sources are tried in order; the one that served is recorded, and a failure names them all."""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Collection, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from matinee.config import (
    BfclSource,
    Configuration,
    DatasetSource,
    HubSource,
    Model,
    ModelSource,
    PackageSource,
    PathSource,
    RandomSource,
    UrlSource,
)
from matinee.data.sources import hub, local, modelscope, packages, tiny, urls
from matinee.data.sources.completing import complete_model
from matinee.data.sources.integrity import describe_files
from matinee.runtime.errors import SourceError
from matinee.runtime.redaction import redact

Source = HubSource | PackageSource | UrlSource | PathSource | RandomSource

BFCL_LICENCE = "Apache-2.0"
ADVICE = (
    "What to do: set HF_ENDPOINT to a mirror of the hub, add another entry to `sources` "
    "(`kind: modelscope`, `kind: url`), or fetch the files elsewhere and give their folder as "
    "`kind: path`. docs/data.md shows each."
)


def fetch_model(model: Model, folder: Path, *, offline: bool, root: Path) -> dict[str, Any]:
    """Leaves a transformers folder (configuration, safetensors, tokenizer) in the new `folder`.

    What is fetched counts only when it is such a model, or a GGUF that becomes one. Relative paths
    of the configuration start from `root`. Returns what `run.json` keeps: which source served, the
    commit, the licence, what failed before, size and SHA-256 of each file. Raises SourceError that
    lists every source tried and why it failed.
    """
    facts = _first_that_serves(f"model `{model.id}`", model.sources, folder, offline, root, "model")
    return {**facts, "files": describe_files(folder)}


def fetch_dataset(
    sources: Sequence[DatasetSource], folder: Path, *, offline: bool, root: Path
) -> dict[str, Any]:
    """Leaves the raw files of a data set in `folder`. Returns and raises as `fetch_model` does."""
    facts = _first_that_serves("the data set", sources, folder, offline, root, "dataset")
    return {**facts, "files": describe_files(folder)}


def fetch_bfcl(
    source: BfclSource, *, offline: bool, root: Path
) -> tuple[Traversable, dict[str, Any]]:
    """The folder of BFCL's question files, in its wheel or on this machine, and where it is from.

    Raises SourceError.
    """
    if source.path is not None:
        return root / source.path, {"kind": "path", "source": f"path {source.path}"}
    name = f"package {source.package}"
    try:
        wheel = packages.fetch_wheel(source.package, source.sha256, offline=offline)
    except SourceError as error:
        raise SourceError(
            f"Cannot fetch the questions of BFCL, {name}: {redact(str(error))}. Unpack the wheel "
            "elsewhere and give its folder bfcl_eval/data as `bfcl.path` of the suite."
        ) from error
    print(f"BFCL: licence: {BFCL_LICENCE}", file=sys.stderr)
    facts = {"kind": "package", "source": name, "commit": source.sha256, "licence": BFCL_LICENCE}
    return zipfile.Path(wheel, "bfcl_eval/data/"), facts


def require_sources(configuration: Configuration, results: Path) -> None:
    """Where the network is forbidden, raises SourceError that lists all that is not here."""
    if not configuration.offline:
        return
    made = [model.id for model in configuration.models if (results / "model" / model.id).exists()]
    made += [
        data.id
        for data in configuration.datasets
        if (results / "dataset" / data.id / "raw").exists()
    ]
    if missing := missing_sources(configuration, Path.cwd(), made):
        listed = "\n".join(f"  {line}" for line in missing)
        raise SourceError(
            f"The network is forbidden (`offline: true`), and this is missing:\n{listed}\n"
            "Run once with `offline: false`, or bring the files and name them as `kind: path`."
        )


def missing_sources(
    configuration: Configuration, root: Path, made: Collection[str] = ()
) -> list[str]:
    """What an offline run lacks: one line for each model, data set or suite that no source can
    serve.

    `made` holds the ids whose folders exist already. Reads no network.
    """
    wanted: list[tuple[str, str, Sequence[Source]]] = [
        ("model", model.id, model.sources) for model in configuration.models
    ]
    wanted += [("dataset", data.id, data.sources) for data in configuration.datasets]
    missing = [
        f"suite `{suite.id}`: not on this machine: package {suite.bfcl.package}"
        for suite in configuration.evaluation.suites
        if suite.bfcl is not None
        and suite.bfcl.path is None
        and suite.id not in made
        and not packages.wheel_path(suite.bfcl.package, suite.bfcl.sha256).exists()
    ]
    return missing + [
        f"{what} `{identifier}`: not on this machine: {'; '.join(map(name_of, sources))}"
        for what, identifier, sources in wanted
        if sources
        and identifier not in made
        and not any(_is_here(one, what, root) for one in sources)
    ]


def name_of(source: Source) -> str:
    """The source as it is named in messages and in `run.json`."""
    match source:
        case HubSource(kind="hf"):
            return f"hf {source.repo}@{source.revision} at {redact(hub.endpoint())}"
        case HubSource():
            return f"modelscope {source.repo}@{source.revision}"
        case PackageSource():
            return f"package {', '.join(source.packages)}"
        case UrlSource():
            return f"url {redact(source.url)}"
        case PathSource():
            return f"path {source.path}"
        case RandomSource():
            return f"random weights, seed {source.seed}"


def _first_that_serves(
    title: str,
    sources: Sequence[ModelSource] | Sequence[DatasetSource],
    folder: Path,
    offline: bool,
    root: Path,
    what: str,
) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    failures: list[str] = []
    for source in sources:
        try:
            facts = _fetch(source, folder, what, offline, root)
            if what == "model":
                complete_model(folder)
        except SourceError as error:
            failures.append(f"{name_of(source)}: {redact(str(error))}")
            if what == "model":
                # Nothing of it may stay behind beside the files of the source that serves.
                shutil.rmtree(folder)
                folder.mkdir()
            continue
        if licence := facts.get("licence"):
            print(f"{title}: licence: {licence}", file=sys.stderr)
        return {"kind": source.kind, "source": name_of(source), **facts, "failed_before": failures}
    headline = f"Cannot fetch {title}" + (
        " without the network (`offline: true`)" if offline else ""
    )
    tried = "\n".join(f"  {number}. {line}" for number, line in enumerate(failures, start=1))
    raise SourceError(f"{headline}. Tried:\n{tried}\n{ADVICE}")


def _fetch(source: Source, folder: Path, what: str, offline: bool, root: Path) -> dict[str, Any]:
    match source:
        case HubSource(kind="hf"):
            return hub.fetch(source, folder, what, offline=offline)
        case HubSource():
            return modelscope.fetch(source, folder, what, offline=offline)
        case PackageSource():
            return packages.fetch(source, folder, offline=offline)
        case UrlSource():
            return urls.fetch(source, folder, offline=offline)
        case PathSource():
            return local.fetch(root / source.path, folder, what)
        case RandomSource():
            return tiny.make(source, folder)


def _is_here(source: Source, what: str, root: Path) -> bool:
    match source:
        case HubSource():
            try:
                (hub if source.kind == "hf" else modelscope).cached(source, what)
            except SourceError:
                return False
            return True
        case PackageSource():
            return packages.kept(source).exists()
        case UrlSource():
            return urls.kept(source).exists()
        case PathSource():
            return (root / source.path).exists()
        case RandomSource():
            return True
