"""The agent: memory, plan, act, reflect, keep; each part can be switched off."""

from matinee.agent.driving import serve, stream
from matinee.agent.events import (
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
from matinee.agent.loop import Agent
from matinee.agent.reflecting import BoundedReflection, NoReflection
from matinee.agent.subtasks import Subtask
from matinee.agent.task import AgentLimits, Task
from matinee.agent.tools import Toolbox, ToolSource, write_tools

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
