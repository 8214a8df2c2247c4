"""A conversation as a scenario: a suite of one case that can be checked, edited and run."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from typing import Any

import yaml

from matinee.apps.agent.events import CallObserved
from matinee.apps.chatting.conversation import ChatTurn
from matinee.apps.chatting.tools import ChatTools
from matinee.apps.chatting.wording import Words
from matinee.evaluation.asking import is_question
from matinee.messages.scenarios import Category, Scenario
from matinee.messages.scenarios import Turn as Due
from matinee.runtime.errors import UserError

NOTE = (
    "Exported from a conversation: the calls that were made and not refused are taken as the "
    "accepted ones. Check them, their values and their order before you trust this case."
)


def suite_archive(turns: Sequence[ChatTurn], tools: ChatTools, name: str = "chat") -> bytes:
    """A ZIP file: `scenarios/` with the case, `tools.json`, and answers in `fixtures.yaml`.

    Raises UserError where no turn has ended.
    """
    files = {
        "scenarios/suite.yaml": _yaml({"id": name, "today": str(tools.today)}),
        f"scenarios/{name}.yaml": _yaml(_cases(turns, name)),
        "tools.json": _json([tool.as_openai()["function"] for tool in tools.tools]),
    }
    if tools.answers:
        files["fixtures.yaml"] = _yaml(
            [{"tool": tool, "returns": answer} for tool, answer in tools.answers.items()]
        )
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return written.getvalue()


def _cases(turns: Sequence[ChatTurn], name: str) -> dict[str, Any]:
    ended = [turn for turn in turns if turn.answer is not None]
    if not ended:
        raise UserError("Nothing to export yet: ask something, and wait for the answer.")
    told = [_turn(turn) for turn in ended]
    case = {"id": f"{name}-1", "family": name, "note": NOTE, "turns": told}
    return {"category": _category(ended), "cases": [case]}


def _turn(turn: ChatTurn) -> dict[str, Any]:
    calls: list[dict[str, Any]] = []
    results: list[str] = []
    for observed in turn.rounds():
        before = len(results)
        for seen in observed:
            if seen.observation.error is None:
                calls.append(_call(seen, results[:before], turn.question))
                results.append(seen.observation.content)
    return {"user": turn.question, "calls": calls}


def _call(seen: CallObserved, results: Sequence[str], question: str) -> dict[str, Any]:
    values = {name: value for name, value in seen.call.values.items() if value is not None}
    needed = [
        place
        for place, result in enumerate(results)
        if any(_came_from(value, result, question) for value in values.values())
    ]
    call: dict[str, Any] = {
        "tool": seen.call.name,
        # A list means alternatives, so a value that is a list is the only one of a list.
        "arguments": {
            name: [value] if isinstance(value, list) else value for name, value in values.items()
        },
    }
    return call | ({"after": needed} if needed else {})


def _came_from(value: Any, result: str, question: str) -> bool:
    """Whether a value stood in a result and could not be known from the question."""
    text = str(value)
    return (
        isinstance(value, str | int) and len(text) > 1 and text in result and text not in question
    )


def _category(turns: Sequence[ChatTurn]) -> Category:
    """The category that fits what happened; only for counting, whoever edits it may change it."""
    made = [len(turn.rounds()) for turn in turns]
    if not any(made):
        return "no_tool"
    if len(turns) > 1:
        asked_back = turns[0].answer is not None and is_question(turns[0].answer.text)
        return "missing_answered" if not made[0] and asked_back else "change_of_mind"
    if made[0] > 2:
        return "chain_three"
    if made[0] == 2:
        return "chain_two"
    return "parallel_calls" if len(turns[0].rounds()[0]) > 1 else "single_tool"


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, allow_unicode=True, sort_keys=False, width=100)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def accepted(scenario: Scenario, words: Words) -> str:
    """What the test accepts, turn by turn, in plain lines."""
    return "\n".join(
        line
        for number, turn in enumerate(scenario.turns, start=1)
        for line in (f"{number}. {turn.user}", *_accepted_in(turn, words))
    )


def _accepted_in(turn: Due, words: Words) -> list[str]:
    asked = [f"  {words('accepted_ask')}: {', '.join(turn.ask)}"] if turn.ask else []
    calls = [
        f"  → {call.tool} {json.dumps(call.arguments, ensure_ascii=False, default=str)}"
        for call in turn.calls
    ]
    return [*asked, *(calls or [f"  → {words('accepted_none')}"])]
