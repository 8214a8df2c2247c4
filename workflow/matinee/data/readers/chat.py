"""Lists of messages: OpenAI's, Anthropic's, sharegpt's, and those of the frameworks beside them.

Their keys differ, their meaning does not, so that one reader takes them all: `messages` or
`conversations`, `role` or `from`, `content` or `value`, calls as `tool_calls`, as `function_call`,
as turns of their own or as parts of the content.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from matinee.data.readers.base import (
    Account,
    BadRow,
    Level,
    Reader,
    Row,
    decode,
    flag_of,
    list_of,
    shorten,
    text_of,
    words,
)
from matinee.data.readers.schemas import CALL, TOOL, WORDS, RawCall, call_of, id_of, tools_of
from matinee.data.readers.turns import CALLING, ROLES, RawTurn, draft_of, role_of
from matinee.messages.conversations import Conversation, Tool, canonical_json

ABOUT = words(
    "id idx index uid uuid row_id conversation_id prompt_id hash source dataset "
    "category subcategory task domain topic lang language license url metadata created "
    "created_at timestamp channel num_turns turns"
)
# What a request to a server says besides: how it was answered, not what.
REQUEST = words(
    "model temperature top_p top_k max_tokens max_completion_tokens n stop stream seed "
    "user store presence_penalty frequency_penalty logprobs top_logprobs tool_choice "
    "service_tier response_format stop_sequences functions_choice thinking reasoning_effort"
)
MEDIA = dict.fromkeys(
    ("images", "image", "videos", "video", "audios", "audio", "objects"),
    "pictures and sounds cannot be learned here; leave such rows out",
)
# What parts that hold them have beside their type.
MEDIA_PARTS = words("source image image_url audio input_audio video")
PREFERENCE = dict.fromkeys(
    ("chosen", "rejected", "rejected_response", "rejected_messages", "margin"),
    "rows of preferences are not trained on here; give the good answer alone",
)


def row_level(
    reads: Mapping[str, tuple[str, ...]],
    leaves: frozenset[str] = frozenset(),
    refuses: Mapping[str, str] = MEDIA | PREFERENCE,
) -> Level:
    """The keys of a row, with the marks that no reader may pass over."""
    steers = {
        "label": ("label", "kto_tag"),
        "weight": ("weight",),
        "parallel": ("parallel_tool_calls",),
    }
    return Level("row", reads, steers, ABOUT | leaves, refuses)


ROW = row_level(
    {
        "messages": ("messages", "conversations", "conversation"),
        "tools": ("tools", "functions"),
        "system": ("system", "system_prompt"),
    },
    REQUEST,
)
SUPERVISED = ("weight", "loss_weight", "loss", "training", "train")
MESSAGE = Level(
    "message",
    {
        "content": ("content", "value", "text"),
        "calls": ("tool_calls",),
        "call": ("function_call",),
        "reasoning": ("reasoning_content", "reasoning", "thinking"),
        "refusal": ("refusal",),
        "name": ("name",),
    },
    {"role": ("role", "from"), "answers": ("tool_call_id",), "supervised": SUPERVISED},
    frozenset({"id", "timestamp", "annotations"}),
    MEDIA
    | dict.fromkeys(
        ("training_detail", "train_detail"),
        "parts of a message cannot be learned without the rest",
    ),
)
PART = Level(
    "part",
    {"text": ("text", "value", "content", "output", "thinking", "reasoning", "refusal")},
    {"type": ("type",), "answers": ("tool_use_id", "tool_call_id", "call_id")},
    words("id cache_control annotations citations signature is_error"),
)
TEXTS = words("text input_text output_text refusal")
THOUGHTS = words("thinking reasoning")
CALLS = words("tool_use tool_call tool_calls function_call")
RESULTS = words("tool_result tool_response function_call_output")
PARTS = sorted(TEXTS | THOUGHTS | CALLS | RESULTS)


@dataclass
class _Content:
    """What the parts of one message hold."""

    text: str = ""
    reasoning: str = ""
    calls: list[RawCall] = field(default_factory=list)
    answers: list[RawTurn] = field(default_factory=list)


def convert(row: Row, account: Account) -> Conversation:
    """Raises BadRow."""
    turns, tools = read_row(row, account)
    return draft_of(turns, tools, account)


def read_row(row: Row, account: Account) -> tuple[list[RawTurn], tuple[Tool, ...]]:
    """The turns of a row, its system text first, and its tools. Raises BadRow."""
    found = good_row(ROW, row, account)
    turns: list[RawTurn] = []
    for number, message in enumerate(list_of(found["messages"], "messages")):
        turns += _turns(message, account, f"messages[{number}]")
    if system := found.get("system"):
        turns.insert(0, RawTurn("system", _content(system, account, "system").text))
    if found.get("parallel") is False and any(len(turn.calls) > 1 for turn in turns):
        raise BadRow("not_supported", "parallel_tool_calls is false, but one message calls twice")
    return turns, tools_of(found.get("tools"), account)


def good_row(level: Level, row: Row, account: Account) -> dict[str, Any]:
    """The row's values by meaning. Raises BadRow for one that is labelled as bad, or weighed
    otherwise than as one."""
    found = level.read(row, account)
    label, weight = (found.get(name, True) for name in ("label", "weight"))
    if flag_of(label) is False:
        raise BadRow("not_to_learn", f"its label is {label!r}: a bad answer is not to be learned")
    if flag_of(label) is None:
        raise BadRow(
            "not_supported",
            f"its label is {shorten(repr(label), 40)}; true (good) and false (bad) are understood. "
            "Take the column out if it says something else",
        )
    if not flag_of(weight):
        raise BadRow("not_supported", f"its weight is {weight!r}; rows weigh 1")
    return found


def _turns(message: Any, account: Account, at: str) -> list[RawTurn]:
    found = MESSAGE.read(message, account, at)
    if "role" not in found:
        raise BadRow("wrong_columns", f"{at} has no `role` or `from`: {shorten(str(message))}")
    role = role_of(found["role"])
    if role == "tool":
        given = found.get("content", "")
        answer = _Content(given) if isinstance(given, str) else _content(given, account, at, role)
        name = found.get("name")
        return answer.answers or [
            RawTurn(
                role,
                answer.text,
                name=text_of(name, f"{at}.name") if name else None,
                answers=id_of(found.get("answers"), at),
            )
        ]
    if "answers" in found:
        account.unknown.append(f"{at}.tool_call_id")
    if "name" in found:
        account.leave(found["name"], "message.name")
    content = _content(found.get("content", ""), account, at, role)
    calls = [*content.calls, *_calls(found, account, at)]
    bare = found["role"] in CALLING
    if bare and not calls:
        listed = decode(content.text, f"{at}: the call", "broken_arguments")
        listed = listed if isinstance(listed, list) else [listed]
        calls = [call_of(call, account, at) for call in listed]
        content.text = ""
    if calls and role != "assistant":
        raise BadRow("roles_out_of_order", f"{at} is a call by the {role}")
    refusal = found.get("refusal")
    if refusal and content.text:
        raise BadRow("wrong_columns", f"{at} holds content and a refusal")
    thought = text_of(found.get("reasoning", ""), f"{at}: its reasoning")
    turn = RawTurn(
        role,
        content.text or text_of(refusal or "", f"{at}.refusal"),
        tuple(calls),
        reasoning="\n".join(part for part in (thought, content.reasoning) if part),
        supervised=supervision(found, role, at),
        bare=bare,
    )
    if content.answers and not content.text and not calls:
        return content.answers
    return [*content.answers, turn]


def _calls(found: dict[str, Any], account: Account, at: str) -> list[RawCall]:
    calls = found.get("calls")
    listed = [calls] if isinstance(calls, dict) else list_of(calls, f"{at}.tool_calls")
    if single := found.get("call"):
        listed = [*listed, decode(single, f"{at}.function_call", "broken_arguments")]
    return [call_of(call, account, f"{at}.tool_calls[{n}]") for n, call in enumerate(listed)]


def supervision(found: dict[str, Any], role: str, at: str) -> bool:
    """Whether a message is learned, by its mark. Raises BadRow for a mark that is neither."""
    if (given := found.get("supervised")) is None:
        return True
    if (mark := flag_of(given)) is None:
        raise BadRow(
            "not_supported", f"{at}: a weight of {given!r}; an answer is learned (1) or not (0)"
        )
    if mark and role != "assistant":
        raise BadRow("not_supported", f"{at}: only answers are learned, not what the {role} says")
    return mark or role != "assistant"


def _content(value: Any, account: Account, at: str, role: str = "user") -> _Content:
    """A string, or the parts of a list."""
    if isinstance(value, str):
        return _Content(value)
    listed = value if isinstance(value, list) else [value]
    parts = all(
        isinstance(part, str) or (isinstance(part, dict) and _kind(part) is not None)
        for part in listed
    )
    if role == "tool" and not parts and not any(map(_is_media, listed)):
        # A result as values, not as text.
        return _Content(canonical_json(value))
    found = _Content()
    for number, part in enumerate(listed):
        _read_part(part, found, account, f"{at}.content[{number}]")
    return found


def _is_media(part: Any) -> bool:
    return isinstance(part, dict) and not MEDIA_PARTS.isdisjoint(part) and "type" in part


def _kind(part: dict[str, Any]) -> str | None:
    kind = part.get("type", "text" if "text" in part else None)
    return kind if kind in PARTS else None


def _read_part(part: Any, found: _Content, account: Account, at: str) -> None:
    if isinstance(part, str):
        part = {"type": "text", "text": part}
    if not isinstance(part, dict):
        raise BadRow("wrong_columns", f"{at} is no part of a message: {shorten(str(part))}")
    kind = _kind(part)
    if kind is None:
        raise BadRow(
            "not_supported",
            f"{at} is of type {part.get('type')!r}; only {', '.join(PARTS)} can be read",
        )
    if kind in CALLS:
        if "value" in part:
            part = decode(PART.read(part, account, at)["text"], at, "broken_arguments")
        listed = part if isinstance(part, list) else [part]
        found.calls += [call_of(call, account, at) for call in listed]
        return
    read = PART.read(part, account, at)
    if kind in RESULTS:
        said = _content(read.get("text", ""), account, at, "tool").text
        found.answers.append(RawTurn("tool", said, answers=id_of(read.get("answers"), at)))
        return
    if "answers" in read:
        raise BadRow("wrong_columns", f"{at} answers a call, but is of type {kind}")
    text = text_of(read.get("text", ""), at)
    if kind in THOUGHTS:
        found.reasoning += text
    elif text and found.calls:
        raise BadRow("not_supported", f"{at} is text after a call, which would stand before it")
    else:
        found.text += text


LEVELS = (ROW, MESSAGE, PART, CALL, TOOL)
READER = Reader(
    columns=(ROW.reads["messages"],),
    convert=convert,
    levels=LEVELS,
    words=WORDS | {*ROLES, *PARTS, "function"},
)
