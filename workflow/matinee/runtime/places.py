"""Where the checkout's own files are, whatever folder a run is in."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
WORKFLOW = PACKAGE.parent
PROJECT = WORKFLOW.parent
RESOURCES = WORKFLOW / "resources"


def shortest(path: Path) -> str:
    """Relative to the working directory where the path is below it, else absolute."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def in_checkout(name: str, root: Path) -> str:
    """A relative path of the checkout, such as `workflow/resources/tools.json`, as it is seen from
    `root`: unchanged where `root` has it, absolute where only the checkout does."""
    ours = PROJECT / name
    return str(ours) if not (root / name).exists() and ours.exists() else name
