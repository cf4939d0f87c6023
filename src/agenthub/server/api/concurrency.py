"""How much work runs at once and how much waits; more is refused with Retry-After."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TypeVar

import anyio.to_thread
from anyio import CapacityLimiter

from agenthub.errors import TooMany, Unavailable

T = TypeVar("T")


class ConcurrencyLimit:
    """A limit on work that takes a thread and a child program, in all and for each agent.

    One agent has at most half of the slots, so that a slow reader does not block the others. A
    limit belongs to one event loop.
    """

    def __init__(self, what: str, at_once: int, waiting: int, each: int) -> None:
        self._what = what  # "pushes"
        self._at_once = at_once
        self._most = at_once + waiting
        self._each = each  # of one agent, at once and waiting
        self._inside: Counter[str] = Counter()
        self._slots = asyncio.Semaphore(at_once)
        self._shares: dict[str, asyncio.Semaphore] = {}  # slots of each agent that has a place
        self._threads: CapacityLimiter | None = None  # made where there is an event loop

    @contextlib.asynccontextmanager
    async def place(self, subject: str) -> AsyncIterator[None]:
        """Take a place; TooMany when this agent has its most, Unavailable when all are taken."""
        if self._inside[subject] >= self._each:
            raise TooMany(
                f"You have {self._each} {self._what} under way, the most there may be at once. "
                "Wait for one to end.",
                retry_after=1,
            )
        if self._inside.total() >= self._most:
            raise Unavailable(
                f"The hub has {self._most} {self._what} under way, all it takes at once. Try "
                "again in 2 seconds.",
                retry_after=2,
            )
        self._inside[subject] += 1
        self._shares.setdefault(subject, asyncio.Semaphore(max(1, self._at_once // 2)))
        try:
            yield
        finally:
            self._inside[subject] -= 1
            if not self._inside[subject]:
                del self._inside[subject], self._shares[subject]

    @contextlib.asynccontextmanager
    async def slot(self, subject: str) -> AsyncIterator[None]:
        """Wait for a slot of the agent's share; the agent must have a place."""
        async with self._shares[subject], self._slots:
            yield

    async def run(self, function: Callable[..., T], *values: object) -> T:
        """Run a function in a thread of this limit; it ends even when the caller is gone."""
        if self._threads is None:
            self._threads = CapacityLimiter(self._most)
        return await anyio.to_thread.run_sync(partial(function, *values), limiter=self._threads)
