"""The blind second labelling against the gold: docs/scenarios.md tells the numbers found here."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from playing import tools

from matinee.evaluation.playing import Play, run_suite
from matinee.evaluation.scoring import score_suite
from matinee.evaluation.scripted import GoldEngine
from matinee.evaluation.suites import load_suite
from matinee.messages.scenarios import GoldCall, Scenario, Suite, Turn
from matinee.messages.transcripts import Verdict

ROOT = Path(__file__).parents[2]


@cache
def labels() -> list[dict[str, Any]]:
    text = (ROOT / "docs/labelling/second.yaml").read_text(encoding="utf-8")
    read: list[dict[str, Any]] = yaml.safe_load(text)
    return read


@cache
def first() -> Suite:
    """The labelled cases; those written since have one labelling only."""
    resources = ROOT / "workflow" / "resources"
    suite = load_suite(resources / "scenarios", resources / "tools.json")
    labelled = {label["id"] for label in labels()}
    kept = tuple(case for case in suite.scenarios if case.id in labelled)
    return suite.model_copy(update={"scenarios": kept})


@cache
def second() -> Suite:
    """The same questions with the second labels as gold."""
    turns = {label["id"]: label["turns"] for label in labels()}
    relabelled = tuple(_relabelled(case, turns[case.id]) for case in first().scenarios)
    return first().model_copy(update={"scenarios": relabelled})


def _relabelled(case: Scenario, labels: list[dict[str, Any]]) -> Scenario:
    turns = tuple(_turn(turn, label) for turn, label in zip(case.turns, labels, strict=True))
    return case.model_copy(update={"turns": turns})


def _turn(turn: Turn, label: dict[str, Any]) -> Turn:
    calls = tuple(GoldCall.model_validate(call) for call in label.get("calls", []))
    ask = tuple(_slot(turn, words) for words in label.get("ask", []))
    return turn.model_copy(update={"calls": calls, "ask": ask})


def _slot(turn: Turn, words: str) -> str:
    """The slot that a label's words ask for; the words themselves where none is asked for so."""
    asked = (name for name, slot in turn.slots.items() if any(w in words for w in slot.asked_by))
    return next(asked, words)


def played(labelled: Suite, judge: Suite) -> list[Verdict]:
    """Verdicts of one labelling on a model that does what the other one says."""
    transcripts = run_suite(
        first(),
        GoldEngine(labelled, "hermes"),
        Play(subject="labels", form="hermes", max_steps=6, max_new_tokens=100),
    )
    return score_suite(judge, transcripts)


def test_every_case_of_the_first_version_that_is_left_was_labelled_a_second_time():
    assert sorted(one["id"] for one in labels()) == sorted(case.id for case in first().scenarios)
    assert len(labels()) == 300
    turns = [turn for label in labels() for turn in label["turns"]]
    called = {call["tool"] for turn in turns for call in turn.get("calls", [])}
    assert called == {tool["name"] for tool in tools()}


def test_the_gold_accepts_what_the_second_labeller_would_do_in_every_case():
    verdicts = played(second(), first())
    assert [verdict.case for verdict in verdicts if not verdict.success] == []


def test_the_other_way_round_only_the_two_documented_choices_differ():
    refused = [verdict for verdict in played(first(), second()) if not verdict.success]
    assert {verdict.error for verdict in refused} == {"extra_argument"}
    without_accident = [verdict for verdict in refused if "iis_sg=0" in str(verdict.detail)]
    few_news = [verdict for verdict in refused if "page_size='3'" in str(verdict.detail)]
    assert (len(without_accident), len(few_news), len(refused)) == (22, 3, 25)


def test_a_wrong_label_would_be_seen():
    case = next(case for case in second().scenarios if case.turns[0].calls)
    call = case.turns[0].calls[0].model_copy(update={"tool": "icp_query", "arguments": {}})
    turn = case.turns[0].model_copy(update={"calls": (call,)})
    broken = case.model_copy(update={"turns": (turn, *case.turns[1:])})
    scenarios = tuple(broken if one.id == case.id else one for one in second().scenarios)
    wrong = second().model_copy(update={"scenarios": scenarios})
    assert [v.case for v in played(wrong, first()) if not v.success] == [case.id]
