"""uvicorn's server, with a shutdown that closes the data folder."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI


class Server(uvicorn.Server):
    """On a signal it ends streams and polls, finishes requests under way, and returns.

    uvicorn's own would end the process by the same signal, with the data folder still open.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, finish_seconds: float) -> None:
        super().__init__(config)
        self._app = app
        self._finish = finish_seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, end streams, and wait for other requests for a bounded time."""
        self._app.state.stopping.set()
        asyncio.get_running_loop().call_later(self._finish, self._app.state.bodies.end)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Use our handlers while it runs, and restore the earlier ones without a second signal."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        earlier = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)
