"""Fetching a commit: by a short hash, many at once, and from a server whose clients do not read."""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hub_server import Repo, Server, serving, settings, together


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("hub") / "data") as found:
        yield found


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo")


@pytest.fixture
def brisk(tmp_path: Path) -> Iterator[Server]:
    """A hub that waits half a second for a client to read."""
    with serving(tmp_path / "data", settings(unread_seconds=0.5)) as found:
        yield found


def test_short_hashes_resolve_or_are_refused(server: Server, repo: Repo) -> None:
    """7 characters are fetched, 4 to 6 are an error that says so: nothing is dropped."""
    sha = repo.commit("x = 6\n")
    server.push(repo.bundle())
    for length in range(1, 7):
        found = server.get(f"/api/git/fetch/{sha[:length]}")
        assert found.status == 400
        assert "7 to 40" in found.error
    for length in (7, 12, 39, 40):
        found = server.get(f"/api/git/fetch/{sha[:length]}")
        assert found.status == 200
        assert found.body.startswith(b"# v2 git bundle\n")
        assert server.get(f"/api/git/commits/{sha[:length]}").json["hash"] == sha


def test_many_fetch_one_commit_at_once(server: Server, repo: Repo) -> None:
    """40 at the same moment all get the whole bundle."""
    sha = repo.commit("x = 7\n")
    server.push(repo.bundle())
    server.key("someone")
    found = together(40, lambda _: server.get(f"/api/git/fetch/{sha}"))
    assert Counter(each.status for each in found) == {200: 40}
    path = repo.folder / ".git" / "fetched.bundle"
    for body in {each.body for each in found}:
        path.write_bytes(body)
        repo.git("bundle", "verify", "-q", str(path))


def test_one_who_does_not_read_keeps_nobody_waiting(tmp_path: Path, repo: Repo) -> None:
    """As many fetches as there are slots, never read and never cut off: another's still comes."""
    for name in range(8):
        repo.commit(os.urandom(450_000).hex(), f"{name}.txt")
    with serving(tmp_path / "data", settings(unread_seconds=3_600)) as server:
        assert server.push(repo.bundle()).status == 201
        path = f"/api/git/fetch/{repo.git('rev-parse', 'HEAD')}"
        key = server.key("slow")
        request = f"GET {path} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {key}\r\n\r\n"
        with contextlib.ExitStack() as held:
            silent = [held.enter_context(socket.socket()) for _ in range(2 * (os.cpu_count() or 1))]
            for near in silent:
                near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                near.connect(("127.0.0.1", server.port))
                near.sendall(request.encode())
            answer = server.get(path, "quick")
            assert answer.status == 200 and len(answer.body) > 3_000_000
            assert not any(map(hung_up, silent))


def hung_up(connection: socket.socket) -> bool:
    """Whether the other side has ended a connection that nobody read from."""
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False


@pytest.mark.slow
def test_a_fetch_that_nobody_reads_is_cut_off(brisk: Server, repo: Repo) -> None:
    """Who fetches and never reads is cut off, and the program that made the bundle ends."""
    for number in range(20):
        noise = random.Random(number).randbytes(900_000)
        (repo.folder / f"noise{number}.bin").write_bytes(noise)
        if number % 4 == 3:
            repo.commit(f"x = {number}\n")
            assert (
                brisk.push(repo.bundle("HEAD", *(["^HEAD~1"] if number > 3 else []))).status == 201
            )
    sha = repo.git("rev-parse", "HEAD")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", brisk.port))
        head = f"GET /api/git/fetch/{sha} HTTP/1.1\r\nAuthorization: Bearer {brisk.key('someone')}"
        connection.sendall(f"{head}\r\nHost: x\r\n\r\n".encode())
        poll = select.poll()
        poll.register(connection, 0)
        assert poll.poll(30_000), "the connection was never ended"
    end = time.monotonic() + 30
    while sends(brisk) and time.monotonic() < end:
        time.sleep(0.05)
    assert not sends(brisk)
    assert brisk.get(f"/api/git/commits/{sha}").status == 200


def sends(server: Server) -> bool:
    """Whether a child of the server still makes a bundle."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    for child in children:
        try:
            if "pack-objects" in child.cmdline():
                return True
        except psutil.NoSuchProcess:
            continue
    return False
