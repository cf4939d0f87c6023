"""The user's own repository: thin bundles out of it, checked bundles into it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from agenthub.client.local import Local
from agenthub.errors import BadInput, GitError
from agenthub.git.bundle import read_header, read_object_count
from conftest import MakeRepo, Repo


class Asked:
    """A hub that has some commits with all their history, and counts what it is asked."""

    def __init__(self, repo: Repo, *tips: str) -> None:
        self.has = set(repo.git("rev-list", *tips).split()) if tips else set()
        self.rounds: list[int] = []

    def __call__(self, hashes: Sequence[str]) -> set[str]:
        self.rounds.append(len(hashes))
        return self.has & set(hashes)


def grown(repo: Repo, count: int, name: str = "f") -> list[str]:
    """Commits in a line, oldest first."""
    return [(repo.write(name, f"{n}\n"), repo.commit(f"c{n}"))[1] for n in range(count)]


def imported(repo: Repo, count: int) -> str:
    """A long line of commits, made at once; the newest."""
    rows = [
        f"commit refs/heads/long\ncommitter A <a@b> {n} +0000\ndata 1\n{n % 10}\n"
        for n in range(1, count + 1)
    ]
    repo.git("fast-import", "--quiet", stdin="".join(rows).encode())
    return repo.git("rev-parse", "long")


def local(repo: Repo) -> Local:
    """A repository of a test as the client sees it."""
    return Local.discover(repo.folder)


def bundled(repo: Repo, tip: str, known: set[str], path: Path) -> tuple[tuple[str, ...], int]:
    """A written bundle's prerequisites, and how many objects it holds."""
    local(repo).write_bundle(tip, known, path)
    with path.open("rb") as stream:
        header = read_header(stream)
        assert header.heads == (tip,)
        return header.prerequisites, read_object_count(stream)


def test_a_bundle_holds_only_what_the_hub_lacks(make_repo: MakeRepo, tmp_path: Path) -> None:
    """One new commit on a known history is three objects, on its parent."""
    repo = make_repo({"f": "0\n"})
    commits = grown(repo, 10)
    hub = Asked(repo, commits[-2])
    known = local(repo).known(commits[-1], hub)
    bounds, count = bundled(repo, commits[-1], known, tmp_path / "bundle")
    assert (bounds, count) == ((commits[-2],), 3)


def test_a_hub_without_the_first_commit_is_asked_once(make_repo: MakeRepo, tmp_path: Path) -> None:
    """Whoever lacks the root lacks all of it: one question, then the whole history."""
    repo = make_repo()
    tip = imported(repo, 3_000)
    hub = Asked(repo)
    assert local(repo).known(tip, hub) == set()
    assert len(hub.rounds) == 1
    bounds, count = bundled(repo, tip, set(), tmp_path / "bundle")
    assert (bounds, count) == ((), 3_001)


def test_a_known_commit_far_below_is_found_in_few_questions(make_repo: MakeRepo) -> None:
    """Each question is bounded, each twice as long as the one before, up to 1,000 hashes."""
    repo = make_repo()
    tip = imported(repo, 3_000)
    hub = Asked(repo, "long~2500")
    known = local(repo).known(tip, hub)
    lacking = repo.git("rev-list", tip, *(f"^{commit}" for commit in known)).split()
    assert len(lacking) == 2_500
    assert max(hub.rounds) <= 1_000
    assert len(hub.rounds) < 10


def test_all_sides_of_a_merge_are_negotiated(make_repo: MakeRepo, tmp_path: Path) -> None:
    """A merge of a known branch and an unknown one sends the unknown side alone."""
    repo = make_repo({"f": "0\n"})
    repo.git("checkout", "-q", "-b", "known")
    known_tip = grown(repo, 3, "g")[-1]
    repo.git("checkout", "-q", "main")
    lacking = grown(repo, 2, "h")
    repo.git("merge", "-q", "--no-ff", "-m", "merge", "known")
    tip = repo.git("rev-parse", "HEAD")
    known = local(repo).known(tip, Asked(repo, known_tip))
    found = set(repo.git("rev-list", tip, *(f"^{commit}" for commit in known)).split())
    assert found == {tip, *lacking}
    bounds, _ = bundled(repo, tip, known, tmp_path / "bundle")
    assert known_tip in bounds


def test_a_tip_that_is_known_is_sent_as_a_head_alone(make_repo: MakeRepo, tmp_path: Path) -> None:
    """The hub hears of it again, which may move it to the frontier, and gets no objects."""
    repo = make_repo({"f": "0\n"})
    tip = grown(repo, 2)[-1]
    known = local(repo).known(tip, Asked(repo, tip))
    assert bundled(repo, tip, known, tmp_path / "bundle") == ((), 0)


def test_what_is_taken_is_there_and_can_be_told(make_repo: MakeRepo, tmp_path: Path) -> None:
    """A thin bundle on top of what is here; then it is held, and a ref may be made."""
    theirs = make_repo({"f": "0\n"}, "theirs")
    theirs.git("clone", "-q", "--no-local", str(theirs.folder), str(tmp_path / "ours"))
    ours = Repo(tmp_path / "ours")
    tip = grown(theirs, 3)[-1]
    here = local(ours)
    assert not here.holds(tip)
    bundled(theirs, tip, set(here.haves()), tmp_path / "bundle")
    here.take(tmp_path / "bundle", tip)
    assert here.holds(tip)
    assert ours.git("show", f"{tip}:f") == "2"
    assert here.create_ref("hub/best", tip) == "refs/heads/hub/best"
    assert here.create_ref("hub/best", tip) == "refs/heads/hub/best"
    with pytest.raises(BadInput, match="is there already"):
        here.create_ref("main", tip)


def test_a_clone_that_lacks_history_is_sent_all_of_it(make_repo: MakeRepo, tmp_path: Path) -> None:
    """A shallow clone tells of no commit, and takes whole history in."""
    theirs = make_repo({"f": "0\n"}, "theirs")
    grown(theirs, 3)
    url = theirs.folder.as_uri()
    theirs.git("clone", "-q", "--depth=1", url, str(tmp_path / "shallow"))
    here = Local.discover(tmp_path / "shallow")
    assert here.haves() == []
    tip = grown(theirs, 2, "g")[-1]
    assert bundled(theirs, tip, set(here.haves()), tmp_path / "bundle")[0] == ()
    here.take(tmp_path / "bundle", tip)
    assert here.holds(tip)
    partial = tmp_path / "partial"
    theirs.git("config", "uploadpack.allowFilter", "true")
    theirs.git("clone", "-q", "--filter=blob:none", "--no-checkout", url, str(partial))
    assert Local.discover(partial).haves() == []


@pytest.mark.parametrize("name", ["-d", "a..b", "x.lock", "refs/heads/", "a b", "a\nb", "@{1}"])
def test_names_that_are_no_refs_are_refused(make_repo: MakeRepo, name: str) -> None:
    """Nothing that git would read as an option, or refuse later, reaches it."""
    repo = make_repo({"f": "0\n"})
    with pytest.raises(BadInput, match="cannot be a ref"):
        local(repo).create_ref(name, repo.git("rev-parse", "HEAD"))


def test_a_bundle_that_is_not_what_was_asked_is_refused(
    make_repo: MakeRepo, tmp_path: Path
) -> None:
    """Another head, or history that is not here: said so, and nothing is taken."""
    theirs, ours = make_repo({"f": "0\n"}, "theirs"), make_repo({"f": "other\n"}, "ours")
    base, tip = grown(theirs, 2)
    path = tmp_path / "bundle"
    bundled(theirs, tip, {base}, path)
    with pytest.raises(BadInput, match="was requested"):
        local(ours).take(path, base)
    with pytest.raises(BadInput, match=f"builds on {base}, which is not here"):
        local(ours).take(path, tip)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises((BadInput, GitError)):
        local(theirs).take(path, tip)
    assert list((ours.folder / ".git/objects/pack").iterdir()) == []


def test_dangerous_objects_are_refused_by_the_client_too(
    make_repo: MakeRepo, tmp_path: Path
) -> None:
    """A tree with `.git` in it, from a hub that did not look, is not taken in."""
    theirs, ours = make_repo({"f": "0\n"}, "theirs"), make_repo({"f": "1\n"}, "ours")
    blob = theirs.git("hash-object", "-w", "--stdin", stdin=b"#!/bin/sh\n")
    tree = theirs.git("mktree", stdin=f"100644 blob {blob}\tHEAD\n".encode())
    raw = b"40000 .git\0" + bytes.fromhex(tree)
    evil = theirs.git("hash-object", "-w", "-t", "tree", "--literally", "--stdin", stdin=raw)
    commit = theirs.git("commit-tree", evil, "-m", "gift")
    bundled(theirs, commit, set(), tmp_path / "bundle")
    with pytest.raises(GitError, match="hasDotgit"):
        local(ours).take(tmp_path / "bundle", commit)
    assert not local(ours).holds(commit)


@pytest.mark.parametrize("revision", ["--all", "-h", "nothing", "HEAD:f", "", "a\nb", "main\0"])
def test_what_is_no_commit_is_told(make_repo: MakeRepo, revision: str) -> None:
    """An option is a name like any other, and names nothing."""
    repo = make_repo({"f": "0\n"})
    with pytest.raises(BadInput, match="no commit"):
        local(repo).resolve(revision)


def test_nothing_of_a_hostile_repository_runs(make_repo: MakeRepo, tmp_path: Path) -> None:
    """Hooks, a monitor, a filter or an external diff in its configuration are left alone."""
    repo = make_repo({"f": "0\n", ".gitattributes": "* diff=evil filter=evil\n"})
    trap = tmp_path / "trap"
    script = tmp_path / "evil"
    script.write_text(f"#!/bin/sh\ntouch {trap}\ncat\n")
    script.chmod(0o755)
    settings = ("core.fsmonitor", "diff.external", "diff.evil.command", "diff.evil.textconv")
    for name in (*settings, "filter.evil.smudge", "filter.evil.clean", "core.pager"):
        repo.git("config", name, str(script))
    hooks = repo.folder / ".git/hooks"
    for name in ("reference-transaction", "post-index-change", "pre-push"):
        (hooks / name).write_text(script.read_text())
        (hooks / name).chmod(0o755)
    tip = repo.git("rev-parse", "HEAD")
    trap.unlink(missing_ok=True)
    here = local(repo)
    here.write_bundle(here.resolve("HEAD"), here.known(tip, Asked(repo)), tmp_path / "bundle")
    here.patch_id(tip)
    here.take(tmp_path / "bundle", tip)
    here.create_ref("new", tip)
    assert not trap.exists()


def test_a_change_is_named_as_git_names_it(make_repo: MakeRepo) -> None:
    """The patch id is git's own stable one; a merge or an empty commit has none or its own."""
    repo = make_repo({"f": "0\n"})
    repo.write("f", "1\n")
    tip = repo.commit("change")
    shown = subprocess.run(
        ["git", "diff-tree", "-p", tip], cwd=repo.folder, capture_output=True, check=True
    ).stdout
    assert local(repo).patch_id(tip) == repo.git("patch-id", "--stable", stdin=shown)[:40]
    assert local(repo).patch_id(repo.commit("nothing")) == ""


def test_places_without_a_usable_repository_are_told(make_repo: MakeRepo, tmp_path: Path) -> None:
    """No repository, one of SHA-256, one without a commit."""
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(GitError, match="git init"):
        Local.discover(empty)
    longer = make_repo(None, "longer", "--object-format=sha256")
    with pytest.raises(GitError, match="SHA-1"):
        local(longer)
    bare = make_repo(None, "none")
    with pytest.raises(BadInput, match="no commit here yet"):
        local(bare).resolve("HEAD")
    assert local(bare).haves() == []
