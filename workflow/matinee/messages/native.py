"""A model's own chat template: how it wants its messages, and what of a rendering is supervised.

Nothing is known about families here. What a template takes and writes is found by rendering a
small conversation with it; what a turn adds is the difference between two renderings.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from matinee.messages.conversations import Conversation, Tool, canonical_json
from matinee.messages.forms import forms
from matinee.messages.forms.base import Form
from matinee.messages.parsing import THOUGHTS, parse
from matinee.runtime.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What templates that print the day are told, so that the same row is always the same text. It is
# the day that Llama 3's template names where it knows none.
DAY = datetime.datetime(2024, 7, 26)
# A template comes with a model, and its loops need not end. One rendering takes milliseconds.
LONGEST_SECONDS = 10.0

_TOOL = Tool(
    "get_weather",
    "Weather of a city",
    canonical_json(
        {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "The city"}},
            "required": ["city"],
        }
    ),
)
_ASKED = {"role": "user", "content": "Paris?"}
_WORDS = "Sunny."


@dataclass(frozen=True)
class Supervised:
    """A text to train on; `spans`: the characters of what the model is to write."""

    text: str
    spans: tuple[tuple[int, int], ...]


class NativeTemplate:
    """The chat template of a tokenizer.

    `form`: how it writes calls. Raises DataError where there is no template, where it does not
    show tools, or where its calls are in no form that can be read.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        if not tokenizer.chat_template:
            raise DataError(f"This model brings no chat template. {advice(tokenizer)}")
        added: Any = tokenizer.get_added_vocab()
        special = {*added, *tokenizer.all_special_tokens}
        self._special = sorted(special, key=len, reverse=True)
        self._text_arguments = False
        self._empty: str | None = ""
        self.form, self._call_end = self._probe()
        self._answer_end = self._end_of_words()

    @property
    def text(self) -> str:
        """The template, as it is chosen where there are tools."""
        return str(self._tokenizer.get_chat_template(tools=[_TOOL.as_openai()]))

    @property
    def switches_thinking(self) -> bool:
        """Whether thinking can be turned on and off."""
        on, off = (self.render([_ASKED], prompt=True, thinking=way) for way in (True, False))
        return on != off

    @property
    def ends(self) -> set[str]:
        """The texts of the tokens that end a turn."""
        return {end for end in (self._answer_end, self._call_end) if end}

    def render(
        self,
        messages: Sequence[dict[str, Any]],
        tools: Sequence[dict[str, Any]] = (),
        *,
        prompt: bool = False,
        thinking: bool = False,
    ) -> str:
        """The text of messages in OpenAI's form; `prompt`: up to where the next answer begins.

        Raises DataError where the template refuses them.
        """
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import _compile_jinja_template

        listed = list(tools) or None
        compiled: Any = _compile_jinja_template(self._tokenizer.get_chat_template(tools=listed))
        special: Any = self._tokenizer.special_tokens_map
        try:
            with _in_time():
                rendered: str = compiled.render(
                    messages=self._spelled(messages),
                    tools=listed,
                    documents=None,
                    add_generation_prompt=prompt,
                    strftime_now=lambda form: DAY.strftime(form),
                    enable_thinking=thinking,
                    thinking=thinking,
                    **special,
                )
        except (
            *(TemplateError, TypeError, ValueError, KeyError, AttributeError, TimeoutError),
            *(ArithmeticError, RecursionError, MemoryError),
        ) as error:
            raise DataError(f"The model's chat template refuses these messages: {error}") from error
        return rendered

    def _spelled(self, messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The messages as the template takes them: calls and results with ids, in order."""
        spelled: list[dict[str, Any]] = []
        waiting: list[tuple[str, str]] = []
        for message in messages:
            told = {"role": message["role"], "content": message.get("content") or ""}
            if thought := message.get("reasoning"):
                told |= {"reasoning_content": thought, "reasoning": thought}
            if calls := message.get("tool_calls"):
                told["content"] = told["content"] or self._empty
                told["tool_calls"] = [
                    {"id": f"call{place + len(spelled):05d}", "type": "function", "function": one}
                    for place, one in enumerate(map(self._function, calls))
                ]
                waiting = [(one["id"], one["function"]["name"]) for one in told["tool_calls"]]
            if message["role"] == "tool":
                identifier, name = waiting.pop(0) if waiting else ("call00000", "")
                told |= {"tool_call_id": identifier, "name": message.get("name") or name}
            spelled.append(told)
        return spelled

    def _function(self, call: dict[str, Any]) -> dict[str, Any]:
        function = call.get("function", call)
        arguments = function["arguments"]
        if self._text_arguments and not isinstance(arguments, str):
            arguments = canonical_json(arguments)
        elif not self._text_arguments and isinstance(arguments, str):
            arguments = json.loads(arguments)
        return {"name": function["name"], "arguments": arguments}

    def _probe(self) -> tuple[Form, str]:
        """The form of the calls that the template writes, and the token that follows them."""
        tools = [_TOOL.as_openai()]
        problems, refusals = list[str](), list[str]()
        for self._text_arguments in (False, True):
            for self._empty in ("", None):
                try:
                    prompt = self.render([_ASKED], tools, prompt=True)
                    whole = self.render([_ASKED, _call_message()], tools)
                except DataError as error:
                    refusals.append(str(error))
                    continue
                if _TOOL.name not in prompt:
                    problems.append("it does not show tools")
                elif _TOOL.name in (written := whole[alike(prompt, whole) :]):
                    found = self._form_of(written)
                    if found is not None:
                        form, end = found
                        results = [{"role": "tool", "content": "20", "name": _TOOL.name}]
                        return form, end or self._next_token(
                            [_ASKED, _call_message()], results, tools
                        )
                    problems.append(f"its calls are in no known form ({written[:80]!r})")
        problem = [*problems, *refusals, "it does not write calls"][0]
        raise DataError(
            f"The chat template of this model cannot be used for tools: {problem}. "
            f"{advice(self._tokenizer)}"
        )

    def _form_of(self, written: str) -> tuple[Form, str] | None:
        """The form that reads a written turn, and the token behind its call."""
        end = ""
        while True:
            written = written.rstrip()
            for form in forms().values():
                read = parse(form.name, written, tools=(_TOOL,))
                made = [(call.name, json.loads(call.arguments)) for call in read.calls]
                if made == [(_TOOL.name, {"city": "Paris"})] and not (read.error or read.content):
                    return form, end
            last = next((token for token in self._special if written.endswith(token)), None)
            if last is None:
                return None
            end, written = last, written.removesuffix(last)

    def _end_of_words(self) -> str:
        """The token that ends an answer in words."""
        answer = {"role": "assistant", "content": _WORDS}
        tail = self.render([_ASKED, answer]).rpartition(_WORDS)[2]
        return self._first_token(tail) or self._next_token([_ASKED, answer], [_ASKED], [])

    def _next_token(
        self,
        messages: list[dict[str, Any]],
        more: list[dict[str, Any]],
        tools: list[dict[str, Any]],
    ) -> str:
        """The token with which the next turn begins, for families that end a turn with it."""
        whole, longer = (self.render(said, tools) for said in (messages, [*messages, *more]))
        return self._first_token(longer.removeprefix(whole)) or str(self._tokenizer.eos_token or "")

    def _first_token(self, text: str) -> str:
        text = text.lstrip()
        return next((token for token in self._special if text.startswith(token)), "")

    def supervised(
        self, conversation: Conversation, *, learn_thoughts: bool = True
    ) -> list[Supervised]:
        """The conversation as texts to train on, together with every answer supervised once.

        One text where every prompt is the beginning of the next. Where the template spells earlier
        turns otherwise than when they were written (thoughts dropped, tools moved to the last
        question), one for each rendering in which an answer stands behind its own prompt.
        Empty blocks of thoughts are never supervised, others if `learn_thoughts`.
        Raises DataError where an answer does not follow its prompt.
        """
        messages = [message.as_openai() for message in conversation.messages]
        tools = [tool.as_openai() for tool in conversation.tools]
        answers = [n for n, message in enumerate(messages) if message["role"] == "assistant"]
        # Per answer: where it begins, and the text up to its end.
        turns = {place: self._turn(conversation, messages, tools, place) for place in answers}
        made: list[Supervised] = []
        while answers:
            last = answers[-1]
            thinking = bool(messages[last].get("reasoning"))
            text = self.render(messages[: last + 1], tools, thinking=thinking)
            if not text.startswith(turns[last][1]):
                text = turns[last][1]  # the token that ends the turn begins the next one
            mine = [place for place in answers if text.startswith(turns[place][1])]
            spans = []
            for place in mine:
                begin, upto = turns[place]
                message = conversation.messages[place]
                if not (message.reasoning and learn_thoughts):
                    begin = _behind_thoughts(upto, begin, message.reasoning)
                if message.supervised:
                    spans.append((begin, len(upto)))
            made.append(Supervised(text, tuple(spans)))
            answers = [place for place in answers if place not in mine]
        return made[::-1]

    def _turn(
        self,
        conversation: Conversation,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]],
        place: int,
    ) -> tuple[int, str]:
        """The prompt of an answer and what the model is to write: its length, and both as text."""
        message = conversation.messages[place]
        thinking = bool(message.reasoning)
        prompt = self.render(messages[:place], tools, prompt=True, thinking=thinking)
        whole = self.render(messages[: place + 1], tools, thinking=thinking)
        begin = len(prompt)
        if not whole.startswith(prompt):
            # The turns before are spelled otherwise once there is an answer: it is taken from
            # behind the words that ask for it, and put behind the prompt that a server renders.
            asked = prompt.removeprefix(self.render(messages[:place], tools, thinking=thinking))
            start = max(0, alike(prompt, whole) - len(asked))
            found = whole.find(asked, start) if 0 < len(asked) < begin else -1
            whole = prompt + whole[found + len(asked) :] if found >= 0 else ""
        end = self._call_end if message.tool_calls else self._answer_end
        text = _up_to(whole, begin, end)
        read = parse(self.form.name, text[begin:].removesuffix(end), tools=conversation.tools)
        calls = [(call.name, json.loads(call.arguments)) for call in read.calls]
        meant = [(call.name, call.values) for call in message.tool_calls]
        if not whole or calls != meant or read.error or message.content.strip() not in text[begin:]:
            raise DataError(
                f"row {conversation.id!r}, message {place + 1}: what the model's chat template "
                f"makes of this answer cannot be read back ({text[begin:][:80]!r}). Leave the row "
                f"out, or use another template. {advice(self._tokenizer)}"
            )
        return begin, text

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end a generated turn: the template's, the tokenizer's, the model's."""
        ids: set[int] = {int(self._tokenizer.convert_tokens_to_ids(end)) for end in self.ends}  # type: ignore[arg-type]
        settings = Path(str(self._tokenizer.name_or_path)) / "generation_config.json"
        if settings.is_file():
            named = json.loads(settings.read_text(encoding="utf-8")).get("eos_token_id") or []
            ids |= set(named if isinstance(named, list) else [named])
        if self._tokenizer.eos_token_id is not None:
            ids.add(int(self._tokenizer.eos_token_id))
        return frozenset(ids)


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    """Ends with TimeoutError what takes too long; in the main thread, to which signals come."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(*_: object) -> NoReturn:
        raise TimeoutError(f"it takes longer than {LONGEST_SECONDS:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def alike(one: str, other: str) -> int:
    """How many characters two texts begin with in common."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _behind_thoughts(text: str, begin: int, thought: str) -> int:
    """Where what an answer says begins, behind its thoughts or an empty block of them."""
    opening, closing = ("|".join(map(re.escape, marks)) for marks in (THOUGHTS, THOUGHTS.values()))
    thoughts = rf"\s*({opening})?\s*{re.escape(thought.strip())}\s*({closing})\s*"
    found = re.compile(thoughts).match(text, begin)
    return found.end() if found else begin


def _up_to(whole: str, begin: int, end: str) -> str:
    """The rendering up to the token that ends its last turn, which is added where it lacks."""
    place = whole.rfind(end, begin) if end else -1
    return whole[: place + len(end)] if place >= 0 else whole.rstrip("\n") + end


def _call_message() -> dict[str, Any]:
    function = {"name": _TOOL.name, "arguments": {"city": "Paris"}}
    call = {"type": "function", "function": function}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def advice(tokenizer: PreTrainedTokenizerBase) -> str:
    """Which templates of our own fit the tokenizer."""
    from matinee.messages.forms import templates

    known: Any = tokenizer.get_vocab()
    fitting = [
        name
        for name, (template, _) in sorted(templates().items())
        if (template.turn_end in known if template.turn_end else tokenizer.eos_token)
    ]
    return f"Set the variant's `template` to one of our own that fits: {', '.join(fitting)}."
