"""What is too large for memory: uploads go to a file as they come, answers are sent in pieces."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from agenthub.errors import BadInput, HubError, TooLarge, Unavailable
from agenthub.records.agents import Caller
from agenthub.records.hub import MIB, Hub
from agenthub.server.api.concurrency import Gate
from agenthub.server.api.context import announced
from agenthub.server.api.openapi import takes

BUNDLE = takes("application/octet-stream", {}, "A git bundle, whatever its content type says.")
_LAST: bytes | None = None


@contextlib.asynccontextmanager
async def uploaded(request: Request, hub: Hub, caller: Caller) -> AsyncIterator[Path]:
    """The body of a push in a file, gone afterwards, while the push has a turn.

    The push is counted before a byte is read, its bytes as they come, whatever becomes of it.
    """
    caller.need("push")
    gate: Gate = request.app.state.pushes
    most = int(hub.settings.max_bundle_mb * MIB)
    if announced(request) > most:
        raise _too_large(most)
    async with gate.entered(caller.agent):
        await gate.run(hub.count_push, caller)
        path = hub.spool / secrets.token_hex(8)
        try:
            await _spool(request, hub, caller, path, most)
            async with gate.turn(caller.agent):
                yield path
        finally:
            path.unlink(missing_ok=True)


async def _spool(request: Request, hub: Hub, caller: Caller, path: Path, most: int) -> None:
    """Put the body on disk, piece by piece."""
    size, gate, whole = 0, request.app.state.pushes, False
    try:
        with path.open("xb") as file:
            async for piece in request.stream():
                size += len(piece)
                if size > most:
                    raise _too_large(most)
                if piece:
                    await gate.run(file.write, piece)
        whole = True
    except OSError as error:
        raise Unavailable(f"The hub cannot store the push now: {error.strerror}.") from error
    finally:
        if not whole and size:
            await gate.run(lambda: hub.count_bytes(caller, size, spent=True))
    if not size:
        raise BadInput("The body is empty. Send a bundle: `curl --data-binary @FILE`.")
    await gate.run(hub.count_bytes, caller, size)


def _too_large(most: int) -> TooLarge:
    return TooLarge(
        f"bundle too large: over {most:,} bytes, and no more are allowed. Push only what the hub "
        "lacks (git bundle create FILE HEAD --not BASE)."
    )


class Pieces(Response):
    """Pieces of bytes that a verb makes in a thread, sent as they come.

    What the verb raises before its first piece is told as any error; later the answer is cut off,
    which the client sees.
    """

    def __init__(
        self,
        gate: Gate,
        subject: str,
        verb: Callable[[], Iterator[bytes]],
        media_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(None, 200, headers, media_type)
        del self.headers["content-length"]
        self._gate = gate
        self._subject = subject
        self._verb = verb

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        gate = self._gate
        async with gate.entered(self._subject), gate.turn(self._subject):
            gone = asyncio.create_task(_disconnected(receive))
            pieces = await gate.run(lambda: iter(self._verb()))
            try:
                piece = await gate.run(next, pieces, _LAST)
                await send(
                    {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                )
                while piece is not _LAST and not gone.done():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                    piece = await gate.run(next, pieces, _LAST)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            finally:
                gone.cancel()
                if close := getattr(pieces, "close", None):
                    await gate.run(close)  # ends the child program


class BundleResponse(Pieces):
    """A commit as a git bundle."""

    media_type = "application/octet-stream"

    def __init__(
        self, gate: Gate, subject: str, sha: str, verb: Callable[[], Iterator[bytes]]
    ) -> None:
        headers = {"Content-Disposition": f"attachment; filename={sha}.bundle"}
        super().__init__(gate, subject, verb, self.media_type, headers)


async def _disconnected(receive: Receive) -> None:
    with contextlib.suppress(HubError):  # a body that never came: as good as gone
        while (await receive())["type"] != "http.disconnect":
            pass
