"""What one push may hold: the same caps and rules for a bundle and for a push by git itself."""

from __future__ import annotations

import contextlib
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agenthub.errors import HubError
from agenthub.git.bundle import write_header
from agenthub.git.ingest import receive
from agenthub.git.packets import FLUSH, NOTHING, packet
from agenthub.git.policy import PushLimits
from agenthub.records.agents import Caller
from agenthub.records.hub import Hub, HubSettings
from agenthub.records.projects import Rules
from agenthub.server.git_refs import take
from conftest import Repo
from hub_git import Evil, World, bundle_of, pack
from hub_server import Repo as Sender
from hub_server import serving, settings, together
from hub_world import PLENTY, hub_in, join

MIB = 2**20
MEMORY = 200 * MIB  # that the server stays under

# Push a pack with some heads; "" when it was taken, else why not.
Push = Callable[[Hub, Caller, bytes, tuple[str, ...]], str]


def by_bundle(hub: Hub, caller: Caller, pack: bytes, heads: tuple[str, ...]) -> str:
    """A bundle, as `ah push` and the original's clients send it."""
    path = hub.data.parent / "sent"
    path.write_bytes(write_header([(head, f"refs/h/{head}") for head in heads]) + pack)
    try:
        hub.push(caller, path)
    except HubError as error:
        return error.message
    return ""


def by_git(hub: Hub, caller: Caller, pack: bytes, heads: tuple[str, ...]) -> str:
    """The body that `git push` sends."""
    path = hub.data.parent / "sent"
    rows = [f"{NOTHING} {head} refs/agents/{caller.agent}/{head}" for head in heads]
    rows[0] += "\0report-status"
    path.write_bytes(b"".join(map(packet, rows)) + FLUSH + pack)
    answer = take(hub, caller, "main", path).decode()
    assert answer.count("ng ") in (0, len(heads)), "all refs or none"
    return answer.partition("ng ")[2]


@pytest.fixture(params=[by_bundle, by_git], ids=["bundle", "git"])
def push(request: pytest.FixtureRequest) -> Push:
    """Both ways to push."""
    found: Push = request.param
    return found


@contextlib.contextmanager
def limited(folder: Path, **limits: int) -> Iterator[tuple[Hub, Caller]]:
    """A hub with these caps on a push, and somebody who pushes to it."""
    settings = replace(PLENTY, limits=replace(PushLimits(), **limits))
    with hub_in(folder / "hub", settings) as hub:
        yield hub, join(hub, "ada")[0]


def nothing_stored(hub: Hub) -> bool:
    """Whether neither the index, the repository nor the folder for uploads has anything."""
    space = hub.space()
    left = [path for path in (hub.data / "incoming").rglob("*") if path.is_file()]
    return not space.commits.page() and space.repository.packs() == 0 and left == []


def many_commits(count: int) -> tuple[bytes, tuple[str, ...]]:
    """A pack of so many commits of one file, and their hashes: `count` + 2 objects."""
    evil = Evil()
    tree = evil.tree(("100644", "train.py", evil.blob()))
    heads = tuple(evil.commit(tree, message=b"%d" % number) for number in range(count))
    return evil.pack(), heads


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ({"commits": 19}, "20 new commits; at most 19"),
        ({"objects": 21}, "22 new objects; at most 21"),
        ({"pack_objects": 21}, "says it has 22 objects; at most 21"),
        ({"message_bytes": 1}, "2 bytes; at most 1 are allowed"),
        ({"tree_entries": 0}, "1 files and folders or more; at most 0"),
        ({"blob_bytes": 1}, "a file of 2 bytes; at most 1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_cap_holds_whichever_way_a_push_comes(
    tmp_path: Path, push: Push, limits: dict[str, int], why: str
) -> None:
    """The same numbers in the same words; nothing of a refused push is stored."""
    content, heads = many_commits(20)
    with limited(tmp_path, **limits) as (hub, ada):
        assert why in push(hub, ada, content, heads)
        assert nothing_stored(hub)


def test_the_cap_of_bytes_is_the_projects_own(tmp_path: Path, push: Push) -> None:
    """A project may allow less than the hub does."""
    evil = Evil()
    head = evil.file("noise", content=os.urandom(5_000))
    with hub_in(tmp_path / "hub") as hub:
        ada, _ = join(hub, "ada")
        hub.change_project("main", Rules(forest=True, limits={"bundle_bytes": 1_000}))
        assert "over 1,000 bytes" in push(hub, ada, evil.pack(), (head,))
        assert nothing_stored(hub)
        hub.change_project("main", Rules(forest=True))
        assert push(hub, ada, evil.pack(), (head,)) == ""


def test_only_what_the_hub_lacks_counts(tmp_path: Path, push: Push, lab: Repo) -> None:
    """Who cannot send less sends all history each time, however long it has become."""
    with limited(tmp_path, objects=20, commits=6) as (hub, ada):
        for number in range(20):
            lab.write("train.py", f"steps = {number}\n")
            sha = lab.commit(f"step {number}")
            if number % 5 == 4:
                whole = bundle_of(lab, "HEAD")
                content = whole[whole.index(b"PACK") :]
                assert push(hub, ada, content, (sha,)) == ""
        assert int.from_bytes(content[8:12]) > 3 * 20
        for number in range(7):
            lab.write("train.py", f"more = {number}\n")
            sha = lab.commit(f"more {number}")
        whole = bundle_of(lab, "HEAD")
        content = whole[whole.index(b"PACK") :]
        assert "21 new objects; at most 20" in push(hub, ada, content, (sha,))
        assert len(hub.space().commits.page()) == 21


def test_known_heads_cost_nothing(tmp_path: Path, push: Push) -> None:
    """Their pack is not even looked at."""
    content, heads = many_commits(2)
    with limited(tmp_path) as (hub, ada):
        assert push(hub, ada, content, heads) == ""
        packs = hub.space().repository.packs()
        assert push(hub, ada, b"PACKanything", heads) == ""
        assert hub.space().repository.packs() == packs


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "ends before its pack"),
        (b"PACK\0\0\0\2\0\0\0\1", "git refuses the pack"),
        (pack([]), "does not hold it"),
    ],
    ids=["none", "cut", "empty"],
)
def test_a_damaged_pack_is_refused(tmp_path: Path, push: Push, content: bytes, why: str) -> None:
    """Whatever the header promised."""
    with limited(tmp_path) as (hub, ada):
        assert why in push(hub, ada, content, ("1" * 40,))
        assert nothing_stored(hub)


def test_stored_bytes_have_a_quota(tmp_path: Path, push: Push) -> None:
    """The whole body counts, once, for the agent and for the project."""
    evil, settings = Evil(), HubSettings(agent_quota_mb=0.01)
    small, large = evil.file("small"), evil.file("large", content=os.urandom(12_000))
    few = Evil()
    few.file("small")
    with hub_in(tmp_path / "hub", settings) as hub:
        ada, _ = join(hub, "ada")
        assert push(hub, ada, few.pack(), (small,)) == ""
        size = (tmp_path / "sent").stat().st_size
        assert "its quota" in push(hub, ada, evil.pack(), (large, small))
        rows = hub.database.rows("SELECT bytes FROM stored")
        assert [row["bytes"] for row in rows] == [size, size]
        assert [commit.sha for commit in hub.space().commits.page()] == [small]


def test_an_endless_body_is_cut_off(hub: World) -> None:
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


def test_quotas_hold_and_refused_pushes_leave_nothing(tmp_path: Path) -> None:
    """Over its quota an agent stores nothing more; what was refused is not kept anywhere."""
    repo = Sender(tmp_path / "repo")
    with serving(tmp_path / "data", settings(agent_quota_mb=0.2)) as server:
        base = repo.commit("x = 1\n")
        assert server.push(repo.bundle()).status == 201
        before = packs(server.data)
        (repo.folder / "noise.bin").write_bytes(random.Random(1).randbytes(300_000))
        sha = repo.commit("x = 2\n")
        found = server.push(repo.bundle())
        assert found.status == 413
        assert found.json["quota"] == int(0.2 * MIB)
        assert packs(server.data) == before
        found = server.get("/api/git/commits").json
        assert [each["hash"] for each in found] == [base]
        assert server.get(f"/api/git/fetch/{sha}").status == 404
        assert [path for path in (server.data / "incoming").rglob("*") if path.is_file()] == []


def packs(data: Path) -> set[str]:
    """The packs that a hub has stored."""
    folder = data / "projects" / "main" / "repo.git" / "objects" / "pack"
    return {path.name for path in folder.glob("*.pack")}


@pytest.mark.slow
def test_uploads_are_not_held_in_memory(tmp_path: Path) -> None:
    """Eight uploads of 40 MB at once go to disk, and are gone from there when they are refused."""
    with serving(tmp_path / "data", settings(mb_per_day=1000)) as server:
        for number in range(8):
            server.key(f"agent{number}")
        body = b"no bundle\n" + b"x" * (40 * MIB)
        found = together(8, lambda n: server.push(body, f"agent{n}"))
        assert Counter(each.status for each in found) == {400: 8}
        assert server.resident() < MEMORY
        assert [path for path in (server.data / "incoming").rglob("*") if path.is_file()] == []
