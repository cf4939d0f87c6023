"""The repository of a project: what is sent, shown and kept."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agenthub.errors import Missing, TooLarge, Unavailable
from agenthub.git.ingest import check
from agenthub.git.objects import Quarantine
from agenthub.git.repository import GitSettings, Repository, repack_lock, unpack_error
from agenthub.git.subprocesses import Ended, Leash, run
from conftest import MakeRepo, Repo
from hub_git import Evil, World, bundle_of

MakeChain = Callable[[int], list[str]]


@pytest.fixture
def chain(hub: World, lab: Repo) -> MakeChain:
    """Make commits that change a text in one place each, and push them."""

    def make(count: int) -> list[str]:
        text = "".join(f"line {number} {number * number}\n" for number in range(2_000))
        made = [lab.git("rev-parse", "HEAD")]
        for number in range(count):
            lab.write("deep/in/train.py", text.replace("line 900", f"line 900 {number}"))
            made.append(lab.commit(f"step {number}"))
        hub.push(bundle_of(lab, "HEAD"))
        return made

    return make


def fetched(repo: Repo, bundle: bytes) -> None:
    """Take a bundle in, as `ah fetch` does."""
    path = repo.folder.parent / "fetched.bundle"
    path.write_bytes(bundle)
    repo.git("bundle", "unbundle", str(path))
    repo.git("rev-list", "--objects", bundle.split(b"\n\n")[0].split(b"\n")[-1].split(b" ")[0])


# ---- bundles -----------------------------------------------------------------------------------


def test_a_thin_bundle_holds_what_is_lacking(
    hub: World, chain: MakeChain, make_repo: MakeRepo
) -> None:
    """With what the fetcher has, a bundle is a fraction of the whole, and git takes it."""
    made = chain(6)
    other = make_repo(name="other")
    whole = b"".join(hub.repository.bundle(made[4]))
    fetched(other, whole)
    other.git("update-ref", "refs/heads/have", made[4])
    thin = b"".join(hub.repository.bundle(made[6], [made[2], made[4], "1" * 40, "--all"]))
    assert thin.startswith(b"# v2 git bundle\n-" + made[4].encode())
    assert len(thin) < len(whole) / 5
    fetched(other, thin)
    assert other.git("show", f"{made[6]}:deep/in/train.py").count("\n") == 1_999


def test_a_bundle_of_what_is_had(hub: World, chain: MakeChain, make_repo: MakeRepo) -> None:
    """Asking for what one has gives a bundle that git takes, of nothing."""
    made = chain(2)
    other = make_repo(name="other")
    fetched(other, b"".join(hub.repository.bundle(made[2])))
    other.git("update-ref", "refs/heads/have", made[2])
    for wanted in (made[2], made[1]):
        nothing = b"".join(hub.repository.bundle(wanted, [made[2]]))
        assert len(nothing) < 400
        fetched(other, nothing)


def test_haves_that_are_unrelated(hub: World, chain: MakeChain, make_repo: MakeRepo) -> None:
    """A have of another root makes the bundle no smaller, and asks the fetcher for nothing."""
    made = chain(1)
    evil = Evil()
    other = evil.file("train.py")
    hub.push(evil.bundle(other))
    bundle = b"".join(hub.repository.bundle(made[1], [other]))
    assert b"\n-" not in bundle[: bundle.index(b"PACK")]
    fetched(make_repo(name="other"), bundle)


def test_a_fetch_may_be_left_early(hub: World, chain: MakeChain) -> None:
    """A fetcher who goes away leaves no process, and the next is served."""
    made = chain(3)
    pieces = hub.repository.bundle(made[3])
    next(pieces)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert b"PACK" in b"".join(hub.repository.bundle(made[3]))
    with pytest.raises(Missing):
        next(hub.repository.bundle("1" * 40))


# ---- looking -----------------------------------------------------------------------------------


def test_files_of_a_commit(hub: World, chain: MakeChain) -> None:
    """A file is shown by its whole path; each refusal has its own error."""
    made = chain(1)
    assert hub.repository.show(made[0], "train.py", 100) == b"x = 1\n"
    assert hub.repository.show(made[1], "deep/in/train.py", 1 << 20).count(b"\n") == 2_000
    with pytest.raises(TooLarge, match="at most 100"):
        hub.repository.show(made[1], "deep/in/train.py", 100)
    for path in ("", "/", "deep", "deep/in/", "train.py/x", "../train.py", "Train.py", "no"):
        with pytest.raises(Missing):
            hub.repository.show(made[1], path, 100)
    names = [entry.name for entry in hub.repository.listing(made[1])]
    assert names == [b"deep", b"prepare.py", b"train.py"]
    assert [entry.name for entry in hub.repository.listing(made[1], "deep/in")] == [b"train.py"]
    with pytest.raises(Missing):
        hub.repository.listing(made[1], "train.py")


def test_a_diff_runs_nothing(hub: World, lab: Repo) -> None:
    """A diff is text of two commits, of one path when asked, whatever attributes say."""
    old = lab.git("rev-parse", "HEAD")
    lab.write(".gitattributes", "*.py diff=evil\n")
    lab.write("train.py", "x = 2\n")
    lab.write(":(glob)*", "odd\n")
    new = lab.commit()
    hub.push(bundle_of(lab, "HEAD"))
    text = b"".join(hub.repository.diff(old, new))
    assert b"-x = 1\n+x = 2\n" in text
    assert text.count(b"diff --git") == 3
    assert b"".join(hub.repository.diff(old, new, "train.py")).count(b"diff --git") == 1
    assert b"".join(hub.repository.diff(old, new, ":(glob)*")).count(b"diff --git") == 1
    assert b"".join(hub.repository.diff(old, old)) == b""


def test_what_git_says_of_its_trouble_is_for_the_log(
    hub: World, chain: MakeChain, caplog: pytest.LogCaptureFixture
) -> None:
    """It may name the hub's folders, which are nobody else's affair."""
    sha = chain(1)[-1]
    assert hub.repository.info([sha])  # the reader keeps the pack, whatever becomes of its name
    for path in (hub.repository.folder / "objects" / "pack").iterdir():
        path.unlink()
    with pytest.raises(Unavailable, match="the hub's log says more") as caught:
        list(hub.repository.bundle(sha))
    assert "fatal" in caplog.text
    assert "fatal" not in str(caught.value)


def test_the_error_of_a_refused_pack_names_no_folder() -> None:
    """The error has git's reason, but not the folder of the pack."""
    lines = ("fatal: unable to open '/srv/hub/a/pack': Permission denied", "error: at /x/y: 1/2")
    messages = [unpack_error(Ended(128, b"", line), 1).message for line in lines]
    assert "git refuses the pack: fatal: unable to open '(a path here)': Permission" in messages[0]
    assert "git refuses the pack: error: at (a path here): 1/2." in messages[1]
    kept = "error: object 1: disallowed submodule url: https://example.org/x ../y -u./z"
    assert kept in unpack_error(Ended(128, b"", kept), 1).message


def test_patch_ids(hub: World, lab: Repo) -> None:
    """The same change upon another parent has the same patch id, another change another one."""
    base = lab.git("rev-parse", "HEAD")
    lab.write("train.py", "x = 2\n")
    first = lab.commit("one")
    lab.git("checkout", "-q", "-b", "side", base)
    lab.write("other.py", "y = 1\n")
    lab.commit("beside")
    lab.write("train.py", "x = 2\n")
    second = lab.commit("two")
    lab.git("commit", "-q", "--allow-empty", "-m", "empty")
    empty = lab.git("rev-parse", "HEAD")
    hub.push(bundle_of(lab, "main", "side"))
    ids = {sha: commit.patch_id for sha, commit in hub.index.commits.items()}
    assert ids[first] == ids[second] != ""
    assert ids[empty] == ""
    assert len(set(ids.values())) == 4
    shown = lab.git("diff-tree", "-p", first).encode()
    assert lab.git("patch-id", "--stable", stdin=shown).split()[0] == ids[first]


# ---- keeping -----------------------------------------------------------------------------------


def test_repacks_beside_readers_and_pushes(tmp_path: Path, lab: Repo) -> None:
    """While packs are joined again and again, reads, fetches and pushes never fail."""
    repository = Repository.create(tmp_path / "r.git", tmp_path / "in", GitSettings(repack_every=3))
    world = World(repository)
    world.push(bundle_of(lab, "HEAD"))
    base, bundles = lab.git("rev-parse", "HEAD"), []
    for number in range(24):
        lab.git("checkout", "-q", "-B", "side", base)
        lab.write("train.py", f"x = {number}\n")
        lab.commit()
        bundles.append(bundle_of(lab, "side", f"^{base}"))
    done, reads = threading.Event(), [0, 0]

    def look(number: int) -> None:
        while not done.is_set():
            for sha in list(world.index.commits):
                assert repository.show(sha, "prepare.py", 100) == b"fixed = True\n"
                assert b"PACK" in b"".join(repository.bundle(sha))
                reads[number] += 1

    with ThreadPoolExecutor(4) as pool:
        looking = [pool.submit(look, number) for number in range(2)]
        pushing = [pool.submit(world.push, bundle) for bundle in bundles]
        try:
            assert all(push.result().new for push in pushing)
            for _ in range(5):
                repository.repack()
        finally:
            done.set()
        assert [look.result() for look in looking] == [None, None]
    assert all(reads)
    assert len(world.index.commits) == 25
    assert repository.check() == ""
    repository.close()


def test_the_reader_comes_back(hub: World, chain: MakeChain) -> None:
    """When the process that reads is killed, the next question is answered by another one."""
    made = chain(1)
    assert hub.repository.show(made[0], "train.py", 100) == b"x = 1\n"
    process = hub.repository._reader._process
    assert process is not None
    process.kill()
    process.wait()
    assert hub.repository.show(made[0], "train.py", 100) == b"x = 1\n"
    assert hub.repository.info(["1" * 40, made[0]])[0] is None


def test_sweeping(hub: World, chain: MakeChain) -> None:
    """What a killed process left goes; what is in use stays."""
    made = chain(1)
    packs = hub.repository.folder / "objects" / "pack"
    before = hub.files()
    for name in (
        ".tmp-1-pack-aa.pack",
        "tmp_pack_x",
        f"pack-{'1' * 40}.pack",
        f"pack-{'2' * 40}.idx",
    ):
        (packs / name).write_bytes(b"half")
    (hub.repository.incoming / "left" / "objects").mkdir(parents=True)
    hub.repository.sweep()
    assert hub.files() == before
    assert list(hub.repository.incoming.iterdir()) == []
    assert hub.repository.show(made[0], "train.py", 100) == b"x = 1\n"


def test_nobody_else_may_look(hub: World, chain: MakeChain) -> None:
    """Folders are the owner's alone, and objects come from nowhere else."""
    chain(1)
    for folder in (hub.repository.folder, hub.repository.incoming):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for pack in (hub.repository.folder / "objects" / "pack").iterdir():
        assert stat.S_IMODE(pack.stat().st_mode) & 0o077 == 0
    alternates = hub.repository.folder / "objects" / "info" / "alternates"
    alternates.write_text("/somewhere/else\n")
    Repository.create(hub.repository.folder, hub.repository.incoming).close()
    assert not alternates.exists()


def test_a_sandbox_that_must_be_there(
    tmp_path: Path, lab: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With sandbox = "on" and no bubblewrap nothing is unpacked, and the hub says why."""
    from agenthub.git import subprocesses

    git = subprocesses.shutil.which("git")
    assert git is not None
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").symlink_to(git)
    subprocesses.sandbox_works.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    repository = Repository.create(tmp_path / "r.git", tmp_path / "in", GitSettings(sandbox="on"))
    monkeypatch.undo()
    bundle = bundle_of(lab, "HEAD")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    World(repository).refuses(bundle, 503, "bubblewrap")
    monkeypatch.undo()
    subprocesses.sandbox_works.cache_clear()
    repository.close()


def test_a_quarantine_of_receive_pack(hub: World, lab: Repo, tmp_path: Path) -> None:
    """The same judgement serves git's own quarantine, where a pre-receive hook finds it."""
    (lab.folder / "link").symlink_to("/etc/passwd")
    good, bad = lab.git("rev-parse", "HEAD"), lab.commit("a link")
    for head, fine in ((good, True), (bad, False)):
        with hub.repository.quarantine() as folder:
            pack = lab.git("pack-objects", "--revs", str(folder / "p"), stdin=f"{head}\n".encode())
            for end in ("pack", "idx"):
                (folder / f"p-{pack}.{end}").rename(
                    folder / "objects" / "pack" / f"pack-{pack}.{end}"
                )
            held = Quarantine(folder / "objects")
            if fine:
                assert [c.sha for c in check(held, [head], hub.repository, hub.index)] == [good]
            else:
                with pytest.raises(Exception, match="symbolic link"):
                    check(held, [head], hub.repository, hub.index)
    assert hub.index.commits == {}


# ---- child programs ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "leash", "stopped"),
    [
        ("sleep 60", Leash(seconds=0.3), "time"),
        ("sleep 60 & exec 1>&- 2>&-; wait", Leash(seconds=0.3), "time"),
        ("yes", Leash(output=100_000), "output"),
        ("while :; do :; done", Leash(cpu=1), ""),
        ("head -c 900000000 /dev/zero | tail", Leash(memory=64 << 20), ""),
        ("head -c 1000000 /dev/zero > $F", Leash(file=4096), ""),
    ],
)
def test_children_are_bounded(script: str, leash: Leash, stopped: str, tmp_path: Path) -> None:
    """A child that takes too much of anything is ended, and the reason is reported."""
    env = {"PATH": os.environ["PATH"], "F": str(tmp_path / "f"), "LC_ALL": "C"}
    ended = run(["/bin/sh", "-c", script], env, leash)
    assert ended.stopped == stopped
    assert ended.code != 0
    assert ended.starved or "exhausted" in ended.errors
    assert len(ended.out) <= 100_000


def test_a_disk_that_refuses(hub: World, lab: Repo) -> None:
    """When packs cannot be moved in, the push fails as a whole and may be tried again."""
    bundle = bundle_of(lab, "HEAD")
    packs = hub.repository.folder / "objects" / "pack"
    packs.rmdir()
    packs.write_text("in the way")
    with pytest.raises(Unavailable):
        hub.push(bundle)
    assert hub.index.commits == {}
    packs.unlink()
    packs.mkdir()
    assert len(hub.push(bundle).new) == 1


def test_one_repack_at_a_time(hub: World, chain: MakeChain) -> None:
    """While another process rewrites packs, we neither do nor sweep what it is writing."""
    chain(2)
    half = hub.repository.folder / "objects" / "pack" / ".tmp-1-pack-aa.pack"
    half.write_bytes(b"half")
    before = hub.files()
    with repack_lock(hub.repository.folder) as lock:
        assert lock is not None
        with repack_lock(hub.repository.folder) as second:
            assert second is None
        hub.repository.repack()
        hub.repository.sweep()
        assert hub.files() == before
    hub.repository.sweep()
    assert not half.exists()


def test_a_quarantine_of_loose_objects(hub: World, lab: Repo) -> None:
    """Objects that git did not pack are judged as well."""
    head = lab.git("rev-parse", "HEAD")
    held = Quarantine(lab.folder / ".git" / "objects")
    assert len(held.names()) == 4
    assert [commit.sha for commit in check(held, [head], hub.repository, hub.index)] == [head]


@pytest.mark.slow
def test_maintenance_loses_nothing(tmp_path: Path, lab: Repo) -> None:
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
def test_packs_stay_few(tmp_path: Path, lab: Repo) -> None:
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
