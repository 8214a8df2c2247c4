"""The catalogue: size, checks of its files, and its distance from what is tested on."""

import json
import shutil
from functools import cache
from pathlib import Path

import pytest
import yaml
from rapidfuzz import fuzz

from matinee.data.leakage import find_leaks
from matinee.data.synthesis import Catalogue, SynthesisSettings, generate, load_catalogue
from matinee.evaluation.suites import load_suite
from matinee.runtime.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
RESOURCES = ROOT / "workflow" / "resources"
FOLDER = RESOURCES / "catalogue"


@cache
def catalogue() -> Catalogue:
    return load_catalogue(FOLDER)


@cache
def the_eleven() -> list[dict[str, object]]:
    tools = json.loads((RESOURCES / "tools.json").read_text(encoding="utf-8"))
    return [tool.get("function", tool) for tool in tools]


def test_size() -> None:
    tools = catalogue().tools.values()
    assert len(tools) >= 150
    assert len({tool.domain for tool in tools}) >= 25


def test_names_cannot_stand_in_a_sentence() -> None:
    for name in catalogue().tools:
        assert "_" in name or any(mark.isupper() for mark in name[1:]), name


def test_descriptions_are_all_different() -> None:
    for language in ("zh", "en"):
        texts = [tool.about[language] for tool in catalogue().tools.values()]
        assert len(set(texts)) == len(texts)


def test_no_tool_is_named_or_described_like_a_tested_one() -> None:
    for tested in the_eleven():
        for tool in catalogue().tools.values():
            assert tool.name != tested["name"]
            assert fuzz.ratio(tool.name, str(tested["name"])) < 80, (tool.name, tested["name"])
            likeness = fuzz.ratio(tool.about.zh, str(tested["description"]))
            assert likeness < 60, (tool.name, tested["name"], likeness)


def test_no_tool_has_the_parameters_of_a_tested_one() -> None:
    tested_sets = {
        frozenset(tested["parameters"]["properties"])  # type: ignore[index]
        for tested in the_eleven()
    } - {frozenset()}
    for tool in catalogue().tools.values():
        assert frozenset(tool.args) not in tested_sets, tool.name


def test_the_leakage_check_finds_nothing() -> None:
    suite = load_suite(RESOURCES / "scenarios", RESOURCES / "tools.json")
    settings = SynthesisSettings(conversations=1600, masked_share=0.0, languages={"zh": 1})
    report = find_leaks(generate(settings, FOLDER), suite)
    assert report.training_questions > 1000
    assert report.leaks == ()


def test_the_data_of_the_demo_is_clean() -> None:
    suite = load_suite(RESOURCES / "scenarios", RESOURCES / "tools.json")
    preset = yaml.safe_load((ROOT / "workflow/presets/demo.yaml").read_text(encoding="utf-8"))
    for dataset in preset["datasets"]:
        settings = SynthesisSettings.model_validate(dataset["synthesis"])
        report = find_leaks(generate(settings, FOLDER), suite)
        assert report.training_rows == settings.conversations
        assert report.leaks == ()


def broken(tmp_path: Path, name: str, old: str, new: str) -> Path:
    folder = tmp_path / "catalogue"
    shutil.copytree(FOLDER, folder)
    text = (folder / name).read_text(encoding="utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("library.yaml", "make: books", "make: boooks", "unknown value maker 'boooks'"),
        ("library.yaml", "书名 | book title", "书名", "Chinese | English"),
        ("library.yaml", "tool: book_stock", "tool: book_search", "is taken"),
        ("library.yaml", "from: book_search.book_id", "from: book_search.isbn", "Mend 'from'"),
        ("library.yaml", "{bookId}", "{book}", "book_stock: ask"),
        ("library.yaml", "make: date future", "make: date soon", "unknown period 'soon'"),
        ("library.yaml", "returns: {available", "retruns: {available", "retruns"),
        ("library.yaml", "- tool: book_search", "- tool: [", "cannot be read as YAML"),
        ("_values.yaml", "北京 | Beijing", "北京", "expected 'Chinese | English'"),
    ],
)
def test_mistakes_in_files_are_named(
    tmp_path: Path, name: str, old: str, new: str, said: str
) -> None:
    folder = broken(tmp_path, name, old, new)
    with pytest.raises(DataError) as caught:
        load_catalogue(folder)
    assert said in str(caught.value)
    assert name.removesuffix(".yaml") in str(caught.value)


def test_a_folder_without_a_catalogue_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"_values\.yaml is missing"):
        load_catalogue(tmp_path)


def test_the_talk_file_needs_both_languages(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs 'zh' and 'en'"):
        load_catalogue(broken(tmp_path, "_talk.yaml", "\nen:", "\nfr:"))
