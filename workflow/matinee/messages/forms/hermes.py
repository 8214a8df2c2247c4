"""`<tool_call>{"name": …, "arguments": {…}}</tool_call>` blocks with any text around."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from matinee.messages.conversations import Tool, ToolCall, canonical_json
from matinee.messages.forms.base import Broken, Form, Reading, Template
from matinee.messages.forms.grammar import choice, free_text, json_arguments, mark, quoted
from matinee.messages.repairing import goes_on, read_values
from matinee.messages.transcripts import ParsedCall

_TAG = re.compile(r"</?tool_call>")
_LENIENT_TAG = re.compile(r"[<＜]\s?[/／]?\s?tool_call\s?[>＞]")


class Hermes(Form):
    """Also that of Qwen2.5, Qwen3, SmolLM3 and Granite 4."""

    name = "hermes"
    about = "calls as JSON in <tool_call> tags"
    marks = ("<tool_call>", "</tool_call>")
    start = _TAG
    vllm = "hermes"
    templates: ClassVar = {
        "chatml_hermes": Template("<|im_end|>", "ChatML"),
        "gemma": Template("<end_of_turn>", "Gemma's turns"),
    }

    def read(self, reading: Reading) -> None:
        text, lenient = reading.text, reading.lenient
        tags = _LENIENT_TAG if lenient else _TAG
        position = 0
        while (tag := tags.search(text, position)) is not None:
            reading.rests.append(text[position : tag.start()])
            if _closes(tag):
                if not lenient:
                    reading.rests[-1] = text[position:]
                    raise Broken(tag.start(), "</tool_call> without <tool_call>")
                position = tag.end()
                continue
            try:
                read = _lenient_block if lenient else _block
                position = read(reading, tag.end())
            except Broken:
                reading.rests.append(text[tag.start() :])
                raise
        reading.rests.append(text[position:])

    def write(self, calls: Sequence[ToolCall | ParsedCall], content: str = "") -> str:
        parts = [f"{self.opening(call.name)}{call.arguments}}}\n</tool_call>" for call in calls]
        return "\n".join([content, *parts] if content else parts)

    def opening(self, name: str) -> str:
        return f'<tool_call>\n{{"name": {canonical_json(name)}, "arguments": '

    def grammar(self, tools: Sequence[Tool], tokens: Mapping[str, int]) -> str:
        before, closing = self.marks
        lines = [
            "start: call* last",
            f"call: before tool {mark(closing, tokens)}",
            free_text(before, self.marks, tokens),
            choice(tools),
        ]
        for number, tool in enumerate(tools):
            head = quoted(self.opening(tool.name).partition("\n")[2])
            lines.append(f'tool_{number}: "\\n"? {head} {json_arguments(tool)} "}}" "\\n"?')
        return "\n".join(lines)


def _closes(tag: re.Match[str]) -> bool:
    return "/" in tag[0] or "／" in tag[0]


def _block(reading: Reading, start: int) -> int:
    """Where the block ends whose opening tag ends at `start`."""
    value, end = reading.json(start)
    call = named_call(reading, value, start)
    end = reading.expect(end, "</tool_call>", "the JSON")
    reading.calls.append(call)
    return end


def _lenient_block(reading: Reading, start: int) -> int:
    text = reading.text
    # Whole JSON first, because a tag in one of its strings is none.
    values, end = read_values(text, start)
    following = _LENIENT_TAG.search(text, end)
    stop = following.start() if following else len(text)
    if not values or goes_on(text, end):
        values += reading.repaired(end, stop)
    # Together, so that a broken block gives none of its calls.
    reading.calls += [named_call(reading, value, start) for value in values]
    # The next tag is an opening one where the closing one was forgotten.
    return following.end() if following is not None and _closes(following) else stop


def named_call(
    reading: Reading, value: Any, position: int, key: str = "arguments", more: Sequence[str] = ()
) -> ParsedCall:
    """The call in a decoded `{"name": …, "arguments": …}`; `more`: keys that may be there too."""
    if not isinstance(value, dict):
        raise Broken(position, "expected a JSON object with name and arguments")
    if reading.lenient:
        given = value.get("arguments", value.get("parameters", {}))
        return reading.call(value.get("name"), given, position)
    name = value.get("name")
    if not isinstance(name, str) or not name.strip():
        raise Broken(position, "no tool name: `name` must be a string")
    if set(value) - set(more) != {"name", key}:
        keys = ", ".join(sorted((set(value) - set(more)) ^ {"name", key}))[:80]
        raise Broken(position, f"expected exactly the keys name and {key} (differs in: {keys})")
    return reading.call(name, value[key], position)


FORMS = (Hermes(),)
