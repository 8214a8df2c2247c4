"""BFCL's questions as a suite: read, played by one output, judged as they are written."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from bfcl_rows import BAKE, ORDER, ROWS, Rows, asked, function, write_data
from playing import ListEngine, call, says

from matinee.config import BfclSource, SuiteSettings
from matinee.data.leakage import find_leaks
from matinee.data.sources import fetch_bfcl
from matinee.data.sources.packages import wheel_path
from matinee.engines.base import Engine
from matinee.evaluation.bfcl import as_json_schema, load_bfcl
from matinee.evaluation.playing import Play, run_suite
from matinee.evaluation.scoring import score_suite
from matinee.evaluation.scripted import ConstantEngine, GoldEngine
from matinee.evaluation.suites import select
from matinee.messages.conversations import Conversation, Message, Tool
from matinee.messages.scenarios import Suite
from matinee.messages.transcripts import Transcript, Verdict
from matinee.report.cases import gold_text
from matinee.runtime.errors import ScenarioError, SourceError
from matinee.stages.evaluation import prepare_suite, read_suite

CATEGORIES = list(ROWS)


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return load_bfcl(write_data(tmp_path), "bfcl", CATEGORIES).suite


def run(suite: Suite, engine: Engine, form: Any = "hermes") -> list[Transcript]:
    return run_suite(
        suite, engine, Play(subject="test", form=form, max_steps=6, max_new_tokens=200)
    )


def judged(suite: Suite, case: str, *calls: Any, text: str = "") -> Verdict:
    """The verdict on one output of these calls."""
    chosen = suite.model_copy(
        update={"scenarios": tuple(s for s in suite.scenarios if s.id == case)}
    )
    output = text or says(*calls)
    return score_suite(suite, run(chosen, ListEngine([output])))[0]


def bake(**changes: Any) -> Any:
    return call("oven.bake", **{"dish": "apple pie", "degrees": 180} | changes)


class TestReading:
    def test_cases_come_in_the_order_of_the_categories_with_their_own_tools(
        self, suite: Suite
    ) -> None:
        assert [case.id for case in suite.scenarios] == [
            question["id"] for rows in ROWS.values() for question, _ in rows
        ]
        multiple = next(case for case in suite.scenarios if case.id == "multiple_0")
        assert [tool["name"] for tool in multiple.tools] == ["oven.bake", "order_bread"]
        assert suite.tools == ()

    def test_questions_about_the_same_functions_are_a_family(self, suite: Suite) -> None:
        families = {case.id: case.family for case in suite.scenarios}
        assert families["live_simple_0-3-0"] == families["live_simple_1-3-1"]
        assert families["simple_python_0"] != families["parallel_0"]

    def test_messages_before_the_question_open_the_case(self, suite: Suite) -> None:
        case = next(case for case in suite.scenarios if case.id == "live_simple_0-3-0")
        assert [(said.role, said.content) for said in case.opening] == [
            ("system", "You run a bakery.")
        ]
        assert case.turns[0].user == "Cake, 160!"

    def test_types_become_json_schema(self) -> None:
        schema = as_json_schema(ORDER["parameters"])
        assert schema["type"] == "object"
        assert schema["properties"]["sizes"] == {"type": "array", "items": {"type": "number"}}
        assert schema["properties"]["extra"] == {}
        assert schema["properties"]["loaves"]["items"]["properties"]["count"] == {"type": "integer"}
        assert "optional" not in as_json_schema(BAKE["parameters"])["properties"]["fan"]

    def test_an_empty_text_means_that_an_optional_parameter_may_be_absent(
        self, suite: Suite
    ) -> None:
        gold = suite.scenarios[0].turns[0].calls[0]
        assert gold.arguments["hours"] == [1.5, None]
        assert gold.arguments["fan"] == [{"null": True}, None]
        assert gold.arguments["degrees"] == [180]

    @pytest.mark.parametrize(
        ("file", "change", "expected"),
        [
            ("BFCL_v4_multiple.json", ('"type": "tuple"', '"type": "sack"'), "unknown type 'sack'"),
            ("BFCL_v4_multiple.json", ('"role": "user"', '"role": "tool"'), "not a row of BFCL v4"),
            ("BFCL_v4_multiple.json", ("{", "["), "not JSON"),
            ("possible_answer/BFCL_v4_multiple.json", ("order_b", "buy_b"), "which the question l"),
            (
                "possible_answer/BFCL_v4_multiple.json",
                ("multiple_0", "x"),
                "no accepted answer",
            ),
        ],
    )
    def test_a_row_that_cannot_be_used_is_named_and_the_others_stay(
        self, tmp_path: Path, file: str, change: tuple[str, str], expected: str
    ) -> None:
        path = write_data(tmp_path) / file
        path.write_text(path.read_text().replace(*change, 1))
        with pytest.raises(ScenarioError, match=expected) as raised:
            load_bfcl(tmp_path, "bfcl", ["multiple"])
        assert "BFCL_v4_multiple.json" in str(raised.value)
        good = {"id": "multiple_9", "question": [[{"role": "user", "content": "Bake!"}]]}
        with (tmp_path / "BFCL_v4_multiple.json").open("a") as questions:
            questions.write(json.dumps({**good, "function": [BAKE]}) + "\n")
        with (tmp_path / "possible_answer/BFCL_v4_multiple.json").open("a") as answers:
            truth = [{BAKE["name"]: {"dish": ["pie"], "degrees": [180]}}]
            answers.write(json.dumps({"id": "multiple_9", "ground_truth": truth}) + "\n")
        read = load_bfcl(tmp_path, "bfcl", ["multiple"])
        assert [case.id for case in read.suite.scenarios] == ["multiple_9"]
        assert any(re.search(expected, text) for text in read.left_out.values())

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            ({"dish": ["pie"], "degrees": [180], "rack": [2]}, "has no parameter 'rack'"),
            ({"dish": ["pie"]}, "requires 'degrees'"),
            ({"dish": ["pie"], "degrees": []}, "'degrees' may neither have a value nor be absent"),
        ],
    )
    def test_a_question_that_no_call_could_answer_is_left_out_and_named(
        self, tmp_path: Path, answer: dict[str, Any], reason: str
    ) -> None:
        question = asked("simple_python_1", "Bake!", BAKE)
        rows: Rows = {
            "simple_python": [*ROWS["simple_python"], (question, [{"oven.bake": answer}])]
        }
        read = load_bfcl(write_data(tmp_path, rows), "bfcl", ["simple_python"])
        assert [case.id for case in read.suite.scenarios] == ["simple_python_0"]
        assert list(read.left_out) == ["simple_python_1"]
        assert reason in read.left_out["simple_python_1"]

    def test_an_accepted_parameter_that_the_tool_lacks_may_only_be_absent(
        self, tmp_path: Path
    ) -> None:
        answer = {"dish": ["pie"], "degrees": [180], "rack": ["", 2]}
        rows: Rows = {
            "simple_python": [(asked("simple_python_0", "Bake!", BAKE), [{"oven.bake": answer}])]
        }
        suite = load_bfcl(write_data(tmp_path, rows), "bfcl", ["simple_python"]).suite
        assert judged(suite, "simple_python_0", bake(dish="pie")).success
        verdict = judged(suite, "simple_python_0", bake(dish="pie", rack=2))
        assert verdict.error == "extra_argument"

    def test_a_category_that_cannot_be_run_is_refused_with_those_that_can(
        self, tmp_path: Path
    ) -> None:
        with pytest.raises(ScenarioError, match=r"no categories multi_turn_base .* live_ir"):
            load_bfcl(write_data(tmp_path), "bfcl", ["multi_turn_base"])

    def test_a_part_takes_categories_in_turn(self, suite: Suite) -> None:
        part = select(suite, limit=len(CATEGORIES))
        assert sorted(case.category for case in part.scenarios) == sorted(CATEGORIES)


class TestPlaying:
    @pytest.mark.parametrize("form", ["hermes", "action"])
    def test_the_gold_engine_is_right_in_every_case(self, suite: Suite, form: Any) -> None:
        verdicts = score_suite(suite, run(suite, GoldEngine(suite, form), form))
        assert [verdict.detail for verdict in verdicts if not verdict.success] == []
        assert all(verdict.metrics["shortest_steps"] == 1 for verdict in verdicts)

    def test_the_null_engine_is_right_exactly_where_nothing_may_be_called(
        self, suite: Suite
    ) -> None:
        verdicts = score_suite(suite, run(suite, ConstantEngine()))
        right = [verdict.case for verdict in verdicts if verdict.success]
        assert right == ["irrelevance_0", "live_irrelevance_0-0-0"]

    def test_a_case_is_asked_with_its_own_tools_and_messages_and_nothing_else(
        self, suite: Suite
    ) -> None:
        chosen = select(suite, categories=["live_simple"])
        engine = ListEngine(["ok", "ok"])
        run(chosen, engine)
        request = engine.requests[0]
        assert [tool["function"]["name"] for tool in request.tools] == ["oven.bake"]
        assert [message["role"] for message in request.messages] == ["system", "user"]
        assert request.messages[0]["content"] == "You run a bakery."

    def test_the_first_output_ends_the_case_and_nothing_is_executed(self, suite: Suite) -> None:
        engine = ListEngine([says(bake()), "never asked for"])
        (transcript,) = run(select(suite, categories=["simple_python"]), engine)
        assert len(engine.requests) == 1
        assert transcript.stop == "done"
        assert transcript.steps[0].observations == ()


class TestVerdicts:
    @pytest.mark.parametrize(
        "calls",
        [
            [bake()],
            [bake(dish="Pie")],
            [bake(hours=1.5)],
            [call("oven.bake", dish="pie", degrees=180, fan=None)],
            [bake(tray="middle")],  # the default, on which the answer is silent
        ],
    )
    def test_accepted(self, suite: Suite, calls: list[Any]) -> None:
        assert judged(suite, "simple_python_0", *calls).success

    @pytest.mark.parametrize(
        ("calls", "error"),
        [
            ([], "no_call"),
            ([call("bake", dish="pie", degrees=180)], "unknown_tool"),
            ([call("oven.bake", dish="pie")], "missing_argument"),
            ([bake(cream=True)], "extra_argument"),
            ([bake(tray="top")], "extra_argument"),
            ([bake(degrees="180")], "schema_violation"),
            ([bake(degrees=180.0)], "wrong_value"),
            ([bake(degrees=18)], "wrong_value"),
            ([bake(hours=2.5)], "wrong_value"),
            ([bake(hours=None)], "schema_violation"),  # absent is accepted; null is not absent
            ([bake(CREAM=None)], "extra_argument"),
            ([bake(fan=True)], "wrong_value"),
            ([bake(), bake()], "repeated_call"),
            ([bake(), bake(dish="pie")], "unneeded_call"),
            # A call that breaks the schema is not forgiven here: nothing answers it.
            ([bake(), call("oven.bake", dish="pie")], "missing_argument"),
        ],
    )
    def test_refused(self, suite: Suite, calls: list[Any], error: str) -> None:
        verdict = judged(suite, "simple_python_0", *calls, text="" if calls else "No.")
        assert (verdict.success, verdict.error) == (False, error)

    def test_what_a_tool_requires_is_due_even_where_it_names_a_default(
        self, tmp_path: Path
    ) -> None:
        boil = function("boil", ["water"], water={"type": "string", "default": "cold"})
        rows: Rows = {
            "simple_python": [
                (asked("simple_python_0", "Boil!", boil), [{"boil": {"water": ["cold", "hot"]}}])
            ]
        }
        suite = load_bfcl(write_data(tmp_path, rows), "bfcl", ["simple_python"]).suite
        assert judged(suite, "simple_python_0", call("boil", water="cold")).success
        assert judged(suite, "simple_python_0", call("boil")).error == "missing_argument"

    def test_parallel_calls_may_come_in_any_order_but_all_must_come(self, suite: Suite) -> None:
        cake = call("oven.bake", dish="cake", degrees=160)
        assert judged(suite, "parallel_0", cake, bake()).success
        assert judged(suite, "parallel_0", cake).error == "missing_call"

    def test_objects_are_compared_key_by_key(self, suite: Suite) -> None:
        def ordered(loaves: list[Any], **others: Any) -> bool:
            address = {"street": "Mill Lane 3"} | others
            order = call("order_bread", loaves=loaves, address=address, sizes=[1, 2.5])
            return judged(suite, "multiple_0", order).success

        rye = {"kind": "rye", "count": 2}
        assert ordered([rye, {"kind": "white"}])
        assert ordered([rye, {"kind": "white"}], note="Ring twice")
        assert not ordered([{"kind": "white"}, rye])
        assert not ordered([rye])
        assert not ordered([{"kind": "rye"}, {"kind": "white"}])
        assert not ordered([rye, {"kind": "white"}], colour="red")
        assert not ordered([rye, {"kind": "white"}], note="knock")

    def test_a_call_where_nothing_fits_is_an_error_even_one_that_breaks(self, suite: Suite) -> None:
        assert judged(suite, "irrelevance_0", bake()).error == "unneeded_call"
        assert judged(suite, "irrelevance_0", text="<tool_call>{").error == "unparsable"

    def test_an_output_that_was_cut_off_is_no_answer(self, suite: Suite) -> None:
        chosen = select(suite, categories=["simple_python"])
        (transcript,) = run(chosen, ListEngine([(says(bake()), "length")]))
        assert score_suite(suite, [transcript])[0].error == "cut_off"


def test_the_report_shows_choices_within_objects(suite: Suite) -> None:
    (gold,) = next(case for case in suite.scenarios if case.id == "multiple_0").turns[0].calls
    shown = gold_text(gold)
    assert 'address: {street: Mill Lane 3, note: "" | ring twice | —}' in shown
    assert "loaves: {kind: rye, count: 2 | 2} | {kind: wheat | white, count: 1 | —}" in shown


class TestSources:
    def test_the_stage_reads_a_folder_and_keeps_where_it_came_from(self, tmp_path: Path) -> None:
        data = write_data(tmp_path / "data")
        settings = SuiteSettings(
            id="mine", bfcl=BfclSource(path=data), categories=CATEGORIES, limit=3
        )
        output = tmp_path / "suite.json"
        prepare_suite(settings, output)
        assert len(read_suite(output).scenarios) == 3
        assert json.loads(output.with_suffix(".run.json").read_text())["facts"]["kind"] == "path"

    def test_the_wheel_in_the_cache_serves_without_the_network(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import hashlib

        monkeypatch.setenv("MATINEE_CACHE", str(tmp_path / "cache"))
        made = tmp_path / "made.whl"
        with zipfile.ZipFile(made, "w") as archive:
            for file in sorted(write_data(tmp_path / "data").rglob("*.json")):
                archive.write(file, f"bfcl_eval/data/{file.relative_to(tmp_path / 'data')}")
        source = BfclSource(
            package="bfcl-eval==1.0", sha256=hashlib.sha256(made.read_bytes()).hexdigest()
        )
        with pytest.raises(SourceError, match="not in the cache"):
            fetch_bfcl(source, offline=True, root=tmp_path)
        kept = wheel_path(source.package, source.sha256)
        kept.parent.mkdir(parents=True)
        made.rename(kept)
        data, facts = fetch_bfcl(source, offline=True, root=tmp_path)
        assert len(load_bfcl(data, "bfcl", CATEGORIES).suite.scenarios) == 7
        assert facts["licence"] == "Apache-2.0"

    def test_a_wheel_that_is_not_the_promised_one_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MATINEE_CACHE", str(tmp_path))
        source = BfclSource(package="bfcl-eval==1.0", sha256="0" * 64)
        kept = wheel_path(source.package, source.sha256)
        kept.parent.mkdir(parents=True)
        kept.write_bytes(b"something else")
        with pytest.raises(SourceError, match=r"sha256 checksum .* expected 0000"):
            fetch_bfcl(source, offline=True, root=tmp_path)

    def test_leaks_are_looked_for_among_the_tools_of_every_case(self, suite: Suite) -> None:
        leaked = Conversation(
            id="row",
            source="set",
            messages=(Message("user", "Bake an apple pie at 180 degrees, please."),),
            tools=(Tool.from_openai(suite.scenarios[1].tools[1]),),
        )
        found = {leak.kind: leak.test_item for leak in find_leaks([leaked], suite).leaks}
        assert found["tool_name"] == "order_bread"
        assert found["question"] == "simple_python_0"


@pytest.fixture(scope="module")
def real() -> Suite:
    source = BfclSource()
    if not wheel_path(source.package, source.sha256).exists():
        pytest.skip("BFCL's wheel is not in the cache; benchmarks/bfcl_agreement.py fetches it")
    data, _ = fetch_bfcl(source, offline=True, root=Path.cwd())
    return load_bfcl(data, "bfcl").suite


class TestRealWheel:
    def test_every_case_is_read(self, real: Suite) -> None:
        # 3,475 questions, four of which no call could answer.
        assert len(real.scenarios) == 3471

    def test_the_gold_engine_is_always_right(self, real: Suite) -> None:
        verdicts = score_suite(real, run(real, GoldEngine(real, "hermes")))
        assert [(v.case, v.detail) for v in verdicts if not v.success] == []

    def test_the_null_engine_is_right_in_the_cases_without_calls(self, real: Suite) -> None:
        verdicts = score_suite(real, run(real, ConstantEngine()))
        none_due = [case.id for case in real.scenarios if not case.turns[0].calls]
        assert [verdict.case for verdict in verdicts if verdict.success] == none_due
        assert len(none_due) == 240 + 884
