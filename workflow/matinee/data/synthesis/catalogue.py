"""The catalogue of tools: data files, their checks, and their form in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from matinee.config.synthesis import Language
from matinee.data.synthesis.texts import PairField, Word, read_word
from matinee.data.synthesis.values import Lexicons, Maker, make_maker, word_maker
from matinee.data.synthesis.wording import droppable_alone, slots_of
from matinee.runtime.errors import DataError

JsonType = Literal["string", "integer", "number", "boolean", "array"]


class _Entry(BaseModel):
    """Part of a file. Its value makers are read with it, out of the word lists in the context."""

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))


class Parameter(_Entry):
    """One parameter: exactly one of `make`, `codes` and `from` says where its values come from."""

    name: str
    label: PairField
    make: str = ""
    codes: dict[Any, str] = {}
    source: str = Field(default="", alias="from")
    type: JsonType | None = None
    optional: bool = False
    default: Any = None
    note: PairField | None = None
    question: PairField | None = None
    _maker: Maker | None = PrivateAttr(None)
    _words: tuple[tuple[Any, Word], ...] = PrivateAttr(())

    @model_validator(mode="after")
    def _read_makers(self, info: ValidationInfo) -> Parameter:
        if sum((bool(self.make), bool(self.codes), bool(self.source))) != 1:
            raise ValueError("give exactly one of 'make', 'codes' and 'from'")
        self._words = tuple((value, read_word(text, value)) for value, text in self.codes.items())
        if self.codes:
            self._maker = word_maker(tuple(word for _, word in self._words), "codes")
        elif self.make:
            self._maker = make_maker(self.make, _lexicons(info))
        return self

    @property
    def required(self) -> bool:
        return not self.optional

    @property
    def maker(self) -> Maker | None:
        """Draws values; None where another tool supplies them."""
        return self._maker

    @property
    def words(self) -> tuple[tuple[Any, Word], ...]:
        """Codes with the words for them."""
        return self._words

    @property
    def json_type(self) -> str:
        return self.type or (self._maker.json_type if self.make and self._maker else "string")

    @property
    def source_tool(self) -> str:
        return self.source.partition(".")[0]

    @property
    def source_field(self) -> str:
        return self.source.partition(".")[2]


class Rows(_Entry):
    """Rows that a tool returns: several out of a word list, or the one that was searched.

    `groups`: a word list for each name that the parameter `group_by` can stand for. Users who
    name such a row need not name its group.
    """

    names: str = ""
    group_by: str = ""
    groups: dict[PairField, str] = {}
    echo: str = ""
    name: str
    fields: dict[str, str] = {}

    @model_validator(mode="after")
    def _one_source(self, info: ValidationInfo) -> Rows:
        if sum((bool(self.names), bool(self.echo), bool(self.groups))) != 1:
            raise ValueError("give one of 'names', 'echo' and 'groups'")
        for maker in (*filter(None, (self.names,)), *self.groups.values()):
            make_maker(maker, _lexicons(info))
        _check_fields(self.fields, info)
        return self


class Ask(_Entry):
    """Ways to ask for the tool, in the template language of `wording`."""

    zh: tuple[str, ...] = Field(min_length=1)
    en: tuple[str, ...] = Field(min_length=1)

    def __getitem__(self, language: Language) -> tuple[str, ...]:
        return self.zh if language == "zh" else self.en


class CatalogueTool(_Entry):
    """A tool with everything that is needed to ask for it, call it and answer for it."""

    name: str = Field(alias="tool")
    domain: str
    about: PairField
    does: PairField
    args: dict[str, Parameter] = {}
    ask: Ask
    returns: dict[str, str] = {}
    rows: Rows | None = None
    reply: PairField | None = None

    @field_validator("args", mode="before")
    @classmethod
    def _named(cls, args: Any) -> Any:
        if not isinstance(args, dict):
            return args
        return {name: {**entry, "name": name} for name, entry in args.items()}

    @model_validator(mode="after")
    def _answers(self, info: ValidationInfo) -> CatalogueTool:
        _check_fields(self.returns, info)
        if self.rows and {self.rows.echo, self.rows.group_by} - {"", *self.args}:
            raise ValueError("rows: 'echo' and 'group_by' must be parameters")
        if not self.rows and not self.returns:
            raise ValueError("give 'returns' or 'rows': what the tool answers")
        return self

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(self.args.values())

    @cached_property
    def required(self) -> tuple[str, ...]:
        """Names of the required parameters."""
        return tuple(item.name for item in self.parameters if item.required)

    @cached_property
    def supplied(self) -> tuple[Parameter, ...]:
        """Parameters whose value only another tool knows."""
        return tuple(item for item in self.parameters if item.source and item.required)

    def droppable(self, language: Language) -> tuple[str, ...]:
        """Required parameters that some way of asking can leave out."""
        ways = self.ask[language]
        return tuple(
            name for name in self.required if any(droppable_alone(way, name) for way in ways)
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
            if parameter.source:
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
            placed = {**entry, "domain": path.stem} if isinstance(entry, dict) else entry
            yield CatalogueTool.model_validate(placed, context={"lexicons": lexicons})
        except ValidationError as error:
            found = error.errors()[0]
            place = ": ".join(filter(None, (".".join(map(str, found["loc"])), found["msg"])))
            raise DataError(f"{path}: tool {name}: {place}. Mend it.") from error


def _lexicons(info: ValidationInfo) -> Lexicons:
    return info.context["lexicons"] if info.context else {}


def _check_fields(fields: dict[str, str], info: ValidationInfo) -> None:
    """Raises ValueError for an expression that is neither `$name` nor a value maker."""
    for expression in fields.values():
        if not expression.startswith("$"):
            make_maker(expression, _lexicons(info))


def _check_sources(catalogue: Catalogue, folder: Path) -> None:
    """Every supplied parameter names a tool with rows that have the field; every way to ask
    names what the call needs. Raises DataError."""
    for tool in catalogue.tools.values():
        place = f"{folder / tool.domain}.yaml: tool {tool.name}"
        for parameter in tool.parameters:
            source = catalogue.tools.get(parameter.source_tool)
            fields = source.rows.fields if source and source.rows else {}
            if parameter.source and parameter.source_field not in fields:
                raise DataError(
                    f"{place}: args.{parameter.name}: no rows with the field "
                    f"{parameter.source}. Mend 'from'."
                )
        needed = slots_needed(catalogue, tool)
        known = needed | set(tool.args)
        for template in (*tool.ask.zh, *tool.ask.en):
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
