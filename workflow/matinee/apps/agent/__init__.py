"""The agent: memory, plan, act, reflect, keep; each part can be switched off."""

from matinee.apps.agent.driving import serve, stream
from matinee.apps.agent.events import (
    Answered,
    CallMade,
    CallObserved,
    Event,
    Kept,
    MemoryHit,
    ModelWrote,
    PlanMade,
    Reflected,
    SubtaskChanged,
    as_json,
)
from matinee.apps.agent.loop import Agent
from matinee.apps.agent.reflecting import BoundedReflection, NoReflection
from matinee.apps.agent.subtasks import Subtask
from matinee.apps.agent.task import AgentLimits, Task
from matinee.apps.agent.tools import Toolbox, ToolSource, write_tools

__all__ = [
    "Agent",
    "AgentLimits",
    "Answered",
    "BoundedReflection",
    "CallMade",
    "CallObserved",
    "Event",
    "Kept",
    "MemoryHit",
    "ModelWrote",
    "NoReflection",
    "PlanMade",
    "Reflected",
    "Subtask",
    "SubtaskChanged",
    "Task",
    "ToolSource",
    "Toolbox",
    "as_json",
    "serve",
    "stream",
    "write_tools",
]
