"""Suites: what a sound folder gives, what is said of an unsound one, and how a part is chosen."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from matinee.evaluation.playing import Play, run_suite
from matinee.evaluation.scoring import score_suite
from matinee.evaluation.scripted import GoldEngine
from matinee.evaluation.simulation import FixtureSimulation, RecordedAnswer, lookup, world
from matinee.evaluation.suites import CATEGORIES, check_suite, load_suite, select, too_few
from matinee.messages.conversations import Tool
from matinee.messages.scenarios import GoldCall, Suite
from matinee.runtime.errors import ScenarioError

RESOURCES = Path(__file__).parents[2] / "workflow" / "resources"
TOOLS = [
    {
        "name": "get_cities",
        "description": "城市",
        "parameters": {
            "type": "object",
            "properties": {"province_id": {"type": "string"}, "page": {"type": "integer"}},
            "required": ["province_id"],
        },
    },
    {
        "name": "get_news",
        "description": "新闻",
        "parameters": {
            "type": "object",
            "properties": {"type": {"type": "string", "enum": ["top", "tiyu"]}},
        },
    },
]
HEAD = 'id: mine\ntoday: "2024-01-25"\n'
SOUND = """category: single_tool
cases:
  - id: cities-1
    family: cities
    turns:
      - user: 江苏有哪些城市？
        calls:
          - tool: get_cities
            arguments:
              province_id: {lookup: province_id, name: 江苏}
  - id: news-1
    family: news
    turns:
      - user: 体育新闻
        ask: [kind]
        slots:
          kind:
            asked_by: [哪种]
            answer: 体育
        calls:
          - tool: get_news
            arguments: {type: [tiyu, null]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound suite of two cases, with its tools beside it."""
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "suite.yaml").write_text(HEAD, encoding="utf-8")
    (suite / "mine.yaml").write_text(SOUND, encoding="utf-8")
    (tmp_path / "tools.json").write_text(json.dumps(TOOLS), encoding="utf-8")
    return suite


@pytest.fixture(scope="module")
def shipped() -> Suite:
    return load_suite(RESOURCES / "scenarios", RESOURCES / "tools.json")


def problems_of(folder: Path) -> list[str]:
    """The problems, with paths cut down to file names."""
    found = check_suite(folder, folder.parent / "tools.json")
    return [line.replace(f"{folder}/", "").replace(f"{folder.parent}/", "") for line in found]


def test_a_sound_folder_gives_its_cases_in_order_with_the_category_of_their_file(
    folder: Path,
) -> None:
    suite = load_suite(folder, folder.parent / "tools.json")
    assert (suite.id, suite.today) == ("mine", "2024-01-25")
    assert [case.id for case in suite.scenarios] == ["cities-1", "news-1"]
    assert {case.category for case in suite.scenarios} == {"single_tool"}
    assert [tool["name"] for tool in suite.tools] == ["get_cities", "get_news"]


def test_tools_wrapped_as_openai_functions_come_out_bare(folder: Path) -> None:
    wrapped = [{"type": "function", "function": tool} for tool in TOOLS]
    tools_file = folder.parent / "wrapped.json"
    tools_file.write_text(json.dumps(wrapped), encoding="utf-8")
    assert load_suite(folder, tools_file).tools == tuple(TOOLS)


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        (
            "family: news",
            "famly: news",
            "mine.yaml:12: news-1: unknown key 'famly'; allowed: id, f",
        ),
        ("    family: news\n", "", "mine.yaml:11: news-1: the key 'family' is missing"),
        ("id: news-1", "id: cities-1", "mine.yaml:11: cities-1: the id is used twice, also in"),
        ("tool: get_news", "tool: get_nevs", "unknown tool 'get_nevs'; allowed: get_cities, get_n"),
        ("province_id: {l", "provinceId: {l", "get_cities has no parameter 'provinceId'; allowed"),
        (
            "province_id: {l",
            "page: 1 # {l",
            "mine.yaml:8: cities-1: get_cities needs the parameter",
        ),
        ("[tiyu, null]", "[tiyu, sport]", 'mine.yaml:22: news-1: type: "sport" is not accepted'),
        ("[tiyu, null]", "[tiyu, sport]", 'allowed: {"type": "string", "enum": ["top", "tiyu"]}'),
        ("[tiyu, null]", "[]", "mine.yaml:22: news-1: type: no accepted value"),
        ("{lookup: province_id, name: 江苏}", "12", "province_id: 12 is not accepted by the tool"),
        ("{lookup: province_id, name: 江苏}", "null", "null means that it may be absent, but the"),
        ("name: 江苏}", "name: 亚特兰蒂斯}", "the simulation knows no province_id of '亚特兰蒂斯'"),
        (
            "lookup: province_id",
            "lookup: planet_id",
            "lookup: lookup: Input should be 'province_id",
        ),
        ("ask: [kind]", "ask: [size]", "asks for 'size', which slots does not define; defined: k"),
        ("answer: 体育", "answer: null", "mine.yaml:20: news-1: 'kind' is never answered"),
        ("asked_by: [哪种]", "asked_by: []", "mine.yaml:18: news-1: asked_by needs at least one"),
        (
            "{type: [tiyu, null]}",
            "{}\n            after: [3]",
            "after names call 3; allowed: 0 to 0",
        ),
        ("{type: [tiyu, null]}", "{}\n            after: [0]", "calls wait for each other: 0 → 0"),
        (
            "turns:\n      - user: 体",
            "faults: [{tool: nix, kind: timeout}]\n    turns:\n      - user: 体",
            "mine.yaml:13: news-1: unknown tool 'nix'; allowed: get_cities, get_news",
        ),
        (
            "turns:\n      - user: 体",
            "faults: [{tool: get_news, kind: fire}]\n    turns:\n      - user: 体",
            "'timeout', 'rate_limit', 'server_error' or 'empty'; found \"fire\"",
        ),
        ("category: single_tool", "category: singel", 'mine.yaml:1: unknown category "singel"'),
        ("family: news", "family: news\n    3: x", "mine.yaml:13: news-1: "),
        ("cases:\n", "casses:\n", "mine.yaml:2: unknown key 'casses'; allowed: category, cases"),
        ("[tiyu, null]", "[tiyu, null", "mine.yaml:22: not YAML: did not find expected ',' or ']'"),
        (
            "family: news",
            "family: news\n    family: old",
            "mine.yaml:13: found duplicate key 'family'",
        ),
    ],
)
def test_each_mistake_is_told_with_its_line_and_what_is_allowed(
    folder: Path, right: str, wrong: str, expected: str
) -> None:
    assert SOUND.count(right) == 1
    (folder / "mine.yaml").write_text(SOUND.replace(right, wrong), encoding="utf-8")
    assert any(expected in problem for problem in problems_of(folder)), problems_of(folder)


def test_values_are_checked_against_parts_of_the_schema_that_others_refer_to(folder: Path) -> None:
    tools = json.loads(json.dumps(TOOLS))
    tools[1]["parameters"]["properties"]["type"] = {"$ref": "#/$defs/kind"}
    tools[1]["parameters"]["$defs"] = {"kind": {"enum": ["tiyu"]}}
    (folder.parent / "tools.json").write_text(json.dumps(tools), encoding="utf-8")
    assert problems_of(folder) == []
    (folder / "mine.yaml").write_text(SOUND.replace("[tiyu,", "[top,"), encoding="utf-8")
    (problem,) = problems_of(folder)
    assert '"top" is not accepted' in problem


def test_calls_that_wait_for_each_other_in_a_circle_are_refused(folder: Path) -> None:
    circle = "{}\n            after: [1]\n          - {tool: get_news, after: [0]}"
    text = SOUND.replace("{type: [tiyu, null]}", circle)
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    (problem,) = problems_of(folder)
    assert "calls wait for each other" in problem


def test_an_id_used_in_two_files_is_refused(folder: Path) -> None:
    (folder / "other.yaml").write_text(SOUND.replace("news-1", "news-2"), encoding="utf-8")
    assert problems_of(folder) == [
        "other.yaml:3: cities-1: the id is used twice, also in mine.yaml; ids are unique"
    ]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("id: mine\n", "suite.yaml:1: the key 'today' is missing"),
        ('id: mine\ntoday: "20240125"\n', "suite.yaml:2: today: must be a quoted date"),
        ('id: 5\ntoday: "2024-01-25"\n', "suite.yaml:1: id: Input should be a valid string"),
        (f"{HEAD}tomorrow: 1\n", "suite.yaml:3: unknown key 'tomorrow'; allowed: id, today"),
        ("- id\n", "suite.yaml:1: must be a mapping"),
    ],
)
def test_the_head_of_the_suite_is_checked(folder: Path, head: str, expected: str) -> None:
    (folder / "suite.yaml").write_text(head, encoding="utf-8")
    (problem,) = problems_of(folder)
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[\n{,]", "tools.json:2: not JSON: "),
        ("{}", "tools.json:1: must be a list"),
        ('[{"description": "x"}]', "tools.json:1: tool 1: has no name"),
        (
            '[{"name": "a", "parameters": {"type": "string"}}]',
            "parameters are not a JSON Schema of type object",
        ),
        (
            '[{"name": "a", "parameters": {"type": "object", "required": "x"}}]',
            "tools.json:1: tool 1: Tool a: its parameters are not a JSON Schema",
        ),
        (
            '[{"name": "a", "parameters": {"type": "object", "not": {"$ref": "#/x"}}}]',
            "leads nowhere inside the schema",
        ),
        ('[{"name": "a"},\n {"name": "a"}]', "tools.json:2: two tools with the same name: a"),
        (
            '[{"name": "a"},\n{"type": "function",\n"function": {"name": "b",\n"parameters": 3}}]',
            "tools.json:4: tool 2: b: parameters must be a JSON Schema of type object",
        ),
        (
            '[{"name": "a", "parameters": {"type": "object", "properties": {\n"x": {},\n"y": 3}}}]',
            "tool 1: Tool a: its parameters are not a JSON Schema (3 is not of type",
        ),
        ('[{"name": "a", "description": 3}]', "tools.json:1: tool 1: a: the description must be"),
    ],
)
def test_an_unusable_tool_list_is_the_only_thing_told(
    folder: Path, text: str, expected: str
) -> None:
    (folder.parent / "tools.json").write_text(text, encoding="utf-8")
    (problem,) = problems_of(folder)
    assert expected in problem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "- tool: get_news\n  returns: []\n- tool: get_nevs\n  returns: 1\n",
            ":3: an answer names",
        ),
        ("- tool: get_news\n  when: {kind: top}\n  returns: 1\n", ":1: an answer of get_news has"),
        ("- tool: get_news\n  when: {type: top}\n", ":1: returns: Field required"),
        ("- tool: get_news\n  returns: 1\n  then: 2\n", ":3: then: Extra inputs"),
        ("tool: get_news\n", ":1: must be a list"),
        ("- [", ":2: not YAML"),
    ],
)
def test_recorded_answers_are_checked_with_the_suite(
    folder: Path, text: str, expected: str
) -> None:
    fixtures = folder.parent / "fixtures.yaml"
    fixtures.write_text(text, encoding="utf-8")
    (problem,) = check_suite(folder, folder.parent / "tools.json", fixtures)
    assert problem.startswith(str(fixtures))
    assert expected in problem


def test_recorded_answers_that_fit_are_no_problem(folder: Path) -> None:
    fixtures = folder.parent / "fixtures.yaml"
    fixtures.write_text("- {tool: get_news, when: {type: top}, returns: [1]}\n", encoding="utf-8")
    assert check_suite(folder, folder.parent / "tools.json", fixtures) == []


def test_loading_tells_all_problems_at_once_and_where_to_read_on(folder: Path) -> None:
    text = SOUND.replace("get_news", "get_nevs").replace("province_id: {", "provinceId: {")
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"(?s)3 problems.*get_cities.*get_nevs.*scenarios\.md"):
        load_suite(folder, folder.parent / "tools.json")


def test_missing_files_are_told_by_name(tmp_path: Path) -> None:
    found = "\n".join(check_suite(tmp_path / "nowhere", tmp_path / "none.json"))
    for part in ("none.json:1: cannot be read", "suite.yaml:1: cannot be", "no scenario files"):
        assert part in found


def test_the_shipped_suite_is_sound_and_large_enough(shipped: Suite) -> None:
    per_category = Counter(case.category for case in shipped.scenarios)
    assert set(per_category) == set(CATEGORIES)
    assert len(shipped.scenarios) >= 240
    assert min(per_category.values()) >= 20


def test_every_shipped_tool_is_the_single_tool_of_at_least_two_cases(shipped: Suite) -> None:
    singles = [case for case in shipped.scenarios if case.category == "single_tool"]
    counts = Counter(call.tool for case in singles for call in case.turns[0].calls)
    assert set(counts) == {tool["name"] for tool in shipped.tools}
    assert min(counts.values()) >= 2


def test_no_two_shipped_cases_have_the_same_wording(shipped: Suite) -> None:
    wordings = Counter(case.turns[0].user.strip("。？！?! ") for case in shipped.scenarios)
    assert [wording for wording, count in wordings.items() if count > 1] == []


def test_shipped_weather_days_lie_between_the_first_record_and_yesterday(shipped: Suite) -> None:
    today = datetime.date.fromisoformat(shipped.today)
    days = [
        datetime.date.fromisoformat(call.arguments["weather_date"])
        for case in shipped.scenarios
        for turn in case.turns
        for call in turn.calls
        if call.tool == "get_history_weather"
    ]
    assert days
    assert all(datetime.date(2011, 1, 1) <= day < today for day in days)


def spellings(call: GoldCall) -> Iterator[dict[str, Any]]:
    """The call's arguments with each accepted value in turn."""
    options = {
        name: accepted if isinstance(accepted, list) else [accepted]
        for name, accepted in call.arguments.items()
    }
    for turn in range(max(map(len, options.values()), default=1)):
        values = {name: given[turn % len(given)] for name, given in options.items()}
        yield {
            name: value.get("as_written") or lookup(value["lookup"], value["name"])
            if isinstance(value, dict)
            else value
            for name, value in values.items()
            if value is not None
        }


def test_every_accepted_spelling_of_every_shipped_call_is_answered(shipped: Suite) -> None:
    """Except where the question is what to do when nothing is found."""
    simulation = world(datetime.date.fromisoformat(shipped.today))
    refused = [
        (case.id, call.tool, arguments, observation.error)
        for case in shipped.scenarios
        for turn in case.turns
        for call in turn.calls
        for arguments in spellings(call)
        if (observation := simulation.call(call.tool, json.dumps(arguments))).error
        and not (turn.ask_after and observation.error in ("not_found", "no_record"))
    ]
    assert refused == []


def test_the_page_about_scenarios_counts_the_cases_that_there_are(shipped: Suite) -> None:
    page = (RESOURCES.parents[1] / "docs" / "scenarios.md").read_text(encoding="utf-8")
    assert f"holds {len(shipped.scenarios)} Chinese cases" in page
    for category in CATEGORIES:
        cases = [case for case in shipped.scenarios if case.category == category]
        families = len({case.family for case in cases})
        assert f"| `{category}` | {len(cases)} | {families} |" in page


def test_a_limit_takes_categories_in_turn(shipped: Suite) -> None:
    part = select(shipped, limit=2 * len(CATEGORIES))
    assert set(Counter(case.category for case in part.scenarios).values()) == {2}


def test_a_limit_by_category_takes_so_many_of_each(shipped: Suite) -> None:
    part = select(shipped, limit={"no_tool": 2, "single_tool": len(shipped.tools)})
    assert Counter(case.category for case in part.scenarios) == {"no_tool": 2, "single_tool": 11}
    assert (
        len({case.turns[0].calls[0].tool for case in part.scenarios if case.turns[0].calls}) == 11
    )
    with pytest.raises(ScenarioError, match="no scenarios in no_such"):
        select(shipped, limit={"no_such": 1})


def test_a_limit_takes_the_tools_of_single_tool_in_turn(shipped: Suite) -> None:
    part = select(shipped, limit=len(shipped.tools), categories=["single_tool"])
    tools = [case.turns[0].calls[0].tool for case in part.scenarios]
    assert sorted(tools) == sorted(tool["name"] for tool in shipped.tools)


def test_a_part_keeps_the_order_of_the_suite_and_grows_without_replacing(shipped: Suite) -> None:
    ids = [case.id for case in shipped.scenarios]
    small = [case.id for case in select(shipped, limit=20).scenarios]
    large = [case.id for case in select(shipped, limit=60).scenarios]
    assert small == sorted(small, key=ids.index)
    assert (len(small), len(large)) == (20, 60)
    assert set(small) < set(large)


def test_without_a_limit_everything_of_the_categories_is_taken(shipped: Suite) -> None:
    assert select(shipped).scenarios == shipped.scenarios
    assert select(shipped, categories=[]).scenarios == shipped.scenarios
    part = select(shipped, categories=["no_tool"])
    assert part.scenarios == tuple(c for c in shipped.scenarios if c.category == "no_tool")


def test_a_category_that_the_suite_lacks_is_refused(folder: Path) -> None:
    suite = load_suite(folder, folder.parent / "tools.json")
    with pytest.raises(ScenarioError, match="no scenarios in chain_two; it has single_tool"):
        select(suite, categories=["chain_two"])


# --- What a suite of one's own can say ---

OWN_HEAD = """id: mine
today: "2024-01-25"
kinds: {get_news: {type: code}}
defaults: {get_news: {type: top}}
categories: {refunds: {en: Refunds, zh: 退款}}
"""
OWN = """category: refunds
cases:
  - id: own-1
    family: own
    tools:
      - get_news
      - name: refund
        parameters: {type: object, properties: {count: {type: integer, maximum: 9}}}
    opening:
      - {role: user, content: 你好}
      - {role: assistant, content: 请讲}
    turns:
      - user: 退20件
        invalid: [count]
        slots: {count: {asked_by: [最多], answer: 9件}}
        calls: [{tool: refund, arguments: {count: 9}}]
      - user: 有什么新闻
        calls: [{tool: get_news, early: true}]
        alternatives:
          - [{tool: get_news, arguments: {type: {as_written: tiyu}}}]
          - []
        ask_after: [kind]
        slots: {kind: {asked_by: [哪种]}}
        must_say: [[有, 没有]]
      - user: 体育
"""


@pytest.fixture
def own(folder: Path) -> Path:
    (folder / "suite.yaml").write_text(OWN_HEAD, encoding="utf-8")
    (folder / "own.yaml").write_text(OWN, encoding="utf-8")
    return folder


def test_a_suite_of_ones_own_says_what_the_shipped_one_and_bfcl_say(own: Path) -> None:
    suite = load_suite(own, own.parent / "tools.json")
    case = next(case for case in suite.scenarios if case.id == "own-1")
    assert (case.category, suite.categories["refunds"].zh) == ("refunds", "退款")
    assert [tool["name"] for tool in suite.tools_of(case)] == ["get_news", "refund"]
    assert [said.content for said in case.opening] == ["你好", "请讲"]
    assert [len(calls) for calls in case.turns[1].ways] == [1, 1, 0]
    assert (suite.kinds, suite.defaults) == (
        {"get_news": {"type": "code"}},
        {"get_news": {"type": "top"}},
    )
    assert select(suite, categories=["refunds"]).scenarios == (case,)


def test_a_suite_of_ones_own_is_played_and_judged_like_the_shipped_one(own: Path) -> None:
    suite = load_suite(own, own.parent / "tools.json")
    fixtures = own.parent / "fixtures.yaml"
    fixtures.write_text(
        "- {tool: refund, returns: {done: true}}\n- {tool: get_news, returns: []}\n"
        "- {tool: get_cities, returns: [南京]}\n",
        encoding="utf-8",
    )
    recorded = FixtureSimulation.read(fixtures, [Tool.from_openai(t) for t in suite.all_tools()])
    transcripts = run_suite(
        select(suite, categories=["refunds"]),
        GoldEngine(suite, "hermes"),
        Play(subject="gold", form="hermes", max_steps=6, max_new_tokens=100),
        simulation=lambda today, faults, tools: recorded.anew(faults, tools),
    )
    assert [verdict.error for verdict in score_suite(suite, transcripts)] == [None]


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        ("      - get_news\n", "      - get_nevs\n", "own.yaml:6: own-1: unknown tool 'get_nevs'"),
        ("name: refund", "nam: refund", "own.yaml:7: own-1: tool 2: has no name"),
        ("type: integer", "type: int", "own.yaml:8: own-1: tool 2: Tool refund: its parameters"),
        ("{count: 9}", "{count: 20}", "own.yaml:16: own-1: count: 20 is not accepted by the tool"),
        ("asked_by: [最多]", "asked_by: [20件]", "'20件' stands in the user's own message"),
        ("answer: 9件", "answer: null", "'count' is never answered, so no call can become due"),
        (
            "[{tool: refund, arguments: {count: 9}}]",
            "[]",
            "'count' is answered, but no call is due",
        ),
        ("invalid: [count]", "invalid: [size]", "asks for 'size', which slots does not define"),
        ("          - []\n", "          - [{tool: x}]\n", "own.yaml:21: own-1: unknown tool 'x'"),
        ("      - user: 体育\n", "", "own.yaml:22: own-1: the question that ends the last turn"),
        ("role: user,", "role: tool,", "own.yaml:10: own-1: role: Input should be 'system', 'use"),
        ("category: refunds", "category: refund", 'unknown category "refund"; allowed: single_t'),
        ("category: refunds", "category: [a]", 'unknown category ["a"]'),
    ],
)
def test_mistakes_in_what_is_ones_own_are_told_with_their_line(
    own: Path, right: str, wrong: str, expected: str
) -> None:
    assert OWN.count(right) == 1
    (own / "own.yaml").write_text(OWN.replace(right, wrong), encoding="utf-8")
    assert any(expected in problem for problem in problems_of(own)), problems_of(own)


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        ("{type: code}", "{type: colour}", "suite.yaml:3: unknown kind 'colour'; allowed: airport"),
        ("{type: code}", "{typ: code}", "suite.yaml:3: get_news has no parameter 'typ'; allowed"),
        ("kinds: {get_news", "kinds: {get_nevs", "suite.yaml:3: unknown tool 'get_nevs'; allowed"),
        ("{type: top}", "{type: x}", 'suite.yaml:4: type: "x" is not accepted by the tool'),
        ("{refunds:", "{no_tool:", "suite.yaml:5: 'no_tool': a category of your own is named in"),
        (", zh: 退款", "", "suite.yaml:5: the key 'zh' is missing"),
        ("{refunds: {en: Refunds, zh: 退款}}", "7", "suite.yaml:5: categories: Input should be a"),
        ('"2024-01-25"', "null", "suite.yaml:2: today may be null only with"),
    ],
)
def test_mistakes_in_the_head_are_told_with_their_line(
    own: Path, right: str, wrong: str, expected: str
) -> None:
    (own / "suite.yaml").write_text(OWN_HEAD.replace(right, wrong), encoding="utf-8")
    assert any(expected in problem for problem in problems_of(own)), problems_of(own)


def test_in_a_suite_of_single_outputs_nothing_can_be_asked_or_wait(folder: Path) -> None:
    (folder / "suite.yaml").write_text(
        "id: x\ntoday: null\nsingle_output: true\n", encoding="utf-8"
    )
    assert problems_of(folder) == [
        "mine.yaml:15: news-1: ask cannot be in a suite of single outputs, where nothing answers"
    ]


def test_a_suite_with_few_families_is_told_that_nothing_can_be_shown(own: Path) -> None:
    suite = load_suite(own, own.parent / "tools.json")
    warnings = too_few(suite)
    assert warnings[0].startswith("suite mine: cases of 3 families; with fewer than 6")
    assert len(warnings) == 3
    assert too_few(load_suite(RESOURCES / "scenarios", RESOURCES / "tools.json")) == []


CASES = Path(__file__).parents[3] / "shared" / "cases" / "suites"


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not beside the checkout")
@pytest.mark.parametrize("name", ["strict", "han"])
def test_shared_suites_are_sound_and_played_to_the_end(name: str) -> None:
    suite = load_suite(CASES / name / "scenarios", CASES / name / "tools.json")
    recorded = FixtureSimulation(
        [Tool.from_openai(tool) for tool in suite.tools],
        [RecordedAnswer(tool=tool["name"], returns=1) for tool in suite.tools],
    )
    transcripts = run_suite(
        suite,
        GoldEngine(suite, "hermes"),
        Play(subject="gold", form="hermes", max_steps=6, max_new_tokens=100),
        simulation=lambda today, faults, tools: recorded.anew(faults),
    )
    verdicts = score_suite(suite, transcripts)
    assert [verdict.detail.key for verdict in verdicts] == ["as_accepted"] * len(verdicts)
    assert len(verdicts) == len(suite.scenarios)
