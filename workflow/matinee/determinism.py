"""The record of stages that were run a second time under other circumstances, and what differed."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from matinee.runtime.errors import DataError


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Repeat(_Record):
    """One more run. `settings`: what was other than the first time.

    Of the things compared, `equal_bytes` came out bit for bit the same, and `equal_calls` with the
    same tool calls (None where the stage makes none). `differing` names those that are not equal
    bit for bit.
    """

    settings: dict[str, int | float | str | bool]
    equal_bytes: int
    equal_calls: int | None = None
    differing: tuple[str, ...] = ()


class Check(_Record):
    """One stage's artefact made again. `compared`: how many things, such as cases, it holds."""

    stage: str
    artefact: str
    compared: int
    settings: dict[str, int | float | str | bool]
    repeats: tuple[Repeat, ...]


class Determinism(_Record):
    """The content of `results/determinism.json`."""

    checks: tuple[Check, ...]


def read_determinism(path: Path) -> Determinism | None:
    """The record, or None where nothing was run a second time. Raises DataError if it is broken."""
    if not path.is_file():
        return None
    try:
        return Determinism.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DataError(
            f"{path}: not a record of determinism ({place}: {first['msg']}). "
            "Delete the file or make it again."
        ) from error
