"""Multiples of fractions: counted in decimal digits, wherever arguments meet a schema."""

from __future__ import annotations

import json
from typing import Any

import pytest

from matinee.evaluation.scoring.schemas import ToolSchemas
from matinee.evaluation.simulation.answers import Refusal
from matinee.evaluation.simulation.arguments import Parameters
from matinee.evaluation.suite_checks import scenario_problems
from matinee.messages.conversations import Tool
from matinee.messages.json_schemas import validator
from matinee.messages.scenarios import GoldCall, Scenario, Turn

CENTS = {"type": "number", "multipleOf": 0.01}
PAY: dict[str, Any] = {"type": "object", "properties": {"amount": CENTS}, "required": ["amount"]}
WHOLE = [19.99, 0.07, 1, 0, -0.01, 1.1, 4.35, 1e300, 12345678901234.56]
BROKEN = [19.995, 0.001, 1e-300, 5e-324]


@pytest.mark.parametrize("amount", WHOLE)
def test_whole_cents_fit_everywhere(amount: float) -> None:
    assert validator(PAY).is_valid({"amount": amount})
    assert ToolSchemas([TOOL]).problem("pay", {"amount": amount}) is None
    assert Parameters(Tool.from_openai(TOOL)).read(json.dumps({"amount": amount}))
    assert problems(amount) == []


@pytest.mark.parametrize("amount", BROKEN)
def test_parts_of_a_cent_break_the_rule_which_is_named(amount: float) -> None:
    found = ToolSchemas([TOOL]).problem("pay", {"amount": amount})
    assert found is not None
    assert found.error == "schema_violation"
    assert "multipleOf 0.01" in found.detail
    with pytest.raises(Refusal, match=r"multipleOf=0\.01"):
        Parameters(Tool.from_openai(TOOL)).read(json.dumps({"amount": amount}))
    (problem,) = problems(amount)
    assert '"multipleOf": 0.01' in problem


def test_an_integer_beyond_every_float_breaks_the_schema() -> None:
    found = ToolSchemas([TOOL]).problem("pay", {"amount": 10**399})
    assert found is not None
    assert found.error == "schema_violation"
    assert "multipleOf 0.01" in found.detail


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_finite_number_is_no_multiple(value: float) -> None:
    assert not validator(CENTS).is_valid(value)


def test_whole_steps_are_counted_as_before() -> None:
    fives = validator({"multipleOf": 5})
    assert [fives.is_valid(value) for value in (10, 10.0, 10**399, 7, 7.5, "7", True)] == [
        *(True, True, True, False, False),
        *(True, True),  # the rule is one of numbers
    ]


TOOL = {"name": "pay", "description": "", "parameters": PAY}


def problems(amount: float) -> list[str]:
    turn = Turn(user="付款", calls=(GoldCall(tool="pay", arguments={"amount": amount}),))
    case = Scenario(id="c", category="single_tool", family="f", turns=(turn,))
    return [text for _, text in scenario_problems(case, {"pay": PAY})]
