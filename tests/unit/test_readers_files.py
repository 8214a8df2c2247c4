"""The files that rows come in: JSON, JSON Lines, Parquet; whole or broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from published import GOOD, sharegpt, write

from matinee.data.readers import FormatReport, data_files, read_dataset
from matinee.runtime.errors import DataError


def test_json_lines_and_parquet_say_the_same_as_json(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [GOOD, sharegpt(("human", "你好"), ("gpt", "你好！"))]
    lines = tmp_path / "rows.jsonl"
    text = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    lines.write_text(text, encoding="utf-8")
    table = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), table)
    expected, *others = (
        list(read_dataset("sharegpt", [path], source="set", on_bad_row="error"))
        for path in (write(tmp_path, rows), lines, table)
    )
    assert len(expected) == 2
    assert others == [expected, expected]


def test_a_broken_line_is_one_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n{{broken\n{json.dumps(GOOD)}\n")
    report = FormatReport()
    rows = read_dataset("sharegpt", [path], source="set", on_bad_row="skip", report=report)
    assert len(list(rows)) == 2
    assert [(one.kind, one.row) for one in report.bad] == [("not_json", 2)]


def test_a_broken_array_ends_with_the_row_where_it_broke(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(f"[{json.dumps(GOOD)}, {json.dumps(GOOD)[:-20]}")
    with pytest.raises(DataError, match=r"rows\.json, row 2: not JSON"):
        list(read_dataset("sharegpt", [path], source="set", on_bad_row="skip"))


def test_arrays_are_decoded_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matinee.data.readers import rows

    monkeypatch.setattr(rows, "BLOCK_CHARACTERS", 7)
    values = [{"a": "x" * 20}, 12345678, [], "é漢", None]
    path = tmp_path / "rows.json"
    path.write_bytes(b"\xef\xbb\xbf \n" + json.dumps(values, indent=3).encode())
    found = [(row.number, row.value) for row in rows.read_rows(path)]
    assert found == list(enumerate(values, start=1))


def test_an_empty_array_and_other_encodings(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="files are empty"):
        list(read_dataset("alpaca", [write(tmp_path, [])], source="set", on_bad_row="error"))
    path = tmp_path / "gbk.jsonl"
    path.write_bytes('{"instruction": "你好", "output": "好"}'.encode("gbk"))
    with pytest.raises(DataError, match="a byte that is no UTF-8"):
        list(read_dataset("alpaca", [path], source="set", on_bad_row="skip"))


def test_the_data_files_of_a_folder_are_found_in_order(tmp_path: Path) -> None:
    for name in ("b.json", "a.parquet", "run.json", "LICENSE"):
        (tmp_path / name).write_text("[]")
    assert [path.name for path in data_files(tmp_path)] == ["a.parquet", "b.json"]
