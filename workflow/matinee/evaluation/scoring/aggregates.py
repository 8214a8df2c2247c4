"""The metrics of many cases together: shares, precision and recall, averages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matinee.messages.transcripts import Verdict

Metrics = dict[str, float | None]


def aggregate(verdicts: Sequence[Verdict]) -> Metrics:
    """Metrics over cases; None where no case could show one. All but the times lie on no clock.

    - `lenient`: share of right cases when usual slips of the format are repaired.
    - `tool_selection`: share of the cases with due calls in which the due tools, and no others,
      were called. `arguments`: mean share of due calls with accepted arguments, of those whose
      tool was called. `chain_progress`: mean share of the due calls made as accepted.
    - `call_precision`: of the cases in which something was called, the share in which a call was
      due; `call_recall`: of those in which one was due, the share in which something was called.
      `clarification_precision`, `clarification_recall`: the same of questions back.
    - `format_valid`: share of cases whose outputs all parsed. `cut_off`: share of cases with an
      output that ran into the token limit.
    - `mentioned`: share of the cases with something to mention in which the reply held it.
    - `steps_over_shortest`: model outputs of the right cases over the fewest that could do.
    - `tokens_per_case`: mean number of tokens written.
    """
    right = [verdict for verdict in verdicts if verdict.success]
    return {
        "lenient": _mean(verdicts, "lenient_success"),
        "tool_selection": _mean(verdicts, "tool_selection"),
        "arguments": _mean(verdicts, "arguments"),
        "chain_progress": _mean(verdicts, "chain_progress"),
        "call_precision": _share(verdicts, "call_due", among="called"),
        "call_recall": _share(verdicts, "called", among="call_due"),
        "clarification_precision": _share(verdicts, "ask_due", among="asked"),
        "clarification_recall": _share(verdicts, "asked", among="ask_due"),
        "format_valid": _mean(verdicts, "format_valid"),
        "cut_off": _mean(verdicts, "cut_off"),
        "mentioned": _mean(verdicts, "mentioned"),
        "steps_over_shortest": _ratio(right, "steps", "shortest_steps"),
        "tokens_per_case": _mean(verdicts, "completion_tokens"),
    }


def seconds_per_case(verdicts: Sequence[Verdict]) -> float | None:
    """Mean time from asking the engine to its answer, over all outputs of a case.

    Where cases run side by side, their times overlap.
    """
    return _mean(verdicts, "seconds")


def _values(verdicts: Iterable[Verdict], name: str) -> list[float]:
    found = (verdict.metrics.get(name) for verdict in verdicts)
    return [float(value) for value in found if value is not None]


def _mean(verdicts: Iterable[Verdict], name: str) -> float | None:
    values = _values(verdicts, name)
    return sum(values) / len(values) if values else None


def _share(verdicts: Iterable[Verdict], name: str, *, among: str) -> float | None:
    return _mean((verdict for verdict in verdicts if verdict.metrics.get(among)), name)


def _ratio(verdicts: Sequence[Verdict], over: str, under: str) -> float | None:
    below = sum(_values(verdicts, under))
    return sum(_values(verdicts, over)) / below if below else None
