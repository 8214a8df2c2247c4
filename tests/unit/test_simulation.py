"""The door of the simulation: arguments are checked as a real API does, and nothing raises."""

import datetime
import inspect
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.playing import DECLARED

from matinee.evaluation.simulation import SimulatedApi, world
from matinee.evaluation.simulation.resources import eleven_tools
from matinee.evaluation.simulation.world import FUNCTIONS
from matinee.messages.conversations import Tool
from matinee.messages.scenarios import Fault
from matinee.runtime.errors import ScenarioError
from matinee.runtime.places import RESOURCES

TODAY = datetime.date(2024, 1, 25)


def call(name, arguments, faults=(), today=TODAY):
    observation = world(today, faults).call(name, arguments)
    return observation, json.loads(observation.content)


def test_the_functions_are_exactly_the_listed_tools_with_their_parameters_and_defaults():
    assert [tool.name for tool in eleven_tools()] == list(FUNCTIONS)
    for tool in eleven_tools():
        _today, *parameters = inspect.signature(FUNCTIONS[tool.name]).parameters.values()
        properties = tool.schema["properties"]
        assert {one.name for one in parameters} == set(properties)
        required = {one.name for one in parameters if one.default is inspect.Parameter.empty}
        assert required == set(tool.schema["required"])
        declared = {one.name: one.default for one in parameters if one.name not in required}
        given = {name: value for name, value in declared.items() if value is not None}
        if tool.name == "chejian_query":
            given.pop("iis_sg")  # its description names no default
        assert given == DECLARED["defaults"].get(tool.name, {})


def test_the_annotated_list_adds_codes_defaults_and_the_way_of_the_chain_and_nothing_else():
    plain, annotated = (
        json.loads((RESOURCES / name).read_text(encoding="utf-8"))
        for name in ("tools.json", "tools_annotated.json")
    )
    added = {"enum": 0, "default": 0}
    for short, long in zip(plain, annotated, strict=True):
        for schema in long["parameters"]["properties"].values():
            for key in added:
                added[key] += schema.pop(key, None) is not None
        if short["name"] in ("get_province_list", "get_cities_list"):
            assert long["description"].startswith(short["description"])
            long["description"] = short["description"]
        assert short == long
    assert added == {"enum": 4, "default": 8}


def test_a_good_call_is_answered_in_the_envelope():
    observation, body = call("get_province_list", "{}")
    assert observation.error is None
    assert body["error_code"] == 0
    assert body["reason"] == "查询成功"
    assert len(body["result"]) == 34


@pytest.mark.parametrize(
    ("name", "arguments", "error", "said"),
    [
        ("get_weather", "{}", "unknown_tool", "get_weather"),
        ("icp_query", "{", "bad_arguments", "JSON"),
        ("icp_query", "", "bad_arguments", "JSON"),
        ("icp_query", "['juhe.cn']", "bad_arguments", "JSON"),
        ("icp_query", '"juhe.cn"', "bad_arguments", "JSON"),
        ("icp_query", "null", "bad_arguments", "JSON"),
        ("loan_calc_query", '{"money": NaN, "year": 5}', "bad_arguments", "JSON"),
        ("loan_calc_query", '{"money": 1e999, "year": 5}', "bad_arguments", "JSON"),
        ("icp_query", "[" * 100_000, "bad_arguments", "JSON"),
        ("icp_query", "1" * 5000, "bad_arguments", "JSON"),
        ("icp_query", "{}", "missing_parameter", "domainName"),
        ("loan_calc_query", "{}", "missing_parameter", "money、year"),
        ("get_province_list", '{"country": "中国"}', "unknown_parameter", "country"),
        ("icp_query", '{"domainName": 1}', "wrong_type", "domainName应为字符串"),
        ("loan_calc_query", '{"money": "70", "year": 20}', "wrong_type", "money应为整数"),
        ("loan_calc_query", '{"money": true, "year": 20}', "wrong_type", "money应为整数"),
        ("loan_calc_query", '{"money": 7.5, "year": 20}', "wrong_type", "money应为整数"),
        ("get_river_environment", '{"page": null}', "wrong_type", "page应为整数"),
        ("loan_calc_query", '{"money": 70, "year": 12}', "out_of_range", "5、10、15、20、25、30"),
        ("loan_calc_query", '{"money": 0, "year": 5}', "out_of_range", "money"),
        ("loan_calc_query", '{"money": 501, "year": 5}', "out_of_range", "500"),
        ("loan_calc_query", '{"money": 9, "year": 5, "active": "325"}', "out_of_range", "active"),
        ("loan_calc_query", '{"money": 9, "year": 5, "active": "3%"}', "out_of_range", "active"),
        ("loan_calc_query", '{"money": 9, "year": 5, "active": "0"}', "out_of_range", "active"),
        ("get_toutiao_news", '{"type": "TOP"}', "out_of_range", "type"),
        ("get_toutiao_news", '{"page": "51"}', "out_of_range", "50"),
        ("get_toutiao_news", '{"page": "0"}', "out_of_range", "page"),
        ("get_toutiao_news", '{"page": "一"}', "out_of_range", "page"),
        ("get_toutiao_news", '{"page_size": "31"}', "out_of_range", "30"),
        ("get_river_environment", '{"page": 0}', "out_of_range", "page"),
        ("airport_query", '{"airport": "北京", "per_page": 101}', "out_of_range", "100"),
        ("chejian_query", '{"type": "8", "reg_date": "2020-01-01"}', "out_of_range", "type"),
        ("chejian_query", '{"type": "3", "reg_date": "2020-02-30"}', "out_of_range", "reg_date"),
        ("chejian_query", '{"type": "3", "reg_date": "20200101"}', "out_of_range", "YYYY-MM-DD"),
        ("chejian_query", '{"type": "3", "reg_date": "2024-01-26"}', "out_of_range", "今天"),
        (
            "chejian_query",
            '{"type": "3", "reg_date": "2020-01-01", "iis_sg": 2}',
            "out_of_range",
            "iis_sg",
        ),
        ("get_cities_list", '{"province_id": "320000"}', "not_found", "320000"),
        ("get_environment_air_pm", '{"city": "哥谭"}', "not_found", "哥谭"),
        ("get_river_environment", '{"province": "江西", "river": "海河"}', "not_found", "断面"),
        ("airport_query", '{"airport": "哥谭"}', "not_found", "哥谭"),
        ("aptabnormal_query", '{"airport": "QQQ"}', "not_found", "QQQ"),
        ("aptabnormal_query", '{"airport": "LHR"}', "out_of_range", "国内"),
        ("icp_query", '{"domainName": "google.com"}', "no_record", "google.com"),
        ("icp_query", '{"domainName": "聚合数据"}', "out_of_range", "域名"),
    ],
)
def test_a_bad_call_is_refused_in_chinese_with_a_code(name, arguments, error, said):
    observation, body = call(name, arguments)
    assert observation.error == error
    assert said in body["reason"]
    assert body["result"] is None
    assert body["error_code"] > 0


def test_a_whole_number_written_as_a_float_is_an_integer():
    _, body = call("loan_calc_query", '{"money": 70.0, "year": 20.0}')
    assert (body["result"]["money"], body["result"]["months"]) == (70, 240)


def test_lone_surrogates_reach_neither_the_tool_name_nor_the_content():
    observation, _ = call("天\ud800气", "{}")
    observation.model_dump_json().encode()
    observation, _ = call("get_environment_air_pm", '{"city": "\\ud800\\u4e0a"}')
    assert observation.error == "not_found"
    observation.content.encode()


def test_a_long_value_is_cut_in_the_message():
    _, body = call("get_environment_air_pm", json.dumps({"city": "长" * 10_000}))
    assert len(body["reason"]) < 200


# JSON that fits a tool's schema loosely: right names, any values.
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text())


@st.composite
def loose_calls(draw):
    tool = draw(st.sampled_from(eleven_tools()))
    due = {"string": st.text() | st.dates().map(str), "integer": st.integers(-1, 600)}
    arguments = {
        name: draw(due[schema["type"]] | VALUES)
        for name, schema in tool.schema["properties"].items()
        if draw(st.booleans())
    }
    return tool.name, json.dumps(arguments)


@settings(deadline=None)
@given(loose_calls() | st.tuples(st.text(), st.text()))
def test_nothing_that_a_model_writes_raises(written):
    name, arguments = written
    observation, body = call(name, arguments)
    observation.model_dump_json().encode()
    assert set(body) == {"reason", "result", "error_code"}


@pytest.mark.parametrize("kind", ["timeout", "rate_limit", "server_error", "empty"])
def test_a_fault_strikes_at_its_call_and_only_there(kind):
    simulation = world(TODAY, [Fault(tool="icp_query", nth=2, kind=kind)])
    simulation.call("get_province_list", "{}")
    errors = [simulation.call("icp_query", '{"domainName": "juhe.cn"}').error for _ in range(3)]
    assert errors == [None, kind, None]


def test_an_empty_result_looks_like_success_to_the_model():
    _, body = call("get_province_list", "{}", [Fault(tool="get_province_list", kind="empty")])
    assert (body["error_code"], body["result"]) == (0, [])


def test_every_case_starts_with_nothing_called():
    faults = [Fault(tool="get_province_list", nth=1, kind="timeout")]
    assert call("get_province_list", "{}", faults)[0].error == "timeout"
    assert call("get_province_list", "{}", faults)[0].error == "timeout"


def test_a_fault_of_an_unlisted_tool_is_refused():
    with pytest.raises(ScenarioError, match="get_weather"):
        world(TODAY, [Fault(tool="get_weather", kind="timeout")])


def test_the_same_call_gets_the_same_answer_in_another_world():
    for tool, arguments in [
        ("get_toutiao_news", "{}"),
        ("get_environment_air_pm", '{"city": "上海"}'),
        ("get_river_environment", "{}"),
        ("aptabnormal_query", '{"airport": "PEK"}'),
    ]:
        assert call(tool, arguments) == call(tool, arguments)
        assert call(tool, arguments) != call(tool, arguments, today=datetime.date(2024, 1, 26))


def api(parameters):
    return SimulatedApi([Tool("t", "", json.dumps(parameters))], lambda name, values: values)


def test_a_schema_that_would_be_fetched_from_the_network_is_refused():
    with pytest.raises(ScenarioError, match="nothing is fetched"):
        api({"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/schema"}}})


def test_a_schema_that_is_none_is_refused():
    with pytest.raises(ScenarioError, match="not a JSON Schema"):
        api({"type": "object", "properties": {"a": {"type": "text"}}})


def test_two_tools_of_one_name_are_refused():
    tool = Tool("t", "", '{"type": "object"}')
    with pytest.raises(ScenarioError, match="same name"):
        SimulatedApi([tool, tool], lambda name, values: values)


def test_references_inside_the_schema_ranges_and_nested_values_are_checked():
    simulation = api(
        {
            "type": "object",
            "properties": {"guests": {"$ref": "#/$defs/guests"}, "names": {"type": "array"}},
            "$defs": {"guests": {"type": "integer", "minimum": 1}},
        }
    )
    assert simulation.call("t", '{"guests": 2}').error is None
    assert simulation.call("t", '{"guests": 0}').error == "out_of_range"
    assert simulation.call("t", '{"names": "x"}').error == "wrong_type"
    assert simulation.call("t", '{"other": 1}').error == "unknown_parameter"


def test_further_parameters_are_let_through_where_the_schema_says_so():
    simulation = api({"type": "object", "additionalProperties": {"type": "integer"}})
    assert simulation.call("t", '{"other": 1}').error is None
    assert simulation.call("t", '{"other": "1"}').error == "wrong_type"
