"""uvicorn's server, which ends as a program of ours should."""

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
    """Told to stop, it says so to whoever waits for news, finishes what is under way, returns.

    uvicorn's own would end the process by the same signal, with the data folder still open.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, finish_seconds: float) -> None:
        super().__init__(config)
        self._app = app
        self._finish = finish_seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, let streams end, wait for the rest, though not for ever."""
        self._app.state.stopping.set()
        asyncio.get_running_loop().call_later(self._finish, self._app.state.bodies.end)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Our handlers while it runs; the earlier ones afterwards, without a second signal."""
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
