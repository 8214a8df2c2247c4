"""How the descriptions of one tool list read: terse as in a data sheet, or written out."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date

from matinee.config.synthesis import Language
from matinee.data.synthesis.catalogue import CatalogueTool, Parameter
from matinee.data.synthesis.naming import Names
from matinee.data.synthesis.texts import Pair
from matinee.data.synthesis.values import Maker, Setting
from matinee.messages.conversations import canonical_json

_TERSE_CODES = ("{code}：{word}", "{code}-{word}", "{code} {word}", "{word}={code}")
_WRITTEN_CODES = ("{code}为{word}", "{code}表示{word}", "{code}（{word}）", "{word}填{code}")
_ENGLISH_CODES = ("{code} for {word}", "{code} means {word}", "{code} ({word})", "{word} is {code}")
_EXAMPLES = (
    *(Pair("例如：{}", "for example: {}"), Pair("例如{}", "for example {}")),
    *(Pair("比如{}", "such as {}"), Pair("示例：{}", "example: {}")),
)
_NEEDS = (Pair("需要提供{}。", "Needs {}."), Pair("调用时须给出{}。", "Must be given {}."))
_TAKES = (Pair("还可以指定{}。", "Can be told {} too."), Pair("可按{}筛选。", "Can filter by {}."))
_FIRST = (
    Pair("{label}须先通过{tool}取得。", "The {label} has to be looked up with {tool} first."),
    Pair("如不知道{label}，请先调用{tool}。", "Call {tool} first where the {label} is not known."),
)
_NOTHING = Pair("无需参数。", "Takes no parameters.")
_ONLY_IF = Pair("选填，不填则不限", "optional, unrestricted where it is left out")


@dataclass(frozen=True)
class Dialect:
    """How the descriptions of one list are written and how its tools wrap their answers.

    `written_out`: in sentences, with what a tool needs and examples of values, as public
    interfaces document themselves; about 1.3 times the tokens.
    """

    codes: Pair
    enumerated: bool
    default_key: bool
    example: Pair
    example_share: float
    source_note: str
    envelope: str
    empty_required: bool
    written_out: bool
    needs: Pair
    takes: Pair
    first: Pair


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
        codes=Pair(_WRITTEN_CODES[form], _ENGLISH_CODES[form])
        if written_out
        else Pair(codes, codes.replace("：", ": ")),
        enumerated=enumerated,
        default_key=default_key,
        example=layout.choice(_EXAMPLES) if written_out else Pair("如{}", "e.g. {}"),
        example_share=layout.choice((0.5, 0.8, 1.0)) if written_out else example_share,
        source_note=source_note,
        envelope=envelope,
        empty_required=empty_required,
        written_out=written_out,
        needs=layout.choice(_NEEDS),
        takes=layout.choice(_TAKES),
        first=layout.choice(_FIRST),
    )


def about_tool(tool: CatalogueTool, language: Language, dialect: Dialect, names: Names) -> str:
    """The tool's own description; written out, also what it needs and what it can be told."""
    about = tool.about[language]
    if not dialect.written_out:
        return about
    zh = language == "zh"
    sentences = [about.rstrip("。.") + ("。" if zh else ".")]
    own = [item.label[language] for item in tool.parameters if item.required and item.maker]
    others = [item.label[language] for item in tool.parameters if not item.required]
    for form, labels in ((dialect.needs, own), (dialect.takes, others)):
        if labels:
            sentences.append(form[language].format(("、" if zh else ", ").join(labels)))
    for item in tool.parameters:
        if item.required and item.source_tool:
            source = names.tool(item.source_tool)
            sentences.append(
                dialect.first[language].format(label=item.label[language], tool=source)
            )
    if not tool.parameters:
        sentences.append(_NOTHING[language])
    return ("" if zh else " ").join(sentences)


def about_parameter(
    rng: random.Random,
    parameter: Parameter,
    language: Language,
    dialect: Dialect,
    names: Names,
    today: date | None,
) -> str:
    """Label, note, codes, source, format, example and default, as far as there are any."""
    zh = language == "zh"
    notes = [parameter.label[language]]
    if parameter.note:
        notes.append(parameter.note[language])
    if parameter.codes:
        notes[-1] += ("：" if zh else ": ") + _codes(parameter, language, dialect)
    if parameter.source_tool:
        source = names.tool(parameter.source_tool)
        notes.append(dialect.source_note.format(name=source) if zh else f"from {source}")
    maker = parameter.maker
    if maker and maker.hint:
        notes.append(maker.hint[language])
    shows_example = maker and not parameter.codes and maker.kind not in ("int", "num")
    if maker and shows_example and rng.random() < dialect.example_share:
        example = _example(rng, maker, language, today)
        notes.append(dialect.example[language].format(example))
    if parameter.default is not None:
        default = canonical_json(parameter.default).strip('"')
        told = "默认为" if dialect.written_out else "默认"
        notes.append(f"{told}{default}" if zh else f"default {default}")
    elif dialect.written_out and not parameter.required:
        notes.append(_ONLY_IF[language])
    return ("，" if zh else ", ").join(notes)


def _example(rng: random.Random, maker: Maker, language: Language, today: date | None) -> str:
    value = maker.draw(Setting(rng, language, today)).value
    return canonical_json(value) if isinstance(value, list) else str(value)


def _codes(parameter: Parameter, language: Language, dialect: Dialect) -> str:
    separator = "，" if language == "zh" else ", "
    return separator.join(
        dialect.codes[language].format(
            code=canonical_json(value).strip('"'), word=word.words(language)[0]
        )
        for value, word in parameter.words
    )
