"""A file or folder on this machine: models are linked where possible, data is copied."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from matinee.data.sources.integrity import link_or_copy
from matinee.data.sources.selection import MODEL_FILES, PICKLES, matches, require_safe_weights
from matinee.runtime.errors import SourceError


def fetch(path: Path, folder: Path, what: str) -> dict[str, Any]:
    """Leaves the files of `path` in `folder`: a model's own files, or all of a data set's.

    Raises SourceError where there is nothing, or a model that is only pickled.
    """
    if not path.exists():
        raise SourceError(f"{path} does not exist")
    if path.is_file():
        chosen = [path]
        base = path.parent
        if what == "model":
            require_safe_weights([path.name], [path.name])
    else:
        base = path
        chosen = _of_model(path) if what == "model" else _of_dataset(path)
    for file in chosen:
        target = folder / file.relative_to(base)
        if what == "model":
            link_or_copy(file, target)
        elif file.resolve() != target.resolve():
            # A link would hand the user's own file to `snakemake --cache`, which lets all write it.
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    return {"revision": "", "commit": "", "licence": ""}


def _of_model(path: Path) -> list[Path]:
    names = sorted(file.name for file in path.iterdir() if file.is_file())
    patterns = MODEL_FILES if "config.json" in names else ("*.gguf",)
    chosen = [name for name in names if matches(name, patterns)]
    if not chosen:
        raise SourceError(f"{path} has no config.json, so it is not a transformers model folder")
    require_safe_weights(chosen, names)
    return [path / name for name in chosen]


def _of_dataset(path: Path) -> list[Path]:
    files = sorted(file for file in path.rglob("*") if file.is_file())
    relative = [file.relative_to(path) for file in files]
    chosen = [
        path / name
        for name in relative
        if not matches(name.name, PICKLES) and not any(part.startswith(".") for part in name.parts)
    ]
    if not chosen:
        raise SourceError(f"{path} holds no data files")
    return chosen
