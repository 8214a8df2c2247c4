"""`<tool_call>{"name": …, "arguments": {…}}</tool_call>` blocks with any text around."""

from __future__ import annotations

import re
from typing import ClassVar

from matinee.messages.forms.base import Broken, Reading, Template
from matinee.messages.forms.blocks import Blocks
from matinee.messages.forms.bodies import JsonBody
from matinee.messages.repairing import goes_on, read_values

_LENIENT_TAG = re.compile(r"[<＜]\s?(?P<closing>[/／])?\s?tool_call\s?[>＞]")


class Hermes(Blocks):
    """Also that of Qwen2.5, Qwen3, SmolLM3 and Granite 4."""

    templates: ClassVar = {
        "chatml_hermes": Template("<|im_end|>", "ChatML"),
        "gemma": Template("<end_of_turn>", "Gemma's turns"),
    }

    def read(self, reading: Reading) -> None:
        if not reading.lenient:
            super().read(reading)
            return
        text, position = reading.text, 0
        while (tag := _LENIENT_TAG.search(text, position)) is not None:
            reading.rests.append(text[position : tag.start()])
            try:
                position = tag.end() if tag["closing"] else _lenient_block(reading, tag.end())
            except Broken:
                reading.rests.append(text[tag.start() :])
                raise
        reading.rests.append(text[position:])


def _lenient_block(reading: Reading, start: int) -> int:
    text = reading.text
    # Whole JSON first, because a tag in one of its strings is none.
    values, end = read_values(text, start)
    following = _LENIENT_TAG.search(text, end)
    stop = following.start() if following else len(text)
    if not values or goes_on(text, end):
        values += reading.repaired(end, stop)
    # Together, so that a broken block gives none of its calls.
    reading.calls += [reading.named_call(value, start) for value in values]
    # The next tag is an opening one where the closing one was forgotten.
    return following.end() if following is not None and following["closing"] else stop


FORMS = (
    Hermes(
        "hermes",
        "calls as JSON in <tool_call> tags",
        JsonBody(),
        vllm="hermes",
        opening_="<tool_call>\n",
        closing="\n</tool_call>",
        marks=("<tool_call>", "</tool_call>"),
    ),
)
