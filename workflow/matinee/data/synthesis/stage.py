"""What a scene works with: the script that it writes and the tools, values and world at hand."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from matinee.config.synthesis import Language, SynthesisSettings
from matinee.data.synthesis import replies, wording
from matinee.data.synthesis.catalogue import Catalogue, CatalogueTool
from matinee.data.synthesis.requests import Call, Plan, Planner, Wording, word
from matinee.data.synthesis.simulator import World
from matinee.data.synthesis.toollists import ToolList
from matinee.data.synthesis.values import Setting
from matinee.messages.conversations import Message, ToolCall, canonical_json


@dataclass
class Script:
    """The messages so far; tools and parameters get the names that the list gives them."""

    tools: ToolList
    messages: list[Message] = field(default_factory=list)

    def user(self, text: str) -> None:
        """A message of the user."""
        self.messages.append(Message("user", text))

    def say(self, text: str) -> None:
        """A message of the assistant in words."""
        self.messages.append(Message("assistant", text))

    def call(self, calls: list[Call]) -> None:
        """A message of the assistant with these calls."""
        written = tuple(
            ToolCall(
                self.tools.names.tool(call.tool.name),
                canonical_json(self.tools.arguments(call.tool.name, call.values)),
            )
            for call in calls
        )
        self.messages.append(Message("assistant", "", written))

    def observe(self, call: Call, data: Any) -> None:
        """What the tool answered to the call."""
        text = canonical_json(replies.wrapped(data, self.tools.dialect.envelope))
        self.messages.append(Message("tool", text, name=self.tools.names.tool(call.tool.name)))


@dataclass
class Stage:
    """Everything that a scene needs. `target` chooses among the list's tools, least used first."""

    rng: random.Random
    settings: SynthesisSettings
    catalogue: Catalogue
    tools: ToolList
    world: World
    script: Script
    target: Callable[[list[CatalogueTool]], CatalogueTool]

    @property
    def language(self) -> Language:
        """The language of the list."""
        return self.tools.language

    @property
    def setting(self) -> Setting:
        """Where values are drawn."""
        return Setting(self.rng, self.tools.language, self.tools.today)

    @property
    def planner(self) -> Planner:
        """Plans requests in this conversation's world."""
        return Planner(self.catalogue, self.world, self.setting)

    def ask(self, text: str, words: dict[str, str]) -> None:
        """The user's request, values filled in, in some manner of speech."""
        filled = wording.fill(text, words)
        self.script.user(wording.manner(self.rng, filled, self.language))

    def word(self, tool: CatalogueTool, **options: Any) -> Wording:
        """A way to ask for the tool; options as in `requests.word`."""
        noise = self.settings.noise_share
        return word(self.rng, self.catalogue, tool, self.language, noise, **options)

    def play(self, plan: Plan) -> None:
        """All calls of the plan with their observations; the last answer in a share of rows."""
        for calls in plan.levels[:-1]:
            self.script.call(calls)
            for call in calls:
                self.script.observe(call, self.world.observe(call.tool.name, call.values))
        self.finish(plan.levels[-1], [plan.words] * len(plan.levels[-1]))

    def finish(self, calls: list[Call], words: list[dict[str, str]], answer: bool = False) -> None:
        """The last calls; then, in a share of rows or when told to, the answer in words."""
        self.script.call(calls)
        if not answer and self.rng.random() >= self.settings.answer_share:
            return
        answers = []
        for call, said in zip(calls, words, strict=True):
            data = self.world.observe(call.tool.name, call.values)
            self.script.observe(call, data)
            answers.append(replies.reply(call.tool, data, said, self.language))
        self.script.say(("" if self.language == "zh" else " ").join(answers))
