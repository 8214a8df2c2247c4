"""Talking to a model: what happens in a turn, how it is shown, and what can be kept of it."""

from __future__ import annotations

import datetime
import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from served import AIR, ScriptedLive, assistant

from matinee.apps.agent.memory import LongTermMemory
from matinee.apps.agent.planning import Planner
from matinee.apps.chatting.conversation import Chat, ChatTurn, Manner, Speaker
from matinee.apps.chatting.markdown import chat_messages, fenced, plain
from matinee.apps.chatting.running import Tools
from matinee.apps.chatting.scenario_files import accepted, suite_archive
from matinee.apps.chatting.sessions import Asking, Desk
from matinee.apps.chatting.showing import Block, blocks
from matinee.apps.chatting.terminal import Terminal
from matinee.apps.chatting.tools import ChatTools, listed_tools
from matinee.apps.chatting.wording import Words, preferred
from matinee.engines.base import Failure, Request, TooLong
from matinee.evaluation.suites import check_suite, load_suite
from matinee.messages.conversations import ToolCall
from matinee.messages.parsing import write_calls
from matinee.runtime.errors import UserError
from matinee.runtime.places import RESOURCES

SUITE = load_suite(RESOURCES / "scenarios", RESOURCES / "tools.json")

TODAY = datetime.date(2024, 1, 25)
EN, ZH = Words("en"), Words("zh")


def speaker(script: Callable[[Request], Any] = assistant, name: str = "tiny") -> Speaker:
    return Speaker(name, ScriptedLive(script), "hermes")


def ask(conversation: Chat, question: str, manner: Manner | None = None) -> ChatTurn:
    tools = ChatTools(listed_tools(), TODAY)
    *_, turn = conversation.ask(question, tools, manner or Manner(), threading.Event())
    return turn


def kinds(turn: ChatTurn, words: Words = EN) -> list[str]:
    return [block.kind for block in blocks(turn, words, "hermes")]


def test_a_call_is_shown_with_its_arguments_and_its_result() -> None:
    turn = ask(Chat(speaker()), "上海的空气？")
    assert kinds(turn) == ["user", "words", "call", "answer", "cost"]
    _, said, call, answer, cost = blocks(turn, EN, "hermes")
    assert said.text == "我来查一下。"
    assert call.title == "Call 1: get_environment_air_pm"
    assert call.code[0] == ("arguments", '{"city": "上海"}')
    assert "PM2.5" in call.code[1][1]
    assert not call.pending
    assert answer.text == "上海的空气很好。"
    assert cost.text.startswith("outputs: 2 · calls: 1 · tokens: ")


def test_the_same_turn_in_the_other_language() -> None:
    turn = ask(Chat(speaker()), "上海的空气？")
    call = blocks(turn, ZH, "hermes")[2]
    assert call.title == "调用 1：get_environment_air_pm"
    assert [caption for caption, _ in call.code] == ["参数", "返回"]


def test_every_text_exists_in_both_languages_with_the_same_blanks() -> None:
    import re

    from matinee.apps.chatting.wording import _table

    for name, texts in _table().items():
        assert set(texts) == {"zh", "en"}, name
        blanks = [sorted(re.findall(r"{(\w+)", text)) for text in texts.values()]
        assert blanks[0] == blanks[1], name


def test_words_grow_while_the_model_writes_and_a_call_is_announced() -> None:
    tools = ChatTools(listed_tools(), TODAY)
    shown: list[list[Block]] = []
    for turn in Chat(speaker()).ask("上海的空气？", tools, Manner(), threading.Event()):
        shown.append(blocks(turn, EN, "hermes"))
    texts = [b.text for picture in shown for b in picture if b.kind == "words"]
    assert "我来查" in texts
    announced = [b for picture in shown for b in picture if b.title == EN("writing")]
    assert any("get_env" in b.code[0][1] for b in announced)
    assert not any("<tool" in text for text in texts)


def test_later_turns_know_the_earlier_ones_with_their_calls() -> None:
    engine = ScriptedLive(assistant)
    conversation = Chat(Speaker("tiny", engine, "hermes"))
    ask(conversation, "上海的空气？")
    ask(conversation, "谢谢")
    roles = [message["role"] for message in engine.requests[-1].messages]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]
    call = engine.requests[-1].messages[2]["tool_calls"][0]["function"]
    assert call == {"name": AIR.name, "arguments": {"city": "上海"}}


def test_a_stopped_answer_says_so_and_leaves_no_trace_in_later_turns() -> None:
    engine = ScriptedLive(assistant)
    engine.hold.clear()
    conversation = Chat(Speaker("tiny", engine, "hermes"))
    stop = threading.Event()
    tools = ChatTools(listed_tools(), TODAY)
    for turn in conversation.ask("上海的空气？", tools, Manner(), stop):
        if turn.words:
            stop.set()
    assert conversation.turns[0].state == "stopped"
    assert kinds(conversation.turns[0])[-1] == "problem"
    assert engine.tickets[0].cancelled
    engine.hold.set()
    ask(conversation, "你好")
    assert [m["content"] for m in engine.requests[-1].messages][1:] == ["你好"]


@pytest.mark.parametrize(
    ("event", "told"),
    [(TooLong(9000, 8191), "9000 tokens"), (Failure("The model failed."), "The model failed.")],
)
def test_what_goes_wrong_is_told_in_a_sentence(event: Any, told: str) -> None:
    turn = ask(Chat(speaker(lambda request: event)), "你好")
    assert turn.state == "failed"
    assert told in blocks(turn, EN, "hermes")[-1].text


def test_a_call_that_cannot_be_read_is_shown_as_it_was_written() -> None:
    broken = '<tool_call>\n{"name": "get_environment_air_pm", "arguments": {oops}\n</tool_call>'
    turn = ask(Chat(speaker(lambda request: broken)), "空气？", Manner(reflection=False))
    call = next(b for b in blocks(turn, EN, "hermes") if b.title == EN("unreadable"))
    assert call.code[0][1] == broken
    assert "not JSON" in call.code[1][1]


def test_a_plan_is_shown_with_the_status_of_its_steps() -> None:
    def planner(request: Request) -> str:
        asked = request.messages[-1]["content"]
        return "1. 查空气\n2. 说结果" if "步骤" in asked else "做好了。"

    turn = ask(Chat(speaker(planner)), "上海的空气？", Manner(Planner("plan")))
    plan = next(block for block in blocks(turn, EN, "hermes") if block.kind == "plan")
    assert plan.text.splitlines()[:2] == ["● 1. 查空气 (done)", "● 2. 说结果 (done)"]


def desk(tmp_path: Path, *speakers: Speaker) -> Desk:
    return Desk(
        speakers or (speaker(),),
        SUITE,
        LongTermMemory(tmp_path / "memory"),
    )


def run(at: Desk, key: str, question: str, *, remember: bool = True, compare: bool = False) -> Any:
    session = at.session(key)
    tools = at.tool_list
    for _ in at.ask(session, Asking(question, tools, remember=remember, compare=compare)):
        pass
    return session


def test_an_answer_is_remembered_for_its_visitor_and_nobody_else(tmp_path: Path) -> None:
    at = desk(tmp_path)
    question = "2023年5月1日上海的空气？"
    run(at, "anna", question)
    at.session("anna").conversations[0].turns.clear()  # memory is for opening questions
    again = run(at, "anna", question).conversations[0].turns[-1]
    assert kinds(again)[1] == "memory"
    assert blocks(again, EN, "hermes")[1].title == "Memory: the same question, just now"
    assert "memory" not in kinds(run(at, "ben", question).conversations[0].turns[-1])
    at.leave("anna")
    assert "memory" not in kinds(run(at, "anna", question).conversations[0].turns[-1])


def test_two_models_answer_the_same_question_side_by_side(tmp_path: Path) -> None:
    at = desk(tmp_path, speaker(), speaker(lambda request: "我不会。", "start"))
    session = run(at, "anna", "上海的空气？", compare=True)
    tuned, untuned = (conversation.turns[-1] for conversation in session.conversations)
    assert (tuned.answer.text, untuned.answer.text) == ("上海的空气很好。", "我不会。")
    session = run(at, "anna", "你好")
    assert [len(conversation.turns) for conversation in session.conversations] == [2, 1]


def test_a_scenario_begins_a_conversation_and_asks_turn_after_turn(tmp_path: Path) -> None:
    at = desk(tmp_path)
    scenario = next(case for case in at.suite.scenarios if len(case.turns) > 1)
    session = at.begin_again("anna", scenario.id)
    assert session.next_question == scenario.turns[0].user
    run(at, "anna", session.next_question)
    assert session.next_question == scenario.turns[1].user
    assert at.begin_again("anna").next_question == ""
    with pytest.raises(UserError, match="no scenario 'nope'"):
        at.begin_again("anna", "nope")


def test_an_injected_fault_of_the_scenario_strikes_in_the_conversation(tmp_path: Path) -> None:
    at = desk(tmp_path)
    case = next(
        case
        for case in at.suite.scenarios
        if any(f.tool == AIR.name and f.nth == 1 and f.kind == "timeout" for f in case.faults)
    )
    at.begin_again("anna", case.id)
    turn = run(at, "anna", "上海的空气？").conversations[0].turns[-1]
    call = next(block for block in blocks(turn, EN, "hermes") if block.kind == "call")
    assert call.title.endswith("refused (timeout)")


def test_what_a_scenario_accepts_is_told(tmp_path: Path) -> None:
    suite = SUITE
    text = accepted(suite.scenarios[0], EN)
    assert text.splitlines()[0].startswith("1. ")
    assert "→ " in text
    no_tool = next(case for case in suite.scenarios if case.category == "no_tool")
    assert "→ no call" in accepted(no_tool, EN)


OWN = [
    {
        "name": "find_parcel",
        "description": "查快递",
        "parameters": {
            "type": "object",
            "properties": {"number": {"type": "string"}},
            "required": ["number"],
        },
        "returns": {"city": "广州"},
    }
]


def test_a_tool_of_ones_own_answers_with_what_it_is_told_to() -> None:
    tools = ChatTools(json.dumps(OWN), TODAY)
    assert json.loads(tools.call("find_parcel", '{"number": "A1"}').content)["result"] == {
        "city": "广州"
    }
    assert tools.call("find_parcel", "{}").error == "missing_parameter"
    assert "returns" not in tools.tools[0].parameters


def test_a_tool_without_an_answer_says_so_and_edited_ones_may_not_fit() -> None:
    bare = {"name": "find_parcel", "parameters": {"type": "object", "properties": {}}}
    assert ChatTools(json.dumps([bare]), TODAY).call("find_parcel", "{}").error == "not_found"
    changed = {
        "name": "get_environment_air_pm",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}},
    }
    seen = ChatTools(json.dumps([changed]), TODAY).call(
        "get_environment_air_pm", '{"town": "上海"}'
    )
    assert seen.error == "unknown_parameter"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[oops", "not JSON"),
        ("{}", "JSON array"),
        ("[1]", "tool 1: must be an object"),
        ('[{"description": "x"}]', "tool 1: has no name"),
        ('[{"name": "f", "parameters": {"type": "string"}}]', "tool 1: Tool f: .*object"),
        (
            '[{"name": "f", "parameters": {"type": "object", "properties": {"a": 1}}}]',
            "tool 1: Tool f: ",
        ),
        (
            '[{"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "x"}}}}]',
            "tool 1: Tool f: ",
        ),
        ('[{"name": "f"}, {"name": "f"}]', "same name"),
    ],
)
def test_a_tool_list_that_no_model_can_be_given_is_refused(text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        ChatTools(text, TODAY)


def exported(turns: list[ChatTurn], tools: ChatTools, folder: Path) -> Path:
    zipfile.ZipFile(io.BytesIO(suite_archive(turns, tools))).extractall(folder)
    return folder


@pytest.mark.parametrize(
    ("questions", "category", "calls"),
    [
        (["你好"], "no_tool", [0]),
        (["上海的空气？"], "single_tool", [1]),
        (["有哪些城市？"], "chain_two", [2]),
        (["你好", "上海的空气？"], "change_of_mind", [0, 1]),
    ],
)
def test_a_conversation_becomes_a_scenario_that_the_checker_accepts(
    tmp_path: Path, questions: list[str], category: str, calls: list[int]
) -> None:
    conversation = Chat(speaker())
    turns = [ask(conversation, question) for question in questions]
    folder = exported(turns, ChatTools(listed_tools(), TODAY), tmp_path)
    assert check_suite(folder / "scenarios", folder / "tools.json") == []
    (case,) = load_suite(folder / "scenarios", folder / "tools.json").scenarios
    assert case.category == category
    assert [turn.user for turn in case.turns] == questions
    assert [len(turn.calls) for turn in case.turns] == calls


def test_a_value_that_came_from_a_result_makes_the_calls_ordered(tmp_path: Path) -> None:
    turn = ask(Chat(speaker()), "有哪些城市？")
    folder = exported([turn], ChatTools(listed_tools(), TODAY), tmp_path)
    (case,) = load_suite(folder / "scenarios", folder / "tools.json").scenarios
    assert [call.after for call in case.turns[0].calls] == [(), (0,)]


def test_refused_calls_are_no_accepted_ones_and_lists_stay_lists(tmp_path: Path) -> None:
    tool = {
        "name": "add",
        "parameters": {"type": "object", "properties": {"values": {"type": "array"}}},
        "returns": 3,
    }
    tools = ChatTools(json.dumps([tool]), TODAY)
    outputs = iter(
        [
            write_calls("hermes", [ToolCall("add", '{"wrong": 1}')]),
            write_calls("hermes", [ToolCall("add", '{"values": [1, 2]}')]),
            "3",
        ]
    )
    conversation = Chat(speaker(lambda request: next(outputs)))
    *_, turn = conversation.ask("1加2？", tools, Manner(), threading.Event())
    folder = exported([turn], tools, tmp_path)
    assert check_suite(folder / "scenarios", folder / "tools.json") == []
    (case,) = load_suite(folder / "scenarios", folder / "tools.json").scenarios
    assert [call.arguments for call in case.turns[0].calls] == [{"values": [[1, 2]]}]
    assert yaml.safe_load((folder / "fixtures.yaml").read_text(encoding="utf-8")) == [
        {"tool": "add", "returns": 3}
    ]


def test_nothing_said_is_nothing_to_keep() -> None:
    with pytest.raises(UserError, match="Nothing to export"):
        suite_archive([], ChatTools(json.dumps(OWN), TODAY))


HOSTILE = (
    "![x](http://evil.example/x.png) <img src=x onerror=alert(1)> **b** [l](javascript:1)\n# h"
)


def test_foreign_text_is_shown_and_never_formatted() -> None:
    shown = plain(HOSTILE)
    for mark in "![]()<>*#_`":
        assert f"\\{mark}" in shown or mark not in HOSTILE
    import re

    assert re.sub(r"\\(.)", r"\1", shown) == HOSTILE
    assert fenced("a ```` b").startswith("`````\n")


def test_blocks_become_messages_of_the_chat() -> None:
    turn = ask(Chat(speaker()), "上海的空气？")
    messages = chat_messages(blocks(turn, EN, "hermes"))
    assert [message["role"] for message in messages] == ["user"] + ["assistant"] * 4
    assert messages[2]["metadata"] == {"title": "Call 1: get_environment_air_pm"}


@pytest.mark.parametrize(
    ("header", "language"),
    [("zh-CN,zh;q=0.9", "zh"), ("en-US", "en"), ("de,zh", "en"), ("", "en"), ("ZH", "zh")],
)
def test_the_browser_chooses_the_first_language(header: str, language: str) -> None:
    assert preferred(header) == language


def terminal(at: Desk, lines: list[str], *, compare: bool = False) -> str:
    """Everything that the terminal writes while it reads these lines."""
    waiting: Iterator[str] = iter(lines)
    written: list[str] = []

    def read(prompt: str) -> str:
        try:
            return next(waiting)
        except StopIteration:
            raise EOFError from None

    Terminal(at, "react", "en", compare=compare, read=read, write=written.append).run()
    return "\n".join(written)


def test_the_terminal_shows_what_the_page_shows(tmp_path: Path) -> None:
    said = terminal(desk(tmp_path), ["上海的空气？", "/language zh", "你好"])
    assert "⚙ Call 1: get_environment_air_pm" in said
    assert '  arguments: {"city": "上海"}' in said
    assert "上海的空气很好。" in said
    assert "请输入问题" in said


def test_the_terminal_names_who_speaks_where_two_do(tmp_path: Path) -> None:
    at = desk(tmp_path, speaker(), speaker(lambda request: "我不会。", "start"))
    said = terminal(at, ["上海的空气？"], compare=True)
    assert "[tiny] 上海的空气很好。" in said
    assert "[start] 我不会。" in said


def test_the_terminal_loads_exports_and_explains(tmp_path: Path) -> None:
    at = desk(tmp_path)
    target = tmp_path / "kept.zip"
    lines = ["/scenario single-air-1", f"/export {target}", "/tools", "/what", "/scenario nope"]
    said = terminal(at, [*lines, "/new", "/export", "/quit", "never read"])
    assert "What the test accepts" in said
    assert target.exists()
    assert "get_province_list: " in said
    assert "There is no command /what." in said
    assert "✗ There is no scenario 'nope'" in said
    assert "✗ Nothing to export" in said


def test_ctrl_c_stops_the_answer_and_not_the_terminal(tmp_path: Path) -> None:
    engine = ScriptedLive(assistant)
    engine.hold.clear()
    at = desk(tmp_path, Speaker("tiny", engine, "hermes"))
    written: list[str] = []

    def growing(*arguments: Any, **options: Any) -> Iterator[None]:
        for _ in Desk.ask(at, *arguments, **options):
            yield
            raise KeyboardInterrupt

    at.ask = growing  # type: ignore[method-assign]
    lines = iter(["你好", "/quit"])
    Terminal(
        at, "react", "en", compare=False, read=lambda _: next(lines), write=written.append
    ).run()
    assert "✗ Stopped." in written
    engine.hold.set()


def test_marks_that_steer_a_terminal_are_shown(tmp_path: Path) -> None:
    evil = "\x1b]52;c;aGk=\x07\x1b[2J\u202e\x9b31m"
    said = terminal(desk(tmp_path, speaker(lambda request: evil)), ["你好", "/quit"])
    assert "<U+001B>]52" in said
    assert not set(said) & set("\x1b\x07\x9b\u202e")
    (message,) = chat_messages([Block("answer", evil)])
    assert "\x1b" not in message["content"]


def test_reasons_are_told_in_the_language_of_the_page() -> None:
    from matinee.apps.agent import acting, planning
    from matinee.apps.agent.reuse import reuse_rules

    phrases = [rule.reason for rule in reuse_rules().rules]
    phrases += [planning.UNREADABLE, planning.NO_PROCEDURE, acting.NO_STEPS, acting.NO_ROUNDS]
    phrases += [acting.CUT_OFF, acting.IN_CIRCLES, acting.NOTHING_SAID, f"{acting.NOT_CALLED}x"]
    for phrase in phrases:
        assert EN.reason(phrase).isascii(), phrase
        assert ZH.reason(phrase) == phrase


def test_own_tools_and_a_suite_are_taken_from_files(tmp_path: Path) -> None:
    own = tmp_path / "tools.json"
    own.write_text('[{"name": "add", "parameters": {"type": "object"}, "returns": 3}]')
    suite, listed = Tools(listed=own).cases()
    assert (suite.scenarios, json.loads(listed or "")[0]["returns"]) == ((), 3)
    assert Tools(mcp="server").cases() == (suite, None)
    assert len(Tools().cases()[0].scenarios) == len(SUITE.scenarios)


def test_a_real_service_is_called_only_where_and_what_was_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--allow"), Tools(openapi=tmp_path).connected():
        pass
