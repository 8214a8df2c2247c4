"""What verdicts and parsers say as facts, put into words."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from matinee.messages.transcripts import Detail

SENTENCES = Path(__file__).with_name("details.yaml")


def said(detail: Detail, language: str = "en") -> str:
    """The sentence in `en` or `zh`."""
    parts = {
        name: said(value, language) if isinstance(value, Detail) else value
        for name, value in detail.values.items()
    }
    return str(_table()[detail.key][language].format(**parts))


@functools.cache
def _table() -> dict[str, Any]:
    import yaml

    loaded = yaml.load(SENTENCES.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return {**loaded["verdicts"], **loaded["parsing"]}
