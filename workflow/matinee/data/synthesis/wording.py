"""The template language of requests, and the small change of speech around them.

`{name}` is a value; `[…{name}…]` is left out when a value in it is not given; `<a|b>` is a
choice. Brackets and choices do not nest in themselves; a choice may stand in a bracket.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from matinee.config.synthesis import Language

_SLOT = re.compile(r"\{(\w+)\}")
_BRACKET = re.compile(r"\[([^\[\]]*)\]")
_CHOICE = re.compile(r"<([^<>]*)>")
_TOUCHING = re.compile(r"\{(\w+)\}(?=\{(\w+)\})")
_END = "。？！.?! "


def slots_of(template: str) -> frozenset[str]:
    """All names in the template."""
    return frozenset(_SLOT.findall(template))


def droppable_alone(template: str, name: str) -> bool:
    """Whether the template can leave out just this value."""
    inside = [slots_of(part) for part in _BRACKET.findall(template)]
    bare = slots_of(_BRACKET.sub("", template))
    return name not in bare and any(name in slots for slots in inside)


def must_drop(template: str, name: str) -> frozenset[str]:
    """The names that go together with this one: those in its brackets."""
    parts = (slots_of(part) for part in _BRACKET.findall(template))
    return frozenset().union(*(slots for slots in parts if name in slots))


def shape(rng: random.Random, template: str, given: frozenset[str]) -> str:
    """The template with choices made and brackets kept or dropped; values still open."""
    kept = _BRACKET.sub(lambda found: found[1] if slots_of(found[1]) <= given else "", template)
    return _CHOICE.sub(lambda found: rng.choice(found[1].split("|")), kept)


def fill(template: str, words: Mapping[str, str]) -> str:
    """Values put in. Raises KeyError when one is missing."""
    spaced = _TOUCHING.sub(lambda found: _apart(words[found[1]], words[found[2]], found), template)
    return _SLOT.sub(lambda found: words[found[1]], spaced)


def _apart(left: str, right: str, found: re.Match[str]) -> str:
    """A space between two values that stand side by side, where digits or letters would touch."""
    touching = left[-1:].isascii() and right[:1].isascii()
    return f"{found[0]} " if touching else found[0]


_VERBS_ZH = tuple("帮查看给找搜订把列算翻预取加设开关提生")
_VERBS_EN = re.compile(
    r"(Find|Show|Look|Check|Book|Get|List|Tell|Give|Search|Add|Set|Turn|Order|Send|Play|Create|"
    r"Convert|Translate|Calculate|Track|Open|Cancel|Reserve|Read|Draw|Start|Compare|Recommend) "
)


@functools.cache
def phrases(kind: str, language: Language) -> tuple[Any, ...]:
    """The ways to say one thing, as `phrases.yaml` has them."""
    told = yaml.safe_load(Path(__file__).with_name("phrases.yaml").read_text(encoding="utf-8"))
    return tuple(told[kind][language])


def say(rng: random.Random, kind: str, language: Language, **values: str) -> str:
    """One of the ways, values filled in."""
    return str(rng.choice(phrases(kind, language))).format(**values)


def manner(rng: random.Random, text: str, language: Language) -> str:
    """The request in one of several manners: mostly bare, else polite or chatty."""
    question = text.endswith(("？", "?"))
    body = text.rstrip(_END)
    if language == "zh":
        body = _opening_zh(rng, body, question)
        end = "？" if question else rng.choice(("。", "。", ""))
        if question and rng.random() < 0.15:
            end = ""
        if rng.random() < 0.08:
            body, end = body + end + ("" if end else "，") + say(rng, "thanks", language), ""
        return body + end
    body = _grammar_en(body)
    if not question and _VERBS_EN.match(body) and rng.random() < 0.25:
        body, question = _polite_en(rng, body)
    if rng.random() < 0.12:
        body = say(rng, "leads", language) + _lower_first(body)
    thanks = say(rng, "thanks", language) if rng.random() < 0.08 else ""
    return body + ("?" if question else ".") + thanks


def _opening_zh(rng: random.Random, body: str, question: bool) -> str:
    if question and rng.random() < 0.18 and not body.startswith(("请问", "能", "可以", "我")):
        body = say(rng, "questions", "zh") + body
    elif not question and rng.random() < 0.15 and body.startswith(_VERBS_ZH):
        body = say(rng, "requests", "zh") + body
    if rng.random() < 0.1:
        body = say(rng, "leads", "zh") + body
    return body


_ADVERBS_EN = r"today|tomorrow|yesterday|the day|\d+ days ago|in \d+ days"


def _grammar_en(text: str) -> str:
    """Small words that depend on the value beside them: 'on tomorrow', 'a urgent'."""
    text = re.sub(rf"\b(?:on|for|from) ({_ADVERBS_EN})", r"\1", text)
    return re.sub(r"\b([Aa]) (?=[aeiou])(?!one|use|uni|eu)", r"\1n ", text)


def _polite_en(rng: random.Random, body: str) -> tuple[str, bool]:
    form = say(rng, "requests", "en")
    return form + _lower_first(body), form != "Please "


def _lower_first(text: str) -> str:
    first = text.split(" ", 1)[0]
    keep = (first.startswith("I") and first in ("I", "I'm", "I'd", "I've")) or first.isupper()
    return text if keep else text[0].lower() + text[1:]


def roughen(rng: random.Random, template: str, language: Language) -> str:
    """One typing slip or foreign word, in the words between the values only."""
    pieces = re.split(r"(\{\w+\})", template)
    fitting = [
        (index, old, new)
        for index, piece in enumerate(pieces)
        if not piece.startswith("{")
        for old, new in phrases("slips", language)
        if old in piece
    ]
    if fitting:
        index, old, new = rng.choice(fitting)
        pieces[index] = pieces[index].replace(old, new, 1)
    return "".join(pieces)


def join_requests(rng: random.Random, first: str, second: str, language: Language) -> str:
    """Two requests in one message."""
    end = "？" if first.endswith("？") else "。"
    head, tail = first.rstrip(_END), second
    if language == "zh":
        link = say(rng, "links", "zh", end=end)
        if "再" in link and not tail.startswith(_VERBS_ZH):
            link = "，另外"
        return head + link + tail
    link = rng.choice(
        (". Also, ", ". And ", "? Also, ") if first.endswith("?") else (" and ", ". Also, ")
    )
    return head + link.replace(".", "?" if first.endswith("?") else ".") + _lower_first(tail)


def question_back(
    rng: random.Random, labels: list[str], own: str | None, language: Language
) -> str:
    """The question for missing values: the tool's own wording or one made of the labels."""
    if own and len(labels) == 1 and rng.random() < 0.7:
        return own
    asked = ("和" if language == "zh" else " and ").join(labels)
    return say(rng, "question_back", language, asked=asked)
