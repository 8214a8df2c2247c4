"""What an answer may look like when its format is guaranteed, as a grammar for llguidance.

Free text and any number of calls of the given tools, spelled as the chat templates spell them, with
arguments that fit the tool's JSON Schema as far as the library knows its keywords. Whether to call
at all, what and with which values stays the model's choice. Whatever the grammar accepts, the
strict parser reads without an error.

The syntax is llguidance's dialect of Lark: `[lazy]` ends a match at the first chance, `&` and `~`
intersect and negate regular expressions, `%json` stands for a JSON Schema.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from matinee.messages.conversations import Tool, canonical_json
from matinee.messages.parsing import CallForm

# Spaces as in the calls that templates write; a keyword that is not known is left out.
_JSON_STYLE = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "lenient": True,
}

_HERMES = r"""%llguidance {}
start: call* last
call: opening "\n{\"name\": " tool "}\n" CLOSING
opening[lazy]: TEXT "<tool_call>"
last: TEXT
TEXT: /(?s:.*)/ & ~/(?s:.*)<\/?tool_call>(?s:.*)/
CLOSING: "</tool_call>"
"""

# Where the tags are special tokens, text cannot spell them.
_HERMES_TAG_TOKENS = r"""%llguidance {}
start: call* last
call: TEXT <tool_call> "\n{\"name\": " tool "}\n" </tool_call>
last: TEXT
TEXT: /(?s:.*)/
"""

_TEXT_ALONE = "%llguidance {}\nstart: TEXT\nTEXT: /(?s:.*)/\n"

# A line that begins with `Action:` begins a call, and then nothing but calls may follow.
_ACTION = r"""%llguidance {}
start: last | opening tool ("\nAction:" tool)*
opening[lazy]: BEFORE
last: TEXT
BEFORE: /((?s:.*)\n)? ?Action:/ & ~/((?s:.*)\n)?Action Input:(?s:.*)/
TEXT: /(?s:.*)/ & ~/((?s:.*)\n)?( ?Action|Action Input):(?s:.*)/
"""


def answer_grammar(
    form: CallForm, tools: Sequence[dict[str, Any]], *, tag_tokens: bool = False
) -> str:
    """The grammar of answers over these tools, in OpenAI's form or bare.

    `tag_tokens`: `<tool_call>` and `</tool_call>` are special tokens of the tokenizer.
    """
    listed = [Tool.from_openai(tool) for tool in tools]
    if not listed:
        return _TEXT_ALONE
    head = _ACTION if form == "action" else _HERMES_TAG_TOKENS if tag_tokens else _HERMES
    names = " | ".join(f"tool_{number}" for number in range(len(listed)))
    calls = "\n".join(
        f"tool_{number}: {_written(_before_arguments(form, tool.name))} %json {_schema(tool)}"
        for number, tool in enumerate(listed)
    )
    return f"{head}tool: {names}\n{calls}\n"


def _before_arguments(form: CallForm, name: str) -> str:
    if form == "hermes":
        return f'{canonical_json(name)}, "arguments": '
    return f" {name}\nAction Input: "


def _written(text: str) -> str:
    """A text as the grammar quotes it."""
    return json.dumps(text, ensure_ascii=False)


def _schema(tool: Tool) -> str:
    """The schema of a tool's arguments; what it does not name is not allowed, as in scoring."""
    closed = {"type": "object", "additionalProperties": False} | tool.schema
    return json.dumps(closed | {"x-guidance": _JSON_STYLE}, ensure_ascii=False)
