"""So many at once, so many more in line; the rest are told to come back."""

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


class Gate:
    """Work that takes a thread and a child program: bounded in all, and for each agent.

    One agent never has more than half of the slots, so that one who reads slowly does not keep the
    others waiting.

    One belongs to one event loop.
    """

    def __init__(self, what: str, at_once: int, in_line: int, each: int) -> None:
        self._what = what  # "pushes"
        self._at_once = at_once
        self._most = at_once + in_line
        self._each = each  # of one agent, at once and in line
        self._inside: Counter[str] = Counter()
        self._slots = asyncio.Semaphore(at_once)
        self._shares: dict[str, asyncio.Semaphore] = {}  # of the slots, for who is inside
        self._threads: CapacityLimiter | None = None  # made where there is an event loop

    @contextlib.asynccontextmanager
    async def entered(self, subject: str) -> AsyncIterator[None]:
        """A place in line; TooMany when this agent has enough of them, Unavailable without one."""
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
    async def turn(self, subject: str) -> AsyncIterator[None]:
        """One of the slots for who has entered, as soon as one of its share is free."""
        async with self._shares[subject], self._slots:
            yield

    async def run(self, verb: Callable[..., T], *values: object) -> T:
        """Run a verb in a thread of the gate's own; it is finished even when nobody waits."""
        if self._threads is None:
            self._threads = CapacityLimiter(self._most)
        return await anyio.to_thread.run_sync(partial(verb, *values), limiter=self._threads)
