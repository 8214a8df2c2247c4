"""`report.html`: one file that needs nothing else, made from templates that escape everything."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from matinee import __version__
from matinee.config import Configuration
from matinee.report import cases, claims, figures, run_comparison, views, words
from matinee.report.collect import ReportData
from matinee.report.formats import formats
from matinee.report.published import published_view
from matinee.report.words import Language
from matinee.runtime.places import PROJECT
from matinee.runtime.records import whole

TEMPLATES = Path(__file__).with_name("templates")
CURVES = {"loss": True, "learning_rate": False, "grad_norm": True}


def write_report(data: ReportData, path: Path) -> None:
    """Writes the page, whole or not at all."""
    page = render_report(data)
    with whole(path) as beside:
        # A lone surrogate in model text cannot be written as UTF-8; it becomes a question mark.
        beside.write_text(page, encoding="utf-8", errors="replace")


def render_report(data: ReportData, largest_inline: int = cases.LARGEST_INLINE) -> str:
    """The page's HTML. Case texts beyond `largest_inline` bytes go into compressed blocks.

    Where they stand in the page, it also holds itself in the other language, compressed.
    """
    code = data.configuration.report.language
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    body, inline = _body(data, code, largest_inline)
    other = "en" if code == "zh" else "zh"
    return (
        _environment(words.language(code))
        .get_template("page.html")
        .render(
            title=data.configuration.report.title,
            style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
            script=Markup(script),
            script_hash=_hash(script),
            body=Markup(body),
            other=cases.packed(_body(data, other, largest_inline)[0]) if inline else "",
            other_code=other,
        )
    )


def _body(data: ReportData, code: str, largest_inline: int) -> tuple[str, bool]:
    """The page's body in one language, and whether the cases' texts stand in it."""
    own = {name: title for s in data.suites.values() for name, title in s.categories.items()}
    language = words.language(code, own)
    environment = _environment(language)
    labels = views.subject_labels(data, language)
    listed = cases.cases_of(data)
    template = environment.get_template("case.html")
    texts = cases.case_texts(listed, template, language, labels, largest_inline)
    context = _context(data, language) | {"cases": listed, "labels": labels, "texts": texts}
    body = environment.get_template("body.html").render(
        data=data,
        title=data.configuration.report.title,
        made_by=made_by(language),
        created=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        per_block=cases.CASES_PER_BLOCK,
        **context,
    )
    return body, not texts.blocks


def _environment(language: Language) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        visible=words.visible,
        plain=words.plain,
        percent=words.percent,
        points=words.points,
        number=words.number,
        duration=lambda seconds: words.duration(seconds, language),
        gold=cases.gold_text,
        skipped=lambda one: run_comparison.describe_skipped(one, language),
    )
    environment.globals.update(
        t=language,
        shortened=words.shortened,
        describe=lambda result: words.describe(result, language),
        is_headline=figures.is_headline,
    )
    return environment


def _context(data: ReportData, language: Language) -> dict[str, Any]:
    subjects = views.subject_views(data, language)
    errors = views.error_rows(data, language)
    variants = data.configuration.tested
    curves = {variant.id: _curves(data, variant.id, language) for variant in variants}
    published = {
        variant.id: view
        for variant in variants
        if (view := published_view(data, variant, language)) is not None
    }
    merges = [run for run in data.trainings if run.merge]
    total = sum(run.wall_seconds for run in data.runs)
    filled = {
        "errors": errors,
        "curves": any(curves.values()),
        "data": data.profiles,
        "leakage": data.leakages,
        "published": published,
        "earlier": data.earlier,
        "sweep": data.choice,
        "merge": merges,
        "formats": data.converted,
        "made": data.runs,
    }
    stages = views.stage_views(data, language)
    return {
        "section_names": [name for name in SECTIONS if filled.get(name, True)],
        "answer": claims.answer(data, language),
        "subjects": subjects,
        "letters": {view["id"]: view["letter"] for view in subjects},
        "panels": [
            {
                "name": claims.name_of(data, pair, suite),
                "headline": data.comparison.headline(pair, suite),
                "rows": figures.share_rows(data, pair, suite, language, categories=True),
                "all": data.comparison.of(pair, suite),
            }
            for pair, suite in data.training_claims()
        ],
        "seeded": any(len(pair.after) > 1 for pair, _ in data.training_claims()),
        "error_rows": errors,
        "most_errors": max((max(row.values) for row in errors), default=1),
        "measures": {suite: views.measure_rows(data, suite, language) for suite in data.suites},
        "costs": {
            "training": views.training_costs(data, language),
            "evaluation": views.evaluation_costs(data, language),
        },
        "total_seconds": total,
        "elapsed_seconds": claims.elapsed(data.runs) or total,
        "total_price": views.money(data, total),
        "curves": {name: plots for name, plots in curves.items() if plots},
        "profiles": {
            name: views.profile_view(profile | views.readings(data, name), language)
            for name, profile in data.profiles.items()
        },
        "leakages": {
            name: views.leakage_view(found, language) for name, found in data.leakages.items()
        },
        "published": published,
        "merges": merges,
        "formats": formats(data),
        "stages": stages,
        "lanes": {
            stage: [view for view in stages if view["stage"] == stage]
            for stage in dict.fromkeys(run.stage for run in data.runs)
        },
        "versions": views.recorded_facts(data, "versions"),
        "hardware": views.recorded_facts(data, "hardware"),
        "configuration": configuration_yaml(data.configuration),
        "categories": list(
            dict.fromkeys(
                scenario.category for s in data.suites.values() for scenario in s.scenarios
            )
        ),
        "start_pair": (data.pairs[0].before[0], data.pairs[0].after[0]),
    }


SECTIONS = (
    *("answer", "before_after", "sweep", "errors", "measures", "cost", "curves"),
    *("data", "leakage", "published", "earlier", "merge", "formats", "cases", "made"),
)


def _curves(data: ReportData, variant: str, language: Language) -> list[figures.CurveFigure]:
    runs = data.trainings_of(variant)
    plots = [figures.curve_figure(runs, key, language, smooth=s) for key, s in CURVES.items()]
    return [plot for plot in plots if plot is not None]


def made_by(language: Language) -> str:
    """Matinee's version, and the commit of its checkout where it is one."""
    told = f"Matinee {__version__}"
    if (PROJECT / ".git").exists() and shutil.which("git"):
        command = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty", "--abbrev=12"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        if found.returncode == 0:
            told += f" ({language('commit', commit=found.stdout.strip())})"
    return told


def configuration_yaml(configuration: Configuration) -> str:
    """The resolved configuration, every default filled in, as `config.yaml` would say it."""
    import yaml

    values = configuration.model_dump(mode="json")
    return str(yaml.safe_dump(values, allow_unicode=True, sort_keys=False))


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
