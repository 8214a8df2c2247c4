"""Where an agent's tools come from: one interface, and a box of several sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from matinee.messages.conversations import Tool, canonical_json
from matinee.messages.transcripts import Observation
from matinee.runtime.errors import UserError


class ToolSource(Protocol):
    """Tools that can be called. `tools` does not change while a task runs."""

    @property
    def tools(self) -> tuple[Tool, ...]:
        """What the model is told."""
        ...

    def call(self, name: str, arguments: str) -> Observation:
        """The observation of one call; `arguments` is JSON text. Never raises on model input."""
        ...


class Toolbox:
    """The tools of several sources as one source.

    Raises UserError where two sources offer a tool of the same name.
    """

    def __init__(self, sources: Sequence[ToolSource]) -> None:
        self._owners: dict[str, ToolSource] = {}
        for source in sources:
            for tool in source.tools:
                if tool.name in self._owners:
                    raise UserError(
                        f"Two sources offer a tool called {tool.name!r}. Rename one, or leave it "
                        "out of its source's list."
                    )
                self._owners[tool.name] = source
        self.tools = tuple(tool for source in sources for tool in source.tools)

    def call(self, name: str, arguments: str) -> Observation:
        """The observation of one call, from the source that offers the tool."""
        owner = self._owners.get(name)
        if owner is None:
            listed = "、".join(self._owners) or "无"
            return refused(name, "unknown_tool", f"没有名为{name[:60]}的工具，可用的工具：{listed}")
        return owner.call(name, arguments)


def refused(tool: str, error: str, reason: str) -> Observation:
    """The observation of a call that failed; `error` names the problem for the record."""
    body = {"reason": reason, "result": None, "error_code": 10001}
    return Observation(tool=tool, content=canonical_json(body), error=error)
