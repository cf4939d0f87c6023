"""The log of events, in one order for all readers; each change appends in its transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agenthub.records.database import Database, narrowed

PAGE = 200  # the most rows of any listing


@dataclass(frozen=True)
class Event:
    """One event; `ref` names its subject: a hash, a post's or result's number, an agent."""

    seq: int
    project: int | None
    kind: str
    ref: str
    actor: str
    time: int  # unix seconds


@dataclass(frozen=True)
class Page:
    """Events after a cursor, oldest first, and the next cursor."""

    events: tuple[Event, ...]
    cursor: int
    missed: bool  # some events after the given cursor are no longer kept


class Events:
    """The table of events; the newest `keep` of them stay."""

    def __init__(self, database: Database, keep: int = 100_000) -> None:
        self._db = database
        self._keep = keep

    def append(self, kind: str, ref: object, actor: str, project: int | None = None) -> None:
        """Append an event, inside the current transaction if there is one."""
        columns = {"project": project, "kind": kind, "ref": str(ref), "actor": actor}
        with self._db.write() as connection:
            seq = self._db.insert("events", **columns, time=self._db.now())["seq"]
            if seq % 256 == 0:
                connection.execute("DELETE FROM events WHERE seq <= ?", (seq - self._keep,))
            self._db.announce()

    def head(self) -> int:
        """The newest event's number; 0 when there is none."""
        return self._db.number("SELECT seq FROM sqlite_sequence WHERE name = 'events'")

    def since(
        self, cursor: int, limit: int = PAGE, kinds: Sequence[str] = (), project: int | None = None
    ) -> Page:
        """At most `limit` events after a cursor, of some kinds, of one project."""
        head = self.head()  # first: later events belong to the next page
        oldest = self._db.number("SELECT min(seq) FROM events")
        limit = capped(limit)
        where, values = narrowed("seq > ? AND seq <= ?", [cursor, head], project=project)
        if kinds:
            where += f" AND kind IN ({', '.join('?' * len(kinds))})"
        query = f"SELECT * FROM events WHERE {where} ORDER BY seq LIMIT ?"
        rows = self._db.rows(query, *values, *kinds, limit)
        found = tuple(Event(*row) for row in rows)
        after = found[-1].seq if len(found) == limit else max(cursor, head)
        return Page(found, after, missed=cursor + 1 < oldest)


def capped(limit: int, most: int = PAGE) -> int:
    """A limit, brought into 1 to `most`."""
    return max(1, min(limit, most))
