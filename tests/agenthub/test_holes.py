"""The holes of the original that concern git: each is closed, and stays so."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from agenthub.errors import Missing
from agenthub.git.fake import MemoryIndex
from agenthub.git.ingest import receive
from agenthub.git.policy import PushLimits
from agenthub.git.repository import GitSettings, Repository
from conftest import Repo
from hub_git import TAG, Evil, World, bundle_of, run_program, world_in

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


def history(lab: Repo, count: int) -> list[str]:
    """A number of commits upon the lab's first one; all of them, the oldest first."""
    made = [lab.git("rev-parse", "HEAD")]
    for number in range(count):
        lab.write("train.py", f"x = {number + 2}\n")
        made.append(lab.commit(f"step {number}"))
    return made


def test_hole_01_a_relative_folder_works(
    lab: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A data folder given as a relative path takes pushes, wherever the process then goes."""
    monkeypatch.chdir(tmp_path)
    repository, index = Repository.create(Path("data/repo.git"), Path("data/in")), MemoryIndex()
    monkeypatch.chdir("/")
    (tmp_path / "b").write_bytes(bundle_of(lab, "HEAD"))
    assert receive(tmp_path / "b", repository, index).heads == (lab.git("rev-parse", "HEAD"),)
    repository.close()


def test_hole_02_every_commit_of_a_push_is_indexed(hub: World, lab: Repo) -> None:
    """After c0, then c0..c5 in one bundle, all six are known and only the last is a leaf."""
    hub.push(bundle_of(lab, "HEAD"))
    made = history(lab, 5)
    pushed = hub.push(bundle_of(lab, "HEAD"))
    assert [commit.sha for commit in pushed.new] == made[1:]
    assert list(hub.index.commits) == made
    assert hub.index.leaves() == {made[-1]}


def test_hole_04_all_parents_of_a_merge_count(hub: World, lab: Repo) -> None:
    """A merged commit is no leaf any more."""
    first = lab.git("rev-parse", "HEAD")
    lab.write("a", "a")
    left = lab.commit("left")
    lab.git("checkout", "-q", "-b", "side", first)
    lab.write("b", "b")
    right = lab.commit("right")
    lab.git("merge", "-q", "-m", "both", left)
    merge = lab.git("rev-parse", "HEAD")
    hub.push(bundle_of(lab, "HEAD"))
    assert hub.index.commits[merge].parents == (right, left)
    assert hub.index.leaves() == {merge}


def test_hole_05_a_blob_is_no_commit(hub: World, lab: Repo) -> None:
    """A head that is a file, a folder or an annotated tag is refused."""
    evil = Evil()
    blob = evil.blob()
    tree = evil.tree(("100644", "train.py", blob))
    commit = evil.commit(tree)
    said = f"object {commit}\ntype commit\ntag v1\ntagger Somebody <s@l> 1700000000 +0000\n\nv1\n"
    tag = evil.add(TAG, said.encode())
    for head, kind in ((blob, "blob"), (tree, "tree"), (tag, "tag")):
        hub.refuses(evil.bundle(head), 400, f"is a {kind}")
        hub.refuses(evil.bundle(commit, head), 400, f"is a {kind}")
    hub.refuses(evil.bundle(commit), 400, "no new commit of it needs")  # the tag object
    lab.git("tag", "-a", "-m", "one", "v1")
    hub.refuses(bundle_of(lab, "v1"), 400, "is a tag")


def test_hole_07_many_fetch_one_commit_at_once(hub: World, lab: Repo) -> None:
    """Forty fetches of one commit at the same time are forty equal, whole bundles."""
    made = history(lab, 3)
    hub.push(bundle_of(lab, "HEAD"))
    with ThreadPoolExecutor(8) as pool:
        sent = list(pool.map(lambda _: b"".join(hub.repository.bundle(made[-1])), range(40)))
    assert len(set(sent)) == 1
    (lab.folder.parent / "sent").write_bytes(sent[0])
    clone = lab.folder.parent / "clone"
    lab.git("clone", "-q", str(lab.folder.parent / "sent"), str(clone))
    assert Repo(clone).git("rev-parse", "HEAD") == made[-1]


@pytest.mark.slow
def test_hole_12_maintenance_loses_nothing(tmp_path: Path, lab: Repo) -> None:
    """No ref holds any commit, and all objects are there after repacks, and after git's own gc."""
    repository = Repository.create(tmp_path / "r.git", tmp_path / "in", GitSettings(repack_every=5))
    world = World(repository)
    world.push(bundle_of(lab, "HEAD"))
    base = lab.git("rev-parse", "HEAD")
    for number in range(23):
        lab.git("checkout", "-q", "-B", "side", base)
        lab.write("train.py", f"x = {number}\n" + "# text\n" * number)
        lab.commit(f"side {number}")
        world.push(bundle_of(lab, "side", f"^{base}"))
    repository.close()
    before = set(world.bare.git("cat-file", "--batch-all-objects", "--batch-check").splitlines())
    repository.repack()
    world.bare.git("gc", "--auto", "-q")
    world.bare.git("maintenance", "run", "--auto")
    after = set(world.bare.git("cat-file", "--batch-all-objects", "--batch-check").splitlines())
    assert before == after
    assert len(before) == 3 * 24 + 1
    assert world.bare.git("for-each-ref") == ""
    assert world.repository.check() == ""
    for sha in world.index.commits:
        world.bare.git("rev-list", "--objects", sha)


@pytest.mark.slow
def test_hole_13_packs_stay_few(tmp_path: Path, lab: Repo) -> None:
    """Pushes do not heap up packs: they are joined as they come, while pushes go on."""
    repository = Repository.create(tmp_path / "r.git", tmp_path / "in", GitSettings(repack_every=8))
    world = World(repository)
    made = [lab.git("rev-parse", "HEAD")]
    world.push(bundle_of(lab, "HEAD"))
    for number in range(40):
        lab.write("train.py", f"x = {number + 2}\n")
        made.append(lab.commit())
        world.push(bundle_of(lab, "HEAD", f"^{made[-2]}"))
    repository.close()
    repository.repack()
    assert repository.packs() <= 4
    assert list(world.index.commits) == made
    assert len(world.bare.git("rev-list", made[-1]).split()) == 41


def test_hole_14_known_history_is_not_unpacked_again(
    hub: World, lab: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A push of known heads starts no git at all, whatever its pack holds; thin bundles do."""
    history(lab, 4)
    whole = bundle_of(lab, "HEAD")
    first = hub.push(whole)
    before = hub.files()
    monkeypatch.setenv("PATH", "/nonexistent")
    again = hub.push(whole)
    damaged = hub.push(whole[: whole.index(b"PACK") + 4] + b"anything")
    monkeypatch.undo()
    assert again.heads == damaged.heads == first.heads
    assert again.new == damaged.new == ()
    assert hub.files() == before
    assert list(hub.repository.incoming.iterdir()) == []


def test_hole_14_who_sends_all_history_may_go_on_doing_so(hub: World, lab: Repo) -> None:
    """The original's clients cannot send less: only what the hub lacks counts, however long."""
    hub.limits = replace(PushLimits(), objects=20, commits=6)
    for number in range(40):
        lab.write("train.py", f"steps = {number}\n")
        lab.commit(f"step {number}")
        if number % 5 == 4:
            assert hub.push(bundle_of(lab, "HEAD")).new[-1].subject == f"step {number}"
    whole = bundle_of(lab, "HEAD")
    assert int.from_bytes(whole[whole.index(b"PACK") + 8 :][:4]) > 5 * hub.limits.objects
    for number in range(7):
        lab.write("train.py", f"more = {number}\n")
        lab.commit(f"more {number}")
    hub.refuses(bundle_of(lab, "HEAD"), 413, "21 new objects; at most 20")


@pytest.mark.slow
def test_hole_15_a_diff_bomb_takes_no_memory(tmp_path: Path, lab: Repo) -> None:
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


def test_hole_15_a_long_diff_is_cut(hub: World, lab: Repo) -> None:
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


def test_hole_17_a_refused_push_leaves_nothing(hub: World, lab: Repo) -> None:
    """Bodies over the cap stop being read, and no refused push grows the repository."""
    hub.push(bundle_of(lab, "HEAD"))
    hub.limits = PushLimits(bundle_bytes=1_000)
    lab.write("noise.bin", os.urandom(5_000))
    lab.commit()
    hub.refuses(bundle_of(lab, "HEAD"), 413, "1,000 bytes")
    hub.limits = PushLimits(blob_bytes=1_000)
    hub.refuses(bundle_of(lab, "HEAD"), 413, "a file of 5,000 bytes; at most 1,000")
    hub.limits = PushLimits()
    assert len(hub.push(bundle_of(lab, "HEAD")).new) == 1


def test_hole_17_an_endless_body_is_cut_off(hub: World) -> None:
    """A body that never ends is read up to the cap, not further, and never held in memory."""

    class Endless:
        given = 0

        def read(self, size: int) -> bytes:
            self.given += size
            return b"x" * size

    body = Endless()
    with pytest.raises(Exception, match="5,000,000") as refused:
        receive(body, hub.repository, hub.index)  # type: ignore[arg-type]
    assert getattr(refused.value, "status", 0) == 413
    assert body.given < 5_200_000
    assert list(hub.repository.incoming.iterdir()) == []


def test_hole_18_a_folder_named_git_is_refused(hub: World) -> None:
    """A tree with `.git/hooks/post-checkout` is not stored, in whatever spelling."""
    for name in (".git", ".GIT", "git~1", ".git ", ".g\u200cit"):
        evil = Evil()
        hook = evil.tree(("100755", "post-checkout", evil.blob(b"#!/bin/sh\n")))
        inner = evil.tree(("40000", "hooks", hook))
        hub.refuses(evil.bundle(evil.commit(evil.tree(("40000", name, inner)))), 400)


def test_two_pushes_of_the_same_commits_both_succeed(hub: World, lab: Repo) -> None:
    """Eight at once: all are answered, and each commit is recorded once."""
    made = history(lab, 3)
    bundle = bundle_of(lab, "HEAD")
    gate = threading.Barrier(8)

    def push(_: int) -> tuple[str, ...]:
        gate.wait()
        return hub.push(bundle).heads

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(push, range(8))) == {(made[-1],)}
    assert list(hub.index.commits) == made
    assert hub.repository.check() == ""
