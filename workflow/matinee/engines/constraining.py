"""Answers whose format is guaranteed: tokens that the grammar of answers forbids are not chosen."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from torch import Tensor

from matinee.messages.conversations import Tool, canonical_json
from matinee.messages.forms import forms
from matinee.messages.forms.grammar import TEXT_ALONE
from matinee.messages.parsing import CallForm
from matinee.messages.rendering import Renderer
from matinee.runtime.errors import EngineError

# Tokens that hold none of these characters can neither end a string nor complete a tag or a line
# that begins a call, so that a mask is computed for all of them at once.
_PLAIN_TOKENS = r'[^"\\<>:\x00-\x1F\x7F]{1,30}'
_JSON_PIECES = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],]')
# A schema whose objects may have further keys.
_FREE_KEYS = re.compile(r'"(additionalProperties|patternProperties)": (true|\{)')
# Grammars kept; suites in which each case has its own tools need each of theirs once.
_MOST_GRAMMARS = 64


class GrammarError(EngineError):
    """A tool's schema has no grammar. `problem` is without advice, which not all can take."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem} Simplify them, or set evaluation.constrained to false.")
        self.problem = problem


class Constraint:
    """The grammar's state in one answer.

    `spell`: the text of tokens, where an object may have keys that no schema names: no grammar
    keeps one of them from standing twice. `start`: what calls begin with; "" for JSON alone.
    """

    def __init__(
        self,
        matcher: LLMatcher,
        spell: Callable[[list[int]], str] | None = None,
        start: re.Pattern[str] | None = None,
    ) -> None:
        self._matcher = matcher
        self._spell = spell
        self._start = start
        self._written: list[int] = []

    def allows(self, token: int) -> bool:
        """Whether the answer may go on with this token; an end token counts like any other."""
        if not self._matcher.validate_tokens([token]):
            return False
        return self._spell is None or not self._repeats(self._spell([*self._written, token]))

    def _repeats(self, text: str) -> bool:
        begin = 0
        if self._start is not None:
            begin = max((found.end() for found in self._start.finditer(text)), default=len(text))
        return repeats_a_key(text[begin:])

    def masked(self, logits: Tensor) -> Tensor:
        """A copy of logits (V) in which what the grammar forbids has no chance."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.unpackbits(bits, bitorder="little")[: logits.shape[-1]].astype(bool)
        return logits.masked_fill(~torch.from_numpy(allowed).to(logits.device), float("-inf"))

    def accept(self, token: int) -> None:
        """Takes the token that was chosen. Raises EngineError where the grammar forbids it."""
        if not self._matcher.consume_token(token):
            reason = self._matcher.get_error().partition("\n")[0]
            raise EngineError(
                f"Constrained decoding lost its way ({reason}). Run without `constrained`."
            )
        self._written.append(token)


def repeats_a_key(text: str) -> bool:
    """Whether an object in the beginning of a JSON text has one key twice."""
    opened: list[set[str] | None] = []  # keys of an object, None for a list
    key_comes = False
    for piece in _JSON_PIECES.finditer(text):
        mark = piece[0]
        if mark[0] == '"':
            keys = opened[-1] if opened else None
            if key_comes and keys is not None:
                if mark in keys:
                    return True
                keys.add(mark)
            key_comes = False
        elif mark == ",":
            key_comes = True
        else:
            opened = opened[:-1] if mark in "}]" else [*opened, set() if mark == "{" else None]
            key_comes = mark == "{"
    return False


class Constrainer:
    """Makes the constraint of each answer; the grammars of the last tool lists are kept.

    `vocabulary`: how many logits the model gives. Raises EngineError for a tokenizer without the
    fast form of the tokenizers library.
    """

    def __init__(self, renderer: Renderer, form: CallForm, vocabulary: int) -> None:
        tokenizer: Any = renderer.tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise EngineError(
                "Constrained decoding needs a tokenizer.json, which this model lacks. "
                "Set evaluation.constrained to false."
            )
        self._form = forms()[form]
        self._tokenizer = LLTokenizer(
            backend.to_str(),
            n_vocab=max(vocabulary, len(tokenizer)),
            eos_token=sorted(renderer.stop_ids),
            slices=[_PLAIN_TOKENS],
        )
        # The marks of calls that text cannot spell.
        self._tokens = {
            mark: ids[0]
            for mark in self._form.marks
            if len(ids := tokenizer.encode(mark, add_special_tokens=False)) == 1
            and self._tokenizer.is_special_token(ids[0])
        }
        self._spell = lambda ids: str(tokenizer.decode(ids))
        self._of_tools = lru_cache(_MOST_GRAMMARS)(self._compiled)

    def answer(self, tools: Sequence[dict[str, Any]]) -> Constraint:
        """The constraint of one answer over these tools.

        Raises GrammarError where the grammar library cannot express a tool's schema.
        """
        matcher, free = self._of_tools(canonical_json(list(tools)))
        copied = matcher.deep_copy()
        return Constraint(copied, self._spell, self._form.start) if free else Constraint(copied)

    def fitting(self, schema: str) -> Constraint:
        """The constraint of an answer that is JSON and fits a schema. Raises GrammarError."""
        # Without free white space, in which a model may lose itself.
        options: Any = {"whitespace_flexible": False}
        grammar = LLMatcher.grammar_from_json_schema(schema, overrides=options)
        return Constraint(self._matcher(grammar, "This schema"), self._spell)

    def _compiled(self, tools: str) -> tuple[LLMatcher, bool]:
        """The grammar of answers over the tools, and whether objects in it have free keys."""
        listed = [Tool.from_openai(tool) for tool in json.loads(tools)]
        rules = self._form.grammar(listed, self._tokens) if listed else TEXT_ALONE
        matcher = self._matcher(f"%llguidance {{}}\n{rules}\n", "The schemas of these tools")
        return matcher, _FREE_KEYS.search(rules) is not None

    def _matcher(self, grammar: str, what: str) -> LLMatcher:
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0)
        if matcher.is_error():
            reason = " ".join(matcher.get_error().split())[:300]
            raise GrammarError(f"{what} cannot be turned into a grammar: {reason}.")
        return matcher
