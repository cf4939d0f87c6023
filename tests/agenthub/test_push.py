"""What a push brings: which commits are recorded, by whom, and what is refused as a whole."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import conftest
from agenthub.git.fake import MemoryIndex
from agenthub.git.ingest import receive
from agenthub.git.repository import Repository
from hub_git import TAG, Evil, World, bundle_of
from hub_server import Repo, Server, serving, together


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "data") as found:
        yield found


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo")


def hashes(server: Server, path: str) -> list[str]:
    """The commits that a route lists."""
    found = server.get(f"/api/git/{path}")
    assert found.status == 200, found
    return [each["hash"] for each in found.json]


def history(lab: conftest.Repo, count: int) -> list[str]:
    """A number of commits upon the lab's first one; all of them, the oldest first."""
    made = [lab.git("rev-parse", "HEAD")]
    for number in range(count):
        lab.write("train.py", f"x = {number + 2}\n")
        made.append(lab.commit(f"step {number}"))
    return made


def test_a_relative_folder_takes_pushes_wherever_the_process_goes(
    lab: conftest.Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A data folder given as a relative path takes pushes, wherever the process then goes."""
    monkeypatch.chdir(tmp_path)
    repository, index = Repository.create(Path("data/repo.git"), Path("data/in")), MemoryIndex()
    monkeypatch.chdir("/")
    (tmp_path / "b").write_bytes(bundle_of(lab, "HEAD"))
    assert receive(tmp_path / "b", repository, index).heads == (lab.git("rev-parse", "HEAD"),)
    repository.close()


def test_a_relative_data_folder_takes_pushes(tmp_path: Path, repo: Repo) -> None:
    """`--data ./data` works as an absolute path does."""
    (tmp_path / "here").mkdir()
    with serving(Path("data"), cwd=tmp_path / "here") as server:
        sha = repo.commit("x = 1\n")
        assert server.push(repo.bundle()).json == {"hashes": [sha]}
        assert server.get(f"/api/git/fetch/{sha}").status == 200
    assert (tmp_path / "here" / "data" / "hub.db").exists()


def test_all_commits_of_a_push_are_known(fresh: Server, repo: Repo) -> None:
    """c1, then c1..c5 in one bundle: five commits, one leaf, a lineage of five."""
    shas = [repo.commit("x = 1\n")]
    fresh.push(repo.bundle())
    shas += [repo.commit(f"x = {number}\n") for number in range(2, 6)]
    assert fresh.push(repo.bundle()).json == {"hashes": [shas[-1]]}
    assert hashes(fresh, "commits") == shas[::-1]
    assert hashes(fresh, "leaves") == [shas[-1]]
    assert hashes(fresh, f"commits/{shas[-1]}/lineage") == shas[::-1]


def test_a_commit_without_its_parent_is_refused_every_time(fresh: Server, repo: Repo) -> None:
    """An unknown parent is never made up, whichever connection is used."""
    base = repo.commit("x = 1\n")
    repo.commit("x = 2\n")
    bundle = repo.bundle("HEAD", f"^{base}")
    for found in together(4, lambda _: fresh.push(bundle)):
        assert found.status == 400
        assert base in found.error
    assert hashes(fresh, "commits") == []


def test_a_merged_commit_is_no_leaf(fresh: Server, repo: Repo) -> None:
    """All parents count, not the first alone."""
    base = repo.commit("x = 1\n")
    one = repo.commit("x = 2\n")
    repo.git("checkout", "-q", base)
    other = repo.commit("y = 1\n", name="other.py")
    repo.git("merge", "-q", "-m", "both", one)
    merge = repo.git("rev-parse", "HEAD")
    fresh.push(repo.bundle("HEAD", "main"))
    assert hashes(fresh, "leaves") == [merge]
    assert hashes(fresh, f"commits/{one}/children") == [merge]
    assert hashes(fresh, f"commits/{other}/children") == [merge]
    assert fresh.get(f"/api/git/commits/{merge}").json["parent_hash"] == other


def test_only_commits_are_heads(hub: World, lab: conftest.Repo) -> None:
    """A head that is a file, a folder or an annotated tag is refused."""
    evil = Evil()
    blob = evil.blob()
    tree = evil.tree(("100644", "train.py", blob))
    commit = evil.commit(tree)
    text = f"object {commit}\ntype commit\ntag v1\ntagger Somebody <s@l> 1700000000 +0000\n\nv1\n"
    tag = evil.add(TAG, text.encode())
    for head, kind in ((blob, "blob"), (tree, "tree"), (tag, "tag")):
        hub.refuses(evil.bundle(head), 400, f"is a {kind}")
        hub.refuses(evil.bundle(commit, head), 400, f"is a {kind}")
    hub.refuses(evil.bundle(commit), 400, "no new commit of it needs")  # the tag object
    lab.git("tag", "-a", "-m", "one", "v1")
    hub.refuses(bundle_of(lab, "v1"), 400, "is a tag")


def test_known_history_is_not_unpacked(
    hub: World, lab: conftest.Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A push of known heads starts no git at all, whatever its pack holds."""
    history(lab, 4)
    whole = bundle_of(lab, "HEAD")
    first = hub.push(whole)
    before = hub.files()
    monkeypatch.setenv("PATH", "/nonexistent")
    second = hub.push(whole)
    damaged = hub.push(whole[: whole.index(b"PACK") + 4] + b"anything")
    monkeypatch.undo()
    assert second.heads == damaged.heads == first.heads
    assert second.new == damaged.new == ()
    assert hub.files() == before
    assert list(hub.repository.incoming.iterdir()) == []


def test_a_tree_with_a_git_folder_is_refused(hub: World) -> None:
    """A tree with `.git/hooks/post-checkout` is not stored, in whatever spelling."""
    for name in (".git", ".GIT", "git~1", ".git ", ".g\u200cit"):
        evil = Evil()
        hook = evil.tree(("100755", "post-checkout", evil.blob(b"#!/bin/sh\n")))
        inner = evil.tree(("40000", "hooks", hook))
        hub.refuses(evil.bundle(evil.commit(evil.tree(("40000", name, inner)))), 400)


def test_two_pushes_of_the_same_commits_both_succeed(hub: World, lab: conftest.Repo) -> None:
    """Eight at once: all are answered, and each commit is recorded once."""
    made = history(lab, 3)
    bundle = bundle_of(lab, "HEAD")
    barrier = threading.Barrier(8)

    def push(_: int) -> tuple[str, ...]:
        barrier.wait()
        return hub.push(bundle).heads

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(push, range(8))) == {(made[-1],)}
    assert list(hub.index.commits) == made
    assert hub.repository.check() == ""


def test_a_commit_is_its_first_pushers(fresh: Server, repo: Repo) -> None:
    """A commit is whose key pushed it, whatever its author says, and stays so."""
    mine = repo.commit("x = 1\n")
    assert fresh.push(repo.bundle(), "ada").status == 201
    repo.git("config", "user.name", "ada")
    theirs = repo.commit("x = 2\n", message="by ada, says git")
    assert fresh.push(repo.bundle(), "mallory").status == 201
    assert fresh.get(f"/api/git/commits/{mine}").json["agent_id"] == "ada"
    assert fresh.get(f"/api/git/commits/{theirs}").json["agent_id"] == "mallory"
    assert hashes(fresh, "commits?agent=ada") == [mine]
