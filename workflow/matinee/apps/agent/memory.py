"""Long-term memory: what an agent answered, in one SQLite file per user, recalled by its text."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from matinee.apps.agent.events import Judgement, MemoryEntry, Recalled, Task
from matinee.apps.agent.reuse import ReuseRules, default_rules
from matinee.messages.conversations import canonical_json
from matinee.messages.parsing import printable
from matinee.runtime.errors import UserError

# The trigram tokenizer finds any three characters in a row, so it needs no words and suits Chinese.
_TRIGRAM_SINCE = (3, 34, 0)
_SHORTEST = 3
_CANDIDATES = 20
_LONGEST_QUERY = 200
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    question TEXT NOT NULL,
    answer TEXT NOT NULL,
    sources TEXT NOT NULL,
    kept_at TEXT NOT NULL,
    asked_on TEXT NOT NULL
);
CREATE VIRTUAL TABLE IF NOT EXISTS found USING fts5(question, answer, tokenize='trigram');
"""
_COLUMNS = "entry.id, entry.question, entry.answer, entry.sources, entry.kept_at, entry.asked_on"


class LongTermMemory:
    """A folder of memory files, one per user, so that no query can reach another user's entries.

    A file's name is a digest of the user's. Deleted text is overwritten, in the file and in its
    index; what backups or the disk itself keep is outside of this program's reach. Raises
    UserError where SQLite is too old, or a file is not such a memory.
    """

    def __init__(self, folder: Path) -> None:
        if sqlite3.sqlite_version_info < _TRIGRAM_SINCE:
            raise UserError(
                f"This Python comes with SQLite {sqlite3.sqlite_version}; memory needs 3.34 or "
                "newer. Use another Python, or switch memory off."
            )
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def keep(
        self,
        user: str,
        question: str,
        answer: str,
        sources: tuple[str, ...],
        kept_at: datetime.datetime,
        asked_on: datetime.date,
    ) -> MemoryEntry:
        """Stores an answer; `kept_at` must have a time zone."""
        if kept_at.tzinfo is None:
            raise ValueError("kept_at has no time zone")
        question, answer = _storable(question), _storable(answer)
        values = (question, answer, canonical_json(sources), kept_at.isoformat(), str(asked_on))
        with self._open(user) as database:
            number = database.execute(
                "INSERT INTO entry (question, answer, sources, kept_at, asked_on)"
                " VALUES (?, ?, ?, ?, ?)",
                values,
            ).lastrowid
            database.execute(
                "INSERT INTO found (rowid, question, answer) VALUES (?, ?, ?)",
                (number, question, answer),
            )
        return MemoryEntry(int(number or 0), question, answer, sources, kept_at, asked_on)

    def search(self, user: str, text: str, limit: int = 10) -> tuple[MemoryEntry, ...]:
        """The user's entries that share most with the text, best first.

        Texts of three characters and more are searched by the index, shorter ones as they are.
        """
        text = _storable(text)
        if not self._path(user).exists() or not text.strip():
            return ()
        grams = _trigrams(text[:_LONGEST_QUERY])
        if not grams:
            return self._search_short(user, text.strip(), limit)
        query = " OR ".join('"' + gram.replace('"', '""') + '"' for gram in grams)
        return self._select(
            user,
            f"SELECT {_COLUMNS} FROM found JOIN entry ON entry.id = found.rowid"
            " WHERE found MATCH ? ORDER BY bm25(found), entry.id DESC LIMIT ?",
            (query, limit),
        )

    def _search_short(self, user: str, text: str, limit: int) -> tuple[MemoryEntry, ...]:
        return self._select(
            user,
            f"SELECT {_COLUMNS} FROM entry WHERE instr(question, ?) OR instr(answer, ?)"
            " ORDER BY id DESC LIMIT ?",
            (text, text, limit),
        )

    def entries(self, user: str) -> tuple[MemoryEntry, ...]:
        """All of a user's entries, newest first."""
        if not self._path(user).exists():
            return ()
        return self._select(user, f"SELECT {_COLUMNS} FROM entry ORDER BY id DESC", ())

    def forget(self, user: str, number: int) -> bool:
        """Deletes one entry for good; False where there is none."""
        if not self._path(user).exists():
            return False
        with self._open(user) as database:
            database.execute("DELETE FROM found WHERE rowid = ?", (number,))
            gone = database.execute("DELETE FROM entry WHERE id = ?", (number,)).rowcount > 0
            # The index only marks what is deleted; merging its parts drops the text.
            database.execute("INSERT INTO found (found) VALUES ('optimize')")
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
            database.execute("DELETE FROM found")
            database.execute("INSERT INTO found (found) VALUES ('optimize')")
        path.unlink(missing_ok=True)  # another window may have forgotten all at the same time
        return count

    def _select(self, user: str, query: str, values: tuple[object, ...]) -> tuple[MemoryEntry, ...]:
        with self._open(user) as database:
            return tuple(_entry(row) for row in database.execute(query, values))

    @contextlib.contextmanager
    def _open(self, user: str) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction."""
        try:
            with contextlib.closing(self._connect(user)) as database, database:
                database.executescript(_SCHEMA)
                yield database
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"{self._path(user)}: the memory file cannot be used ({error}). "
                "Delete it to begin with an empty memory."
            ) from error

    def _connect(self, user: str) -> sqlite3.Connection:
        database = sqlite3.connect(self._path(user), timeout=30)
        # Freed pages are overwritten; the rollback journal goes away with each transaction.
        database.execute("PRAGMA secure_delete = ON")
        database.execute("PRAGMA journal_mode = DELETE")
        return database

    def _path(self, user: str) -> Path:
        digest = hashlib.blake2b(user.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return self._folder / f"{digest}.sqlite"


def _storable(text: str) -> str:
    """The text without what SQLite's text cannot hold: NUL, and halves of surrogate pairs."""
    return printable(text).replace("\0", " ")


def _trigrams(text: str) -> list[str]:
    """Every three characters in a row of the text's words, once each."""
    parts = text.split()
    grams = (
        part[start : start + _SHORTEST]
        for part in parts
        for start in range(len(part) - _SHORTEST + 1)
    )
    return list(dict.fromkeys(grams))


def _entry(row: tuple[int, str, str, str, str, str]) -> MemoryEntry:
    number, question, answer, sources, kept_at, asked_on = row
    return MemoryEntry(
        number,
        question,
        answer,
        tuple(json.loads(sources)),
        datetime.datetime.fromisoformat(kept_at),
        datetime.date.fromisoformat(asked_on),
    )


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
