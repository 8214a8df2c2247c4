"""Dates and times of day as people say them, with the value that a call needs."""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import Literal

from matinee.config.synthesis import Language
from matinee.data.synthesis.wording import phrases, say

Period = Literal["past", "future", "any", "birth"]

_WEEKDAYS_ZH = "一二三四五六日"
_CLOCK_ZH = ("一", "两", "三", "四", "五", "六", "七", "八", "九", "十", "十一", "十二")
_WEEKDAYS_EN = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_REFERENCE = date(2024, 6, 1)
_SPAN_DAYS = {"past": (-1500, -1), "future": (1, 90), "any": (-300, 90), "birth": (-22000, -3600)}


def system_date(today: date, language: Language) -> str:
    """The system message that tells the date, in one of a few forms by the day."""
    forms = phrases("today", language)
    return today.strftime(forms[today.toordinal() % len(forms)]).format(
        year=today.year,
        month=today.month,
        day=today.day,
        weekday=(_WEEKDAYS_ZH if language == "zh" else _WEEKDAYS_EN)[today.weekday()],
    )


def draw_today(rng: random.Random) -> date:
    """A day on which a list of conversations takes place."""
    return date(2021, 1, 1) + timedelta(days=rng.randrange(365 * 6))


def draw_date(
    rng: random.Random, language: Language, period: Period, today: date | None
) -> tuple[str, date]:
    """Words and day. Relative words ('yesterday') are used only where `today` is known."""
    relative_share = 0.0 if period == "birth" else 0.6
    if today is not None and rng.random() < relative_share:
        fitting = [
            (words, day)
            for words, day in _relative(rng, language, today)
            if period == "any" or (day < today if period == "past" else day >= today)
        ]
        return rng.choice(fitting)
    low, high = _SPAN_DAYS[period]
    day = (today or _REFERENCE) + timedelta(days=rng.randint(low, high))
    return _absolute(rng, language, day), day


def draw_time(rng: random.Random, language: Language) -> tuple[str, str]:
    """Words and `HH:MM` (24 hours), on the hour or half past, from 8:00 to 21:30."""
    hour, minute = rng.randint(8, 21), rng.choice((0, 0, 30))
    value = f"{hour:02d}:{minute:02d}"
    if rng.random() < 0.25:
        return f"{hour}:{minute:02d}", value
    if language == "en":
        clock = f"{(hour - 1) % 12 + 1}{':30' if minute else ''}"
        return f"{clock} {'am' if hour < 12 else 'pm'}", value
    spoken = (hour - 1) % 12 + 1
    part = "早上" if hour < 9 else "上午" if hour < 12 else "中午" if hour == 12 else "下午"
    part = "晚上" if hour >= 18 else part
    digits = str(spoken) if rng.random() < 0.5 else _CLOCK_ZH[spoken - 1]
    return f"{part}{digits}点{'半' if minute else ''}", value


def _absolute(rng: random.Random, language: Language, day: date) -> str:
    if rng.random() < 0.2:
        return day.isoformat()
    return day.strftime(
        say(rng, "dates", language, year=f"{day.year}", month=f"{day.month}", day=f"{day.day}")
    )


def _relative(rng: random.Random, language: Language, today: date) -> list[tuple[str, date]]:
    """Candidates in words relative to `today`, in the past and in the future."""
    weekday, count = rng.randrange(7), rng.randint(3, 9)
    name = (_WEEKDAYS_ZH if language == "zh" else _WEEKDAYS_EN)[weekday]
    to_weekday = weekday - today.weekday()
    days = {"-n": -count, "n": count, "last week": to_weekday - 7, "next week": to_weekday + 7}
    found = [
        (words.format(n=count, weekday=name), today + timedelta(days=days.get(rule, rule)))
        for words, rule in phrases("days", language)
    ]
    if language == "zh":
        other = date(today.year, 1, 1) + timedelta(days=rng.randrange(365))
        for year in ("", "今年"):
            found.append((f"{year}{other.month}月{other.day}{rng.choice('日号')}", other))
        found.append(_last_year(rng, today))
    return found


def _last_year(rng: random.Random, today: date) -> tuple[str, date]:
    day = date(today.year - 1, 1, 1) + timedelta(days=rng.randrange(365))
    festivals = (("国庆节", (10, 1)), ("元旦", (1, 1)), ("劳动节", (5, 1)), ("圣诞节", (12, 25)))
    if rng.random() < 0.4:
        name, (month, number) = rng.choice(festivals)
        return f"去年{name}", date(today.year - 1, month, number)
    return f"去年{day.month}月{day.day}{rng.choice('日号')}", day
