"""Nothing of a row is lost without a word, measured on its raw text over every reader."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from reader_rows import GRAMMARS, Dice, marks, places

from matinee.data.readers import FormatReport, read_dataset
from matinee.runtime.errors import DataError

ROWS = int(os.environ.get("MATINEE_DRAWN_ROWS", "60"))
SEED = os.environ.get("MATINEE_DRAWN_SEED", "0")


def put(folder: Path, rows: list[Any]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("grammar", GRAMMARS)
def test_every_text_number_and_key_comes_out_again(grammar: str, tmp_path: Path) -> None:
    reader, draw = GRAMMARS[grammar]
    raw = [draw(Dice(f"{SEED} {grammar} {number}")) for number in range(ROWS)]
    report = FormatReport()
    kept = list(
        read_dataset(reader, [put(tmp_path, raw)], source="s", on_bad_row="skip", report=report)
    )
    assert [(one.row, one.reason) for one in report.bad] == []
    lost: Counter[str] = Counter()
    for row, conversation in zip(raw, kept, strict=True):
        # Texts of JSON in JSON escape each other; the marks have no character that is escaped.
        wanted = Counter(marks(json.dumps(row)))
        found = Counter(marks(json.dumps(conversation.to_row())))
        # Names of tools that answers repeat come out once, beside the answer.
        lost.update({mark: 1 for mark, count in wanted.items() if found[mark] < min(count, 1)})
    assert lost == Counter()


@pytest.mark.parametrize("grammar", GRAMMARS)
def test_a_key_that_nobody_knows_is_a_bad_row_or_a_counted_warning(
    grammar: str, tmp_path: Path
) -> None:
    reader, draw = GRAMMARS[grammar]
    raw = []
    for number in range(ROWS // 3):
        dice = Dice(f"{SEED} unknown {grammar} {number}")
        row = draw(dice)
        dice.random.choice(places(row))[dice.text()] = dice.value()
        raw.append(row)
    path = put(tmp_path, raw)
    strict, lenient = FormatReport(), FormatReport()
    with pytest.raises(DataError, match="no usable row"):
        list(read_dataset(reader, [path], source="s", on_bad_row="skip", report=strict))
    assert {one.kind for one in strict.bad} == {"unknown_key"}
    kept = read_dataset(
        reader,
        [path],
        source="s",
        on_bad_row="error",
        on_unknown_key="warn",
        report=lenient,
    )
    assert len(list(kept)) == len(raw)
    assert [one.row for one in lenient.warnings if one.kind == "unknown_key"] == [
        *range(1, len(raw) + 1)
    ]


def test_trees_of_messages_come_out_along_their_best_path_and_no_other_is_silent(
    tmp_path: Path,
) -> None:
    dice = Dice(f"{SEED} oasst")
    files = [[], []]  # type: list[list[dict[str, Any]]]
    expected = []
    for tree in range(ROWS):
        parent = None
        for depth in range(2 * dice.random.randint(1, 3)):
            text = dice.words()
            message = {
                "message_id": f"{tree}-{depth}",
                "parent_id": parent,
                "text": text,
                "role": ("prompter", "assistant")[depth % 2],
                "rank": 0,
                "user_id": dice.text("l"),
            }
            # A parent may stand in another file, after its reply.
            dice.random.choice(files).append(message)
            expected.append(text)
            parent = message["message_id"]
    paths = []
    for number, rows in enumerate(files):
        (tmp_path / str(number)).mkdir()
        paths.append(put(tmp_path / str(number), rows))
    kept = list(read_dataset("oasst", paths, source="s", on_bad_row="error"))
    found = [message.content for conversation in kept for message in conversation.messages]
    assert sorted(found) == sorted(expected)
