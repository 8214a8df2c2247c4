"""Reads and checks `config.yaml` before anything runs, and says at once all that is wrong."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from matinee.config import Configuration, Settings, json_schema
from matinee.config.base import meant
from matinee.messages.documents import Document, Place, open_document
from matinee.runtime.errors import ConfigurationError
from matinee.runtime.places import PROJECT, in_checkout

# What pydantic calls the members of `lora.target` and `limit`, and a mapping's key, in a place.
MEMBERS = ("literal['all-linear']", "list[str]", "constrained-int", "[key]")
# No setting needs more; what JSON readers and 64 bits hold exactly.
LARGEST_NUMBER = 2**53
# Keys whose path is a folder; that of a source may be either.
FOLDERS = ("scenarios", "catalogue", "path")
HIDDEN = ("api_key_env", "token_env")
SECRET = re.compile(r"key|token|secret|password", re.IGNORECASE)


@dataclass(frozen=True)
class Layer:
    """What one file, or the command line, says; later ones lie over earlier ones."""

    values: dict[str, Any]
    document: Document | None = None

    def at(self, place: Place) -> str:
        """`config.yaml:12`."""
        if self.document is None:
            return "--config"
        return f"{self.document.file}:{self.document.line(place)}"


def configuration_files(given: Sequence[Path], *, alone: bool) -> list[Path]:
    """`config.yaml` of the working folder, else the checkout's, and what `--configfile` lays over
    it. `alone`: without the former.
    """
    files = [Path(os.path.relpath(file)) for file in given]
    base = Path("config.yaml")
    if not base.exists():
        base = Path(os.path.relpath(PROJECT / base))
    if not (alone and files) and base not in files:
        files.insert(0, base)
    return files


def read_configuration(
    files: Sequence[Path], given: Mapping[str, Any], root: Path
) -> Configuration:
    """The checked configuration of files that lie over one another, `given` over all of them.

    Mappings are merged, everything else is replaced. Raises ConfigurationError that lists every
    problem with file, line, key path, what was found and what is allowed.
    """
    layers = read_layers(files)
    if given:
        layers.append(Layer(dict(given)))
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _merged(merged, layer.values)
    return parse_configuration(merged, root, layers)


def read_layers(files: Sequence[Path]) -> list[Layer]:
    """What each file says, unchecked. Raises ConfigurationError with file and line of what cannot
    be read."""
    documents = [open_document(file) for file in files]
    if problems := [str(problem) for document in documents for problem in document.problems]:
        raise ConfigurationError(_headline(problems))
    return [Layer(document.value, document) for document in documents]


def parse_configuration(
    values: dict[str, Any], root: Path, layers: Sequence[Layer] = ()
) -> Configuration:
    """The checked configuration.

    `root` is the folder that relative paths start from; `layers` tell the lines. Raises
    ConfigurationError that lists every problem with its key path, what was found and what is
    allowed.
    """
    found = list(_too_large(values, ()))
    if not found:
        try:
            configuration = Configuration.model_validate(_found_in_checkout(values, root))
        except ValidationError as error:
            # A union reports one mistake once for each of its members.
            found = list(dict.fromkeys(line for one in error.errors() for line in _describe(one)))
        else:
            found = list(_wrong_paths(configuration, root))
    if found:
        raise ConfigurationError(_headline([_placed(line, layers) for line in found]))
    return configuration


def _merged(under: Any, over: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(under) if isinstance(under, Mapping) else {}
    for key, value in over.items():
        made[key] = _merged(made.get(key), value) if isinstance(value, Mapping) else value
    return made


def _placed(line: str, layers: Sequence[Layer]) -> str:
    """The line with the file and line that its key comes from before it."""
    keys = line.split(": ")[0] if ": " in line else ""
    place = tuple(int(n) if n else name for n, name in re.findall(r"\[(\d+)\]|([^.\[\]]+)", keys))
    owner = _owner(layers, place)
    return f"{owner.at(place)}: {line}" if owner else line


_NOTHING = object()


def _inside(value: Any, step: str | int) -> Any:
    if isinstance(value, list):
        return value[step] if isinstance(step, int) and step < len(value) else _NOTHING
    return value.get(step, _NOTHING) if isinstance(value, Mapping) else _NOTHING


def _owner(layers: Sequence[Layer], place: Place) -> Layer | None:
    """The layer whose value counts at a place, or at the nearest that there is."""
    having: list[tuple[Layer, Any]] = [(layer, layer.values) for layer in layers]
    for step in place:
        inner = [(layer, _inside(value, step)) for layer, value in having]
        inner = [(layer, value) for layer, value in inner if value is not _NOTHING]
        if not inner:
            break
        # What is no mapping replaces all that lies under it.
        last = max((n for n, (_, v) in enumerate(inner) if not isinstance(v, Mapping)), default=0)
        having = inner[last:]
    return having[-1][0] if having else None


def _found_in_checkout(value: Any, root: Path) -> Any:
    """The values with shipped files (`workflow/…`) as they are seen from `root`."""
    if isinstance(value, dict):
        return {key: _found_in_checkout(inner, root) for key, inner in value.items()}
    if isinstance(value, list):
        return [_found_in_checkout(inner, root) for inner in value]
    if isinstance(value, str) and value.startswith("workflow/"):
        # What cannot be a path is refused as one.
        with contextlib.suppress(OSError, ValueError):
            return in_checkout(value, root)
    return value


def _headline(problems: list[str]) -> str:
    noun = "problem" if len(problems) == 1 else "problems"
    listed = "\n".join(f"  - {problem}" for problem in problems)
    return f"The configuration has {len(problems)} {noun}:\n{listed}"


def _too_large(value: Any, place: Place) -> Iterator[str]:
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in inner:
            yield from _too_large(one, (*place, key))
    elif isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        yield f"{_key_path(place)}: found {value}. No number here is above {LARGEST_NUMBER:,}."


def _describe(detail: Any) -> list[str]:
    """One pydantic error in the user's words: key path, found, allowed."""
    place = _plain(detail["loc"])
    path = _key_path(place) or "the configuration"
    found = detail["input"]
    kinds: dict[type, str] = {dict: "a mapping", list: "a list"}
    shown = kinds.get(type(found)) or repr(found)
    match detail["type"]:
        case _ if path.endswith(HIDDEN) and detail["type"] != "extra_forbidden":
            return [
                f"{path}: found something else than the name of an environment variable (capitals, "
                "digits, _). Put the secret into a variable, and the variable's name here."
            ]
        case "extra_forbidden":
            hint = meant(str(place[-1]), _keys_at(place[:-1]))
            shown = "" if SECRET.search(str(place[-1])) else f" (found {shown})"
            return [f"{path}: unknown key{shown}.{hint} See docs/configuration.md for all keys."]
        case "missing":
            return [f"{path}: missing; it is required."]
        case "value_error":
            lines = str(detail["ctx"]["error"]).splitlines()
            return [f"{path}: {line}" if detail["loc"] else line for line in lines]
        case "union_tag_not_found":
            return [f"{path}: `kind` is missing; it is required."]
        case "union_tag_invalid":
            tag, allowed = detail["ctx"]["tag"], detail["ctx"]["expected_tags"]
            return [f"{path}.kind: found {tag!r}. Input should be {allowed}."]
        case _ if path.endswith("lora.target"):
            return [f"{path}: found {shown}. Input should be 'all-linear' or a list of names."]
        case _:
            return [f"{path}: found {shown}. {detail['msg']}."]


def _keys_at(place: Place) -> list[str]:
    """The keys that the mapping at a place may have."""
    root = json_schema()
    nodes: list[dict[str, Any]] = [root]
    for step in (*place, None):
        nodes = [leaf for node in nodes for leaf in _leaves(node, root)]
        if step is not None:
            inner = [
                node.get("items") if isinstance(step, int) else node.get("properties", {}).get(step)
                for node in nodes
            ]
            nodes = [node for node in inner if isinstance(node, dict)]
    return [name for node in nodes for name in node.get("properties", {})]


def _leaves(node: dict[str, Any], root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema itself, or those that it refers to."""
    if "$ref" in node:
        yield from _leaves(root["$defs"][node["$ref"].rsplit("/", 1)[1]], root)
    for option in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from _leaves(option, root)
    yield node


def _plain(location: tuple[int | str, ...]) -> Place:
    """A place in the file: without what pydantic names between its steps, the unions' members."""
    return tuple(
        part
        for position, part in enumerate(location)
        # Behind `sources[0]` stands the kind of source.
        if location[max(0, position - 2) : position - 1] != ("sources",)
        and part not in MEMBERS
        and not str(part).startswith("dict[")
    )


def _key_path(place: Place) -> str:
    """`("variants", 0, "training")` as `variants[0].training`."""
    steps = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(steps).removeprefix(".")


def _wrong_paths(configuration: Configuration, root: Path) -> Iterator[str]:
    """Paths that do not exist, or are files where folders are meant, or the reverse."""
    for place, path in _paths(configuration, ()):
        key = _key_path(place)
        # Of several sources one may be missing: the next one is taken.
        if "sources" in place and len(getattr(configuration, str(place[0]))[place[1]].sources) > 1:
            continue
        try:
            exists, is_folder = (root / path).exists(), (root / path).is_dir()
        except (OSError, ValueError) as error:
            yield f"{key}: {path} cannot be looked at ({error})."
            continue
        if not exists:
            yield f"{key}: {path} does not exist (looked in {root}). Check the spelling."
        elif "sources" not in place and is_folder is not (place[-1] in FOLDERS):
            meant = "a file" if is_folder else "a folder"
            yield f"{key}: {path} is not {meant}, which is meant here."


def _paths(value: object, place: Place) -> Iterator[tuple[Place, Path]]:
    """Every path that the configuration names."""
    if isinstance(value, Path):
        yield place, value
    elif isinstance(value, Settings):
        for name in type(value).model_fields:
            yield from _paths(getattr(value, name), (*place, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _paths(inner, (*place, number))
