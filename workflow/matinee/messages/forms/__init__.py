"""The forms in which calls are written: one file each, found by listing this folder.

To add one, copy a file: it holds a `FORMS` tuple. A prompt template of our own is `NAME.jinja`
beside it, named in its form's `templates`.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path

from matinee.messages.forms.base import Form, Template

FOLDER = Path(__file__).parent
# The template that stands for the model's own.
NATIVE = "native"


@cache
def forms() -> dict[str, Form]:
    """Every form by its name."""
    names = sorted(module.name for module in pkgutil.iter_modules([str(FOLDER)]))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return {form.name: form for module in modules for form in getattr(module, "FORMS", ())}


@cache
def templates() -> dict[str, tuple[Template, Form]]:
    """Every prompt template of our own by its name, and the form that it writes."""
    return {
        name: (template, form)
        for form in forms().values()
        for name, template in form.templates.items()
    }
