"""News as it happens: events by long-poll, and as a stream of server-sent events.

One feed serves all subscribers: a commit wakes it through the event loop, it reads what is new
once, writes it out once, and rings one bell. A subscriber holds nothing but its place, so that no
buffer grows; one that does not take what it is sent is cut off, and comes back with the number it
had.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request, Response
from starlette.types import Receive, Scope, Send

from agenthub.errors import BadInput, HubError, TooMany, Unavailable
from agenthub.records.agents import Caller
from agenthub.records.events import PAGE, Event
from agenthub.records.hub import Hub
from agenthub.server.api.context import known
from agenthub.server.api.v2_common import V2, Ask, LimitAsked, Reading
from agenthub.server.api.v2_views import Trusts

router = APIRouter(prefix=V2, tags=["events"])

WAIT = 30.0  # seconds of a long-poll, at most
WINDOW = 4_096  # newest events that are kept written out
PIECE = 64 * 1024  # bytes sent at once
SUBSCRIBERS = 3_072  # at once; fewer than the server takes connections
EACH = 2_048  # of one agent
RETRY = 2_000  # milliseconds after which a client comes back

Since = Annotated[
    int | None, Query(ge=0, description="The cursor of what was read before; events after it.")
]
Wait = Annotated[
    float,
    Query(allow_inf_nan=False, description=f"Seconds to wait for an event, up to {WAIT:g}."),
]
OfProject = Annotated[str | None, Query(max_length=39, description="Only this project's.")]
Kinds = Annotated[
    str,
    Query(
        max_length=500,
        description="Only these kinds, with commas between: commit, attempt, promote, result, "
        "verification, verdict, lease, claim, claim finished, claim released, post, mention, "
        "channel, hide, show, suspect, project, agent.",
    ),
]


@dataclass(frozen=True)
class Written:
    """An event, as it is sent to everybody."""

    seq: int
    project: int | None
    kind: str
    piece: bytes
    structured: bytes  # the same without a word of a stranger


@dataclass(frozen=True)
class Wish:
    """What a subscriber wants to hear of."""

    project: int | None
    kinds: tuple[str, ...]
    structured: bool = False

    def grants(self, written: Written) -> bool:
        """Whether an event is one of these."""
        here = self.project is None or written.project == self.project
        return here and (not self.kinds or written.kind in self.kinds)

    def of(self, written: Written) -> bytes:
        """An event as it is wanted."""
        return written.structured if self.structured else written.piece


class Feed:
    """The newest events of a hub, and a bell that rings when there are more.

    It belongs to one event loop, and begins when the first subscriber comes.
    """

    def __init__(self, hub: Hub, stopping: asyncio.Event) -> None:
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._window: deque[Written] = deque(maxlen=WINDOW)
        self._slugs: dict[int, str] = {}
        self._trusts = Trusts(hub.accounts)
        self._rung = False
        self._inside: Counter[str] = Counter()
        self.bell: asyncio.Future[None] = self._loop.create_future()
        self.closed = False
        self.beat = hub.settings.unread_seconds / 2  # who takes no sign of life is cut off
        self._stop = hub.database.on_commit(self._committed)
        self._ending = self._loop.create_task(self._end(stopping))
        self.head = hub.events.head()
        self.oldest = self.head  # all after it is in the window

    @property
    def subscribers(self) -> int:
        """How many there are now."""
        return self._inside.total()

    @contextlib.contextmanager
    def subscribed(self, caller: Caller) -> Iterator[None]:
        """A place among the subscribers; TooMany, or Unavailable, when there is none."""
        if self._inside[caller.agent] >= EACH:
            raise TooMany(
                f"You follow the events {EACH:,} times at once, and may no more. One stream is "
                "enough for a machine.",
                retry_after=10,
            )
        if self.closed or self.subscribers >= SUBSCRIBERS:
            raise Unavailable("The hub has all the subscribers it can serve.", retry_after=10)
        self._inside[caller.agent] += 1
        try:
            yield
        finally:
            self._inside[caller.agent] -= 1
            if not self._inside[caller.agent]:
                del self._inside[caller.agent]

    def after(self, cursor: int) -> list[Written] | None:
        """The window's events after a cursor; None when it does not reach back so far."""
        if cursor < self.oldest:
            return None
        newer = []
        for written in reversed(self._window):
            if written.seq <= cursor:
                break
            newer.append(written)
        return newer[::-1]

    def shown(self, event: Event, *, structured: bool = False) -> dict[str, Any]:
        """An event as JSON has it; structured, numbers stand for agents and channels."""
        shown = {**vars(event), "project": self._slug(event.project)}
        if structured:
            shown |= {"actor": self._trusts.handle(event.actor), "ref": self._ref(event)}
        return shown

    def written(self, event: Event) -> Written:
        """An event as a stream has it."""
        pieces = [
            f"id: {event.seq}\nevent: {event.kind}\ndata: {_packed(shown)}\n\n".encode()
            for shown in (self.shown(event), self.shown(event, structured=True))
        ]
        return Written(event.seq, event.project, event.kind, *pieces)

    # ---- inside --------------------------------------------------------------------------------

    def _slug(self, project: int | None) -> str | None:
        if project is None:
            return None
        if project not in self._slugs:  # a project's number never gets another name
            self._slugs[project] = self._hub.projects.by_id(project).slug
        return self._slugs[project]

    def _ref(self, event: Event) -> str:
        if event.kind == "agent":
            return self._trusts.handle(event.ref)
        if event.kind != "channel":
            return event.ref
        query = "SELECT id FROM channels WHERE project = ? AND name = ?"
        return f"channel-{self._hub.database.number(query, event.project, event.ref)}"

    def _committed(self) -> None:
        """In whatever thread wrote: have the loop look, once for all that comes until it does."""
        if not self._rung:
            self._rung = True
            with contextlib.suppress(RuntimeError):  # the loop is gone
                self._loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        self._rung = False  # before reading: what is committed from now on rings again
        with contextlib.suppress(Unavailable):  # the hub is closing; or the next commit tells
            self._read()
        self._ring()

    def _read(self) -> None:
        while True:
            page = self._hub.events.since(self.head)
            for event in page.events:
                if len(self._window) == WINDOW:
                    self.oldest = self._window[0].seq
                self._window.append(self.written(event))
            self.head = page.cursor
            if len(page.events) < PAGE:
                return

    def _ring(self) -> None:
        bell, self.bell = self.bell, self._loop.create_future()
        bell.set_result(None)

    async def _end(self, stopping: asyncio.Event) -> None:
        """Send everybody away when the server is about to stop."""
        await stopping.wait()
        self._stop()
        self.closed = True
        self._ring()


class Reader:
    """One subscriber's place in the feed."""

    def __init__(self, hub: Hub, feed: Feed, wish: Wish, cursor: int | None) -> None:
        head = hub.events.head()
        self._hub = hub
        self._feed = feed
        self._wish = wish
        self._missed = cursor is not None and cursor > head  # of another life of this hub
        self.cursor = head if cursor is None else min(cursor, head)

    def hello(self) -> bytes:
        """What a stream begins with: where one is, should it break before the first event."""
        return f": the events of this hub\nretry: {RETRY}\nid: {self.cursor}\n\n".encode()

    def take(self) -> bytes:
        """What is new, at most about PIECE bytes; empty when there is nothing."""
        while True:
            newer = self._feed.after(self.cursor)
            if newer is not None and not self._missed:
                return self._of_window(newer)
            if pieces := self._of_database():
                return pieces

    def _of_window(self, newer: list[Written]) -> bytes:
        pieces, size = [], 0
        for written in newer:
            self.cursor = written.seq
            if self._wish.grants(written):
                pieces.append(self._wish.of(written))
                size += len(pieces[-1])
                if size >= PIECE:
                    break
        return b"".join(pieces)

    def _of_database(self) -> bytes:
        wish, before = self._wish, self.cursor
        page = self._hub.events.since(before, PAGE, wish.kinds, wish.project)
        pieces = [wish.of(self._feed.written(event)) for event in page.events]
        if page.missed or self._missed:
            pieces.insert(0, b'event: missed\ndata: {"after":%d}\n\n' % before)
        self.cursor, self._missed = page.cursor, False
        return b"".join(pieces)


class EventStream(Response):
    """Server-sent events, until the client goes, or its key ends.

    One that does not take what is sent is cut off by the server's protocol.
    """

    media_type = "text/event-stream"

    def __init__(
        self, feed: Feed, caller: Caller, reader: Reader, alive: Callable[[], bool]
    ) -> None:
        super().__init__(None, 200, {"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._feed = feed
        self._caller = caller
        self._reader = reader
        self._alive = alive

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        with self._feed.subscribed(self._caller):
            gone = asyncio.create_task(_disconnected(receive))
            try:
                await send(
                    {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                )
                await self._follow(send, gone)
            finally:
                gone.cancel()

    async def _follow(self, send: Send, gone: asyncio.Future[None]) -> None:
        piece, more, clock = self._reader.hello(), True, asyncio.get_running_loop().time
        look = clock() + self._feed.beat  # when to look at the key again, however much there is
        while more:
            if piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            piece = await self._next(gone, look - clock())
            if clock() >= look:
                more, look = self._alive(), clock() + self._feed.beat
            more = more and not gone.done() and not self._feed.closed
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _next(self, gone: asyncio.Future[None], wait: float) -> bytes:
        """What is new; after some time without a sign of life; nothing when there may be more."""
        bell = self._feed.bell  # before the look: what comes after it rings
        if piece := self._reader.take():
            return piece
        rung, _ = await asyncio.wait(
            {bell, gone}, timeout=max(0, wait), return_when=asyncio.FIRST_COMPLETED
        )
        return b"" if rung else b": still here\n\n"


def _packed(shown: dict[str, Any]) -> str:
    return json.dumps(shown, separators=(",", ":"))


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def feed_of(app: FastAPI) -> Feed:
    """The application's feed; it begins here."""
    found = getattr(app.state, "feed", None)
    if not isinstance(found, Feed):
        found = app.state.feed = Feed(app.state.hub, app.state.stopping)
    return found


# ---- routes ------------------------------------------------------------------------------------


@router.get("/events")
async def poll(
    request: Request,
    ask: Reading,
    since: Since = None,
    wait: Wait = 0,
    project: OfProject = None,
    kinds: Kinds = "",
    limit: LimitAsked = PAGE,
) -> Response:
    """Events after a cursor, oldest first; with `wait`, as soon as there is one.

    Ask again with the `cursor` that comes back. Without `since` it is the newest one. `missed`
    tells that some after the cursor are no longer kept.
    """
    events, wanted, feed = ask.hub.events, _wish(ask, project, kinds), feed_of(request.app)
    cursor = ask.cursor if since is None else min(since, ask.cursor)
    lost = since is not None and since > cursor  # of another life of this hub
    loop = asyncio.get_running_loop()
    ends = loop.time() + min(max(0.0, wait), WAIT)
    with feed.subscribed(ask.caller), contextlib.ExitStack() as stack:
        gone = asyncio.ensure_future(_disconnected(request.receive))
        stack.callback(gone.cancel)
        while True:
            bell = feed.bell  # before the look: what comes after it rings
            page = events.since(cursor, limit, wanted.kinds, wanted.project)
            left = ends - loop.time()
            if page.events or page.missed or lost or left <= 0 or feed.closed:
                break
            cursor = page.cursor
            await asyncio.wait({bell, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():  # nobody reads the answer
                break
    return ask.reply(
        events=[feed.shown(each, structured=ask.views.structured) for each in page.events],
        missed=page.missed or lost,
        cursor=page.cursor,
    )


@router.get("/events/stream")
async def stream(
    request: Request,
    ask: Reading,
    since: Since = None,
    project: OfProject = None,
    kinds: Kinds = "",
) -> Response:
    """Events after a cursor, and from then on as they happen: server-sent events.

    Begins after `Last-Event-ID`, or `since`, or now. An event `missed` tells that some before are
    no longer kept. Comments in between are signs of life. Who does not take what is sent is
    cut off; come back with the last number you had.
    """
    said = request.headers.get("last-event-id", "").strip()
    cursor = int(said) if said.isascii() and said.isdecimal() and len(said) < 19 else since
    key = request.headers["authorization"].partition(" ")[2].strip()
    feed = feed_of(request.app)

    def alive() -> bool:
        """Whether the key still may read."""
        try:
            return "read" in known(ask.hub, request.scope, key).scopes
        except HubError:
            return False

    reader = Reader(ask.hub, feed, _wish(ask, project, kinds), cursor)
    return EventStream(feed, ask.caller, reader, alive)


def _wish(ask: Ask, project: str | None, kinds: str) -> Wish:
    """What is asked for, checked."""
    wanted = tuple(kind.strip() for kind in kinds.split(",") if kind.strip())
    if len(wanted) > 32:
        raise BadInput("`kinds` are at most 32 words with commas between.")
    number = ask.hub.projects.get(project).id if project else None
    return Wish(number, wanted, ask.views.structured)
