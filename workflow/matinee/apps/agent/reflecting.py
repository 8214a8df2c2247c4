"""Reflection: a subtask that failed is tried another way, a bounded number of times."""

from __future__ import annotations

from dataclasses import dataclass

from matinee.apps.agent.acting import NO_STEPS, CallOutcome
from matinee.apps.agent.events import Subtask

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


@dataclass(frozen=True)
class Decision:
    """What follows a failure. `advice`: what the model is told before it tries again."""

    again: bool
    reason: str
    advice: str = ""


@dataclass(frozen=True)
class BoundedReflection:
    """Another way, until a subtask has been tried `max_attempts` times; then an honest answer."""

    max_attempts: int = 2

    def decide(self, subtask: Subtask, outcome: CallOutcome, steps_left: int) -> Decision:
        """Whether the subtask, which has just failed, is tried again."""
        if steps_left < 1:
            return Decision(False, NO_STEPS)
        if subtask.attempts >= self.max_attempts:
            return Decision(False, f"已经试了{subtask.attempts}次：{outcome.reason}")
        advice = _ADVICE.get(outcome.error, _OTHERWISE)
        told = f"刚才没有做成（{outcome.reason}）。{advice}确实做不到，就直接说明原因。"
        return Decision(True, outcome.reason, told)

    def partial(self, text: str, failed: tuple[Subtask, ...]) -> str:
        """The answer of a task whose subtasks did not all come off: what is missing, and why."""
        missing = "\n".join(f"- {subtask.goal}（{subtask.reason}）" for subtask in failed)
        return f"{text}\n\n没有完成：\n{missing}".strip()


class NoReflection(BoundedReflection):
    """Reflection switched off: one attempt, and the model's answer as it is."""

    def decide(self, subtask: Subtask, outcome: CallOutcome, steps_left: int) -> Decision:
        return Decision(False, outcome.reason)

    def partial(self, text: str, failed: tuple[Subtask, ...]) -> str:
        return text
