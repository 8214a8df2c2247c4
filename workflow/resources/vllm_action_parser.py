"""Calls as `Action:` and `Action Input:` lines, for vLLM.

    vllm serve . --enable-auto-tool-choice --tool-parser-plugin ./vllm_action_parser.py \
      --tool-call-parser matinee_action
"""

import json
import re

from vllm.tool_parsers.abstract_tool_parser import ToolParser, ToolParserManager

try:
    from vllm.entrypoints.generate.base import protocol
except ImportError:  # before 0.30
    from vllm.entrypoints.openai import protocol

_HEAD = re.compile(r"^ ?Action:(?P<name>[^\n]+)\n *Action Input:", re.MULTILINE)
_BEGUN = re.compile(
    rf"^ ?(?:{'|'.join(re.escape('Action:'[:n]) for n in range(6, 0, -1))})\Z|^ ?Action:",
    re.MULTILINE,
)
_SPACE = re.compile(r"\s*")


def _unlike(pairs):
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def _finite(literal):
    if float(literal) in (float("inf"), float("-inf")):
        raise ValueError("a number past all floats")
    return float(literal)


def _refused(name):
    raise ValueError(f"{name} is no JSON")


_JSON = json.JSONDecoder(object_pairs_hook=_unlike, parse_float=_finite, parse_constant=_refused)


def read_calls(text):
    """The text around the calls, the calls (name, arguments as JSON), and whether all were read."""
    calls, rest, position = [], [], 0
    while (head := _HEAD.search(text, position)) is not None:
        if calls and text[position : head.start()].strip():
            break
        start = _SPACE.match(text, head.end()).end()
        try:
            value, end = _JSON.raw_decode(text, start)
        except (ValueError, RecursionError):
            break
        if not isinstance(value, dict):
            break
        rest.append(text[position : head.start()])
        calls.append((head["name"].strip(), text[start:end]))
        position = end
    rest.append(text[position:])
    broken = re.search("^ ?Action:", rest[-1], re.MULTILINE) or (calls and rest[-1].strip())
    return "".join(rest).strip(), calls, not broken


@ToolParserManager.register_module("matinee_action")
class ActionToolParser(ToolParser):
    """A text with a call that cannot be read stays text, as in Matinee's own tests."""

    def extract_tool_calls(self, model_output, request):
        """The calls of a whole output."""
        content, calls, whole = read_calls(model_output)
        if not calls or not whole:
            content, calls = model_output.strip(), []
        return protocol.ExtractedToolCallInformation(
            tools_called=bool(calls),
            tool_calls=[protocol.ToolCall(function=_function(*call)) for call in calls],
            content=content or None,
        )

    def extract_tool_calls_streaming(
        self, previous_text, current_text, delta_text, previous_token_ids, current_token_ids,
        delta_token_ids, request,
    ):  # fmt: skip
        """Text as it comes, each call as soon as it is complete."""
        before, after = _plain(previous_text), _plain(current_text)
        calls = read_calls(current_text)[1]
        known = len(read_calls(previous_text)[1])
        message = protocol.DeltaMessage(content=after[len(before) :] or None)
        for index, call in enumerate(calls[known:], start=known):
            delta = protocol.DeltaToolCall(
                index=index, type="function", id=protocol.ToolCall(function=_function(*call)).id,
                function=protocol.DeltaFunctionCall(name=call[0], arguments=call[1]),
            )  # fmt: skip
            message.tool_calls = [*(message.tool_calls or []), delta]
            # What vLLM compares with at the end of the stream.
            self.prev_tool_call_arr.append({"name": call[0], "arguments": json.loads(call[1])})
            self.streamed_args_for_tool.append(call[1])
            self.current_tool_id = index
        return message if message.content or message.tool_calls else None


def _plain(text):
    """The beginning that is surely no part of a call."""
    begun = _BEGUN.search(text)
    return (text if begun is None else text[: begun.start()]).lstrip()


def _function(name, arguments):
    return protocol.FunctionCall(name=name, arguments=arguments)
