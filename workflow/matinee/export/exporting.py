"""Makes a folder of merged weights a model that anyone can load: template, generation, card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from matinee import __version__
from matinee.messages.forms import forms
from matinee.messages.rendering import Renderer, load_template, portable
from matinee.runtime.places import RESOURCES
from matinee.runtime.records import read_json

PARSER = RESOURCES / "vllm_action_parser.py"
CARD = RESOURCES / "model_card.md.jinja"


def complete_export(folder: Path, template: str, *, base: Path, training: Path) -> None:
    """Adds the chat template, generation_config.json and README.md to a merged model.

    `base`: the start model's folder with its run.json. `training`: the folder of metrics.json.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    renderer = Renderer(tokenizer, template)
    text = renderer.native.text if renderer.native is not None else load_template(template)
    (folder / "chat_template.jinja").write_text(portable(text), encoding="utf-8")
    if renderer.form == "action":
        shutil.copyfile(PARSER, folder / PARSER.name)
    _forget_old_template(folder / "tokenizer_config.json")
    generation = folder / "generation_config.json"
    values: dict[str, Any] = read_json(generation) if generation.exists() else {}
    values["eos_token_id"] = sorted(renderer.stop_ids)
    if tokenizer.pad_token_id is not None:
        values["pad_token_id"] = tokenizer.pad_token_id
    # The tests ran greedily; sampling settings of the start model would serve something else.
    for key in ("temperature", "top_p", "top_k", "do_sample"):
        values.pop(key, None)
    generation.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(
        _card(template, renderer.form, base, training), encoding="utf-8"
    )


def _forget_old_template(path: Path) -> None:
    """A template inside tokenizer_config.json would win over chat_template.jinja in old readers."""
    values = read_json(path)
    if values.pop("chat_template", None) is not None:
        path.write_text(json.dumps(values, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _card(template: str, form: str, base: Path, training: Path) -> str:
    from jinja2 import Environment

    origin = read_json(base / "run.json")
    trained = read_json(training / "run.json")["parameters"]
    facts = origin["facts"]
    written = Environment(keep_trailing_newline=True).from_string(CARD.read_text("utf-8"))
    return written.render(
        version=__version__,
        template=template,
        source=facts.get("served_by") or facts.get("source") or origin["parameters"].get("id"),
        licence=facts.get("licence") or "that of the start model",
        trained=trained,
        settings=json.dumps(trained["training"], indent=2),
        metrics=read_json(training / "metrics.json"),
        plugin=PARSER.name if form == "action" else "",
        parser=forms()[form].vllm,
    )
