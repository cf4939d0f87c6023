"""A hub with a history to look at: real commits, pushed as bundles, served by a real server."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from autoresearch.hub.agents import USUAL, Caller
from autoresearch.hub.api.app import make_app
from autoresearch.hub.commits import FRONTIER
from autoresearch.hub.hub import Hub, Settings, open_hub
from autoresearch.hub.projects import DEFAULT
from autoresearch.hub.results import Draft, Result
from conftest import Repo

ADMIN = "an admin key of a test"


def caller(agent: str) -> Caller:
    """An agent as its key would prove it."""
    return Caller(agent, None, frozenset(USUAL))


@dataclass
class World:
    """A hub, and the repository that its commits are made in."""

    hub: Hub
    repo: Repo
    slug: str = DEFAULT
    agents: set[str] = field(default_factory=set)
    count: int = 0

    def agent(self, name: str) -> str:
        """An agent, registered when it is new."""
        if name not in self.agents:
            self.hub.accounts.add(name)
            self.agents.add(name)
        return name

    def commit(
        self,
        agent: str,
        message: str,
        *parents: str,
        role: str = FRONTIER,
        files: Mapping[str, str | bytes] | None = None,
        author: str = "Somebody",
    ) -> str:
        """Make a commit on top of others, and push it as an agent; its hash."""
        self.count += 1
        repo, slug = self.repo, self.slug
        for path, content in (files or {"train.py": f"RATE = {self.count}\n"}).items():
            repo.write(path, content)
        repo.git("add", "-A")
        tree = repo.git("write-tree")
        names = [word for parent in parents for word in ("-p", parent)]
        named = ("-c", f"user.name={author}", "-c", "user.email=x@localhost")
        sha = repo.git(*named, "commit-tree", tree, *names, stdin=message.encode())
        repo.git("update-ref", "refs/heads/made", sha)
        bundle = repo.folder.parent / f"{sha}.bundle"
        repo.git("bundle", "create", "-q", str(bundle), "made", *(f"^{p}" for p in parents))
        self.hub.push(caller(self.agent(agent)), bundle, slug, role)
        bundle.unlink()
        return sha

    def result(
        self, agent: str, sha: str, value: float | None, platform: str = "H100",
        status: str = "keep", description: str = "",
    ) -> Result:  # fmt: skip
        """Tell a result of a commit."""
        draft = Draft(sha, platform, status, value, description=description)
        return self.hub.space(self.slug).results.record(self.agent(agent), draft)

    def verify(self, agent: str, result: Result, *values: float) -> Result:
        """Run a result again, as it were."""
        space = self.hub.space(self.slug)
        assert result.commit is not None
        tree = space.commits.get(result.commit).tree
        return space.results.verify(
            result.seq, self.agent(agent), tree=tree, platform=result.platform, values=values
        )

    def channel(self, name: str, description: str = "") -> None:
        """Make a channel."""
        self.hub.space(self.slug).board.create(name, description, self.agent("ada"))

    def post(self, agent: str, channel: str, text: str, parent: int | None = None) -> int:
        """Write a post; its number."""
        return self.hub.post(caller(self.agent(agent)), channel, text, parent, self.slug)[0].id


@contextlib.contextmanager
def made_world(folder: Path, settings: Settings | None = None) -> Iterator[World]:
    """An empty hub."""
    source = folder / "source"
    source.mkdir(parents=True)
    repo = Repo(source)
    repo.git("init", "-q", "-b", "main")
    with open_hub(folder / "data", settings, ADMIN) as hub:
        yield World(hub, repo)


# ---- serving it --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    text: str


@contextlib.contextmanager
def served(hub: Hub) -> Iterator[str]:
    """The hub's application on a port of its own; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            make_app(hub), log_level="warning", access_log=False, timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            deadline = time.monotonic() + 30
            while not server.started:
                assert thread.is_alive() and time.monotonic() < deadline
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)


def get(url: str, **headers: str) -> Answer:
    """Ask for an address; headers are written with `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, headers=named)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return Answer(answer.status, answer.headers, answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read().decode())
