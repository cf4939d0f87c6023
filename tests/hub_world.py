"""A whole hub for tests: real folders, real git."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from agenthub.records.agents import Caller
from agenthub.records.commits import ATTEMPT, FRONTIER
from agenthub.records.hub import Hub, HubSettings, open_hub
from agenthub.records.results import Draft
from conftest import Repo

PLENTY = HubSettings(pushes_per_hour=10_000, requests_per_minute=100_000)


@contextlib.contextmanager
def hub_in(folder: Path, settings: HubSettings = PLENTY) -> Iterator[Hub]:
    """A hub with a folder of its own."""
    with open_hub(folder, settings, "an admin key for tests") as hub:
        hub.accounts.later = lambda note: note()  # write the use of a key at once
        yield hub


def join(hub: Hub, name: str) -> tuple[Caller, str]:
    """A new agent: its caller, and its key."""
    key = hub.accounts.add(name)
    return hub.accounts.authenticate(key), key


def push(
    hub: Hub, caller: Caller, repo: Repo, *what: str, role: str = FRONTIER, slug: str = "main"
) -> None:
    """Push a bundle of some revisions."""
    path = repo.folder.parent / f"{caller.agent}.bundle"
    repo.git("bundle", "create", "-q", str(path), *what)
    hub.push(caller, path, slug, role)


def lively(hub: Hub, lab: Repo) -> dict[str, str]:
    """Give a hub a history with a merge, attempts, posts, results and a verdict; its commits."""
    (ada, _), (bob, _), (cyd, _) = (join(hub, name) for name in ("ada", "bob", "cyd"))
    made = {"root": lab.git("rev-parse", "HEAD")}
    for name in ("left", "right"):
        lab.git("checkout", "-q", "-b", name, made["root"])
        lab.write(f"{name}.py", f"{name} = 1\n")
        made[name] = lab.commit(f"go {name}")
    lab.git("merge", "-q", "--no-ff", "-m", "both", "left")
    made["merge"] = lab.git("rev-parse", "HEAD")
    push(hub, ada, lab, "left", "right")
    lab.write("train.py", "x = 2\n")
    made["tried"] = lab.commit("worse")
    push(hub, bob, lab, "HEAD", role=ATTEMPT)
    lab.git("reset", "-q", "--hard", made["merge"])
    push(hub, bob, lab, "HEAD")
    space = hub.space()
    space.board.create("results", "numbers", "ada")
    first, _ = hub.post(ada, "results", "hello @bob, this is a long enough post to be looked for")
    hub.post(bob, "results", "an answer", first.id)
    line = f"commit:{made['merge'][:7]} platform:H100 val_bpb:0.95 vram_gb:4.0 | both of them"
    _, result = hub.post(ada, "results", line)
    assert result is not None
    hub.post(ada, "results", "commit:1234567 platform:H100 val_bpb:0.99 vram_gb:4.0 | never pushed")
    hidden, _ = hub.post(cyd, "results", "something that is hidden from everybody")
    space.board.hide(hidden.id, "admin", "for a test")
    space.results.record("bob", Draft(made["tried"], "H100", "discard", 1.5, seed=7))
    tree = space.repository.commit_tree(made["merge"])
    space.results.verify(
        result.seq, "cyd", tree=tree, platform="H100", values=[0.9499, 0.95, 0.9501]
    )
    return made
