"""Bilingual texts: `zh | en` in the catalogue's files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator

from matinee.config.synthesis import Language


@dataclass(frozen=True)
class Bilingual:
    """One text in both languages."""

    zh: str
    en: str

    def __getitem__(self, language: Language) -> str:
        return self.zh if language == "zh" else self.en


def read_pair(value: Any) -> Bilingual:
    """`zh | en` as a Pair. Raises ValueError when it is not two non-empty texts."""
    if isinstance(value, Bilingual):
        return value
    parts = [part.strip() for part in str(value).split(" | ")]
    if len(parts) != 2 or not all(parts):
        raise ValueError(f"expected 'Chinese | English', found {value!r}")
    return Bilingual(*parts)


PairField = Annotated[Bilingual, BeforeValidator(read_pair)]


@dataclass(frozen=True)
class Word:
    """A thing that users name: the words for it in each language, and its value in a call.

    `value` None: the value is the word itself, in the conversation's language.
    """

    zh: tuple[str, ...]
    en: tuple[str, ...]
    value: Any = None

    def words(self, language: Language) -> tuple[str, ...]:
        """The words for it in a language, the usual one first."""
        return self.zh if language == "zh" else self.en


def read_word(text: str, value: Any = None) -> Word:
    """`zh/synonym | en/synonym` or, with a fixed value, `zh | en | value`."""
    parts = [part.strip() for part in text.split(" | ")]
    if len(parts) not in (2, 3) or not all(parts):
        raise ValueError(f"expected 'Chinese | English' or 'Chinese | English | value': {text!r}")
    if len(parts) == 3:
        value = parts[2]
    return Word(tuple(parts[0].split("/")), tuple(parts[1].split("/")), value)
