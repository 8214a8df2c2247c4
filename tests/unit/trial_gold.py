"""A policy that knows every task's way: it shows that the tasks can be done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from matinee.apps.agent.trials.scoring import arguments_of, fact_values
from matinee.apps.agent.trials.tasks import TaskQuestion, TaskSuite
from matinee.engines.base import Completion, Reply, Request
from matinee.messages.conversations import ToolCall, canonical_json
from matinee.messages.parsing import CallForm, write_calls

_Messages = tuple[dict[str, Any], ...]


class TrialGoldEngine:
    """Answers the tasks of a suite rightly, whichever way the agent is run.

    It reads off the conversation what has been called, makes the next calls of the task's gold
    rounds that the tools on offer allow, and then states the facts.
    """

    def __init__(self, suite: TaskSuite, form: CallForm) -> None:
        self._tasks = {task.id: task for task in suite.tasks}
        self._days = {task.id: task.days(suite.today) for task in suite.tasks}
        self._form = form

    def serve(self, requests: Iterable[Request], reply: Reply) -> None:
        """Plays the tasks one after the other; see `Engine`."""
        for request in requests:
            following: Request | None = request
            while following is not None:
                text = self._output(following)
                following = reply(following, Completion(text, 0, 0, "stop", 0.0))

    def _output(self, request: Request) -> str:
        task = self._tasks[request.key]
        told = [message["content"] for message in request.messages if message["role"] == "user"]
        named = [n for n, ask in enumerate(task.asks) if any(ask.question in text for text in told)]
        number = max(named, key=lambda n: len(task.asks[n].question))
        ask = task.asks[number]
        if "先不要调用工具" in told[-1]:
            return _plan(ask)
        if "请根据以上结果" not in told[-1] and not _step_is_over(request.messages):
            calls = self._next_calls(ask, request)
            if calls:
                return write_calls(self._form, calls)
        facts = "，".join(str(value) for value in fact_values(ask, self._days[task.id][number]))
        return f"{facts}。有的无法办到。" if ask.impossible else f"{facts}。"

    def _next_calls(self, ask: TaskQuestion, request: Request) -> list[ToolCall]:
        """The calls of the first round that are still to be made with the tools on offer."""
        made = _made(request.messages)
        offered = {tool["function"]["name"] for tool in request.tools}
        for group in ask.gold:
            due = []
            for gold in group:
                call = ToolCall(gold.tool, arguments_of(gold))
                if made[_key(call.name, call.values)]:
                    made[_key(call.name, call.values)] -= 1
                elif call.name in offered:
                    due.append(call)
            if due:
                return due
        return []


def _plan(ask: TaskQuestion) -> str:
    goals = ("、".join(call.tool for call in group) for group in ask.gold)
    return "\n".join(f"{number}. {goal}" for number, goal in enumerate(goals, start=1))


def _step_is_over(messages: _Messages) -> bool:
    """Whether a step of a plan has had its round of calls."""
    last = max(n for n, message in enumerate(messages) if message["role"] == "user")
    return "现在做第" in messages[last]["content"] and last < len(messages) - 1


def _made(messages: _Messages) -> Counter[str]:
    return Counter(
        _key(call["function"]["name"], call["function"]["arguments"])
        for message in messages
        for call in message.get("tool_calls", ())
    )


def _key(name: str, arguments: dict[str, Any]) -> str:
    return canonical_json([name, arguments])
