"""The routes of the page: public reading, where the hub allows it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from markupsafe import Markup

from agenthub.errors import HubError, Missing, TooMany, Unavailable
from agenthub.records.buckets import Limit, address_subject
from agenthub.records.commits import Commit
from agenthub.records.hub import HOUR, Hub, Space
from agenthub.records.projects import DEFAULT, Project
from agenthub.server.api.context import TheHub, address_of
from agenthub.server.feed import Feed, feed_of
from agenthub.server.page import pages, reading
from agenthub.server.page.rendering import ASSETS, CONTENT, PageCache

router = APIRouter(include_in_schema=False)

DIFFS = Limit(600, HOUR)  # of one address, that are not in the cache
PROJECTS = 30  # in the bar at the top
BEAT = 15.0  # seconds between two signs of life to an open page
REST = 1.0  # seconds between two messages to one page
LONGEST = 1800.0  # seconds that one page stays connected; it connects again by itself
_PROCESS = secrets.token_hex(4)  # in each ETag: pages of another process may differ
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
    "Vary": "Host",
}
_READ = ["GET", "HEAD"]


@router.api_route("/", methods=_READ)
def first(request: Request, hub: TheHub) -> Response:
    """The default project, or the first one that has commits."""

    def page(state: str) -> str:
        default = hub.projects.get(DEFAULT)
        others = (each for each in hub.projects.page(limit=PROJECTS) if each.counts.commits)
        found = default if default.counts.commits else next(others, default)
        return _project(request, hub, found, state)

    return _answer(request, hub, page)


@router.api_route("/p/{slug}", methods=_READ)
def project(request: Request, hub: TheHub, slug: str) -> Response:
    """A project."""

    def page(state: str) -> str:
        return _project(request, hub, hub.projects.get(slug), state)

    return _answer(request, hub, page)


@router.api_route("/p/{slug}/commit/{sha}", methods=_READ)
def commit(request: Request, hub: TheHub, slug: str, sha: str) -> Response:
    """A commit, by its hash or an unambiguous beginning of it."""

    def page(frame: pages.Frame, space: Space) -> str:
        found = space.commits.get(sha)
        return pages.commit_page(frame, space, found, _change(request, hub, space, found))

    return _part(request, hub, slug, f"commit {slug} {sha}", page)


@router.api_route("/p/{slug}/channel/{name}", methods=_READ)
def channel(
    request: Request, hub: TheHub, slug: str, name: str, before: int | None = None
) -> Response:
    """A channel's posts."""

    def page(frame: pages.Frame, space: Space) -> str:
        return pages.channel_page(frame, space, name, before)

    return _part(request, hub, slug, f"channel {slug} {name} {before}", page)


@router.api_route("/p/{slug}/agent/{name}", methods=_READ)
def agent(request: Request, hub: TheHub, slug: str, name: str) -> Response:
    """An agent."""

    def page(frame: pages.Frame, space: Space) -> str:
        return pages.agent_page(frame, space, hub, name)

    return _part(request, hub, slug, f"agent {slug} {name}", page)


@router.get("/p/{slug}/events")
async def events(request: Request, hub: TheHub, slug: str, since: int = 0) -> Response:
    """Server-sent events with the project's newest event number, and nothing else."""
    if not hub.settings.public_page:
        raise Missing("This hub is read with a key. See /api/v2/events.")
    project, feed = hub.projects.get(slug).id, feed_of(request.app)
    if feed.pages.taken >= feed.pages.most:
        raise Unavailable("Too many pages are open. Reload this one now and then.", retry_after=30)
    last = request.headers.get("last-event-id", "")
    seen = int(last) if last.isascii() and last.isdigit() and len(last) < 19 else since
    headers = {**_HEADERS, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    numbers = _numbers(feed, project, seen)
    return StreamingResponse(numbers, headers=headers, media_type="text/event-stream")


async def _numbers(feed: Feed, project: int, seen: int) -> AsyncIterator[str]:
    """The project's newest event number, whenever it is over the last one that the page saw."""
    with feed.pages.place("page"):
        yield "retry: 3000\n\n"
        ends = time.monotonic() + LONGEST
        while not feed.closed and time.monotonic() < ends:
            if (newest := feed.newest(project)) > seen:
                seen = newest
                yield f"id: {seen}\ndata: {seen}\n\n"
                await asyncio.sleep(REST)
            elif not await feed.wait(seen, BEAT, project=project):
                yield ": here\n\n"


@router.api_route("/page/{name}", methods=_READ)
async def asset(name: str) -> Response:
    """A style, a script or a picture of the page's own."""
    if name not in ASSETS:
        raise Missing(f"There is no {name[:60]!r} here.")
    headers = {**_HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
    return Response(CONTENT[name], headers=headers, media_type=ASSETS[name])


# ---- what a page shows -------------------------------------------------------------------------


def _project(request: Request, hub: Hub, found: Project, state: str) -> str:
    """A project's first page, or how to start.

    How to start is never cached: it shows the address that this reader used.
    """
    if not found.counts.commits and not hub.space(found.slug).board.channels():
        return pages.start_page(_frame(hub, found), _address(request))

    def make() -> str:
        view = reading.overview(hub, found.slug)
        frame = _frame(hub, view.space.project, view.cursor)
        return pages.overview_page(frame, view, hub.database.now())

    return _cache(request).get(f"project {found.slug}", state, make)


def _part(
    request: Request, hub: Hub, slug: str, name: str, page: Callable[[pages.Frame, Space], str]
) -> Response:
    """A page of something in a project, kept until any page changes."""

    def make() -> str:
        space = hub.space(slug)
        return page(_frame(hub, space.project), space)

    return _answer(request, hub, lambda state: _cache(request).get(name, state, make))


def _frame(hub: Hub, project: Project, cursor: int | None = None) -> pages.Frame:
    if cursor is None:
        cursor = reading.head(hub.database, project.id)
    projects = hub.projects.page(limit=PROJECTS)
    return pages.Frame(project, projects if len(projects) > 1 else (), cursor)


def _address(request: Request) -> str:
    return pages.address(request.headers.get("host", ""), request.url.scheme)


def _change(request: Request, hub: Hub, space: Space, found: Commit) -> Markup:
    """What a commit changes; that never changes, so one copy serves until the cache drops it."""

    def make() -> str:
        hub.buckets.take(address_subject(address_of(request.scope)), "page diff", DIFFS)
        return pages.change_of(space, found)

    try:
        # what is in the cache was rendered by a template: it is HTML already
        return Markup(_cache(request).get(f"diff {space.project.slug} {found.sha}", "made", make))
    except (TooMany, Unavailable) as error:
        return pages.change(error.message)


# ---- answers -----------------------------------------------------------------------------------


def _answer(request: Request, hub: Hub, page: Callable[[str], str]) -> Response:
    """The page of the hub's state as HTML; 304 when the reader has it; an error as a page, too."""
    try:
        if not hub.settings.public_page:
            text = pages.closed_page(_address(request), hub.accounts.registration)
            return _html(text, 200 if request.url.path == "/" else 403)
        state = f"{_PROCESS}-{reading.state(hub.database)}"
        if _matches(request.headers.get("if-none-match", ""), state):
            return Response(status_code=304, headers={**_HEADERS, "ETag": f'W/"{state}"'})
        return _html(page(state), 200, state)
    except HubError as error:
        return _html(pages.trouble_page(error.status, error.message), error.status)


def _html(page: str, status: int, state: str = "") -> Response:
    headers = {**_HEADERS, "ETag": f'W/"{state}"'} if state else dict(_HEADERS)
    return Response(page.encode("utf-8", "replace"), status, headers, media_type="text/html")


def _matches(header: str, state: str) -> bool:
    given = (each.strip().removeprefix("W/") for each in header.split(","))
    return f'"{state}"' in given


def _cache(request: Request) -> PageCache:
    found: PageCache = request.app.state.page_cache
    return found
