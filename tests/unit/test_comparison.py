"""What is compared, and that the words never claim more than the numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from matinee.evaluation.comparison import (
    Comparison,
    Outcome,
    Pair,
    Result,
    compare_outcomes,
    outcomes_by_suite,
)
from matinee.messages.transcripts import Detail, Verdict
from matinee.report.run_comparison import Skipped, compare_summaries, describe_runs
from matinee.report.words import describe, language
from matinee.runtime.errors import DataError

PAIR = Pair("training", ("old",), ("new",))


def _outcomes(marks: str, per_family: int = 1, quiet: int = 0) -> dict[str, list[Outcome]]:
    """One outcome per mark, in two categories; the last `quiet` cases are to be left alone."""
    return {
        "zh": [
            Outcome(
                case=f"c{place}",
                category="single_tool" if place % 2 else "no_tool",
                family=f"f{place // per_family}",
                success=mark == "1",
                due=place < len(marks) - quiet,
            )
            for place, mark in enumerate(marks)
        ]
    }


def _comparison(before: list[str], after: list[str], **grouping: int) -> tuple[Comparison, Pair]:
    names = [f"b{n}" for n in range(len(before))], [f"a{n}" for n in range(len(after))]
    pair = Pair("training", *map(tuple, names))  # type: ignore[arg-type]
    marks = dict(zip(pair.before + pair.after, before + after, strict=True))
    outcomes = {name: _outcomes(one, **grouping) for name, one in marks.items()}
    return compare_outcomes(outcomes, [pair]), pair


def _compare(old: str, new: str, per_family: int = 1) -> Result:
    comparison, pair = _comparison([old], [new], per_family=per_family)
    found = comparison.of(pair, "zh", "due")
    assert found is not None
    return found


def test_a_clear_gain_is_called_better() -> None:
    result = _compare("0" * 60, "1" * 40 + "0" * 20)
    assert (result.gained, result.lost, result.finding) == (40, 0, "better")
    assert describe(result, language("en")) == "better (p\u00a0<\u00a00.001, Holm)"


def test_a_clear_loss_is_called_worse() -> None:
    assert _compare("1" * 40 + "0" * 20, "0" * 60).finding == "worse"


def test_no_difference_says_what_the_cases_could_have_shown() -> None:
    result = _compare("01" * 30, "01" * 30)
    assert result.finding == "none"
    told = describe(result, language("en"))
    assert told == "no difference that 60 cases in 60 families could show (< 13 points)"
    told = describe(result, language("zh"))
    assert told == "60 道题（60 个题族）显示不出差异（< 13 个百分点）"


@pytest.mark.parametrize(("cases", "per_family"), [(2, 1), (5, 1), (25, 5), (60, 60)])
def test_below_six_families_only_numbers_are_shown(cases: int, per_family: int) -> None:
    result = _compare("0" * cases, "1" * cases, per_family)
    assert result.finding == "few"
    assert "too few" in describe(result, language("en"))


def test_a_gain_in_one_family_only_is_not_called_better() -> None:
    assert _compare("0" * 160, "1" * 20 + "0" * 140, per_family=20).finding == "none"


def test_a_large_difference_that_is_not_significant_is_not_denied() -> None:
    result = _compare("0" * 40, "1" * 5 + "0" * 35)
    assert result.finding == "none"
    result = replace(result, difference=replace(result.difference, low=0.001))
    assert describe(result, language("en")).startswith("not shown (p")


@pytest.mark.parametrize(("floor", "said"), [(0.3, "better"), (0.5, "floor"), (0.6, "floor")])
def test_a_gain_that_ends_no_higher_than_the_floor_is_not_called_better(
    floor: float, said: str
) -> None:
    """The constant asker: nothing right before, then what one question for ever gets."""
    marks = {"old": _outcomes("0" * 50, quiet=10), "new": _outcomes("10" * 20 + "1" * 10, quiet=10)}
    comparison = compare_outcomes(marks, [PAIR], {"zh": floor})
    assert [one.finding for one in comparison.headline_of(PAIR, "zh")] == ["better", "better"]
    assert comparison.headline(PAIR, "zh") == said


def test_a_loss_is_told_below_the_floor_too() -> None:
    marks = {"old": _outcomes("1" * 40), "new": _outcomes("0" * 40)}
    assert compare_outcomes(marks, [PAIR], {"zh": 0.5}).headline(PAIR, "zh") == "worse"


class TestHolm:
    def test_covers_the_claims_of_all_headlines_of_a_kind(self) -> None:
        outcomes = {name: _outcomes("0" * 40) for name in ("a", "b", "c")}
        outcomes["d"] = _outcomes("1" * 10 + "0" * 30)
        pairs = [Pair("reference", (name,), ("d",)) for name in ("a", "b", "c")]
        claims = compare_outcomes(outcomes, pairs).groups("due")
        assert claims[0].difference.p == pytest.approx(2 / 2**10)
        assert [claim.p_holm for claim in claims] == pytest.approx([6 / 2**10] * 3)

    def test_of_the_headline_does_not_depend_on_how_many_categories_there_are(self) -> None:
        few = _compare("0" * 40, "1" * 8 + "0" * 32)
        marks = {"old": _outcomes("0" * 40), "new": _outcomes("1" * 8 + "0" * 32)}
        for outcomes in marks.values():
            outcomes["zh"] = [replace(one, category=one.case[:2]) for one in outcomes["zh"]]
        many = compare_outcomes(marks, [PAIR]).of(PAIR, "zh", "due")
        assert many is not None
        assert many.p_holm == few.p_holm

    def test_asks_more_of_what_could_be_detected(self) -> None:
        alone = _compare("01" * 30, "01" * 30)
        both, pair = _comparison(["01" * 30 + "1" * 6], ["01" * 30 + "1" * 6], quiet=6)
        due = both.of(pair, "zh", "due")
        assert due is not None
        assert due.detectable is not None
        assert alone.detectable is not None
        assert due.detectable > alone.detectable


def test_categories_are_compared_apart() -> None:
    comparison, pair = _comparison(["00" * 20], ["01" * 20])
    findings = {one.category: one.finding for one in comparison.categories_of(pair, "zh")}
    assert findings == {"no_tool": "none", "single_tool": "better"}


# Marks of 40 cases in which something is due, and of 20 to be left alone.
@pytest.mark.parametrize(
    ("before", "after", "headline"),
    [
        ("0" * 40 + "1" * 20, "1" * 30 + "0" * 10 + "1" * 20, "better"),
        ("0" * 40 + "1" * 20, "1" * 30 + "0" * 10 + "0" * 20, "mixed"),
        ("1" * 40 + "0" * 20, "0" * 40 + "1" * 20, "worse"),
        ("1" * 40 + "1" * 20, "1" * 40 + "0" * 20, "worse"),
        ("1" * 40 + "0" * 20, "1" * 40 + "1" * 20, "better"),
        ("1" * 40 + "0" * 20, "0" * 3 + "1" * 37 + "1" * 20, "none"),
        ("01" * 30, "10" * 30, "none"),
    ],
    ids=["more-done", "more-done-less-left-alone", "silenced", "less-left-alone",
         "more-left-alone", "more-left-alone-at-a-loss", "nothing"],
)  # fmt: skip
def test_the_headline_asks_first_for_what_is_due_then_for_what_is_left_alone(
    before: str, after: str, headline: str
) -> None:
    comparison, pair = _comparison([before], [after], quiet=20)
    assert comparison.headline(pair, "zh") == headline


def test_a_suite_may_lack_one_kind_of_case() -> None:
    comparison, pair = _comparison(["0" * 20], ["1" * 20], quiet=20)
    assert comparison.of(pair, "zh", "due") is None
    assert comparison.headline(pair, "zh") == "better"


def test_something_is_due_where_a_call_or_a_question_is() -> None:
    def verdict(**metrics: bool) -> Verdict:
        return Verdict(
            case="c", subject="s", suite="zh", category="x", family="f", success=True, error=None,
            detail=Detail(key="as_accepted"), metrics=dict(metrics),
        )  # fmt: skip

    rows = [
        verdict(call_due=True, ask_due=False),
        verdict(call_due=False, ask_due=True),
        verdict(call_due=False, ask_due=False),
    ]
    assert [one.due for one in outcomes_by_suite({"s": rows})["s"]["zh"]] == [True, True, False]


class TestSeveralSeeds:
    def test_are_averaged_against_one_untuned_subject(self) -> None:
        comparison, pair = _comparison(["0" * 40], ["1" * 20 + "0" * 20, "1" * 24 + "0" * 16])
        result = comparison.of(pair, "zh")
        assert result is not None
        assert result.after == pytest.approx(0.55)
        assert result.after_seeds == (0.5, 0.6)
        assert result.gained == 22
        assert result.finding == "better"

    def test_in_one_family_do_not_speak_by_their_order(self) -> None:
        seeds = ["1" * 8, "0" * 8]
        for order in (seeds, seeds[::-1]):
            comparison, pair = _comparison(["0" * 8], order, per_family=8)
            result = comparison.of(pair, "zh", "due")
            assert result is not None
            assert result.difference.p == 1.0
            assert result.finding == "few"

    def test_that_disagree_are_told_as_such(self) -> None:
        comparison, pair = _comparison(["01" * 20], ["1" * 40, "0" * 20 + "01" * 10])
        result = comparison.of(pair, "zh", "due")
        assert result is not None
        assert result.finding == "seeds"
        assert comparison.headline(pair, "zh") == "seeds"
        told = describe(result, language("en"))
        assert told.startswith("the seeds disagree: from 25\u00a0% to 100\u00a0%")

    def test_of_two_variants_may_differ_in_number(self) -> None:
        comparison, pair = _comparison(["0" * 20] * 3, ["1" * 20])
        assert comparison.headline(pair, "zh") == "better"


def test_subjects_of_a_pair_must_have_run_the_same_cases() -> None:
    outcomes = {"old": _outcomes("000"), "new": _outcomes("0000")}
    with pytest.raises(DataError, match="c3"):
        compare_outcomes(outcomes, [PAIR])


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
    assert [row.lost for row in found.rows] == [tuple(f"c{n}" for n in range(12))]
    assert found.skipped == (Skipped("gone", run=str(a)),)
    text = describe_runs(found)
    said = "chat, suite zh, Where something is due: 100\u00a0% → 60\u00a0% of 30 cases "
    assert text.startswith(said + "(\u221240 points): worse")
    assert "turned wrong (12): c0, c1" in text
    assert f"not compared: gone is only in {a}" in text
    assert not compare_summaries(b, b).worse


def test_only_shared_cases_are_compared(tmp_path: Path) -> None:
    a = _summary(tmp_path / "a.json", {"chat": "1" * 10}, 10)
    b = _summary(tmp_path / "b.json", {"chat": "1" * 12}, 12)
    found = compare_summaries(a, b)
    assert found.comparison.groups("due")[0].cases == 10
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
