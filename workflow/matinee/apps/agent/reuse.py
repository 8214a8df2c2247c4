"""May an earlier answer be used again? The same question, and not too old for what it asks."""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from matinee.apps.agent.dates import named_periods, without_dates
from matinee.apps.agent.memories import Judgement, MemoryEntry
from matinee.runtime.errors import UserError
from matinee.runtime.places import RESOURCES
from matinee.runtime.strict import Strict

RULES = RESOURCES / "reuse.yaml"
_MARKS = re.compile(r"[\W_]+")


class Rule(Strict):
    """One rule; the first that fits decides.

    It fits a question with one of `words`, or an answer that rests on one of `tools`; `dates`
    further asks that the question names dates and that all of them are over. A rule with none of
    the three fits everything. `days`: the age up to which the answer may be used; 0: never; None:
    for ever. `reason`: shown with the answer.
    """

    name: Annotated[str, Field(min_length=1)]
    words: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    dates: Literal["past"] | None = None
    days: Annotated[int, Field(ge=0)] | None
    reason: str

    def fits(self, entry: MemoryEntry) -> bool:
        """Whether the rule is about this entry."""
        if self.dates == "past" and not _all_past(entry):
            return False
        if not self.words and not self.tools:
            return True
        return any(word in entry.question for word in self.words) or any(
            tool in entry.sources for tool in self.tools
        )


class ReuseRules(Strict):
    """The rules, in order, and the words that do not change what is asked.

    `filler`: words that are left out when two questions are compared. `ordered`:
    words that make the order of a question's characters count (从北京到上海).
    """

    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]
    filler: tuple[str, ...] = ()
    ordered: tuple[str, ...] = ()

    def judge(self, entry: MemoryEntry, now: datetime.datetime) -> Judgement:
        """Whether the entry may be used at `now`; where no rule fits, it may not."""
        age = max(now - entry.kept_at, datetime.timedelta(0))
        rule = next((rule for rule in self.rules if rule.fits(entry)), None)
        if rule is None:
            return Judgement(False, "none", age, datetime.timedelta(0), "没有适用的规则")
        if rule.days is None:
            return Judgement(True, rule.name, age, None, rule.reason)
        limit = datetime.timedelta(days=rule.days)
        return Judgement(age < limit, rule.name, age, limit, rule.reason)

    def same_question(self, entry: MemoryEntry, question: str, today: datetime.date) -> bool:
        """Whether the entry's question, asked today, would ask the same thing.

        Dates are compared as days in the calendar; filler, punctuation and the order of words do
        not count; the signs of numbers and names do (5-3, 1.5, C++). Anything else that differs
        makes another question: a missed reuse costs a few seconds, a wrong one a wrong answer.
        """
        return self._key(entry.question, entry.asked_on) == self._key(question, today)

    def _key(self, question: str, today: datetime.date) -> object:
        dates = list(map(str, named_periods(question, today)))
        text = unicodedata.normalize("NFKC", without_dates(question, today))
        for word in sorted(self.filler, key=len, reverse=True):
            text = text.replace(word, "")
        text = _MARKS.sub(_telling, text).lower()
        in_order = any(word in question for word in self.ordered) or any(map(str.isdigit, text))
        return (dates, text) if in_order else (sorted(dates), sorted(Counter(text).items()))


@cache
def default_rules() -> ReuseRules:
    """The rules of `resources/reuse.yaml`."""
    return read_rules(RULES)


def read_rules(path: Path) -> ReuseRules:
    """Rules from a YAML file. Raises UserError, naming the place."""
    try:
        values: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return ReuseRules.model_validate(values)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read ({error}).") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "(file)"
        raise UserError(
            f"{path}: {where}: {first['msg']}. The file has the keys rules, filler and ordered."
        ) from error


def _telling(marks: re.Match[str]) -> str:
    """What of a run of marks may change a question.

    Between two digits everything, beside a digit or a Latin letter signs, elsewhere nothing.
    """
    before = marks.string[: marks.start()][-1:]
    after = marks.string[marks.end() :][:1]
    said = "".join(marks[0].split())
    if before.isdigit() and after.isdigit():
        return said or " "
    beside = [side for side in (before, after) if side and side.isascii()]
    return "".join(mark for mark in said if beside and _is_sign(mark, after))


def _is_sign(mark: str, after: str) -> bool:
    # A full stop ends a sentence unless a name or a number goes on behind it.
    if mark == ".":
        return bool(after) and after.isascii()
    return mark in "-#%*/" or unicodedata.category(mark) in ("Sm", "Sc")


def _all_past(entry: MemoryEntry) -> bool:
    """Whether the entry's question names dates, all of them over on the day it was asked."""
    periods = named_periods(entry.question, entry.asked_on)
    return bool(periods) and all(period.last < entry.asked_on for period in periods)
