"""Short-term memory: the conversation of one task, shown to the model within a token budget."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from matinee.messages.conversations import Message, Tool, canonical_json

CountTokens = Callable[[str], int]
OMITTED = "（较早的结果，已省略）"
# What a template adds around a message.
_TOKENS_PER_MESSAGE = 8
_WORD = re.compile(r"[A-Za-z]+|\d|\S")


def estimate_tokens(text: str) -> int:
    """Tokens of a text where no tokenizer is at hand: words and single characters.

    It counts too many rather than too few: common tokenizers join Chinese characters to words.
    """
    return sum(1 + len(word) // 6 for word in _WORD.findall(text))


class ShortTermMemory:
    """The messages of one task.

    `opening` holds the system message and earlier turns. What the model is shown is cut in this
    order until it fits: the oldest turns of the opening, then old tool results of the task itself
    (each becomes one short note). The system message, the question and the latest round stay.
    """

    def __init__(
        self,
        opening: Sequence[Message],
        tools: Sequence[Tool],
        budget: int,
        count: CountTokens = estimate_tokens,
    ) -> None:
        self._system = [message for message in opening if message.role == "system"]
        self._history = [message for message in opening if message.role != "system"]
        self._said: list[Message] = []
        self._count = count
        listed = sum(count(canonical_json(tool.as_openai())) for tool in tools)
        self._room = budget - listed

    def say(self, message: Message) -> None:
        """Adds a message to the task's conversation."""
        self._said.append(message)

    def shown(self) -> tuple[Message, ...]:
        """The messages that the model reads next."""
        history, said = list(self._history), list(self._said)
        while history and self._size([*self._system, *history, *said]) > self._room:
            history = _without_first_turn(history)
        for position in self._old_results():
            if self._size([*self._system, *history, *said]) <= self._room:
                break
            said[position] = replace(said[position], content=OMITTED)
        return (*self._system, *history, *said)

    def _old_results(self) -> list[int]:
        """Positions of tool results, oldest first, without those of the latest round."""
        latest = max(
            (n for n, message in enumerate(self._said) if message.role == "assistant"), default=0
        )
        return [n for n, message in enumerate(self._said[:latest]) if message.role == "tool"]

    def _size(self, messages: Sequence[Message]) -> int:
        return sum(self._tokens(message) for message in messages)

    def _tokens(self, message: Message) -> int:
        calls = "".join(call.name + call.arguments for call in message.tool_calls)
        return self._count(message.content + calls) + _TOKENS_PER_MESSAGE


def _without_first_turn(history: Sequence[Message]) -> list[Message]:
    """The history from its second user message on."""
    starts = [n for n, message in enumerate(history) if message.role == "user" and n > 0]
    return list(history[starts[0] :]) if starts else []
