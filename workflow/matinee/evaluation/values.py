"""Whether a model's argument value is the accepted one, compared by what the value means.

| kind | equal | not equal |
| --- | --- | --- |
| text, code | full- or half-width, outer whitespace; a number as its digits | a and A; 03 and 3 |
| any_case, email | as text, upper or lower case | any other |
| free_text | also other spaces, quotes and end punctuation | other words |
| exact, path | nothing else | any other |
| url | HTTPS://Juhe.cn and https://juhe.cn/ | another path |
| number | 70, "70", 70.0, 七十, 0.0070万, 1,000 and 1000 | 1.5 and 15; true and 1 |
| integer | as number, both without a fraction | 5.5 and 5.5 |
| ten_thousands | 70 (unit 万), 70万, 七十万, 70万元, 700000元, ¥700000 | 70 and 700000 |
| percent | 3.25, "3.25%", 百分之三点二五 | 3.25 and 0.0325 |
| boolean | true and "true" | true and 1 |
| date | 2023-05-01, 2023/5/1, 20230501, 2023年5月1日, 二〇二三年五月一日 | another day |
| date_time | 2023-05-01T09:00, 2023年5月1日9点 | another moment; with and without zone |
| time | 9:30, 09:30, 09:30:00 | 9:30 and 21:30 |
| amount | 700000, 70万, 70万元, ¥700,000 | 70 and 70万 |
| place | 江苏 and 江苏省, 大理 and 大理白族自治州 | 吉林省 and 吉林市 |
| place_or_pinyin | as place; 上海, shanghai, Shang Hai | 宜春 and 伊春 |
| basin | 海河 and 海河流域 | another basin |
| domain | juhe.cn, https://www.juhe.cn/, JUHE.CN | another host, a path, a port |
| airport_keyword | names or codes of the same airports | 北京 (two) and 首都机场 (one) |
| any | texts as text, numbers as number, structures part by part | "7" and 7; another shape |

Whether the value has the JSON type that the schema asks for is judged elsewhere: here "70" is 70.
"""

from __future__ import annotations

import datetime
import functools
import itertools
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import cn2an

from matinee.evaluation.gold import as_fields, is_null
from matinee.evaluation.simulation.airports import meant_by
from matinee.evaluation.simulation.places import (
    cities_named,
    is_chinese,
    latin,
    plain,
    same_basin,
    same_place,
    spellings,
)
from matinee.evaluation.simulation.registers import bare_domain

_BY_TYPE = {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean"}
_BY_FORMAT = {
    **{"date": "date", "date-time": "date_time", "time": "time", "uuid": "any_case"},
    **dict.fromkeys(("email", "idn-email"), "email"),
    **dict.fromkeys(("hostname", "idn-hostname"), "domain"),
    **dict.fromkeys(("uri", "url", "iri"), "url"),
    **dict.fromkeys(("password", "byte", "binary"), "exact"),
}
_MOST_BRANCHES = 64

_DIGITS = re.compile(r"[+-]?(?:\d{1,30}|\d{1,3}(?:,\d{3}){1,9})(?:\.\d{1,30})?", re.ASCII)
_SCIENTIFIC = re.compile(r"[+-]?\d{1,30}(?:\.\d{1,30})?e[+-]?\d{1,3}", re.ASCII)
_NUMERALS = re.compile(
    r"[负零〇一二三四五六七八九十百千万亿两廿点壹贰叁肆伍陆柒捌玖拾佰仟]{1,24}"
    # Digits before units: 5百万, 1万5千.
    r"|(?:\d{1,9}(?:\.\d{1,9})?[百千万亿]{1,2}){1,4}",
    re.ASCII,
)
# NFKC would make digits of these: 10² is not 102.
_RAISED = re.compile(r"[²³¹⁰-⁹₀-₉①-⓿]")
_DASHES = str.maketrans(dict.fromkeys("−–—‐‑", "-"))
_UNITS = {"万": 10_000, "亿": 100_000_000}
_IN_YUAN = re.compile(r"[万亿元块¥]|人民币")

_DATE = re.compile(r"(\d{4})(?:([-/.])(\d{1,2})\2(\d{1,2})|(\d{2})(\d{2}))", re.ASCII)
_CHINESE_DATE = re.compile(
    r"(\d{4}|[零〇○一二三四五六七八九]{4}) ?年 ?"
    r"(\d{1,2}|[一二三四五六七八九十]{1,3}) ?月 ?"
    r"(\d{1,2}|[一二三四五六七八九十廿]{1,3}) ?[日号]",
    re.ASCII,
)
_YEAR_DIGITS = str.maketrans("零〇○一二三四五六七八九", "000123456789")


def equal(kind: str, accepted: Any, found: Any) -> bool:
    """Whether two JSON values are the same value of a kind (see the table above).

    Never raises on JSON values. Raises KeyError for an unknown kind.
    """
    compare, meaning = _PAIRWISE.get(kind), _MEANINGS.get(kind)
    if compare is None and meaning is None:
        raise KeyError(kind)
    try:
        if _identical(accepted, found):
            return True
        if compare is not None:
            return compare(accepted, found)
        one = meaning(accepted) if meaning else None
        return one is not None and meaning is not None and one == meaning(found)
    except RecursionError:
        return False  # nested deeper than anything that a call could mean


def equal_by_schema(
    schema: Mapping[str, Any],
    accepted: Any,
    found: Any,
    kind: str | None = None,
    root: Mapping[str, Any] | None = None,
) -> bool:
    """Whether a JSON value is an accepted one, each element compared by its own schema.

    `kind`: what the suite declares, for a list that of its elements. `root`: where `$ref` leads.
    Where several types are allowed, that of the found value decides: "007" is not 7 there.
    """
    try:
        return _same(schema, accepted, found, kind, root or schema)
    except RecursionError:
        return False  # nested deeper than anything that a call could mean


def takes_null(schema: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    """Whether a schema names null as one of its types or values."""
    branches = itertools.islice(_branches(schema, root), _MOST_BRANCHES)
    return any(
        _type(one) == "null"
        or one.get("nullable") is True
        or (isinstance(one.get("enum"), list) and None in one["enum"])
        for one in branches
    )


def _same(
    schema: Mapping[str, Any], accepted: Any, found: Any, kind: str | None, root: Mapping[str, Any]
) -> bool:
    if accepted is None or is_null(accepted) or found is None:
        return found is None and (accepted is None or is_null(accepted))
    branches = list(itertools.islice(_branches(schema, root), _MOST_BRANCHES))
    fields = as_fields(accepted)
    if fields is not None or isinstance(accepted, dict):
        options = fields.fields if fields else {name: [one] for name, one in accepted.items()}
        return isinstance(found, dict) and any(
            _same_object(branch, options, found, kind, root) for branch in branches
        )
    if isinstance(accepted, list):
        return isinstance(found, list) and any(
            _same_list(branch, accepted, found, kind, root) for branch in branches
        )
    if isinstance(found, dict | list):
        return False
    if kind is not None:
        return equal(kind, accepted, found)
    types = {_type(branch) for branch in branches} - {"null"}
    if types <= {"integer", "number"} or len(types - {"", "object", "array"}) == 1:
        kinds = {kind_of(one) for one in branches if _type(one) != "null"}
    elif isinstance(accepted, str) is not isinstance(found, str):
        return False  # several types, or none: a text is not the number that it spells
    elif isinstance(found, str):
        kinds = {kind_of(one) for one in branches if _type(one) == "string"} or {"text"}
    else:
        kinds = {"any"}
    return any(equal(one, accepted, found) for one in kinds)


def _same_object(
    schema: Mapping[str, Any],
    options: Mapping[str, Sequence[Any]],
    found: Mapping[str, Any],
    kind: str | None,
    root: Mapping[str, Any],
) -> bool:
    """Key by key; a key may be missing where absence, or its default, is accepted."""
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    for name in {**options, **found}:
        due = properties.get(name, others if isinstance(others, Mapping) else {})
        due = due if isinstance(due, Mapping) else {}
        accepted = list(options.get(name, [None]))
        if name not in options and "default" in due:
            accepted.append(due["default"])
        absent = None in accepted or any(one == due.get("default", ...) for one in accepted)
        if name not in found and not absent:
            return False
        values = [one for one in accepted if one is not None or name in options]
        if name in found and not any(_same(due, one, found[name], kind, root) for one in values):
            return False
    return True


def _same_list(
    schema: Mapping[str, Any],
    accepted: Sequence[Any],
    found: Sequence[Any],
    kind: str | None,
    root: Mapping[str, Any],
) -> bool:
    first, rest = schema.get("prefixItems", []), schema.get("items", {})
    if isinstance(rest, list):  # draft-07's tuples
        first, rest = rest, schema.get("additionalItems", {})
    inner = [*first, *[rest] * len(accepted)]
    return len(accepted) == len(found) and all(
        _same(due if isinstance(due, Mapping) else {}, one, other, kind, root)
        for due, one, other in zip(inner, accepted, found, strict=False)
    )


def _branches(
    schema: Mapping[str, Any], root: Mapping[str, Any], depth: int = 0
) -> Iterator[Mapping[str, Any]]:
    """The schemas of one type each that a value may fit; references within the root followed."""
    if depth > 16:
        return
    reference = schema.get("$ref")
    if isinstance(reference, str):
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        yield from _branches({**_target(reference, root), **rest}, root, depth + 1)
        return
    for key in ("anyOf", "oneOf", "allOf"):
        parts = schema.get(key)
        if isinstance(parts, list) and parts:
            bare = {name: value for name, value in schema.items() if name != key}
            sound = [part for part in parts if isinstance(part, Mapping)]
            if key == "allOf":
                merged = {k: v for part in sound for k, v in _resolved(part, root).items()}
                yield from _branches({**merged, **bare}, root, depth + 1)
            else:
                for part in sound:
                    yield from _branches({**bare, **_resolved(part, root)}, root, depth + 1)
            return
    kinds = schema.get("type")
    for kind in kinds if isinstance(kinds, list) and kinds else [kinds]:
        yield {**schema, "type": kind}


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    return {**_target(reference, root), **schema} if isinstance(reference, str) else schema


def _target(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference within the root points at; empty where it leads nowhere."""
    found: Any = root
    for part in reference.removeprefix("#").split("/")[1:]:
        found = found.get(part.replace("~1", "/").replace("~0", "~"), {}) if found else {}
        if not isinstance(found, Mapping):
            return {}
    return {key: value for key, value in found.items() if key != "$ref" or value != reference}


def _type(schema: Mapping[str, Any]) -> str:
    due = schema.get("type")
    if isinstance(due, str):
        return due
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    texts = isinstance(values, list) and bool(values)
    return "string" if texts and all(isinstance(value, str) for value in values) else ""


def kind_of(schema: Mapping[str, Any]) -> str:
    """The kind of a value of this JSON Schema, of one type, where the suite declares none."""
    due = _type(schema)
    if due == "string":
        if "enum" in schema or "const" in schema:
            return "code"
        return _BY_FORMAT.get(str(schema.get("format")), "text")
    return _BY_TYPE.get(due, "any")


def _identical(one: Any, other: Any) -> bool:
    # Through text: true is not 1, and NaN is itself.
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _as_text(value: Any) -> str | None:
    """The text of a string or number; None for anything else, so that true is never "true"."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return str(value)


def _of_text(meaning: Callable[[str], Any]) -> Callable[[Any], Any]:
    """What a text means; None for a value that is neither text nor number."""

    def of_value(value: Any) -> Any:
        text = _as_text(value)
        return None if text is None else meaning(text)

    return of_value


def _both_texts(same: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    def of_values(accepted: Any, found: Any) -> bool:
        one, other = _as_text(accepted), _as_text(found)
        return one is not None and other is not None and same(one, other)

    return of_values


def _text(text: str) -> Any:
    """Raised digits aside: NFKC would make 102 of 10²."""
    return _RAISED.findall(text), unicodedata.normalize("NFKC", text).strip()


def _any_case(text: str) -> Any:
    return _text(text.casefold())


def _wording(text: str) -> str:
    """What free text says: without case, spaces, quotes and the punctuation at its end."""
    return re.sub(r"[\s\"'“”‘’]|[。.!！?？~～]+$", "", plain(text))


def _url(text: str) -> Any:
    """Scheme and host in any case, a bare host with or without its slash; the rest as it is."""
    try:
        part = urlsplit(text.strip())
    except ValueError:
        return text  # https://[no.address
    return (part.scheme.lower(), part.netloc.lower(), part.path or "/", part.query, part.fragment)


def _moment(text: str) -> Any:
    """A day and a time, in ISO's or a usual Chinese form; a text as it is where it is neither."""
    figures = re.sub(r"[点时分](?=\d)", ":", _figures(text).removesuffix("秒"))
    figures = re.sub(r"[点时]$", ":00", figures).removesuffix("分").upper()
    found = re.fullmatch(r"(.+?)[T ]*(\d{1,2}:\d{2}.*)", figures)
    day = date(found[1].strip().lower()) if found else date(figures)
    if day is None:
        return _text(text)
    told = found[2].replace(" ", "") if found else "00:00"
    try:
        clock = datetime.time.fromisoformat(told if told[1] != ":" else f"0{told}")
    except ValueError:
        return _text(text)
    return datetime.datetime.combine(day, clock)


def number(value: Any) -> Decimal | None:
    """The number that a JSON value means: 70, "70", "７０", "七十", "70万"; else None."""
    text = _as_text(value)
    return None if text is None else _number_in(_figures(text))


def _figures(text: str) -> str:
    """The text as `plain` makes it, with one kind of dash; empty where it holds raised digits."""
    return "" if _RAISED.search(text) else plain(text).translate(_DASHES)


def _number_in(text: str) -> Decimal | None:
    unit = 1
    bare = text
    if text[-1:] in _UNITS and _DIGITS.fullmatch(text[:-1].rstrip()):
        unit, bare = _UNITS[text[-1]], text[:-1].rstrip()
    if _DIGITS.fullmatch(bare):
        return Decimal(bare.replace(",", "")) * unit
    if _SCIENTIFIC.fullmatch(bare):
        return Decimal(bare)
    if not _NUMERALS.fullmatch(text):
        return None
    try:
        return Decimal(str(cn2an.cn2an(text, "smart")))
    except (ValueError, KeyError):
        return None  # numerals that make no number: cn2an refuses 亿亿, trips over 零十


def _integer(value: Any) -> Decimal | None:
    found = number(value)
    return found if found is not None and found == found.to_integral_value() else None


def _yuan(text: str, *, bare: int = 1) -> Decimal | None:
    """An amount of money; `bare`: how many yuan a number without 元, ¥, 万 or 亿 stands for."""
    amount = _figures(text)
    in_yuan = _IN_YUAN.search(amount) is not None
    for sign in ("人民币", "¥"):
        amount = amount.removeprefix(sign).lstrip()
    for word in ("人民币", "钱", "块", "元"):
        amount = amount.removesuffix(word).rstrip()
    found = _number_in(amount)
    return None if found is None else found if in_yuan else found * bare


def _percent(text: str) -> Decimal | None:
    return _number_in(_figures(text).removeprefix("百分之").removesuffix("%").rstrip())


def _boolean(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(plain(value))
    return value if isinstance(value, bool) else None


def date(value: Any) -> datetime.date | None:
    """The day that a JSON value means, in any usual Chinese or ISO form; else None."""
    text = _as_text(value)
    if text is None:
        return None
    text = _figures(text)
    if match := _DATE.fullmatch(text):
        year, _separator, *parts = match.groups()
    elif match := _CHINESE_DATE.fullmatch(text):
        year, *parts = match.groups()
    else:
        return None
    month, day = (_number_in(part) or 0 for part in parts if part is not None)
    try:
        return datetime.date(int(year.translate(_YEAR_DIGITS)), int(month), int(day))
    except ValueError:
        return None  # 2023-02-30


def _same_place_or_pinyin(one: str, other: str) -> bool:
    chinese = [name for name in (one, other) if is_chinese(name)]
    written = [latin(name) for name in (one, other) if not is_chinese(name)]
    if len(chinese) == 2:
        return same_place(one, other)
    if len(chinese) == 1:
        return written[0] in spellings(chinese[0])
    if not written[0]:
        return bool(_any_case(one) == _any_case(other))
    # Two spellings of one city: lasa and Lhasa.
    return written[0] == written[1] or bool(cities_named(one) & cities_named(other))


def _domain(text: str) -> str:
    """The bare domain with its `xn--` labels decoded, so that both spellings of 中国 agree."""
    try:
        decoded = re.sub(
            r"xn--[a-z0-9-]+",
            lambda label: label[0].encode().decode("idna"),
            plain(text),
            flags=re.ASCII,
        )
    except UnicodeError:
        decoded = text
    return bare_domain(decoded)


def _same_airport(one: str, other: str) -> bool:
    codes = meant_by(one)
    return _any_case(one) == _any_case(other) or (bool(codes) and codes == meant_by(other))


def _same_any(accepted: Any, found: Any) -> bool:
    """Of no declared type: a text as it is, a number by its value, a structure part by part."""
    if isinstance(accepted, list | dict) or isinstance(found, list | dict):
        return _same({}, accepted, found, None, {})
    if isinstance(accepted, str) is not isinstance(found, str):
        return False
    return equal("text" if isinstance(found, str) else "number", accepted, found)


# What a value means, equal for values that mean the same; None for what is no such value.
_MEANINGS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("text", "code"), _of_text(_text)),
    **dict.fromkeys(("any_case", "email"), _of_text(_any_case)),
    **dict.fromkeys(("exact", "path"), _as_text),
    "free_text": _of_text(_wording),
    "url": _of_text(_url),
    "number": number,
    "integer": _integer,
    "ten_thousands": _of_text(functools.partial(_yuan, bare=10_000)),
    "percent": _of_text(_percent),
    "boolean": _boolean,
    "date": date,
    "date_time": _of_text(_moment),
    "time": _of_text(lambda text: _moment(f"2000-01-01T{text.strip()}")),
    "amount": _of_text(_yuan),
    "domain": _of_text(_domain),
}
# Kinds in which a value may mean several things, so that two are compared with one another.
_PAIRWISE: dict[str, Callable[[Any, Any], bool]] = {
    "place": _both_texts(same_place),
    "place_or_pinyin": _both_texts(_same_place_or_pinyin),
    "basin": _both_texts(same_basin),
    "airport_keyword": _both_texts(_same_airport),
    "any": _same_any,
}

KINDS = frozenset({*_MEANINGS, *_PAIRWISE})
