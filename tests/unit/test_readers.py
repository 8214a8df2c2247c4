"""Readers: each published format arrives in the one row format, and nothing gets lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from matinee.config import ReaderName
from matinee.conversations import Conversation, ToolCall
from matinee.errors import DataError
from matinee.readers import FormatReport, data_files, read_dataset
from matinee.readers.base import language_of
from matinee.readers.registry import READERS

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "get_weather", "description": "Weather of a city", "parameters": SCHEMA}
PUBLIC = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Conversation]:
    def read_one(reader: str, row: dict[str, Any]) -> Conversation:
        (conversation,) = read_dataset(
            reader, [write(tmp_path, [row])], source="set", on_bad_row="error"
        )
        return conversation

    return read_one


def write(folder: Path, rows: list[Any], name: str = "rows.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return path


def roles(conversation: Conversation) -> list[str]:
    return [message.role for message in conversation.messages]


def calls(conversation: Conversation) -> list[ToolCall]:
    return [call for message in conversation.messages for call in message.tool_calls]


def sharegpt(*turns: tuple[str, str], tools: Any = (WEATHER,)) -> dict[str, Any]:
    return {
        "conversations": [{"from": who, "value": text} for who, text in turns],
        "tools": json.dumps(tools),
    }


CALL = json.dumps({"name": "get_weather", "arguments": {"city": "Paris"}})
GOOD = sharegpt(
    ("human", "Weather in Paris?"),
    ("function_call", CALL),
    ("observation", '{"sky": "clear"}'),
    ("gpt", "Clear."),
)


class TestFormats:
    def test_sharegpt(self, read: Callable[..., Conversation]) -> None:
        conversation = read("sharegpt", GOOD)
        assert roles(conversation) == ["user", "assistant", "tool", "assistant"]
        assert calls(conversation) == [ToolCall("get_weather", '{"city": "Paris"}')]
        assert conversation.messages[2].name == "get_weather"
        assert conversation.tools[0].schema == SCHEMA
        assert (conversation.language, conversation.category) == ("en", "call")

    def test_sharegpt_with_several_calls_in_one_turn(
        self, read: Callable[..., Conversation]
    ) -> None:
        turns = (("human", "Two cities"), ("function_call", f"[{CALL}, {CALL}]"))
        assert len(calls(read("sharegpt", sharegpt(*turns)))) == 2

    def test_sharegpt_without_tools(self, read: Callable[..., Conversation]) -> None:
        row = {"conversations": sharegpt(("human", "Hi"), ("gpt", "Hello"))["conversations"]}
        for empty in ("", "[]", None):
            conversation = read("sharegpt", {**row, "tools": empty})
            assert (conversation.tools, conversation.category) == ((), "plain")

    def test_raw_glaive(self, read: Callable[..., Conversation]) -> None:
        chat = (
            "USER: What's the weather in St. John's?\n\n\n"
            "ASSISTANT: Let me see. <functioncall> "
            '{"name": "get_weather", "arguments": \'{"city": "St. John\\\'s"}\'} '
            "<|endoftext|>\n\n\n"
            'FUNCTION RESPONSE: {"sky": "clear"}\n\n\n'
            "ASSISTANT: Clear. NOTE: no USER: mark is meant here <|endoftext|>\n\n\n"
            "USER: Thanks\n\n\nASSISTANT: Welcome! <|endoftext|>"
        )
        functions = json.dumps(WEATHER, indent=1)
        system = f"SYSTEM: You are helpful with access to the following functions. -\n{functions}"
        conversation = read("glaive_v2", {"system": system, "chat": chat})
        assert roles(conversation) == [
            "user",
            "assistant",
            "tool",
            "assistant",
            "user",
            "assistant",
        ]
        assert conversation.messages[1].content == "Let me see."
        assert calls(conversation)[0].values == {"city": "St. John's"}
        assert conversation.messages[3].content == "Clear. NOTE: no USER: mark is meant here"
        assert conversation.tools[0].name == "get_weather"

    def test_raw_glaive_without_functions(self, read: Callable[..., Conversation]) -> None:
        system = "SYSTEM: You are a helpful assistant, with no access to external functions."
        row = {"system": system, "chat": "USER: Hi\n\n\nASSISTANT: Hello <|endoftext|>"}
        assert roles(read("glaive_v2", row)) == ["user", "assistant"]

    def test_xlam(self, read: Callable[..., Conversation]) -> None:
        parameters = {
            "city": {"type": "str", "description": "City"},
            "days": {"type": "int, optional", "description": "Days"},
            "unit": {"type": "str", "description": "Unit", "default": "C"},
            "tags": {"type": "List[str]", "description": "Tags"},
        }
        row = {
            "id": 1,
            "query": "Weather in Paris and Rome?",
            "tools": json.dumps([{**WEATHER, "parameters": parameters}]),
            "answers": json.dumps(
                [
                    {"name": "get_weather", "arguments": {"city": city, "tags": []}}
                    for city in ("Paris", "Rome")
                ]
            ),
        }
        conversation = read("xlam", row)
        schema = conversation.tools[0].schema
        assert [call.values["city"] for call in calls(conversation)] == ["Paris", "Rome"]
        assert schema["required"] == ["city", "tags"]
        assert {key: value["type"] for key, value in schema["properties"].items()} == {
            "city": "string",
            "days": "integer",
            "unit": "string",
            "tags": "array",
        }

    @pytest.mark.parametrize("literal", [CALL, str(json.loads(CALL))], ids=["json", "python"])
    def test_hermes(self, read: Callable[..., Conversation], literal: str) -> None:
        tools = json.dumps([{"type": "function", "function": WEATHER}])
        row = {
            "conversations": [
                {"from": "system", "value": f"Call functions. <tools>\n{tools}\n</tools>"},
                {"from": "human", "value": "Weather in Paris, twice?"},
                {
                    "from": "gpt",
                    "value": f"Sure.\n<tool_call>\n{literal}\n</tool_call>\n" * 1
                    + f"<tool_call>{literal}</tool_call>",
                },
                {
                    "from": "tool",
                    "value": "<tool_response>\n1\n</tool_response><tool_response>2</tool_response>",
                },
                {"from": "gpt", "value": "Clear."},
            ]
        }
        conversation = read("hermes_v1", row)
        assert roles(conversation) == ["user", "assistant", "tool", "tool", "assistant"]
        assert conversation.messages[1].content == "Sure."
        assert [message.content for message in conversation.messages[2:4]] == ["1", "2"]
        assert len(calls(conversation)) == 2

    def test_hermes_without_tools_keeps_its_system_text(
        self, read: Callable[..., Conversation]
    ) -> None:
        turns = (("system", "Answer in JSON"), ("human", "Hi"), ("gpt", "{}"))
        row = {"conversations": sharegpt(*turns)["conversations"]}
        assert roles(read("hermes_v1", row)) == ["system", "user", "assistant"]

    def test_toolace(self, read: Callable[..., Conversation]) -> None:
        search = {
            "name": "Search (all) News",
            "description": "News",
            "parameters": {
                "type": "dict",
                "properties": {"from": {"type": "str"}, "limit": {"type": "float"}},
                "required": [],
            },
        }
        system = f"Functions you can invoke:\n{json.dumps([search, WEATHER])}\nUse [f(a=b)]."
        answer = (
            '[Search (all) News(from="a, (b) it\'s", limit=2.5, deep={"x": [1, 2]}, on=true), '
            'get_weather(city="Paris")]'
        )
        row = {
            "system": system,
            "conversations": [
                {"from": "user", "value": "News?"},
                {"from": "assistant", "value": answer},
                {"from": "tool", "value": "[{}]"},
                {"from": "assistant", "value": "[1] is a footnote, not a call"},
            ],
        }
        conversation = read("toolace", row)
        first, second = calls(conversation)
        assert first.name == "Search (all) News"
        assert first.values == {
            "from": "a, (b) it's",
            "limit": 2.5,
            "deep": {"x": [1, 2]},
            "on": True,
        }
        assert second.values == {"city": "Paris"}
        assert conversation.tools[0].schema["type"] == "object"
        assert conversation.tools[0].schema["properties"]["limit"]["type"] == "number"
        assert conversation.messages[-1].content == "[1] is a footnote, not a call"

    def test_openai_messages(self, read: Callable[..., Conversation]) -> None:
        function = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
        row = {
            "messages": [
                {"role": "system", "content": "Be brief"},
                {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "c1", "type": "function", "function": function}],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "clear"},
                {"role": "assistant", "content": "Clear"},
            ],
            "tools": [{"type": "function", "function": WEATHER}],
        }
        conversation = read("openai", row)
        assert roles(conversation) == ["system", "user", "assistant", "tool", "assistant"]
        assert conversation.messages[3].name == "get_weather"
        assert calls(conversation) == [ToolCall("get_weather", '{"city": "Paris"}')]

    def test_alpaca(self, read: Callable[..., Conversation]) -> None:
        row = {
            "instruction": "翻译",
            "input": "你好",
            "output": "Hello",
            "history": [["Hi", "Hello"], ["再来", "好"]],
        }
        conversation = read("alpaca", row)
        assert roles(conversation) == ["user", "assistant"] * 3
        assert conversation.messages[4].content == "翻译\n你好"

    def test_oasst_takes_the_best_answered_path(self, tmp_path: Path) -> None:
        def message(identifier: str, parent: str | None, role: str, **more: Any) -> dict[str, Any]:
            text = f"says {identifier}"
            return {
                "message_id": identifier,
                "parent_id": parent,
                "role": role,
                "text": text,
                **more,
            }

        rows = [
            message("q1", None, "prompter"),
            message("a1", "q1", "assistant", rank=1),
            message("a2", "q1", "assistant", rank=0),
            message("q2", "a2", "prompter"),
            message("gone", "a2", "prompter", deleted=True),
            message("lonely", None, "prompter"),
            {"message_id": "x"},
        ]
        report = FormatReport()
        (conversation,) = read_dataset(
            "oasst", [write(tmp_path, rows)], source="set", on_bad_row="skip", report=report
        )
        assert [one.content for one in conversation.messages] == ["says q1", "says a2"]
        assert {(one.row, one.kind) for one in report.bad} == {
            (6, "roles_out_of_order"),
            (7, "wrong_columns"),
        }

    def test_every_configured_reader_exists(self) -> None:
        assert set(READERS) == set(ReaderName.__args__)  # type: ignore[attr-defined]


UNORDERED = sharegpt(("human", "Hi"), ("observation", "{}"), ("gpt", "x"))


class TestBadRows:
    @pytest.mark.parametrize(
        ("kind", "row"),
        [
            ("wrong_columns", {"messages": []}),
            ("wrong_columns", ["a list"]),
            ("wrong_columns", {"conversations": [{"who": "human"}]}),
            ("wrong_columns", {"conversations": 5}),
            ("roles_out_of_order", UNORDERED),
            ("roles_out_of_order", sharegpt(("gpt", "Hello"))),
            ("roles_out_of_order", sharegpt(("human", "Hi"), ("gpt", "Hello"), ("human", "?"))),
            (
                "roles_out_of_order",
                sharegpt(("human", "Hi"), ("function_call", CALL), ("gpt", "x")),
            ),
            ("roles_out_of_order", sharegpt(("robot", "Hi"))),
            ("unlisted_tool", sharegpt(("human", "Hi"), ("function_call", CALL), tools=[])),
            (
                "repeated_tool",
                sharegpt(("human", "Hi"), ("gpt", "Hello"), tools=[WEATHER, WEATHER]),
            ),
            ("broken_arguments", sharegpt(("human", "Hi"), ("function_call", "{name: oops}"))),
            (
                "broken_arguments",
                sharegpt(
                    ("human", "Hi"), ("function_call", CALL.replace('{"city": "Paris"}', "[1]"))
                ),
            ),
            ("empty", sharegpt(("human", "Hi"), ("gpt", "  "))),
            ("empty", {"conversations": []}),
            ("over_long", sharegpt(("human", "Hi" * 200_000), ("gpt", "x"))),
            ("not_json", {**GOOD, "tools": "[{"}),
        ],
    )
    def test_each_kind_is_classed_and_skipped(self, tmp_path: Path, kind: str, row: Any) -> None:
        report = FormatReport()
        path = write(tmp_path, [GOOD, row, GOOD])
        kept = list(
            read_dataset("sharegpt", [path], source="set", on_bad_row="skip", report=report)
        )
        assert [(one.kind, one.file, one.row) for one in report.bad] == [(kind, "rows.json", 2)]
        assert (report.rows, report.converted, len(kept)) == (3, 2, 2)
        assert [one.id for one in kept] == ["set-1", "set-3"]
        assert report.before == report.after
        assert report.as_dict()["bad_by_kind"] == {kind: 1}

    def test_by_default_the_first_one_stops_with_file_row_and_remedy(self, tmp_path: Path) -> None:
        path = write(tmp_path, [GOOD, UNORDERED])
        with pytest.raises(
            DataError, match=rf"{path}, row 2: roles_out_of_order.*on_bad_row: skip"
        ):
            list(read_dataset("sharegpt", [path], source="set", on_bad_row="error"))

    def test_arguments_that_break_the_schema_are_a_warning(self, tmp_path: Path) -> None:
        wrong = sharegpt(("human", "Hi"), ("function_call", CALL.replace('"Paris"', "7")))
        odd = {**WEATHER, "parameters": {"type": "object", "properties": {"city": {"type": "odd"}}}}
        unknown = sharegpt(("human", "Hi"), ("function_call", CALL), tools=[odd])
        report = FormatReport()
        path = write(tmp_path, [wrong, unknown])
        kept = list(
            read_dataset("sharegpt", [path], source="set", on_bad_row="error", report=report)
        )
        assert len(kept) == 2
        assert [(one.kind, one.row) for one in report.warnings] == [
            ("schema_mismatch", 1),
            ("invalid_schema", 2),
        ]

    def test_a_conversion_that_loses_a_call_is_noticed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import dataclasses

        from matinee.readers.base import Counts

        miscounting = dataclasses.replace(READERS["sharegpt"], count=lambda row: Counts(4, 2, 1))
        monkeypatch.setitem(READERS, "sharegpt", miscounting)
        with pytest.raises(DataError, match="lost_content"):
            list(
                read_dataset(
                    "sharegpt", [write(tmp_path, [GOOD])], source="set", on_bad_row="error"
                )
            )

    def test_a_set_without_any_usable_row_is_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path, [UNORDERED])
        with pytest.raises(DataError, match="no usable row"):
            list(read_dataset("sharegpt", [path], source="set", on_bad_row="skip"))


class TestFiles:
    def test_json_lines_and_parquet_say_the_same_as_json(self, tmp_path: Path) -> None:
        import pyarrow
        import pyarrow.parquet

        rows = [GOOD, sharegpt(("human", "你好"), ("gpt", "你好！"))]
        lines = tmp_path / "rows.jsonl"
        text = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        lines.write_text(text, encoding="utf-8")
        table = tmp_path / "rows.parquet"
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), table)
        expected, *others = (
            list(read_dataset("sharegpt", [path], source="set", on_bad_row="error"))
            for path in (write(tmp_path, rows), lines, table)
        )
        assert len(expected) == 2
        assert others == [expected, expected]

    def test_a_broken_line_is_one_bad_row(self, tmp_path: Path) -> None:
        path = tmp_path / "rows.jsonl"
        path.write_text(f"{json.dumps(GOOD)}\n{{broken\n{json.dumps(GOOD)}\n")
        report = FormatReport()
        rows = read_dataset("sharegpt", [path], source="set", on_bad_row="skip", report=report)
        assert len(list(rows)) == 2
        assert [(one.kind, one.row) for one in report.bad] == [("not_json", 2)]

    def test_a_broken_array_ends_with_the_row_where_it_broke(self, tmp_path: Path) -> None:
        path = tmp_path / "rows.json"
        path.write_text(f"[{json.dumps(GOOD)}, {json.dumps(GOOD)[:-20]}")
        with pytest.raises(DataError, match=r"rows\.json, row 2: not JSON"):
            list(read_dataset("sharegpt", [path], source="set", on_bad_row="skip"))

    def test_arrays_are_decoded_piece_by_piece(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from matinee.readers import rows

        monkeypatch.setattr(rows, "BLOCK_CHARACTERS", 7)
        values = [{"a": "x" * 20}, 12345678, [], "é漢", None]
        path = tmp_path / "rows.json"
        path.write_bytes(b"\xef\xbb\xbf \n" + json.dumps(values, indent=3).encode())
        found = [(row.number, row.value) for row in rows.read_rows(path)]
        assert found == list(enumerate(values, start=1))

    def test_an_empty_array_and_other_encodings(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="files are empty"):
            list(read_dataset("alpaca", [write(tmp_path, [])], source="set", on_bad_row="error"))
        path = tmp_path / "gbk.jsonl"
        path.write_bytes('{"instruction": "你好"}'.encode("gbk"))
        with pytest.raises(DataError, match="not UTF-8"):
            list(read_dataset("alpaca", [path], source="set", on_bad_row="skip"))

    def test_the_data_files_of_a_folder_are_found_in_order(self, tmp_path: Path) -> None:
        for name in ("b.json", "a.parquet", "run.json", "LICENSE"):
            (tmp_path / name).write_text("[]")
        assert [path.name for path in data_files(tmp_path)] == ["a.parquet", "b.json"]


def test_languages_are_told_apart() -> None:
    assert language_of("What is the weather in 北京?") == "en"
    assert language_of("帮我查一下 Paris 的天气") == "zh"
    assert language_of("Какая погода?") == "other"
    assert language_of("123") == "other"


@pytest.mark.parametrize(
    ("name", "reader", "rows", "bad"),
    [
        ("glaive_toolcall_en_demo", "sharegpt", 300, []),
        ("glaive_toolcall_zh_demo", "sharegpt", 300, [198, 294]),
        ("alpaca_en_demo", "alpaca", 999, []),
        ("alpaca_zh_demo", "alpaca", 1000, []),
    ],
)
def test_real_rows_convert_or_are_named(name: str, reader: str, rows: int, bad: list[int]) -> None:
    path = PUBLIC / f"{name}.json"
    if not path.exists():
        pytest.skip(f"{path.name} of LLaMA-Factory is not on this machine")
    report = FormatReport()
    kept = list(read_dataset(reader, [path], source=name, on_bad_row="skip", report=report))
    assert (report.rows, len(kept)) == (rows, rows - len(bad))
    assert [one.row for one in report.bad] == bad
    assert report.before == report.after
    stored = [Conversation.from_row(conversation.to_row()) for conversation in kept]
    assert stored == kept
