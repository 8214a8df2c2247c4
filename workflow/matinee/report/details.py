"""What verdicts say as facts, put into the page's language; and what a parser says in English."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matinee.messages.transcripts import Detail

SENTENCES = Path(__file__).with_name("details.yaml")
# What a name in braces may stand for; any other may stand for anything.
SHAPES = {"number": r"\d+", "place": r"\d+"}
_PLACEHOLDER = re.compile(r"{(\w+)}")


@dataclass(frozen=True)
class Sentence:
    """An English sentence as a pattern, and the translation that its parts are put into."""

    pattern: re.Pattern[str]
    translation: str

    def translate(self, text: str) -> str | None:
        """The translation, or None where the text is not this sentence."""
        found = self.pattern.fullmatch(text)
        if found is None:
            return None
        parts = {
            name: in_chinese(value) if name == "detail" else value
            for name, value in found.groupdict().items()
        }
        return _PLACEHOLDER.sub(lambda name: parts[name[1]], self.translation)


def said(detail: Detail, language: str = "en") -> str:
    """What a verdict says, in `en` or `zh`."""
    parts = {
        name: said(value, language) if isinstance(value, Detail) else value
        for name, value in detail.values.items()
    }
    if language == "zh" and detail.key == "unparsable":
        parts["said"] = in_chinese(str(parts["said"]))
    return str(_table()["verdicts"][detail.key][language].format(**parts))


@functools.cache
def _table() -> dict[str, Any]:
    import yaml

    loaded: dict[str, Any] = yaml.load(
        SENTENCES.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader
    )
    return loaded


def in_chinese(text: str) -> str:
    """The sentence in Chinese; as it is where the table does not have it."""
    for sentence in sentences():
        said = sentence.translate(text)
        if said is not None:
            return said
    return text


@functools.cache
def sentences() -> tuple[Sentence, ...]:
    """The table, in its order."""
    return tuple(Sentence(_pattern(row["en"]), row["zh"]) for row in _table()["parsing"])


def _pattern(english: str) -> re.Pattern[str]:
    literals = _PLACEHOLDER.split(english)
    pieces = [
        f"(?P<{part}>{SHAPES.get(part, '.+')})" if place % 2 else re.escape(part)
        for place, part in enumerate(literals)
    ]
    return re.compile("".join(pieces), re.DOTALL)
