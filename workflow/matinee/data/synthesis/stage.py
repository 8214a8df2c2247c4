"""What a scene works with: the script that it writes and the tools, values and world at hand."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from matinee.config.synthesis import Language, SynthesisSettings
from matinee.data.synthesis import replies, wording
from matinee.data.synthesis.catalogue import Catalogue, CatalogueTool
from matinee.data.synthesis.requests import Call, RequestPlan, RequestPlanner, Wording, word
from matinee.data.synthesis.simulator import World
from matinee.data.synthesis.toollists import ToolList
from matinee.data.synthesis.values import Setting
from matinee.messages.conversations import Message, ToolCall, canonical_json


@dataclass
class Stage:
    """Everything that a scene needs, and the messages so far.

    `uses` counts how often each tool of the list was asked for. Tools and parameters get the names
    that the list gives them.
    """

    rng: random.Random
    settings: SynthesisSettings
    catalogue: Catalogue
    tools: ToolList
    world: World
    uses: Counter[str]
    messages: list[Message] = field(default_factory=list)

    @property
    def language(self) -> Language:
        return self.tools.language

    @cached_property
    def setting(self) -> Setting:
        """Where values are drawn."""
        return Setting(self.rng, self.tools.language, self.tools.today)

    @cached_property
    def planner(self) -> RequestPlanner:
        return RequestPlanner(self.catalogue, self.world, self.setting)

    def target(self, candidates: list[CatalogueTool]) -> CatalogueTool:
        """The candidate that was asked for least in this list; chance decides between equals."""
        tool = min(candidates, key=lambda item: (self.uses[item.name], self.rng.random()))
        self.uses[tool.name] += 1
        return tool

    def word(self, tool: CatalogueTool, **options: Any) -> Wording:
        """A way to ask for the tool; options as in `requests.word`."""
        noise = self.settings.noise_share
        return word(self.rng, self.catalogue, tool, self.language, noise, **options)

    def ask(self, text: str, words: dict[str, str]) -> None:
        """The user's request, values filled in, in some manner of speech."""
        filled = wording.fill(text, words)
        self.user(wording.manner(self.rng, filled, self.language))

    def user(self, text: str) -> None:
        self.messages.append(Message("user", text))

    def say(self, text: str) -> None:
        self.messages.append(Message("assistant", text))

    def phrase(self, kind: str, **values: str) -> str:
        """One of the ways to say it, see `phrases.yaml`."""
        return wording.say(self.rng, kind, self.language, **values)

    def call(self, calls: list[Call]) -> None:
        names = self.tools.names
        written = tuple(
            ToolCall(
                names.tool(call.tool.name),
                canonical_json(self.tools.arguments(call.tool.name, call.values)),
            )
            for call in calls
        )
        self.messages.append(Message("assistant", "", written))

    def observe(self, call: Call, data: Any) -> None:
        """What the tool answered to the call."""
        text = canonical_json(replies.wrapped(data, self.tools.dialect.envelope))
        self.messages.append(Message("tool", text, name=self.tools.names.tool(call.tool.name)))

    def play(self, plan: RequestPlan) -> None:
        """All calls of the plan with their observations; the last answer in a share of rows."""
        for calls in plan.levels[:-1]:
            self.call(calls)
            for call in calls:
                self.observe(call, self.world.observe(call.tool.name, call.values))
        self.finish(plan.levels[-1], [plan.words] * len(plan.levels[-1]))

    def finish(self, calls: list[Call], words: list[dict[str, str]], answer: bool = False) -> None:
        """The last calls; then, in a share of rows or when told to, the answer in words."""
        self.call(calls)
        if not answer and self.rng.random() >= self.settings.answer_share:
            return
        answers = []
        for call, said in zip(calls, words, strict=True):
            data = self.world.observe(call.tool.name, call.values)
            self.observe(call, data)
            answers.append(replies.reply(call.tool, data, said, self.language))
        self.say(("" if self.language == "zh" else " ").join(answers))
