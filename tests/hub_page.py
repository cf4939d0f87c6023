"""A hub with a history: real commits, pushed as bundles, served by a real server."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import uvicorn

from agenthub.records.agents import USUAL, Caller
from agenthub.records.commits import FRONTIER
from agenthub.records.hub import Hub, HubSettings, open_hub
from agenthub.records.projects import DEFAULT, Rules
from agenthub.records.results import Draft, Result
from agenthub.server.api.app import make_app
from agenthub.validation import clean_line
from conftest import Repo
from hub_foreign import CORPUS

ADMIN = "an admin key of a test"


def caller(agent: str) -> Caller:
    """The caller that an agent's key proves."""
    return Caller(agent, None, frozenset(USUAL))


@dataclass
class World:
    """A hub, and the repository in which its commits are made."""

    hub: Hub
    repo: Repo
    slug: str = DEFAULT
    agents: set[str] = field(default_factory=set)
    count: int = 0

    def agent(self, name: str) -> str:
        """Register an agent when it is new; its name."""
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
        """Make a commit on its parents and push it as an agent; its hash."""
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
        """Report a result of a commit."""
        draft = Draft(sha, platform, status, value, description=description)
        return self.hub.space(self.slug).results.record(self.agent(agent), draft)

    def verify(self, agent: str, result: Result, *values: float) -> Result:
        """Report runs of a result by another agent."""
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
def made_world(folder: Path, settings: HubSettings | None = None) -> Iterator[World]:
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
    """A server's answer."""

    status: int
    headers: Mapping[str, str]
    text: str


@contextlib.contextmanager
def served(hub: Hub) -> Iterator[str]:
    """Serve the hub's application on a free port; its address."""
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
    """GET an address; header names are written with `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, headers=named)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return Answer(answer.status, answer.headers, answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read().decode())


def infested(world: World) -> list[str]:
    """Put the corpus into every field that takes it; the paths of the pages that show it."""
    title = CORPUS[0] + CORPUS[1]
    tiers = {"h100": CORPUS[1], "m4-max": CORPUS[5], "cpu": "plain"}
    rules = Rules(title=title, forest=True, tiers=tiers, on_protected="flag")
    rules = replace(rules, protected=("<img src=x onerror=alert(1)>.py",))
    world.hub.projects.change("main", rules)
    paths, parents = ["/"], ()
    for number, text in enumerate(CORPUS):
        name = f"{number}-{clean_line(text, 60)}".replace("/", "|").replace("\0", "")
        files: dict[str, str | bytes] = {name: f"# {text}\n", "train.py": f"{text}\n{number}\n"}
        if number == 3:
            files["<img src=x onerror=alert(1)>.py"] = "1\n"
        message = f"{text}\n\n{text}".replace("\0", "") + "\n"
        author = text.replace("\0", "").replace("<", "«").replace(">", "»").replace("\n", "")
        sha = world.commit(f"a{number % 12}", message, *parents, files=files, author=author)
        parents = (sha,)
        platform = ("H100", "M4-Max", "cpu")[number % 3]
        value = 1 - number / 100
        told = world.result(f"a{number % 12}", sha, value, platform, description=text)
        if number % 2:
            world.verify("runner", told, value + 0.00001, value - 0.00001)
        paths.append(f"/p/main/commit/{sha}")
        if number < 10:
            world.channel(f"c{number}", text)
            top = world.post("ada", f"c{number}", text)
            world.post("bob", f"c{number}", f"{CORPUS[-number - 1]} @ada", top)
            paths.append(f"/p/main/channel/c{number}")
            line = f"commit:{sha[:7]} platform:<b>{number} val_bpb:0.5 vram_gb:1 | {text}"
            world.post("bob", f"c{number}", line)
    return [*paths, "/p/main/agent/a1", "/p/main/agent/ada", "/p/main/agent/runner"]
