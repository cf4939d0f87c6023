"""Plain git over HTTP, at /git/PROJECT.git: clone, fetch by hash, push.

The user name is anything, the password is the key.
"""

from __future__ import annotations

import contextlib
import io
import re
import zlib
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from agenthub.errors import BadInput, Forbidden, HubError, TooLarge
from agenthub.git.packets import FLUSH, error_packet, fatal, wants
from agenthub.records.agents import Caller
from agenthub.records.hub import MIB
from agenthub.server.api.context import TheHub, announced, require_caller, subject_of
from agenthub.server.api.middleware import refusal
from agenthub.server.api.transfer import Pieces, uploaded
from agenthub.server.git_refs import advertisement, check_wants, fetched, invitation, take
from agenthub.server.limits import BodyMemory

FETCH_BYTES = 4 << 20  # bytes of a fetch's request: a hash for each commit that the fetcher has
DRAIN_FACTOR = 4  # times the cap of a push: so much is read before it is refused
FETCH, PUSH = "git-upload-pack", "git-receive-pack"
_VERSION = re.compile(r"version=[012]")


class PlainRoute(APIRoute):
    """Errors in the form that git shows: text, and a challenge that makes git ask for the key."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, with our errors as text."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except HubError as error:
                return refusal(error, git=True)

        return handle


router = APIRouter(route_class=PlainRoute, include_in_schema=False)


@router.get("/git/{slug}.git/info/refs")
async def refs(slug: str, request: Request, hub: TheHub, service: str = "") -> Response:
    """The refs, which git requests before a fetch or a push."""
    caller = _caller(request)
    if service not in (FETCH, PUSH):
        raise Forbidden("This hub speaks git's smart protocol only. Use git 1.6.6 or newer.")
    caller.need("push" if service == PUSH else "read")
    space = hub.space(slug)
    kind = f"application/x-{service}-advertisement"
    limit, version = request.app.state.downloads, _version(request)
    if service == FETCH:
        return Pieces(request, caller, lambda: advertisement(space, version), kind)
    return Response(await limit.run(invitation, hub, space, caller), media_type=kind)


@router.post("/git/{slug}.git/git-upload-pack")
async def upload_pack(slug: str, request: Request, hub: TheHub) -> Response:
    """A clone or a fetch."""
    caller = _caller(request)
    caller.need("read")
    space, body = hub.space(slug), await _fetch_body(request)
    limit, kind = request.app.state.downloads, f"application/x-{FETCH}-result"
    try:
        await limit.run(check_wants, space, hub.index(caller, space), wants(io.BytesIO(body)))
    except HubError as error:
        return Response(error_packet(error.message), media_type=kind)
    return Pieces(request, caller, lambda: fetched(space, body, _version(request)), kind)


@router.post("/git/{slug}.git/git-receive-pack")
async def receive_pack(slug: str, request: Request, hub: TheHub) -> Response:
    """A push, with the same checks, caps and quotas as a bundle."""
    caller = _caller(request)
    caller.need("push")
    kind = f"application/x-{PUSH}-result"
    hub.space(slug)  # 404 before anything is counted
    if announced(request) == len(FLUSH):  # git tries out its key before it sends a large pack
        return Response(b"", media_type=kind)
    if request.headers.get("content-encoding", "identity") != "identity":
        raise BadInput("A push is taken as git sends it, not compressed once more.")
    try:
        async with uploaded(request, hub, caller) as body:
            answer = await request.app.state.pushes.run(take, hub, caller, slug, body)
    except HubError as error:  # git shows the text of an answer, not that of a status
        if not await _drain(request, int(DRAIN_FACTOR * hub.settings.max_bundle_mb * MIB)):
            raise
        answer = fatal(error.message)
    return Response(answer, media_type=kind)


# ---- inside ------------------------------------------------------------------------------------


def _caller(request: Request) -> Caller:
    """Who calls, by the key as a password or a bearer; Unauthorized without one."""
    return require_caller(request, "A key is needed: any user name, and your key as the password.")


def _version(request: Request) -> str:
    found = _VERSION.search(request.headers.get("git-protocol", ""))
    return found[0] if found else "version=0"


async def _fetch_body(request: Request) -> bytes:
    """The body of a fetch, unpacked if git packed it; TooLarge over the cap, packed or not."""
    coded = request.headers.get("content-encoding", "identity")
    if coded not in ("identity", "gzip", "x-gzip"):
        raise BadInput("The body must be plain or gzip.")
    pieces, size = [], 0
    unpacking = zlib.decompressobj(31) if coded != "identity" else None
    pool: BodyMemory = request.app.state.fetch_memory
    with pool.holding(subject_of(request.scope)) as hold:
        async for piece in request.stream():
            try:
                plain = unpacking.decompress(piece, FETCH_BYTES + 1) if unpacking else piece
            except zlib.error as error:
                raise BadInput("The body says it is gzip, and is not.") from error
            size += len(plain)
            if size > FETCH_BYTES:
                raise TooLarge(
                    f"A fetch may ask with {FETCH_BYTES:,} bytes. Fetch fewer refs at once."
                )
            hold(len(plain))
            pieces.append(plain)
        return b"".join(pieces)


async def _drain(request: Request, most: int) -> bool:
    """Read the rest of a push, as git reads no answer before; False for another client's."""
    if request.headers.get("content-type") != f"application/x-{PUSH}-request":
        return False
    size = 0
    with contextlib.suppress(RuntimeError):  # it was read to its end
        async for piece in request.stream():
            size += len(piece)
            if size > most:
                return False
    return True
