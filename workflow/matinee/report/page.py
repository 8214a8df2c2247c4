"""`report.html`: one file that needs nothing else, made from templates that escape everything."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from matinee.config import Configuration
from matinee.evaluation.comparison import Pair
from matinee.report import (
    cases,
    costs,
    figures,
    graph,
    hero,
    language,
    profiles,
    runs,
    sections,
    text,
)
from matinee.report.answer import answer
from matinee.report.data import ReportData
from matinee.report.language import Language
from matinee.report.measures import measure_rows
from matinee.report.published import published_rows
from matinee.runtime.records import whole

TEMPLATES = Path(__file__).with_name("templates")
SECTIONS = (
    *("answer", "before_after", "errors", "measures", "cost", "curves"),
    *("data", "leakage", "published", "earlier", "merge", "cases", "made"),
)
CURVES = (("loss", True), ("learning_rate", False), ("grad_norm", True))
MOST_HITS = 50


def write_report(data: ReportData, path: Path) -> None:
    """Writes the page, whole or not at all."""
    page = render_report(data)
    with whole(path) as beside:
        # A lone surrogate in model text cannot be written as UTF-8; it becomes a question mark.
        beside.write_text(page, encoding="utf-8", errors="replace")


def render_report(data: ReportData, largest_inline: int = cases.LARGEST_INLINE) -> str:
    """The page's HTML. Case texts beyond `largest_inline` bytes go into compressed blocks."""
    words = language.language(data.configuration.report.language)
    environment = _environment(words)
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    listed = cases.cases_of(data)
    labels = {s.id: sections.subject_label(s, words) for s in data.subjects}
    template = environment.get_template("case.html")
    texts = cases.case_texts(listed, template, words, labels, largest_inline)
    return environment.get_template("page.html").render(
        t=words,
        data=data,
        section_names=_sections(data),
        title=data.configuration.report.title,
        created=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=_hash(script),
        cases=listed,
        labels=labels,
        per_block=cases.CASES_PER_BLOCK,
        texts=texts,
        **_context(data, words),
    )


def _sections(data: ReportData) -> list[str]:
    """The sections in order; the one about earlier runs only where there are any."""
    return [name for name in SECTIONS if name != "earlier" or data.earlier]


def _environment(words: Language) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        visible=text.visible,
        plain=text.plain,
        percent=language.percent,
        points=language.points,
        number=language.number,
        duration=lambda seconds: language.duration(seconds, words),
        gold=cases.gold_text,
        gigabytes=costs.gigabytes,
        settings=sections.settings_text,
        run_rows=runs.run_rows,
        skipped=lambda one: runs.describe_skipped(one, words),
    )
    environment.globals.update(
        shortened=text.shortened,
        describe=lambda result: language.describe(result, words),
        p_text=language.p_text,
    )
    return environment


def _context(data: ReportData, words: Language) -> dict[str, Any]:
    views = sections.subject_views(data, words)
    errors = sections.error_rows(data, words)
    return {
        "answer": answer(data, words),
        "subjects": views,
        "letters": {view.id: view.letter for view in views},
        "heroes": {
            "wide": hero.hero_figure(data, words, narrow=False),
            "narrow": hero.hero_figure(data, words, narrow=True),
        },
        "panels": _panels(data, words),
        "error_rows": errors,
        "measures": {suite: measure_rows(data, suite, words) for suite in data.suites},
        "most_errors": max((max(row.counts) for row in errors), default=1),
        **_costs(data, words),
        "curves": _curves(data, words),
        "profiles": {
            name: profiles.profile_view(profile, words) for name, profile in data.profiles.items()
        },
        "leakages": {name: _leakage(found, words) for name, found in data.leakages.items()},
        "published": {
            variant.id: published_rows(data, variant, words)
            for variant in data.configuration.variants
        },
        "graph": graph.stage_graph(data, words),
        "stages": sections.stage_views(data, words),
        "versions": list(sections.merged_facts(data, "versions")),
        "hardware": list(sections.merged_facts(data, "hardware")),
        "configuration": configuration_yaml(data.configuration),
        "categories": list(dict.fromkeys(r.category for r in data.comparison.categories)),
        "start_pair": _ends(data.pairs[0]),
    }


def _costs(data: ReportData, words: Language) -> dict[str, Any]:
    trained = costs.training_costs(data)
    return {
        "price": costs.price(data),
        "training_costs": trained,
        "evaluation_costs": costs.evaluation_costs(data, words),
        "total_seconds": sum(run.wall_seconds for run in data.runs),
    }


def _panels(data: ReportData, words: Language) -> list[dict[str, Any]]:
    """Per variant and suite: the overall result and the figure in both widths."""
    return [
        {
            "variant": pair.before[0].removesuffix("-untuned"),
            "suite": suite,
            "result": data.comparison.of(pair, suite),
            "categories": data.comparison.categories_of(pair, suite),
            "wide": figures.category_figure(data, pair, suite, words, narrow=False),
            "narrow": figures.category_figure(data, pair, suite, words, narrow=True),
        }
        for pair in data.pairs
        if pair.kind == "training"
        for suite in data.suites
    ]


def _curves(data: ReportData, words: Language) -> dict[str, list[figures.CurveFigure]]:
    found = {}
    for variant in data.configuration.variants:
        runs = [run for run in data.trainings if run.variant == variant.id]
        plots = [
            figures.curve_figure(runs, key, words(f"curves.{key}"), words, smooth)
            for key, smooth in CURVES
        ]
        found[variant.id] = [plot for plot in plots if plot is not None]
    return found


def _leakage(found: dict[str, Any], words: Language) -> dict[str, Any]:
    hits: Sequence[dict[str, Any]] = found.get("hits") or []
    return {
        "checked": sections.fact_groups(found.get("checked") or {}, words, bars=False),
        "count": len(hits),
        "hits": [{key: str(value) for key, value in hit.items()} for hit in hits[:MOST_HITS]],
    }


def _ends(pair: Pair) -> tuple[str, str]:
    return pair.before[0], pair.after[0]


def configuration_yaml(configuration: Configuration) -> str:
    """The resolved configuration, every default filled in, as `config.yaml` would say it."""
    import yaml

    return str(
        yaml.safe_dump(configuration.model_dump(mode="json"), allow_unicode=True, sort_keys=False)
    )


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
