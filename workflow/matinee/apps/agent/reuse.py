"""May an earlier answer be used again? The same question, and not too old for what it asks."""

from __future__ import annotations

import calendar
import datetime
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from matinee.apps.agent.events import Judgement, MemoryEntry
from matinee.runtime.places import RESOURCES
from matinee.runtime.strict import Strict, read_yaml

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
            return Judgement(False, "none", age, "没有适用的规则")
        young = rule.days is None or age < datetime.timedelta(days=rule.days)
        return Judgement(young, rule.name, age, rule.reason)

    def meaning(self, question: str, today: datetime.date) -> object:
        """What a question asks on a day; equal for two questions that ask the same thing.

        Dates are compared as days in the calendar; filler, punctuation and the order of words do
        not count; the signs of numbers and names do (5-3, 1.5, C++). Anything else that differs
        makes another question: a missed reuse costs a few seconds, a wrong one a wrong answer.
        """
        dates = list(map(str, named_periods(question, today)))
        text = unicodedata.normalize("NFKC", without_dates(question, today))
        for word in sorted(self.filler, key=len, reverse=True):
            text = text.replace(word, "")
        text = _MARKS.sub(_telling, text).lower()
        in_order = any(word in question for word in self.ordered) or any(map(str.isdigit, text))
        return (dates, text) if in_order else (sorted(dates), sorted(Counter(text).items()))


@cache
def reuse_rules(path: Path = RULES) -> ReuseRules:
    """The rules of a YAML file; without one, those of `resources/reuse.yaml`. Raises UserError."""
    return read_yaml(path, TypeAdapter(ReuseRules), "rules, filler and ordered")


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


# The days that a Chinese question names, counted from the day on which it is asked.

_DAYS = {
    "大前天": -3, "前天": -2, "前日": -2, "昨天": -1, "昨日": -1, "昨晚": -1, "今天": 0, "今日": 0,
    "今晚": 0, "今早": 0, "大后天": 3, "后天": 2, "明天": 1, "明日": 1, "明早": 1, "明晚": 1,
}  # fmt: skip
_YEARS = {"前年": -2, "去年": -1, "今年": 0, "明年": 1}
_MONTHS = {"上个月": -1, "上月": -1, "这个月": 0, "本月": 0, "下个月": 1, "下月": 1}
_WEEKS = {"上": -1, "这": 0, "本": 0, "下": 1}
_WEEKDAYS = "一二三四五六日"
_NUMERAL = re.compile(r"[零〇一二两三四五六七八九十]+(?=[年月日号])")
_DATE = re.compile(
    r"(?P<y>\d{4})\s?[年/.-]\s?(?P<m>\d{1,2})(?:\s?[月/.-]\s?(?P<d>\d{1,2})[日号]?|月份?)"
    r"|(?P<year>\d{4})年"
    r"|(?P<relative_year>前年|去年|今年|明年)(?:的?(?P<ym>\d{1,2})月(?:份|(?P<yd>\d{1,2})[日号])?)?"
    r"|(?P<relative_month>上个月|上月|这个月|本月|下个月|下月)(?:的?(?P<md>\d{1,2})[日号])?"
    r"|(?P<week>[上这本下])个?(?:周|星期|礼拜)(?P<weekday>[一二三四五六日天])"
    r"|(?P<bare_month>\d{1,2})月(?P<bare_day>\d{1,2})[日号]"
    r"|(?P<day>大前天|前天|前日|昨天|昨日|昨晚|今天|今日|今晚|今早|大后天|后天|明天|明日|明早|明晚)"
)


@dataclass(frozen=True)
class Period:
    """Days from `first` to `last`, both included."""

    first: datetime.date
    last: datetime.date

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}/{self.last}"


def named_periods(question: str, today: datetime.date) -> tuple[Period, ...]:
    """Every period that the question names, in order; what no calendar has is left out."""
    periods: list[Period] = []

    def note(period: Period, said: str) -> str:
        periods.append(period)
        return said

    _replace(question, today, note)
    return tuple(periods)


def without_dates(question: str, today: datetime.date) -> str:
    """The question without the periods that `named_periods` finds in it."""
    return _replace(question, today, lambda period, said: "")


def _replace(question: str, today: datetime.date, spell: Callable[[Period, str], str]) -> str:
    def one(match: re.Match[str]) -> str:
        try:
            return spell(_period(match, today), match[0])
        except (ValueError, OverflowError):  # 2月30日
            return match[0]

    return _DATE.sub(one, _NUMERAL.sub(_digits, question))


def _digits(match: re.Match[str]) -> str:
    """三号 → 3号, 二〇二三年 → 2023年; what is no numeral stays."""
    import cn2an

    try:
        return str(cn2an.cn2an(match[0], "smart"))
    except ValueError:
        return match[0]


def _period(match: re.Match[str], today: datetime.date) -> Period:
    part = match.groupdict()
    if part["day"]:
        day = today + datetime.timedelta(days=_DAYS[part["day"]])
        return Period(day, day)
    if part["week"]:
        monday = today - datetime.timedelta(days=today.weekday() - 7 * _WEEKS[part["week"]])
        weekday = _WEEKDAYS.index(part["weekday"].replace("天", "日"))
        day = monday + datetime.timedelta(days=weekday)
        return Period(day, day)
    year = int(part["y"] or part["year"] or today.year) + _YEARS.get(part["relative_year"], 0)
    month = part["m"] or part["ym"] or part["bare_month"]
    if part["relative_month"]:
        months = today.year * 12 + today.month - 1 + _MONTHS[part["relative_month"]]
        year, month = months // 12, months % 12 + 1
    if month is None:
        return Period(datetime.date(year, 1, 1), datetime.date(year, 12, 31))
    named = part["d"] or part["yd"] or part["md"] or part["bare_day"]
    last = calendar.monthrange(year, int(month))[1]
    first_day, last_day = (int(named), int(named)) if named else (1, last)
    return Period(
        datetime.date(year, int(month), first_day), datetime.date(year, int(month), last_day)
    )
