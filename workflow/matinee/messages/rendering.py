"""Conversation → token ids and supervision mask, through the chat template and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from matinee.messages.conversations import Conversation, Message, ToolCall
from matinee.messages.forms import FOLDER, templates
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
    """A tokenizer with one prompt template.

    Raises DataError where the tokenizer lacks the template's end-of-turn token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template: str) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self._text = load_template(template)
        self.end_id = self._end_token()

    def _end_token(self) -> int:
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
        eos = self.tokenizer.eos_token_id
        return frozenset({self.end_id} | ({int(eos)} if eos is not None else set()))

    def prompt(
        self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]] = ()
    ) -> list[int]:
        """Token ids up to where the assistant's next turn begins; messages in OpenAI's form."""
        ids: Any = self.tokenizer.apply_chat_template(
            list(messages),
            tools=list(tools) or None,
            chat_template=self._text,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
        )
        return [int(token) for token in ids]

    def call_opening(self, name: str) -> list[int]:
        """Token ids with which an answer that calls the tool `name` begins, up to its arguments."""
        arguments = '{"a": 1}'
        asked = Message("user", "?")
        answer = Message("assistant", "", (ToolCall(name, arguments),))
        written = self.row(Conversation("", (asked, answer))).ids[
            len(self.prompt([asked.as_openai()])) :
        ]
        text = str(self.tokenizer.decode(written))
        # A token that joins the space before the arguments to them stays the model's to write.
        length = len(text[: text.rindex(arguments)].rstrip())
        ends = [n for n in range(len(written)) if len(self.tokenizer.decode(written[:n])) <= length]
        return written[: max(ends)]

    def text(self, conversation: Conversation) -> str:
        """The whole conversation as the model reads it."""
        return str(
            self.tokenizer.apply_chat_template(
                [message.as_openai() for message in conversation.messages],
                tools=[tool.as_openai() for tool in conversation.tools] or None,
                chat_template=self._text,
                tokenize=False,
            )
        )

    def row(self, conversation: Conversation) -> TokenRow:
        """The conversation as one training row, at full length."""
        encoded: Any = self.tokenizer.apply_chat_template(
            [message.as_openai() for message in conversation.messages],
            tools=[tool.as_openai() for tool in conversation.tools] or None,
            chat_template=self._text,
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        return TokenRow(
            conversation.id, list(encoded["input_ids"]), list(encoded["assistant_masks"])
        )

    def rows(self, conversations: Sequence[Conversation]) -> list[TokenRow]:
        """What `row` gives for each, in a third less time: the texts are tokenized together."""
        from transformers.utils.chat_template_utils import render_jinja_template

        special: Any = self.tokenizer.special_tokens_map
        texts: list[str] = []
        spans: list[list[tuple[int, int]]] = []
        for conversation in conversations:
            rendered: Any = render_jinja_template(
                [[message.as_openai() for message in conversation.messages]],
                tools=[tool.as_openai() for tool in conversation.tools] or None,
                chat_template=self._text,
                return_assistant_tokens_mask=True,
                **special,
            )
            texts += rendered[0]
            spans += rendered[1]
        encoded = self.tokenizer(texts, add_special_tokens=False, return_attention_mask=False)
        return [
            TokenRow(conversation.id, ids, _mask(len(ids), supervised, encoding.char_to_token))
            for conversation, ids, supervised, encoding in zip(
                conversations, encoded["input_ids"], spans, encoded.encodings or (), strict=True
            )
        ]

    def rows_within(
        self, conversations: Sequence[Conversation], cutoff: int
    ) -> list[TokenRow | None]:
        """What `row_within` gives for each."""
        return [
            self._cut(conversation, row, cutoff)
            for conversation, row in zip(conversations, self.rows(conversations), strict=True)
        ]

    def row_within(self, conversation: Conversation, cutoff: int) -> TokenRow | None:
        """The row cut to at most `cutoff` tokens, or None where nothing supervised would be left.

        Whole messages are dropped from the end first, so that no call is ever cut in two; only
        where the very first answer is too long, and is plain text, is it cut at a token.
        """
        return self._cut(conversation, self.row(conversation), cutoff)

    def _cut(self, conversation: Conversation, row: TokenRow, cutoff: int) -> TokenRow | None:
        if len(row.ids) <= cutoff:
            return row if any(row.mask) else None
        messages = conversation.messages
        ends = [n + 1 for n, message in enumerate(messages) if message.role == "assistant"]
        for end in reversed(ends[:-1]):
            shorter = self.row(replace(conversation, messages=messages[:end]))
            if len(shorter.ids) <= cutoff:
                return replace(shorter, truncated=True) if any(shorter.mask) else None
        if not ends or messages[ends[0] - 1].tool_calls or not any(row.mask[:cutoff]):
            return None
        return TokenRow(row.id, row.ids[:cutoff], row.mask[:cutoff], truncated=True)


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
