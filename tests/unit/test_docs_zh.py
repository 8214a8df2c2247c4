"""The Chinese pages say what the English ones say, as far as a machine can tell.

A translated page has the English page's sections, code blocks (but for their comments) and names in
code. Whoever changes an English page is told here what its Chinese page lacks.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from matinee.config import Configuration

DOCS = Path(__file__).resolve().parents[2] / "docs"
CHINESE = DOCS / "zh"
PAGES = sorted(CHINESE.glob("*.md"))
WITHOUT_ENGLISH = {"first-steps.md"}
TRANSLATED = ["scenarios.md", "data.md", "serving.md", "cluster.md"]
# Sections that the Chinese page sums up: their names in code may be absent.
SUMMED_UP = {"Change log of the gold data"}

FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"(^|\s)#.*$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", FENCE.sub("", text(page)), re.MULTILINE)


def sections(page: Path) -> dict[str, str]:
    """Texts of the second-level sections, without their code blocks, by heading."""
    parts = re.split(r"^## (.+)$", FENCE.sub("", text(page)), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def blocks(page: Path) -> list[tuple[str, list[str]]]:
    """Language and lines of each code block, without comments."""
    found = [(language, COMMENT.sub("", code)) for language, code in FENCE.findall(text(page))]
    return [
        (name, [line.strip() for line in code.splitlines() if line.strip()]) for name, code in found
    ]


def names(prose: str) -> set[str]:
    return {" ".join(name.split()) for name in re.findall(r"`([^`]+)`", prose)}


def figures(prose: str) -> list[str]:
    """Cells of tables that hold a number and nothing else."""
    rows = [line for line in prose.splitlines() if line.startswith("|")]
    return [
        cell for row in rows for cell in row.split("|") if re.fullmatch(r"[ *\d.%]*\d[ *%]*", cell)
    ]


def anchor(heading: str) -> str:
    """GitHub's: small letters, no punctuation, hyphens for spaces."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_begins_with_the_way_to_the_english_one(page: Path) -> None:
    english = "../../README.md" if page.name in WITHOUT_ENGLISH else f"../{page.name}"
    assert english in LINK.findall(text(page).splitlines()[0])


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_translated_page_has_the_same_sections_and_code(name: str) -> None:
    assert len(sections(CHINESE / name)) == len(sections(DOCS / name))
    assert blocks(CHINESE / name) == blocks(DOCS / name)


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_translated_page_names_all_that_the_english_one_names(name: str) -> None:
    english = sections(DOCS / name).items()
    said = "".join(prose for part, prose in english if part not in SUMMED_UP)
    missing = names(said) - names("".join(sections(CHINESE / name).values()))
    assert not missing, f"docs/zh/{name} lacks {sorted(missing)}"


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_translated_table_has_the_same_figures(name: str) -> None:
    pairs = zip(sections(DOCS / name).items(), sections(CHINESE / name).values(), strict=True)
    for (heading, english), chinese in pairs:
        if heading not in SUMMED_UP:
            assert figures(chinese) == figures(english), heading


@pytest.mark.parametrize(
    "page", [*PAGES, DOCS.parent / "README.zh-CN.md"], ids=lambda page: page.name
)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for link in LINK.findall(text(page)):
        if link.startswith(("https:", "http:")):
            continue
        file, _, heading = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        if heading:
            assert heading in map(anchor, headings(target)), link


def test_the_overview_names_keys_that_there_are() -> None:
    reference = sections(DOCS / "configuration.md")
    named = re.findall(r"^\| `([^`]+)` \|", text(CHINESE / "configuration.md"), re.MULTILINE)
    assert len(named) > 20
    for key in named:
        table, _, last = key.rpartition(".")
        assert f"\n| `{last}` |" in reference[f"`{table}`" if table else "Top level"], key


def test_the_overview_has_every_top_level_key_and_an_example_that_is_valid() -> None:
    page = text(CHINESE / "configuration.md")
    assert set(Configuration.model_fields) <= names(page)
    ((_, example),) = FENCE.findall(page)
    configuration = Configuration.model_validate(yaml.safe_load(example))
    assert configuration.report.language == "zh"
