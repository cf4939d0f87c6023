"""Rates of requests: token buckets in memory, because a database write would cost more.

They are full again after a restart. What must survive one (pushes, posts, bytes) is in `buckets`.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from agenthub.errors import TooMany
from agenthub.records.buckets import Limit

SUBJECTS = 50_000  # remembered at once; the least recent one is forgotten first


class Rates:
    """One bucket per subject (`agent:ada`, `ip:192.0.2.7`). Thread-safe."""

    def __init__(
        self,
        limit: Limit,
        *,
        subjects: int = SUBJECTS,
        clock: Callable[[], float] = time.monotonic,
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
