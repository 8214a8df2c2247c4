"""Random names for tools and parameters, so that a model must copy and cannot guess."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

_ONSETS = (
    "b", "br", "d", "f", "g", "k", "kl", "l", "m", "n", "p", "pr", "r", "s", "t", "tr", "v",
    "z",
)  # fmt: skip
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ou")
_CODAS = ("", "", "", "n", "r", "l", "x")
_WORDS = (
    "amber", "anvil", "basil", "birch", "blue", "canyon", "cedar", "cobalt", "copper", "coral",
    "crane", "delta", "ember", "falcon", "fern", "flint", "garnet", "harbor", "hazel", "indigo",
    "iris", "ivory", "jade", "kettle", "lantern", "lilac", "lotus", "maple", "marble", "meadow",
    "mint", "nimbus", "oak", "onyx", "opal", "orchid", "otter", "pebble", "pine", "quartz",
    "raven", "ruby", "saffron", "silver", "sparrow", "spruce", "stone", "topaz", "tulip",
    "velvet", "willow", "yarrow", "zephyr",
)  # fmt: skip
_VERBS = ("get", "query", "do", "run", "api", "svc", "call", "fetch", "x", "fn", "tool", "open")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Names:
    """What tools and parameters are called in one list. Names that are not listed are kept."""

    tools: dict[str, str] = field(default_factory=dict)
    parameters: dict[tuple[str, str], str] = field(default_factory=dict)

    def tool(self, name: str) -> str:
        """The name that the list gives the tool."""
        return self.tools.get(name, name)

    def parameter(self, tool: str, name: str) -> str:
        """The name that the list gives the parameter."""
        return self.parameters.get((tool, name), name)


def mask_tools(rng: random.Random, names: Iterable[str]) -> dict[str, str]:
    """A random name for each, all of one style, all different, none of the originals."""
    originals = list(names)
    style = rng.choice((_opaque, _pronounceable, _compound, _initials))
    masked: dict[str, str] = {}
    taken = set(originals)
    for name in originals:
        candidate = style(rng)
        while candidate in taken:
            candidate = style(rng)
        taken.add(candidate)
        masked[name] = candidate
    return masked


def rename_parameters(
    rng: random.Random, parameters: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """A changed name for each (tool, parameter), in one style, different within a tool."""
    style = rng.choice(("camel", "affix", "prefix", "short"))
    affix = rng.choice(("_val", "_v", "Str", "_in", "_arg", "_key"))
    prefix = rng.choice(("q_", "p_", "s_", "in_", "i", "req_"))
    renamed: dict[tuple[str, str], str] = {}
    for tool, name in parameters:
        taken = {new for (other, _), new in renamed.items() if other == tool}
        candidate = _restyled(rng, name, style, affix, prefix)
        while candidate in taken:
            candidate += rng.choice(_LETTERS)
        renamed[tool, name] = candidate
    return renamed


def _restyled(rng: random.Random, name: str, style: str, affix: str, prefix: str) -> str:
    if style == "camel":
        head, *rest = name.split("_")
        return head + "".join(part.capitalize() for part in rest)
    if style == "affix":
        return name + affix
    if style == "prefix":
        return prefix + name
    return "".join(part[0] for part in name.split("_")) + _letters(rng, 2, 2)


def _letters(rng: random.Random, fewest: int, most: int) -> str:
    return "".join(rng.choice(_LETTERS) for _ in range(rng.randint(fewest, most)))


def _opaque(rng: random.Random) -> str:
    letters = _letters(rng, 2, 3)
    head = rng.choice(("fn", "tool", "api", "f", "svc", "op", letters))
    return f"{head}_{rng.randint(10, 9999)}"


def _pronounceable(rng: random.Random) -> str:
    def word() -> str:
        count = rng.randint(2, 3)
        return "".join(
            rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(count)
        ) + rng.choice(_CODAS)

    return "_".join(word() for _ in range(rng.randint(1, 2)))


def _compound(rng: random.Random) -> str:
    first, second = rng.sample(_WORDS, 2)
    return rng.choice(
        (f"{first}_{second}", f"{rng.choice(_VERBS)}_{first}_{second}", f"{first}_query")
    )


def _initials(rng: random.Random) -> str:
    """Names as Chinese interfaces often have them: pinyin initials and a verb."""
    letters = _letters(rng, 3, 6)
    return rng.choice(
        (f"{letters}_query", f"get_{letters}", f"{letters}cx", f"{letters}_{letters[::-1][:2]}")
    )
