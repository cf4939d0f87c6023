"""Limits: token buckets over time, and quotas of stored bytes.

A request takes its tokens before the work, in a transaction of its own: failures count like
successes, and of two requests at once only one can take the last token.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from agenthub.errors import TooLarge, TooMany
from agenthub.records.database import Database

SUBJECTS = 50_000  # of `Rates` at once; the least recent one is forgotten first
LEVEL = "min(:capacity, tokens + max(0, :now - updated) * :rate)"
TAKEN = f"(:forced OR {LEVEL} >= :cost)"
LEFT = f"({LEVEL} - CASE WHEN {TAKEN} THEN :cost ELSE 0 END)"
TAKE = f"""
INSERT INTO buckets(subject, action, tokens, taken, updated, full_at)
  VALUES (:subject, :action, :capacity - :cost, 1, :now, :now + :cost / :rate)
ON CONFLICT(subject, action) DO UPDATE SET
  tokens = {LEFT}, taken = {TAKEN}, updated = :now,
  full_at = :now + (:capacity - {LEFT}) / :rate
RETURNING tokens, taken
"""


@dataclass(frozen=True)
class Limit:
    """At most `capacity` in `seconds`; all of them may come at once."""

    capacity: float
    seconds: float

    @property
    def rate(self) -> float:
        """Tokens that come back each second."""
        return self.capacity / self.seconds


class Buckets:
    """One bucket for each subject (`agent:ada`, `ip:192.0.2.7`) and action."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def take(self, subject: str, action: str, limit: Limit, cost: float = 1) -> float:
        """Take tokens; returns how many are left. TooMany, and none taken, if there are too few."""
        if cost > limit.capacity:
            raise TooLarge(
                f"This needs {cost:,.0f} of {action}, and at most {limit.capacity:,.0f} are "
                f"allowed in {limit.seconds:,g} seconds. Send less at once."
            )
        left, taken = self._upsert(subject, action, limit, cost, forced=False)
        if not taken:
            wait = max(1, math.ceil((cost - left) / limit.rate))
            raise TooMany(
                f"Too many: {action} is limited to {limit.capacity:,.0f} in {limit.seconds:,g} "
                f"seconds. Try again in {wait} seconds.",
                retry_after=wait,
            )
        return left

    def charge(self, subject: str, action: str, limit: Limit, cost: float = 1) -> float:
        """Take tokens after the work, even below zero; returns how many are left."""
        return self._upsert(subject, action, limit, cost, forced=True)[0]

    def sweep(self) -> int:
        """Delete the buckets that are full again; returns how many."""
        with self._db.write(durable=False) as connection:
            query = "DELETE FROM buckets WHERE full_at <= ?"
            return connection.execute(query, (self._db.clock(),)).rowcount

    def _upsert(
        self, subject: str, action: str, limit: Limit, cost: float, *, forced: bool
    ) -> tuple[float, bool]:
        if self._db.writing:
            raise RuntimeError("a bucket is taken from before a transaction, not within it")
        values = {"subject": subject, "action": action, "cost": float(cost), "forced": forced}
        values |= {"capacity": float(limit.capacity), "rate": limit.rate}
        with self._db.write(durable=False) as connection:
            values["now"] = self._db.clock()
            tokens, taken = connection.execute(TAKE, values).fetchone()
        return float(tokens), bool(taken)


class Quotas:
    """Bytes stored, by agent and by project."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, subject: str, size: int, most: int | None = None) -> int:
        """Add stored bytes, inside the transaction that stores them; returns the sum.

        TooLarge over `most`. A negative size gives bytes back.
        """
        with self._db.write() as connection:
            total = max(0, self.used(subject) + size)
            if most is not None and size > 0 and total > most:
                raise TooLarge(
                    f"{subject} would store {total:,} bytes, and {most:,} are its quota. Ask the "
                    "hub's admin for more, or push less.",
                    used=total - size,
                    quota=most,
                )
            connection.execute(
                "INSERT INTO stored VALUES (?, ?) "
                "ON CONFLICT(subject) DO UPDATE SET bytes = excluded.bytes",
                (subject, total),
            )
        return total

    def used(self, subject: str) -> int:
        """Bytes stored by `agent:ID` or for `project:ID`."""
        return self._db.number("SELECT bytes FROM stored WHERE subject = ?", subject)


class Rates:
    """One bucket per subject, in memory: a database write for each request would cost more.

    They are full again after a restart. Thread-safe.
    """

    def __init__(
        self, limit: Limit, *, subjects: int = SUBJECTS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._subjects = subjects
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._turn = threading.Lock()

    def take(self, subject: str) -> None:
        """Take one token; TooMany, and nothing taken, when there is none."""
        now, most = self._clock(), self._limit.capacity
        with self._turn:
            level, since = self._levels.pop(subject, (most, now))
            level = min(most, level + (now - since) * self._limit.rate)
            enough = level >= 1
            self._levels[subject] = (level - enough, now)
            if len(self._levels) > self._subjects:
                self._levels.popitem(last=False)
        if not enough:
            wait = max(1, math.ceil((1 - level) / self._limit.rate))
            raise TooMany(
                f"Too many requests: {most:,.0f} are allowed in {self._limit.seconds:,g} seconds. "
                f"Try again in {wait} seconds.",
                retry_after=wait,
            )


def address_subject(address: str) -> str:
    """The subject of an address: an IPv4 address itself, or the /64 network of an IPv6 one.

    One customer has a whole /64, so its addresses share a bucket; strangers never do.
    """
    try:
        found = ipaddress.ip_address(address.strip().strip("[]").partition("%")[0])
    except ValueError:
        return "ip:unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return f"ip:{found.ipv4_mapped}"
        return f"ip:{ipaddress.ip_network((found, 64), strict=False)}"
    return f"ip:{found}"
