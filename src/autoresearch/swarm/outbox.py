"""Outbox: what a study wants a hub to know, on disk before the network is touched.

Letters go out in the order they came in. A letter is known by its key, so that writing it twice is
writing it once; what was begun and not answered is looked up on the hub before it is sent again.
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


_ABOUT = {  # kind -> what it tells; the number is of a trial, or of a lease
    "trial": "trial #{}",
    "verify": "what trial #{} says of another's result",
    "claim": "the end of the claim for trial #{}",
    "finish": "the runs for lease {}",
    "release": "the return of lease {}",
}


@dataclass(frozen=True)
class Letter:
    """Something that the hub is to be told."""

    seq: int
    key: str
    kind: str  # trial, finish, release, verify, claim
    body: Mapping[str, Any]
    begun: bool  # it was on its way before, and nobody knows whether it arrived

    @property
    def about(self) -> str:
        """What it tells, for people."""
        number = self.key.partition(":")[2]
        return _ABOUT.get(self.kind, "letter {}").format(number)


@dataclass(frozen=True)
class OutboxStatus:
    """What a person wants to know of an outbox."""

    url: str
    project: str
    agent: str
    waiting: int
    refused: int
    last: float | None  # contact, seconds since the epoch
    why: str  # the last refusal


def outbox_path(folder: Path, url: str, project: str) -> Path:
    """One file for each project of each hub."""
    return folder / f"{hashlib.sha256(f'{url} {project}'.encode()).hexdigest()[:12]}.db"


class Outbox:
    """One file; open it once in each thread."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True, mode=0o700)
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=10)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(SCHEMA)
        except sqlite3.Error as error:
            raise LedgerError(
                f"The outbox {path} cannot be used: {error}. Move it away, and all trials are told "
                "to the hub anew."
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    # ---- letters -------------------------------------------------------------------------------

    def add(self, key: str, kind: str, body: Mapping[str, Any]) -> None:
        """Write a letter, unless one of that key is here."""
        query = "INSERT INTO letter(key, kind, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        self._db.execute(query, (key, kind, json.dumps(body)))

    def next(self) -> Letter | None:
        """The oldest letter that is to be sent."""
        query = "SELECT seq, key, kind, body, state FROM letter"
        row = self._db.execute(f"{query} WHERE {_OPEN} ORDER BY seq LIMIT 1").fetchone()
        if row is None:
            return None
        seq, key, kind, body, state = row
        return Letter(seq, key, kind, json.loads(body), state == "begun")

    def begin(self, letter: Letter) -> None:
        """It may arrive from now on."""
        self._set(letter, "begun", "")

    def sent(self, letter: Letter) -> None:
        """It arrived."""
        self._set(letter, "sent", "")

    def refuse(self, letter: Letter, said: str) -> None:
        """The hub does not want it, and would not want it later."""
        self._set(letter, "refused", said)

    def count(self, state: str = "") -> int:
        """Letters of a state; those that are to be sent when none is given."""
        where, values = ("state = ?", (state,)) if state else (_OPEN, ())
        return int(
            self._db.execute(f"SELECT count(*) FROM letter WHERE {where}", values).fetchone()[0]
        )

    def _set(self, letter: Letter, state: str, said: str) -> None:
        query = "UPDATE letter SET state = ?, said = ? WHERE seq = ?"
        self._db.execute(query, (state, said[:500], letter.seq))

    # ---- facts ---------------------------------------------------------------------------------

    def fact(self, key: str, default: str = "") -> str:
        """Something that was remembered."""
        row = self._db.execute("SELECT value FROM fact WHERE key = ?", (key,)).fetchone()
        return default if row is None else str(row[0])

    def facts(self, prefix: str) -> dict[str, str]:
        """All that was remembered under keys that begin so, by the rest of the key."""
        query = "SELECT substr(key, ?), value FROM fact WHERE substr(key, 1, ?) = ?"
        return dict(self._db.execute(query, (len(prefix) + 1, len(prefix), prefix)))

    def remember(self, **facts: str) -> None:
        """Write facts."""
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

    def contact(self) -> None:
        """The hub answered just now."""
        self.note("last", f"{time.time():.0f}")

    # ---- together ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """Several writes, all or none."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def standing(self) -> OutboxStatus:
        """Where it stands."""
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


def standings(folder: Path) -> list[OutboxStatus]:
    """Of all hubs that a study was joined to."""
    found = []
    for path in sorted(folder.glob("*.db")):
        with contextlib.suppress(LedgerError), contextlib.closing(Outbox(path)) as box:
            found.append(box.standing())
    return found
