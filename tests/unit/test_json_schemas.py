"""JSON Schemas of tools: numbers as written, ECMA's patterns, earlier drafts, bounds."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from matinee.evaluation.scoring.schemas import ToolSchemas
from matinee.evaluation.simulation.api import Parameters, Refusal
from matinee.evaluation.suite_checks import scenario_problems
from matinee.messages.conversations import Tool
from matinee.messages.json_schemas import ParameterSchema, UnusableSchema, validator
from matinee.messages.patterns import PatternError, check_pattern, found
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
    assert "multipleOf 0.01" in str(found.detail.values["said"])
    with pytest.raises(Refusal, match=r"multipleOf=0\.01"):
        Parameters(Tool.from_openai(TOOL)).read(json.dumps({"amount": amount}))
    (problem,) = problems(amount)
    assert '"multipleOf": 0.01' in problem


def test_an_integer_beyond_every_float_breaks_the_schema() -> None:
    found = ToolSchemas([TOOL]).problem("pay", {"amount": 10**399})
    assert found is not None
    assert found.error == "schema_violation"
    assert "multipleOf 0.01" in str(found.detail.values["said"])


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
    return [text for _, text in scenario_problems(case, {"pay": TOOL})]


@pytest.mark.parametrize(
    ("pattern", "fits", "breaks"),
    [
        (r"^\p{Script=Han}+$", "张三", "zhang"),
        (r"^\p{Lu}\p{L}*$", "Ärger", "ärger"),
        (r"^\d+$", "12", "１２"),  # ECMA's \d is ASCII
        (r"^\w+$", "a_1", "张"),
        (r"^a$", "a", "a\n"),  # ECMA's $ is the end, not the line's
        (r"^.$", "张", "\n"),
        (r"^[\w.-]+$", "a-b.c", "a b"),
        (r"^[\W_]+$", "_!", "a"),
        (r"^[a[]$", "[", "b"),
        (r"^[^]$", "\n", ""),
        (r"^\/x\-y$", "/x-y", "x-y"),
        (r"^a{b}$", "a{b}", "ab"),
        (r"^a{,2}$", "a{,2}", "aa"),
        (r"^(?<y>\d)\k<y>$", "11", "12"),
        (r"^\u5f20\u{4e09}$", "张三", "张"),
        (r"^\ud83d\ude00$", "😀", "x"),
        (r"^\x41\cJ$", "A\n", "A"),
        (r"\bab\b", "中ab中", "cab"),
        (r"^[\b]$", "\x08", "b"),
        (r"^[+--]$", ",", "/"),
    ],
)
def test_patterns_mean_what_ecma_says(pattern: str, fits: str, breaks: str) -> None:
    assert found(pattern, fits)
    assert not found(pattern, breaks)


@pytest.mark.parametrize(
    "pattern", ["(", "[a", "\\", "a**", r"\p{Nonsense}", r"\u{110000}", "(" * 3000, "a" * 5000]
)
def test_a_pattern_that_cannot_be_read_is_refused_by_what_it_says(pattern: str) -> None:
    with pytest.raises(PatternError, match=r"pattern|character"):
        check_pattern(pattern)


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "^([a-z]+.?)+[A-Z]$"])
def test_no_pattern_hangs(pattern: str) -> None:
    tool = {
        "name": "t",
        "parameters": {"type": "object", "properties": {"x": {"pattern": pattern}}},
    }
    before = time.process_time()
    with pytest.raises(Refusal):
        Parameters(Tool.from_openai(tool)).read(json.dumps({"x": "a" * 60 + "!"}))
    assert time.process_time() - before < 20


def schema(**rules: Any) -> ParameterSchema:
    return ParameterSchema({"type": "object", **rules})


NAME = {"properties": {"name": {"type": "string"}}}
AGE = {"properties": {"age": {"type": "integer"}}, "required": ["age"]}


@pytest.mark.parametrize(
    ("rules", "right", "wrong", "unknown"),
    [
        ({"oneOf": [NAME | {"required": ["name"]}, AGE]}, {"age": 3}, {"age": "3"}, {"x": 1}),
        ({"anyOf": [NAME, AGE]}, {"name": "a", "age": 3}, {"name": 3}, {"x": 1}),
        ({"allOf": [NAME, AGE]}, {"age": 3}, {"age": "3"}, {"x": 1}),
        ({"$ref": "#/$defs/a", "$defs": {"a": AGE}}, {"age": 3}, {"age": "3"}, {"x": 1}),
        ({"patternProperties": {"^x_": {"type": "integer"}}}, {"x_a": 1}, {"x_a": "1"}, {"a": 1}),
        ({"additionalProperties": {"type": "integer"}}, {"a": 1}, {"a": "1"}, {}),
        ({"properties": {"p": {"items": [{"type": "integer"}, {"type": "string"}]}}},
         {"p": [1, "a"]}, {"p": ["a", 1]}, {"q": 1}),
        ({"properties": {"p": {"items": [{}], "additionalItems": False}}},
         {"p": [1]}, {"p": [1, 2]}, {"q": 1}),
        ({"properties": {"p": {"minimum": 0, "exclusiveMinimum": True}}},
         {"p": 1}, {"p": 0}, {"q": 1}),
        ({"properties": {"p": {"type": "string", "nullable": True, "enum": ["a"]}}},
         {"p": None}, {"p": "b"}, {"q": 1}),
        ({"properties": {"p": {}, "q": {}}, "dependencies": {"p": ["q"]}},
         {"p": 1, "q": 1}, {"p": 1}, {"r": 1}),
    ],
)  # fmt: skip
def test_parameters_are_read_wherever_the_schema_names_them(
    rules: dict[str, Any], right: dict[str, Any], wrong: dict[str, Any], unknown: dict[str, Any]
) -> None:
    made = schema(**rules)
    assert (list(made.errors(right)), made.unknown(right)) == ([], [])
    assert list(made.errors(wrong))
    assert made.unknown(unknown) == list(unknown)


def test_what_all_parts_require_is_required() -> None:
    assert schema(allOf=[NAME, AGE]).missing({}) == ["age"]
    assert schema(oneOf=[NAME, AGE]).missing({}) == []


DOUBLING = {
    "$defs": {
        f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(30)
    }
    | {"d30": {"type": "integer"}}
}


@pytest.mark.parametrize(
    "rules",
    [
        {"properties": {"p": {"$ref": "http://127.0.0.1:9/x"}}},
        {"properties": {"p": {"$ref": "file:///etc/passwd"}}},
        {"properties": {"p": {"$ref": "#/$defs/none"}}},
        {"properties": {"p": {"pattern": "("}}},
        {"patternProperties": {"(": {}}},
        {"properties": {"p": {"type": "any"}}},
        {"properties": {"p": 3}},
        {"properties": []},
        {"required": "p"},
        {"required": [3]},
        {"enum": None},
        {"type": "array"},
        {"type": ["object", "null"]},
    ],
)
def test_a_schema_that_cannot_be_checked_is_refused(rules: dict[str, Any]) -> None:
    with pytest.raises(UnusableSchema):
        schema(**rules)


def test_what_never_ends_ends() -> None:
    before = time.process_time()
    twice = schema(properties={"p": {"$ref": "#/$defs/d0"}}, **DOUBLING)
    assert list(twice.errors({"p": "x"}))
    assert schema(properties={"p": {"$ref": "#/properties/p"}}).broken_rule("p", 1) == "$ref"
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"not": deep}
    with pytest.raises(UnusableSchema, match="deep"):
        schema(properties={"p": deep})
    assert time.process_time() - before < 10
