"""Dates and times of day as people say them, with the value that a call needs."""

from __future__ import annotations

import calendar
import random
from datetime import date, timedelta
from typing import Literal

from matinee.config.synthesis import Language

Period = Literal["past", "future", "any", "birth"]

_WEEKDAYS_ZH = "一二三四五六日"
_WEEKDAYS_EN = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_REFERENCE = date(2024, 6, 1)
_SPAN_DAYS = {"past": (-1500, -1), "future": (1, 90), "any": (-300, 90), "birth": (-22000, -3600)}


def system_date(today: date, language: Language) -> str:
    """The system message that tells the date."""
    if language == "zh":
        weekday = _WEEKDAYS_ZH[today.weekday()]
        return f"今天是{today.year}年{today.month}月{today.day}日，星期{weekday}。"
    return f"Today is {_WEEKDAYS_EN[today.weekday()]}, {today.day} {_month(today)} {today.year}."


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
    digits = str(spoken) if rng.random() < 0.5 else _clock_zh(spoken)
    return f"{part}{digits}点{'半' if minute else ''}", value


def _clock_zh(hour: int) -> str:
    return ("一", "两", "三", "四", "五", "六", "七", "八", "九", "十", "十一", "十二")[hour - 1]


def _month(day: date) -> str:
    return calendar.month_name[day.month]


def _absolute(rng: random.Random, language: Language, day: date) -> str:
    if rng.random() < 0.2:
        return day.isoformat()
    if language == "en":
        return rng.choice(
            (f"{day.day} {_month(day)} {day.year}", f"{_month(day)} {day.day}, {day.year}")
        )
    return rng.choice(
        (
            f"{day.year}年{day.month}月{day.day}日",
            f"{day.year}年{day.month}月{day.day}日",
            f"{day.year}年{day.month}月{day.day}号",
            f"{day.year}.{day.month}.{day.day}",
            f"{day.year}/{day.month}/{day.day}",
        )
    )


def _relative(rng: random.Random, language: Language, today: date) -> list[tuple[str, date]]:
    """Candidates in words relative to `today`, in the past and in the future."""
    monday = today - timedelta(days=today.weekday())
    weekday = rng.randrange(7)
    count = rng.randint(3, 9)
    name_zh, name_en = _WEEKDAYS_ZH[weekday], _WEEKDAYS_EN[weekday]

    def shifted(days: int) -> date:
        return today + timedelta(days=days)

    if language == "en":
        return [
            ("yesterday", shifted(-1)),
            ("yesterday", shifted(-1)),
            ("the day before yesterday", shifted(-2)),
            (f"{count} days ago", shifted(-count)),
            (f"{name_en} of last week", monday + timedelta(days=weekday - 7)),
            ("today", today),
            ("tomorrow", shifted(1)),
            ("tomorrow", shifted(1)),
            ("the day after tomorrow", shifted(2)),
            (f"in {count} days", shifted(count)),
            (f"{name_en} of next week", monday + timedelta(days=weekday + 7)),
        ]
    other = _other_day(rng, today)
    return [
        ("昨天", shifted(-1)),
        ("昨天", shifted(-1)),
        ("昨日", shifted(-1)),
        ("前天", shifted(-2)),
        ("大前天", shifted(-3)),
        (f"{count}天前", shifted(-count)),
        (f"上周{name_zh}", monday + timedelta(days=weekday - 7)),
        (f"上星期{name_zh}", monday + timedelta(days=weekday - 7)),
        ("今天", today),
        ("明天", shifted(1)),
        ("明天", shifted(1)),
        ("后天", shifted(2)),
        ("大后天", shifted(3)),
        (f"{count}天后", shifted(count)),
        (f"下周{name_zh}", monday + timedelta(days=weekday + 7)),
        (f"{other.month}月{other.day}{rng.choice('日号')}", other),
        (f"今年{other.month}月{other.day}{rng.choice('日号')}", other),
        _last_year(rng, today),
    ]


def _other_day(rng: random.Random, today: date) -> date:
    """Another day of this year; today itself when the draw hits it."""
    return date(today.year, 1, 1) + timedelta(days=rng.randrange(365))


def _last_year(rng: random.Random, today: date) -> tuple[str, date]:
    day = date(today.year - 1, 1, 1) + timedelta(days=rng.randrange(365))
    festivals = (("国庆节", (10, 1)), ("元旦", (1, 1)), ("劳动节", (5, 1)), ("圣诞节", (12, 25)))
    if rng.random() < 0.4:
        name, (month, number) = rng.choice(festivals)
        return f"去年{name}", date(today.year - 1, month, number)
    return f"去年{day.month}月{day.day}{rng.choice('日号')}", day
