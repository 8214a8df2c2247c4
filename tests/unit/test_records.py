"""Artefacts are whole or absent, and say what made them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from matinee.runtime import records
from matinee.runtime.errors import DataError
from matinee.runtime.records import read_json, read_lines, read_texts


def test_a_file_takes_its_place_when_it_is_finished(tmp_path: Path) -> None:
    target = tmp_path / "new/folder/file"
    with records.whole(target) as beside:
        beside.write_text("1")
        assert not target.exists()
    assert target.read_text() == "1"
    assert [path.name for path in target.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_fails_leaves_the_old_artefact_and_no_rubbish(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "artefact"
    target.write_text("old")

    def fail_midway() -> None:
        with records.whole(target) as beside:
            if kind == "folder":
                beside.mkdir()
                (beside / "half").write_text("new")
            else:
                beside.write_text("new")
            raise ValueError("disk full")

    with pytest.raises(ValueError, match="disk full"):
        fail_midway()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["artefact"]


def test_a_folder_replaces_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "stale").write_text("")
    with records.whole(target) as beside:
        beside.mkdir()
        (beside / "fresh").write_text("")
    assert [path.name for path in target.iterdir()] == ["fresh"]


def test_json_comes_back_as_it_was(tmp_path: Path) -> None:
    value = {"城市": "北京", "numbers": [1, 2.5, None], "nested": {"a": True}}
    records.write_json(tmp_path / "a.json", value)
    assert records.read_json(tmp_path / "a.json") == value
    assert "北京" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_json_that_no_other_reader_takes_is_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    records.write_json(tmp_path / "a.json", 1)
    with pytest.raises(ValueError, match="JSON compliant"):
        records.write_json(tmp_path / "a.json", float("nan"))
    assert records.read_json(tmp_path / "a.json") == 1


def test_lines_survive_line_separators_inside_text(tmp_path: Path) -> None:
    rows = [{"text": "one\u2028two\x85three\r\n"}, {"text": "北京"}]
    records.write_lines(tmp_path / "a.jsonl", rows)
    assert records.read_lines(tmp_path / "a.jsonl") == rows


def test_checksums_are_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert records.sha256_file(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_a_record_names_stage_parameters_facts_versions_and_cost(tmp_path: Path) -> None:
    recorder = records.Recorder("train_adapter", {"seed": 1})
    recorder.add(revision="abc")
    recorder.add(rows=3)
    recorder.write(tmp_path / "run.json")
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["stage"] == "train_adapter"
    assert record["parameters"] == {"seed": 1}
    assert record["facts"] == {"revision": "abc", "rows": 3}
    assert {"python", "torch", "transformers", "peft"} <= record["versions"].keys()
    assert record["hardware"]["cores"] >= 1
    assert record["wall_seconds"] >= 0
    assert record["peak_memory_mb"] > 1
    assert record["started"].endswith("Z")


def test_a_line_for_people_gives_time_and_memory() -> None:
    time, memory = records.Recorder("x", {}).summary().split(", ")
    assert time.endswith(" s")
    assert memory.endswith(" GB")


@pytest.mark.parametrize("content", [b'{"a": "\xe6\xb1"}', b'{"a": 1', b"[" * 100_000])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"a": 1}\n' + content)
    with pytest.raises(DataError, match=r"rows\.jsonl:2: damaged .* made anew"):
        read_lines(file)
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"rows\.jsonl: damaged"):
        read_json(file)


def test_a_text_that_was_cut_inside_of_a_character_is_named(tmp_path: Path) -> None:
    file = tmp_path / "conversations.jsonl"
    file.write_bytes("好\n".encode() + "好".encode()[:2])
    with pytest.raises(DataError, match=r"conversations\.jsonl:2: damaged"):
        list(read_texts(file))
