"""Checks `config.yaml` before anything runs, and says at once all that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from matinee.config import Configuration, Dataset, Model, PathSource
from matinee.runtime.errors import ConfigurationError
from matinee.runtime.places import in_checkout

# What pydantic calls the members of `lora.target`, and a mapping's key, in the place of an error.
MEMBERS = ("literal['all-linear']", "list[str]", "[key]")


def parse_configuration(values: dict[str, Any], root: Path) -> Configuration:
    """The checked configuration.

    `root` is the folder that relative paths start from. Raises ConfigurationError that lists
    every problem with its key path, what was found and what is allowed.
    """
    try:
        configuration = Configuration.model_validate(_found_in_checkout(values, root))
    except ValidationError as error:
        problems = [problem for detail in error.errors() for problem in _describe(detail)]
        # A union reports one mistake once for each of its members.
        raise ConfigurationError(_headline(list(dict.fromkeys(problems)))) from None
    missing = list(_missing_paths(configuration, root))
    if missing:
        raise ConfigurationError(_headline(missing))
    return configuration


def _found_in_checkout(value: Any, root: Path) -> Any:
    """The values with shipped files (`workflow/…`) as they are seen from `root`."""
    if isinstance(value, dict):
        return {key: _found_in_checkout(inner, root) for key, inner in value.items()}
    if isinstance(value, list):
        return [_found_in_checkout(inner, root) for inner in value]
    shipped = isinstance(value, str) and value.startswith("workflow/")
    return in_checkout(value, root) if shipped else value


def _headline(problems: list[str]) -> str:
    noun = "problem" if len(problems) == 1 else "problems"
    listed = "\n".join(f"  - {problem}" for problem in problems)
    return f"The configuration has {len(problems)} {noun}:\n{listed}"


def _describe(detail: Any) -> list[str]:
    """One pydantic error in the user's words: key path, found, allowed."""
    path = _key_path(detail["loc"]) or "the configuration"
    found = detail["input"]
    shown = repr(found) if not isinstance(found, dict | list) else f"a {_kind(found)}"
    message = detail["msg"]
    match detail["type"]:
        case "extra_forbidden":
            return [f"{path}: unknown key (found {shown}). See docs/configuration.md for all keys."]
        case "missing":
            return [f"{path}: missing; it is required."]
        case "value_error":
            lines = str(detail["ctx"]["error"]).splitlines()
            return [f"{path}: {line}" if detail["loc"] else line for line in lines]
        case "union_tag_not_found":
            return [f"{path}: `kind` is missing; it is required."]
        case "union_tag_invalid":
            allowed = detail["ctx"]["expected_tags"]
            return [f"{path}.kind: found {detail['ctx']['tag']!r}. Input should be {allowed}."]
        case _ if path.endswith("lora.target"):
            return [f"{path}: found {shown}. Input should be 'all-linear' or a list of names."]
        case _:
            return [f"{path}: found {shown}. {message}."]


def _kind(value: object) -> str:
    return "mapping" if isinstance(value, dict) else "list"


def _key_path(location: tuple[int | str, ...]) -> str:
    """`('variants', 0, 'training')` as `variants[0].training`; union tags are left out."""
    path = ""
    for position, part in enumerate(location):
        # Pydantic names the union's member behind `sources[0]` and behind `target`.
        is_tag = location[max(0, position - 2) : position - 1] == ("sources",) or part in MEMBERS
        if isinstance(part, int):
            path += f"[{part}]"
        elif not is_tag:
            path += f".{part}" if path else part
    return path


def _missing_paths(configuration: Configuration, root: Path) -> list[str]:
    named: list[tuple[str, Path]] = []
    for number, suite in enumerate(configuration.evaluation.suites):
        key = f"evaluation.suites[{number}]"
        files = {
            "scenarios": suite.scenarios,
            "tools": suite.tools,
            "fixtures": suite.fixtures,
            "bfcl.path": suite.bfcl.path if suite.bfcl else None,
        }
        named += [(f"{key}.{name}", file) for name, file in files.items() if file is not None]
    fetched: list[tuple[str, Sequence[Model | Dataset]]] = [
        ("models", configuration.models),
        ("datasets", configuration.datasets),
    ]
    for key, entries in fetched:
        for number, entry in enumerate(entries):
            named += [
                (f"{key}[{number}].sources[{place}].path", source.path)
                for place, source in enumerate(entry.sources)
                if isinstance(source, PathSource) and len(entry.sources) == 1
            ]
    for number, dataset in enumerate(configuration.datasets):
        if dataset.catalogue is not None:
            named.append((f"datasets[{number}].catalogue", dataset.catalogue))
    named += [
        (f"report.compare_with[{number}]", path)
        for number, path in enumerate(configuration.report.compare_with)
    ]
    return [
        f"{key}: {path} does not exist (looked in {root}). Check the spelling."
        for key, path in named
        if not (root / path).exists()
    ]
