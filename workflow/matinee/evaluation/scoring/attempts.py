"""The calls that a transcript holds, each with what came back and what was known before it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from matinee.evaluation.scoring.replies import reply_fault
from matinee.evaluation.scoring.schemas import SchemaFault, ToolSchemas
from matinee.messages.scenarios import Scenario
from matinee.messages.transcripts import Observation, Step, Transcript

# Refusals of the call itself; the others (time-outs, nothing found) say nothing against it.
FORM_REFUSALS = {
    *("unknown_tool", "bad_arguments", "missing_parameter"),
    *("unknown_parameter", "wrong_type", "out_of_range"),
}
# What a tool says that did what was asked and found nothing.
FOUND_NOTHING = {"not_found", "no_record"}

# Refusals that would have met any call.
PASSING = {"timeout", "rate_limit", "server_error", "empty"}


@dataclass(frozen=True)
class Attempt:
    """One call that a model wrote.

    `step`: position of its step in the transcript. `observation`: None where it was never sent.
    `problem`: what the tool's schema says against it. `sources`: user messages and results (not
    error messages) that the model had seen when it wrote the call. `final`: the call counts as it
    stands, because nothing answers it. `unsent`: found in a text that the run could not read.
    """

    step: int
    name: str
    arguments: dict[str, Any]
    observation: Observation | None
    problem: SchemaFault | None
    sources: tuple[str, ...]
    final: bool = False
    unsent: bool = False

    @cached_property
    def key(self) -> str:
        """Equal for calls of the same tool with the same arguments."""
        return self.name + json.dumps(self.arguments, sort_keys=True)

    @property
    def refused(self) -> bool:
        """Nothing was executed: the schema, the tool or an injected fault was against it."""
        failed = self.observation is not None and self.observation.error is not None
        return not self.final and (failed or self.unsent or self.problem is not None)

    @property
    def answered(self) -> bool:
        """Whether the tool did what was asked, if only to find nothing."""
        error = self.observation.error if self.observation else None
        return not self.refused or (error in FOUND_NOTHING and self.problem is None)

    @property
    def malformed(self) -> bool:
        """Refused for what the call itself says."""
        refusal = self.observation.error if self.observation else None
        return not self.final and (self.problem is not None or refusal in FORM_REFUSALS)

    def seen(self, value: Any) -> bool:
        """Whether a value stood in the sources in any case, not as part of a longer word."""
        text = re.escape(str(value))
        pattern = re.compile(rf"(?<![0-9A-Za-z_]){text}(?![0-9A-Za-z_])", re.IGNORECASE)
        return any(pattern.search(source) for source in self.sources)


@dataclass(frozen=True)
class TurnRecord:
    """The steps of one turn and the calls in them; `last` where the loop ended in this turn.

    `faults`: per step without a call, what keeps it from being a reply.
    """

    steps: tuple[Step, ...]
    attempts: tuple[Attempt, ...]
    first_step: int
    last: bool
    faults: tuple[SchemaFault | None, ...]

    @property
    def final_text(self) -> str:
        """The text of the turn's last output where that held no call, else nothing."""
        if not self.steps or self.steps[-1].parse.calls or self.steps[-1].parse.error:
            return ""
        return self.steps[-1].parse.content

    @property
    def fault(self) -> SchemaFault | None:
        """The first output without a call that is no reply."""
        return next((one for one in self.faults if one is not None), None)

    @property
    def tried_to_call(self) -> bool:
        """Whether any output held a call, in whatever form, or what broke as one."""
        other = any(one is not None and one.error == "call_in_other_form" for one in self.faults)
        return other or any(step.parse.calls or step.parse.error for step in self.steps)


def turn_records(
    scenario: Scenario, transcript: Transcript, schemas: ToolSchemas, *, final: bool = False
) -> tuple[TurnRecord, ...]:
    """One record per turn of the scenario; turns that were not reached have no steps.

    `final`: see `Attempt`.
    """
    sources: list[str] = []
    said: list[str] = []
    records: list[TurnRecord] = []
    played = max((step.turn for step in transcript.steps), default=0)
    for number, turn in enumerate(scenario.turns):
        sources.append(turn.user)
        said.append(turn.user)
        indexed = [(i, step) for i, step in enumerate(transcript.steps) if step.turn == number]
        attempts: list[Attempt] = []
        faults: list[SchemaFault | None] = []
        for index, step in indexed:
            calls = step.parse.calls or step.parse.error
            faults.append(None if calls else reply_fault(step, said, schemas))
            attempts += _attempts(index, step, tuple(sources), schemas, final)
            sources += [seen.content for seen in step.observations if seen.error is None]
            sources += [step.reply] if step.reply else []
            said += [step.reply] if step.reply else []
        steps = tuple(step for _, step in indexed)
        first = indexed[0][0] if indexed else 0
        records.append(TurnRecord(steps, tuple(attempts), first, number == played, tuple(faults)))
    return tuple(records)


def _attempts(
    index: int, step: Step, sources: tuple[str, ...], schemas: ToolSchemas, final: bool
) -> list[Attempt]:
    """The step's calls. An output that was cut off, or broke on its way, was never sent."""
    if step.finish == "length" or step.parse.error is not None:
        return []
    names = [call.name for call in step.parse.calls]
    paired: Sequence[Observation | None] = step.observations
    if [seen.tool for seen in step.observations] != names:
        paired = [None] * len(names)
    unsent = any(seen.error == "unparsable" for seen in step.observations)
    attempts = []
    for call, observation in zip(step.parse.calls, paired, strict=True):
        arguments = dict(json.loads(call.arguments))
        problem = schemas.problem(call.name, arguments)
        attempts.append(
            Attempt(index, call.name, arguments, observation, problem, sources, final, unsent)
        )
    return attempts
