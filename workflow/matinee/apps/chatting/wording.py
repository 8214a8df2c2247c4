"""The words of page and terminal in two languages, and short texts made of them."""

from __future__ import annotations

import datetime
import re
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import yaml

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)


@cache
def _table() -> dict[str, dict[str, str]]:
    path = Path(__file__).parent / "words.yaml"
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


@cache
def _reasons() -> list[tuple[re.Pattern[str], str]]:
    path = Path(__file__).parent / "reasons.yaml"
    table = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [(re.compile(phrase), said) for phrase, said in table.items()]


class Words:
    """The words of one language."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def __call__(self, name: str, /, **values: object) -> str:
        """The text called `name`, with its blanks filled."""
        return _table()[name][self.language].format(**values)

    def reason(self, text: str) -> str:
        """A reason of the agent, which thinks in Chinese, with its own phrases in this language."""
        if self.language == "zh":
            return text
        for phrase, said in _reasons():
            text = phrase.sub(said, text)
        return text

    def age(self, age: datetime.timedelta) -> str:
        """How long ago something was."""
        minutes = int(age.total_seconds()) // 60
        if minutes < 1:
            return self("just_now")
        if minutes < 60:
            return self("minutes_ago", count=minutes)
        if minutes < 24 * 60:
            return self("hours_ago", count=minutes // 60)
        return self("days_ago", count=minutes // (24 * 60))


def preferred(accepted: str) -> Language:
    """The language for a browser's Accept-Language: Chinese where it comes first, else English."""
    first = accepted.partition(",")[0].strip().lower()
    return "zh" if first.startswith("zh") else "en"
