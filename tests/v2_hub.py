"""A real hub on loopback, in a process of its own, and small clients of it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jsonschema import Draft202012Validator

from conftest import Repo

ADMIN_KEY = "the admin's key of the tests, long enough"
P = "/api/v2/projects/main"

_PROGRAM = """
import json, sys
from pathlib import Path
from agenthub.records.hub import HubSettings
from agenthub.server.serve import serve
data, given, key = sys.argv[1:]
serve(Path(data), port=0, settings=HubSettings(**json.loads(given)), admin_key=key)
"""
_PLENTY = {
    "pushes_per_hour": 100_000,
    "posts_per_hour": 100_000,
    "records_per_hour": 100_000,
    "diffs_per_hour": 100_000,
    "registrations_per_hour": 1_000,
    "requests_per_minute": 10_000_000,
}


@dataclass(frozen=True)
class Said:
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Described:
    """The hub's own description, to hold its answers against."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = schema
        self._shapes = [
            (re.compile(re.sub(r"\\{[a-z_]+\\}", "[^/]+", re.escape(path))), operations)
            for path, operations in sorted(schema["paths"].items(), key=lambda row: "{" in row[0])
        ]

    def check(self, method: str, target: str, said: Said) -> None:
        """An answer of v2 is as the description says, and its errors are JSON with `error`."""
        path = target.partition("?")[0]
        if not path.startswith("/api/v2/") or method == "HEAD":
            return
        if said.status >= 400:
            assert isinstance(said.json["error"], str), said
            return
        operation = next(
            (
                found
                for shape, found in self._shapes
                if shape.fullmatch(path) and method.lower() in found
            )
        )[method.lower()]
        answer = operation["responses"][str(said.status)]
        for media, told in answer["content"].items():
            assert said.headers["content-type"].partition(";")[0] == media
            if media == "application/json":
                whole = {**told["schema"], "components": self.schema["components"]}
                Draft202012Validator(whole).validate(said.json)


@dataclass(frozen=True)
class Client:
    """One who asks: a connection for each request, a key or none."""

    port: int
    key: str = ""
    timeout: float = 60.0
    check: Callable[[str, str, Said], None] = lambda *_: None

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        /,
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> Said:
        """Ask; `body` is sent as it is when it is bytes, else as JSON."""
        sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        target = path + (f"?{urlencode(query)}" if query else "")
        said = dict(headers or {})
        if self.key:
            said["Authorization"] = f"Bearer {self.key}"
        with contextlib.closing(self.connection()) as connection:
            connection.request(method, target, sent, said)
            got = connection.getresponse()
            found = {name.lower(): value for name, value in got.getheaders()}
            answer = Said(got.status, found, got.read())
        self.check(method, target, answer)
        return answer

    def connection(self) -> http.client.HTTPConnection:
        """A new connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)

    def get(self, path: str, status: int = 200, /, **query: Any) -> Any:
        """GET; the answer's JSON, which must have the status."""
        return self.of(self.ask("GET", path, **query), status)

    def post(self, path: str, body: Any = None, status: int = 201, /, **query: Any) -> Any:
        """POST; the answer's JSON, which must have the status."""
        return self.of(self.ask("POST", path, body, **query), status)

    def of(self, said: Said, status: int) -> Any:
        """An answer's JSON, which must have the status."""
        assert said.status == status, (said.status, said.body[:2_000])
        return said.json

    def push(self, repo: Repo, *what: str, slug: str = "main", **query: Any) -> Any:
        """Push what `git bundle create` makes of some revisions; HEAD by default."""
        path = f"/api/v2/projects/{slug}/git/push"
        return self.post(path, bundle(repo, *(what or ("HEAD",))), **query)


@dataclass
class Served:
    """A hub that is up."""

    port: int
    data: Path
    pid: int
    described: Described = field(init=False)
    agents: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.described = Described(Client(self.port).get("/api/openapi.json"))

    @property
    def stranger(self) -> Client:
        """Somebody without a key."""
        return Client(self.port, check=self.described.check)

    @property
    def admin(self) -> Client:
        """The admin."""
        return replace(self.stranger, key=ADMIN_KEY)

    def agent(self, name: str) -> Client:
        """An agent, registered when it is not yet."""
        if name not in self.agents:
            made = self.stranger.post("/api/register", {"id": name})
            self.agents[name] = made["api_key"]
        return replace(self.stranger, key=self.agents[name])

    def with_scopes(self, name: str, *scopes: str, **more: Any) -> Client:
        """The agent with a key that may less."""
        owner = self.agent(name)
        made = owner.post("/api/v2/keys", {"scopes": list(scopes), **more})
        return replace(owner, key=made["api_key"])


@contextlib.contextmanager
def served(data: Path, **settings: Any) -> Iterator[Served]:
    """Serve a data folder by a process, which is ended afterwards."""
    given = json.dumps({**_PLENTY, **settings})
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(data), given, ADMIN_KEY],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("hub: http://127.0.0.1:"), line
        yield Served(int(line.split()[1].rpartition(":")[2]), data, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            process.stdout.close()


def bundle(repo: Repo, *what: str) -> bytes:
    """What `git bundle create` makes of some revisions."""
    path = repo.folder.parent / f"{repo.folder.name}.bundle"
    repo.git("bundle", "create", "-q", str(path), *what)
    return path.read_bytes()


def path_of(*parts: object) -> str:
    """A path of some parts, each quoted."""
    return "/" + "/".join(quote(str(part), safe="") for part in parts)
