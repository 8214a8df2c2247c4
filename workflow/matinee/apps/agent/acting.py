"""One attempt at a subtask: one inference, or rounds of tool calls, until its status is known."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from matinee.apps.agent.events import ModelWrote, Subtask
from matinee.apps.agent.thinking import AgentRun, Play
from matinee.apps.agent.tools import refused
from matinee.evaluation.playing import CYCLE_LENGTH
from matinee.messages.conversations import Message, Tool, ToolCall, canonical_json
from matinee.messages.details import said
from matinee.messages.transcripts import Observation

NO_STEPS = "步数已经用完"
NO_ROUNDS = "调用工具的次数已经用完，还没有得到结果"
CUT_OFF = "回答太长，被截断了"
IN_CIRCLES = "反复得到同样的结果"
NOTHING_SAID = "模型没有给出任何内容"
NOT_CALLED = "没有调用需要的工具"


@dataclass(frozen=True)
class CallOutcome:
    """How an attempt ended. `error`: the kind of the failure, for choosing another way."""

    done: bool
    result: str
    reason: str = ""
    error: str = ""


@dataclass
class _Attempt:
    """What happened in an attempt so far.

    `unsettled`: failed calls of the latest round that had any. A later round with a success
    settles them: another way was found. Calls of one round do not settle each other.
    """

    unsettled: tuple[Observation, ...] = ()
    tool_result: str | None = None
    seen: Counter[str] = field(default_factory=Counter)

    def take(self, subtask: Subtask, calls: Sequence[ToolCall], seen: list[Observation]) -> None:
        failed = tuple(observation for observation in seen if observation.error is not None)
        if failed or len(failed) < len(seen):
            self.unsettled = failed
        for call, observation in zip(calls, seen, strict=True):
            if observation.error is None and call.name == subtask.tool:
                self.tool_result = observation.content
            self.seen[canonical_json([call.name, call.arguments, observation.content])] += 1

    @property
    def in_circles(self) -> bool:
        return max(self.seen.values(), default=0) >= CYCLE_LENGTH


def attempt(
    run: AgentRun, subtask: Subtask, tools: Sequence[Tool], rounds: int
) -> Play[CallOutcome]:
    """Works on a subtask once: at most `rounds` rounds of calls and one output more.

    A subtask with a tool is done when that tool has answered; one without when the model writes
    text without a call and no failed call is left unsettled.
    """
    state = _Attempt()
    for spent in range(rounds + 1):
        wrote = yield from run.think("act", tools)
        if wrote is None:
            return CallOutcome(False, "", NO_STEPS, "step_limit")
        if wrote.cut_off:
            run.say(Message("assistant", wrote.text.strip()))
            return CallOutcome(False, "", CUT_OFF, "token_limit")
        if not wrote.parse.calls and wrote.parse.error is None:
            run.say(Message("assistant", wrote.parse.content))
            return _judged(subtask, state, wrote.parse.content)
        if spent == rounds:
            break
        yield from _round(run, subtask, state, wrote)
        if state.tool_result is not None and not state.unsettled:
            return CallOutcome(True, state.tool_result)
        if state.in_circles:
            return _unfinished(state, IN_CIRCLES, "cycle")
    return _unfinished(state, NO_ROUNDS, "step_limit")


def _round(run: AgentRun, subtask: Subtask, state: _Attempt, wrote: ModelWrote) -> Play[None]:
    """Makes all calls of an output, or none where it cannot be read."""
    if wrote.parse.error is not None:
        run.say(Message("assistant", wrote.text.strip()))
        why = said(wrote.parse.error)
        broken = refused("", "unparsable", f"工具调用格式错误，没有执行（{why}）")
        run.observe(broken)
        state.unsettled = (broken,)
        state.seen[wrote.text] += 1
        return
    calls = tuple(ToolCall(call.name, call.arguments) for call in wrote.parse.calls)
    run.say(Message("assistant", wrote.parse.content, calls))
    observations = []
    for call in calls:
        observations.append((yield from run.call(subtask.number, call)))
    state.take(subtask, calls, observations)


def _judged(subtask: Subtask, state: _Attempt, text: str) -> CallOutcome:
    """What the model's text without a call is worth: the tools' results decide."""
    if state.unsettled:
        return _unfinished(state, "", "", text)
    if subtask.tool is not None and state.tool_result is None:
        return CallOutcome(False, text, f"{NOT_CALLED}{subtask.tool}", "no_call")
    if not text.strip():
        return CallOutcome(False, "", NOTHING_SAID, "empty_output")
    return CallOutcome(True, text)


def _unfinished(state: _Attempt, reason: str, error: str, text: str = "") -> CallOutcome:
    """A failure; what a tool said explains it better than that the rounds were used up."""
    if state.unsettled:
        last = state.unsettled[-1]
        return CallOutcome(False, text, problem_of(last), error or last.error or "")
    return CallOutcome(False, text, reason, error)


def problem_of(observation: Observation) -> str:
    """A failed call in words: the tool, and what it said."""
    try:
        body = json.loads(observation.content)
    except ValueError:
        body = None
    said = body.get("reason") if isinstance(body, dict) else None
    text = str(said or observation.content)[:200]
    return f"{observation.tool}：{text}" if observation.tool else text


# What another way could be depends on how the last one failed.
_ADVICE = {
    "timeout": "这可能是暂时的：可以再试一次，或者换一个能得到同样信息的工具。",
    "rate_limit": "这可能是暂时的：可以再试一次，或者换一个能得到同样信息的工具。",
    "server_error": "这可能是暂时的：可以再试一次，或者换一个能得到同样信息的工具。",
    "no_call": "请直接调用工具，不要凭记忆回答。",
    "unparsable": "请按规定的格式重新写出工具调用。",
    "unknown_tool": "只能使用列出的工具。",
    "missing_parameter": "请补上缺少的参数。",
    "empty_output": "请写出调用或者回答。",
    "token_limit": "请写得更短。",
    "cycle": "不要重复同样的调用，换别的参数或别的工具。",
}
_OTHERWISE = "请换别的参数或别的工具。"


def another_way(outcome: CallOutcome) -> str:
    """What the model is told after a failure, before it tries again."""
    advice = _ADVICE.get(outcome.error, _OTHERWISE)
    return f"刚才没有做成（{outcome.reason}）。{advice}确实做不到，就直接说明原因。"
