"""Long-term memory: what is found again, what may be used again, and what is really gone."""

from __future__ import annotations

import contextlib
import datetime
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import NOW, QUESTION, TODAY, Outputs, Tools, calls
from hypothesis import given
from hypothesis import strategies as st

from matinee.apps.agent.driving import serve
from matinee.apps.agent.events import Answered, Event, Kept, MemoryEntry, MemoryHit, Task
from matinee.apps.agent.loop import Agent
from matinee.apps.agent.memory import LongTermMemory, age_in_words
from matinee.apps.agent.reuse import named_periods, reuse_rules, without_dates
from matinee.runtime.errors import UserError

DAY = datetime.timedelta(days=1)


def entry(question: str, *sources: str, asked_on: datetime.date = TODAY) -> MemoryEntry:
    return MemoryEntry(1, question, "答案", sources, NOW, asked_on)


def keep(memory: LongTermMemory, user: str, question: str, answer: str) -> MemoryEntry:
    return memory.keep(asked(question, user), answer, ("tool",))


def asked(question: str, user: str = "anna") -> Task:
    return Task(question, user, today=TODAY, now=NOW)


# --- users ---


def test_nothing_of_one_user_reaches_another(tmp_path: Path) -> None:
    memory = LongTermMemory(tmp_path)
    keep(memory, "anna", "我的车什么时候年检", "五月")
    assert memory.recall(asked("我的车什么时候年检", "bert")) is None
    assert memory.entries("bert") == ()
    assert not memory.forget("bert", 1)
    assert memory.forget_all("bert") == 0
    assert len(memory.entries("anna")) == 1


@given(st.text(max_size=20), st.text(max_size=20))
def test_users_of_any_name_have_their_own_file(one: str, other: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        memory = LongTermMemory(Path(folder))
        keep(memory, one, "我的秘密是什么", "没有")
        assert all(path.parent == Path(folder) for path in Path(folder).rglob("*"))
        assert (len(memory.entries(other)) == 1) == (one == other)


def test_what_an_earlier_version_indexed_does_not_outlive_what_is_forgotten(tmp_path: Path) -> None:
    memory = LongTermMemory(tmp_path)
    secret = keep(memory, "anna", "保险箱密码是什么", "乌龟四十二")
    with contextlib.closing(sqlite3.connect(next(tmp_path.iterdir()))) as database, database:
        database.execute("CREATE VIRTUAL TABLE found USING fts5(question, answer)")
        database.execute("INSERT INTO found VALUES ('保险箱密码是什么', '乌龟四十二')")
    assert memory.forget("anna", secret.id)
    assert "乌龟".encode() not in _bytes(tmp_path)


# --- forgetting ---


def test_what_is_forgotten_stands_in_no_file_any_more(tmp_path: Path) -> None:
    memory = LongTermMemory(tmp_path)
    secret = keep(memory, "anna", "保险箱密码是什么", "乌龟四十二")
    for number in range(50):
        keep(memory, "anna", f"第{number}个问题", "答案")
    assert "乌龟四十二".encode() in _bytes(tmp_path)
    assert memory.forget("anna", secret.id)
    assert "乌龟".encode() not in _bytes(tmp_path)
    assert "保险箱".encode() not in _bytes(tmp_path)
    assert len(memory.entries("anna")) == 50


def test_forgetting_all_leaves_no_file_of_the_user(tmp_path: Path) -> None:
    memory = LongTermMemory(tmp_path)
    for number in range(3):
        keep(memory, "anna", f"第{number}个问题", "答案")
    keep(memory, "bert", "另一个问题", "答案")
    assert memory.forget_all("anna") == 3
    assert len(list(tmp_path.iterdir())) == 1
    assert len(memory.entries("bert")) == 1


def test_numbers_of_forgotten_entries_are_not_used_again(tmp_path: Path) -> None:
    memory = LongTermMemory(tmp_path)
    first = keep(memory, "anna", "问题一", "答案")
    memory.forget("anna", first.id)
    assert keep(memory, "anna", "问题二", "答案").id != first.id


def test_a_file_that_is_no_memory_is_named(tmp_path: Path) -> None:
    memory = LongTermMemory(tmp_path)
    keep(memory, "anna", "问题", "答案")
    next(tmp_path.glob("*.sqlite")).write_bytes(b"not a database at all" * 100)
    with pytest.raises(UserError, match="cannot be used"):
        memory.entries("anna")


def test_two_windows_may_forget_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = LongTermMemory(tmp_path)
    keep(memory, "anna", "问题", "答案")
    opened = memory._open

    @contextlib.contextmanager
    def opened_beside_another(user: str) -> Iterator[sqlite3.Connection]:
        with opened(user) as database:
            yield database
        next(tmp_path.glob("*.sqlite")).unlink()

    monkeypatch.setattr(memory, "_open", opened_beside_another)
    assert memory.forget_all("anna") == 1


def test_a_file_that_cannot_be_written_anew_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if sql == "VACUUM":
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(sql, *values)

    memory = LongTermMemory(tmp_path)
    kept = keep(memory, "anna", "问题", "答案")
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, timeout: connect(path, factory=Full))
    with pytest.raises(UserError, match="disk is full"):
        memory.forget("anna", kept.id)


def _bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


# --- may it be used again? ---


@pytest.mark.parametrize(
    ("question", "sources", "rule", "after", "usable"),
    [
        ("苏州2023年5月1日的天气", (), "past", 400 * DAY, True),
        ("去年苏州的最高股价", (), "past", 30 * DAY, True),
        ("昨天苏州的天气", (), "past", 3 * DAY, True),
        ("今天苏州的天气", (), "now", 0 * DAY, False),
        ("苏州的天气", (), "live", 0 * DAY, False),
        ("贵州茅台的股价", (), "live", DAY, False),
        ("苏州空气好吗", ("get_environment_air_pm",), "live", DAY, False),
        ("2020年上牌的车下次年检是哪天", (), "counted_from_today", DAY / 2, True),
        ("2020年上牌的车下次年检是哪天", (), "counted_from_today", 2 * DAY, False),
        ("2020年5月上牌的车年检日期", ("chejian_query",), "counted_from_today", 2 * DAY, False),
        ("zhihu.com的备案号", ("icp_query",), "register", 29 * DAY, True),
        ("zhihu.com的备案号", ("icp_query",), "register", 31 * DAY, False),
        ("怎么办护照", (), "other", 89 * DAY, True),
        ("怎么办护照", (), "other", 91 * DAY, False),
        ("明年春节是哪天", (), "other", 1 * DAY, True),
        ("2024年的公积金利率", (), "other", 1 * DAY, True),
    ],
)
def test_how_long_an_answer_may_be_used(
    question: str, sources: tuple[str, ...], rule: str, after: datetime.timedelta, usable: bool
) -> None:
    judged = reuse_rules().judge(entry(question, *sources), NOW + after)
    assert (judged.rule, judged.usable) == (rule, usable)
    assert judged.age == after
    assert judged.reason


@pytest.mark.parametrize(
    ("asked", "again"),
    [
        ("成都2023年6月3日天气怎么样？", "请问2023年6月3日成都的天气如何"),
        ("成都2023年6月3日天气", "帮我查一下成都二〇二三年六月三号的天气，谢谢"),
        ("成都2023-06-03天气", "成都2023年6月3日天气"),
        ("昨天成都多少度", "成都昨天多少度？"),
        ("5 + 3是多少？", "5+3，多少"),
        ("１.５万元换美元", "1.5万元，换美元。"),
        ("“C++”是什么？", "C++是什么"),
        ("查zhihu.com的备案号。", "zhihu.com的备案号"),
        ("空气质量 - 成都", "成都：空气质量"),
    ],
)
def test_other_words_for_the_same_question(asked: str, again: str) -> None:
    assert reuse_rules().meaning(asked, TODAY) == reuse_rules().meaning(again, TODAY)


@pytest.mark.parametrize(
    ("asked", "again"),
    [
        ("成都2023年6月3日天气", "成都2023年6月4日天气"),
        ("成都2023年6月3日天气", "成都2022年6月3日天气"),
        ("成都2023年6月3日天气", "重庆2023年6月3日天气"),
        ("成都2023年6月3日白天天气", "成都2023年6月3日夜间天气"),
        ("从北京到上海多远", "从上海到北京多远"),
        ("贷款70万20年", "贷款20万70年"),
        ("贷款70万", "贷款7万"),
        ("成都昨天下雨", "成都昨天没下雨"),
        ("查<北京>的天气", "查<上海>的天气"),
        ("查<2023年5月1日北京>的天气", "查<2023年5月1日上海>的天气"),
        ("5 - 3", "5 + 3"),
        ("-5度是几华氏度", "5度是几华氏度"),
        ("6×3", "6÷3"),
        ("100$换人民币", "100€换人民币"),
        ("C++是什么", "C#是什么"),
        ("1.5万", "15万"),
        ("第1、5题", "第15题"),
        ("贷款2 0万", "贷款20万"),
    ],
)
def test_another_question_is_not_the_same(asked: str, again: str) -> None:
    assert reuse_rules().meaning(asked, TODAY) != reuse_rules().meaning(again, TODAY)


def test_yesterday_is_another_day_tomorrow() -> None:
    asked = reuse_rules().meaning("昨天成都多少度", TODAY)
    assert asked != reuse_rules().meaning("昨天成都多少度", TODAY + DAY)
    assert asked == reuse_rules().meaning("前天成都多少度", TODAY + DAY)


def test_rules_with_an_unknown_key_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules: [{name: a, days: 1, reason: b, word: [c]}]", encoding="utf-8")
    with pytest.raises(UserError, match="word"):
        reuse_rules(path)


# --- dates ---


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2023年5月1日", "2023-05-01"),
        ("2023/5/1", "2023-05-01"),
        ("二〇二三年五月一日", "2023-05-01"),
        ("2023年2月", "2023-02-01/2023-02-28"),
        ("2023年", "2023-01-01/2023-12-31"),
        ("去年5月1日", "2023-05-01"),
        ("去年", "2023-01-01/2023-12-31"),
        ("上个月三号", "2023-12-03"),
        ("上个月", "2023-12-01/2023-12-31"),
        ("大前天", "2024-01-22"),
        ("昨晚", "2024-01-24"),
        ("1月3日", "2024-01-03"),
        ("上周三", "2024-01-17"),
        ("这周日", "2024-01-28"),
        ("下个星期天", "2024-02-04"),
        ("2023年2月30日", ""),
        ("十三月五十号", ""),
        ("没有日期", ""),
    ],
)
def test_the_days_that_a_question_names(text: str, found: str) -> None:
    assert "".join(map(str, named_periods(text, TODAY))) == found


@given(st.text(alphabet="0123456789年月日号-/.上下个周一二三十零昨今明天去前", max_size=20))
def test_no_text_breaks_the_reading_of_dates(text: str) -> None:
    without_dates(text, TODAY)


def test_what_stands_beside_the_dates_of_a_question() -> None:
    assert without_dates("昨天<北京>和二〇二三年五月1日的天气", TODAY) == "<北京>和的天气"
    assert without_dates("2023年2月30日", TODAY) == "2023年2月30日"


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (datetime.timedelta(seconds=5), "刚才"),
        (datetime.timedelta(minutes=5), "5分钟前"),
        (datetime.timedelta(hours=5), "5小时前"),
        (datetime.timedelta(days=5), "5天前"),
    ],
)
def test_an_age_in_words(age: datetime.timedelta, words: str) -> None:
    assert age_in_words(age) == words


# --- in the loop ---


def ask(
    memory: LongTermMemory, question: str, texts: list[str], *, days: int = 0, user: str = "anna"
) -> tuple[list[Event], Outputs]:
    engine = Outputs(texts)
    events: list[Event] = []
    task = Task(question, user=user, today=TODAY + days * DAY, now=NOW + days * DAY)
    play = Agent(Tools(), memory=memory).play(task)
    serve(engine, {task.key: play}, lambda key, event: events.append(event))
    return events, engine


def test_a_question_about_the_past_is_answered_from_memory_with_age_and_source(
    tmp_path: Path,
) -> None:
    memory = LongTermMemory(tmp_path)
    first, _ = ask(memory, QUESTION, [calls("good"), "晴，20度。"])
    assert any(isinstance(event, Kept) for event in first)
    events, engine = ask(memory, f"请问{QUESTION}", ["不该问我"], days=3)
    assert engine.requests == []
    answered = events[-1]
    assert isinstance(answered, Answered)
    assert answered.reused
    assert answered.usage.steps == 0
    assert "晴，20度。" in answered.text
    assert "3天前" in answered.text
    assert "good" in answered.text


def test_a_question_about_now_is_asked_again_though_it_is_found(tmp_path: Path) -> None:
    memory = LongTermMemory(tmp_path)
    ask(memory, "现在几点", [calls("good"), "九点。"])
    events, _ = ask(memory, "现在几点", [calls("good"), "十点。"])
    hit = events[0]
    assert isinstance(hit, MemoryHit)
    assert not hit.judgement.usable
    assert isinstance(events[-1], Answered)
    assert events[-1].text == "十点。"


def test_another_user_gets_no_answer_from_memory(tmp_path: Path) -> None:
    memory = LongTermMemory(tmp_path)
    ask(memory, QUESTION, [calls("good"), "晴。"])
    events, engine = ask(memory, QUESTION, ["不知道。"], user="bert")
    assert len(engine.requests) == 1
    assert not any(isinstance(event, MemoryHit) for event in events)


@pytest.mark.parametrize("texts", [[calls("bad"), "不知道。"], ["随口一说。"]])
def test_what_failed_or_rests_on_nothing_is_not_kept(tmp_path: Path, texts: list[str]) -> None:
    memory = LongTermMemory(tmp_path)
    ask(memory, QUESTION, texts)
    assert memory.entries("anna") == ()


def test_a_question_within_a_conversation_is_not_recalled(tmp_path: Path) -> None:
    from matinee.messages.conversations import Message

    memory = LongTermMemory(tmp_path)
    ask(memory, QUESTION, [calls("good"), "晴。"])
    task = Task(QUESTION, user="anna", history=(Message("user", "你好"),), today=TODAY, now=NOW)
    assert memory.recall(task) is None


def test_names_that_are_spelled_alike_do_not_share_a_memory(tmp_path: Path) -> None:
    store = LongTermMemory(tmp_path)
    store.keep(asked(QUESTION, "\ud800"), "晴", ("weather",))
    assert store.entries("\ud801") == store.entries("?") == ()
    assert len(store.entries("\ud800")) == 1
