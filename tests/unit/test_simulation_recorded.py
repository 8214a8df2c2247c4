"""Users' own tools: answers recorded in a file."""

import json

import pytest

from matinee.evaluation.simulation import FixtureSimulation
from matinee.messages.conversations import Tool
from matinee.messages.scenarios import Fault
from matinee.runtime.errors import ScenarioError

TOOLS = [
    Tool(
        "book_table",
        "",
        json.dumps(
            {
                "type": "object",
                "properties": {
                    "guests": {"type": "integer"},
                    "day": {"type": "string"},
                    "terrace": {"type": "boolean"},
                },
                "required": ["guests"],
            }
        ),
    )
]

FILE = """
- tool: book_table
  when: {guests: 2, day: 周五}
  returns: {table: 7}
- tool: book_table
  when: {guests: 2}
  returns: {table: 3}
- tool: book_table
  when: {terrace: true}
  returns: [露台]
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "answers.yaml"
    file.write_text(FILE, encoding="utf-8")
    return file


def said(simulation, arguments):
    observation = simulation.call("book_table", json.dumps(arguments))
    return observation.error, json.loads(observation.content)["result"]


def test_the_first_answer_that_fits_is_returned(path):
    simulation = FixtureSimulation.read(path, TOOLS)
    assert said(simulation, {"guests": 2, "day": "周五"}) == (None, {"table": 7})
    assert said(simulation, {"guests": 2, "day": "周六"}) == (None, {"table": 3})
    assert said(simulation, {"guests": 4, "terrace": True}) == (None, ["露台"])


def test_each_run_of_a_case_counts_its_own_faults(path):
    recorded = FixtureSimulation.read(path, TOOLS)
    path.unlink()
    fault = Fault(tool="book_table", kind="timeout")
    for simulation in (recorded.anew([fault]), recorded.anew([fault])):
        assert said(simulation, {"guests": 2})[0] == "timeout"
        assert said(simulation, {"guests": 2}) == (None, {"table": 3})
    assert said(recorded.anew(), {"guests": 2}) == (None, {"table": 3})


def test_a_call_that_nothing_fits_is_not_found(path):
    simulation = FixtureSimulation.read(path, TOOLS)
    assert said(simulation, {"guests": 9}) == ("not_found", None)
    assert said(simulation, {"guests": 9, "terrace": False}) == ("not_found", None)


def test_arguments_are_checked_as_for_the_eleven_tools(path):
    simulation = FixtureSimulation.read(path, TOOLS).anew(
        [Fault(tool="book_table", kind="timeout")]
    )
    assert said(simulation, {"guests": 2})[0] == "timeout"
    assert said(simulation, {"guests": "2"})[0] == "wrong_type"
    assert said(simulation, {})[0] == "missing_parameter"
    assert simulation.call("order", "{}").error == "unknown_tool"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- tool: order\n  returns: 1\n", "order"),
        ("- tool: book_table\n  when: {hour: 1}\n  returns: 1\n", "hour"),
        ("- tool: book_table\n", "yaml:1: returns: Field required"),
        ("- tool: book_table\n  return: 1\n", "yaml:2: return: Extra inputs"),
        ("tool: book_table\n", "must be a list"),
        ("- [", "not YAML"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_path_and_place(path, text, said):
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError, match=rf"(?s)answers\.yaml.*{said}"):
        FixtureSimulation.read(path, TOOLS)


def test_a_missing_file_is_refused_with_its_path(tmp_path):
    with pytest.raises(ScenarioError, match=r"none\.yaml"):
        FixtureSimulation.read(tmp_path / "none.yaml", TOOLS)
