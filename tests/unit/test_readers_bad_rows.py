"""Rows that cannot be used: each is classed, named, and skipped or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from published import CALL, GOOD, WEATHER, sharegpt, write

from matinee.data.readers import READERS, FormatReport, read_dataset
from matinee.runtime.errors import DataError

UNORDERED = sharegpt(("human", "Hi"), ("observation", "{}"), ("gpt", "x"))


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("wrong_columns", {"dialogue": []}),
        ("wrong_columns", ["a list"]),
        ("wrong_columns", {"conversations": [{"who": "human"}]}),
        ("wrong_columns", {"conversations": 5}),
        ("roles_out_of_order", UNORDERED),
        ("roles_out_of_order", sharegpt(("gpt", "Hello"))),
        ("roles_out_of_order", sharegpt(("human", "Hi"), ("gpt", "Hello"), ("human", "?"))),
        (
            "roles_out_of_order",
            sharegpt(("human", "Hi"), ("function_call", CALL), ("gpt", "x")),
        ),
        ("roles_out_of_order", sharegpt(("robot", "Hi"))),
        ("unlisted_tool", sharegpt(("human", "Hi"), ("function_call", CALL), tools=[])),
        (
            "repeated_tool",
            sharegpt(("human", "Hi"), ("gpt", "Hello"), tools=[WEATHER, WEATHER]),
        ),
        ("broken_arguments", sharegpt(("human", "Hi"), ("function_call", "{name: oops}"))),
        (
            "broken_arguments",
            sharegpt(("human", "Hi"), ("function_call", CALL.replace('{"city": "Paris"}', "[1]"))),
        ),
        ("empty", sharegpt(("human", "Hi"), ("gpt", "  "))),
        ("empty", {"conversations": []}),
        ("over_long", sharegpt(("human", "Hi" * 200_000), ("gpt", "x"))),
        ("not_json", {**GOOD, "tools": "[{"}),
    ],
)
def test_each_kind_is_classed_and_skipped(tmp_path: Path, kind: str, row: Any) -> None:
    report = FormatReport()
    path = write(tmp_path, [GOOD, row, GOOD])
    kept = list(read_dataset("sharegpt", [path], source="set", on_bad_row="skip", report=report))
    assert [(one.kind, one.file, one.row) for one in report.bad] == [(kind, "rows.json", 2)]
    assert (report.rows, report.converted, len(kept)) == (3, 2, 2)
    assert [one.id for one in kept] == ["set-1", "set-3"]
    assert report.as_dict()["bad_by_kind"] == {kind: 1}


def test_by_default_the_first_one_stops_with_file_row_and_remedy(tmp_path: Path) -> None:
    path = write(tmp_path, [GOOD, UNORDERED])
    with pytest.raises(DataError, match=rf"{path}, row 2: roles_out_of_order.*on_bad_row: skip"):
        list(read_dataset("sharegpt", [path], source="set", on_bad_row="error"))


def test_arguments_that_break_the_schema_are_a_warning(tmp_path: Path) -> None:
    wrong = sharegpt(("human", "Hi"), ("function_call", CALL.replace('"Paris"', "7")))
    odd = {**WEATHER, "parameters": {"type": "object", "properties": {"city": {"type": "odd"}}}}
    unknown = sharegpt(("human", "Hi"), ("function_call", CALL), tools=[odd])
    report = FormatReport()
    path = write(tmp_path, [wrong, unknown])
    kept = list(read_dataset("sharegpt", [path], source="set", on_bad_row="error", report=report))
    assert len(kept) == 2
    assert [(one.kind, one.row) for one in report.warnings] == [
        ("schema_mismatch", 1),
        ("invalid_schema", 2),
    ]


@pytest.mark.parametrize(
    ("amount", "step", "warned"),
    [("19.99", 0.01, []), ("1" * 400, 0.01, ["schema_mismatch"]), ("1", 0, ["invalid_schema"])],
)
def test_multiples_of_fractions_are_counted_exactly(
    tmp_path: Path, amount: str, step: float, warned: list[str]
) -> None:
    schema = {"type": "object", "properties": {"amount": {"type": "number", "multipleOf": step}}}
    call = f'{{"name": "pay", "arguments": {{"amount": {amount}}}}}'
    tool = {"name": "pay", "description": "", "parameters": schema}
    path = write(tmp_path, [sharegpt(("human", "Hi"), ("function_call", call), tools=[tool])])
    report = FormatReport()
    list(read_dataset("sharegpt", [path], source="set", on_bad_row="error", report=report))
    assert [one.kind for one in report.warnings] == warned


def test_a_conversion_that_loses_a_call_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    def forgetful(row: Any, account: Any) -> Any:
        draft = READERS["sharegpt"].convert(row, account)
        return dataclasses.replace(draft, messages=draft.messages[:2])

    broken = dataclasses.replace(READERS["sharegpt"], convert=forgetful)
    monkeypatch.setitem(READERS, "openai", broken)
    with pytest.raises(DataError, match=r"lost_content: .*do not come out again: .*clear"):
        list(read_dataset("openai", [write(tmp_path, [GOOD])], source="set", on_bad_row="error"))


def test_a_set_without_any_usable_row_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, [UNORDERED])
    with pytest.raises(DataError, match="no usable row"):
        list(read_dataset("sharegpt", [path], source="set", on_bad_row="skip"))
