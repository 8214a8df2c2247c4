"""What is compared, and that the words never claim more than the numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from matinee.evaluation.comparison import Pair, compare
from matinee.messages.transcripts import Detail, Verdict
from matinee.report.language import describe, language
from matinee.report.run_comparison import Skipped, compare_summaries
from matinee.report.runs import describe_runs
from matinee.runtime.errors import DataError

PAIR = Pair("training", ("old",), ("new",))


def _verdicts(subject: str, marks: str, per_family: int = 1) -> list[Verdict]:
    return [
        Verdict(
            case=f"c{place}",
            subject=subject,
            suite="zh",
            category="single_tool" if place % 2 else "no_tool",
            family=f"f{place // per_family}",
            success=mark == "1",
            error=None if mark == "1" else "no_call",
            detail=Detail(key="as_accepted"),
            metrics={},
        )
        for place, mark in enumerate(marks)
    ]


def _compare(old: str, new: str, per_family: int = 1) -> Any:
    verdicts = {"old": _verdicts("old", old, per_family), "new": _verdicts("new", new, per_family)}
    return compare(verdicts, [PAIR]).of(PAIR, "zh")


def test_a_clear_gain_is_called_better() -> None:
    result = _compare("0" * 60, "1" * 40 + "0" * 20)
    assert (result.gained, result.lost, result.finding) == (40, 0, "better")
    assert describe(result, language("en")) == "better (p\u00a0<\u00a00.001, Holm)"


def test_a_clear_loss_is_called_worse() -> None:
    assert _compare("1" * 40 + "0" * 20, "0" * 60).finding == "worse"


def test_no_difference_says_what_the_cases_could_have_shown() -> None:
    result = _compare("01" * 30, "01" * 30)
    assert result.finding == "none"
    assert (
        describe(result, language("en")) == "no difference that 60 cases could show (< 13 points)"
    )
    assert describe(result, language("zh")) == "60 道题显示不出差异（< 13 个百分点）"


def test_five_cases_are_said_to_be_too_few() -> None:
    assert "too few" in describe(_compare("00000", "11110"), language("en"))


def test_a_gain_in_one_family_only_is_not_called_better() -> None:
    result = _compare("0" * 60, "1" * 20 + "0" * 40, per_family=20)
    assert result.p_holm < 0.001
    assert result.finding == "unsure"
    assert "includes zero" in describe(result, language("en"))


def test_a_large_difference_that_is_not_significant_is_not_denied() -> None:
    result = _compare("0" * 40, "1" * 5 + "0" * 35)
    assert result.finding == "none"
    assert result.apart
    assert describe(result, language("en")).startswith("not shown (p")


def test_holm_covers_all_pairs_together() -> None:
    verdicts = {name: _verdicts(name, "0" * 40) for name in ("a", "b", "c")}
    verdicts["d"] = _verdicts("d", "1" * 7 + "0" * 33)
    pairs = [Pair("reference", (name,), ("d",)) for name in ("a", "b", "c")]
    overall = compare(verdicts, pairs).overall
    assert overall[0].p == pytest.approx(2 / 2**7)
    assert [result.p_holm for result in overall] == pytest.approx([6 / 2**7] * 3)


def test_categories_are_compared_apart() -> None:
    verdicts = {"old": _verdicts("old", "00" * 20), "new": _verdicts("new", "01" * 20)}
    categories = compare(verdicts, [PAIR]).categories_of(PAIR, "zh")
    assert {result.category: result.finding for result in categories} == {
        "no_tool": "none",
        "single_tool": "better",
    }


def test_several_seeds_are_averaged_against_one_untuned_subject() -> None:
    verdicts = {
        "old": _verdicts("old", "0" * 40),
        "s1": _verdicts("s1", "1" * 20 + "0" * 20),
        "s2": _verdicts("s2", "1" * 24 + "0" * 16),
    }
    pair = Pair("training", ("old",), ("s1", "s2"))
    result = compare(verdicts, [pair]).of(pair, "zh")
    assert result.after == pytest.approx(0.55)
    assert (result.after_seeds.low, result.after_seeds.high) == (0.5, 0.6)
    assert result.gained == 22
    assert result.finding == "better"


def test_subjects_of_a_pair_must_have_run_the_same_cases() -> None:
    verdicts = {"old": _verdicts("old", "000"), "new": _verdicts("new", "0000")}
    with pytest.raises(DataError, match="c3"):
        compare(verdicts, [PAIR])


def _summary(path: Path, subjects: dict[str, str], cases: int) -> Path:
    block = {
        "cases": [f"c{n}" for n in range(cases)],
        "categories": ["single_tool"] * cases,
        "families": [f"f{n}" for n in range(cases)],
        "subjects": subjects,
    }
    path.write_text(json.dumps({"outcomes": {"zh": block}}), encoding="utf-8")
    return path


def test_two_summaries_tell_what_flipped_and_what_got_worse(tmp_path: Path) -> None:
    a = _summary(tmp_path / "a.json", {"chat": "1" * 30, "gone": "0" * 30}, 30)
    b = _summary(tmp_path / "b.json", {"chat": "0" * 12 + "1" * 18}, 30)
    found = compare_summaries(a, b)
    assert found.worse
    assert [flip.case for flip in found.flips] == [f"c{n}" for n in range(12)]
    assert found.skipped == (Skipped("gone", run=str(a)),)
    text = describe_runs(found)
    assert text.startswith(
        "chat, suite zh: 100\u00a0% → 60\u00a0% of 30 cases (\u221240 points): worse"
    )
    assert "turned wrong (12): c0, c1" in text
    assert f"not compared: gone is only in {a}" in text
    assert not compare_summaries(b, b).worse


def test_only_shared_cases_are_compared(tmp_path: Path) -> None:
    a = _summary(tmp_path / "a.json", {"chat": "1" * 10}, 10)
    b = _summary(tmp_path / "b.json", {"chat": "1" * 12}, 12)
    found = compare_summaries(a, b)
    assert found.comparison.overall[0].cases == 10
    assert found.skipped == (Skipped("chat", suite="zh", cases=2),)
    assert "2 cases are in only one of the runs" in describe_runs(found)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"outcomes": {"zh": {}}}', '{"outcomes": 3}'])
def test_what_is_no_summary_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"other\.json"):
        compare_summaries(path, path)


def test_a_missing_summary_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: cannot be read"):
        compare_summaries(tmp_path / "none.json", tmp_path / "none.json")


@pytest.mark.parametrize(
    ("flags", "worse", "status"),
    [([], True, 0), (["--fail-if-worse"], True, 1), (["--fail-if-worse"], False, 0)],
)
def test_the_exit_status_says_whether_a_subject_got_worse(
    tmp_path: Path, flags: list[str], worse: bool, status: int
) -> None:
    good = _summary(tmp_path / "good.json", {"chat": "1" * 30}, 30)
    bad = _summary(tmp_path / "bad.json", {"chat": "0" * 12 + "1" * 18}, 30)
    named = [good, bad] if worse else [bad, good]
    program = Path(__file__).parents[2] / "workflow" / "run.py"
    command = [sys.executable, str(program), "compare", *map(str, named), *flags]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == status, run.stderr
    assert "suite zh" in run.stdout
