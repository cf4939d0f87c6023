"""Events over HTTP: by long-poll, and as a stream of server-sent events.

A subscriber of a stream holds its cursor and nothing else. One that does not read what it is sent
is cut off, and can come back with the last number it had.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.types import Receive, Scope, Send

from agenthub.errors import BadInput, HubError
from agenthub.records.agents import Caller
from agenthub.records.events import PAGE, Event
from agenthub.records.hub import Hub
from agenthub.server.api import v2_views as views
from agenthub.server.api.context import known
from agenthub.server.api.openapi import named
from agenthub.server.api.transfer import disconnected
from agenthub.server.api.v2_common import V2, Ask, LimitAsked, Reading
from agenthub.server.feed import WINDOW, Feed, feed_of

router = APIRouter(prefix=V2, tags=["events"], generate_unique_id_function=named("events"))

WAIT = 30.0  # seconds of a long-poll, at most
PIECE = 64 * 1024  # bytes sent at once
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
class Filter:
    """The events that a subscriber wants, and how."""

    project: int | None
    kinds: tuple[str, ...]
    structured: bool = False

    def admits(self, event: Event) -> bool:
        """Whether an event is one of these."""
        here = self.project is None or event.project == self.project
        return here and (not self.kinds or event.kind in self.kinds)


class EventWriter:
    """Writes events out as JSON. The newest are written once for all subscribers."""

    def __init__(self, hub: Hub, agents: views.AgentDirectory) -> None:
        self._hub = hub
        self._agents = agents
        # a project's number never gets another name
        self._slug = functools.cache(lambda project: hub.projects.by_id(project).slug)
        self.message = functools.lru_cache(2 * WINDOW)(self._message)

    def view(self, event: Event, *, structured: bool) -> views.EventView:
        """An event; in a structured view numbers stand for agents and channels."""
        project = None if event.project is None else self._slug(event.project)
        fields = {**vars(event), "project": project}
        if structured:
            fields |= {"actor": self._agents.handle(event.actor), "ref": self._ref(event)}
        return views.EventView(**fields)

    def _message(self, event: Event, structured: bool) -> bytes:
        """An event as a stream sends it."""
        view = self.view(event, structured=structured)
        data = json.dumps(view.model_dump(), separators=(",", ":"))
        return f"id: {event.seq}\nevent: {event.kind}\ndata: {data}\n\n".encode()

    def _ref(self, event: Event) -> str:
        if event.kind == "agent":
            return self._agents.handle(event.ref)
        if event.kind != "channel":
            return event.ref
        query = "SELECT id FROM channels WHERE project = ? AND name = ?"
        return f"channel-{self._hub.database.number(query, event.project, event.ref)}"


class Reader:
    """One subscriber's position in the feed."""

    def __init__(
        self, hub: Hub, feed: Feed, writer: EventWriter, wanted: Filter, cursor: int | None
    ) -> None:
        head = hub.events.head()
        self._hub = hub
        self._feed = feed
        self._writer = writer
        self._wanted = wanted
        self._missed = cursor is not None and cursor > head  # of another life of this hub
        self.cursor = head if cursor is None else min(cursor, head)

    def hello(self) -> bytes:
        """The beginning of a stream: the cursor, in case it breaks before the first event."""
        return f": the events of this hub\nretry: {RETRY}\nid: {self.cursor}\n\n".encode()

    def take(self) -> bytes:
        """What is new, at most about PIECE bytes; empty when there is nothing."""
        while True:
            newer = self._feed.after(self.cursor)
            if newer is not None and not self._missed:
                return self._of_window(newer)
            if pieces := self._of_database():
                return pieces

    def _of_window(self, newer: list[Event]) -> bytes:
        pieces, size = [], 0
        for event in newer:
            self.cursor = event.seq
            if self._wanted.admits(event):
                pieces.append(self._writer.message(event, self._wanted.structured))
                size += len(pieces[-1])
                if size >= PIECE:
                    break
        else:
            self.cursor = max(self.cursor, self._feed.head)
        return b"".join(pieces)

    def _of_database(self) -> bytes:
        wanted, before = self._wanted, self.cursor
        page = self._hub.events.since(before, PAGE, wanted.kinds, wanted.project)
        pieces = [self._writer.message(event, wanted.structured) for event in page.events]
        if page.missed or self._missed:
            pieces.insert(0, b'event: missed\ndata: {"after":%d}\n\n' % before)
        self.cursor, self._missed = page.cursor, False
        return b"".join(pieces)


class EventStream(Response):
    """Server-sent events, until the client leaves or its key ends.

    The server's protocol cuts off a client that does not read what it is sent.
    """

    media_type = "text/event-stream"

    def __init__(
        self, feed: Feed, caller: Caller, reader: Reader, alive: Callable[[], bool], beat: float
    ) -> None:
        """`alive` says whether the key may still read; it is called every `beat` seconds."""
        super().__init__(None, 200, {"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._feed = feed
        self._caller = caller
        self._reader = reader
        self._alive = alive
        self._beat = beat

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        with self._feed.subscribers.place(self._caller.agent):
            gone = asyncio.create_task(disconnected(receive))
            try:
                await send(
                    {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                )
                await self._follow(send, gone)
            finally:
                gone.cancel()

    async def _follow(self, send: Send, gone: asyncio.Future[None]) -> None:
        piece, more, clock = self._reader.hello(), True, asyncio.get_running_loop().time
        check = clock() + self._beat  # when to check the key again, however many events come
        while more:
            if piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            piece = self._reader.take()
            if not piece and not await self._feed.wait(
                self._reader.cursor, max(0, check - clock()), gone=gone
            ):
                piece = b": still here\n\n"
            if clock() >= check:
                more, check = self._alive(), clock() + self._beat
            more = more and not gone.done() and not self._feed.closed
        await send({"type": "http.response.body", "body": b"", "more_body": False})


# ---- routes ------------------------------------------------------------------------------------


@router.get("/events", response_model=views.Events)
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
    wanted, feed = _filter(ask, project, kinds), feed_of(request.app)
    cursor = ask.cursor if since is None else min(since, ask.cursor)
    lost = since is not None and since > cursor  # of another life of this hub
    clock = asyncio.get_running_loop().time
    ends = clock() + min(max(0.0, wait), WAIT)
    with feed.subscribers.place(ask.caller.agent), ExitStack() as stack:
        gone = asyncio.ensure_future(disconnected(request.receive))
        stack.callback(gone.cancel)
        while True:
            page = ask.hub.events.since(cursor, limit, wanted.kinds, wanted.project)
            if page.events or page.missed or lost:
                break
            cursor = page.cursor
            if not await feed.wait(cursor, ends - clock(), gone=gone) or feed.closed:
                break
    writer: EventWriter = request.app.state.event_writer
    return ask.reply(
        events=[writer.view(event, structured=wanted.structured) for event in page.events],
        missed=page.missed or lost,
        cursor=page.cursor,
    )


@router.get("/events/stream", status_code=200, response_class=EventStream)
async def stream(
    request: Request,
    ask: Reading,
    since: Since = None,
    project: OfProject = None,
    kinds: Kinds = "",
) -> Response:
    """Events after a cursor, and from then on as they happen: server-sent events.

    Begins after `Last-Event-ID`, or `since`, or now. An event `missed` tells that some before are
    no longer kept. Comments in between are signs of life. A client that does not read what is sent
    is cut off; come back with the last number you had.
    """
    last = request.headers.get("last-event-id", "").strip()
    cursor = int(last) if last.isascii() and last.isdecimal() and len(last) < 19 else since
    key = request.headers["authorization"].partition(" ")[2].strip()
    feed, writer = feed_of(request.app), request.app.state.event_writer

    def alive() -> bool:
        try:
            return "read" in known(ask.hub, request.scope, key).scopes
        except HubError:
            return False

    reader = Reader(ask.hub, feed, writer, _filter(ask, project, kinds), cursor)
    beat = ask.hub.settings.unread_seconds / 2  # a client that takes no sign of life is cut off
    return EventStream(feed, ask.caller, reader, alive, beat)


def _filter(ask: Ask, project: str | None, kinds: str) -> Filter:
    """The events that a request wants; BadInput for too many kinds, Missing for no project."""
    wanted = tuple(kind.strip() for kind in kinds.split(",") if kind.strip())
    if len(wanted) > 32:
        raise BadInput("`kinds` are at most 32 words with commas between.")
    number = ask.hub.projects.get(project).id if project else None
    return Filter(number, wanted, ask.viewer.structured)
