"""Transfers too large for memory: uploads go to a file, answers are sent in pieces."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from agenthub.errors import BadInput, HubError, TooLarge, Unavailable
from agenthub.records.agents import Caller
from agenthub.records.hub import MIB, Hub, Space
from agenthub.server.api.context import announced
from agenthub.server.api.openapi import takes
from agenthub.server.limits import ConcurrencyLimit

BUNDLE = takes("application/octet-stream", {}, "A git bundle, whatever its content type says.")
TEXT = "text/plain; charset=utf-8"
_LAST: bytes | None = None


@contextlib.asynccontextmanager
async def uploaded(request: Request, hub: Hub, caller: Caller) -> AsyncIterator[Path]:
    """The body of a push in a file, while the push has a slot; the file is removed afterwards.

    The push counts before a byte is read, and its bytes count even when it fails.
    """
    caller.need("push")
    limit: ConcurrencyLimit = request.app.state.pushes
    most = int(hub.settings.max_bundle_mb * MIB)
    if announced(request) > most:
        raise _too_large(most)
    async with limit.place(caller.agent):
        await limit.run(hub.count_push, caller)
        path = hub.spool / secrets.token_hex(8)
        try:
            await _spool(request, hub, caller, path, most)
            async with limit.slot(caller.agent):
                yield path
        finally:
            path.unlink(missing_ok=True)


async def _spool(request: Request, hub: Hub, caller: Caller, path: Path, most: int) -> None:
    """Write the body to disk, piece by piece."""
    size, limit, whole = 0, request.app.state.pushes, False
    try:
        with path.open("xb") as file:
            async for piece in request.stream():
                size += len(piece)
                if size > most:
                    raise _too_large(most)
                if piece:
                    await limit.run(file.write, piece)
        whole = True
    except OSError as error:
        raise Unavailable(f"The hub cannot store the push now: {error.strerror}.") from error
    finally:
        if not whole and size:
            await limit.run(lambda: hub.count_bytes(caller, size, spent=True))
    if not size:
        raise BadInput("The body is empty. Send a bundle: `curl --data-binary @FILE`.")
    await limit.run(hub.count_bytes, caller, size)


def _too_large(most: int) -> TooLarge:
    return TooLarge(
        f"bundle too large: over {most:,} bytes, and no more are allowed. Push only what the hub "
        "lacks (git bundle create FILE HEAD --not BASE)."
    )


class Pieces(Response):
    """Pieces of bytes, made by a function in a thread and sent as they come.

    An error before the first piece is answered as any error. After it the answer is cut off, which
    the client notices.
    """

    def __init__(
        self,
        request: Request,
        caller: Caller,
        produce: Callable[[], Iterator[bytes]],
        media_type: str | None = None,
    ) -> None:
        super().__init__(None, 200, None, media_type)
        del self.headers["content-length"]
        self._limit: ConcurrencyLimit = request.app.state.downloads
        self._subject = caller.agent
        self._produce = produce

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        limit = self._limit
        async with limit.place(self._subject), limit.slot(self._subject):
            gone = asyncio.create_task(disconnected(receive))
            pieces = await limit.run(lambda: iter(self._produce()))
            try:
                piece = await limit.run(next, pieces, _LAST)
                await send(
                    {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                )
                while piece is not _LAST and not gone.done():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                    piece = await limit.run(next, pieces, _LAST)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            finally:
                gone.cancel()
                if close := getattr(pieces, "close", None):
                    await limit.run(close)  # ends the child program


class BundleResponse(Pieces):
    """A commit and all below it as a git bundle, less what the caller has."""

    media_type = "application/octet-stream"

    def __init__(
        self, request: Request, caller: Caller, space: Space, sha: str, haves: Sequence[str] = ()
    ) -> None:
        super().__init__(request, caller, lambda: space.repository.bundle(sha, haves))
        self.headers["Content-Disposition"] = f"attachment; filename={sha}.bundle"


async def diff_of(
    request: Request, caller: Caller, space: Space, old: str, new: str, path: str
) -> Pieces:
    """The diff of two commits, of one file with a `path`; it counts for the caller."""
    before, after = space.commits.resolve(old), space.commits.resolve(new)
    await request.app.state.downloads.run(request.app.state.hub.count_diff, caller)
    return Pieces(request, caller, lambda: space.repository.diff(before, after, path), TEXT)


async def disconnected(receive: Receive) -> None:
    """Wait until the client leaves."""
    with contextlib.suppress(HubError):  # a body that never came: as good as gone
        while (await receive())["type"] != "http.disconnect":
            pass
