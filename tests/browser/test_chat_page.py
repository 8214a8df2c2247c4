"""The chat page in a real browser, over a scripted model and over a tiny one."""

from __future__ import annotations

import re
import shutil
import socket
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from unit.served import ScriptedLive, assistant

from matinee.apps.agent.memory import LongTermMemory
from matinee.apps.chatting.conversation import Speaker
from matinee.apps.chatting.sessions import Desk
from matinee.evaluation.suites import check_suite, load_suite
from matinee.runtime.places import RESOURCES

playwright = pytest.importorskip(
    "playwright.sync_api", reason="the browser tests need: pip install playwright"
)
pytest.importorskip("gradio", reason="the chat page needs: pip install -r requirements-chat.txt")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
pytestmark = [
    pytest.mark.extended,
    pytest.mark.skipif(
        CHROMIUM is None,
        reason="the browser tests need Chromium from the system (package chromium)",
    ),
]
QUESTION = "上海今天的空气怎么样？"


@dataclass
class Watched:
    """An opened page and everything that should not have happened on it."""

    page: Any
    complaints: list[str] = field(default_factory=list)

    def ask(self, question: str) -> None:
        self.page.locator("#question textarea").fill(question)
        self.page.locator("#send").click()

    def says(self, text: str, chat: str = "tuned") -> None:
        """Waits until the chat shows the text."""
        self.page.locator(f"#{chat}").get_by_text(text).first.wait_for()

    def rest(self) -> None:
        """Waits until nothing is being written."""
        self.page.locator("#send:not([disabled])").wait_for()


SUITE = load_suite(RESOURCES / "scenarios", RESOURCES / "tools.json")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def shown(folder: Path, *speakers: Speaker) -> Iterator[str]:
    """The address of the page over these models."""
    from matinee.apps.chatting.page import build, launch_settings

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    page = build(
        Desk(
            speakers,
            SUITE,
            LongTermMemory(folder),
        )
    )
    _, address, _ = page.launch(prevent_thread_lock=True, **launch_settings("127.0.0.1", port))
    try:
        yield address
    finally:
        page.close()


@dataclass
class Models:
    """Two scripted models; the first can be made to wait."""

    tuned: ScriptedLive
    untuned: ScriptedLive
    address: str


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    tuned = ScriptedLive(assistant)
    untuned = ScriptedLive(lambda request: "<b>我不会。</b> ![](http://evil.example/x.png)")
    folder = tmp_path_factory.mktemp("memory")
    speakers = [Speaker("tuned-s1", tuned, "hermes"), Speaker("start", untuned, "hermes")]
    with shown(folder, *speakers) as address:
        yield Models(tuned, untuned, address)


def visit(browser: Any, address: str, **context: Any) -> Watched:
    options = {"locale": "en-US", "viewport": {"width": 1280, "height": 900}} | context
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(120_000)  # a busy machine must not fail a test
    watched = Watched(page)
    note = watched.complaints.append
    page.on("console", lambda said: note(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: note(str(error)))
    page.on("request", lambda asked: _note_foreign(asked.url, address, note))
    page.goto(address)
    page.locator("#title h2").wait_for()
    return watched


def _note_foreign(url: str, address: str, note: Any) -> None:
    if not url.startswith((address.rstrip("/"), "data:", "blob:")):
        note(url)


@pytest.fixture
def opened(browser: Any, models: Models) -> Iterator[Watched]:
    models.tuned.hold.set()
    watched = visit(browser, models.address)
    yield watched
    watched.page.context.close()
    assert watched.complaints == []


def test_a_question_is_answered_and_its_call_is_shown(opened: Watched) -> None:
    opened.ask(QUESTION)
    opened.says("Call 1: get_environment_air_pm")
    opened.says("上海的空气很好。")
    opened.rest()
    chat = opened.page.locator("#tuned").inner_text()
    assert '{"city": "上海"}' in chat
    assert "PM2.5" in chat
    assert "outputs: 2 · calls: 1" in chat
    assert opened.page.locator("#question textarea").input_value() == ""


def test_an_answer_is_streamed_and_can_be_stopped(opened: Watched, models: Models) -> None:
    models.tuned.hold.clear()
    opened.ask(QUESTION)
    opened.says("我来查")
    assert "我来查一下" not in opened.page.locator("#tuned").inner_text()
    assert opened.page.locator("#send").is_disabled()
    opened.page.locator("#stop").click()
    opened.says("Stopped.")
    opened.rest()
    assert models.tuned.tickets[-1].cancelled
    models.tuned.hold.set()
    opened.ask("你好")
    opened.says("你好！")


def test_the_language_can_be_switched_with_what_was_said(opened: Watched) -> None:
    assert opened.page.locator("#title h2").inner_text() == "Talk to your model"
    opened.ask(QUESTION)
    opened.says("Call 1: get_environment_air_pm")
    opened.rest()
    opened.page.get_by_text("中文", exact=True).click()
    opened.says("调用 1：get_environment_air_pm")
    assert opened.page.locator("#title h2").inner_text() == "和你的模型对话"
    assert opened.page.locator("#send").inner_text() == "发送"
    assert "与训练前的模型并排比较" in opened.page.locator("#compare").inner_text()
    opened.page.get_by_text("English", exact=True).click()
    opened.says("Call 1: get_environment_air_pm")


def test_a_chinese_browser_gets_the_chinese_page(browser: Any, models: Models) -> None:
    watched = visit(browser, models.address, locale="zh-CN")
    watched.page.locator("#title h2", has_text="和你的模型对话").wait_for()
    watched.page.context.close()


def test_two_models_answer_side_by_side(opened: Watched) -> None:
    assert not opened.page.locator("#untuned").is_visible()
    opened.page.locator("#compare input").check()
    opened.page.locator("#untuned").wait_for()
    opened.ask(QUESTION)
    opened.says("上海的空气很好。")
    opened.says("<b>我不会。</b> ![](http://evil.example/x.png)", "untuned")
    opened.rest()
    left, right = (opened.page.locator(name).bounding_box() for name in ("#tuned", "#untuned"))
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    assert opened.page.locator("#untuned b, #untuned img[src*=evil]").count() == 0


def test_a_scenario_is_loaded_by_its_id(opened: Watched) -> None:
    opened.page.locator("#scenarios button").first.click()
    field = opened.page.locator("#scenario input")
    field.fill("chain3-weather-1")
    opened.page.get_by_role("option", name="chain3-weather-1", exact=True).click()
    opened.page.locator("#accepted", has_text="get_history_weather").wait_for()
    question = opened.page.locator("#question textarea").input_value()
    assert question == load_scenarios_question("chain3-weather-1")


def load_scenarios_question(name: str) -> str:
    return next(case.turns[0].user for case in SUITE.scenarios if case.id == name)


def test_a_broken_tool_list_is_a_sentence_and_the_question_stays(opened: Watched) -> None:
    opened.page.locator("#toolbox button").first.click()
    editor = opened.page.locator("#tools .cm-content")
    editor.click()
    opened.page.keyboard.press("Control+a")
    opened.page.keyboard.type("oops")
    opened.ask(QUESTION)
    opened.page.locator("#notice", has_text="The tool list is not JSON").wait_for()
    opened.rest()
    assert opened.page.locator("#question textarea").input_value() == QUESTION
    opened.page.locator("#restore").click()
    opened.page.locator("#tools", has_text="get_province_list").wait_for()
    opened.ask(QUESTION)
    opened.says("上海的空气很好。")


def test_the_conversation_is_saved_as_a_scenario(opened: Watched, tmp_path: Path) -> None:
    opened.page.locator("#export").click()
    opened.page.locator("#notice", has_text="Nothing to export yet").wait_for()
    opened.ask(QUESTION)
    opened.rest()
    opened.says("上海的空气很好。")
    with opened.page.expect_download() as loaded:
        opened.page.locator("#export").click()
    zipfile.ZipFile(loaded.value.path()).extractall(tmp_path)
    assert check_suite(tmp_path / "scenarios", tmp_path / "tools.json") == []


def test_memory_is_shown_with_its_age(opened: Watched) -> None:
    question = "2023年5月1日上海的空气怎么样？"
    opened.ask(question)
    opened.says("kept in memory")
    opened.rest()
    opened.page.locator("#new").click()
    opened.page.locator("#tuned", has_text="Nothing said yet.").wait_for()
    opened.ask(question)
    opened.says("Memory: the same question, just now")


RIGHTMOST = """Math.max(document.documentElement.scrollWidth,
  ...[...document.querySelectorAll("body *")].filter(part => part.offsetParent)
    .map(part => Math.floor(part.getBoundingClientRect().right)))"""


@pytest.mark.parametrize("width", [360, 390])
def test_it_fits_a_phone(browser: Any, models: Models, width: int) -> None:
    models.tuned.hold.set()
    watched = visit(
        browser, models.address, viewport={"width": width, "height": 800}, locale="zh-CN"
    )
    watched.page.locator("#compare input").check()
    watched.ask(QUESTION)
    watched.says("上海的空气很好。")
    watched.rest()
    for name in ("#tuned", "#untuned", "#question", "#send", "#stop", "#language", "#export"):
        box = watched.page.locator(name).bounding_box()
        assert box["x"] >= 0, name
        assert box["x"] + box["width"] <= width, name
    watched.page.locator("#toolbox button").first.click()
    watched.page.locator("#tools .cm-content").wait_for()
    assert watched.page.evaluate(RIGHTMOST) <= width
    watched.page.context.close()


def test_a_tiny_model_is_streamed_until_it_is_stopped(browser: Any, tmp_path: Path) -> None:
    from unit.tiny import llama, tokenizer

    from matinee.engines.live import LiveTransformersEngine
    from matinee.messages.rendering import Renderer

    made = tokenizer()
    model = llama(vocabulary=len(made), seed=5)
    model.config.max_position_embeddings = 100_000
    engine = LiveTransformersEngine(model, Renderer(made, "chatml_hermes"), 2, 100_000)
    with shown(tmp_path, Speaker("random", engine, "hermes")) as address:
        watched = visit(browser, address)
        assert not watched.page.locator("#compare").is_visible()
        watched.ask("你好")
        watched.page.locator("#tuned .bot, #tuned .message.bot").first.wait_for()
        watched.page.locator("#stop").click()
        watched.rest()
        said = watched.page.locator("#tuned").inner_text()
        assert re.search(r"Stopped\.|outputs: ", said)
        watched.page.context.close()
        assert watched.complaints == []
    engine.close()
