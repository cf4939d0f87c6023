"""One of many has a share of what there is: an address of connections, an agent of memory."""

from __future__ import annotations

import gzip
import socket
import zlib
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from agenthub.errors import TooMany
from agenthub.records.hub import HubSettings
from agenthub.server.limits import AddressLimit
from agenthub.server.serve import mapped
from hub_server import Server, serving, settings

UNKNOWN = ["x", "Bearer", "Bearer  ", "Bearer guessed", "Basic eDp5", "Basic ?", ""]
PATH = "/git/main.git/git-upload-pack"


def half(
    server: Server, path: str, *headers: str, body: bytes = b'{"id":', length: int = 4_000
) -> socket.socket:
    """A request of which the body has begun, and does not go on."""
    connection = socket.create_connection(("127.0.0.1", server.port), 30)
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {length}", *headers]
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
    return connection


def told(connection: socket.socket) -> bytes:
    """All that a server says until it hangs up."""
    with connection, connection.makefile("rb") as stream:
        return stream.read()


# ---- rates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/health", "/api/channels", "/git/main.git/info/refs", "/x"])
def test_no_header_escapes_the_rate(tmp_path: Path, path: str) -> None:
    """Whoever shows no key that is known is a stranger, whatever else the request says."""
    with serving(tmp_path / "data", settings(requests_per_minute=len(UNKNOWN))) as server:
        key = server.key("ada")  # the one request of the admin
        for said in UNKNOWN:
            assert server.ask("GET", path, headers={"Authorization": said}).status != 429
        for said in UNKNOWN:
            found = server.ask("GET", path, headers={"Authorization": said})
            assert found.status == 429
            assert int(found.headers["retry-after"]) > 0
        assert server.ask("GET", "/api/channels", key=key).status == 200


def test_what_the_public_listener_does_not_have_is_counted(tmp_path: Path) -> None:
    """Asking for the admin's routes there is a request like any other."""
    words = f"{settings(requests_per_minute=2)}, admin=('127.0.0.1', 0)"
    with serving(tmp_path / "data", words) as server:
        path = "/api/admin/agents"
        assert [server.ask("POST", path, {}).status for _ in range(3)] == [404, 404, 429]


def test_every_request_of_an_agent_is_counted(tmp_path: Path) -> None:
    """What needs no key counts for who shows one."""
    with serving(tmp_path / "data", settings(requests_per_minute=5)) as server:
        key = server.key("ada")
        for path in ("/api/health", "/llms.txt", "/", "/x", "/api/channels"):
            assert server.ask("GET", path, key=key).status in (200, 404)
        for path in ("/api/health", "/", "/git/main.git/info/refs?service=git-upload-pack"):
            assert server.ask("GET", path, key=key).status == 429
        assert server.ask("GET", "/api/health").status == 200, "its address is another matter"


def test_git_shows_why_it_has_to_wait(tmp_path: Path) -> None:
    """Below /git an error is a text, which git shows."""
    with serving(tmp_path / "data", settings(requests_per_minute=1)) as server:
        server.ask("GET", "/git/main.git/info/refs")
        found = server.ask("GET", "/git/main.git/info/refs")
        assert found.status == 429
        assert found.headers["content-type"].startswith("text/plain")
        assert found.body.startswith(b"Too many requests: 1 ")


# ---- connections ---------------------------------------------------------------------------------


def test_an_address_has_a_share_of_the_connections(tmp_path: Path) -> None:
    """Who has as many as one may is told so at once, and comes in when one has ended."""
    with serving(tmp_path / "data", settings(connections_each=2)) as server:
        first = [HTTPConnection("127.0.0.1", server.port, timeout=30) for _ in range(2)]
        for connection in first:
            connection.request("GET", "/api/health")
            assert connection.getresponse().read()
        found = server.ask("GET", "/api/health")
        assert found.status == 429
        assert "Your address has 2 connections" in found.error
        assert int(found.headers["retry-after"]) == found.json["retry_after"] > 0
        for connection in first:
            connection.close()
        while server.ask("GET", "/api/health").status == 429:
            pass


def test_behind_a_proxy_each_client_has_its_share(tmp_path: Path) -> None:
    """The connections are the proxy's: what a client has under way there is counted instead."""
    words = f"{settings(connections_each=1)}, proxies=['127.0.0.1']"

    def asked(server: Server, address: str) -> int:
        return server.ask("GET", "/api/health", headers={"X-Forwarded-For": address}).status

    with serving(tmp_path / "data", words) as server:
        with closing(half(server, "/api/register", "X-Forwarded-For: 192.0.2.1")):
            while asked(server, "192.0.2.1") != 429:  # it may not be there yet
                pass
            assert asked(server, "192.0.2.2") == 200
        while asked(server, "192.0.2.1") == 429:
            pass


def test_what_an_address_may_have() -> None:
    """An eighth, 64 at least; this machine and proxies what they like, unless it was said."""
    addresses = AddressLimit(HubSettings(connections=1_000), ["10.0.0.0/8"])
    for _ in range(125):
        addresses.enter("2001:db8::1")
    with pytest.raises(TooMany, match="has 125 connections"):
        addresses.enter("2001:db8::2")
    for free in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3"):
        assert {addresses.enter(free) for _ in range(2_000)} == {""}
    with addresses.inside("192.0.2.1"):
        pass
    few = AddressLimit(HubSettings(connections=3))
    assert len({few.enter("192.0.2.1") for _ in range(64)}) == 1
    with pytest.raises(TooMany):
        few.enter("192.0.2.1")
    said = AddressLimit(HubSettings(connections_each=1), ["10.0.0.0/8"])
    said.enter("127.0.0.1")
    with pytest.raises(TooMany):
        said.enter("127.0.0.1")
    assert {said.enter("10.1.2.3") for _ in range(2)} == {""}


# ---- bodies --------------------------------------------------------------------------------------


def test_a_stranger_sends_its_body_soon(tmp_path: Path) -> None:
    """What somebody without a key may send is small, and so is the time for it."""
    with serving(tmp_path / "data", settings(stranger_seconds=0.2)) as server:
        said = told(half(server, "/api/register"))
        assert said.startswith(b"HTTP/1.1 408 ")
        assert b"not all of it within 0.2." in said


def test_one_agent_does_not_hold_all_memory(tmp_path: Path) -> None:
    """Whoever leaves bodies half-way keeps itself waiting, and nobody else."""
    begun = b'{"content": "' + b"x" * 200_000

    def post(agent: str) -> int:
        body = {"name": "results", "more": "x" * 100_000}
        return server.post("/api/channels", body, agent).status

    with serving(tmp_path / "data", settings(bodies_mb=0.5)) as server, ExitStack() as stack:
        for _ in range(3):
            key = f"Authorization: Bearer {server.key('slow')}"
            slow = half(server, "/api/channels", key, body=begun, length=250_000)
            stack.enter_context(closing(slow))
        while post("slow") != 429:  # not all of them may be there yet
            pass
        assert post("ada") in (201, 409)


def test_fetches_take_no_memory_from_posts(tmp_path: Path) -> None:
    """A fetch that asks for ever, from little gzip, is of no account to who posts."""
    with serving(tmp_path / "data", settings(bodies_mb=1)) as server, ExitStack() as stack:
        key = f"Authorization: Bearer {server.key('slow')}"
        packed = zlib.compressobj(9, zlib.DEFLATED, 31)
        large = packed.compress(b"0" * 900_000) + packed.flush(zlib.Z_SYNC_FLUSH)

        def fetch(agent: str) -> int:
            head = {"Content-Encoding": "gzip", "Authorization": f"Bearer {server.key(agent)}"}
            return server.ask("POST", PATH, gzip.compress(b"0" * 200_000), headers=head).status

        for _ in range(3):
            slow = half(server, PATH, key, "Content-Encoding: gzip", body=large)
            stack.enter_context(closing(slow))
        body = {"name": "results", "more": "x" * 200_000}
        while fetch("ada") != 503:
            pass
        assert server.post("/api/channels", body, "slow").status == 201


def test_a_mapped_address_of_a_proxy_is_the_proxys() -> None:
    """A listener of both kinds sees IPv4 so; the proxy stands for many there, too."""
    addresses = AddressLimit(HubSettings(connections_each=1), ["192.0.2.1"])
    assert [addresses.enter("::ffff:192.0.2.1") for _ in range(3)] == ["", "", ""]
    addresses.enter("::ffff:192.0.2.2")
    with pytest.raises(TooMany):
        addresses.enter("::ffff:192.0.2.2")
    assert mapped(["192.0.2.0/24", "2001:db8::1"]) == ["::ffff:192.0.2.0/120"]
