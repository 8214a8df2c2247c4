"""The metrics beside a verdict. Each is one declaration in `METRICS`; the report reads them there.

To add one, write a `Metric`: what it is called in both languages, what it is for one case (`case`;
None where the case cannot show it), and of which cases the mean is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from matinee.evaluation.gold import levels
from matinee.evaluation.scoring.turns import TurnJudgement
from matinee.messages.scenarios import Scenario, Turn
from matinee.messages.transcripts import Transcript, Verdict

Value = float | int | bool | None
Metrics = dict[str, float | None]


@dataclass(frozen=True)
class Played:
    """What a metric of one case is computed from."""

    scenario: Scenario
    transcript: Transcript
    judgements: Sequence[TurnJudgement]
    single_output: bool


@dataclass(frozen=True)
class Metric:
    """A measure of a group of cases: the mean of `of` (its own name, if empty) over the cases.

    `case`: its value for one case. `among`: only cases in which this fact holds. `over`: the sum
    over right cases is divided by this fact's. `share`: drawn as a percentage, else as a number.
    """

    name: str
    en: tuple[str, str]
    zh: tuple[str, str]
    case: Callable[[Played], Value] | None = None
    of: str = ""
    among: str = ""
    over: str = ""
    share: bool = True

    def titles(self, language: str) -> tuple[str, str]:
        """Its name and what it means, in `en` or `zh`."""
        return self.zh if language == "zh" else self.en

    def compute(self, verdicts: Sequence[Verdict]) -> float | None:
        """Over cases; None where no case could show it."""
        name = self.of or self.name
        if self.over:
            right = [verdict for verdict in verdicts if verdict.success]
            below = sum(_values(right, self.over))
            return sum(_values(right, name)) / below if below else None
        group = [one for one in verdicts if not self.among or one.metrics.get(self.among)]
        values = _values(group, name)
        return sum(values) / len(values) if values else None


def shortest_steps(turn: Turn) -> int:
    """The fewest outputs: one question for all, one per level of the order, one reply.

    Optional calls count only where a required one comes after them.
    """
    return bool(turn.ask) + len(levels(turn.calls)) + 1


def _made(played: Played, among: str) -> Value:
    """Due calls made as accepted, as a share of those that a turn counts under that name."""
    below = sum(getattr(one, among) for one in played.judgements)
    return min(1.0, sum(one.fulfilled for one in played.judgements) / below) if below else None


def _shortest(played: Played) -> Value:
    return 1 if played.single_output else sum(map(shortest_steps, played.scenario.turns))


# What the metrics below count with.
FACTS: dict[str, Callable[[Played], Value]] = {
    "called": lambda played: any(one.called for one in played.judgements),
    "call_due": lambda played: any(one.due for one in played.judgements),
    "asked": lambda played: any(one.asked for one in played.judgements),
    "ask_due": lambda played: any(turn.ask or turn.ask_after for turn in played.scenario.turns),
    "say_due": lambda played: any(turn.invalid or turn.must_say for turn in played.scenario.turns),
    "steps": lambda played: len(played.transcript.steps),
    "shortest_steps": _shortest,
    "refused_calls": lambda played: sum(one.refused for one in played.judgements),
    "completion_tokens": lambda played: sum(
        step.completion_tokens for step in played.transcript.steps
    ),
    "seconds": lambda played: round(sum(step.seconds for step in played.transcript.steps), 6),
}

METRICS = (
    Metric(
        "first_try",
        ("Right at the first try", "no call was refused for what it says; of all cases"),
        ("一次做对", "没有任何调用因内容被拒绝，占全部题目"),
        lambda played: all(one.fault is None and one.first_try for one in played.judgements),
    ),
    Metric(
        "lenient",
        (
            "Right with slips repaired",
            "read by a forgiving parser alone: quotes, full-width punctuation, forgotten tags …",
        ),
        ("容错解析后答对", "只按容错方式解析：引号、全角标点、漏写标记等"),
        of="lenient_success",
    ),
    Metric(
        "tool_selection",
        ("Right tools", "due tools called and no others, whatever the arguments"),
        ("工具选对", "只看工具，不看参数"),
        lambda played: (
            all(one.tools_right for one in played.judgements)
            if any(one.due for one in played.judgements)
            else None
        ),
    ),
    Metric(
        "arguments",
        ("Right arguments", "of the due calls whose tool was called"),
        ("参数填对", "占工具已被调用的应有调用之比例"),
        lambda played: _made(played, "named"),
    ),
    Metric(
        "chain_progress",
        ("Due calls made", "share of due calls made as accepted"),
        ("应有调用完成度", "应有调用中已正确完成的比例"),
        lambda played: _made(played, "due"),
    ),
    Metric(
        "call_precision",
        ("Calls that were due", "of the cases in which something was called"),
        ("调用的精确率", "在有调用的题目中"),
        of="call_due",
        among="called",
    ),
    Metric(
        "call_recall",
        ("Due calls not missed", "of the cases in which a call was due"),
        ("调用的召回率", "在应当调用的题目中"),
        of="called",
        among="call_due",
    ),
    Metric(
        "clarification_precision",
        ("Questions that were due", "of the cases in which it asked back"),
        ("追问的精确率", "在有追问的题目中"),
        of="ask_due",
        among="asked",
    ),
    Metric(
        "clarification_recall",
        ("Due questions asked", "of the cases in which it had to ask"),
        ("追问的召回率", "在应当追问的题目中"),
        of="asked",
        among="ask_due",
    ),
    Metric(
        "format_valid",
        (
            "Every output well formed",
            "read as calls or as a reply that ended; no call in another form",
        ),
        ("输出格式全部有效", "都能读作调用或完整的回复，且没有其他格式的调用"),
        lambda played: all(one.well_formed for one in played.judgements),
    ),
    Metric(
        "cut_off",
        ("Cut off at the token limit", "share of cases"),
        ("达到词元上限被截断", "题目比例"),
        lambda played: any(step.finish == "length" for step in played.transcript.steps),
    ),
    Metric(
        "mentioned",
        ("Reply mentions the result", "of the cases with something to mention"),
        ("回复提到结果", "在要求提到结果的题目中"),
        lambda played: (
            all(one.mentioned for one in played.judgements)
            if any(turn.mention for turn in played.scenario.turns)
            else None
        ),
    ),
    Metric(
        "refused_calls",
        ("Refused calls per case", "mean over all cases"),
        ("每题被拒绝的调用数", "全部题目的平均值"),
        share=False,
    ),
    Metric(
        "steps_over_shortest",
        ("Steps over the shortest path", "model outputs of the right cases; 1 is the best"),
        ("步数与最短路径之比", "只计答对的题目，1 为最佳"),
        of="steps",
        over="shortest_steps",
        share=False,
    ),
    Metric(
        "tokens_per_case",
        ("Tokens written per case", "mean over all cases"),
        ("每题生成词元数", "全部题目的平均值"),
        of="completion_tokens",
        share=False,
    ),
)


def case_metrics(played: Played) -> dict[str, Value]:
    """What one case shows; None where it could show nothing."""
    own = {metric.name: metric.case(played) for metric in METRICS if metric.case is not None}
    return own | {name: fact(played) for name, fact in FACTS.items()}


def aggregate(verdicts: Sequence[Verdict]) -> Metrics:
    """Every metric over cases; None where no case could show it. None lies on the clock."""
    return {metric.name: metric.compute(verdicts) for metric in METRICS}


def seconds_per_case(verdicts: Sequence[Verdict]) -> float | None:
    """Mean time from asking the engine to its answer, over all outputs of a case.

    Where cases run side by side, their times overlap.
    """
    return Metric("seconds", ("", ""), ("", "")).compute(verdicts)


def _values(verdicts: Iterable[Verdict], name: str) -> list[float]:
    found: Iterable[Any] = (verdict.metrics.get(name) for verdict in verdicts)
    return [float(value) for value in found if value is not None]
