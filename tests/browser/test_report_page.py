"""The page in a real browser: Chromium from the system, driven by Playwright."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from unit.report_fixture import Shape, make_results

from matinee.report import collect
from matinee.report.page import render_report

playwright = pytest.importorskip(
    "playwright.sync_api", reason="the browser tests need: pip install playwright"
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
pytestmark = [
    pytest.mark.extended,
    pytest.mark.skipif(
        CHROMIUM is None,
        reason="the browser tests need Chromium from the system (package chromium)",
    ),
]
# Where `npm pack axe-core` was unpacked, or an installed copy.
AXE = [
    Path(os.environ.get("MATINEE_AXE", "")),
    Path("node_modules/axe-core/axe.min.js"),
    Path("/usr/share/javascript/axe-core/axe.min.js"),
]


@dataclass
class Watched:
    """An opened page and everything that should not have happened on it."""

    page: Any
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def _write(folder: Path, shape: Shape, **options: Any) -> Path:
    path = folder / "report.html"
    page = render_report(collect(*make_results(folder, shape)), **options)
    path.write_text(page, encoding="utf-8", errors="replace")
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tmp_path_factory.mktemp("report"), Shape(cases=65, references=1))


def _open(browser: Any, path: Path, fragment: str = "", **context: Any) -> Watched:
    page = browser.new_context(**context).new_page()
    watched = Watched(page)
    note = watched.complaints.append
    page.on("console", lambda said: note(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: note(str(error)))
    page.on("request", lambda asked: note(asked.url) if asked.url.startswith("http") else None)
    page.goto(path.as_uri() + fragment)
    if context.get("java_script_enabled", True):
        page.wait_for_function("() => document.getElementById('count').textContent !== ''")
    return watched


@pytest.fixture
def opened(browser: Any, report: Path) -> Iterator[Watched]:
    watched = _open(browser, report)
    yield watched
    watched.page.context.close()
    assert watched.complaints == []


def _settled(page: Any, shown: int) -> None:
    page.wait_for_function(
        "n => document.querySelectorAll('.case:not([hidden])').length === n", arg=shown
    )


def test_it_opens_without_a_complaint_or_a_request(opened: Watched) -> None:
    assert opened.page.title() == "Eleven tools, in Chinese · report"
    assert opened.page.locator("#count").inner_text() == "65 of 65 cases"


def test_the_category_filter_leaves_its_cases(opened: Watched) -> None:
    opened.page.select_option("#category", "no_tool")
    _settled(opened.page, 5)
    assert opened.page.locator("#count").inner_text() == "5 of 65 cases"
    opened.page.click("#clear")
    _settled(opened.page, 65)


def test_the_outcome_filter_agrees_with_the_marks(opened: Watched) -> None:
    marks = opened.page.eval_on_selector_all(".case", "all => all.map(c => c.dataset.marks)")
    gained = sum(mark[0] == "0" and mark[1] == "1" for mark in marks)
    opened.page.select_option("#outcome", "gained")
    _settled(opened.page, gained)
    assert 0 < gained < 65


def test_search_finds_text_of_model_outputs(opened: Watched) -> None:
    opened.page.fill("#search", "no such words")
    _settled(opened.page, 0)
    opened.page.fill("#search", "桂花")
    opened.page.wait_for_function(
        "() => document.querySelectorAll('.case:not([hidden])').length > 5"
    )
    opened.page.fill("#search", "no_TOOL-0010")
    _settled(opened.page, 1)
    opened.page.press("#search", "Escape")
    _settled(opened.page, 65)


def test_sorting_puts_the_hardest_first(opened: Watched) -> None:
    opened.page.select_option("#sort", "hardest")
    counts = "all => all.map(c => [...c.dataset.marks].filter(m => m === '1').length)"
    opened.page.wait_for_function("() => document.querySelector('.case').dataset.marks === '00000'")
    found = opened.page.eval_on_selector_all(".case", counts)
    assert found == sorted(found)


def test_two_subjects_stand_side_by_side_with_their_differences_marked(opened: Watched) -> None:
    page = opened.page
    place = page.eval_on_selector_all(
        ".case", "all => all.findIndex(c => c.dataset.marks.startsWith('01'))"
    )
    case = page.locator(".case").nth(place)
    case.locator("summary").first.click()
    case.locator(".side:visible mark").first.wait_for()
    sides = case.locator(".side:visible").evaluate_all("all => all.map(s => s.dataset.subject)")
    assert sides == ["chat-untuned", "chat-tuned-s42"]
    page.select_option("#left", "ref-model0")
    sides = case.locator(".side:visible").evaluate_all("all => all.map(s => s.dataset.subject)")
    assert set(sides) == {"ref-model0", "chat-tuned-s42"}


def test_the_keyboard_is_enough(opened: Watched) -> None:
    page = opened.page
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.press("Escape")
    for key in ("j", "j", "j", "k", "Enter"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.closest('.case').open")
    assert page.locator(".case").nth(1).get_attribute("open") is not None
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()


def test_a_link_opens_its_case(browser: Any, report: Path) -> None:
    watched = _open(browser, report, "#case=zh/no_tool-0010&left=base-untuned")
    case = watched.page.locator("[data-key='zh/no_tool-0010']")
    case.locator(".side:visible").first.wait_for()
    assert case.evaluate("one => one.getBoundingClientRect().top < innerHeight")
    assert watched.page.input_value("#left") == "base-untuned"
    assert watched.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_switch_turns_light_and_dark(browser: Any, report: Path, scheme: str) -> None:
    page = _open(browser, report, color_scheme=scheme).page
    ground = "getComputedStyle(document.body).backgroundColor"
    first = page.evaluate(ground)
    page.click("#theme")
    second = page.evaluate(ground)
    assert first != second
    page.click("#theme")
    assert page.evaluate(ground) == first
    assert (first == "rgb(21, 22, 26)") == (scheme == "dark")


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_no_width_scrolls_sideways(browser: Any, report: Path, width: int) -> None:
    page = _open(browser, report, viewport={"width": width, "height": 800}).page
    page.locator(".case > summary").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for figure in (".hero .pair", ".groups .group", ".clock .lane"):
        box = page.locator(figure).first.bounding_box()
        assert 0 <= box["x"] < box["x"] + box["width"] <= width
    wide = page.locator("table.published").first
    hinted = "getComputedStyle(e.parentElement, '::before').content.includes('more')"
    assert wide.evaluate(f"e => {hinted}") == (width < 600)


def test_the_other_language_is_one_click_away_and_so_is_the_first(
    browser: Any, report: Path
) -> None:
    watched = _open(browser, report, "#case=zh/no_tool-0010")
    page = watched.page
    for heading, count, code in (
        ("训练前后", "65 题中的 65 题", "zh-CN"),
        ("Before and after", "65 of 65 cases", "en"),
    ):
        page.click("#switch")
        page.wait_for_function(
            "said => document.getElementById('count').textContent === said", arg=count
        )
        assert page.locator("#before_after h2").inner_text() == heading
        assert page.evaluate("document.documentElement.lang") == code
        case = page.locator("[data-key='zh/no_tool-0010']")
        assert case.get_attribute("open") is not None
    assert watched.complaints == []


def test_the_chinese_page(browser: Any, tmp_path: Path) -> None:
    path = _write(tmp_path, Shape(cases=26, language="zh"))
    watched = _open(browser, path)
    assert watched.page.locator("#count").inner_text() == "26 题中的 26 题"
    assert watched.page.evaluate("document.documentElement.lang") == "zh-CN"
    assert watched.complaints == []


def test_it_reads_without_script(browser: Any, report: Path) -> None:
    page = _open(browser, report, java_script_enabled=False).page
    case = page.locator(".case").first
    case.locator("summary").first.click()
    assert case.locator(".side").count() == 5
    assert case.locator(".side").nth(4).is_visible()
    assert page.locator("#filters").is_hidden()


@pytest.mark.parametrize("largest_inline", [10_000_000, 1_000], ids=["inline", "compressed"])
def test_hostile_model_text_does_no_harm(browser: Any, tmp_path: Path, largest_inline: int) -> None:
    shape = Shape(cases=65, hostile=True, long_line=1_000_000)
    path = _write(tmp_path, shape, largest_inline=largest_inline)
    watched = _open(browser, path, viewport={"width": 390, "height": 800})
    page = watched.page
    opened = 0
    for place in [1, *range(0, 64, 7)]:
        page.locator(".case").nth(place).locator("summary").first.click()
        page.locator(".case").nth(place).locator(".side:visible").first.wait_for()
        opened += 1
    assert opened == 11
    assert page.evaluate("window.attacked") is None
    assert page.locator("#case-list img, #case-list script, #case-list style").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert "U+202E" in page.locator("#case-list").text_content()
    assert watched.complaints == []


def test_compressed_texts_are_opened_and_searched(browser: Any, tmp_path: Path) -> None:
    watched = _open(browser, _write(tmp_path, Shape(cases=65), largest_inline=1_000))
    page = watched.page
    assert page.locator(".side").count() == 0
    page.locator(".case").nth(60).locator("summary").first.click()
    page.locator(".case").nth(60).locator(".side:visible").first.wait_for()
    key = page.locator(".case").nth(60).get_attribute("data-key")
    page.fill("#search", str(key))
    _settled(page, 1)
    page.fill("#search", '"city": "上海"')
    page.wait_for_function("() => document.querySelectorAll('.case:not([hidden])').length > 10")
    assert watched.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser: Any, tmp_path: Path, scheme: str) -> None:
    script = next((path for path in AXE if path.is_file()), None)
    if script is None:
        pytest.skip("axe-core is not installed: npm install axe-core, or set MATINEE_AXE")
    path = _write(tmp_path, Shape(cases=13, references=1))
    page = _open(browser, path, color_scheme=scheme, bypass_csp=True).page
    page.locator(".case > summary").first.click()
    page.evaluate(
        "document.querySelectorAll('details').forEach(d => { d.open ||= !d.matches('.case') })"
    )
    page.add_script_tag(path=str(script))
    found = page.evaluate("axe.run()")
    serious = [
        f"{fault['id']}: {fault['nodes'][0]['html'][:160]} {fault['nodes'][0]['failureSummary']}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_a_case_that_flipped_since_an_earlier_run_is_one_click_away(
    browser: Any, tmp_path: Path
) -> None:
    block = {
        "cases": ["single_tool-0000"],
        "categories": ["single_tool"],
        "families": ["f"],
        "subjects": {"chat-tuned-s42": "0", "base-tuned-s42": "0"},
    }
    earlier = tmp_path / "earlier.json"
    earlier.write_text(json.dumps({"title": "before", "outcomes": {"zh": block}}))
    path = _write(tmp_path, Shape(cases=26, compare_with=(str(earlier),)))
    watched = _open(browser, path)
    page = watched.page
    page.evaluate("document.querySelectorAll('.flips details').forEach(d => { d.open = true })")
    page.locator(".flips a").first.click()
    case = page.locator("[data-key='zh/single_tool-0000']")
    case.locator(".side:visible").first.wait_for()
    assert watched.complaints == []


def test_the_pictures_for_the_readme(browser: Any, tmp_path: Path, report: Path) -> None:
    place = Path(__file__).parents[2] / "scripts" / "pictures.py"
    spec = importlib.util.spec_from_file_location("pictures", place)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    sizes = {
        picture.name: struct.unpack(">II", picture.read_bytes()[16:24])
        for picture in script.take_pictures(browser, report, tmp_path)
    }
    assert sizes == {
        "report.png": (1440, 1080),
        "report-dark.png": (1440, 1080),
        "report-phone.png": (780, 1688),
    }
