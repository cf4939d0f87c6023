"""The server itself: where it listens, how much it takes at once, and how it ends."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import autoresearch
from agenthub.errors import BadInput, Forbidden, TooMany, Unavailable
from agenthub.records.buckets import Limit, Rates
from agenthub.server.limits import BodyMemory
from agenthub.server.serve import check_address, check_admin, check_proxies, is_loopback, listening
from hub_server import ADMIN, CODE, Repo, Server, serving, settings


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo")


def begun(server: Server, agent: str, bundle: bytes, sent: int = 0) -> socket.socket:
    """A push whose body is not all there yet."""
    connection = socket.create_connection(("127.0.0.1", server.port), 30)
    head = (
        f"POST /api/git/push HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.key(agent)}\r\n"
    )
    connection.sendall(f"{head}Content-Length: {len(bundle)}\r\n\r\n".encode() + bundle[:sent])
    return connection


def finished(connection: socket.socket, rest: bytes) -> tuple[int, object]:
    """Send the rest of a body; the status and the JSON that are answered."""
    with connection, http.client.HTTPResponse(connection) as answer:
        connection.sendall(rest)
        answer.begin()
        return answer.status, json.loads(answer.read())


def listens(server: Server) -> bool:
    """Whether it takes connections."""
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", server.port)) == 0


def failed(data: Path, words: str = "") -> subprocess.CompletedProcess[str]:
    """A server that does not start."""
    return subprocess.run(
        [sys.executable, "-c", CODE.format(words=words), str(data)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(autoresearch.__file__).parent.parent)},
        check=False,
    )


# ---- where it listens --------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", "", "10.0.0.1"])
def test_nobody_listens_wide_without_an_admin_key(host: str) -> None:
    """Strangers are let in only where somebody can administer; the error says how."""
    with pytest.raises(Forbidden, match=r"AUTORESEARCH_HUB_ADMIN_KEY.* TLS.*reverse-proxy"):
        check_address(host, None)
    check_address(host, ADMIN)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_admin_key(host: str) -> None:
    """This machine's own users may always try it out."""
    assert is_loopback(host)
    check_address(host, None)


def test_the_server_refuses_to_listen_wide(tmp_path: Path) -> None:
    """The refusal comes before anything is made."""
    done = failed(tmp_path / "data", "host='0.0.0.0'")
    assert done.returncode != 0
    assert "put a server that speaks TLS in front" in done.stderr
    assert not (tmp_path / "data").exists()


def test_ipv6(tmp_path: Path, repo: Repo) -> None:
    """A hub on ::1 tells its address as a URL, and works there."""
    with serving(tmp_path / "data", f"admin_key={ADMIN!r}, host='::1'") as server:
        assert server.url.startswith("http://[::1]:")
        sha = repo.commit("x = 1\n")
        assert server.push(repo.bundle()).json == {"hashes": [sha]}


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """Two cannot listen in one place; the second is told what to do."""
    with listening("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(Exception, match=f"127.0.0.1:{port}.* Choose another port"):
            listening("127.0.0.1", port).__enter__()


@pytest.mark.parametrize(
    ("host", "port"), [("no such host", 1), ("127.0.0.1", 70_000), ("a" * 300, 1)]
)
def test_no_address(host: str, port: int) -> None:
    """What is no address is told so."""
    with pytest.raises(BadInput, match="to listen on"):
        listening(host, port).__enter__()


def test_one_server_to_a_folder(tmp_path: Path) -> None:
    """A second server on the same data says who has it."""
    with serving(tmp_path / "data") as server:
        done = failed(server.data)
        assert done.returncode != 0
        assert f"served already, by process {server.process.pid}" in done.stderr


# ---- the admin's own listener ------------------------------------------------------------------


def test_the_admin_listens_elsewhere(tmp_path: Path) -> None:
    """With a listener of its own, admin routes are not there on the public one, nor is the key."""
    words = f"admin_key={ADMIN!r}, admin=('127.0.0.1', 0)"
    with serving(tmp_path / "data", words) as server:
        public, admin = server.urls
        body = {"id": "ada"}
        found = server.ask("POST", "/api/admin/agents", body, ADMIN, url=public)
        assert found.status == 404
        assert "listener of their own" in found.error
        for path in ("/api/v2/admin/agents", "/api/admin/", "/api/v2/admin/audit"):
            assert server.ask("GET", path, key=ADMIN, url=public).status == 404
        assert server.ask("GET", "/api/channels", key=ADMIN, url=public).status == 401
        assert server.ask("GET", "/api/channels", key=ADMIN, url=admin).status == 200
        made = server.ask("POST", "/api/admin/agents", body, ADMIN, url=admin)
        assert made.status == 201
        for url in server.urls:
            found = server.ask("GET", "/api/channels", key=made.json["api_key"], url=url)
            assert found.status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/api/ADMIN/agents",
        "//api/admin/agents",
        "/api/./admin/agents",
        "/api/%61dmin/agents",
        "/api/admin%2fagents",
        "/x/../api/admin/agents",
    ],
)
def test_no_way_round(tmp_path: Path, path: str) -> None:
    """However its path is written, an admin's route is not on the public listener."""
    words = f"admin_key={ADMIN!r}, admin=('127.0.0.1', 0)"
    with serving(tmp_path / "data", words) as server:
        found = server.ask("POST", path, {"id": "ada"}, ADMIN)
        assert found.status in (401, 404), found


def test_an_admin_listener_needs_a_key() -> None:
    """Without a key there is no admin."""
    with pytest.raises(BadInput, match="of no use without an admin key"):
        check_admin(("127.0.0.1", 1), None)


# ---- how much at once --------------------------------------------------------------------------


def test_pushes_have_a_bound(tmp_path: Path, repo: Repo) -> None:
    """When as many pushes are under way as the hub takes, the next is told when to come back."""
    repo.commit("x = 1\n")
    bundle = repo.bundle()
    at_once = len(os.sched_getaffinity(0)) + 2
    with serving(tmp_path / "data", settings(pushes_in_line=1)) as server:
        pending = [begun(server, f"agent{n}", bundle) for n in range(at_once + 1)]
        found = server.push(bundle, "late")
        while found.status != 503:  # the last of them may not be inside yet
            found = server.push(bundle, "late")
        assert int(found.headers["retry-after"]) == found.json["retry_after"] > 0
        for connection in pending:
            assert finished(connection, bundle)[0] == 201
        assert server.push(bundle, "late").status == 201


def test_one_agent_has_a_few_pushes_at_once(tmp_path: Path, repo: Repo) -> None:
    """Nobody stands in line with everything it has."""
    repo.commit("x = 1\n")
    bundle = repo.bundle()
    with serving(tmp_path / "data") as server:
        pending = [begun(server, "greedy", bundle) for _ in range(4)]
        found = server.push(bundle, "greedy")
        while found.status == 201:
            found = server.push(bundle, "greedy")
        assert found.status == 429
        assert server.push(bundle, "modest").status == 201
        for connection in pending:
            assert finished(connection, bundle)[0] == 201


def test_connections_have_a_bound(tmp_path: Path) -> None:
    """One connection too many is told so; when one ends there is room again."""
    with serving(tmp_path / "data", settings(connections=3)) as server:
        first = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=30) for _ in range(3)]
        for connection in first:
            connection.request("GET", "/api/health")
            assert connection.getresponse().read()
        found = server.ask("GET", "/api/health")
        assert found.status == 503
        assert "3 connections" in found.error
        for connection in first:
            connection.close()
        while server.ask("GET", "/api/health").status == 503:
            pass


def test_requests_have_a_rate(tmp_path: Path) -> None:
    """An agent's requests, and a stranger's, each have their own; none is written to disk."""
    with serving(tmp_path / "data", settings(requests_per_minute=20)) as server:
        key = server.key("ada")
        statuses = [server.ask("GET", "/api/channels", key=key).status for _ in range(30)]
        assert 20 <= statuses.count(200) <= 22
        assert statuses[-1] == 429
        found = server.ask("GET", "/api/channels", key=key)
        assert int(found.headers["retry-after"]) > 0
        assert server.get("/api/channels", "bob").status == 200
        strangers = [server.ask("GET", "/api/health").status for _ in range(30)]
        assert strangers[0] == 200
        assert strangers[-1] == 429
        assert server.ask("GET", "/api/channels", key="guessed").status == 429
        assert server.get("/api/channels", "bob").status == 200
        with closing(sqlite3.connect(server.data / "hub.db")) as database:
            assert database.execute("SELECT DISTINCT action FROM buckets").fetchall() == []


def test_the_use_of_a_key_is_written_down(tmp_path: Path) -> None:
    """When a key was used last stands in the database, though no request waits for that."""
    with serving(tmp_path / "data") as server:
        server.key("idle")
        for _ in range(3):
            assert server.get("/api/channels", "ada").status == 200
        assert server.end() == 0
    with closing(sqlite3.connect(server.data / "hub.db")) as database:
        rows = database.execute("SELECT agent, last_used >= created FROM keys ORDER BY agent")
        assert rows.fetchall() == [("ada", 1), ("idle", None)]


def test_rates_come_back_and_are_forgotten() -> None:
    """A token comes back with time; of many subjects the one longest away is forgotten."""
    now = [0.0]
    rates = Rates(Limit(2, 10), subjects=2, clock=lambda: now[0])
    rates.take("a")
    rates.take("a")
    with pytest.raises(TooMany) as caught:
        rates.take("a")
    assert caught.value.retry_after == 5
    now[0] += 5
    rates.take("a")
    with pytest.raises(TooMany):
        rates.take("a")
    rates.take("b")
    rates.take("c")
    rates.take("a")


# ---- how it ends -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_under_way_is_finished(tmp_path: Path, repo: Repo, number: int) -> None:
    """Told to stop, it takes nobody new, and a push that has begun is taken in."""
    sha = repo.commit("x = 1\n")
    bundle = repo.bundle()
    with serving(tmp_path / "data") as server:
        idle = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        with closing(idle):
            idle.request("GET", "/api/health")
            assert idle.getresponse().read()
            connection = begun(server, "ada", bundle, 100)
            assert server.ask("GET", "/api/health").status == 200
            server.process.send_signal(number)
            assert idle.sock.recv(1) == b"", "an idle connection is ended"
            while listens(server):
                assert server.process.poll() is None
            assert finished(connection, bundle[100:]) == (201, {"hashes": [sha]})
            assert server.process.wait(30) == 0
    with serving(tmp_path / "data") as server:
        assert [each["hash"] for each in server.get("/api/git/commits", "bob").json] == [sha]


@pytest.mark.slow
def test_it_ends_though_a_client_does_not(tmp_path: Path, repo: Repo) -> None:
    """Nobody keeps a server alive by not finishing."""
    repo.commit("x = 1\n")
    with serving(tmp_path / "data", settings(finish_seconds=1)) as server:
        connection = begun(server, "ada", repo.bundle(), 100)
        assert server.ask("GET", "/api/health").status == 200
        server.process.terminate()
        status, told = finished(connection, b"")
        assert status == 503
        assert "shutting down" in str(told)
        assert server.process.wait(30) == 0
        left = [path for path in (server.data / "incoming").rglob("*") if path.is_file()]
        assert left == []


def test_what_a_killed_server_left_is_removed(tmp_path: Path, repo: Repo) -> None:
    """Half an upload does not outlive the next start."""
    bundle = b"x" * 200_000
    with serving(tmp_path / "data") as server:
        connection = begun(server, "ada", bundle, 100_000)
        spool = server.data / "incoming" / "_spool"
        while not any(path.stat().st_size for path in spool.iterdir()):
            assert server.process.poll() is None
        server.process.kill()
        server.process.wait(30)
        connection.close()
        assert list(spool.iterdir())
    with serving(tmp_path / "data"):
        assert list(spool.iterdir()) == []


# ---- how much memory ---------------------------------------------------------------------------


def test_bodies_have_a_bound_together(tmp_path: Path) -> None:
    """Bodies that come slowly fill no memory: over the cap of all together one is put off."""
    pool = BodyMemory(most=100, largest=60)
    with pool.holding("a") as one, pool.holding("b") as other, pool.holding("a") as more:
        one(40)
        other(40)
        with pytest.raises(TooMany, match="over 60 bytes"):
            more(21)
        more(10)
        with pytest.raises(Unavailable):
            other(11)
        more(10)
    with pool.holding("a") as whole, pool.holding("b") as other:
        whole(60)
        other(40)
    with serving(tmp_path / "data", settings(bodies_mb=0.1)) as server:
        assert server.post("/api/channels", {"name": "results"}).status == 201
        found = server.post("/api/channels", {"name": "other", "more": "x" * 200_000})
        assert found.status == 503
        assert int(found.headers["retry-after"]) > 0
        assert "as many bodies as it can" in found.error
        assert server.post("/api/channels", {"name": "other"}).status == 201


@pytest.mark.parametrize("proxy", ["*", "", "example.org", "192.0.2.1/8", "a b"])
def test_a_proxy_is_an_address(proxy: str) -> None:
    """Nobody believes everybody's X-Forwarded-For by mistake."""
    with pytest.raises(BadInput, match="not the address of a proxy"):
        check_proxies([proxy])
    check_proxies(["127.0.0.1", "::1", "10.0.0.0/8"])
