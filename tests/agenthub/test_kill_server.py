"""The benchmark of kill -9 in short form, and that what it looks for it would see."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hub_server import Repo, serving

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPT = BENCHMARKS / "faults" / "hub_kill.py"
# Serves what is there already, and tells which promises do not hold.
LOOK = """
import random, sys
from pathlib import Path
import hub_kill
from hub_load import make_commits, serving

root, mode = Path(sys.argv[1]), sys.argv[2]
world = hub_kill.World(make_commits(root / f"lab-{mode}", 3, 4, 4, lines=10))
with serving(root / "data") as server:
    if mode == "fill":
        hub_kill.prepare(world, server)
        wire = server.wire("ada")
        (root / "key").write_text(world.keys["agent0"])
        for chain in range(4):
            hub_kill.push_on(world, wire, chain, random.Random(chain))
        line = hub_kill.LINE.format(sha=world.made.base[0][:7], value=1.5)
        wire.json("POST", "/api/channels/results/posts", {"content": line})
    world.keys = {"agent0": (root / "key").read_text()}
    world.pushed = [4] * 4
    world.posts = {1: hub_kill.LINE.format(sha=world.made.base[0][:7], value=1.5)}
    print(*sorted({promise for promise, _ in hub_kill.violations(world, server)}), sep="\\n")
"""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """A program that finds the benchmarks and what this process finds."""
    path = [str(BENCHMARKS), str(BENCHMARKS / "faults"), *sys.path]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=env, check=False
    )


@pytest.mark.slow
def test_a_hub_killed_among_pushes_and_posts_loses_nothing() -> None:
    """Five times kill -9: what was acknowledged is there, and nothing is there by half."""
    done = run(str(SCRIPT), "--kills", "5", "--seed", "11")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub with pushes and a post, all of it whole."""
    root = tmp_path_factory.mktemp("filled")
    done = run("-c", LOOK, str(root), "fill")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
    return root


def test_what_is_lost_would_be_seen(filled: Path) -> None:
    """Take a commit's edge, a post with its result, and a pack: each is reported."""
    database = sqlite3.connect(filled / "data" / "hub.db")
    database.execute("DELETE FROM edges WHERE child = (SELECT max(child) FROM edges)")
    database.execute("DELETE FROM results")
    database.execute("DELETE FROM posts")
    database.commit()
    database.close()
    packs = filled / "data" / "projects" / "main" / "repo.git" / "objects" / "pack"
    lost = sorted(packs.glob("*.pack"))[0]
    for path in packs.glob(f"{lost.stem}.*"):
        path.unlink()
    told = run("-c", LOOK, str(filled), "look").stdout
    for promise in (
        "a lineage is not that of git",
        "a commit without all its edges",
        "a commit without its objects",
        "an acknowledged post is not there",
        "a counter is wrong",
        "`ah check` finds something",
    ):
        assert promise in told, told


@pytest.mark.slow
def test_no_program_is_left(tmp_path: Path) -> None:
    """When the server ends, so do all programs it started."""
    repo = Repo(tmp_path / "repo")
    with serving(tmp_path / "data") as server:
        sha = repo.commit("x = 1\n")
        server.push(repo.bundle())
        server.get(f"/api/git/fetch/{sha}")
        children = psutil.Process(server.process.pid).children(recursive=True)
        assert children
        assert server.end() == 0
    _, alive = psutil.wait_procs(children, 10)
    assert not alive
