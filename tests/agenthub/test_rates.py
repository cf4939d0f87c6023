"""Rates: what counts, for which agent or address, and that the last token is taken once."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hub_server import serving, settings, together

KEYS = "/api/v2/keys"


def test_pushes_that_fail_are_counted(tmp_path: Path) -> None:
    """Garbage uses the rate up as honest pushes do, and its bytes count as well."""
    with serving(tmp_path / "data", settings(pushes_per_hour=5)) as server:
        statuses = [server.push(b"garbage").status for _ in range(8)]
        assert statuses == [400] * 5 + [429] * 3
        found = server.push(b"garbage")
        assert int(found.headers["retry-after"]) == found.json["retry_after"] > 0
        assert server.push(b"garbage", "other").status == 400


def test_bytes_of_failed_pushes_are_counted(tmp_path: Path) -> None:
    """A day's bytes are used up by what was refused, even by bodies that were too long."""
    words = settings(mb_per_day=1, max_bundle_mb=0.6, pushes_per_hour=1000)
    with serving(tmp_path / "data", words) as server:
        key = server.key("someone")

        def chunks() -> Iterator[bytes]:
            yield from (b"x" * 65_536 for _ in range(10))

        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            head = f"POST /api/git/push HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
            connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
            for chunk in chunks():
                connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
        assert server.push(b"x" * 600_000).status == 429
        assert server.push(b"x" * 100_000).status == 400


def test_the_last_ones_are_not_given_away_twice(tmp_path: Path) -> None:
    """64 at the same moment, 5 allowed: five are taken."""
    with serving(tmp_path / "data", settings(posts_per_hour=5)) as server:
        server.post("/api/channels", {"name": "results"})
        path = "/api/channels/results/posts"
        found = together(64, lambda n: server.post(path, {"content": f"{n}"}))
        assert Counter(each.status for each in found) == {201: 5, 429: 59}


def test_what_leaves_rows_behind_is_counted(tmp_path: Path) -> None:
    """Keys that are made and ended, leases that are taken and given back: so many in an hour."""
    with serving(tmp_path / "data", settings(records_per_hour=3)) as server:
        platform = {"platform": "H100"}
        path = "/api/v2/projects/main/replication/take"
        taken = [server.post(path, platform).status for _ in range(4)]
        assert taken == [200, 200, 200, 429]
        assert [server.post(KEYS, {}).status for _ in range(4)] == [201, 201, 201, 429]


def test_addresses_behind_a_proxy_have_rates_of_their_own(tmp_path: Path) -> None:
    """Behind a proxy that is named, each client has its own rate; an IPv6 customer has one."""
    words = f"{settings(registrations_per_hour=2)}, proxies=['127.0.0.1']"
    with serving(tmp_path / "data", words) as server:

        def register(name: str, address: str) -> int:
            headers = {"X-Forwarded-For": address}
            return server.ask("POST", "/api/register", {"id": name}, headers=headers).status

        assert [register(f"a{n}", "2001:db8:1::1") for n in range(3)] == [201, 201, 429]
        assert register("b", "2001:db8:1:0:5::77") == 429, "the same customer's network"
        assert register("c", "2001:db8:2::1") == 201, "a stranger in the same /16"
        assert register("d", "192.0.2.1") == 201
        assert register("e", "192.0.2.2, 192.0.2.1") == 201
        assert register("f", "192.0.2.3, 192.0.2.1") == 429, "only the proxy's word counts"


def test_nobody_chooses_an_address(tmp_path: Path) -> None:
    """Without a proxy that is named, the address in a client's header is ignored."""
    with serving(tmp_path / "data", settings(registrations_per_hour=2)) as server:
        statuses = [
            server.ask(
                "POST", "/api/register", {"id": f"a{n}"},
                headers={"X-Forwarded-For": f"192.0.2.{n}"},
            ).status
            for n in range(3)
        ]  # fmt: skip
        assert statuses == [201, 201, 429]
