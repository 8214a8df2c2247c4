"""What the user may set about the conversations to be made."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from matinee.config.base import Seed, Settings

Category = Literal[
    "single",
    "coded",
    "complete",
    "parallel",
    "repeated",
    "chain",
    "missing_asked",
    "missing_complete",
    "changed",
    "follow_up",
    "recovery",
    "no_tool",
]
Language = Literal["zh", "en"]
Share = Annotated[float, Field(ge=0, le=1)]

DEFAULT_MIX: dict[Category, float] = {
    "single": 26,
    "coded": 12,
    "complete": 6,
    "parallel": 9,
    "repeated": 5,
    "chain": 12,
    "missing_asked": 6,
    "missing_complete": 7,
    "changed": 2,
    "follow_up": 2,
    "recovery": 3,
    "no_tool": 10,
}


class SynthesisSettings(Settings):
    """How many tool-calling conversations to make, and of which kinds."""

    conversations: Annotated[int, Field(ge=1)] = Field(
        default=1000, description="Rows to make. More rows cost training time in proportion."
    )
    languages: dict[Language, float] = Field(
        default={"zh": 0.85, "en": 0.15},
        description="Weight of each language. A tool list and all its rows are in one language.",
    )
    tools_per_list: tuple[int, int] = Field(
        default=(3, 8),
        strict=False,  # a list, too; its numbers are as strict as others
        description="Fewest and most tools in a list, both included. Longer lists make choosing "
        "harder and the prompt dearer. A chain brings the tools that it needs, so the least "
        "useful maximum is 4.",
    )
    conversations_per_list: Annotated[int, Field(ge=1)] = Field(
        default=8,
        description="Rows in sequence that share the very same tool list and system message, so "
        "that training can compute that prefix once. Higher is cheaper, with fewer lists seen.",
    )
    masked_share: Share = Field(
        default=0.5,
        description="Share of tool lists whose tool names are replaced by random ones, so that "
        "the model learns to copy names from the list instead of making them up.",
    )
    masked_parameters_share: Share = Field(
        default=0.3,
        description="Share of the masked lists whose parameter names are changed as well "
        "(another spelling style, an affix, or an abbreviation).",
    )
    extras_share: Share = Field(
        default=0.2,
        description="Share of the tools in a list that have one or two more optional parameters, "
        "such as the page, which nobody asks about: a model must leave them out.",
    )
    shuffled_share: Share = Field(
        default=0.5,
        description="Share of tool lists whose parameters stand in a random order, which the "
        "calls follow. Elsewhere the most important ones come first.",
    )
    written_out_share: Share = Field(
        default=0.4,
        description="Share of tool lists whose descriptions are written out in sentences with "
        "examples of values, as public interfaces document themselves. The others are terse.",
    )
    mix: dict[Category, float] = Field(
        default=DEFAULT_MIX,
        description="Weight of each kind of conversation; a kind that is not named is only made "
        "where a list cannot show any other. single: one call; coded: a word that must become a "
        "code; complete: optional parameters left unsaid, where asking would be wrong; parallel: "
        "two tools in one turn; repeated: one tool for several things; chain: a parameter that "
        "another tool supplies; missing_asked: ends with the question back, or with a user who "
        "does not answer it; missing_complete: question, answer, call; changed: the user "
        "corrects a value; follow_up: after the answer, another value or a correction; "
        "recovery: an error observation; no_tool: nothing fits.",
    )
    answer_share: Share = Field(
        default=0.3,
        description="Share of rows that go on after the last call to the observation and the "
        "answer in words. The others end with the call, which saves tokens.",
    )
    system_share: Share = Field(
        default=0.5,
        description="Share of tool lists with a system message that gives today's date; only "
        "there do users say things like 'yesterday'.",
    )
    noise_share: Share = Field(
        default=0.06,
        description="Share of user messages with a typing slip or a foreign word.",
    )
    seed: Seed = Field(default=1, description="The same seed gives the same rows, byte for byte.")

    @field_validator("languages", "mix")
    @classmethod
    def _has_weight(cls, weights: dict[str, float]) -> dict[str, float]:
        if any(weight < 0 for weight in weights.values()) or sum(weights.values()) <= 0:
            raise ValueError("weights must not be negative and at least one must be positive")
        return weights

    @model_validator(mode="after")
    def _sizes_ordered(self) -> SynthesisSettings:
        low, high = self.tools_per_list
        if not 1 <= low <= high <= 40:
            raise ValueError("tools_per_list must be [fewest, most] with 1 <= fewest <= most <= 40")
        return self
