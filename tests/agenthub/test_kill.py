"""kill -9 while pushes come in: what was acknowledged is there, and nothing is there by half."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agenthub.git.repository import GitSettings, Repository, repack_lock
from conftest import Repo
from hub_git import World, bundle_of

# Pushes all bundles in turn, and prints each that is done. Its index is a file of one line per
# transaction, as durable as a database's.
PUSHER = """
import os, sys, threading
from pathlib import Path
from agenthub.git.ingest import receive
from agenthub.git.repository import Repository, GitSettings

class FileIndex:
    def __init__(self, path):
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self.shas = set(os.read(self.file, 1 << 20).decode().split())
    def known(self, shas):
        return set(shas) & self.shas
    def record(self, new, admit):
        admit()
        os.write(self.file, (" ".join(commit.sha for commit in new) + "\\n").encode())
        os.fsync(self.file)
        self.shas |= {commit.sha for commit in new}

folder = Path(sys.argv[1])
repository = Repository.create(folder / "r.git", folder / "in", GitSettings(repack_every=4))
repository.sweep()
index = FileIndex(folder / "index")
for number in range(int(sys.argv[2])):
    with (folder / f"b{number}").open("rb") as body:
        for commit in receive(body, repository, index).new:
            print(commit.sha, flush=True)
repository.close()
"""


@pytest.mark.slow
def test_killed_at_random(tmp_path: Path, lab: Repo) -> None:
    """A dozen times: every acknowledged commit is known, and all that is known is whole."""
    count, chance = 60, random.Random(11)
    made = bundles(lab, tmp_path, count)
    acknowledged: list[str] = []
    interrupted = 0
    for _ in range(12):
        acknowledged += push_and_kill(tmp_path, count, chance)
        interrupted += any((tmp_path / "in").iterdir())
        known = (tmp_path / "index").read_text().split()
        assert set(acknowledged) <= set(known)
        assert known == made[: len(known)]
        check_whole(tmp_path, known)
    assert interrupted > 3
    ended = pusher(tmp_path, count)
    ended.communicate(timeout=60)
    assert ended.returncode == 0
    assert (tmp_path / "index").read_text().split() == made
    check_whole(tmp_path, made)
    assert list((tmp_path / "in").iterdir()) == []


def bundles(lab: Repo, folder: Path, count: int) -> list[str]:
    """A chain of commits, each in a bundle upon the one before."""
    made: list[str] = []
    for number in range(count):
        lab.write("train.py", f"x = {number}\n")
        made.append(lab.commit(f"step {number}"))
        since = [f"^{made[-2]}"] if number else []
        (folder / f"b{number}").write_bytes(bundle_of(lab, "HEAD", *since))
    return lab.git("rev-list", "--reverse", "HEAD").split()


def pusher(folder: Path, count: int) -> subprocess.Popen[bytes]:
    """The program, begun."""
    return subprocess.Popen(
        [sys.executable, "-c", PUSHER, str(folder), str(count)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def push_and_kill(folder: Path, count: int, chance: random.Random) -> list[str]:
    """Let it do some pushes, kill it in the middle of another; what it acknowledged."""
    process = pusher(folder, count)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(1 + chance.randrange(3))]
    time.sleep(chance.random() * 0.06)
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=60)
    lines = b"".join(said) + rest
    return [line.decode() for line in lines.split(b"\n")[:-1]]


def await_keeper(folder: Path) -> None:
    """Wait for a repack that outlived its process: git's own check takes no part in its lock."""
    while True:
        with repack_lock(folder) as lock:
            if lock is not None:
                return
        time.sleep(0.01)


def check_whole(folder: Path, known: list[str]) -> None:
    """All objects of all known commits are there and sound, once a new process has swept."""
    repository = Repository.create(folder / "r.git", folder / "in", GitSettings(sandbox="off"))
    await_keeper(repository.folder)
    bare = World(repository).bare
    bare.git("rev-list", "--objects", "--stdin", stdin="\n".join(known).encode())
    assert repository.check() == ""
    repository.close()
