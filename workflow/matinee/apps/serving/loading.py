"""A model folder → the engine, and the form of its prompts and calls."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from matinee.config.training import CALL_FORMS, TEMPLATES
from matinee.engines.live import LiveTransformersEngine
from matinee.messages.forms import NATIVE
from matinee.messages.parsing import CallForm
from matinee.messages.rendering import load_template, portable
from matinee.models.devices import place
from matinee.runtime.errors import EngineError

TEMPLATE_FILE = "chat_template.jinja"


@dataclass(frozen=True)
class Loading:
    """How a model is loaded.

    `template`: its name, or None where the folder has one of ours. `context`: the most tokens of
    prompt and answer together. `batch_size`: answers that grow side by side. `constrained`: calls
    can only be spelled so that they can be read.
    """

    template: str | None = None
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    batch_size: int = 8
    context: int = 8192
    constrained: bool = False


@dataclass(frozen=True)
class Loaded:
    """A model that answers, and what its outputs look like."""

    engine: LiveTransformersEngine
    template: str
    form: CallForm


def load_live(folder: Path, loading: Loading) -> Loaded:
    """Loads a folder. Raises EngineError where it holds no model or no template of ours."""
    if not (folder / "config.json").is_file():
        raise EngineError(
            f"{folder} holds no model (no config.json). Give the folder that merge_model wrote, "
            "such as results/merged/VARIANT/sSEED/model, or a start model's, results/model/MODEL."
        )
    template = loading.template or template_of(folder)
    if template not in TEMPLATES:
        known = ", ".join(TEMPLATES)
        raise EngineError(f"There is no template {template!r}; there are {known}.")
    from matinee.models.memory import keep_freed

    # Nothing here may reach a hub: the folder is complete.
    os.environ["HF_HUB_OFFLINE"] = "1"
    keep_freed()
    engine = LiveTransformersEngine.load(
        folder,
        template,
        place(loading.precision),
        loading.batch_size,
        loading.context,
        loading.constrained,
    )
    return Loaded(engine, template, engine.form)


def template_of(folder: Path) -> str:
    """The template of a folder: the one of ours that it was exported with, else its own.

    Raises EngineError where it has none.
    """
    path = folder / TEMPLATE_FILE
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    for name in sorted(CALL_FORMS):
        if text in (portable(load_template(name)), load_template(name)):
            return name
    settings = folder / "tokenizer_config.json"
    if text or (settings.is_file() and '"chat_template"' in settings.read_text(encoding="utf-8")):
        return NATIVE
    raise EngineError(
        f"{path} is missing, so the form of the prompts is not known. "
        f"Say it with --template: {', '.join(sorted(CALL_FORMS))}."
    )


def name_of(folder: Path) -> str:
    """A name for the model: that of its folder, or VARIANT-sSEED for an exported one."""
    path = folder.resolve()
    return f"{path.parts[-3]}-{path.parts[-2]}" if path.name == "model" else path.name
