"""Standard operating procedures (SOP): how a known kind of task is done, written in YAML."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from matinee.runtime.errors import UserError
from matinee.runtime.strict import Strict

_Words = Annotated[tuple[str, ...], Field(min_length=1)]


class ProcedureStep(Strict):
    """One step. `tool`: must answer for the step to be done; without it the step is one inference.

    `after`: numbers (from 1) of earlier steps that must be done; where one is not, the step is
    skipped. `optional`: its failure leaves the task complete.
    """

    goal: Annotated[str, Field(min_length=1)]
    tool: str | None = None
    after: tuple[int, ...] = ()
    optional: bool = False


class Procedure(Strict):
    """A procedure for the tasks whose question has one word of every group in `words`.

    `unless`: a question with one of these words is another kind of task.
    """

    title: Annotated[str, Field(min_length=1)]
    words: Annotated[tuple[_Words, ...], Field(min_length=1)]
    unless: tuple[str, ...] = ()
    steps: Annotated[tuple[ProcedureStep, ...], Field(min_length=1)]

    def fits(self, question: str) -> bool:
        """Whether the question is of this kind."""
        return all(any(word in question for word in group) for group in self.words) and not any(
            word in question for word in self.unless
        )


def read_procedures(path: Path, tools: Collection[str]) -> tuple[Procedure, ...]:
    """The procedures of a YAML file, a list. Raises UserError, naming the entry.

    `tools`: names of the tools at hand; a step may name no other.
    """
    try:
        entries: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        procedures = TypeAdapter(tuple[Procedure, ...]).validate_python(entries)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read ({error}).") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "(file)"
        raise UserError(
            f"{path}: entry {where}: {first['msg']}. The file is a list of procedures with the "
            "keys title, words, unless and steps."
        ) from error
    for procedure in procedures:
        _refuse_unfit(path, procedure, tools)
    return procedures


def procedure_for(procedures: Sequence[Procedure], question: str) -> Procedure | None:
    """The first procedure that fits."""
    return next((procedure for procedure in procedures if procedure.fits(question)), None)


def _refuse_unfit(path: Path, procedure: Procedure, tools: Collection[str]) -> None:
    for number, step in enumerate(procedure.steps, start=1):
        where = f"{path}: procedure {procedure.title!r}, step {number}"
        if step.tool is not None and step.tool not in tools:
            raise UserError(
                f"{where}: the tool {step.tool!r} is not at hand. Tools: {', '.join(tools)}."
            )
        late = [earlier for earlier in step.after if not 1 <= earlier < number]
        if late:
            raise UserError(
                f"{where}: `after` names step {late[0]}; only earlier steps, from 1, can be named."
            )
