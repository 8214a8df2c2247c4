"""Writes docs/configuration.md from the models of `config.yaml`.

    python scripts/configuration_doc.py

A test fails when the page is stale. The texts are the `description=`s in config/.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "configuration.md"

INTRODUCTION = """\
# Every key of `config.yaml`

This page is generated from `workflow/matinee/config/` by `python scripts/configuration_doc.py`.
Editors get the same from the JSON Schema in `workflow/schemas/config.schema.json`.

`snakemake -n` checks a configuration without running anything. Unknown keys, keys that stand twice,
wrong types, values out of range and missing files are all reported at once, each with file, line
and key, what was found and what is allowed.
A file given by `--configfile` that is no YAML at all is refused by Snakemake itself, which tells no
line; `matinee estimate --configfile FILE` does, and so do `matinee plan`, `try` and `run`.

- **Presets** overlay `config.yaml`: `snakemake --configfile config.yaml my.yaml`. Mappings are
  merged; a list replaces the whole list.
- **Paths** are relative to the folder that the run starts in.
- **Changing a key** runs again only what depends on it; [design.md](design.md) says what that is.
- **Values** are read as YAML 1.2: `5e-4` is a number, `010` is ten, `1:30` and `no` are texts, and
  text is no number. Files are UTF-8.
- **Secrets** never stand here: `api_key_env` and `token_env` name the variable that holds one.

Beyond the tables, these are checked:

- Each `id` is unique in its list, and each `model` and `dataset` of a variant is one of them.
- A data set has either `sources` and `reader`, or `synthesis`.
- A suite has either `scenarios` and `tools`, or `bfcl`; then its `categories` are those of BFCL.
- A `url` source has a checksum; a `package` source has as many `files` as `packages`.
- `seeds` do not repeat.
- `tools_per_list` is [fewest, most] with 1 ≤ fewest ≤ most ≤ 40. The weights of `languages` and
  of `mix` are not negative, and at least one in each is above zero.

## A sweep

One line for each key of `training` that is to vary; seeds are the variant's. This makes 3 × 2 × 2
trainings:

```yaml
variants:
  - id: mine
    validation_share: 0.05
    seeds: [42, 43]
    …
sweep:
  variant: mine
  over:
    learning_rate: [1.0e-4, 3.0e-4, 1.0e-3]
    lora.r: [8, 32]
export: {keep: adapters}
```

Rows, tokens and the untuned subject are made once for all. The rows that `validation_share` holds
out choose, by their loss averaged over the seeds; or, with `choose_by: development`, the cases of a
suite of your own that are right: then every candidate is merged and run on that. A suite of
`evaluation.suites` cannot choose. The chosen one takes the variant's place: its adapters lie in
`results/training/mine/`, and it alone is tested. With `test: all` every candidate is tested, and
the p values are corrected for their number (Holm). The figures of every candidate are in the
report and in `results/training/mine/choice.json`.

## The tables

*List of 1 or more* and the like tell how many entries are needed. A dash means nothing: no default
value, or no bound.
"""

HEADER = "| key | type | default | allowed | effect |\n| --- | --- | --- | --- | --- |"
NAMES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "mapping",
}


@dataclass
class Section:
    """One model of the configuration. `places`: the key paths where it may stand."""

    name: str
    schema: dict[str, Any]
    places: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The heading: the first place, and the kind where several models share one."""
        kind = self.schema["properties"].get("kind")
        place = f"`{self.places[0]}`" if self.places[0] else "Top level"
        if kind is None:
            return place
        kinds = kind.get("enum") or [kind["const"]]
        return f"{place} of kind " + " or ".join(f"`{name}`" for name in kinds)

    @property
    def anchor(self) -> str:
        """The address that GitHub gives the heading."""
        return re.sub(r"[^\w\- ]", "", self.title.lower()).replace(" ", "-")


def references(schema: dict[str, Any]) -> list[str]:
    """Names of the models that a key's value may be, or be a list of."""
    if "$ref" in schema:
        return [schema["$ref"].rsplit("/", 1)[1]]
    options = [*schema.get("anyOf", []), *schema.get("oneOf", [])]
    if isinstance(schema.get("items"), dict):
        options.append(schema["items"])
    return [name for option in options for name in references(option)]


def sections(root: dict[str, Any]) -> dict[str, Section]:
    """All models by name, in the order in which a reader of `config.yaml` meets them."""
    found = {"": Section("", root)}

    def visit(section: Section, place: str) -> None:
        section.places.append(place)
        for key, value in section.schema["properties"].items():
            path = f"{place}.{key}".lstrip(".") + ("[]" if value.get("type") == "array" else "")
            for name in references(value):
                inner = found.setdefault(name, Section(name, root["$defs"][name]))
                visit(inner, path)

    visit(found[""], "")
    return found


def type_of(schema: dict[str, Any], known: dict[str, Section]) -> str:
    """The type in words, with links to the sections of nested models."""
    options = [
        option
        for option in [*schema.get("anyOf", []), *schema.get("oneOf", [])]
        if option.get("type") != "null"
    ]
    if options:
        return " or ".join(dict.fromkeys(type_of(option, known) for option in options))
    if "$ref" in schema:
        section = known[schema["$ref"].rsplit("/", 1)[1]]
        return f"[{section.title.split(' of kind ')[-1]}](#{section.anchor})"
    if "prefixItems" in schema:
        inner = schema["prefixItems"]
        return f"list of {len(inner)}: {type_of(inner[0], known)}"
    if schema.get("type") == "array":
        least = f" of {schema['minItems']} or more" if schema.get("minItems") else ""
        return f"list{least}: {type_of(schema['items'], known)}"
    if schema.get("format") == "path":
        return "path"
    if "additionalProperties" in schema:
        return f"mapping to {type_of(schema['additionalProperties'], known)}"
    kind = schema.get("type", "string" if "enum" in schema or "const" in schema else "object")
    return NAMES[kind]


def allowed(schema: dict[str, Any]) -> str:
    """Accepted values, bounds or pattern of a key's value."""
    options = [option for option in schema.get("anyOf", []) if option.get("type") != "null"]
    if options:
        return ", or ".join(filter(None, (_allowed_of_option(option) for option in options)))
    if "propertyNames" in schema:
        return "keys " + allowed(schema["propertyNames"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    return " and ".join(_bounds(schema))


def _allowed_of_option(option: dict[str, Any]) -> str:
    names = option.get("type") == "array" and option["items"].get("type") == "string"
    return "names" if names else allowed(option)


def _bounds(schema: dict[str, Any]) -> Iterator[str]:
    signs = {
        "minimum": "≥",
        "exclusiveMinimum": ">",
        "maximum": "≤",
        "exclusiveMaximum": "<",
    }
    for key, sign in signs.items():
        if key in schema:
            yield f"{sign} {schema[key]:g}"
    if "pattern" in schema:
        yield f"`{schema['pattern']}`"
    if "maxLength" in schema:
        yield f"at most {schema['maxLength']} characters"


def default_of(key: str, section: dict[str, Any]) -> str:
    """The default as it would stand in YAML; nested models show their own defaults."""
    schema = section["properties"][key]
    if key in section.get("required", []):
        return "**required**"
    if "$ref" in schema:
        return "its defaults"
    value = schema.get("default")
    return "" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


def description_of(schema: dict[str, Any], root: dict[str, Any], is_kind: bool) -> str:
    """The key's own description, else what its one model says of itself."""
    if "description" in schema:
        return str(schema["description"])
    if is_kind:
        return "Chooses this kind of source."
    models = references(schema)
    return str(root["$defs"][models[0]]["description"]) if len(models) == 1 else ""


def table(section: Section, root: dict[str, Any], known: dict[str, Section]) -> str:
    """One row per key."""
    rows = [HEADER]
    for key, schema in section.schema["properties"].items():
        cells = [
            f"`{key}`",
            type_of(schema, known),
            default_of(key, section.schema),
            allowed(schema),
            # <tool_call> in a text is no HTML.
            description_of(schema, root, key == "kind").replace("<", "&lt;"),
        ]
        texts = [" ".join(cell.split()).replace("|", "\\|") or "–" for cell in cells]
        rows.append(f"| {' | '.join(texts)} |")
    return "\n".join(rows)


def render(root: dict[str, Any]) -> str:
    """The whole page from the JSON Schema of `config.yaml`."""
    known = sections(root)
    parts = [INTRODUCTION]
    for section in known.values():
        lines = [f"## {section.title}", ""]
        if section.name:
            lines += [section.schema["description"], ""]
        if len(section.places) > 1:
            others = ", ".join(f"`{place}`" for place in section.places[1:])
            lines += [f"The same under {others}.", ""]
        parts.append("\n".join([*lines, table(section, root, known), ""]))
    return "\n".join(parts)


def main() -> None:
    """Writes the page."""
    sys.path.insert(0, str(ROOT / "workflow"))
    from matinee.config import json_schema

    PAGE.write_text(render(json_schema()), encoding="utf-8")


if __name__ == "__main__":
    main()
