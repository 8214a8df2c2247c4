"""All readers: each configured one exists, and real public rows lose nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from matinee.config import ReaderName
from matinee.data.readers import READERS, FormatReport, read_dataset
from matinee.data.readers.base import language_of
from matinee.messages.conversations import Conversation

PUBLIC = Path(__file__).parents[3] / "shared" / "data"


def test_every_configured_reader_exists() -> None:
    assert set(READERS) == set(ReaderName.__args__)  # type: ignore[attr-defined]


def test_languages_are_told_apart() -> None:
    assert language_of("What is the weather in 北京?") == "en"
    assert language_of("帮我查一下 Paris 的天气") == "zh"
    assert language_of("Какая погода?") == "other"
    assert language_of("123") == "other"


@pytest.mark.parametrize(
    ("name", "reader", "rows", "bad"),
    [
        ("glaive_toolcall_en_demo", "sharegpt", 300, []),
        ("glaive_toolcall_zh_demo", "sharegpt", 300, [198, 294]),
        ("alpaca_en_demo", "alpaca", 999, []),
        ("alpaca_zh_demo", "alpaca", 1000, []),
    ],
)
def test_real_rows_convert_or_are_named(name: str, reader: str, rows: int, bad: list[int]) -> None:
    path = PUBLIC / f"{name}.json"
    if not path.exists():
        pytest.skip(f"{path.name} of LLaMA-Factory is not on this machine")
    report = FormatReport()
    kept = list(read_dataset(reader, [path], source=name, on_bad_row="skip", report=report))
    assert (report.rows, len(kept)) == (rows, rows - len(bad))
    assert [one.row for one in report.bad] == bad
    stored = [Conversation.from_row(conversation.to_row()) for conversation in kept]
    assert stored == kept
