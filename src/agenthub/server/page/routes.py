"""The routes of the page: public reading, where the hub allows it."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from agenthub.errors import HubError, Missing, TooMany, Unavailable
from agenthub.records.buckets import Limit, address_subject
from agenthub.records.hub import HOUR, Hub, Space
from agenthub.records.projects import DEFAULT, Project
from agenthub.server.api.context import TheHub, address_of
from agenthub.server.page import details, document, reading
from agenthub.server.page.live_updates import LiveUpdates
from agenthub.server.page.markup import Html
from agenthub.server.page.page_cache import PageCache
from agenthub.server.page.parts import nothing

router = APIRouter(include_in_schema=False)

DIFFS = Limit(600, HOUR)  # of one address, that are not on the shelf
PROJECTS = 30  # in the bar at the top
_BORN = secrets.token_hex(4)  # pages of another process are not compared with ours
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
    return _project(request, hub, lambda: _first(hub))


@router.api_route("/p/{slug}", methods=_READ)
def project(request: Request, hub: TheHub, slug: str) -> Response:
    """A project."""
    return _project(request, hub, lambda: slug)


@router.api_route("/p/{slug}/commit/{sha}", methods=_READ)
def commit(request: Request, hub: TheHub, slug: str, sha: str) -> Response:
    """A commit, by its hash or an unambiguous beginning of it."""

    def made() -> str:
        space = hub.space(slug)
        found = space.commits.get(sha)
        change = _change(request, hub, space, found.sha)
        body = details.commit_page(space, found, change)
        return _within(hub, f"{found.sha[:10]} {found.subject}", body, space)

    return _page(request, hub, lambda: (f"commit {slug} {sha}", made))


@router.api_route("/p/{slug}/channel/{name}", methods=_READ)
def channel(
    request: Request, hub: TheHub, slug: str, name: str, before: int | None = None
) -> Response:
    """A channel's posts."""

    def made() -> str:
        space = hub.space(slug)
        body = details.channel_page(space, space.board.channel(name), before)
        return _within(hub, f"#{name}", body, space)

    return _page(request, hub, lambda: (f"channel {slug} {name} {before}", made))


@router.api_route("/p/{slug}/agent/{name}", methods=_READ)
def agent(request: Request, hub: TheHub, slug: str, name: str) -> Response:
    """An agent."""

    def made() -> str:
        space = hub.space(slug)
        return _within(hub, name, details.agent_page(hub, space, name), space)

    return _page(request, hub, lambda: (f"agent {slug} {name}", made))


@router.get("/p/{slug}/events")
async def events(request: Request, hub: TheHub, slug: str, since: int = 0) -> Response:
    """Server-sent events with the project's newest event number, and nothing else."""
    if not hub.settings.public_page:
        raise Missing("This hub is read with a key. See /api/v2/events.")
    found = hub.projects.get(slug)
    pulse = _pulse(request, hub)
    if pulse.full:
        raise Unavailable("Too many pages are open. Ask for the page itself.", retry_after=30)
    last = request.headers.get("last-event-id", "")
    seen = int(last) if last.isascii() and last.isdigit() and len(last) < 19 else since
    headers = {**_HEADERS, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    told = pulse.watch(found.id, seen)
    return StreamingResponse(told, headers=headers, media_type="text/event-stream")


@router.api_route("/page/{name}", methods=_READ)
async def asset(name: str) -> Response:
    """A style, a script or a picture of the page's own."""
    if name not in document.ASSETS:
        raise Missing(f"There is no {name[:60]!r} here.")
    headers = {**_HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
    return Response(document.ASSETS[name], headers=headers, media_type=document.TYPES[name])


# ---- inside ------------------------------------------------------------------------------------


def _project(request: Request, hub: Hub, choose: Callable[[], str]) -> Response:
    """A project's first page, or how to start. The latter shows the address that was asked for,
    and so is never kept for others."""

    def chosen() -> tuple[str, Callable[[], str]]:
        found = hub.projects.get(choose())
        if found.counts.commits or hub.space(found.slug).board.channels():
            return f"project {found.slug}", lambda: _overview(hub, found.slug)
        return "", lambda: _start(request, hub, found)

    return _page(request, hub, chosen)


def _page(
    request: Request, hub: Hub, choose: Callable[[], tuple[str, Callable[[], str]]]
) -> Response:
    """A page as HTML, kept under its name; 304 when the reader has it.

    What goes wrong is told as a page, too.
    """
    try:
        if not hub.settings.public_page:
            text = document.closed_page(_where(request), hub.accounts.registration)
            return _sent(text, 200 if request.url.path == "/" else 403)
        state = f"{_BORN}-{reading.state(hub.database)}"
        if _matches(request.headers.get("if-none-match", ""), state):
            return Response(status_code=304, headers={**_HEADERS, "ETag": f'W/"{state}"'})
        name, make = choose()
        return _sent(_shelf(request).get(name, state, make), 200, state)
    except HubError as error:
        return _sent(document.trouble_page(error.status, error.message), error.status)


def _sent(page: str, status: int, state: str = "") -> Response:
    headers = {**_HEADERS, "ETag": f'W/"{state}"'} if state else dict(_HEADERS)
    body = page.encode("utf-8", "replace")
    return Response(body, status, headers, media_type="text/html; charset=utf-8")


def _matches(header: str, state: str) -> bool:
    given = (each.strip().removeprefix("W/") for each in header.split(","))
    return f'"{state}"' in given


def _first(hub: Hub) -> str:
    default = hub.projects.get(DEFAULT)
    if default.counts.commits:
        return DEFAULT
    others = (each for each in hub.projects.page(limit=PROJECTS) if each.counts.commits)
    return next((each.slug for each in others), DEFAULT)


def _overview(hub: Hub, slug: str) -> str:
    view = reading.overview(hub, slug)
    return document.overview_page(view, _projects(hub), hub.database.now())


def _start(request: Request, hub: Hub, found: Project) -> str:
    seen = reading.head(hub.database, found.id)
    return document.start_page(_where(request), found, _projects(hub), seen)


def _where(request: Request) -> str:
    return document.address(request.headers.get("host", ""), request.url.scheme)


def _within(hub: Hub, title: str, body: Html, space: Space) -> str:
    head = reading.head(hub.database, space.project.id)
    return document.within(title, body, space.project, _projects(hub), head)


def _projects(hub: Hub) -> tuple[Project, ...]:
    found = hub.projects.page(limit=PROJECTS)
    return found if len(found) > 1 else ()


def _change(request: Request, hub: Hub, space: Space, sha: str) -> Html:
    """The diff, from the shelf where it is; what a commit changes never changes."""
    found = space.commits.get(sha)

    def made() -> str:
        hub.buckets.take(address_subject(address_of(request)), "page diff", DIFFS)
        return details.change_of(space, found)

    try:
        name = f"diff {space.project.slug} {sha}"
        return Html(_shelf(request).get(name, "made", made))
    except (TooMany, Unavailable) as error:
        return nothing(error.message)


def _shelf(request: Request) -> PageCache:
    state = request.app.state
    if not hasattr(state, "page_shelf"):
        state.page_shelf = PageCache()
    found = state.page_shelf
    assert isinstance(found, PageCache)
    return found


def _pulse(request: Request, hub: Hub) -> LiveUpdates:
    state = request.app.state
    if not hasattr(state, "page_pulse"):
        state.page_pulse = LiveUpdates(hub.database, getattr(state, "stopping", None))
    found = state.page_pulse
    assert isinstance(found, LiveUpdates)
    return found
