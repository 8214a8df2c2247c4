"""Many configurations with mistakes: each is refused in words, or good for a whole plan."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from unit.config_mutations import mutation, outcome


@pytest.mark.faults
def test_five_thousand_mistakes(tmp_path: Path) -> None:
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "tools.json").write_text("[]")
    draw = random.Random(2026)
    found = [outcome(mutation(draw), tmp_path) for _ in range(5000)]
    assert found.count("refused") > 1000
    assert found.count("accepted") > 100
