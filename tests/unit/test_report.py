"""The summary, the tables and the page, made from a synthetic results folder."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from unit.report_fixture import CATEGORIES, Shape, make_results

from matinee.config import Configuration
from matinee.config.checking import parse_configuration
from matinee.messages.documents import open_document
from matinee.report import collect, write_report, write_summary, write_tables
from matinee.report.collect import ReportData
from matinee.report.formats import format_values
from matinee.report.page import render_report
from matinee.report.published import published_variants, settings_here
from matinee.report.summary import summary
from matinee.report.views import evaluation_costs
from matinee.report.words import STRINGS, language
from matinee.runtime.errors import DataError
from matinee.runtime.records import read_json

VOLATILE = {"created", "stages", "runtime", "testing", "machine"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Configuration]:
    return make_results(
        tmp_path_factory.mktemp("run"), Shape(cases=65, references=1, decodings=True)
    )


@pytest.fixture(scope="module")
def data(made: tuple[Path, Configuration]) -> ReportData:
    return collect(*made)


@pytest.fixture(scope="module")
def page(data: ReportData) -> str:
    return render_report(data)


def _text(page: str) -> str:
    return re.sub(r"<(style|script)\b.*?</\1>", " ", page, flags=re.S)


def test_subjects_are_the_configurations_in_order(data: ReportData) -> None:
    assert [subject.id for subject in data.subjects] == [
        "chat-untuned",
        "chat-tuned-s42",
        "base-untuned",
        "base-tuned-s42",
        "ref-model0",
    ]


def test_what_is_compared(data: ReportData) -> None:
    assert [(pair.kind, pair.before[0], pair.after[0]) for pair in data.pairs] == [
        ("training", "chat-untuned", "chat-tuned-s42"),
        ("training", "base-untuned", "base-tuned-s42"),
        ("variants", "base-tuned-s42", "chat-tuned-s42"),
        ("reference", "ref-model0", "chat-tuned-s42"),
        ("reference", "ref-model0", "base-tuned-s42"),
    ]


def test_the_summary_counts_every_subject_suite_and_category(data: ReportData) -> None:
    found = summary(data)
    for subject in data.subjects:
        block = found["evaluation"][subject.id]["zh"]
        assert set(block) == {"all", "due", "quiet", *CATEGORIES}
        assert block["due"]["correct"] + block["quiet"]["correct"] == block["all"]["correct"]
        verdicts = data.verdicts(subject.id)
        assert block["all"]["correct"] == sum(verdict.success for verdict in verdicts)
        assert block["all"]["total"] == 65
        assert sum(block[name]["correct"] for name in CATEGORIES) == block["all"]["correct"]
        assert sum(block["all"]["errors"].values()) == 65 - block["all"]["correct"]


def test_the_summary_holds_the_metrics_of_every_group(data: ReportData) -> None:
    verdicts = data.verdicts("base-untuned")
    found = summary(data)["evaluation"]["base-untuned"]["zh"]
    readable = sum(verdict.error != "unparsable" for verdict in verdicts) / 65
    assert found["all"]["metrics"]["format_valid"] == pytest.approx(readable, abs=1e-6)
    right = sum(verdict.success or verdict.error == "unparsable" for verdict in verdicts) / 65
    assert found["all"]["metrics"]["lenient"] == pytest.approx(right, abs=1e-6)
    assert found["no_tool"]["metrics"]["chain_progress"] is None


def test_the_summary_holds_the_runs_with_other_decoding(data: ReportData) -> None:
    found = summary(data)["decoding"]
    assert set(found["ref-model0"]["zh"]) == {"sampled"}
    constrained = found["chat-untuned"]["zh"]["constrained"]
    # The fixture makes four of five cases right, and of four runs the first 0, 1, 2, 3 or 4.
    assert (constrained["correct"], constrained["total"]) == (52, 65)
    greedy = sum(verdict.success for verdict in data.verdicts("chat-untuned"))
    assert constrained["gained"] - constrained["lost"] == 52 - greedy
    sampled = found["chat-untuned"]["zh"]["sampled"]
    assert (sampled["cases"], sampled["repeats"]) == (65, 4)
    shares = [(1 + 2 + 3 + 4) / 20, (0 + 1 + 3 + 6) / 30, (1 + 4) / 20, 1 / 5]
    assert list(sampled["pass_hat"].values()) == pytest.approx(shares, abs=1e-6)


def test_without_other_decoding_there_is_none(tmp_path: Path) -> None:
    found = summary(collect(*make_results(tmp_path, Shape(cases=13))))
    assert found["decoding"] == {}


def test_a_format_costs_what_its_answers_differ_in(tmp_path: Path) -> None:
    data = collect(*make_results(tmp_path, Shape(cases=13, gguf=("q8_0",))))
    folder, file = format_values(data)[:2]
    assert (folder["subject"], folder["name"], folder["engine"]) == (
        "chat-tuned-s42",
        "safetensors",
        "transformers",
    )
    assert (file["subject"], file["engine"], file["bytes"]) == (
        "chat-tuned-s42.q8_0",
        "llama_cpp",
        675_713_216,
    )
    said = {
        subject: {one.case: [step.parse for step in one.steps] for one in run.transcripts}
        for subject, run in [
            *((subject, run) for (subject, _), run in data.evaluated.items()),
            *((subject.id, run) for subject, _, run in data.converted),
        ]
    }
    before, after = said[folder["subject"]], said[file["subject"]]
    assert file["changed"] == sum(before[case] != after[case] for case in before) > 0
    assert folder["changed"] is None
    assert file["correct"] - folder["correct"] == file["gained"] - file["lost"]
    assert [subject.id for subject in data.subjects] == [
        "chat-untuned",
        "chat-tuned-s42",
        "base-untuned",
        "base-tuned-s42",
    ], "the other sections are about the folders"
    page = render_report(data)
    assert "What the format costs" in page
    assert "0.676 GB" in page


def test_the_page_shows_every_measure_of_every_subject(page: str) -> None:
    section = page[page.index('<section id="measures"') :]
    section = section[: section.index("</section>")]
    shown = re.findall(r'<th scope="row">([^<]+)<', section)
    assert shown[0] == "Right with slips repaired"
    assert "Right with the format guaranteed" in shown
    assert shown[-4:] == [f"Right in each of {k} drawn runs (pass^k)" for k in (1, 2, 3, 4)]
    constrained = section[section.index("Right with the format guaranteed") :]
    values = re.findall(r'<td class="n">([^<]+)<', constrained[: constrained.index("</tr>")])
    assert values == ["80\u00a0%"] * 4 + ["–"]


def test_the_explanation_of_a_measure_stands_on_a_line_of_its_own(page: str) -> None:
    section = page[page.index('<section id="measures"') :]
    assert '<table class="measures">' in section[: section.index("</section>")]
    assert re.search(r"\.measures th small\{display:block", page)


def test_the_summary_tells_of_training_and_stages(data: ReportData) -> None:
    found = summary(data)
    assert found["training"]["chat"]["steps"] == 1200
    assert found["training"]["chat"]["seeds"]["s42"]["train_loss"] == 0.4122
    assert {"stage", "artefact", "wall_seconds"} == set(found["stages"][0])
    assert len(found["stages"]) == len(data.runs) == 30


def test_the_summary_is_the_same_but_for_times_and_machine(tmp_path: Path) -> None:
    texts = []
    for name in ("one", "two"):
        results, settings = make_results(tmp_path / name, Shape(cases=13))
        if name == "two":
            for record in results.rglob("run.json"):
                changed = read_json(record) | {"wall_seconds": 1.5, "hardware": {"cores": 64}}
                record.write_text(json.dumps(changed), encoding="utf-8")
            metrics = results / "training" / "chat" / "s42" / "metrics.json"
            metrics.write_text(
                json.dumps(read_json(metrics) | {"runtime_seconds": 1, "device": "x"})
            )
        write_summary(collect(results, settings), tmp_path / "summary.json")
        kept = {k: v for k, v in read_json(tmp_path / "summary.json").items() if k not in VOLATILE}
        texts.append(json.dumps(kept, ensure_ascii=False))
    assert texts[0] == texts[1]


def test_the_documentation_names_every_key_of_the_summary(data: ReportData) -> None:
    text = (Path(__file__).parents[2] / "docs" / "summary.md").read_text(encoding="utf-8")
    found = summary(data)
    keys = {*found, *found["comparisons"][0], *found["outcomes"]["zh"]}
    keys |= set(found["evaluation"]["chat-untuned"]["zh"]["all"])
    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []


def test_tables_hold_the_same_numbers_in_both_formats(data: ReportData, tmp_path: Path) -> None:
    write_tables(data, tmp_path / "tables")
    for name in ("cases", "accuracy", "metrics", "comparisons", "training_log", "stages"):
        table = pd.read_parquet(tmp_path / "tables" / f"{name}.parquet")
        text = pd.read_csv(tmp_path / "tables" / f"{name}.csv")
        assert list(table.columns) == list(text.columns)
        assert len(table) == len(text) > 0
    cases = pd.read_parquet(tmp_path / "tables" / "cases.parquet")
    assert len(cases) == 5 * 65
    assert cases.groupby("subject")["success"].sum()["chat-untuned"] == sum(
        verdict.success for verdict in data.verdicts("chat-untuned")
    )


def test_the_page_has_its_sections_in_order(page: str) -> None:
    found = re.findall(r'<section id="(\w+)"', page)
    assert found == [
        *("answer", "before_after", "errors", "measures", "cost", "curves", "data"),
        *("leakage", "published", "merge", "cases", "made"),
    ]


def test_the_page_asks_nothing_of_any_network(page: str) -> None:
    assert re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', _text(page)) == []
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_every_case_is_readable_without_script(data: ReportData, page: str) -> None:
    bodies = re.sub(r"<script\b.*?</script>", "", page, flags=re.S)
    for scenario in data.suites["zh"].scenarios:
        assert f'id="case=zh/{scenario.id}"' in bodies
    assert bodies.count('class="side"') == 5 * 65
    assert bodies.count("&lt;tool_call&gt;") > 65


def test_figures_have_text_alternatives(page: str) -> None:
    drawings = re.findall(r"<svg\b.*?</svg>", page, flags=re.S)
    assert len(drawings) == 2 * 3  # per variant three curves
    assert all("<title" in drawing and "<desc" in drawing for drawing in drawings)
    told = re.findall(r'class="(?:pair|group|hist)[^"]*" role="img" aria-label="([^"]+)"', page)
    # Per variant two bars in the answer, two and thirteen categories below, and row lengths.
    assert len(told) == 2 * (2 + 2 + 13 + 1)


def test_published_figures_that_cannot_match_say_why_and_are_folded_away(page: str) -> None:
    section = page[page.index('<section id="published"') :]
    shown, _, folded = section.partition("<details")
    assert "set differently" not in shown
    assert "does not repeat the published experiment" in shown
    assert "cannot match, because" in folded
    assert "Start model is another here (smollm2_135m_instruct)" in folded
    assert "18,153,472 (computed)" in folded


def test_both_languages_are_complete() -> None:
    table = yaml.safe_load(STRINGS.read_text(encoding="utf-8"))

    def leaves(value: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, str]]]:
        if set(value) & {"en", "zh"}:
            return [(path, value)]
        return [leaf for key, inner in value.items() for leaf in leaves(inner, f"{path}.{key}")]

    for path, leaf in leaves(table):
        assert set(leaf) == {"en", "zh"}, path
        names = [set(re.findall(r"{(\w+)}", text)) for text in (leaf["en"], leaf["zh"])]
        assert names[0] == names[1], path


def test_the_chinese_page_has_no_english_headings(tmp_path: Path) -> None:
    page = render_report(collect(*make_results(tmp_path, Shape(cases=13, language="zh"))))
    assert '<html lang="zh-CN">' in page
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert all(re.search(r"[\u4e00-\u9fff]", heading) for heading in headings)
    assert language("zh")("before") == "训练前"


def test_model_text_never_becomes_markup(tmp_path: Path) -> None:
    shape = Shape(cases=40, hostile=True)
    page = render_report(collect(*make_results(tmp_path, shape)))
    assert "<script>window" not in page
    assert "<img" not in page
    assert page.count("</style>") == 1
    assert not re.search("[\x00-\x08\x0b\x0e-\x1f\u202a-\u202e\u2066-\u2069\u200b\ufeff]", page)
    assert '<span class="hid">U+202E</span>' in page


def test_a_line_of_a_million_characters_is_cut_and_says_so(tmp_path: Path) -> None:
    page = render_report(collect(*make_results(tmp_path, Shape(cases=13, long_line=1_000_000))))
    assert len(page) < 1_000_000
    assert "990000 characters left out here" in page


def test_large_runs_keep_their_texts_in_compressed_blocks(data: ReportData) -> None:
    page = render_report(data, largest_inline=10_000)
    assert page.count('type="application/gzip"') == 2
    assert 'class="side"' not in page
    assert len(page) < len(render_report(data)) / 2


def test_a_page_of_five_subjects_and_three_hundred_cases_is_small(tmp_path: Path) -> None:
    results, settings = make_results(tmp_path, Shape(cases=300, references=1))
    write_report(collect(results, settings), tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 3_000_000


def test_several_seeds_are_shown_with_their_spread(tmp_path: Path) -> None:
    found = collect(*make_results(tmp_path, Shape(cases=39, seeds=(1, 2, 3))))
    assert "3 seeds, spread" in render_report(found)


def test_a_section_without_content_is_left_out(tmp_path: Path) -> None:
    results, settings = make_results(tmp_path, Shape(cases=13))
    for name in ("profile.json", "leakage.json", "merge.json", "metrics.json", "*run.json"):
        for path in results.rglob(name):
            path.unlink()
    page = render_report(collect(results, settings))
    assert re.findall(r'<section id="(\w+)"', page) == [
        *("answer", "before_after", "errors", "measures", "cost", "published", "cases")
    ]
    assert re.findall(r'<li><a href="#(\w+)"', page) == re.findall(r'<section id="(\w+)"', page)
    assert "Nothing was trained in this run" in page


def test_variants_of_one_start_share_its_run_and_a_family_of_claims(tmp_path: Path) -> None:
    data = collect(*make_results(tmp_path, Shape(cases=65, alike=True)))
    assert [one.id for one in data.subjects] == [
        *("chat-untuned", "chat-tuned-s42", "base-tuned-s42"),
    ]
    claims = [one for one in data.comparison.groups("due", "quiet") if one.pair.kind == "training"]
    assert [one.pair.before for one in claims] == [("chat-untuned",)] * 4
    smallest = min(claims, key=lambda one: one.difference.p)
    assert smallest.p_holm == pytest.approx(min(1.0, 4 * smallest.difference.p))
    assert "chat / base, untuned" in render_report(data)


def test_missing_verdicts_are_named(tmp_path: Path) -> None:
    results, settings = make_results(tmp_path, Shape(cases=13))
    (results / "evaluation" / "base-untuned" / "zh" / "verdicts.jsonl").unlink()
    with pytest.raises(DataError, match=r"base-untuned/zh/verdicts\.jsonl: cannot be read"):
        collect(results, settings)


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    results, settings = make_results(tmp_path, Shape(cases=13))
    path = results / "evaluation" / "chat-untuned" / "zh" / "transcripts.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write('{"case": 3}\n')
    with pytest.raises(DataError, match=r"transcripts\.jsonl:14: damaged \(case: "):
        collect(results, settings)


def test_the_data_profile_shows_bars_and_the_mask(page: str) -> None:
    assert 'title="256 to 511 tokens: 1,290 rows"' in page
    assert "<i>&lt;user&gt;</i><i>订一桌</i><b>好的&lt;/s&gt;</b><b>&lt;script&gt;</b>" in page


def test_the_data_section_tells_what_became_of_rows_and_keys(page: str) -> None:
    for title, label, count in (
        ("Rows left out, by reason", "empty", "2"),
        ("Keys left out on purpose", "row.id", "1,998"),
        ("Rows with", "reasoning", "17"),
    ):
        group = page[page.index(f'<p class="title">{title}</p>') :]
        assert f"<dt>{label}</dt><dd>{count}</dd>" in group[: group.index("</dl>")]


def test_the_shipped_configuration_states_the_published_settings(data: ReportData) -> None:
    root = Path(__file__).parents[2]
    values = open_document(root / "config.yaml").value
    shipped = replace(data, configuration=parse_configuration(values, root), trainings=(), runs=())
    for variant in shipped.configuration.variants:
        published = published_variants()[variant.id]["settings"]
        here = settings_here(shipped, variant, language("en"))
        other = {key for key in here if str(published[key]) != here[key]}
        # Hardware and precision are those of a run, and there was none.
        assert other == {"hardware", "precision"}


def test_records_named_after_a_file_count_as_stages(tmp_path: Path) -> None:
    results, settings = make_results(tmp_path, Shape(cases=13))
    run = collect(results, settings).run_of("data/chat/leakage")
    assert run is not None
    assert run.stage == "check_leakage"


class TestCost:
    def test_testing_takes_the_time_of_all_its_parts(self, data: ReportData) -> None:
        table = evaluation_costs(data, language("en"))
        assert table.columns[0] == "time"
        assert [cells[0] for _, cells in table.rows] == ["3\u00a0min 15\u00a0s"] * 5

    def test_money_needs_a_price(self, page: str, tmp_path: Path) -> None:
        assert ">Price</th>" not in page
        shape = Shape(cases=13, price_per_hour=2.5)
        priced = render_report(collect(*make_results(tmp_path, shape)))
        # 412.6 s of training at 2.50 an hour.
        assert "0.29\u00a0USD" in priced
        assert "At 2.50 USD an hour, that is" in priced


class TestEarlierRuns:
    def test_what_changed_since_is_shown_with_the_cases_that_flipped(self, tmp_path: Path) -> None:
        results, settings = make_results(tmp_path, Shape(cases=65))
        write_summary(collect(results, settings), tmp_path / "old.json")
        old = read_json(tmp_path / "old.json")
        marks = old["outcomes"]["zh"]["subjects"]["chat-tuned-s42"]
        old["outcomes"]["zh"]["subjects"] = {"chat-tuned-s42": "0" * 65, "gone": marks}
        (tmp_path / "old.json").write_text(json.dumps(old), encoding="utf-8")
        later = settings.model_copy(
            update={
                "report": settings.report.model_copy(
                    update={"compare_with": [tmp_path / "old.json"]}
                )
            }
        )
        data = collect(results, later)
        page = render_report(data)
        section = page[page.index('<section id="earlier"') :]
        turned = re.findall(r"(\d+) turned right", section)
        assert sum(map(int, turned)) == marks.count("1")
        first = old["outcomes"]["zh"]["cases"][marks.index("1")]
        assert f'href="#case=zh/{first}"' in section
        assert "gone is only in" in section
        assert "base, untuned" not in section[: section.index("</table>")]

    def test_a_run_that_shares_nothing_says_so(self, tmp_path: Path) -> None:
        block = {"cases": ["x"], "categories": ["a"], "families": ["f"], "subjects": {"o": "1"}}
        old = tmp_path / "old.json"
        old.write_text(json.dumps({"outcomes": {"zh": block}}), encoding="utf-8")
        shape = Shape(cases=13, compare_with=(str(old),))
        page = render_report(collect(*make_results(tmp_path, shape)))
        assert "The two runs share no subject with the same cases." in page
