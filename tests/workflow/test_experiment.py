"""A new user's way: `init`, `try`, `run`, with one's own tools and forty logs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from clones import Clone
from unit.test_beginning import logged

pytestmark = pytest.mark.extended


def test_from_logs_to_a_report(clone: Clone, finished: Clone, tmp_path: Path) -> None:
    logs = tmp_path / "logs.jsonl"
    logs.write_text("".join(json.dumps(logged(number)) + "\n" for number in range(40)))
    model = finished.folder / "results/model/tiny"
    begun = clone.stage("init", "shop", "--model", str(model), "--logs", str(logs))
    assert begun.returncode == 0, begun.stderr
    tried = clone.stage("try", "shop")
    assert tried.returncode == 0, tried.stderr[-4000:]
    assert (clone.folder / "shop/trial/results/report.html").is_file()
    assert not (clone.folder / "shop/results").exists()
    assert not (clone.folder / "results").exists()
