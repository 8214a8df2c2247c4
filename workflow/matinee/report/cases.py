"""The cases: one entry each for the list, and the texts of all subjects behind it.

The texts stand in the page as HTML while they are small. Beyond a limit they go into compressed
blocks, which the page's script opens when a case is opened or the texts are searched.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Template
from markupsafe import Markup

from matinee.evaluation.gold import as_fields, is_null
from matinee.messages.scenarios import GoldCall, Scenario
from matinee.messages.transcripts import Transcript, Verdict
from matinee.report.collect import ReportData
from matinee.report.words import Language

LARGEST_INLINE = 1_900_000
CASES_PER_BLOCK = 50


@dataclass(frozen=True)
class Column:
    """One subject on one case."""

    subject: str
    verdict: Verdict
    transcript: Transcript | None


@dataclass(frozen=True)
class Case:
    """One entry of the list. `key` is the name in links: suite/case, with #repeat if any."""

    key: str
    scenario: Scenario | None
    category: str
    family: str
    question: str
    columns: tuple[Column, ...]

    @property
    def marks(self) -> str:
        """One character per subject: 1 right, 0 wrong."""
        return "".join("1" if column.verdict.success else "0" for column in self.columns)

    @property
    def errors(self) -> str:
        """The error classes that occur, separated by spaces."""
        return " ".join(sorted({c.verdict.error for c in self.columns if c.verdict.error}))


@dataclass(frozen=True)
class CaseTexts:
    """The bodies of all cases: inline HTML in order, or blocks of base64 of gzip of JSON lists."""

    inline: tuple[Markup, ...]
    blocks: tuple[str, ...]


def cases_of(data: ReportData) -> list[Case]:
    """All cases in the order of the suites; a column per subject that ran the case."""
    found = []
    for suite, definition in data.suites.items():
        scenarios = {scenario.id: scenario for scenario in definition.scenarios}
        columns: dict[str, list[Column]] = {}
        for subject in data.subjects:
            evaluated = data.evaluated[subject.id, suite]
            said = {(row.case, row.repeat): row for row in evaluated.transcripts}
            for row in evaluated.verdicts:
                key = f"{suite}/{row.case}" + (f"#{row.repeat}" if row.repeat else "")
                transcript = said.get((row.case, row.repeat))
                columns.setdefault(key, []).append(Column(subject.id, row, transcript))
        for key, shared in columns.items():
            verdict = shared[0].verdict
            scenario = scenarios.get(verdict.case)
            question = scenario.turns[0].user if scenario else verdict.case
            found.append(
                Case(key, scenario, verdict.category, verdict.family, question, tuple(shared))
            )
    return found


def case_texts(
    cases: Sequence[Case],
    template: Template,
    words: Language,
    labels: dict[str, str],
    largest: int = LARGEST_INLINE,
) -> CaseTexts:
    """Renders every case's body once, and decides where the bodies go."""
    bodies = [template.render(case=case, t=words, labels=labels) for case in cases]
    if sum(len(body.encode("utf-8", "replace")) for body in bodies) <= largest:
        return CaseTexts(tuple(Markup(body) for body in bodies), ())
    starts = range(0, len(bodies), CASES_PER_BLOCK)
    blocks = (bodies[start : start + CASES_PER_BLOCK] for start in starts)
    return CaseTexts((), tuple(packed(json.dumps(block, ensure_ascii=False)) for block in blocks))


def packed(text: str) -> str:
    """Compressed for a script element; the same text is packed the same way every time."""
    raw = text.encode("utf-8", "replace")
    return base64.b64encode(gzip.compress(raw, compresslevel=6, mtime=0)).decode("ascii")


def gold_text(call: GoldCall) -> str:
    """An accepted call in one line: `tool(name: value | value)`."""
    arguments = ", ".join(f"{name}: {_accepted(value)}" for name, value in call.arguments.items())
    return f"{call.tool}({arguments})"


def _accepted(value: Any) -> str:
    if isinstance(value, list):
        return " | ".join(_accepted(one) for one in value)
    if is_null(value):
        return "null"
    fields = as_fields(value)
    if fields is not None:
        inner = ", ".join(f"{name}: {_accepted(one)}" for name, one in fields.fields.items())
        return "{" + inner + "}"
    if isinstance(value, dict) and "lookup" in value:
        return f"⟨{value['lookup']}: {value['name']}⟩"
    return "—" if value is None else str(value) or '""'
