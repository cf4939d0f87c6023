"""A real hub in its own process, on loopback, and clients of it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

import autoresearch

T = TypeVar("T")
ADMIN = "an-admin-key-of-the-tests"
CODE = """
import sys
from pathlib import Path
from agenthub.records.hub import HubSettings
from agenthub.git.policy import PushLimits
from agenthub.git.repository import GitSettings
from agenthub.server.serve import serve
serve(Path(sys.argv[1]), port=0, {words})
"""


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The message of a JSON error, which the answer must be."""
        assert self.headers["content-type"] == "application/json", self
        assert self.status >= 400, self
        found = self.json["error"]
        assert isinstance(found, str) and found, self
        return found


@dataclass
class Server:
    """A hub that listens."""

    process: subprocess.Popen[str]
    urls: tuple[str, ...]  # the public listener, and the admin's
    data: Path
    keys: dict[str, str] = field(default_factory=dict)
    turn: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.urls[0]

    @property
    def port(self) -> int:
        """Its port on loopback."""
        return urlsplit(self.url).port or 0

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        url: str | None = None,
    ) -> Answer:
        """One request on a connection of its own. A body that is no bytes is sent as JSON."""
        parts = urlsplit(url or self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        sent = {"Authorization": f"Bearer {key}"} if key else {}
        with contextlib.closing(connection):
            connection.request(method, path, body, {**sent, **(headers or {})})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())

    def get(self, path: str, agent: str = "someone") -> Answer:
        """A GET of an agent."""
        return self.ask("GET", path, key=self.key(agent))

    def post(self, path: str, body: Any, agent: str = "someone") -> Answer:
        """A POST of an agent."""
        return self.ask("POST", path, body, self.key(agent))

    def push(self, bundle: bytes, agent: str = "someone") -> Answer:
        """A push of an agent."""
        return self.post("/api/git/push", bundle, agent)

    def key(self, agent: str) -> str:
        """An agent's key; the agent is created if missing."""
        with self.turn:
            if agent not in self.keys:
                url = self.urls[-1]
                made = self.ask("POST", "/api/admin/agents", {"id": agent}, ADMIN, url=url)
                assert made.status == 201, made
                self.keys[agent] = made.json["api_key"]
        return self.keys[agent]

    def resident(self) -> int:
        """The most memory that the server itself ever had, in bytes."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    def end(self) -> int:
        """Terminate it and wait; its exit status."""
        self.process.terminate()
        return self.process.wait(60)


@contextlib.contextmanager
def serving(
    data: Path, words: str = f"admin_key={ADMIN!r}", cwd: Path | None = None
) -> Iterator[Server]:
    """A hub on a free port; `words` are Python source of arguments to `serve`.

    Any output on stderr is a failure: the hub prints nothing about its clients' mistakes.
    """
    with tempfile.TemporaryFile("w+") as errors:
        with _started(data, words, cwd, errors) as server:
            yield server
        errors.seek(0)
        output = errors.read()
        assert not output, output


@contextlib.contextmanager
def _started(data: Path, words: str, cwd: Path | None, errors: IO[str]) -> Iterator[Server]:
    source = Path(autoresearch.__file__).parent.parent
    process = subprocess.Popen(
        [sys.executable, "-c", CODE.format(words=words), str(data)],
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(source)},
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("hub: "), line
            urls = tuple(word for word in line.split() if word.startswith("http://"))
            yield Server(process, urls, (cwd or Path()) / data)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()


def settings(**words: Any) -> str:
    """Words for `serving`: an admin key, and settings."""
    inner = ", ".join(f"{name}={value!r}" for name, value in words.items())
    return f"admin_key={ADMIN!r}, settings=HubSettings({inner})"


def together(count: int, verb: Callable[[int], T]) -> list[T]:
    """Call a function in so many threads, all at the same moment."""
    ready = threading.Barrier(count)

    def one(number: int) -> T:
        ready.wait(30)
        return verb(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


class Repo:
    """A client's git repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *words: str, stdin: bytes | None = None) -> str:
        """Run git here; its output."""
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{f"GIT_{who}_NAME": "Ada" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "ada@example.org" for who in ("AUTHOR", "COMMITTER")},
        }
        done = subprocess.run(
            ["git", *words], cwd=self.folder, env=env, input=stdin, capture_output=True, check=False
        )
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout.decode(errors="replace").strip()

    def commit(self, text: str, name: str = "train.py", message: str = "") -> str:
        """Write a file and commit it; the hash."""
        (self.folder / name).write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message or f"{name}: {text[:40]}")
        return self.git("rev-parse", "HEAD")

    def bundle(self, *words: str) -> bytes:
        """A bundle; by default of HEAD with all its history."""
        path = self.folder / ".git" / "sent.bundle"
        self.git("bundle", "create", "-q", str(path), *(words or ("HEAD",)))
        return path.read_bytes()
