"""Tool names as OpenAI's API takes them, and back: it refuses `math.factorial`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

# Source: the API reference, "a-z, A-Z, 0-9, underscores and dashes, maximum length of 64".
LONGEST_NAME = 64
_REFUSED = re.compile(r"[^a-zA-Z0-9_-]")


class WireNames:
    """The names of one request's tools; those that the API takes stay as they are."""

    def __init__(self, tools: Iterable[dict[str, Any]]) -> None:
        own = [str(tool["function"]["name"]) for tool in tools]
        fitting = {name for name in own if _fits(name)}
        self._sent = {name: name for name in fitting}
        for name in own:
            if name not in fitting:
                self._sent[name] = _unused(name, set(self._sent.values()))
        self._meant = {sent: name for name, sent in self._sent.items()}

    def sent(self, name: str) -> str:
        """The name that goes to the endpoint; one of no tool is made to fit."""
        return self._sent.get(name) or _fitted(name)

    def meant(self, name: str) -> str:
        """The tool that the endpoint means; an unknown name stays."""
        return self._meant.get(name, name)

    def tools(self, tools: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """The tools with the names that go to the endpoint."""
        return [
            tool | {"function": tool["function"] | {"name": self.sent(tool["function"]["name"])}}
            for tool in tools
        ]


def _fits(name: str) -> bool:
    return 0 < len(name) <= LONGEST_NAME and not _REFUSED.search(name)


def _fitted(name: str) -> str:
    return _REFUSED.sub("_", name)[:LONGEST_NAME] or "_"


def _unused(name: str, taken: set[str]) -> str:
    fitted, number = _fitted(name), 2
    while fitted in taken:
        ending = f"_{number}"
        fitted, number = _fitted(name)[: LONGEST_NAME - len(ending)] + ending, number + 1
    return fitted
