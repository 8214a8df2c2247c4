"""Long-term memory: what an agent answered, in one SQLite file per user, and when it is reused."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from matinee.apps.agent.events import Judgement, MemoryEntry, MemoryHit, Task
from matinee.apps.agent.reuse import reuse_rules
from matinee.messages.conversations import canonical_json
from matinee.messages.parsing import printable
from matinee.runtime.errors import UserError

# `found` was an index of earlier versions; it must not outlive what is forgotten.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    question TEXT NOT NULL,
    answer TEXT NOT NULL,
    sources TEXT NOT NULL,
    kept_at TEXT NOT NULL,
    asked_on TEXT NOT NULL
);
DROP TABLE IF EXISTS found;
"""


class LongTermMemory:
    """A folder of memory files, one per user, so that no query can reach another user's entries.

    A file's name is a digest of the user's. Deleted text is overwritten; what backups or the disk
    itself keep is outside of this program's reach. Raises UserError for a file that is no memory.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def recall(self, task: Task) -> MemoryHit | None:
        """The latest of the user's entries that asks the same thing, judged by the rules of reuse.

        A question within a conversation may lean on what was said before, so only opening
        questions are recalled.
        """
        if task.history:
            return None
        rules = reuse_rules()
        wanted = rules.meaning(task.question, task.today)
        same = [
            entry
            for entry in self.entries(task.user)
            if rules.meaning(entry.question, entry.asked_on) == wanted
        ]
        if not same:
            return None
        entry = max(same, key=lambda one: (one.kept_at, one.id))
        judgement = rules.judge(entry, task.now)
        return MemoryHit(entry, judgement, _shown(entry, judgement))

    def keep(self, task: Task, answer: str, sources: tuple[str, ...]) -> MemoryEntry:
        """Stores the answer with the time of asking, which must have a time zone."""
        if task.now.tzinfo is None:
            raise ValueError("the task's time has no time zone")
        question, answer = _storable(task.question), _storable(answer)
        times = (task.now.isoformat(), str(task.today))
        with self._open(task.user) as database:
            number = database.execute(
                "INSERT INTO entry (question, answer, sources, kept_at, asked_on)"
                " VALUES (?, ?, ?, ?, ?)",
                (question, answer, canonical_json(sources), *times),
            ).lastrowid
        return MemoryEntry(int(number or 0), question, answer, sources, task.now, task.today)

    def entries(self, user: str) -> tuple[MemoryEntry, ...]:
        """All of a user's entries, newest first."""
        if not self._path(user).exists():
            return ()
        with self._open(user) as database:
            rows = database.execute(
                "SELECT id, question, answer, sources, kept_at, asked_on FROM entry"
                " ORDER BY id DESC"
            )
            return tuple(
                MemoryEntry(
                    number,
                    question,
                    answer,
                    tuple(json.loads(sources)),
                    datetime.datetime.fromisoformat(kept_at),
                    datetime.date.fromisoformat(asked_on),
                )
                for number, question, answer, sources, kept_at, asked_on in rows
            )

    def forget(self, user: str, number: int) -> bool:
        """Deletes one entry for good; False where there is none."""
        if not self._path(user).exists():
            return False
        with self._open(user) as database:
            gone = database.execute("DELETE FROM entry WHERE id = ?", (number,)).rowcount > 0
        # By itself: what is deleted must be committed before the file can be written anew.
        with self._open(user) as database:
            database.execute("VACUUM")
        return gone

    def forget_all(self, user: str) -> int:
        """Deletes all of a user's entries and the file; how many there were."""
        path = self._path(user)
        if not path.exists():
            return 0
        with self._open(user) as database:
            count = database.execute("DELETE FROM entry").rowcount
        path.unlink(missing_ok=True)  # another window may have forgotten all at the same time
        return count

    @contextlib.contextmanager
    def _open(self, user: str) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction."""
        path = self._path(user)
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=30)) as database, database:
                # Freed pages are overwritten; the rollback journal goes with each transaction.
                database.execute("PRAGMA secure_delete = ON")
                database.execute("PRAGMA journal_mode = DELETE")
                database.executescript(_SCHEMA)
                yield database
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"{path}: the memory file cannot be used ({error}). "
                "Delete it to begin with an empty memory."
            ) from error

    def _path(self, user: str) -> Path:
        digest = hashlib.blake2b(user.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return self._folder / f"{digest}.sqlite"


def _storable(text: str) -> str:
    """The text without what SQLite's text cannot hold: NUL, and halves of surrogate pairs."""
    return printable(text).replace("\0", " ")


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
