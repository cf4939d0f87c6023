"""Pulse: tells open pages that there is something new; numbers only."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from agenthub.errors import Unavailable
from agenthub.records.database import Database
from agenthub.server.page.reading import head

WATCHERS = 500  # open pages at once; others ask now and then
BEAT = 15.0  # seconds between two signs of life
REST = 1.0  # seconds between two messages to one page
LONGEST = 1800.0  # seconds that one page is held; it comes back by itself


class LiveUpdates:
    """The open pages of one application, on its event loop."""

    def __init__(self, database: Database, stopping: asyncio.Event | None = None) -> None:
        """`stopping` is set when the server is told to stop; the pages are let go then."""
        self._db = database
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._heads: dict[int, int] = {}  # read since the last news
        self._watchers = 0
        self._open = True
        self._end = database.on_commit(self._told)
        self._stop = self._loop.create_task(self._close(stopping)) if stopping else None

    def head(self, project: int) -> int:
        """The newest event's number in a project, read once for all pages."""
        if project not in self._heads:
            self._heads[project] = head(self._db, project)
        return self._heads[project]

    async def watch(self, project: int, since: int) -> AsyncIterator[str]:
        """Server-sent events: the newest number whenever it is over `since`."""
        if self._watchers >= WATCHERS:
            raise Unavailable("Too many pages are open. This one asks again by itself.")
        self._watchers += 1
        try:
            yield "retry: 3000\n\n"
            ends = time.monotonic() + LONGEST
            while self._open and time.monotonic() < ends:
                news = self._news
                now = self.head(project)
                if now > since:
                    since = now
                    yield f"id: {now}\ndata: {now}\n\n"
                    await asyncio.sleep(REST)
                elif not await _within(news, BEAT):
                    yield ": here\n\n"
        finally:
            self._watchers -= 1

    @property
    def full(self) -> bool:
        """Whether no further page can be told."""
        return self._watchers >= WATCHERS

    async def _close(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._open = False
        self._end()
        self._turn()

    def _told(self) -> None:
        """In the thread that wrote."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._turn)

    def _turn(self) -> None:
        self._heads.clear()
        self._news.set()
        self._news = asyncio.Event()


async def _within(news: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(news.wait(), seconds)
    except TimeoutError:
        return False
    return True
