"""kill -9 of a hub at random instants, while four push and two post, again and again.

Three push bundles, one uses git itself.
After each restart: every acknowledged push is there whole, nothing is there by half, every
acknowledged post and its result is there, git and the audit chain are sound.

    python benchmarks/faults/hub_kill.py [--kills 100] [--seed 0]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from agenthub.git.repository import repack_lock
from agenthub.records.audit import Audit
from agenthub.records.checking import check
from agenthub.records.commits import Commits as Graph
from agenthub.records.database import Database
from hub_load import ADMIN, ENV, Commits, Server, Wire, make_commits, start

PUSHERS, POSTERS = 4, 2
PLAIN = 3  # the pusher that uses git itself
MAX_SECONDS = 20.0  # seconds for some work to be done between two kills
LONGEST = 1_000  # commits of a lineage in an answer
LINE = "commit:{sha} platform:H100 val_bpb:{value:.6f} vram_gb:44.0 | halve the rate"
LOST = (
    "an acknowledged push is not there",
    "a lineage is not that of git",
    "a commit without all its edges",
    "a commit without its objects",
    "git fsck complains",
    "a counter is wrong",
    "an acknowledged post is not there",
    "a posted result is not there",
    "the audit chain is broken",
    "the database is damaged",
    "`ah check` finds something",
    "the server did not start",
)


@dataclass
class World:
    """What the hub acknowledged to the clients, and what they do."""

    made: Commits
    keys: dict[str, str] = field(default_factory=dict)
    pushed: list[int] = field(default_factory=lambda: [0] * PUSHERS)  # acknowledged, of each chain
    posts: dict[int, str] = field(default_factory=dict)  # acknowledged
    begun: Counter[str] = field(default_factory=Counter)
    cut_off: Counter[str] = field(default_factory=Counter)  # clients, by what they were at
    half_way: int = 0  # kills that left a push in quarantine
    strange: list[str] = field(default_factory=list)  # answers that nobody should get


# ---- clients ------------------------------------------------------------------------------------


def push_on(world: World, wire: Wire, chain: int, rng: random.Random) -> None:
    """Push a chain on, one to three commits at a time, until the server is gone."""
    shas = (world.made.base[-1], *world.made.chains[chain])
    while world.pushed[chain] < len(shas) - 1:
        after = min(world.pushed[chain] + rng.randint(1, 3), len(shas) - 1)
        world.begun["push"] += 1
        if chain == PLAIN:
            refused = plain_push(world, wire, shas[after])
        else:
            bundle = world.made.bundle(shas[after], shas[world.pushed[chain]])
            status, answer = wire.ask("POST", "/api/git/push", bundle)
            refused = "" if status == 201 else f"{status}: {answer[:200]!r}"
        if refused:
            world.strange.append(f"push {refused}")
            return
        world.pushed[chain] = after


def plain_push(world: World, wire: Wire, sha: str) -> str:
    """Push a commit with git itself; why it was refused, if so. OSError when the server is gone."""
    agent = f"agent{PLAIN}"
    url = f"http://{agent}:{world.keys[agent]}@127.0.0.1:{wire.port}/git/main.git"
    done = subprocess.run(
        ["git", "push", "--quiet", url, f"{sha}:refs/agents/{agent}/{sha[:8]}"],
        cwd=world.made.folder, env=ENV, text=True, capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode:
        wire.ask("GET", "/api/health")
    return done.stderr.replace(world.keys[agent], "KEY") if done.returncode else ""


def post_on(world: World, wire: Wire, rng: random.Random) -> None:
    """Post results until the server is gone."""
    while True:
        sha = rng.choice(world.made.base)
        content = LINE.format(sha=sha[:7], value=1 + rng.random())
        world.begun["post"] += 1
        body = json.dumps({"content": content}).encode()
        status, answer = wire.ask("POST", "/api/channels/results/posts", body)
        if status != 201:
            world.strange.append(f"post {status}: {answer[:200]!r}")
            return
        world.posts[json.loads(answer)["id"]] = content


def load_and_kill(world: World, server: Server, rng: random.Random) -> None:
    """Let all clients work for a moment, and kill the server among them."""

    def client(number: int) -> None:
        wire = Wire(server.port, world.keys[f"agent{number}"])
        what, own = "push" if number < PUSHERS else "post", random.Random(rng.random())
        with contextlib.suppress(OSError):
            if what == "push":
                push_on(world, wire, number, own)
            else:
                post_on(world, wire, own)
            return
        world.cut_off[what] += 1

    threads = [threading.Thread(target=client, args=(n,)) for n in range(PUSHERS + POSTERS)]
    for thread in threads:
        thread.start()
    enough, end = sum(world.pushed) + rng.randint(0, 15), time.monotonic() + MAX_SECONDS
    while sum(world.pushed) < enough and time.monotonic() < end:
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.06))
    server.kill()
    for thread in threads:
        thread.join()
    world.half_way += any((server.data / "incoming").glob("*/*"))


# ---- checks -------------------------------------------------------------------------------------


def violations(world: World, server: Server) -> Iterator[tuple[str, str]]:
    """Broken promises, as (promise, what was seen)."""
    wire = Wire(server.port, world.keys["agent0"])
    for chain, count in enumerate(world.pushed):
        own = world.made.chains[chain][:count]
        yield from graph_violations(world, wire, own)
    database = Database(server.data / "hub.db")
    with contextlib.closing(database):
        yield from row_violations(world, database)
        shas = [row["sha"] for row in database.rows("SELECT sha FROM commits")]
    yield from object_violations(server.data / "projects" / "main" / "repo.git", shas)
    yield from ((LOST[10], str(finding)) for finding in check(server.data))
    wire.close()


def graph_violations(world: World, wire: Wire, own: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Broken promises about one chain's acknowledged commits."""
    if own:
        status, answer = wire.ask("GET", f"/api/git/commits/{own[-1]}/lineage")
        found = [row["hash"] for row in json.loads(answer)] if status == 200 else []
        expected = [*reversed(own), *reversed(world.made.base)][:LONGEST]
        if found[:1] != expected[:1]:
            yield LOST[0], f"{own[-1]}: {status}"
        elif found != expected:
            yield LOST[1], own[-1]


def row_violations(world: World, database: Database) -> Iterator[tuple[str, str]]:
    """Broken promises about the database."""
    by_half = (
        "SELECT sha FROM commits c WHERE (SELECT count(*) FROM edges WHERE child = c.seq) <> "
        "CASE parents WHEN '' THEN 0 ELSE length(parents) - length(replace(parents, ' ', '')) + 1 "
        "END"
    )
    yield from ((LOST[2], row["sha"]) for row in database.rows(by_half))
    yield from ((LOST[5], fault) for fault in Graph(database, 1).faults())
    kept = {row["id"]: row["content"] for row in database.rows("SELECT id, content FROM posts")}
    told = {row["post"] for row in database.rows("SELECT post FROM results")}
    yield from ((LOST[6], str(id)) for id, text in world.posts.items() if kept.get(id) != text)
    yield from ((LOST[7], str(id)) for id in kept if id not in told)
    if not Audit(database).verify().sound:
        yield LOST[8], str(Audit(database).verify())
    yield from ((LOST[9], fault) for fault in database.faults())


def object_violations(repository: Path, shas: list[str]) -> Iterator[tuple[str, str]]:
    """Broken promises about git's objects, after any repack that outlived its server."""
    while True:
        with repack_lock(repository) as lock:
            if lock is None:
                time.sleep(0.01)
                continue
            names = "".join(f"{sha}\n" for sha in shas)
            whole = git_errors(repository, "rev-list", "--objects", "--stdin", stdin=names)
            if whole:
                yield LOST[3], whole
            damaged = git_errors(repository, "fsck", "--full", "--strict", "--no-dangling")
            if damaged:
                yield LOST[4], damaged
            return


def git_errors(repository: Path, *words: str, stdin: str = "") -> str:
    """What `git fsck` reports; empty when nothing."""
    done = subprocess.run(
        ["git", *words], env=ENV | {"GIT_DIR": str(repository)}, input=stdin, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    return "" if done.returncode == 0 else f"{done.returncode}: {done.stderr.strip()}"


# ---- the whole ----------------------------------------------------------------------------------


def prepare(world: World, server: Server) -> None:
    """Agents, a channel, and the history that all build on."""
    admin = Wire(server.port, ADMIN)
    for number in range(PUSHERS + POSTERS):
        made = admin.json("POST", "/api/admin/agents", {"id": f"agent{number}"})
        world.keys[made["id"]] = made["api_key"]
    wire = Wire(server.port, world.keys["agent0"])
    wire.json("POST", "/api/channels", {"name": "results", "description": ""})
    status, answer = wire.ask("POST", "/api/git/push", world.made.bundle(world.made.base[-1]))
    if status != 201:
        raise RuntimeError(f"the first push was answered {status}: {answer!r}")
    admin.close()
    wire.close()


def shake(root: Path, kills: int, rng: random.Random) -> tuple[World, Counter[str], list[str]]:
    """Kill many times; what the clients saw, violations by promise, and each violation."""
    world = World(make_commits(root / "lab", 20, PUSHERS, 10 + kills * 12, lines=40))
    found: Counter[str] = Counter()
    told: list[str] = []
    git = {"repack_every": 10}  # so that kills meet repacks as well
    server = start(root / "data", git=git)
    try:
        prepare(world, server)
        for _ in range(kills):
            load_and_kill(world, server, rng)
            try:
                server = start(root / "data", git=git)
            except RuntimeError as error:
                found[LOST[11]] += 1
                told.append(str(error))
                break
            for promise, seen in violations(world, server):
                found[promise] += 1
                told.append(f"{promise}: {seen}")
    finally:
        server.kill()
    return world, found, told


def main() -> None:
    """Print violations, 0 each; exit code 1 on any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        world, found, told = shake(Path(root), args.kills, random.Random(args.seed))
    print(f"kills {args.kills}, {world.half_way} of them with a push half-way; clients cut off: "
          f"{world.cut_off['push']} pushing, {world.cut_off['post']} posting; "
          f"{time.monotonic() - began:.0f} s")  # fmt: skip
    print(f"acknowledged: {sum(world.pushed)} commits in {world.begun['push']} pushes begun, "
          f"{len(world.posts)} posts of {world.begun['post']} begun\n")  # fmt: skip
    print("| violation | times |\n|---|---|")
    for promise in LOST:
        print(f"| {promise} | {found[promise]} |")
    print(f"| a client got an answer that is no success | {len(world.strange)} |")
    for line in (*told, *world.strange)[:20]:
        print(line[:500])
    idle = not sum(world.pushed) or not world.posts or not world.half_way
    if idle:
        print("nothing was pushed, posted or interrupted: this shows nothing")
    sys.exit(bool(told or world.strange or idle))


if __name__ == "__main__":
    main()
