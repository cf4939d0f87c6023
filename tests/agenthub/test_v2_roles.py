"""Who may do what: every route of the hub, asked by everybody."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from agenthub.records.hub import open_hub
from agenthub.server.api.app import make_app
from v2_hub import Client, Served, served

READ, PUSH, POST, VERIFY, ADMIN = "read", "push", "post", "verify", "admin"
ANY = (READ, PUSH, POST, VERIFY, ADMIN)
OPEN = ("open",)  # to everybody, without a key
HERE = ("here",)  # to this machine, or with the admin's key
P = "/api/v2/projects/{slug}"
A = "/api/v2/admin"

# Every route, and the scopes of which a key needs one.
ROUTES: dict[str, tuple[str, ...]] = {
    # the first hub's
    "GET /api/health": OPEN,
    "POST /api/register": OPEN,
    "POST /api/admin/agents": (ADMIN,),
    "POST /api/git/push": (PUSH,),
    "GET /api/git/fetch/{hash}": (READ,),
    "GET /api/git/commits": (READ,),
    "GET /api/git/commits/{hash}": (READ,),
    "GET /api/git/commits/{hash}/children": (READ,),
    "GET /api/git/commits/{hash}/lineage": (READ,),
    "GET /api/git/leaves": (READ,),
    "GET /api/git/diff/{hash_a}/{hash_b}": (READ,),
    "GET /api/channels": (READ,),
    "POST /api/channels": (POST,),
    "GET /api/channels/{name}/posts": (READ,),
    "POST /api/channels/{name}/posts": (POST,),
    "GET /api/posts/{id}": (READ,),
    "GET /api/posts/{id}/replies": (READ,),
    # projects and commits
    "GET /api/v2/projects": (READ,),
    "POST /api/v2/projects": (ADMIN,),
    f"GET {P}": (READ,),
    f"PATCH {P}": (ADMIN,),
    f"GET {P}/commits": (READ,),
    f"GET {P}/leaves": (READ,),
    f"GET {P}/commits/{{hash}}": (READ,),
    f"GET {P}/commits/{{hash}}/children": (READ,),
    f"GET {P}/commits/{{hash}}/lineage": (READ,),
    f"POST {P}/git/push": (PUSH,),
    f"POST {P}/git/haves": (PUSH, READ),
    f"POST {P}/git/bundle": (READ,),
    f"GET {P}/git/diff/{{old}}/{{new}}": (READ,),
    f"GET {P}/git/show/{{hash}}": (READ,),
    f"GET {P}/git/tree/{{hash}}": (READ,),
    # results, replication, claims
    f"GET {P}/results": (READ,),
    f"POST {P}/results": (POST,),
    f"GET {P}/results/{{seq}}": (READ,),
    f"POST {P}/results/{{seq}}/verifications": (VERIFY,),
    f"GET {P}/leaderboard": (READ,),
    f"GET {P}/staircase": (READ,),
    f"GET {P}/tiers": (READ,),
    f"GET {P}/replication": (READ,),
    f"POST {P}/replication/take": (VERIFY,),
    f"POST {P}/replication/{{lease}}/finish": (VERIFY,),
    f"DELETE {P}/replication/{{lease}}": (VERIFY,),
    f"GET {P}/claims": (READ,),
    f"POST {P}/claims": (POST,),
    f"POST {P}/claims/{{claim}}/extend": (POST,),
    f"POST {P}/claims/{{claim}}/finish": (POST,),
    f"POST {P}/claims/{{claim}}/release": (POST,),
    # the board
    f"GET {P}/channels": (READ,),
    f"POST {P}/channels": (POST,),
    f"POST {P}/channels/{{name}}/read": (READ,),
    f"GET {P}/unread": (READ,),
    f"GET {P}/channels/{{name}}/posts": (READ,),
    f"POST {P}/channels/{{name}}/posts": (POST,),
    f"GET {P}/posts/{{id}}": (READ,),
    f"GET {P}/posts/{{id}}/replies": (READ,),
    f"GET {P}/mentions": (READ,),
    f"GET {P}/search": (READ,),
    # events and people
    "GET /api/v2/events": (READ,),
    "GET /api/v2/events/stream": (READ,),
    "GET /api/v2/me": ANY,
    "GET /api/v2/keys": ANY,
    "POST /api/v2/keys": ANY,
    "POST /api/v2/keys/{id}/rotate": ANY,
    "DELETE /api/v2/keys/{id}": ANY,
    # the admin's
    f"GET {A}/agents": (ADMIN,),
    f"POST {A}/agents/{{id}}/disable": (ADMIN,),
    f"POST {A}/agents/{{id}}/enable": (ADMIN,),
    f"POST {A}/agents/{{id}}/runner": (ADMIN,),
    f"POST {A}/invites": (ADMIN,),
    f"GET {A}/registration": (ADMIN,),
    f"PUT {A}/registration": (ADMIN,),
    f"POST {A}/posts/{{id}}/hide": (ADMIN,),
    f"POST {A}/posts/{{id}}/show": (ADMIN,),
    f"GET {A}/suspects": (ADMIN,),
    f"GET {A}/audit": (ADMIN,),
    f"GET {A}/audit/verify": (ADMIN,),
    # about
    "GET /llms.txt": OPEN,
    "GET /metrics": HERE,
}
# Routes that the schema does not tell of, where the application has them: git's own protocol and
# the pages for people.
HIDDEN: dict[str, tuple[str, ...]] = {
    "GET /api/openapi.json": OPEN,
    "GET /git/{slug}.git/info/refs": (READ,),
    "POST /git/{slug}.git/git-upload-pack": (READ,),
    "POST /git/{slug}.git/git-receive-pack": (PUSH,),
    "GET /": OPEN,
    "GET /p/{slug}": OPEN,
    "GET /p/{slug}/commit/{sha}": OPEN,
    "GET /p/{slug}/channel/{name}": OPEN,
    "GET /p/{slug}/agent/{name}": OPEN,
    "GET /p/{slug}/events": OPEN,
    "GET /page/{name}": OPEN,
}
SAMPLE = {"sha": "0" * 40, "slug": "main", "hash": "0" * 40, "hash_a": "0" * 40, "hash_b": "1" * 40}
SAMPLE |= {"old": "0" * 40, "new": "1" * 40, "name": "nowhere", "id": "999999"}
FIRST = b'{"id": "somebody", "name": "somewhere", "content": "hello"}'  # read before the scope
UNKNOWN = b'{"error":"404 page not found'
SAMPLE |= {"seq": "999999", "lease": "999999", "claim": "999999"}


@dataclass(frozen=True)
class People:
    """Everybody who may ask."""

    hub: Served
    clients: dict[str, Client]
    scopes: dict[str, set[str]]


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    """A hub, and one of each kind of who may ask."""
    with served(tmp_path_factory.mktemp("roles") / "hub") as hub:
        ada = hub.agent("ada")
        brief = hub.with_scopes("ada", *ANY[:4], expires=int(time.time()) + 3)
        known = {scope: hub.with_scopes("ada", scope) for scope in (READ, PUSH, POST, VERIFY)}
        nobody = {
            "no key": hub.stranger,
            "no such key": replace(hub.stranger, key="ah_ada_" + "x" * 43),
            "expired": brief,
            "revoked": hub.with_scopes("ada", *ANY[:4]),
            "disabled": hub.agent("eve"),
        }
        newest = ada.get("/api/v2/keys")["keys"][-1]["id"]
        ada.of(ada.ask("DELETE", f"/api/v2/keys/{newest}"), 200)
        hub.admin.post(f"{A}/agents/eve/disable", None, 200)
        while nobody["expired"].ask("GET", "/api/v2/me").status != 401:
            time.sleep(0.1)
        clients = {**known, "admin": hub.admin, "usual": ada, **nobody}
        scopes: dict[str, set[str]] = {name: set() for name in nobody}
        scopes |= {name: {name} for name in known}
        scopes |= {"admin": {ADMIN, READ}, "usual": set(ANY) - {ADMIN}}
        yield People(hub, clients, scopes)


def test_every_route_is_in_the_table(people: People, tmp_path: Path) -> None:
    """A route that is added without an entry here fails, and so does an entry without a route."""
    paths = people.hub.described.schema["paths"]
    told = {f"{method.upper()} {path}" for path, each in paths.items() for method in each}
    assert told == set(ROUTES)
    with open_hub(tmp_path / "hub") as hub:
        found = set(walked(make_app(hub).routes))
    assert found - set(HIDDEN) == set(ROUTES)


def walked(routes: Iterable[Any]) -> Iterator[str]:
    """Every route of an application, those of the routers that it includes too."""
    for route in routes:
        if inner := getattr(route, "original_router", None):
            yield from walked(inner.routes)
        elif inner := getattr(route, "routes", None):
            yield from walked(inner)
        else:
            methods = set(getattr(route, "methods", None) or ()) - {"HEAD"}
            yield from (f"{method} {route.path}" for method in methods or {"ANY"})


def test_the_description_tells_the_scopes_of_the_table(people: People) -> None:
    """What the schema says a key needs is what the table says."""
    for route, scopes in ROUTES.items():
        method, path = route.split(" ")
        told = people.hub.described.schema["paths"][path][method.lower()]
        assert ("security" in told) == (scopes not in (OPEN, HERE)), route
        if "x-scope" in told:
            wanted = "any" if scopes == ANY else " or ".join(scopes)
            assert told["x-scope"] == wanted, route


@pytest.mark.parametrize("route", {**ROUTES, **HIDDEN})
def test_who_may(people: People, route: str) -> None:
    """Only a key with the scope gets past the door; others are told why, and nothing is done."""
    method, path = route.split(" ")
    wanted = {**ROUTES, **HIDDEN}[route]
    path = path.format(**SAMPLE) + ("?service=git-upload-pack" if "info/refs" in path else "")
    if route in HIDDEN and asked(people.clients["usual"], method, path)[1].startswith(UNKNOWN):
        pytest.skip("this application has no such route")
    for role, client in people.clients.items():
        status, body = asked(client, method, path)
        if wanted == OPEN or (wanted == HERE and role in ("no key", "admin")):
            assert status not in (401, 403), (role, status)
        elif not people.scopes[role]:
            assert status == 401, (role, status, body)
        elif people.scopes[role] & set(wanted):
            assert status not in (401, 403) and status < 500, (role, status, body)
        else:
            assert status == 403, (role, status, body)
            assert b"scope" in body


def asked(client: Client, method: str, path: str) -> tuple[int, bytes]:
    """The status and the beginning of what is answered; a stream does not end."""
    headers = {"Authorization": f"Bearer {client.key}"} if client.key else {}
    body = None if method == "GET" else b"{}" if path.startswith("/api/v2") else FIRST
    with contextlib.closing(client.connection()) as connection:
        connection.request(method, path, body, headers)
        answer: http.client.HTTPResponse = connection.getresponse()
        return answer.status, answer.read1(4_096)


def test_a_key_that_may_not_read_learns_nothing_of_projects(people: People) -> None:
    """Whether a project exists is not told to somebody who may not see it."""
    for role in ("no key", "post"):
        client = people.clients[role]
        there = asked(client, "GET", "/api/v2/projects/main")
        assert asked(client, "GET", "/api/v2/projects/nowhere") == there


def test_figures_are_not_for_a_proxy_s_clients(people: People) -> None:
    """A proxy on this machine makes nobody local."""
    headers = {"X-Forwarded-For": "192.0.2.7"}
    assert people.hub.stranger.ask("GET", "/metrics", headers=headers).status == 401
    assert people.hub.admin.ask("GET", "/metrics", headers=headers).status == 200
