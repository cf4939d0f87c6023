"""Backups of a hub that is used meanwhile, restoring, checking, and moving a project."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agenthub.errors import BadInput, Conflict, Forbidden, HubError, Missing, Unavailable
from agenthub.git.packets import FLUSH, NOTHING, packet
from agenthub.git.repository import repack_lock
from agenthub.ops.backup import backup, backup_into, check, export, import_, restore
from agenthub.records.agents import Caller
from agenthub.records.commits import Commits
from agenthub.records.copies import copy_packs, unchanging
from agenthub.records.hub import Hub, open_hub
from agenthub.records.projects import Rules
from agenthub.server.git_refs import take
from conftest import MakeRepo, Repo
from hub_world import hub_in, join, lively, push


@pytest.fixture
def lab(make_repo: MakeRepo) -> Repo:
    """An agent's repository with one commit."""
    return make_repo({"train.py": "x = 1\n", "prepare.py": "fixed = True\n"}, "lab")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub that is open."""
    with hub_in(tmp_path / "data") as hub:
        yield hub


def problems(data: Path) -> str:
    """What `check` says, in one text."""
    return "\n".join(map(str, check(data)))


def pack_of(data: Path) -> Path:
    """The largest pack of the main project."""
    packs = (data / "projects" / "main" / "repo.git" / "objects" / "pack").glob("*.pack")
    return max(packs, key=lambda path: path.stat().st_size)


def tables(data: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables that are kept."""
    with sqlite3.connect(data / "hub.db") as found:
        names = found.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {name: found.execute(f"SELECT * FROM {name}").fetchall() for (name,) in names}


# ---- a push and what follows from it -----------------------------------------------------------


def by_git(hub: Hub, caller: Caller, lab: Repo, sha: str) -> None:
    """Push as git does it."""
    path = lab.folder.parent / "sent"
    lab.git("bundle", "create", "-q", str(path), "HEAD")
    raw = path.read_bytes()
    line = packet(f"{NOTHING} {sha} refs/agents/{caller.agent}/x\0report-status")
    path.write_bytes(line + FLUSH + raw[raw.index(b"PACK") :])
    take(hub, caller, "main", path)


@pytest.mark.parametrize("way", ["bundle", "git"])
def test_a_result_finds_its_commit_or_there_is_no_commit(hub: Hub, lab: Repo, way: str) -> None:
    """One who dies right after the commits are recorded leaves no result without its own."""
    caller, _ = join(hub, "ada")
    sha = lab.git("rev-parse", "HEAD")
    hub.space().board.create("results", "numbers", "ada")
    line = f"commit:{sha[:7]} platform:H100 val_bpb:0.9 vram_gb:4.0 | early"
    _, result = hub.post(caller, "results", line)
    assert result is not None and result.commit is None

    def die() -> None:
        if hub.space().commits.find(sha) is not None:
            raise KeyboardInterrupt

    spared = hub.database.on_commit(die)  # called as soon as a transaction has ended
    with pytest.raises(KeyboardInterrupt):
        push(hub, caller, lab, "HEAD") if way == "bundle" else by_git(hub, caller, lab, sha)
    spared()
    assert hub.space().results.get(result.seq).commit == sha
    assert check(hub.data) == ()


def test_what_an_earlier_version_left_is_reported_and_mended(lab: Repo, tmp_path: Path) -> None:
    """A result that names a commit which is there gets it when the hub is opened."""
    with hub_in(tmp_path / "data") as hub:
        made = lively(hub, lab)
        query = "UPDATE results SET \"commit\" = NULL, waiting = 0 WHERE status = 'discard'"
        with hub.database.write() as connection:
            connection.execute(query)
        assert f"main: result 3 names {made['tried']}, which is here" in problems(hub.data)
    with hub_in(tmp_path / "data") as hub:
        assert hub.space().results.get(3).commit == made["tried"]
        assert hub.space().results.get(2).commit is None, "it was never pushed"
        assert check(hub.data) == ()


# ---- backup and restore ------------------------------------------------------------------------


def test_a_backup_of_a_served_hub_is_whole_and_serves(hub: Hub, lab: Repo, tmp_path: Path) -> None:
    """Every row and object is in it; the same keys open it."""
    made = lively(hub, lab)
    _, key = join(hub, "eve")
    backup(hub.data, tmp_path / "kept")
    assert check(tmp_path / "kept") == () == check(hub.data)
    assert tables(tmp_path / "kept") == tables(hub.data)
    restore(tmp_path / "kept", tmp_path / "again")
    with hub_in(tmp_path / "again") as again:
        assert again.accounts.authenticate(key).agent == "eve"
        space = again.space()
        assert space.commits.get(made["merge"][:7]).parents == (made["right"], made["left"])
        assert b"".join(space.repository.bundle(made["tried"])).startswith(b"# v2 git bundle")
        caller = again.accounts.authenticate(key)
        lab.write("train.py", "x = 3\n")
        sha = lab.commit("on the restored one")
        push(again, caller, lab, "HEAD")
        assert again.space().commits.find(sha) is not None


def test_nobody_else_may_read_a_backup(hub: Hub, lab: Repo, tmp_path: Path) -> None:
    """Folders are 0700 and secrets 0600, whatever the umask."""
    lively(hub, lab)
    before = os.umask(0)
    try:
        backup(hub.data, tmp_path / "kept")
        restore(tmp_path / "kept", tmp_path / "again")
    finally:
        os.umask(before)
    for root in (tmp_path / "kept", tmp_path / "again"):
        inside = root / "projects" / "main" / "repo.git"
        folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
        closed = [path for path in folders if path.stat().st_mode & 0o777 == 0o700]
        assert {root, root / "projects", root / "incoming", inside} <= set(closed)
        for name in ("hub.db", "pepper"):
            assert (root / name).stat().st_mode & 0o777 == 0o600


def test_packs_are_linked_and_a_restored_hub_shares_none(
    hub: Hub, lab: Repo, tmp_path: Path
) -> None:
    """A backup on the hub's disk costs no room; a restored hub has its own files."""
    lively(hub, lab)
    backup(hub.data, tmp_path / "kept")
    restore(tmp_path / "kept", tmp_path / "again")
    assert pack_of(tmp_path / "kept").samefile(pack_of(hub.data))
    assert not pack_of(tmp_path / "again").samefile(pack_of(hub.data))


def test_packs_of_an_earlier_backup_are_used(
    hub: Hub, lab: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another disk, where the hub's own packs cannot be linked, the last backup's can."""
    lively(hub, lab)
    first = backup(hub.data, tmp_path / "first")
    link = Path.hardlink_to

    def other_disk(self: Path, target: Path) -> None:
        if target.is_relative_to(hub.data):
            raise OSError(18, "Invalid cross-device link")
        link(self, target)

    monkeypatch.setattr(Path, "hardlink_to", other_disk)
    alone = backup(hub.data, tmp_path / "alone")
    second = backup(hub.data, tmp_path / "second", first)
    assert pack_of(second).samefile(pack_of(first))
    assert not pack_of(alone).samefile(pack_of(first))
    assert check(alone) == check(second) == ()


@pytest.mark.slow
def test_backups_while_pushing_and_repacking_are_whole(hub: Hub, lab: Repo, tmp_path: Path) -> None:
    """Pushes and repacks go on without a pause; every backup has all that its rows name."""
    ada, _ = join(hub, "ada")
    push(hub, ada, lab, "HEAD")
    begun, stop, failed, pushed = threading.Event(), threading.Event(), [], []

    def work() -> None:
        try:
            while not stop.is_set():
                lab.write("train.py", f"x = {len(pushed)}\n")
                pushed.append(lab.commit(f"step {len(pushed)}"))
                push(hub, ada, lab, "HEAD~1..HEAD")
                begun.set()
                if len(pushed) % 5 == 0:
                    hub.space().repository.repack()
        except BaseException as error:
            failed.append(error)
            begun.set()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        assert begun.wait(60)
        sizes = []
        for number in range(8):
            seen, ends = len(pushed), time.monotonic() + 60
            while len(pushed) == seen and time.monotonic() < ends and not failed:
                time.sleep(0.001)  # until the next push is under way
            kept = backup(hub.data, tmp_path / f"kept{number}")
            with sqlite3.connect(kept / "hub.db") as rows:
                sizes.append(rows.execute("SELECT count(*) FROM commits").fetchone()[0])
    finally:
        stop.set()
        worker.join(60)
    assert not failed
    assert sizes == sorted(sizes) and sizes[-1] > sizes[0]
    for number in range(8):
        assert problems(tmp_path / f"kept{number}") == ""


def test_packs_first_and_rows_later_would_lose(hub: Hub, lab: Repo, tmp_path: Path) -> None:
    """The other order is wrong, and `check` sees it: what the test above proves can fail."""
    ada, _ = join(hub, "ada")
    push(hub, ada, lab, "HEAD")
    early = backup(hub.data, tmp_path / "early")
    lab.write("train.py", "x = 2\n")
    sha = lab.commit("later")
    push(hub, ada, lab, "HEAD~1..HEAD")
    late = backup(hub.data, tmp_path / "late")
    (early / "hub.db").unlink()
    shutil.copy(late / "hub.db", early / "hub.db")
    assert f"commit {sha} is not in the repository" in problems(early)


def test_a_backup_waits_for_a_repack(hub: Hub, lab: Repo, tmp_path: Path) -> None:
    """While packs are rewritten none is copied, and while they are copied none is rewritten."""
    lively(hub, lab)
    folder = hub.space().repository.folder
    done = threading.Event()
    with repack_lock(folder) as lock:
        assert lock is not None
        other = threading.Thread(target=lambda: (backup(hub.data, tmp_path / "kept"), done.set()))
        other.start()
        with pytest.raises(Unavailable, match="repacked for"), unchanging(folder, 0.0):
            pass
        assert not done.is_set() and not (tmp_path / "kept").exists()
    other.join(60)
    assert done.is_set() and check(tmp_path / "kept") == ()
    with unchanging(folder), repack_lock(folder) as lock:
        assert lock is None


def test_a_backup_that_fails_leaves_nothing(
    hub: Hub, lab: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No half of one can be taken for a backup."""
    lively(hub, lab)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("agenthub.ops.backup.copy_packs", full)
    with pytest.raises(Unavailable, match="No space left"):
        backup(hub.data, tmp_path / "kept")
    assert not [path for path in tmp_path.iterdir() if "kept" in path.name]
    (tmp_path / ".kept.partial" / "old").mkdir(parents=True)  # of one that was killed
    monkeypatch.setattr("agenthub.ops.backup.copy_packs", copy_packs)
    backup(hub.data, tmp_path / "kept")
    assert check(tmp_path / "kept") == ()


def test_what_is_there_is_not_written_over(hub: Hub, lab: Repo, tmp_path: Path) -> None:
    """Neither by a backup nor by a restore nor by an export; an empty folder is taken."""
    lively(hub, lab)
    kept = backup(hub.data, tmp_path / "kept")
    with pytest.raises(Conflict, match="not an empty folder"):
        backup(hub.data, kept)
    with pytest.raises(Conflict, match="not an empty folder"):
        restore(kept, hub.data)
    with pytest.raises(Conflict, match="not an empty folder"):
        export(hub.data, "main", kept)
    (tmp_path / "empty").mkdir()
    restore(kept, tmp_path / "empty")
    assert check(tmp_path / "empty") == ()
    with pytest.raises(BadInput, match=r"has no hub\.db"):
        backup(tmp_path / "nowhere", tmp_path / "kept2")


def test_old_backups_go_when_the_new_one_is_whole(hub: Hub, lab: Repo, tmp_path: Path) -> None:
    """The newest stay, and whatever is not a backup."""
    lively(hub, lab)
    folder = tmp_path / "backups"
    for name in ("20250101T000000Z", "20250102T000000Z", "20250103T000000Z", "notes"):
        (folder / name).mkdir(parents=True)
    made = backup_into(hub.data, folder, keep=2)
    assert check(made) == ()
    assert sorted(path.name for path in folder.iterdir()) == [
        "20250103T000000Z",
        made.name,
        "notes",
    ]
    with pytest.raises(BadInput, match="At least one"):
        backup_into(hub.data, folder, keep=0)


# ---- check -------------------------------------------------------------------------------------


DAMAGE = {
    "UPDATE commits SET n_children = 5 WHERE seq = 1": "children of",
    "UPDATE projects SET leaves = 7 WHERE id = 1": "leaves is 7",
    "UPDATE projects SET commits = 1 WHERE id = 1": "commits is 1",
    "UPDATE projects SET attempts = 9 WHERE id = 1": "attempts is 9",
    "UPDATE stored SET bytes = bytes + 1 WHERE subject = 'agent:ada'": "stored bytes",
    "UPDATE commits SET tree = parents WHERE seq = 2": "has another tree",
    "DELETE FROM edges WHERE idx = 1": "are not its parents",
    "UPDATE posts SET content = 'other words entirely' WHERE id = 1": "search: ",
    "DROP TRIGGER audit_stays; UPDATE audit SET actor = 'eve' WHERE seq = 2": "row 2 of the audit",
    "PRAGMA foreign_keys = OFF; DELETE FROM agents WHERE id = 'cyd'": "names no agents",
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGE)
def test_check_finds_what_is_wrong_in_the_rows(
    hub: Hub, lab: Repo, tmp_path: Path, damage: str
) -> None:
    """Each counter, edge, chain and index is made again and compared."""
    lively(hub, lab)
    kept = backup(hub.data, tmp_path / "kept")
    with sqlite3.connect(kept / "hub.db") as database:
        database.executescript(damage)
    assert DAMAGE[damage] in problems(kept)
    with pytest.raises(BadInput, match="is not whole"):
        restore(kept, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_check_finds_what_is_wrong_in_the_files(hub: Hub, lab: Repo, tmp_path: Path) -> None:
    """A pack that is gone, one that is damaged, a lost pepper, open doors, a torn database."""
    lively(hub, lab)
    for name in ("gone", "bent", "open", "torn", "lost", "alien"):
        backup(hub.data, tmp_path / name)
        assert check(tmp_path / name) == ()
    for path in pack_of(tmp_path / "gone").parent.glob(f"{pack_of(tmp_path / 'gone').stem}.*"):
        path.unlink()
    assert "is not in the repository" in problems(tmp_path / "gone")
    bent = pack_of(tmp_path / "bent")
    raw = bytearray(bent.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    bent.unlink()  # it is a link to the hub's own
    bent.write_bytes(raw)
    assert "main: " in problems(tmp_path / "bent")
    (tmp_path / "open" / "pepper").chmod(0o644)
    assert "others may read" in problems(tmp_path / "open")
    with (tmp_path / "torn" / "hub.db").open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 16384)
    assert "database: " in problems(tmp_path / "torn")
    (tmp_path / "lost" / "pepper").unlink()
    shutil.rmtree(tmp_path / "lost" / "projects" / "main")
    assert "pepper is missing" in problems(tmp_path / "lost")
    assert "repo.git is missing" in problems(tmp_path / "lost")
    shutil.copytree(tmp_path / "alien/projects/main", tmp_path / "alien/projects/other")
    assert "belongs to no project" in problems(tmp_path / "alien")
    assert check(hub.data) == ()


def test_check_finds_a_missing_file_below_commits(hub: Hub, tmp_path: Path, lab: Repo) -> None:
    """Commits and trees alone are not enough; git's own fsck passes over what no ref reaches."""
    lively(hub, lab)
    kept = backup(hub.data, tmp_path / "kept")
    folder = kept / "projects" / "main" / "repo.git"
    bare = Repo(folder)
    loose = tmp_path / "packs"
    (folder / "objects" / "pack").rename(loose)
    (folder / "objects" / "pack").mkdir()
    for pack in loose.glob("*.pack"):
        bare.git("unpack-objects", "-q", stdin=pack.read_bytes())
    assert check(kept) == ()
    blob = hashlib.sha1(b"blob 6\0x = 1\n").hexdigest()
    (folder / "objects" / blob[:2] / blob[2:]).unlink()
    assert "not all objects are there" in problems(kept)


def test_check_may_run_while_pushes_go_on(hub: Hub, lab: Repo) -> None:
    """What it looks at is one moment: nothing is found that is not there."""
    ada, _ = join(hub, "ada")
    push(hub, ada, lab, "HEAD")
    stop, begun = threading.Event(), threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            lab.write("train.py", f"x = {number}\n")
            lab.commit(f"step {number}")
            push(hub, ada, lab, "HEAD~1..HEAD")
            begun.set()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        assert begun.wait(60)
        assert [problems(hub.data) for _ in range(5)] == [""] * 5
    finally:
        stop.set()
        worker.join(60)


# ---- moving a project --------------------------------------------------------------------------


def graph(hub: Hub, slug: str) -> list[tuple[object, ...]]:
    """All commits of a project in their order, without who pushed them."""
    found = hub.space(slug).commits.page(200)
    return [(c.sha, c.tree, c.parents, c.role, c.n_children, c.subject, c.patch_id) for c in found]


def test_a_project_moves_to_another_hub(hub: Hub, lab: Repo, tmp_path: Path) -> None:
    """The same graph, posts, results and verdict; the people are that hub's, and have no key."""
    made = lively(hub, lab)
    written = export(hub.data, "main", tmp_path / "moved")
    assert written.rows == {
        "commits": 5, "channels": 1, "posts": 4, "results": 3, "verifications": 1,
    }  # fmt: skip
    with hub_in(tmp_path / "other") as other:
        join(other, "ada")  # somebody else of that name
        done = import_(other, tmp_path / "moved", "taken")
        assert (done.commits, done.posts, done.results, done.verifications) == (5, 4, 3, 1)
        assert graph(other, "taken") == graph(hub, "main")
        there, here = other.space("taken"), hub.space()
        assert there.project.counts == here.project.counts
        best = there.leaderboard.best()
        assert [(r.commit, r.verdict, r.runs) for r in best] == [(made["merge"], "confirmed", 3)]
        posts = there.board.page("results")
        assert [p.content for p in posts] == [p.content for p in here.board.page("results")]
        assert [p.created for p in posts] == [p.created for p in here.board.page("results")]
        assert posts[-2].parent == posts[-1].id
        authors = {c.agent for c in there.commits.page()} | {p.agent for p in posts}
        assert all(name.split(".")[0] in ("ada", "bob") for name in authors)
        for name in authors:
            agent = other.accounts.get(name)
            assert agent.origin.startswith("import:") and agent.disabled and not agent.runner
            assert other.accounts.keys(name) == ()
        assert there.board.mentions("bob") == ()
        waiting = [r for r in there.results.page() if r.commit is None]
        assert [r.named for r in waiting] == ["1234567"]
        assert check(other.data) == ()


def test_importing_again_adds_only_what_is_new(hub: Hub, lab: Repo, tmp_path: Path) -> None:
    """The same export adds nothing; a later one only what came since."""
    lively(hub, lab)
    export(hub.data, "main", tmp_path / "first")
    with hub_in(tmp_path / "other") as other:
        import_(other, tmp_path / "first", "main")
        before = (graph(other, "main"), len(other.space().results.page()), tables(other.data))
        done = import_(other, tmp_path / "first", "main")
        assert not any(vars(done).values())
        after = tables(other.data)
        assert {n for n in after if after[n] != before[2][n]} <= {"audit", "sqlite_sequence"}
        ada = hub.accounts.authenticate(hub.accounts.issue("ada"))
        lab.write("train.py", "x = 9\n")
        sha = lab.commit("more")
        push(hub, ada, lab, "HEAD~1..HEAD")
        hub.post(ada, "results", f"commit:{sha[:7]} platform:H100 val_bpb:0.93 vram_gb:4 | more")
        export(hub.data, "main", tmp_path / "second")
        done = import_(other, tmp_path / "second", "main")
        assert (done.agents, done.commits, done.posts, done.results) == (0, 1, 1, 1)
        assert graph(other, "main") == graph(hub, "main")
        assert check(other.data) == ()


def test_an_export_can_be_cloned_by_plain_git(hub: Hub, lab: Repo, tmp_path: Path) -> None:
    """The bundle is a bundle: the newest leaf is its HEAD."""
    made = lively(hub, lab)
    export(hub.data, "main", tmp_path / "moved")
    lab.git("clone", "-q", str(tmp_path / "moved" / "objects.bundle"), str(tmp_path / "clone"))
    clone = Repo(tmp_path / "clone")
    assert clone.git("rev-parse", "HEAD") == made["merge"]


def test_no_secret_and_no_address_is_exported(hub: Hub, lab: Repo, tmp_path: Path) -> None:
    """Keys, where somebody registered from, and hidden posts stay."""
    lively(hub, lab)
    key = hub.accounts.register("dan", "192.0.2.77")
    dan = hub.accounts.authenticate(key)
    hub.post(dan, "results", "a post of dan's")
    export(hub.data, "main", tmp_path / "moved")
    text = b"".join(p.read_bytes() for p in (tmp_path / "moved").iterdir()).decode("latin-1")
    assert "a post of dan's" in text
    for secret in (key, "192.0.2.77", "hidden from everybody", "digest"):
        assert secret not in text


def change(folder: Path, name: str, old: str, new: str, *, admitted: bool = True) -> None:
    """Change an export's file, and (as a forger would) its digest."""
    path = folder / name
    raw = path.read_bytes()
    assert old.encode() in raw
    path.write_bytes(raw.replace(old.encode(), new.encode()))
    if admitted and name != "manifest.json":
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["files"][name]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        (folder / "manifest.json").write_text(json.dumps(manifest))


FORGED = [
    ("commits.jsonl", '"role": "frontier"', '"role": "king"', "a role is"),
    ("commits.jsonl", '"agent": "ada"', '"agent": "../ada"', "not an agent id"),
    ("commits.jsonl", '"agent": "ada"', '"agent": 7', "`agent` must be str"),
    ("posts.jsonl", '"channel": "results"', '"channel": "elsewhere"', "channel not found"),
    ("posts.jsonl", "{", "[", "is not one JSON object"),
    ("results.jsonl", '"platform": "H100"', '"platform": "\\u0000"', "not a platform"),
    ("verifications.jsonl", "0.9501", "NaN", "finite"),
    ("verifications.jsonl", "0.9501", "1e999", "finite"),
    ("verifications.jsonl", "0.9501", "true", "a number is needed"),
    ("verifications.jsonl", '"agent": "cyd"', '"agent": "ada"', "another agent must"),
    ("manifest.json", '"format": 1', '"format": 2', "reads format 1"),
    ("manifest.json", '"direction": "lower"', '"direction": "up"', "direction is lower or higher"),
    ("manifest.json", '"rules"', '"laws"', "no whole rules"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "old", "new", "match"), FORGED)
def test_a_forged_export_is_refused_whole(
    hub: Hub, lab: Repo, tmp_path: Path, name: str, old: str, new: str, match: str
) -> None:
    """Nothing of it stays: no row, no object, no project."""
    made = lively(hub, lab)
    hub.space().results.record("bob", _draft(made["merge"]))
    export(hub.data, "main", tmp_path / "moved")
    change(tmp_path / "moved", name, old, new)
    with hub_in(tmp_path / "other") as other:
        before = tables(other.data)
        with pytest.raises(HubError, match=match):
            import_(other, tmp_path / "moved", "taken")
        assert tables(other.data) == before
        with pytest.raises(Missing):
            other.space("taken")
        assert not list(other.data.rglob("*.pack"))
        assert check(other.data) == ()


def _draft(sha: str):  # type: ignore[no-untyped-def]
    from agenthub.records.results import Draft

    return Draft(sha, "H100", "keep", 0.96)


def test_a_file_that_was_damaged_is_seen(hub: Hub, lab: Repo, tmp_path: Path) -> None:
    """Each file is as the manifest says, or nothing is taken."""
    lively(hub, lab)
    export(hub.data, "main", tmp_path / "moved")
    change(tmp_path / "moved", "posts.jsonl", "hello", "hullo", admitted=False)
    with (
        hub_in(tmp_path / "other") as other,
        pytest.raises(BadInput, match=r"posts\.jsonl is not as"),
    ):
        import_(other, tmp_path / "moved", "taken")


def test_commits_that_are_not_listed_are_refused(hub: Hub, lab: Repo, tmp_path: Path) -> None:
    """Rows without objects, and objects without rows."""
    made = lively(hub, lab)
    export(hub.data, "main", tmp_path / "moved")
    lines = (tmp_path / "moved" / "commits.jsonl").read_text().splitlines(keepends=True)
    line = next(line for line in lines if f'"hash": "{made["left"]}"' in line)
    change(tmp_path / "moved", "commits.jsonl", line, "")
    with hub_in(tmp_path / "other") as other:
        with pytest.raises(BadInput, match="only in one of"):
            import_(other, tmp_path / "moved", "taken")
        change(tmp_path / "moved", "commits.jsonl", lines[-1],
               lines[-1] + line + line.replace(made["left"], "1" * 40))  # fmt: skip
        with pytest.raises(BadInput, match="does not hold it"):
            import_(other, tmp_path / "moved", "taken")


def test_what_a_push_may_not_an_import_may_not(hub: Hub, lab: Repo, tmp_path: Path) -> None:
    """The receiving project's protected files, its one root, and its metric."""
    made = lively(hub, lab)
    ada = hub.accounts.authenticate(hub.accounts.issue("ada"))
    lab.write("prepare.py", "fixed = False\n")
    lab.commit("bend the ruler")
    push(hub, ada, lab, "HEAD~1..HEAD")
    export(hub.data, "main", tmp_path / "moved")
    with hub_in(tmp_path / "other") as other:
        other.projects.create("strict", Rules(protected=("prepare.py",)), made["root"])
        with pytest.raises(Forbidden, match=r"prepare\.py, which this project protects"):
            import_(other, tmp_path / "moved", "strict")
        other.projects.create("rooted", Rules(), "1" * 40)
        with pytest.raises(Forbidden, match="keeps one history"):
            import_(other, tmp_path / "moved", "rooted")
        other.projects.create("other", Rules(metric="loss"))
        with pytest.raises(Conflict, match="measures loss"):
            import_(other, tmp_path / "moved", "other")
        assert Commits(other.database, other.projects.get("strict").id).page() == ()
        assert check(other.data) == ()


def test_an_empty_project_moves_too(hub: Hub, tmp_path: Path) -> None:
    """There is no bundle then."""
    hub.projects.create("bare", Rules(metric="loss", direction="higher"))
    export(hub.data, "bare", tmp_path / "moved")
    with hub_in(tmp_path / "other") as other:
        import_(other, tmp_path / "moved", "bare")
        assert other.projects.get("bare").rules.direction == "higher"
    with pytest.raises(Missing):
        export(hub.data, "nowhere", tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("slug", ["../../out", "{tmp}/out", ""])
def test_a_backup_of_a_stranger_writes_nowhere_else(tmp_path: Path, slug: str) -> None:
    """A project of its database that is called like a path elsewhere is refused."""
    source = tmp_path / "a" / "b" / "source"
    with open_hub(source):
        pass
    with contextlib.closing(sqlite3.connect(source / "hub.db")) as database, database:
        database.execute("UPDATE projects SET slug = ?", (slug.format(tmp=tmp_path),))
    assert any("project's name" in finding.message for finding in check(source))
    target = tmp_path / "a" / "b" / "target"
    with pytest.raises(BadInput):
        restore(source, target)
    with pytest.raises(BadInput):
        backup(source, target)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["source"]
