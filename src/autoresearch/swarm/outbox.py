"""Outbox: letters to a hub, on disk before the network is touched, and facts about the hub.

Letters are sent in the order in which they were written. A letter has a key, so that writing it
twice is writing it once. A letter that was begun and not answered is looked up on the hub before it
is sent once more.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch.errors import LedgerError

SCHEMA = """
CREATE TABLE IF NOT EXISTS letter(
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  key TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  body TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'waiting' CHECK(state IN ('waiting', 'begun', 'sent', 'refused')),
  said TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX IF NOT EXISTS letter_open ON letter(seq) WHERE state IN ('waiting', 'begun');
CREATE TABLE IF NOT EXISTS fact(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
"""
_OPEN = "state IN ('waiting', 'begun')"


_ABOUT = {  # kind -> what the letter reports; the number is of a trial, or of a lease
    "trial": "trial #{}",
    "verify": "trial #{}, as a run of another's result",
    "claim": "the end of the claim for trial #{}",
    "finish": "the runs for lease {}",
    "release": "the return of lease {}",
}


@dataclass(frozen=True)
class Letter:
    """Something to report to the hub."""

    seq: int
    key: str
    kind: str  # trial, finish, release, verify, claim
    body: Mapping[str, Any]
    begun: bool  # it was sent before, and whether it arrived is unknown

    @property
    def about(self) -> str:
        """What the letter reports, in words for people."""
        number = self.key.partition(":")[2]
        return _ABOUT.get(self.kind, "letter {}").format(number)


@dataclass(frozen=True)
class OutboxStatus:
    """The state of an outbox, for people."""

    url: str
    project: str
    agent: str
    waiting: int
    refused: int
    last: float | None  # contact, seconds since the epoch
    why: str  # the last refusal


def outbox_path(folder: Path, url: str, project: str) -> Path:
    """The file of an outbox: one for each project of each hub."""
    return folder / f"{hashlib.sha256(f'{url} {project}'.encode()).hexdigest()[:12]}.db"


class Outbox:
    """Letters and facts in one SQLite file; each thread opens its own."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True, mode=0o700)
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=10)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(SCHEMA)
        except sqlite3.Error as error:
            raise LedgerError(
                f"The outbox {path} cannot be used: {error}. Move it away: then all trials are "
                "sent to the hub once more."
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # ---- letters -------------------------------------------------------------------------------

    def add(self, key: str, kind: str, body: Mapping[str, Any]) -> None:
        """Write a letter, unless there is one with this key."""
        query = "INSERT INTO letter(key, kind, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        self._db.execute(query, (key, kind, json.dumps(body)))

    def next(self) -> Letter | None:
        """The oldest letter that is not sent yet."""
        query = "SELECT seq, key, kind, body, state FROM letter"
        row = self._db.execute(f"{query} WHERE {_OPEN} ORDER BY seq LIMIT 1").fetchone()
        if row is None:
            return None
        seq, key, kind, body, state = row
        return Letter(seq, key, kind, json.loads(body), state == "begun")

    def begin(self, letter: Letter) -> None:
        """Record that a letter is being sent: it may arrive from now on."""
        self._set(letter, "begun", "")

    def sent(self, letter: Letter) -> None:
        """Record that a letter arrived."""
        self._set(letter, "sent", "")

    def refuse(self, letter: Letter, reason: str) -> None:
        """Record that the hub rejects a letter for good."""
        self._set(letter, "refused", reason)

    def count(self, state: str = "") -> int:
        """How many letters are in a state; without a state, how many are not sent yet."""
        where, values = ("state = ?", (state,)) if state else (_OPEN, ())
        return int(
            self._db.execute(f"SELECT count(*) FROM letter WHERE {where}", values).fetchone()[0]
        )

    def _set(self, letter: Letter, state: str, reason: str) -> None:
        query = "UPDATE letter SET state = ?, said = ? WHERE seq = ?"
        self._db.execute(query, (state, reason[:500], letter.seq))

    # ---- facts ---------------------------------------------------------------------------------

    def fact(self, key: str, default: str = "") -> str:
        """The value of a fact, or the default."""
        row = self._db.execute("SELECT value FROM fact WHERE key = ?", (key,)).fetchone()
        return default if row is None else str(row[0])

    def facts(self, prefix: str) -> dict[str, str]:
        """The facts whose keys begin with a prefix, by the rest of the key."""
        query = "SELECT substr(key, ?), value FROM fact WHERE substr(key, 1, ?) = ?"
        return dict(self._db.execute(query, (len(prefix) + 1, len(prefix), prefix)))

    def remember(self, **facts: str) -> None:
        """Write several facts."""
        for key, value in facts.items():
            self.note(key, value)

    def note(self, key: str, value: str) -> None:
        """Write one fact."""
        query = (
            "INSERT INTO fact VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value"
        )
        self._db.execute(query, (key, value))

    def forget(self, key: str) -> None:
        """Drop a fact."""
        self._db.execute("DELETE FROM fact WHERE key = ?", (key,))

    def record_contact(self) -> None:
        """Record that the hub answered just now."""
        self.note("last", f"{time.time():.0f}")

    # ---- together ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make several writes, all or none."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def status(self) -> OutboxStatus:
        """The state of this outbox."""
        query = "SELECT said FROM letter WHERE state = 'refused' ORDER BY seq DESC LIMIT 1"
        row, last = self._db.execute(query).fetchone(), self.fact("last")
        return OutboxStatus(
            url=self.fact("url"),
            project=self.fact("project"),
            agent=self.fact("agent"),
            waiting=self.count(),
            refused=self.count("refused"),
            last=float(last) if last else None,
            why=row[0] if row else "",
        )


def outbox_statuses(folder: Path) -> list[OutboxStatus]:
    """The states of all outboxes in a study's folder; one that cannot be opened is left out."""
    found = []
    for path in sorted(folder.glob("*.db")):
        with contextlib.suppress(LedgerError), contextlib.closing(Outbox(path)) as box:
            found.append(box.status())
    return found
