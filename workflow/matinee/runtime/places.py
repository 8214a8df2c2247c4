"""Where the checkout's own files are, whatever folder a run is in."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
WORKFLOW = PACKAGE.parent
PROJECT = WORKFLOW.parent
RESOURCES = WORKFLOW / "resources"


def in_checkout(name: str, root: Path) -> str:
    """A relative path of the checkout, such as `workflow/resources/tools.json`, as it is seen from
    `root`: unchanged where `root` has it, absolute where only the checkout does."""
    ours = PROJECT / name
    return str(ours) if not (root / name).exists() and ours.exists() else name
