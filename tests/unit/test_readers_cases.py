"""Rows as other projects write them: each is read rightly, or refused with what to do."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from published import CALL, SCHEMA, WEATHER, calls, roles, sharegpt, write

from matinee.data.readers import FormatReport, data_files, read_dataset, read_tools
from matinee.messages.conversations import Conversation, Message, ToolCall
from matinee.runtime.errors import DataError

ASKED = {"role": "user", "content": "Weather in Paris?"}
CALLED = ToolCall("get_weather", '{"city": "Paris"}')


def outcome(folder: Path, reader: str, *rows: Any, **settings: Any) -> tuple[Any, FormatReport]:
    report = FormatReport()
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    settings = {"on_bad_row": "skip", **settings}
    try:
        kept = list(read_dataset(reader, [path], source="s", report=report, **settings))
    except DataError:
        kept = []
    return kept, report


def one(folder: Path, row: Any, reader: str = "openai") -> Conversation:
    kept, report = outcome(folder, reader, row)
    assert [problem.reason for problem in report.bad] == []
    (conversation,) = kept
    return conversation


def refused(folder: Path, row: Any, reader: str = "openai") -> str:
    kept, report = outcome(folder, reader, row)
    assert kept == []
    return f"{report.bad[0].kind}: {report.bad[0].reason}"


def row(*messages: Any, tools: Any = (WEATHER,), **others: Any) -> dict[str, Any]:
    return {"messages": list(messages), "tools": list(tools), **others}


def calling(*arguments: Any, **others: Any) -> dict[str, Any]:
    listed = [
        {"id": f"c{n}", "function": {"name": "get_weather", "arguments": one}}
        for n, one in enumerate(arguments)
    ]
    return {"role": "assistant", "tool_calls": listed, **others}


def answer(identifier: Any, content: str = "x", **others: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": identifier, "content": content, **others}


@pytest.mark.parametrize("key", ["arguments", "parameters", "args", "input", "params", "kwargs"])
@pytest.mark.parametrize("written", [False, True])
def test_arguments_under_any_of_their_names_are_read(
    key: str, written: bool, tmp_path: Path
) -> None:
    given: Any = '{"city": "Paris"}' if written else {"city": "Paris"}
    call = {"role": "assistant", "tool_calls": [{"name": "get_weather", key: given}]}
    assert calls(one(tmp_path, row(ASKED, call))) == [CALLED]
    hermes = sharegpt(
        ("human", "?"),
        ("gpt", f"<tool_call>{json.dumps({'name': 'get_weather', key: given})}</tool_call>"),
    )
    assert calls(one(tmp_path, hermes, "hermes_v1")) == [CALLED]


@pytest.mark.parametrize("value", [[], False, 0, "[]", "0", "oops", "null", [1], '{"a": 1e999}'])
def test_arguments_that_are_no_object_are_refused(value: Any, tmp_path: Path) -> None:
    assert refused(tmp_path, row(ASKED, calling(value))).startswith("broken_arguments")


@pytest.mark.parametrize("key", ["parameters", "input_schema", "inputSchema", "params"])
def test_a_schema_under_any_of_its_names_is_read(key: str, tmp_path: Path) -> None:
    tool = {"name": "get_weather", "description": "d", key: SCHEMA}
    read = one(tmp_path, row(ASKED, calling({"city": "Paris"}), tools=[tool]))
    assert read.tools[0].schema == SCHEMA


def test_parameters_that_stand_flat_become_properties(tmp_path: Path) -> None:
    flat = {"city": {"type": "str", "required": True}, "type": {"type": "string"}}
    tool = {"name": "get_weather", "parameters": flat}
    (read,) = one(tmp_path, row(ASKED, calling({"city": "Paris"}), tools=[tool])).tools
    properties = {"city": {"type": "string"}, "type": {"type": "string"}}
    assert read.schema == {"type": "object", "properties": properties, "required": ["city"]}


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"required": True}, "parameters.required must be a list"),
        ({"required": "city"}, "parameters.required must be a list"),
        ({"required": [1]}, "must list names"),
        ({"properties": []}, "parameters.properties must hold schemas by name"),
        ({"properties": {"city": "text, the city"}}, "properties.city is no schema but text"),
        ({"properties": {"city": {"description": 5}}}, "city.description must be text"),
        ({"properties": {"city": {"enum": "a"}}}, "city.enum must be a list"),
        ({"properties": {"city": {"type": 5}}}, "city.type must be the name of a type"),
        ({"properties": {"city": {"items": 5}}}, "city.items is no schema"),
        ({"properties": {"city": {"anyOf": {}}}}, "city.anyOf must be a list of schemas"),
        ({"city": "a text"}, "city is no schema"),
    ],
)
def test_a_schema_that_no_template_can_spell_is_refused_with_its_path(
    broken: Any, words: str, tmp_path: Path
) -> None:
    tool = {"name": "f", "parameters": broken}
    said = refused(tmp_path, row(ASKED, {"role": "assistant", "content": "x"}, tools=[tool]))
    assert said.startswith("broken_schema: tools[0].parameters")
    assert words in said


def test_nulls_that_a_columnar_file_invented_are_taken_out_and_meant_ones_stay(
    tmp_path: Path,
) -> None:
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "enum": None, "default": None},
            "note": {"type": ["string", "null"], "default": None},
            "days": {"type": "integer"},
            "other": None,
        },
        "required": ["city"],
        "description": None,
    }
    tool = {"name": "get_weather", "parameters": schema}
    given = {"city": "Paris", "note": None, "days": None, "other": None}
    read = one(tmp_path, row(ASKED, calling(given), tools=[tool]))
    assert calls(read)[0].values == {"city": "Paris", "note": None}
    assert read.tools[0].schema == {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "note": {"type": ["string", "null"], "default": None},
            "days": {"type": "integer"},
        },
        "required": ["city"],
    }
    written = one(tmp_path, row(ASKED, calling(json.dumps(given)), tools=[tool]))
    assert calls(written)[0].values == given, "what somebody wrote as text, he meant"


class TestAnswers:
    def test_they_are_put_in_the_order_of_their_calls(self, tmp_path: Path) -> None:
        asked = calling({"city": "Lund"}, {"city": "Oulu"})
        last = {"role": "assistant", "content": "10 and 20"}
        rows = row(ASKED, asked, answer("c1", "20"), answer("c0", "10"), last)
        kept, report = outcome(tmp_path, "openai", rows)
        assert [m.content for m in kept[0].messages if m.role == "tool"] == ["10", "20"]
        assert report.notes["rows_with_answers_put_in_order"] == 1

    @pytest.mark.parametrize(
        ("answers", "words"),
        [
            ([answer("zz")], "are to zz; the calls are c0"),
            ([answer("c0"), answer("c0")], "1 calls, but 2 are the answers"),
            ([answer("c0", name="other")], "other answers a call to get_weather"),
            ([answer([1])], "id is no text"),
            ([answer({"a": 1})], "id is no text"),
        ],
    )
    def test_those_that_fit_no_call_are_refused(
        self, answers: list[Any], words: str, tmp_path: Path
    ) -> None:
        last = {"role": "assistant", "content": "x"}
        assert words in refused(tmp_path, row(ASKED, calling({"city": "x"}), *answers, last))

    def test_two_calls_with_one_answer_or_with_one_id_are_refused(self, tmp_path: Path) -> None:
        two = calling({"city": "x"}, {"city": "y"})
        last = {"role": "assistant", "content": "x"}
        assert "2 calls, but 1" in refused(tmp_path, row(ASKED, two, answer("c0"), last))
        two["tool_calls"][1]["id"] = "c0"
        said = refused(tmp_path, row(ASKED, two, answer("c0"), answer("c0"), last))
        assert "two calls of message 2 have the id c0" in said

    def test_one_answer_that_lists_as_many_results_is_taken_apart(self, tmp_path: Path) -> None:
        turns = [
            ("human", "?"),
            ("function_call", f"[{CALL}, {CALL}]"),
            ("observation", '[1, "b"]'),
        ]
        read = one(tmp_path, sharegpt(*turns, ("gpt", "x")), "sharegpt")
        assert [m.content for m in read.messages if m.role == "tool"] == ["1", '"b"']


@pytest.mark.parametrize("mark", ["weight", "loss", "training", "train", "loss_weight"])
class TestMarks:
    def test_an_answer_marked_so_is_not_learned(self, mark: str, tmp_path: Path) -> None:
        said = [ASKED, {"role": "assistant", "content": "bad", mark: 0}]
        said += [ASKED, {"role": "assistant", "content": "good", mark: True}]
        read = one(tmp_path, row(*said))
        assert [m.supervised for m in read.messages] == [True, False, True, True]

    @pytest.mark.parametrize("value", [0.5, -1, 2, "no", [1]])
    def test_what_cannot_be_honoured_is_refused(
        self, mark: str, value: Any, tmp_path: Path
    ) -> None:
        said = refused(tmp_path, row(ASKED, {"role": "assistant", "content": "x", mark: value}))
        assert said.startswith("not_supported")

    def test_to_learn_what_the_user_says_is_refused(self, mark: str, tmp_path: Path) -> None:
        said = refused(tmp_path, row({**ASKED, mark: 1}, {"role": "assistant", "content": "x"}))
        assert "only answers are learned" in said


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"label": False}, "not_to_learn: its label is False"),
        ({"kto_tag": "false"}, "not_to_learn"),
        ({"images": ["cat.png"]}, "images: pictures and sounds cannot be learned"),
        ({"rejected": "no"}, "rows of preferences"),
        ({"rejected_response": "no"}, "rows of preferences"),
        ({"weight": 0.5}, "its weight is 0.5"),
        ({"quality": 5}, "unknown_key: quality (5): not known to reader `openai`"),
    ],
)
def test_marks_of_a_row_are_honoured_or_refused(
    others: dict[str, Any], words: str, tmp_path: Path
) -> None:
    said = refused(tmp_path, row(ASKED, {"role": "assistant", "content": "x"}, **others))
    assert words in said


def test_what_is_left_on_purpose_is_counted_by_level_and_name(tmp_path: Path) -> None:
    tool = {**WEATHER, "strict": True, "title": "T"}
    said = row(ASKED, calling({"city": "Paris"}), tools=[tool], id=7, images=[], model="m")
    _, report = outcome(tmp_path, "openai", said, said)
    assert report.left == {"tool.strict": 2, "tool.title": 2, "row.id": 2, "row.model": 2}
    two = calling({"city": "x"}, {"city": "y"})
    assert "calls twice" in refused(tmp_path, row(ASKED, two, parallel_tool_calls=False))


class TestContent:
    @pytest.mark.parametrize(
        "thought",
        [
            {"reasoning_content": "think"},
            {"reasoning": "think"},
            {"content": [{"type": "thinking", "thinking": "think"}, {"type": "text", "text": "x"}]},
            {"content": [{"type": "reasoning", "value": "think"}, {"type": "text", "value": "x"}]},
        ],
    )
    def test_thoughts_are_kept_apart_from_the_answer(self, thought: Any, tmp_path: Path) -> None:
        read = one(tmp_path, row(ASKED, {"role": "assistant", "content": "x", **thought}))
        assert (read.messages[1].content, read.messages[1].reasoning) == ("x", "think")

    @pytest.mark.parametrize(
        ("part", "words"),
        [
            ({"type": "image", "image": "cat.png", "text": ""}, "is of type 'image'"),
            ({"type": "input_audio", "input_audio": {}}, "is of type 'input_audio'"),
            ({"type": "text", "text": "a", "mood": "b"}, "unknown_key"),
            ({"type": "thinking", "thinking": "a", "text": "b"}, "gave its text already"),
            (5, "no part of a message"),
        ],
    )
    def test_parts_that_would_be_lost_are_refused(
        self, part: Any, words: str, tmp_path: Path
    ) -> None:
        said = row({"role": "user", "content": [part]}, {"role": "assistant", "content": "x"})
        assert words in refused(tmp_path, said)

    @pytest.mark.parametrize(
        ("text", "reader"),
        [
            (f"<tool_call>{CALL}</tool_call>", "hermes_v1"),
            (f"<tool_call>\n{CALL}", "hermes_v1"),
            (f"<functioncall> {CALL}", "glaive_v2"),
            ('Action: get_weather\nAction Input: {"city": "Paris"}', "toolbench"),
            ('[get_weather(city="Paris")]', "toolace"),
        ],
    )
    def test_a_call_as_plain_text_is_refused_with_the_reader_that_takes_it(
        self, text: str, reader: str, tmp_path: Path
    ) -> None:
        said = refused(tmp_path, row(ASKED, {"role": "assistant", "content": text}))
        assert f"`reader: {reader}`" in said

    def test_legacy_calls_are_read_with_and_without_text(self, tmp_path: Path) -> None:
        call = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
        for text in (None, "I look."):
            said = {"role": "assistant", "content": text, "function_call": call}
            answered = {"role": "function", "name": "get_weather", "content": "x"}
            last = {"role": "assistant", "content": "x"}
            read = one(
                tmp_path, {"messages": [ASKED, said, answered, last], "functions": [WEATHER]}
            )
            assert calls(read) == [CALLED]
            assert read.messages[1].content == (text or "")


@pytest.mark.parametrize(
    ("reader", "system", "kept"),
    [
        ("hermes_v1", "Serve Nordbank. <tools>[TOOL]</tools> Today is Monday.", 2),
        ("toolace", "Serve Nordbank. [TOOL] Today is Monday.", 2),
        ("toolace", "Be Finnish.", 1),
        ("hermes_v1", "Be Finnish.", 1),
    ],
)
def test_a_system_text_that_says_more_than_the_tools_is_kept(
    reader: str, system: str, kept: int, tmp_path: Path
) -> None:
    text = system.replace("[TOOL]", json.dumps([WEATHER]))
    turns = [{"from": "system", "value": text}, {"from": "user", "value": "?"}]
    read = one(tmp_path, {"conversations": [*turns, {"from": "assistant", "value": "x"}]}, reader)
    assert roles(read) == ["system", "user", "assistant"]
    for sentence in ("Serve Nordbank.", "Today is Monday.") if kept == 2 else ("Be Finnish.",):
        assert sentence in read.messages[0].content


def test_text_before_a_call_is_kept_in_toolace(tmp_path: Path) -> None:
    said = {"from": "assistant", "value": 'Sure. [get_weather(city="Paris")]'}
    turns = [{"from": "user", "value": "?"}, said]
    read = one(tmp_path, {"system": json.dumps([WEATHER]), "conversations": turns}, "toolace")
    assert read.messages[1] == Message("assistant", "Sure.", (CALLED,))


@pytest.mark.parametrize(
    "line",
    [
        '{"messages": [{"role": "user", "content": "\\ud83d"}, '
        '{"role": "assistant", "content": "x"}]}',
        '{"messages": ' + "[" * 5000 + "]" * 5000 + "}",
        '{"a": ' * 200 + "1" + "}" * 200,
        '{"messages": [], "messages": []}',
        '{"messages": NaN}',
        '{"messages": 1e999}',
        '{"messages": ' + "1" * 5000 + "}",
        '{"messages": [{"role": "user"',
        '{"messages": []} trailing',
        "\udcff{}",
        "nonsense",
    ],
)
def test_a_line_that_holds_no_row_is_named_and_the_next_is_read(line: str, tmp_path: Path) -> None:
    good = json.dumps(row(ASKED, {"role": "assistant", "content": "x"}))
    path = tmp_path / "rows.jsonl"
    path.write_bytes(f"{good}\n{line}\n{good}\n".encode(errors="surrogateescape"))
    report = FormatReport()
    kept = read_dataset("openai", [path], source="s", on_bad_row="skip", report=report)
    assert len(list(kept)) == 2
    assert {one.row for one in report.bad} == {2}


class TestReferences:
    @pytest.mark.parametrize("target", ["http://127.0.0.1:{port}/x.json", "file://{file}", "#/no"])
    def test_none_is_resolved_outside_of_the_schema(
        self, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from loopback import Hub, serving

        (tmp_path / "private.json").write_text('{"type": "private"}')
        with serving(Hub(files={"x.json": b"{}"})) as hub:
            port = hub.address.rsplit(":", 1)[1]
            reference = target.format(port=port, file=tmp_path / "private.json")
            schema = {"type": "object", "properties": {"city": {"$ref": reference}}}
            tool = {"name": "get_weather", "parameters": schema}
            said = row(ASKED, calling({"city": "Paris"}), tools=[tool])
            kept, report = outcome(tmp_path, "openai", said)
        assert len(kept) == 1
        assert hub.requests == []
        assert [one.kind for one in report.warnings] == ["invalid_schema"]
        assert "private'" not in report.warnings[0].reason


ROW = {"instruction": "a", "output": "1"}


class TestFiles:
    @pytest.mark.parametrize(
        "text",
        [
            '{\n "instruction": "a",\n "output": "1"\n}\n{"instruction": "a", "output": "1"}',
            '[{"instruction": "a", "output": "1"}]\n[{"instruction": "a", "output": "1"}]',
            '[{"instruction": "a", "output": "1"}, {"instruction": "a", "output": "1"}]',
            '{"version": 1, "data": [{"instruction": "a", "output": "1"},'
            ' {"instruction": "a", "output": "1"}]}',
            '{"0": {"instruction": "a", "output": "1"}, "1": {"instruction": "a", "output": "1"}}',
        ],
    )
    def test_json_in_its_other_shapes_is_read_whole(self, text: str, tmp_path: Path) -> None:
        (tmp_path / "rows.json").write_text(text)
        kept = read_dataset("alpaca", [tmp_path / "rows.json"], source="s", on_bad_row="error")
        assert len(list(kept)) == 2

    def test_what_stands_behind_a_list_is_a_bad_row(self, tmp_path: Path) -> None:
        (tmp_path / "rows.json").write_text(f"[{json.dumps(ROW)}] ### rest")
        with pytest.raises(DataError, match="row 1: not_json"):
            list(read_dataset("alpaca", [tmp_path / "rows.json"], source="s", on_bad_row="error"))

    def test_an_object_around_the_rows_that_holds_more_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "rows.json").write_text(json.dumps({"data": [ROW], "more": [ROW]}))
        with pytest.raises(DataError, match="with more beside it, which would be lost"):
            list(read_dataset("alpaca", [tmp_path / "rows.json"], source="s", on_bad_row="skip"))

    def test_files_are_known_by_their_contents_whatever_their_ending(self, tmp_path: Path) -> None:
        line = json.dumps(ROW)
        for name in ("1.jsonl", "2.JSONL", "3.txt", "4.data"):
            (tmp_path / name).write_text(line)
        (tmp_path / "5.jsonl.gz").write_bytes(gzip.compress(line.encode()))
        (tmp_path / "6.csv").write_text('instruction,output\nb,"2,\n3"\n')
        (tmp_path / "7.TSV").write_text("instruction\toutput\nb\t2\n")
        (tmp_path / "README.md").write_text("about")
        files = data_files(tmp_path)
        kept = list(read_dataset("alpaca", files, source="s", on_bad_row="error"))
        assert [m.messages[1].content for m in kept] == ["1"] * 5 + ["2,\n3", "2"]

    @pytest.mark.parametrize("name", ["rows.zip", "rows.xlsx", "notes.txt", "rows.zst"])
    def test_a_file_that_cannot_be_read_is_named(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "rows.jsonl").write_text(json.dumps(ROW))
        (tmp_path / name).write_bytes(b"PK\x03\x04 something")
        with pytest.raises(DataError, match=name):
            data_files(tmp_path)

    def test_columns_of_json_and_structs_are_read_without_invented_nulls(
        self, tmp_path: Path
    ) -> None:
        import pyarrow
        import pyarrow.parquet

        read_tool = {"name": "read", "parameters": {"type": "object", "properties": {}}}
        read_tool["parameters"]["properties"] = {"path": {"type": "string"}}  # type: ignore[index]
        tools = [{"type": "function", "function": one} for one in (WEATHER, read_tool)]
        rows = [row(ASKED, calling({"city": "Paris"}), tools=tools)]
        other = calling({"path": "/x"})
        other["tool_calls"][0]["function"]["name"] = "read"
        rows.append(row(ASKED, other, tools=tools))
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
        kept = list(
            read_dataset("openai", [tmp_path / "rows.parquet"], source="s", on_bad_row="error")
        )
        assert [calls(one)[0].arguments for one in kept] == ['{"city": "Paris"}', '{"path": "/x"}']
        assert [tool.schema["properties"] for tool in kept[0].tools] == [
            SCHEMA["properties"],
            {"path": {"type": "string"}},
        ]

    @pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl.gz"])
    def test_a_damaged_file_is_named(self, name: str, tmp_path: Path) -> None:
        magic = b"PAR1" if name.endswith("parquet") else b"\x1f\x8b\x08\0"
        (tmp_path / name).write_bytes(magic + b"broken" * 100)
        with pytest.raises(DataError, match=name):
            list(read_dataset("alpaca", data_files(tmp_path), source="s", on_bad_row="skip"))


def test_the_tools_of_a_data_set_stand_in_where_a_row_lists_none(tmp_path: Path) -> None:
    tools = read_tools(write(tmp_path, [WEATHER], "tools.json"))
    logged = {"messages": [ASKED, calling({"city": "Paris"})], "model": "m", "temperature": 0}
    kept, _ = outcome(tmp_path, "openai", logged, tools=tools)
    assert [tool.name for tool in kept[0].tools] == ["get_weather"]
    with pytest.raises(DataError, match="no list of tools"):
        read_tools(write(tmp_path, [{"oops": 1}], "tools.json"))


def test_a_row_that_does_not_fit_says_which_reader_would(tmp_path: Path) -> None:
    assert "`reader: alpaca`" in refused(tmp_path, {"instruction": "a", "output": "b"})
    assert "`reader: sharegpt`" in refused(tmp_path, sharegpt(("human", "?")), "alpaca")
    message = {"message_id": "1", "text": "a", "role": "prompter"}
    assert "`reader: oasst`" in refused(tmp_path, message)


class TestTrees:
    @staticmethod
    def message(identifier: Any, parent: Any, role: str = "prompter", **more: Any) -> Any:
        return {"message_id": identifier, "parent_id": parent, "text": "t", "role": role, **more}

    @pytest.mark.parametrize(
        ("odd", "words"),
        [
            (lambda m: [m("9", "lost")], "its parent lost is in none of the files"),
            (lambda m: [m("8", "9"), m("9", "8")], "no root above it"),
            (lambda m: [m([1], None)], "message_id is neither text nor a number"),
            (lambda m: [m("9", {"a": 1})], "parent_id is neither text nor a number"),
            (lambda m: [m("9", "q", rank="best")], "rank is no number"),
            (lambda m: [m("q", None)], "message_id q stands twice"),
            (lambda m: ["text"], "a message needs the columns"),
        ],
    )
    def test_no_message_is_passed_over(self, odd: Any, words: str, tmp_path: Path) -> None:
        good = [self.message("q", None), self.message("a", "q", "assistant")]
        kept, report = outcome(tmp_path, "oasst", *good, *odd(self.message))
        assert len(kept) == 1
        assert words in report.bad[0].reason

    def test_ids_may_be_numbers(self, tmp_path: Path) -> None:
        kept, _ = outcome(tmp_path, "oasst", self.message(1, None), self.message(2, 1, "assistant"))
        assert len(kept[0].messages) == 2


SYSTEM = ("system", f"<tools>{json.dumps([WEATHER])}</tools>")
WRITTEN = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
TAGGED = f"<tool_call>{WRITTEN}</tool_call>"
LISTED = f"Tools: {json.dumps([WEATHER], indent=1)}"
APIS = f"You have access to the following APIs: {[WEATHER]!r}\nBe [very] brief."
ACTION = 'Thought: Look.\nAction: get_weather\nAction Input: {"city": "Paris"}'
GLAIVE = {
    "system": "SYSTEM: You are a helpful assistant with access to the following functions. "
    f"Use them if required -\n{json.dumps(WEATHER)}\nBe brief.",
    "chat": f"USER: ?\n\n\nASSISTANT: <functioncall> {WRITTEN} <|endoftext|>",
}
BARE = {"name": "get_weather", "description": "Weather of a city"}


class TestFamilies:
    """The same meaning in other spellings: read as one, or refused by what cannot be honoured."""

    @pytest.mark.parametrize(
        ("reader", "value"),
        [
            ("openai", row(ASKED, calling({"city": "Paris"}), tools=[json.dumps(WEATHER)])),
            ("openai", {"messages": [ASKED, calling({"city": "Paris"})], "tools": WEATHER}),
            ("openai", row(ASKED, {"role": "assistant", "tool_calls": [WRITTEN]})),
            ("openai", row(ASKED, {"role": "assistant", "tool_calls": json.loads(WRITTEN)})),
            ("openai", row(ASKED, calling({"city": "Paris"}), label="True", weight="1")),
            (
                "hermes_v1",
                sharegpt(SYSTEM, ("human", "?"), ("gpt", f"<tool_call>[{WRITTEN}]</tool_call>")),
            ),
            (
                "hermes_v1",
                sharegpt(
                    SYSTEM,
                    ("human", "?"),
                    ("gpt", TAGGED),
                    ("human", "<tool_response>1</tool_response>"),
                    ("gpt", "1"),
                ),
            ),
            ("hermes_v1", sharegpt(SYSTEM, ("human", "?"), ("gpt", TAGGED)) | {"tools": [WEATHER]}),
            (
                "toolace",
                sharegpt(("human", "?"), ("gpt", "[get_weather(city='Paris')]"))
                | {"system": f"Never write [{{x}}]. {LISTED} [see above]"},
            ),
            ("toolbench", sharegpt(("system", APIS), ("human", "?"), ("gpt", ACTION))),
            ("glaive_v2", GLAIVE),
        ],
    )
    def test_one_call(self, reader: str, value: Any, tmp_path: Path) -> None:
        read = one(tmp_path, value, reader)
        assert calls(read) == [CALLED]
        assert [tool.name for tool in read.tools] == ["get_weather"]
        assert "APIs" not in read.messages[0].content
        assert "functions" not in read.messages[0].content

    @pytest.mark.parametrize(
        "parameters",
        [
            [{"name": "city", "type": "str", "required": True}],
            {"type": "object", "properties": {"city": {"type": "string", "required": True}}},
            {"city": {"type": "string", "required": True}},
        ],
    )
    @pytest.mark.parametrize("key", ["parameters", "schema", "input_schema"])
    def test_one_schema(self, key: str, parameters: Any, tmp_path: Path) -> None:
        read = one(tmp_path, row(ASKED, calling({"city": "x"}), tools=[{**BARE, key: parameters}]))
        assert read.tools[0].schema == {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        }

    @pytest.mark.parametrize(
        ("reader", "value"),
        [
            ("alpaca", {"instruction": "a", "context": "b", "response": "c"}),
            ("alpaca", {"question": "a\nb", "answer": "c"}),
            ("alpaca", {"prompt": "a\nb", "completion": "c"}),
        ],
    )
    def test_question_and_answer(self, reader: str, value: Any, tmp_path: Path) -> None:
        said = [message.content for message in one(tmp_path, value, reader).messages]
        assert said == ["a\nb", "c"]

    @pytest.mark.parametrize(
        ("reader", "value", "reason"),
        [
            ("alpaca", {"instruction": "a", "output": "b", "label": "false"}, "not_to_learn"),
            ("glaive_v2", {**GLAIVE, "label": False}, "not_to_learn"),
            (
                "xlam",
                {"query": "?", "tools": "[]", "answers": "[]", "kto_tag": 0},
                "not_to_learn",
            ),
            (
                "hermes_v1",
                sharegpt(SYSTEM, ("human", "?"), ("gpt", TAGGED)) | {"label": False},
                "not_to_learn",
            ),
            ("openai", row(ASKED, calling({"city": "x"}), label="travel"), "its label is 'travel'"),
            (
                "hermes_v1",
                sharegpt(SYSTEM, ("human", "?"), ("gpt", TAGGED)) | {"tools": [BARE]},
                "lists other tools",
            ),
            ("hermes_v1", sharegpt(SYSTEM, ("human", "?"), ("gpt", "<think>Hm")), "not closed"),
            ("toolbench", sharegpt(("system", APIS[:60]), ("human", "?"), ("gpt", "x")), "broken"),
            (
                "openai",
                row(
                    ASKED,
                    calling({"city": "x"}),
                    answer("c0", [{"type": "image", "source": {"data": "x"}}]),  # type: ignore[arg-type]
                    {"role": "assistant", "content": "x"},
                ),
                "of type 'image'",
            ),
        ],
    )
    def test_what_cannot_be_honoured_is_refused(
        self, reader: str, value: Any, reason: str, tmp_path: Path
    ) -> None:
        for on_unknown_key in ("error", "warn"):
            kept, report = outcome(tmp_path, reader, value, on_unknown_key=on_unknown_key)
            assert kept == []
            assert reason in f"{report.bad[0].kind}: {report.bad[0].reason}"

    @pytest.mark.parametrize(
        "text",
        [
            "<function=get_weather><parameter=city>Paris</parameter></function>",
            f"```json\n{WRITTEN}\n```",
            'get_weather(city="Paris")',
            f"[TOOL_CALLS] [{WRITTEN}]",
        ],
    )
    def test_a_call_in_any_spelling_is_not_learned_as_text(self, text: str, tmp_path: Path) -> None:
        assert "plain text" in refused(tmp_path, row(ASKED, {"role": "assistant", "content": text}))

    def test_a_mention_of_a_tool_is_text(self, tmp_path: Path) -> None:
        text = "I can ask get_weather for that; it takes a city."
        one(tmp_path, row(ASKED, {"role": "assistant", "content": text}))

    def test_a_table_as_pandas_writes_it_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "rows.csv"
        path.write_text(",instruction,output\n0,a,1\n1,b,2\n")
        kept = list(read_dataset("alpaca", [path], source="s", on_bad_row="error"))
        assert [read.messages[1].content for read in kept] == ["1", "2"]
