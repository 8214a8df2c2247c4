"""Values compared as they are written: each rule with what it accepts and what it does not."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest

from matinee.evaluation.plain_values import equal

TEXT = {"type": "string"}
INTEGER = {"type": "integer"}
NUMBER = {"type": "number"}


@pytest.mark.parametrize(
    ("accepted", "found"),
    [
        ("New York, NY", "new york ny"),
        ("April 1, 2024", "April 1,2024"),
        ("well-known", "Well known"),
        ("room_number", "room number"),
        ("it's", 'it"s'),
        ("U.S.", "US"),
        ("J. K. Rowling", "JK Rowling"),
        ("2023-05-01", "2023/05/01"),
        ("05/01/2023", "05-01-2023"),
        ("2023-05-01", "20230501"),
        ("2023-05-01T09:00", "2023 05 01 T09:00"),
        ("2023-5-1", "2023-05-01"),
        ("1,000 km", "1000km"),
        ("[1, 2, 3]", "[1,2,3]"),
        ("3x**2 + 2x", "3x^2+2x"),
        ("2 * x", "2x"),
        ("Café", unicodedata.normalize("NFD", "café")),
        ("", ""),
    ],
)
def test_texts_that_say_the_same(accepted: str, found: str) -> None:
    assert equal(TEXT, accepted, found)
    assert equal(TEXT, found, accepted)


@pytest.mark.parametrize(
    ("accepted", "found"),
    [
        ("1.5", "15"),
        ("-5", "5"),
        (".5", "5"),
        ("1/2", "12"),
        ("1 2", "12"),
        ("3*4", "34"),
        ("555-1234", "5551234"),
        ("1,2", "12"),
        ("x^2", "x2"),
        ("m/s", "ms"),
        ("/home/user", "home user"),
        ("report.txt", "reporttxt"),
        ("2023-05-01", "2023-50-1"),
        ("1-11-2022", "11-1-2022"),
        ("rye", "wry"),
        ("Who is there?", "Who\u00a0is there?"),
        ("Berlin", "\uff22\uff45\uff52\uff4c\uff49\uff4e"),
        ("5", "五"),
        ("Berlin!", "Berlin"),
        ("Cafe", "Café"),
    ],
)
def test_texts_that_differ(accepted: str, found: str) -> None:
    assert not equal(TEXT, accepted, found)
    assert not equal(TEXT, found, accepted)


@pytest.mark.parametrize(
    ("schema", "accepted", "found"),
    [
        (INTEGER, 5, 5),
        (NUMBER, 5, 5.0),
        (NUMBER, 5.0, 5),
        (INTEGER, 5.0, 5),  # the accepted value itself is no whole number
        ({"type": "boolean"}, True, True),
        ({}, "soon", "Soon"),
        ({"type": "array", "items": INTEGER}, [1, 2], [1, 2]),
        ({"type": "array", "items": NUMBER}, [1.0], [1]),
        ({}, [[1], ["a"]], [[1], ["A"]]),
        ({}, {"a": 1}, {"a": 1}),
        (TEXT, {"null": True}, None),
    ],
)
def test_the_same_value_of_the_same_type(schema: Any, accepted: Any, found: Any) -> None:
    assert equal(schema, accepted, found)


@pytest.mark.parametrize(
    ("schema", "accepted", "found"),
    [
        (INTEGER, 5, 5.0),
        (INTEGER, 5, "5"),
        (INTEGER, 1, True),
        (NUMBER, 0.0, False),
        (NUMBER, 5.0, 5.0001),
        (TEXT, "5", 5),
        ({"type": "boolean"}, True, 1),
        ({"type": "boolean"}, True, "true"),
        ({"type": "array", "items": INTEGER}, [1, 2], [2, 1]),
        ({"type": "array", "items": INTEGER}, [1, 2], [1, 2, 2]),
        ({"type": "array", "items": INTEGER}, [1], [1.0]),
        ({"type": "array", "items": INTEGER}, [1], 1),
        ({}, {"a": 1}, {"a": 1, "b": 2}),
        (TEXT, "null", None),
        (TEXT, {"null": True}, "null"),
    ],
)
def test_another_value_or_type(schema: Any, accepted: Any, found: Any) -> None:
    assert not equal(schema, accepted, found)


class TestFields:
    SCHEMA = {"properties": {"kind": TEXT, "count": INTEGER}}  # noqa: RUF012 (never changed)
    ACCEPTED = {"fields": {"kind": ["rye", "wheat"], "count": [2, None]}}  # noqa: RUF012

    @pytest.mark.parametrize("found", [{"kind": "Rye", "count": 2}, {"kind": "wheat"}])
    def test_each_key_has_its_own_values(self, found: Any) -> None:
        assert equal(self.SCHEMA, self.ACCEPTED, found)

    @pytest.mark.parametrize(
        "found",
        [
            {"count": 2},
            {"kind": "rye", "count": 2.0},
            {"kind": "rye", "count": None},
            {"kind": "rye", "colour": "dark"},
            {"kind": "oat"},
            ["rye", 2],
            "rye",
        ],
    )
    def test_what_is_missing_added_or_different(self, found: Any) -> None:
        assert not equal(self.SCHEMA, self.ACCEPTED, found)
