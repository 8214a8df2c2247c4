"""A small simulator of the catalogue: consistent observations, and ids that it must have issued."""

from __future__ import annotations

import random
from typing import Any

from matinee.config.synthesis import Language
from matinee.data.synthesis.catalogue import Catalogue, Rows
from matinee.data.synthesis.values import Setting, draw_distinct, make_maker
from matinee.messages.conversations import canonical_json

UNKNOWN_ID = {"error": "unknown id"}


class World:
    """What the tools answer in one conversation.

    The same seed, language and calls in the same order give the same observations. A parameter
    that another tool supplies is only accepted when that tool has issued its value here.
    """

    def __init__(self, catalogue: Catalogue, seed: str, language: Language) -> None:
        self._catalogue = catalogue
        self._seed = seed
        self._language = language
        self._issued: dict[tuple[str, str], dict[str, str]] = {}

    def observe(self, name: str, arguments: dict[str, Any]) -> Any:
        """The answer: an object, a list of rows, or `UNKNOWN_ID`."""
        tool = self._catalogue.tools[name]
        shown = dict(arguments)
        for parameter in tool.parameters:
            if parameter.source_tool and parameter.name in arguments:
                issued = self._issued.get((parameter.source_tool, parameter.source_field), {})
                if arguments[parameter.name] not in issued:
                    return UNKNOWN_ID
                shown[parameter.name] = issued[arguments[parameter.name]]
        asked = canonical_json(dict(sorted(arguments.items())))
        rng = random.Random(f"{self._seed}|{name}|{asked}")
        setting = Setting(rng, self._language)
        spec = tool.rows
        if spec is None:
            return self._fields(tool.returns, shown, setting)
        rows = []
        for name in self._row_names(spec, shown, setting):
            row = {spec.name: name, **self._fields(spec.fields, shown, setting)}
            for key in spec.fields:
                self._issued.setdefault((tool.name, key), {})[str(row[key])] = name
            rows.append(row)
        return rows

    def _row_names(self, spec: Rows, shown: dict[str, Any], setting: Setting) -> list[str]:
        if spec.echo:
            return [str(shown[spec.echo])]
        grouped = {group[self._language]: words for group, words in spec.groups.items()}
        words = spec.names or grouped[shown[spec.group_by]]
        maker = make_maker(words, self._catalogue.lexicons)
        count = setting.rng.randint(3, 5)
        return [str(item.value) for item in draw_distinct(maker, setting, count)]

    def _fields(
        self, fields: dict[str, str], shown: dict[str, Any], setting: Setting
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, expression in fields.items():
            if not expression.startswith("$"):
                found[key] = make_maker(expression, self._catalogue.lexicons).draw(setting).value
            elif expression[1:] in shown:
                found[key] = shown[expression[1:]]
        return found
