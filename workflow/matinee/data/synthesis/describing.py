"""How the descriptions of one tool list read: terse as in a data sheet, or written out."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date
from typing import Any

from matinee.config.synthesis import Language
from matinee.data.synthesis.catalogue import CatalogueTool, Parameter
from matinee.data.synthesis.naming import Names
from matinee.data.synthesis.texts import Bilingual
from matinee.data.synthesis.values import Setting
from matinee.messages.conversations import Tool, canonical_json

_TERSE_CODES = ("{code}：{word}", "{code}-{word}", "{code} {word}", "{word}={code}")
_WRITTEN_CODES = ("{code}为{word}", "{code}表示{word}", "{code}（{word}）", "{word}填{code}")
_ENGLISH_CODES = ("{code} for {word}", "{code} means {word}", "{code} ({word})", "{word} is {code}")
_EXAMPLES = (
    *(Bilingual("例如：{}", "for example: {}"), Bilingual("例如{}", "for example {}")),
    *(Bilingual("比如{}", "such as {}"), Bilingual("示例：{}", "example: {}")),
)
_NEEDS = (
    Bilingual("需要提供{}。", "Needs {}."),
    Bilingual("调用时须给出{}。", "Must be given {}."),
)
_TAKES = (
    Bilingual("还可以指定{}。", "Can be told {} too."),
    Bilingual("可按{}筛选。", "Can filter by {}."),
)
_FIRST = (
    Bilingual("{label}须先通过{tool}取得。", "The {label} has to be looked up with {tool} first."),
    Bilingual(
        "如不知道{label}，请先调用{tool}。", "Call {tool} first where the {label} is not known."
    ),
)
_NOTHING = Bilingual("无需参数。", "Takes no parameters.")
_ONLY_IF = Bilingual("选填，不填则不限", "optional, unrestricted where it is left out")


@dataclass(frozen=True)
class Dialect:
    """How the descriptions of one list are written and how its tools wrap their answers.

    `written_out`: in sentences, with what a tool needs and examples of values, as public
    interfaces document themselves; about 1.3 times the tokens.
    """

    codes: Bilingual
    enumerated: bool
    default_key: bool
    example: Bilingual
    example_share: float
    source_note: str
    envelope: str
    empty_required: bool
    written_out: bool
    needs: Bilingual
    takes: Bilingual
    first: Bilingual


def draw_dialect(rng: random.Random, layout: random.Random, written_out_share: float) -> Dialect:
    """`layout` draws what lists that are not written out do without."""
    codes = rng.choice(_TERSE_CODES)
    enumerated = rng.random() < 0.5
    default_key = rng.random() < 0.3
    example_share = rng.choice((0.0, 0.3, 0.6))
    source_note = rng.choice(("由{name}返回", "通过{name}获取", "见{name}", "来自{name}"))
    envelope = rng.choice(("bare", "bare", "code", "result"))
    empty_required = rng.random() < 0.5
    written_out = layout.random() < written_out_share
    form = layout.randrange(len(_WRITTEN_CODES))
    return Dialect(
        codes=Bilingual(_WRITTEN_CODES[form], _ENGLISH_CODES[form])
        if written_out
        else Bilingual(codes, codes.replace("：", ": ")),
        enumerated=enumerated,
        default_key=default_key,
        example=layout.choice(_EXAMPLES) if written_out else Bilingual("如{}", "e.g. {}"),
        example_share=layout.choice((0.5, 0.8, 1.0)) if written_out else example_share,
        source_note=source_note,
        envelope=envelope,
        empty_required=empty_required,
        written_out=written_out,
        needs=layout.choice(_NEEDS),
        takes=layout.choice(_TAKES),
        first=layout.choice(_FIRST),
    )


@dataclass(frozen=True)
class Describer:
    """Writes the tools of one list as its prompt shows them."""

    rng: random.Random
    language: Language
    dialect: Dialect
    names: Names
    today: date | None

    @property
    def _zh(self) -> bool:
        return self.language == "zh"

    @property
    def _comma(self) -> str:
        return "，" if self._zh else ", "

    def tool(self, tool: CatalogueTool, extras: dict[str, dict[str, Any]]) -> Tool:
        """The tool with its schema; `extras` are parameters by name that it does not have."""
        properties = {
            self.names.parameter(tool.name, item.name): self._schema(item)
            for item in tool.parameters
        }
        properties |= {name: extra for name, extra in extras.items() if name not in properties}
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        if tool.required or self.dialect.empty_required:
            schema["required"] = [self.names.parameter(tool.name, name) for name in tool.required]
        return Tool(self.names.tool(tool.name), self._about(tool), canonical_json(schema))

    def _schema(self, parameter: Parameter) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": parameter.json_type}
        if parameter.json_type == "array":
            schema["items"] = {"type": "string"}
        schema["description"] = self._about_parameter(parameter)
        if parameter.codes and self.dialect.enumerated:
            schema["enum"] = list(parameter.codes)
        if parameter.default is not None and self.dialect.default_key:
            schema["default"] = parameter.default
        return schema

    def _about(self, tool: CatalogueTool) -> str:
        """The tool's own description; written out, also what it needs and what it can be told."""
        about, dialect = tool.about[self.language], self.dialect
        if not dialect.written_out:
            return about
        sentences = [about.rstrip("。.") + ("。" if self._zh else ".")]
        own = [
            item.label[self.language] for item in tool.parameters if item.required and item.maker
        ]
        others = [item.label[self.language] for item in tool.parameters if not item.required]
        for form, labels in ((dialect.needs, own), (dialect.takes, others)):
            if labels:
                listed = ("、" if self._zh else ", ").join(labels)
                sentences.append(form[self.language].format(listed))
        sentences += [
            dialect.first[self.language].format(
                label=item.label[self.language], tool=self.names.tool(item.source_tool)
            )
            for item in tool.supplied
        ]
        if not tool.parameters:
            sentences.append(_NOTHING[self.language])
        return ("" if self._zh else " ").join(sentences)

    def _about_parameter(self, parameter: Parameter) -> str:
        """Label, note, codes, source, format, example and default, as far as there are any."""
        dialect, maker = self.dialect, parameter.maker
        notes = [parameter.label[self.language]]
        if parameter.note:
            notes.append(parameter.note[self.language])
        if parameter.codes:
            notes[-1] += ("：" if self._zh else ": ") + self._codes(parameter)
        if parameter.source:
            source = self.names.tool(parameter.source_tool)
            notes.append(dialect.source_note.format(name=source) if self._zh else f"from {source}")
        if maker and maker.hint:
            notes.append(maker.hint[self.language])
        shows_example = maker and not parameter.codes and maker.kind not in ("int", "num")
        if maker and shows_example and self.rng.random() < dialect.example_share:
            value = maker.draw(Setting(self.rng, self.language, self.today)).value
            example = canonical_json(value) if isinstance(value, list) else str(value)
            notes.append(dialect.example[self.language].format(example))
        if parameter.default is not None:
            default = canonical_json(parameter.default).strip('"')
            told = "默认为" if dialect.written_out else "默认"
            notes.append(f"{told}{default}" if self._zh else f"default {default}")
        elif dialect.written_out and not parameter.required:
            notes.append(_ONLY_IF[self.language])
        return self._comma.join(notes)

    def _codes(self, parameter: Parameter) -> str:
        form = self.dialect.codes[self.language]
        return self._comma.join(
            form.format(code=canonical_json(value).strip('"'), word=word.words(self.language)[0])
            for value, word in parameter.words
        )
