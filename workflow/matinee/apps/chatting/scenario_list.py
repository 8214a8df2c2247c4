"""The scenarios of a suite that a conversation can begin with."""

from __future__ import annotations

import json
from pathlib import Path

from matinee.apps.chatting.wording import Words
from matinee.evaluation.suites import load_suite
from matinee.messages.scenarios import Scenario, Suite, Turn
from matinee.runtime.places import RESOURCES

SCENARIOS = RESOURCES / "scenarios"
TOOLS = RESOURCES / "tools.json"


def load_scenarios(folder: Path = SCENARIOS, tools: Path = TOOLS) -> Suite:
    """The suite; see `load_suite` for its errors."""
    return load_suite(folder, tools)


def find(suite: Suite, name: str) -> Scenario | None:
    """The scenario of that id."""
    return next((scenario for scenario in suite.scenarios if scenario.id == name), None)


def accepted(scenario: Scenario, words: Words) -> str:
    """What the test accepts, turn by turn, in plain lines."""
    return "\n".join(
        line
        for number, turn in enumerate(scenario.turns, start=1)
        for line in (f"{number}. {turn.user}", *_accepted_in(turn, words))
    )


def _accepted_in(turn: Turn, words: Words) -> list[str]:
    asked = [f"  {words('accepted_ask')}: {', '.join(turn.ask)}"] if turn.ask else []
    calls = [
        f"  → {call.tool} {json.dumps(call.arguments, ensure_ascii=False, default=str)}"
        for call in turn.calls
    ]
    return [*asked, *(calls or [f"  → {words('accepted_none')}"])]
