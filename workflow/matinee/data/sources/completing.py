"""What was fetched as a model is checked to be one, and a GGUF made into one."""

from __future__ import annotations

import json
from pathlib import Path

from matinee.data.sources.gguf import MAGIC, convert_gguf
from matinee.data.sources.integrity import begins_with
from matinee.data.sources.selection import matches
from matinee.models.weights import INDEX, require_whole
from matinee.runtime.errors import DataError, SourceError

# Any of them holds a vocabulary; tokenizer_config.json alone holds none.
VOCABULARIES = ("tokenizer.json", "*.model", "vocab.*", "tokenizer.*")
LARGEST_CONFIGURATION = 16 << 20


def complete_model(folder: Path) -> None:
    """Leaves configuration, whole safetensors and tokenizer in `folder`, or raises SourceError.

    A GGUF file is known by its first four bytes, whatever its name, and converted.
    """
    files = [file for file in folder.iterdir() if file.is_file()]
    if ggufs := sorted(file for file in files if begins_with(file, MAGIC)):
        if len(ggufs) > 1:
            listed = ", ".join(file.name for file in ggufs)
            raise SourceError(f"several GGUF files ({listed}); name the one that is the model")
        convert_gguf(ggufs[0], folder)
        ggufs[0].unlink()
    elif misnamed := sorted(file.name for file in files if file.suffix == ".gguf"):
        raise SourceError(f"{misnamed[0]} is not a GGUF file: it begins otherwise")
    names = sorted(file.name for file in folder.iterdir())
    lacking = [
        what
        for what, patterns in {
            "configuration (config.json)": ("config.json",),
            f"weights (model.safetensors or {INDEX})": ("model.safetensors", INDEX),
            "tokenizer (tokenizer.json, *.model or vocab.*)": VOCABULARIES,
        }.items()
        if not any(matches(name, patterns) for name in names)
    ]
    if lacking:
        adapter = "adapter_config.json" in names
        raise SourceError(
            f"it is no model: it lacks its {' and its '.join(lacking)}; there is "
            f"{', '.join(names) or 'nothing'}"
            + (". It is an adapter: merge it into its start model first" if adapter else "")
        )
    _require_configuration(folder / "config.json")
    try:
        require_whole(folder, "The source is not whole: fetch it again there")
    except DataError as error:
        raise SourceError(str(error)) from error


def _require_configuration(file: Path) -> None:
    try:
        if file.stat().st_size > LARGEST_CONFIGURATION:
            raise ValueError(f"{file.stat().st_size:,} bytes")
        if not isinstance(json.loads(file.read_bytes()).get("model_type"), str):
            raise ValueError("no model_type")
    except (ValueError, AttributeError, RecursionError) as error:
        raise SourceError(f"its config.json is no model's configuration ({error})") from error
