"""Systematic variations of accepted calls, right ones and wrong ones, for `bfcl_agreement.py`.

Each kind yields every form that it can take in a case: one changed argument, or one changed list
of calls, at a time. Nothing is drawn by chance.
"""

from __future__ import annotations

import copy
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Call = tuple[str, dict[str, Any]]
Calls = list[Call]


@dataclass(frozen=True)
class Question:
    """A question of BFCL with its functions as published and its accepted answer."""

    functions: list[dict[str, Any]]
    answer: list[dict[str, dict[str, list[Any]]]]

    def properties(self, tool: str) -> dict[str, Any]:
        """The parameters of a tool as described."""
        found = next((one for one in self.functions if one["name"] == tool), None)
        return dict(found["parameters"]["properties"]) if found else {}

    def accepted(self, last: bool = False, least: bool = False) -> Calls:
        """The accepted calls with the first (or last) values; `least` leaves out what may be."""
        return [
            (tool, _chosen(parameters, last, least))
            for one in self.answer
            for tool, parameters in one.items()
        ]


def _chosen(parameters: dict[str, list[Any]], last: bool, least: bool) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for name, values in parameters.items():
        present = [value for value in values if value != ""]
        if present and not (least and "" in values):
            chosen[name] = _value(present[-1 if last else 0], last, least)
    return chosen


def _value(value: Any, last: bool, least: bool) -> Any:
    """Objects hold a list of accepted values per key, at the first level."""
    if isinstance(value, dict) and all(isinstance(options, list) for options in value.values()):
        return _chosen(value, last, least)
    if isinstance(value, list):
        return [_value(part, last, least) if isinstance(part, dict) else part for part in value]
    return value


def variations(question: Question) -> Iterator[tuple[str, Calls]]:
    """Each kind with its calls; what a kind leaves unchanged is not repeated."""
    gold = question.accepted()
    yield "accepted: first values", gold
    yield "accepted: last values", question.accepted(last=True)
    yield "accepted: optional ones left out", question.accepted(least=True)
    for kind, make in _OF_CALLS.items():
        for made in make(question, copy.deepcopy(gold)):
            if made != gold:
                yield kind, made
    for kind, change in _OF_VALUES.items():
        for position, (tool, arguments) in enumerate(gold):
            for name, value in arguments.items():
                for changed in change(value):
                    made = copy.deepcopy(gold)
                    made[position] = (tool, {**arguments, name: changed})
                    if not _identical(changed, value):
                        yield kind, made


def _identical(one: Any, other: Any) -> bool:
    return type(one) is type(other) and repr(one) == repr(other)


# --- the list of calls, names, and which arguments there are -----------------------------------


def _other_tool(question: Question, calls: Calls) -> Iterator[Calls]:
    used = {tool for tool, _ in calls}
    for one in question.functions:
        if one["name"] not in used:
            yield [(one["name"], calls[0][1]), *calls[1:]]
            return


def _one_more_tool(question: Question, calls: Calls) -> Iterator[Calls]:
    used = {tool for tool, _ in calls}
    for one in question.functions:
        if one["name"] not in used:
            yield [*calls, (one["name"], {})]
            return


def _swapped_arguments(question: Question, calls: Calls) -> Iterator[Calls]:
    for name in calls[0][1]:
        if len(calls) > 1 and calls[0][0] == calls[1][0] and name in calls[1][1]:
            made = copy.deepcopy(calls)
            made[0][1][name], made[1][1][name] = calls[1][1][name], calls[0][1][name]
            yield made
            return


def _swapped_values(question: Question, calls: Calls) -> Iterator[Calls]:
    for position, (tool, arguments) in enumerate(calls):
        names = list(arguments)
        for first, second in itertools.pairwise(names):
            if type(arguments[first]) is type(arguments[second]):
                made = copy.deepcopy(calls)
                swapped = {first: arguments[second], second: arguments[first]}
                made[position] = (tool, arguments | swapped)
                yield made
                break


def _each_left_out(question: Question, calls: Calls) -> Iterator[Calls]:
    for position, (tool, arguments) in enumerate(calls):
        for name in arguments:
            made = copy.deepcopy(calls)
            made[position] = (tool, {key: arguments[key] for key in arguments if key != name})
            yield made


def _each_renamed(question: Question, calls: Calls) -> Iterator[Calls]:
    for position, (tool, arguments) in enumerate(calls):
        for name in arguments:
            made = copy.deepcopy(calls)
            renamed = {
                (key.swapcase() if key == name else key): arguments[key] for key in arguments
            }
            made[position] = (tool, renamed)
            yield made


def _with_defaults(question: Question, calls: Calls, in_answer: bool) -> Iterator[Calls]:
    """Absent arguments given with the default that the description names."""
    for position, (tool, arguments) in enumerate(calls):
        answered = question.answer[position][tool]
        for name, described in question.properties(tool).items():
            known = name in answered
            if "default" in described and name not in arguments and known == in_answer:
                made = copy.deepcopy(calls)
                made[position] = (tool, {**arguments, name: described["default"]})
                yield made


_OF_CALLS: dict[str, Callable[[Question, Calls], Iterator[Calls]]] = {
    "no call": lambda question, calls: iter([[]]),
    "last call dropped": lambda question, calls: iter([calls[:-1]] if len(calls) > 1 else []),
    "first call doubled": lambda question, calls: iter([[calls[0], *calls]]),
    "last call instead of the first": lambda question, calls: iter(
        [[calls[-1], *calls[1:]]] if len(calls) > 1 else []
    ),
    "order of calls reversed": lambda question, calls: iter([calls[::-1]]),
    "order of arguments reversed": lambda question, calls: iter(
        [[(tool, dict(reversed(arguments.items()))) for tool, arguments in calls]]
    ),
    "another tool": _other_tool,
    "another tool as well": _one_more_tool,
    "tool that does not exist": lambda question, calls: iter(
        [[(calls[0][0] + "_now", calls[0][1]), *calls[1:]]]
    ),
    "tool name in other case": lambda question, calls: iter(
        [[(calls[0][0].swapcase(), calls[0][1]), *calls[1:]]]
    ),
    "dots of a tool name as underscores": lambda question, calls: iter(
        [[(tool.replace(".", "_"), arguments) for tool, arguments in calls]]
    ),
    "arguments swapped between calls": _swapped_arguments,
    "values swapped between arguments": _swapped_values,
    "argument left out": _each_left_out,
    "argument name in other case": _each_renamed,
    "argument that does not exist": lambda question, calls: iter(
        [[(calls[0][0], {**calls[0][1], "surplus": "x"}), *calls[1:]]]
    ),
    "no arguments": lambda question, calls: iter([[(tool, {}) for tool, _ in calls]]),
    "default given, answer lists it": lambda q, calls: _with_defaults(q, calls, in_answer=True),
    "default given, answer silent": lambda q, calls: _with_defaults(q, calls, in_answer=False),
}


# --- one value ---------------------------------------------------------------------------------

Values = Iterator[Any]


def _texts(change: Callable[[str], str]) -> Callable[[Any], Values]:
    """The change on a text, on each text of a list, and on each text of an object."""

    def changed(value: Any) -> Values:
        if isinstance(value, str):
            yield change(value)
        elif isinstance(value, list):
            inner = [change(part) if isinstance(part, str) else part for part in value]
            if inner != value:
                yield inner
        elif isinstance(value, dict):
            made = {key: change(v) if isinstance(v, str) else v for key, v in value.items()}
            if made != value:
                yield made

    return changed


def _numbers(change: Callable[[float], Any], whole: bool | None = None) -> Callable[[Any], Values]:
    """The change on a number; `whole`: only on those written without (with) a fraction."""

    def fits(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return whole is None or isinstance(value, int) == whole

    def changed(value: Any) -> Values:
        if fits(value):
            yield change(value)
        elif isinstance(value, list) and any(map(fits, value)):
            yield [change(part) if fits(part) else part for part in value]
        elif isinstance(value, dict) and any(map(fits, value.values())):
            yield {key: change(v) if fits(v) else v for key, v in value.items()}

    return changed


def _of(kind: type, change: Callable[[Any], Any]) -> Callable[[Any], Values]:
    def changed(value: Any) -> Values:
        if type(value) is kind:
            yield change(value)

    return changed


def _full_width(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def _without_accents(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def _without_last(value: dict[str, Any]) -> dict[str, Any]:
    return dict(list(value.items())[:-1])


_OF_VALUES: dict[str, Callable[[Any], Values]] = {
    "null": lambda value: iter([None]),
    "number + 1": _numbers(lambda number: number + 1),
    "number times 10": _numbers(lambda number: number * 10),
    "number negated": _numbers(lambda number: -number),
    "number as text": _numbers(str),
    "whole number with .0": _numbers(float, whole=True),
    "whole fraction without .0": _numbers(
        lambda number: int(number) if number == int(number) else number, whole=False
    ),
    "boolean flipped": _of(bool, lambda value: not value),
    "boolean as text": _of(bool, lambda value: str(value).lower()),
    "boolean as number": _of(bool, int),
    "other text": _texts(lambda text: f"not {text}"),
    "half of the text": _texts(lambda text: text[: len(text) // 2]),
    "empty text": _texts(lambda text: ""),
    "text in a list": _of(str, lambda text: [text]),
    "text in upper case": _texts(str.upper),
    "text in lower case": _texts(str.lower),
    "space around text": _texts(lambda text: f" {text} "),
    "spaces doubled": _texts(lambda text: text.replace(" ", "  ")),
    "spaces left out": _texts(lambda text: text.replace(" ", "")),
    "no-break spaces": _texts(lambda text: text.replace(" ", "\u00a0")),
    "spaces as underscores": _texts(lambda text: text.replace(" ", "_")),
    "hyphens as spaces": _texts(lambda text: text.replace("-", " ")),
    "underscores as hyphens": _texts(lambda text: text.replace("_", "-")),
    "commas left out": _texts(lambda text: text.replace(",", "")),
    "full stop added": _texts(lambda text: f"{text}."),
    "exclamation mark added": _texts(lambda text: f"{text}!"),
    "full stops left out": _texts(lambda text: text.replace(".", "")),
    "slashes left out": _texts(lambda text: text.replace("/", "")),
    "hyphens left out": _texts(lambda text: text.replace("-", "")),
    "carets and asterisks left out": _texts(lambda text: re.sub(r"[\^*]", "", text)),
    "apostrophes as quotation marks": _texts(lambda text: text.replace("'", '"')),
    "typographic apostrophes": _texts(lambda text: text.replace("'", "\u2019")),
    "dates with slashes": _texts(lambda text: re.sub(r"(\d{4})-(\d\d)-(\d\d)", r"\1/\2/\3", text)),
    "dates without separators": _texts(
        lambda text: re.sub(r"(\d{4})-(\d\d)-(\d\d)", r"\1\2\3", text)
    ),
    "thousands in text with commas": _texts(
        lambda text: re.sub(r"(?<![\d.])\d{4,9}(?![\d.])", lambda n: f"{int(n[0]):,}", text)
    ),
    "full-width letters": _texts(_full_width),
    "accents decomposed": _texts(lambda text: unicodedata.normalize("NFD", text)),
    "accents left out": _texts(_without_accents),
    "list reversed": _of(list, lambda value: value[::-1]),
    "last element dropped": _of(list, lambda value: value[:-1]),
    "last element doubled": _of(list, lambda value: [*value, *value[-1:]]),
    "element added": _of(list, lambda value: [*value, "x"]),
    "list in a list": _of(list, lambda value: [value]),
    "first element instead of the list": _of(list, lambda value: value[0] if value else None),
    "list as text": _of(list, str),
    "empty list": _of(list, lambda value: []),
    "last key dropped": _of(dict, _without_last),
    "key added": _of(dict, lambda value: {**value, "surplus": "x"}),
    "keys in other case": _of(dict, lambda value: {k.swapcase(): v for k, v in value.items()}),
    "object as text": _of(dict, str),
    "object in a list": _of(dict, lambda value: [value]),
    "empty object": _of(dict, lambda value: {}),
}
