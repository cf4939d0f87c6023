"""Clients that send slowly, or never finish: each is cut off, and others are served meanwhile."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator

import pytest

from hub_server import Server, serving, settings


@pytest.fixture(scope="module")
def brisk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    words = settings(head_seconds=0.5, idle_seconds=0.5, body_seconds=1.0, unread_seconds=0.5)
    with serving(tmp_path_factory.mktemp("hub") / "data", words) as found:
        yield found


def answer_of(connection: socket.socket) -> bytes:
    """Everything that a server sends until it hangs up."""
    connection.settimeout(30)
    received = b""
    while chunk := connection.recv(65_536):
        received += chunk
    return received


@pytest.mark.slow
def test_slow_heads_are_cut_off(brisk: Server) -> None:
    """200 that never finish their request get a 408; others are served meanwhile."""
    slow = [socket.create_connection(("127.0.0.1", brisk.port)) for _ in range(200)]
    for connection in slow:
        connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    assert brisk.ask("GET", "/api/health").status == 200
    for connection in slow:
        with connection:
            assert answer_of(connection).startswith(b"HTTP/1.1 408 ")


@pytest.mark.slow
@pytest.mark.parametrize(
    "begun",
    [
        b"GET /api/health HTTP/1.1\r\nX: ",
        b"",
        b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\nGET /api/hea",
        b"POST /api/register HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n",
        b"POST /api/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n",
    ],
    ids=["head", "nothing", "second head", "body", "body that nobody reads"],
)
def test_a_trickle_prolongs_nothing(brisk: Server, begun: bytes) -> None:
    """A byte now and then prolongs nothing."""
    with socket.create_connection(("127.0.0.1", brisk.port)) as connection:
        connection.sendall(begun)
        connection.setblocking(False)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            ready, _, _ = select.select([connection], [], [], 0.1)
            try:
                if ready and not connection.recv(65_536):
                    return
                connection.send(b"a")
            except BlockingIOError:
                continue
            except OSError:
                return
    pytest.fail("the connection was never ended")


def test_a_body_that_stops_is_cut_off(brisk: Server) -> None:
    """A body that stops coming gets a 408 in JSON; the push leaves nothing."""
    head = f"POST /api/git/push HTTP/1.1\r\nAuthorization: Bearer {brisk.key('someone')}\r\n"
    with socket.create_connection(("127.0.0.1", brisk.port)) as connection:
        connection.sendall(f"{head}Host: x\r\nContent-Length: 1000\r\n\r\n# v2".encode())
        answer = answer_of(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'{"error":"The body did not come' in answer
    assert [path for path in (brisk.data / "incoming").rglob("*") if path.is_file()] == []
