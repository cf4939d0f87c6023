"""The audit log: rows are only added, and each is sealed with the hash of the one before it."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass
from typing import Any

from agenthub.records.database import Database, noun, upto
from agenthub.records.events import capped

START = "0" * 64  # the hash before the first row


@dataclass(frozen=True)
class Entry:
    """One row: an actor's action on a subject."""

    seq: int
    time: int  # unix seconds
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    hash: str


@dataclass(frozen=True)
class ChainCheck:
    """The result of checking the whole chain."""

    rows: int
    head: str  # the last sound row's hash: once published, no earlier row can be rewritten
    broken: int | None  # the first row that was changed or removed

    @property
    def sound(self) -> bool:
        """Whether every row is there and as it was written."""
        return self.broken is None


class Audit:
    """The hash-chained log."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def append(self, actor: str, action: str, subject: str = "", **detail: Any) -> None:
        """Write one row, inside the current transaction if there is one. No secrets in `detail`."""
        with self._db.write() as connection:
            last = self._db.row("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
            seq, previous = (last["seq"] + 1, last["hash"]) if last else (1, START)
            text = json.dumps(detail, sort_keys=True, separators=(",", ":"))
            row = (seq, self._db.now(), actor, action, subject, text)
            connection.execute(
                "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, _seal(previous, row))
            )

    def page(self, before: int | None = None, limit: int = 50) -> tuple[Entry, ...]:
        """The newest entries, or those before a number; newest first."""
        query = "SELECT * FROM audit WHERE seq < ? ORDER BY seq DESC LIMIT ?"
        rows = self._db.rows(query, upto(before), capped(limit))
        return tuple(noun(Entry, row, detail=json.loads(row["detail"])) for row in rows)

    def verify(self) -> ChainCheck:
        """Check the whole chain: finds changed, removed, inserted and cut-off rows."""
        hash_, rows = START, 0
        query = "SELECT * FROM audit WHERE seq > ? ORDER BY seq LIMIT ?"
        for row in itertools.chain.from_iterable(self._db.batches(query, size=1_000)):
            if row["seq"] != rows + 1 or row["hash"] != _seal(hash_, tuple(row)[:-1]):
                return ChainCheck(rows, hash_, rows + 1)
            hash_, rows = row["hash"], rows + 1
        written = self._db.number("SELECT seq FROM sqlite_sequence WHERE name = 'audit'")
        return ChainCheck(rows, hash_, rows + 1 if written > rows else None)


def _seal(previous: str, row: tuple[Any, ...]) -> str:
    text = json.dumps([previous, *row], separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
