"""A conversation as a scenario: a suite of one case that can be checked, edited and run."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from typing import Any

from matinee.apps.agent.events import CallObserved
from matinee.apps.cases import as_yaml, category_of, due_call
from matinee.apps.chatting.conversation import ChatTurn
from matinee.apps.chatting.tools import ChatTools, listed_tools
from matinee.apps.chatting.wording import Words
from matinee.evaluation.asking import is_question
from matinee.messages.scenarios import Scenario
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
        "scenarios/suite.yaml": as_yaml({"id": name, "today": str(tools.today)}),
        f"scenarios/{name}.yaml": as_yaml(_cases(turns, name)),
        "tools.json": listed_tools(tools.tools) + "\n",
    }
    if tools.answers:
        files["fixtures.yaml"] = as_yaml(
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
    made = [[len(observed) for observed in turn.rounds()] for turn in ended]
    asked_back = ended[0].answer is not None and is_question(ended[0].answer.text)
    return {"category": category_of(made, asked_back), "cases": [case]}


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
    return due_call(seen.call.name, values, needed)


def _came_from(value: Any, result: str, question: str) -> bool:
    """Whether a value stood in a result and could not be known from the question."""
    text = str(value)
    return (
        isinstance(value, str | int) and len(text) > 1 and text in result and text not in question
    )


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
