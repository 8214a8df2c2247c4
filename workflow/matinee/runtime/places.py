"""Where the checkout's own files are, whatever folder a run is in."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
WORKFLOW = PACKAGE.parent
PROJECT = WORKFLOW.parent
RESOURCES = WORKFLOW / "resources"
