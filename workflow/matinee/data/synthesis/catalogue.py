"""The catalogue of tools: data files, their checks, and their form in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from matinee.config.synthesis import Language
from matinee.data.synthesis.texts import Pair, PairField, Word, read_pair, read_word
from matinee.data.synthesis.values import Lexicons, Maker, make_maker, word_maker
from matinee.data.synthesis.wording import droppable_alone, slots_of
from matinee.runtime.errors import DataError

JsonType = Literal["string", "integer", "number", "boolean", "array"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))


class ParameterSpec(_Strict):
    """One parameter as the file has it: exactly one of `make`, `codes` and `from`."""

    label: PairField
    make: str = ""
    codes: dict[Any, str] = {}
    source: str = Field(default="", alias="from")
    type: JsonType | None = None
    optional: bool = False
    default: Any = None
    note: PairField | None = None
    question: PairField | None = None


class RowsSpec(_Strict):
    """Rows that a tool returns: several out of a word list, or the one that was searched.

    `groups`: a word list for each name that the parameter `group_by` can stand for. Users who
    name such a row need not name its group.
    """

    names: str = ""
    group_by: str = ""
    groups: dict[str, str] = {}
    echo: str = ""
    name: str
    fields: dict[str, str] = {}


class AskSpec(_Strict):
    """Ways to ask for the tool, in the template language of `wording`."""

    zh: tuple[str, ...] = Field(min_length=1)
    en: tuple[str, ...] = Field(min_length=1)


class ToolSpec(_Strict):
    """One tool as the file has it."""

    tool: str
    about: PairField
    does: PairField
    args: dict[str, ParameterSpec] = {}
    ask: AskSpec
    returns: dict[str, str] = {}
    rows: RowsSpec | None = None
    reply: PairField | None = None


@dataclass(frozen=True)
class Parameter:
    """A parameter with its value maker. `maker` is None for one that another tool supplies."""

    name: str
    label: Pair
    json_type: JsonType
    required: bool
    maker: Maker | None
    codes: tuple[tuple[Any, Word], ...] = ()
    source_tool: str = ""
    source_field: str = ""
    default: Any = None
    note: Pair | None = None
    question: Pair | None = None


@dataclass(frozen=True)
class Rows:
    """Row maker of a tool's observation: see RowsSpec."""

    names: Maker | None
    group_by: str
    groups: tuple[tuple[Pair, Maker], ...]
    echo: str
    name: str
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class CatalogueTool:
    """A tool with everything that is needed to ask for it, call it and answer for it."""

    name: str
    domain: str
    about: Pair
    does: Pair
    parameters: tuple[Parameter, ...]
    ask: dict[Language, tuple[str, ...]]
    returns: tuple[tuple[str, str], ...]
    rows: Rows | None
    reply: Pair | None

    @cached_property
    def by_name(self) -> dict[str, Parameter]:
        """Parameters by name."""
        return {parameter.name: parameter for parameter in self.parameters}

    @cached_property
    def supplied(self) -> tuple[Parameter, ...]:
        """Parameters whose value only another tool knows."""
        return tuple(item for item in self.parameters if item.source_tool and item.required)

    @cached_property
    def required(self) -> tuple[str, ...]:
        """Names of the required parameters."""
        return tuple(item.name for item in self.parameters if item.required)

    def droppable(self, language: Language) -> tuple[str, ...]:
        """Required parameters that some way of asking can leave out."""
        return tuple(
            name
            for name in self.required
            if any(droppable_alone(template, name) for template in self.ask[language])
        )


@dataclass(frozen=True)
class Catalogue:
    """All tools by name, the word lists, and the texts of conversations without tools."""

    tools: dict[str, CatalogueTool]
    lexicons: Lexicons
    talk: dict[Language, tuple[tuple[str, str], ...]]

    def closure(self, tool: CatalogueTool) -> tuple[CatalogueTool, ...]:
        """The tool and all tools that supply its parameters, suppliers first, each once."""
        found: dict[str, CatalogueTool] = {}
        for parameter in tool.parameters:
            if parameter.source_tool:
                for needed in self.closure(self.tools[parameter.source_tool]):
                    found[needed.name] = needed
        found[tool.name] = tool
        return tuple(found.values())


def load_catalogue(folder: Path) -> Catalogue:
    """Reads every `*.yaml` of the folder; `_values.yaml` has the word lists, `_talk.yaml` small
    talk, each other file the tools of one domain. Raises DataError naming file, tool and field."""
    if not (folder / "_values.yaml").is_file():
        raise DataError(f"{folder}: no catalogue here (_values.yaml is missing). Name its folder.")
    lexicons = _read_lexicons(folder / "_values.yaml")
    talk = _read_talk(folder / "_talk.yaml")
    tools: dict[str, CatalogueTool] = {}
    for path in sorted(folder.glob("[!_]*.yaml")):
        for tool in _read_tools(path, lexicons):
            if tool.name in tools:
                raise DataError(f"{path}: the tool name {tool.name!r} is taken. Rename one.")
            tools[tool.name] = tool
    catalogue = Catalogue(tools, lexicons, talk)
    _check_sources(catalogue, folder)
    return catalogue


def _load_yaml(path: Path) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read as YAML ({error}). Mend or restore it.") from error


def _read_lexicons(path: Path) -> Lexicons:
    try:
        return {
            str(name): tuple(read_word(str(entry)) for entry in entries)
            for name, entries in _load_yaml(path).items()
        }
    except ValueError as error:
        raise DataError(f"{path}: {error}. Mend the entry.") from error


def _read_talk(path: Path) -> dict[Language, tuple[tuple[str, str], ...]]:
    content = _load_yaml(path)
    languages: tuple[Language, ...] = ("zh", "en")
    try:
        return {code: tuple((str(a), str(b)) for a, b in content[code]) for code in languages}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: needs 'zh' and 'en', each a list of [user, assistant] pairs ({error})."
        ) from error


def _read_tools(path: Path, lexicons: Lexicons) -> Iterator[CatalogueTool]:
    for number, entry in enumerate(_load_yaml(path) or [], start=1):
        name = entry.get("tool", f"number {number}") if isinstance(entry, dict) else number
        try:
            yield _build_tool(ToolSpec.model_validate(entry), path.stem, lexicons)
        except ValidationError as error:
            found = error.errors()[0]
            place = ".".join(str(part) for part in found["loc"])
            raise DataError(f"{path}: tool {name}: {place}: {found['msg']}. Mend it.") from error
        except ValueError as error:
            raise DataError(f"{path}: tool {name}: {error}. Mend it.") from error


def _build_tool(spec: ToolSpec, domain: str, lexicons: Lexicons) -> CatalogueTool:
    for maker in spec.returns.values():
        check_field(maker, lexicons)
    rows = None
    if spec.rows:
        for maker in spec.rows.fields.values():
            check_field(maker, lexicons)
        rows = Rows(
            make_maker(spec.rows.names, lexicons) if spec.rows.names else None,
            spec.rows.group_by,
            tuple(
                (read_pair(name), make_maker(words, lexicons))
                for name, words in spec.rows.groups.items()
            ),
            spec.rows.echo,
            spec.rows.name,
            tuple(spec.rows.fields.items()),
        )
        if sum((rows.names is not None, bool(rows.echo), bool(rows.groups))) != 1:
            raise ValueError("rows: give one of 'names', 'echo' and 'groups'")
        if {rows.echo, rows.group_by} - {"", *spec.args}:
            raise ValueError("rows: 'echo' and 'group_by' must be parameters")
    elif not spec.returns:
        raise ValueError("give 'returns' or 'rows': what the tool answers")
    return CatalogueTool(
        name=spec.tool,
        domain=domain,
        about=spec.about,
        does=spec.does,
        parameters=tuple(
            _build_parameter(name, parameter, lexicons) for name, parameter in spec.args.items()
        ),
        ask={"zh": spec.ask.zh, "en": spec.ask.en},
        returns=tuple(spec.returns.items()),
        rows=rows,
        reply=spec.reply,
    )


def _build_parameter(name: str, spec: ParameterSpec, lexicons: Lexicons) -> Parameter:
    if sum((bool(spec.make), bool(spec.codes), bool(spec.source))) != 1:
        raise ValueError(f"args.{name}: give exactly one of 'make', 'codes' and 'from'")
    codes = tuple((value, read_word(text, value)) for value, text in spec.codes.items())
    json_type: str = spec.type or "string"
    maker: Maker | None = None
    if codes:
        maker = word_maker(tuple(word for _, word in codes), "codes")
    elif spec.make:
        maker = make_maker(spec.make, lexicons)
        json_type = spec.type or maker.json_type
    source_tool, _, source_field = spec.source.partition(".")
    return Parameter(
        name=name,
        label=spec.label,
        json_type=json_type,  # type: ignore[arg-type]
        required=not spec.optional,
        maker=maker,
        codes=codes,
        source_tool=source_tool,
        source_field=source_field,
        default=spec.default,
        note=spec.note,
        question=spec.question,
    )


def check_field(expression: str, lexicons: Lexicons) -> None:
    """Raises ValueError unless the expression is `$name` or a value maker."""
    if not expression.startswith("$"):
        make_maker(expression, lexicons)


def _check_sources(catalogue: Catalogue, folder: Path) -> None:
    """Every supplied parameter names a tool with rows that have the field; every way to ask
    names what the call needs. Raises DataError."""
    for tool in catalogue.tools.values():
        place = f"{folder / tool.domain}.yaml: tool {tool.name}"
        for parameter in tool.parameters:
            if not parameter.source_tool:
                continue
            source = catalogue.tools.get(parameter.source_tool)
            fields = dict(source.rows.fields) if source and source.rows else {}
            if parameter.source_field not in fields:
                raise DataError(
                    f"{place}: args.{parameter.name}: no rows with the field "
                    f"{parameter.source_tool}.{parameter.source_field}. Mend 'from'."
                )
        known, needed = slots_known(catalogue, tool), slots_needed(catalogue, tool)
        for templates in tool.ask.values():
            for template in templates:
                slots = slots_of(template)
                if not needed <= slots <= known:
                    raise DataError(
                        f"{place}: ask {template!r}: needs {sorted(needed)}, may have "
                        f"{sorted(known)}, has {sorted(slots)}. Mend the text."
                    )


def slots_needed(catalogue: Catalogue, tool: CatalogueTool) -> frozenset[str]:
    """Names that a complete request must hold: own required parameters and the suppliers'.

    A supplier's `echo` is said under the name of the supplied parameter, and the group of a row
    follows from the row by common knowledge (who says 'tiger' need not say 'predators').
    """
    needed = set(tool.required)
    for parameter in tool.supplied:
        source = catalogue.tools[parameter.source_tool]
        unsaid = {source.rows.echo, source.rows.group_by} if source.rows else set()
        needed |= slots_needed(catalogue, source) - unsaid
    return frozenset(needed)


def slots_known(catalogue: Catalogue, tool: CatalogueTool) -> frozenset[str]:
    """Names that a request may hold."""
    return slots_needed(catalogue, tool) | frozenset(tool.by_name)
