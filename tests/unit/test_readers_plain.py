"""Sets without tools: alpaca, and the trees of oasst."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from published import read, roles, write

from matinee.data.readers import FormatReport, read_dataset


def test_alpaca(tmp_path: Path) -> None:
    row = {
        "instruction": "翻译",
        "input": "你好",
        "output": "Hello",
        "history": [["Hi", "Hello"], ["再来", "好"]],
    }
    conversation = read(tmp_path, "alpaca", row)
    assert roles(conversation) == ["user", "assistant"] * 3
    assert conversation.messages[4].content == "翻译\n你好"


def test_oasst_takes_the_best_answered_path(tmp_path: Path) -> None:
    def message(identifier: str, parent: str | None, role: str, **more: Any) -> dict[str, Any]:
        text = f"says {identifier}"
        return {
            "message_id": identifier,
            "parent_id": parent,
            "role": role,
            "text": text,
            **more,
        }

    rows = [
        message("q1", None, "prompter"),
        message("a1", "q1", "assistant", rank=1),
        message("a2", "q1", "assistant", rank=0),
        message("q2", "a2", "prompter"),
        message("gone", "a2", "prompter", deleted=True),
        message("lonely", None, "prompter"),
        {"message_id": "x"},
    ]
    report = FormatReport()
    (conversation,) = read_dataset(
        "oasst", [write(tmp_path, rows)], source="set", on_bad_row="skip", report=report
    )
    assert [one.content for one in conversation.messages] == ["says q1", "says a2"]
    assert {(one.row, one.kind) for one in report.bad} == {
        (6, "roles_out_of_order"),
        (7, "wrong_columns"),
    }
