"""The numbers beside a verdict, per case; the report averages them."""

from __future__ import annotations

from collections.abc import Sequence

from matinee.evaluation.gold import levels
from matinee.evaluation.scoring.turns import TurnJudgement
from matinee.messages.scenarios import Scenario, Turn
from matinee.messages.transcripts import Transcript


def metrics(
    scenario: Scenario,
    transcript: Transcript,
    judgements: Sequence[TurnJudgement],
    *,
    single_output: bool = False,
) -> dict[str, float | int | bool | None]:
    """Metrics of one case. None: the case has nothing that the metric could measure.

    - `tool_selection`: the due tools, and no others, were called (arguments aside).
    - `arguments`: share of due calls with accepted arguments, of those whose tool was called.
    - `format_valid`: every output parsed. `cut_off`: one ran into the token limit.
    - `called`, `call_due`, `asked`, `ask_due`: for precision and recall over cases.
    - `chain_progress`: share of the due calls made as accepted.
    - `steps`, `shortest_steps`: model outputs, and the fewest that can succeed.
    - `refused_calls`: error observations. `mentioned`: replies held what they should.
    - `completion_tokens`, `seconds`: sums over the steps.
    """
    due = sum(one.due for one in judgements)
    named = sum(one.named for one in judgements)
    fulfilled = sum(one.fulfilled for one in judgements)
    mentions = any(turn.mention for turn in scenario.turns)
    steps = transcript.steps
    return {
        "tool_selection": all(one.tools_right for one in judgements) if due else None,
        "arguments": min(1.0, fulfilled / named) if named else None,
        "format_valid": all(step.parse.error is None for step in steps),
        "called": any(one.called for one in judgements),
        "call_due": due > 0,
        "asked": any(one.asked for one in judgements),
        "ask_due": any(turn.ask for turn in scenario.turns),
        "chain_progress": fulfilled / due if due else None,
        "steps": len(steps),
        "shortest_steps": 1
        if single_output
        else sum(shortest_steps(turn) for turn in scenario.turns),
        "refused_calls": sum(one.refused for one in judgements),
        "mentioned": all(one.mentioned for one in judgements) if mentions else None,
        "cut_off": any(step.finish == "length" for step in steps),
        "completion_tokens": sum(step.completion_tokens for step in steps),
        "seconds": round(sum(step.seconds for step in steps), 6),
    }


def shortest_steps(turn: Turn) -> int:
    """The fewest outputs: one question for all, one per level of the order, one reply.

    Optional calls count only where a required one comes after them.
    """
    return bool(turn.ask) + len(levels(turn.calls)) + 1
