"""Conversation → token ids and supervision mask, through the chat template and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from matinee.messages.conversations import Conversation, Message, ToolCall
from matinee.messages.forms import FOLDER, NATIVE, templates
from matinee.messages.native import NativeTemplate, Supervised, alike
from matinee.messages.parsing import THOUGHTS, CallForm
from matinee.runtime.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_template(name: str) -> str:
    """The whole Jinja text of a template of our own."""
    parts = [(FOLDER / f"{part}.jinja").read_text(encoding="utf-8") for part in ("_macros", name)]
    return "".join(part.rstrip("\n") for part in parts)


def portable(template: str) -> str:
    """A template without the marks of what is supervised, which only transformers understands.

    It renders the same in every Jinja: a comment trims the space around it as the mark did.
    """
    return re.sub(r"\{%(-?)\s*(?:end)?generation\s*(-?)%\}", r"{#\1 \2#}", template)


@dataclass(frozen=True)
class TokenRow:
    """One training row.

    `ids`: token ids. `mask`: same length, 1 where the token is supervised (assistant text, calls
    and the token that ends the turn). `truncated`: messages or text were cut to fit. `held_out`:
    kept for measuring the loss.
    """

    id: str
    ids: list[int]
    mask: list[int]
    truncated: bool = False
    held_out: bool = False


def silent_row(identifier: str, token: int) -> TokenRow:
    """Stands for a row of which nothing supervised is left within the longest row.

    It fills the row's place in an optimizer step and adds nothing to the loss, so that the number
    of steps follows from the number of rows alone, as in the published experiment.
    """
    return TokenRow(identifier, [token], [0], truncated=True)


class Renderer:
    """A tokenizer with one prompt template: one of ours, or `native`, the model's own.

    `form`: how calls are written. `thinking`: whether models that can be asked to think are.
    `learn_thoughts`: whether what an answer thought is supervised with it.
    Raises DataError where the tokenizer lacks the template's end-of-turn token, and where the
    model's own template cannot be used.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        template: str,
        *,
        thinking: bool = False,
        learn_thoughts: bool = True,
    ) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self.native = NativeTemplate(tokenizer) if template == NATIVE else None
        self._thinking = thinking
        self._learn_thoughts = learn_thoughts
        if self.native is None:
            form = templates()[template][1]
            self._text = load_template(template)
        else:
            form = self.native.form
        self.form: CallForm = form.name
        self.end_id = self._end_token()

    def _end_token(self) -> int:
        if self.native is not None:
            end: str | None = min(self.native.ends, default=self.tokenizer.eos_token)
        else:
            end = templates()[self.template][0].turn_end or self.tokenizer.eos_token
        if end is None:
            raise DataError(f"The template {self.template!r} needs a tokenizer with an eos token.")
        ids = self.tokenizer.encode(end, add_special_tokens=False)
        if len(ids) != 1:
            raise DataError(
                f"The template {self.template!r} ends a turn with {end!r}, which this tokenizer "
                f"splits into {len(ids)} tokens. Choose the template plain_action for this model."
            )
        return int(ids[0])

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end a generated turn."""
        if self.native is not None:
            return self.native.stop_ids
        eos = self.tokenizer.eos_token_id
        return frozenset({self.end_id} | ({int(eos)} if eos is not None else set()))

    @cached_property
    def thought_tokens(self) -> tuple[int, int] | None:
        """The tokens that open and close thoughts, where the model's own template has them."""
        for marks in THOUGHTS.items():
            ids = [self.tokenizer.encode(mark, add_special_tokens=False) for mark in marks]
            known = self.native is not None and marks[1] in self.native.text
            if known and all(len(one) == 1 for one in ids):
                return int(ids[0][0]), int(ids[1][0])
        return None

    def prompt(
        self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]] = ()
    ) -> list[int]:
        """Token ids up to where the assistant's next turn begins; messages in OpenAI's form."""
        plain = self.plain(list(messages)), self.plain(list(tools))
        text = self._render(*plain, prompt=True, thinking=self._thinking)
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def _render(
        self, messages: list[Any], tools: list[Any], *, prompt: bool = False, thinking: bool = False
    ) -> str:
        if self.native is not None:
            return self.native.render(messages, tools, prompt=prompt, thinking=thinking)
        return str(
            self.tokenizer.apply_chat_template(
                messages,
                tools=tools or None,
                chat_template=self._text,
                add_generation_prompt=prompt,
                tokenize=False,
            )
        )

    def plain(self, value: Any) -> Any:
        """A text, or the texts of lists and objects, without control tokens.

        Somebody's `<|im_end|>` would end a turn in the middle. A zero-width space behind its first
        character makes plain text of it, which looks the same.
        """
        if isinstance(value, str):
            return self.control.sub(lambda found: f"{found[0][0]}\u200b{found[0][1:]}", value)
        if isinstance(value, dict):
            return {self.plain(key): self.plain(part) for key, part in value.items()}
        return [self.plain(part) for part in value] if isinstance(value, list) else value

    @cached_property
    def control(self) -> re.Pattern[str]:
        """The texts of control tokens."""
        added = (str(one) for one in self.tokenizer.added_tokens_decoder.values() if one.special)
        end = str(self.tokenizer.decode([self.end_id]))
        listed = {*added, *map(str, self.tokenizer.all_special_tokens), end} - {""}
        return re.compile("|".join(map(re.escape, sorted(listed, key=len, reverse=True))))

    def call_opening(self, name: str) -> list[int]:
        """Token ids with which an answer that calls the tool `name` begins, up to its arguments."""
        asked = Message("user", "?")
        prompt = len(self.prompt([asked.as_openai()]))
        with_and_without = [
            self.row(
                Conversation("", (asked, Message("assistant", "", (ToolCall(name, arguments),))))
            ).ids[prompt:]
            for arguments in ('{"a": 1}', "{}")
        ]
        written = with_and_without[0]
        texts = [str(self.tokenizer.decode(ids)) for ids in with_and_without]
        # A token that joins what stands before the arguments to them stays the model's to write.
        length = len(texts[0][: alike(*texts)].rstrip("{").rstrip(" "))
        ends = [n for n in range(len(written)) if len(self.tokenizer.decode(written[:n])) <= length]
        return written[: max(ends)]

    def text(self, conversation: Conversation) -> str:
        """The whole conversation as the model reads it."""
        messages = [message.as_openai() for message in conversation.messages]
        tools: list[Any] = [tool.as_openai() for tool in conversation.tools]
        return self._render(messages, tools, thinking=bool(conversation.messages[-1].reasoning))

    def row(self, conversation: Conversation) -> TokenRow:
        """The conversation as one training row, at full length; the last of several."""
        return self.rows([conversation])[0][-1]

    def rows(self, conversations: Sequence[Conversation]) -> list[list[TokenRow]]:
        """The rows of each conversation, at full length: one, but for `native` perhaps several.

        The texts are tokenized together, which takes a third less time.
        """
        found = [self._supervised(conversation) for conversation in conversations]
        texts = [one.text for several in found for one in several]
        if not texts:
            return []
        encoded = self.tokenizer(texts, add_special_tokens=False, return_attention_mask=False)
        tokens = iter(zip(encoded["input_ids"], encoded.encodings or (), strict=True))
        return [
            [
                TokenRow(conversation.id, ids, _mask(len(ids), one.spans, encoding.char_to_token))
                for one, (ids, encoding) in zip(several, tokens, strict=False)
            ]
            for conversation, several in zip(conversations, found, strict=True)
        ]

    def _supervised(self, conversation: Conversation) -> list[Supervised]:
        if self.native is not None:
            return self.native.supervised(conversation, learn_thoughts=self._learn_thoughts)
        from transformers.utils.chat_template_utils import render_jinja_template

        rendered: Any = render_jinja_template(
            [[message.as_openai() for message in conversation.messages]],
            tools=[tool.as_openai() for tool in conversation.tools] or None,
            chat_template=self._text,
            return_assistant_tokens_mask=True,
            **self.tokenizer.special_tokens_map,  # type: ignore[arg-type]
        )
        answers = [message for message in conversation.messages if message.role == "assistant"]
        spans = zip(rendered[1][0], answers, strict=True)
        return [Supervised(rendered[0][0], tuple(span for span, one in spans if one.supervised))]

    def rows_within(
        self, conversations: Sequence[Conversation], cutoff: int
    ) -> list[list[TokenRow]]:
        """The rows of each conversation, cut to at most `cutoff` tokens.

        Whole messages are dropped from the end first, so that no call is ever cut in two; only
        where the very first answer is too long, and is plain text, is it cut at a token. No row is
        left where nothing supervised would be.
        """
        return [
            [row for row in self._cut(conversation, rows, cutoff) if any(row.mask)]
            for conversation, rows in zip(conversations, self.rows(conversations), strict=True)
        ]

    def _cut(self, conversation: Conversation, rows: list[TokenRow], cutoff: int) -> list[TokenRow]:
        if all(len(row.ids) <= cutoff for row in rows):
            return rows
        messages = conversation.messages
        ends = [n + 1 for n, message in enumerate(messages) if message.role == "assistant"]
        for end in reversed(ends[:-1]):
            shorter = self.rows([replace(conversation, messages=messages[:end])])[0]
            if all(len(row.ids) <= cutoff for row in shorter):
                return [replace(row, truncated=True) for row in shorter]
        if not ends or messages[ends[0] - 1].tool_calls:
            return []
        first = rows[0]
        return [TokenRow(first.id, first.ids[:cutoff], first.mask[:cutoff], truncated=True)]


def _mask(
    length: int, spans: Sequence[tuple[int, int]], token_at: Callable[[int], int | None]
) -> list[int]:
    """1 for the tokens of the spans of characters, as transformers marks them."""
    mask = [0] * length
    for start, end in spans:
        first, last = token_at(start), token_at(end - 1)
        if first is None:
            break
        stop = last + 1 if last else length
        mask[first:stop] = [1] * (stop - first)
    return mask
