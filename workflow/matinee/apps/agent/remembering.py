"""Long-term memory at work: recall before a task, keep after it."""

from __future__ import annotations

import datetime

from matinee.apps.agent.long_term import LongTermMemory
from matinee.apps.agent.memories import Judgement, MemoryEntry, Recalled
from matinee.apps.agent.reuse import ReuseRules, default_rules
from matinee.apps.agent.task import Task

_CANDIDATES = 20


class RecallingMemory:
    """Answers from a `LongTermMemory`, by the rules of reuse."""

    def __init__(self, store: LongTermMemory, rules: ReuseRules | None = None) -> None:
        self.store = store
        self._rules = rules if rules is not None else default_rules()

    def recall(self, task: Task) -> Recalled | None:
        """The latest of the user's entries that asks the same thing, judged.

        A question within a conversation may lean on what was said before, so only opening
        questions are recalled.
        """
        if task.history:
            return None
        found = self.store.search(task.user, task.question, _CANDIDATES)
        same = [
            entry for entry in found if self._rules.same_question(entry, task.question, task.today)
        ]
        if not same:
            return None
        entry = max(same, key=lambda one: (one.kept_at, one.id))
        judgement = self._rules.judge(entry, task.now)
        return Recalled(entry, judgement, _shown(entry, judgement))

    def keep(self, task: Task, answer: str, sources: tuple[str, ...]) -> MemoryEntry:
        """Stores the answer with the time of asking and its sources."""
        return self.store.keep(task.user, task.question, answer, sources, task.now, task.today)


def _shown(entry: MemoryEntry, judgement: Judgement) -> str:
    """The answer, with where it comes from."""
    sources = "、".join(entry.sources) or "无"
    note = f"{age_in_words(judgement.age)}的记录，来源：{sources}；{judgement.reason}"
    return f"{entry.answer}\n（{note}）"


def age_in_words(age: datetime.timedelta) -> str:
    """An age such as 3天前."""
    minutes = int(age.total_seconds()) // 60
    if minutes < 1:
        return "刚才"
    if minutes < 60:
        return f"{minutes}分钟前"
    if minutes < 24 * 60:
        return f"{minutes // 60}小时前"
    return f"{minutes // (24 * 60)}天前"
