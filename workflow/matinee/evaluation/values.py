"""Whether a model's argument value is the accepted one, compared by what the value means.

| kind | equal | not equal |
| --- | --- | --- |
| text | full-width or half-width, upper or lower case, outer whitespace | any other; 10² and 102 |
| code | as text; a number as its digits | 03 and 3 |
| number | 70, "70", 70.0, 七十, 0.0070万, 1,000 and 1000 | 1.5 and 15; true and 1 |
| integer | as number, both without a fraction | 5.5 and 5.5 |
| ten_thousands | 70 (unit 万), 70万, 七十万, 70万元, 700000元, ¥700000 | 70 and 700000 |
| percent | 3.25, "3.25%", 百分之三点二五 | 3.25 and 0.0325 |
| boolean | true and "true" | true and 1 |
| date | 2023-05-01, 2023/5/1, 20230501, 2023年5月1日, 二〇二三年五月一日 | another day |
| place | 江苏 and 江苏省, 大理 and 大理白族自治州 | 吉林省 and 吉林市 |
| place_or_pinyin | as place; 上海, shanghai, Shang Hai | 宜春 and 伊春 |
| basin | 海河 and 海河流域 | another basin |
| domain | juhe.cn, https://www.juhe.cn/, JUHE.CN | another host, a path, a port |
| airport_keyword | names or codes of the same airports | 北京 (two) and 首都机场 (one) |
| any | structures whose parts are equal as text or number | another shape |

Whether the value has the JSON type that the schema asks for is judged elsewhere: here "70" is 70.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import cn2an

from matinee.evaluation.simulation.airports import meant_by
from matinee.evaluation.simulation.names import is_chinese, latin, plain, same_basin, same_place
from matinee.evaluation.simulation.places import cities_named, spellings
from matinee.evaluation.simulation.sites import bare_domain

_BY_SCHEMA_TYPE = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
}

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

_DATES = (
    re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})", re.ASCII),
    re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})", re.ASCII),
    re.compile(r"(\d{4})\.(\d{1,2})\.(\d{1,2})", re.ASCII),
    re.compile(r"(\d{4})(\d{2})(\d{2})", re.ASCII),
)
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
    compare = _COMPARISONS[kind]
    try:
        return _identical(accepted, found) or compare(accepted, found)
    except RecursionError:
        return False  # nested deeper than anything that a call could mean


def kind_of(schema: dict[str, Any]) -> str:
    """The kind of a parameter of this JSON Schema whose suite declares none."""
    if schema.get("type") == "string":
        if "enum" in schema:
            return "code"
        if schema.get("format") == "date":
            return "date"
    due = schema.get("type")
    return _BY_SCHEMA_TYPE.get(due, "any") if isinstance(due, str) else "any"


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


def _on_text(compare: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    def compare_values(accepted: Any, found: Any) -> bool:
        one, other = _as_text(accepted), _as_text(found)
        return one is not None and other is not None and compare(one, other)

    return compare_values


def _same_text(one: str, other: str) -> bool:
    return plain(one) == plain(other) and _RAISED.findall(one) == _RAISED.findall(other)


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
    return _chinese_number(text) if _NUMERALS.fullmatch(text) else None


def _chinese_number(numerals: str) -> Decimal | None:
    try:
        return Decimal(str(cn2an.cn2an(numerals, "smart")))
    except (ValueError, KeyError):
        return None  # numerals that make no number: cn2an refuses 亿亿, trips over 零十


def _same_number(accepted: Any, found: Any) -> bool:
    one, other = number(accepted), number(found)
    return one is not None and one == other


def _same_integer(accepted: Any, found: Any) -> bool:
    one = number(accepted)
    return one is not None and one == one.to_integral_value() and one == number(found)


def _ten_thousands(value: Any) -> Decimal | None:
    """An amount in units of 万: a bare number already is one; 万, 亿 or a currency make it yuan."""
    text = _as_text(value)
    if text is None:
        return None
    amount = _figures(text)
    in_yuan = _IN_YUAN.search(amount) is not None
    for sign in ("人民币", "¥"):
        amount = amount.removeprefix(sign).lstrip()
    for word in ("人民币", "钱", "块", "元"):
        amount = amount.removesuffix(word).rstrip()
    found = _number_in(amount)
    return found / 10_000 if found is not None and in_yuan else found


def _same_amount(accepted: Any, found: Any) -> bool:
    one, other = _ten_thousands(accepted), _ten_thousands(found)
    return one is not None and one == other


def _percent(value: Any) -> Decimal | None:
    text = _as_text(value)
    if text is None:
        return None
    return _number_in(_figures(text).removeprefix("百分之").removesuffix("%").rstrip())


def _same_percent(accepted: Any, found: Any) -> bool:
    one, other = _percent(accepted), _percent(found)
    return one is not None and one == other


def _same_boolean(accepted: Any, found: Any) -> bool:
    words = {"true": True, "false": False}
    one, other = (
        words.get(plain(value)) if isinstance(value, str) else value for value in (accepted, found)
    )
    return isinstance(one, bool) and one is other


def date(value: Any) -> datetime.date | None:
    """The day that a JSON value means, in any usual Chinese or ISO form; else None."""
    text = _as_text(value)
    if text is None:
        return None
    text = _figures(text)
    for form in _DATES:
        match = form.fullmatch(text)
        if match:
            return _day(*map(int, match.groups()))
    match = _CHINESE_DATE.fullmatch(text)
    if match is None:
        return None
    month, day = _number_in(match[2]), _number_in(match[3])
    if month is None or day is None:
        return None
    return _day(int(match[1].translate(_YEAR_DIGITS)), int(month), int(day))


def _day(year: int, month: int, day: int) -> datetime.date | None:
    try:
        return datetime.date(year, month, day)
    except ValueError:
        return None  # 2023-02-30


def _same_date(accepted: Any, found: Any) -> bool:
    one = date(accepted)
    return one is not None and one == date(found)


def _same_place_or_pinyin(one: str, other: str) -> bool:
    chinese = [name for name in (one, other) if is_chinese(name)]
    written = [latin(name) for name in (one, other) if not is_chinese(name)]
    if len(chinese) == 2:
        return same_place(one, other)
    if len(chinese) == 1:
        return written[0] in spellings(chinese[0])
    if not written[0]:
        return _same_text(one, other)
    # Two spellings of one city: lasa and Lhasa.
    return written[0] == written[1] or bool(cities_named(one) & cities_named(other))


def _same_domain(one: str, other: str) -> bool:
    return bare_domain(_unicode_domain(one)) == bare_domain(_unicode_domain(other))


def _unicode_domain(text: str) -> str:
    """The domain with its `xn--` labels decoded, so that both spellings of 中国 agree."""
    if "xn--" not in text.casefold():
        return text
    try:
        return re.sub(
            r"xn--[a-z0-9-]+",
            lambda label: label[0].encode().decode("idna"),
            plain(text),
            flags=re.ASCII,
        )
    except UnicodeError:
        return text


def _same_airport(one: str, other: str) -> bool:
    codes = meant_by(one)
    return _same_text(one, other) or (bool(codes) and codes == meant_by(other))


def _same_structure(accepted: Any, found: Any) -> bool:
    if isinstance(accepted, list) and isinstance(found, list):
        return len(accepted) == len(found) and all(
            equal("any", one, other) for one, other in zip(accepted, found, strict=True)
        )
    if isinstance(accepted, dict) and isinstance(found, dict):
        return accepted.keys() == found.keys() and all(
            equal("any", accepted[key], found[key]) for key in accepted
        )
    return _on_text(_same_text)(accepted, found) or _same_number(accepted, found)


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "text": _on_text(_same_text),
    "code": _on_text(_same_text),
    "number": _same_number,
    "integer": _same_integer,
    "ten_thousands": _same_amount,
    "percent": _same_percent,
    "boolean": _same_boolean,
    "date": _same_date,
    "place": _on_text(same_place),
    "place_or_pinyin": _on_text(_same_place_or_pinyin),
    "basin": _on_text(same_basin),
    "domain": _on_text(_same_domain),
    "airport_keyword": _on_text(_same_airport),
    "any": _same_structure,
}

KINDS = frozenset(_COMPARISONS)
