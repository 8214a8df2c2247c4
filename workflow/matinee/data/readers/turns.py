"""Turns as formats have them into messages: calls put together, answers told to their calls."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from matinee.data.readers.base import Account, BadRow
from matinee.data.readers.schemas import RawCall
from matinee.messages.conversations import Conversation, Message, Role, Tool, canonical_json

ROLES: dict[str, Role] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "model", "ai"), "assistant"),
    **dict.fromkeys(("function_call", "tool_call", "tool_calls"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "tool_response", "tool_result"), "tool"),
    **dict.fromkeys(("function_response", "observations", "ipython"), "tool"),
}
CALLING = frozenset({"function_call", "tool_call", "tool_calls"})


def role_of(name: object) -> Role:
    """The role by any of its names. Raises BadRow for another."""
    role = ROLES.get(name.strip().lower()) if isinstance(name, str) else None
    if role is None:
        raise BadRow("roles_out_of_order", f"unknown role {name!r}; known are {', '.join(ROLES)}")
    return role


@dataclass(frozen=True)
class RawTurn:
    """One message of a row. `answers`: the id of the call that a tool's message answers.

    `bare`: it holds nothing but calls, and goes on with the assistant's message before it.
    """

    role: Role
    content: str = ""
    calls: tuple[RawCall, ...] = ()
    reasoning: str = ""
    name: str | None = None
    answers: str | None = None
    supervised: bool = True
    bare: bool = False


def draft_of(turns: Iterable[RawTurn], tools: tuple[Tool, ...], account: Account) -> Conversation:
    """The draft, with answers in the order of their calls. Raises BadRow where they do not fit."""
    by_name = {tool.name: tool for tool in tools}
    joined: list[RawTurn] = []
    for turn in turns:
        before = joined[-1] if joined else None
        if turn.bare and before is not None and before.role == "assistant":
            if before.supervised != turn.supervised or (before.reasoning and turn.reasoning):
                raise BadRow("not_supported", "one answer of two turns that are marked differently")
            reasoning = before.reasoning or turn.reasoning
            joined[-1] = replace(before, calls=before.calls + turn.calls, reasoning=reasoning)
        else:
            joined.append(turn)
    messages: list[Message] = []
    position = 0
    while position < len(joined):
        turn = joined[position]
        end = position + 1
        calls = tuple(call.settled(by_name) for call in turn.calls)
        messages.append(
            Message(
                turn.role,
                turn.content,
                calls,
                reasoning=turn.reasoning,
                supervised=turn.supervised,
            )
        )
        if turn.role != "tool" and turn.calls:
            while end < len(joined) and joined[end].role == "tool":
                end += 1
            answers = joined[position + 1 : end]
            if answers:
                messages += _paired(turn.calls, answers, position + 1, account)
        elif turn.role == "tool":
            raise BadRow(
                "roles_out_of_order", f"message {position + 1} is a tool's answer without a call"
            )
        position = end
    if any(not message.supervised for message in messages if message.role == "assistant"):
        account.notes["rows_with_answers_not_learned"] += 1
    if any(message.reasoning for message in messages):
        account.notes["rows_with_reasoning"] += 1
    if tools and any(message.role == "system" for message in messages):
        account.notes["rows_with_tools_and_system_text"] += 1
    return Conversation("", tuple(messages), tools)


def _paired(
    calls: Sequence[RawCall], answers: Sequence[RawTurn], number: int, account: Account
) -> list[Message]:
    """The answers in the order of their calls, each with its call's name."""
    where = f"the answers to message {number}"
    if len(answers) == 1 < len(calls):
        answers = _split(answers[0], len(calls), account)
    if len(calls) != len(answers):
        raise BadRow("wrong_answers", f"{len(calls)} calls, but {len(answers)} are {where}")
    ids = [call.id for call in calls if call.id is not None]
    if repeated := {one for one in ids if ids.count(one) > 1}:
        raise BadRow("wrong_answers", f"two calls of message {number} have the id {min(repeated)}")
    told = [turn.answers for turn in answers]
    order = list(range(len(calls)))
    if any(one is not None for one in told) and ids:
        if sorted(map(str, told)) != sorted(str(call.id) for call in calls):
            raise BadRow(
                "wrong_answers",
                f"{where} are to {', '.join(map(str, told))}; the calls are {', '.join(ids)}",
            )
        order = [told.index(call.id) for call in calls]
    elif len(calls) > 1 and all(turn.name for turn in answers):
        names = [turn.name for turn in answers]
        if len(set(names)) == len(names) and set(names) == {call.name for call in calls}:
            order = [names.index(call.name) for call in calls]
    if order != sorted(order):
        account.notes["rows_with_answers_put_in_order"] += 1
    ordered = []
    for call, place in zip(calls, order, strict=True):
        answer = answers[place]
        if answer.name and answer.name != call.name:
            raise BadRow("wrong_answers", f"{where}: {answer.name} answers a call to {call.name}")
        ordered.append(Message("tool", answer.content, name=call.name))
    return ordered


def _split(answer: RawTurn, count: int, account: Account) -> list[RawTurn]:
    """One answer that is a list of as many results as there were calls, taken apart."""
    try:
        results = json.loads(answer.content)
    except (ValueError, RecursionError):
        return [answer]
    if not isinstance(results, list) or len(results) != count:
        return [answer]
    account.notes["rows_with_answers_taken_apart"] += 1
    names = [one.get("name") if isinstance(one, dict) else None for one in results]
    return [
        RawTurn("tool", canonical_json(one), name=name if isinstance(name, str) else None)
        for one, name in zip(results, names, strict=True)
    ]
