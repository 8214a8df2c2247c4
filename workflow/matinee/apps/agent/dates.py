"""The days that a Chinese question names, counted from the day on which it is asked."""

from __future__ import annotations

import calendar
import datetime
import re
from collections.abc import Callable
from dataclasses import dataclass

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
    if part["y"]:
        return _month_or_day(int(part["y"]), int(part["m"]), part["d"])
    if part["year"]:
        return _whole_year(int(part["year"]))
    if part["relative_year"]:
        year = today.year + _YEARS[part["relative_year"]]
        return _month_or_day(year, int(part["ym"]), part["yd"]) if part["ym"] else _whole_year(year)
    if part["relative_month"]:
        year, month = divmod(
            today.year * 12 + today.month - 1 + _MONTHS[part["relative_month"]], 12
        )
        return _month_or_day(year, month + 1, part["md"])
    if part["week"]:
        monday = today - datetime.timedelta(days=today.weekday() - 7 * _WEEKS[part["week"]])
        weekday = _WEEKDAYS.index(part["weekday"].replace("天", "日"))
        return _day(monday + datetime.timedelta(days=weekday))
    if part["bare_month"]:
        return _month_or_day(today.year, int(part["bare_month"]), part["bare_day"])
    return _day(today + datetime.timedelta(days=_DAYS[part["day"]]))


def _day(day: datetime.date) -> Period:
    return Period(day, day)


def _whole_year(year: int) -> Period:
    return Period(datetime.date(year, 1, 1), datetime.date(year, 12, 31))


def _month_or_day(year: int, month: int, day: str | None) -> Period:
    if day is not None:
        return _day(datetime.date(year, month, int(day)))
    first = datetime.date(year, month, 1)
    return Period(first, first.replace(day=calendar.monthrange(year, month)[1]))
