"""A diff is bounded: in what it shows, in memory, and in which paths it may name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import conftest
from agenthub.errors import Missing
from hub_git import Evil, World, bundle_of, run_program, world_in
from hub_server import Repo, Server, serving, together

MIB = 2**20

PLENTY = 200 * MIB  # that the server's memory stays under

DIFF_PROGRAM = """
import sys
from dataclasses import replace
from pathlib import Path
from agenthub.git.fake import MemoryIndex
from agenthub.git.ingest import receive
from agenthub.git.policy import PushLimits
from agenthub.git.repository import Repository
folder, old, new = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
repository = Repository.create(folder / "repo.git", folder / "incoming")
limits = replace(PushLimits(), blob_bytes=1 << 30, tree_bytes=1 << 30)
receive(folder / "bomb", repository, MemoryIndex(), limits)
sys.stdout.buffer.write(b"".join(repository.diff(old, new)))
repository.close()
"""


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "data") as found:
        yield found


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo")


@pytest.mark.slow
def test_a_diff_of_a_large_file_takes_no_memory(tmp_path: Path) -> None:
    """150 MB of text are named in a diff, not shown; neither we nor git hold them."""
    evil = Evil()
    text = b"all work and no play makes a dull log\n" * 4_000_000
    base = evil.commit(evil.tree(("100644", "log.txt", evil.blob(b"short\n"))))
    bomb = evil.commit(evil.tree(("100644", "log.txt", evil.blob(text))), base)
    (tmp_path / "bomb").write_bytes(evil.bundle(bomb))
    world_in(tmp_path / "usual").refuses(evil.bundle(bomb), 413, "152,000,000 bytes")
    diff, own, children = run_program(DIFF_PROGRAM, str(tmp_path), base, bomb)
    assert "# log.txt: 6 -> 152,000,000 bytes, over 1,048,576; not shown" in diff
    assert len(diff) < 1_000
    assert own < 100
    assert children < 100


def test_a_long_diff_is_cut(hub: World, lab: conftest.Repo) -> None:
    """Text over the cap ends in a line that says so; one file can be asked for."""
    old = lab.git("rev-parse", "HEAD")
    for name in ("a", "b", "c"):
        lab.write(f"{name}.txt", f"{name} 0123456789 0123456789\n" * 20_000)
    new = lab.commit()
    hub.push(bundle_of(lab, "HEAD"))
    text = b"".join(hub.repository.diff(old, new))
    assert 262_144 < len(text) < 262_144 + 300
    assert b"262,144 bytes are shown" in text[-200:]
    part = b"".join(hub.repository.diff(old, new, "prepare.py"))
    assert part == b""
    with pytest.raises(Missing):
        b"".join(hub.repository.diff(old, "1" * 40))


@pytest.mark.slow
def test_many_diffs_at_once_take_no_memory(fresh: Server, repo: Repo) -> None:
    """Neither a huge file nor a huge diff of small ones takes memory; the diff says it is cut."""
    base = repo.commit("x = 1\n")
    (repo.folder / "bomb.txt").write_bytes(b"the same line again\n" * 7_500_000)
    repo.commit("x = 2\n")
    bundle = repo.bundle()
    assert len(bundle) < MIB
    found = fresh.push(bundle)
    assert found.status == 413
    assert found.error
    repo.git("reset", "-q", "--hard", base)
    for number in range(40):
        (repo.folder / f"small{number}.txt").write_bytes(f"line {number}\n".encode() * 90_000)
    many = repo.commit("x = 3\n")
    assert fresh.push(repo.bundle()).status == 201
    for found in together(8, lambda _: fresh.get(f"/api/git/diff/{base}/{many}")):
        assert found.status == 200
        assert len(found.body) < 300_000
        assert b"cut: 262,144 bytes are shown" in found.body
    assert fresh.resident() < PLENTY
    assert fresh.ask("GET", "/api/health").status == 200


def test_a_path_with_a_nul_is_refused(fresh: Server, repo: Repo) -> None:
    """A diff of a path with a NUL is refused in words."""
    old, new = repo.commit("one"), repo.commit("two")
    assert fresh.push(repo.bundle()).status == 201
    for place in ("/api/git/diff", "/api/v2/projects/main/git/diff"):
        answer = fresh.get(f"{place}/{old}/{new}?path=a%00b")
        assert answer.status == 400 and "NUL" in answer.error
