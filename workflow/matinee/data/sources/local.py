"""A file or folder on this machine: models are linked where possible, data is copied."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from matinee.data.sources.gguf import MAGIC
from matinee.data.sources.integrity import begins_with, link_all, link_or_copy
from matinee.data.sources.selection import MODEL_FILES, PICKLES, matches, require_safe_weights
from matinee.runtime.errors import SourceError


def fetch(path: Path, folder: Path, what: str) -> dict[str, Any]:
    """Leaves the files of `path` in `folder`: a model's own files, or all of a data set's.

    Raises SourceError where there is nothing, or a model that is only pickled.
    """
    if not path.exists():
        raise SourceError(f"{path} does not exist")
    if what == "dataset":
        _copy_data(path, folder)
    elif path.is_dir():
        # A link would change what was fetched when the user writes the file anew in its place.
        link_all(path, _of_model(path), folder, copy=True)
    else:
        if not begins_with(path, MAGIC):
            require_safe_weights([path.name], [path.name])
        link_or_copy(path, folder / path.name, copy=True)
    return {"revision": "", "commit": "", "licence": ""}


def _of_model(path: Path) -> list[str]:
    files = sorted(file for file in path.iterdir() if file.is_file())
    names = [file.name for file in files]
    if "config.json" in names:
        chosen = [name for name in names if matches(name, MODEL_FILES)]
        require_safe_weights(chosen, names)
        return chosen
    if not (chosen := [file.name for file in files if begins_with(file, MAGIC)]):
        raise SourceError(
            f"{path} has no config.json and no GGUF file, so it is not a transformers model folder"
        )
    return chosen


def _copy_data(path: Path, folder: Path) -> None:
    base = path if path.is_dir() else path.parent
    files = sorted(file for file in path.rglob("*") if file.is_file()) if base == path else [path]
    chosen = [
        file
        for file in files
        if file == path
        or (
            not matches(file.name, PICKLES)
            and not any(part.startswith(".") for part in file.relative_to(base).parts)
        )
    ]
    if not chosen:
        raise SourceError(f"{path} holds no data files")
    for file in chosen:
        target = folder / file.relative_to(base)
        # A link would hand the user's own file to `snakemake --cache`, which lets all write it.
        if file.resolve() != target.resolve():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
