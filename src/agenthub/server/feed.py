"""The newest events of a hub, for everyone who waits for the next one.

The API's subscribers and the open pages share one feed: each commit wakes it once, and it reads
what is new once for all of them. A waiter holds an event number and nothing else, so no buffer
grows.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Any

from fastapi import FastAPI

from agenthub.errors import Unavailable
from agenthub.records.events import PAGE, Event
from agenthub.records.hub import Hub
from agenthub.server.limits import Shares

WINDOW = 4_096  # newest events that the feed keeps in memory
SUBSCRIBERS = 3_072  # at once, of the API; fewer than the server takes connections
EACH = 2_048  # of one agent
PAGES = 500  # open pages at once; other pages reload now and then


class Feed:
    """The newest events, and a way to wait for more.

    A feed belongs to one event loop: create it and call it there.
    """

    def __init__(self, hub: Hub, stopping: asyncio.Event) -> None:
        """Follow a hub until `stopping` is set; all waits end then."""
        self.subscribers = _places(EACH, SUBSCRIBERS)
        self.pages = _places(PAGES, PAGES)
        self.closed = False
        self.head = hub.events.head()
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._window: deque[Event] = deque(maxlen=WINDOW)
        self._oldest = self.head  # the window holds all events after it
        self._newest: dict[int, int] = {}  # by project
        self._next: asyncio.Future[None] = self._loop.create_future()
        self._scheduled = False  # whether the loop is to read
        self._unsubscribe = hub.database.on_commit(self._schedule)
        self._ending = self._loop.create_task(self._end(stopping))

    async def wait(
        self,
        beyond: int,
        seconds: float,
        *,
        project: int | None = None,
        gone: asyncio.Future[Any] | None = None,
    ) -> bool:
        """Wait until there is an event with a number over `beyond`, of one project if given.

        True when there is one or the feed has closed; False after `seconds`, or once `gone` is
        done. Take a place before: `with feed.subscribers.place(...)`.
        """
        ends = self._loop.time() + seconds
        while self.newest(project) <= beyond and not self.closed:
            left = ends - self._loop.time()
            if left <= 0 or (gone is not None and gone.done()):
                return False
            waited = {self._next} if gone is None else {self._next, gone}
            await asyncio.wait(waited, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        return True

    def newest(self, project: int | None = None) -> int:
        """The newest event's number, of one project if given; 0 when there is none."""
        if project is None:
            return self.head
        if project not in self._newest:  # read once, then kept up to date
            query = "SELECT max(seq) FROM events WHERE project = ?"
            self._newest[project] = self._hub.database.number(query, project)
        return self._newest[project]

    def after(self, cursor: int) -> list[Event] | None:
        """The events after a cursor, oldest first; None when the window does not reach back."""
        if cursor < self._oldest:
            return None
        newer = []
        for event in reversed(self._window):
            if event.seq <= cursor:
                break
            newer.append(event)
        return newer[::-1]

    # ---- inside --------------------------------------------------------------------------------

    def _schedule(self) -> None:
        """Have the loop read, once for all commits until it does. Runs in the thread that wrote."""
        if not self._scheduled:
            self._scheduled = True
            with contextlib.suppress(RuntimeError):  # the loop is gone
                self._loop.call_soon_threadsafe(self._update)

    def _update(self) -> None:
        self._scheduled = False  # before reading: a commit from now on schedules again
        with contextlib.suppress(Unavailable):  # the hub is closing; or the next commit reads it
            self._read()
        self._wake()

    def _read(self) -> None:
        while True:
            page = self._hub.events.since(self.head)
            for event in page.events:
                if len(self._window) == WINDOW:
                    self._oldest = self._window[0].seq
                self._window.append(event)
                if event.project in self._newest:
                    self._newest[event.project] = max(self._newest[event.project], event.seq)
            self.head = page.cursor
            if len(page.events) < PAGE:
                return

    def _wake(self) -> None:
        following, self._next = self._next, self._loop.create_future()
        following.set_result(None)

    async def _end(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._unsubscribe()
        self.closed = True
        self._wake()


def _places(each: int, most: int) -> Shares:
    return Shares(
        each,
        most,
        f"You follow the events {each:,} times at once, which is the most allowed. One stream is "
        "enough for a machine.",
        "The hub has all the subscribers it can serve.",
    )


def feed_of(app: FastAPI) -> Feed:
    """The application's feed; the first call starts it."""
    found = getattr(app.state, "feed", None)
    if not isinstance(found, Feed):
        found = app.state.feed = Feed(app.state.hub, app.state.stopping)
    return found
