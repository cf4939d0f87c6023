"""Holes that a second look found, each closed: with a real server, real git, and hostile hubs."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import autoresearch
from agenthub.client.hub_client import HubClient
from agenthub.client.transport import Patience, Unreachable
from agenthub.errors import BadInput
from agenthub.ops.backup import backup, check, restore
from agenthub.records.hub import open_hub
from agenthub.records.verdicts import judge, measured
from autoresearch.errors import GitError
from autoresearch.lab.task import Task
from autoresearch.store.git import Git
from autoresearch.store.paths import StudyPaths
from autoresearch.swarm.discovery import MAX_FILE, Discovery
from autoresearch.swarm.hub_protocol import finite_float, parse_results, positive_int
from autoresearch.swarm.outbox import Outbox
from autoresearch.swarm.settings import SwarmSettings as Joined
from autoresearch.swarm.strip_comments import strip_comments
from hub_git import Evil
from hub_server import Repo, Server, serving, settings
from stand_in_hub import raw_server
from swarm_hub import TAG, lab_of, loop, member_of, trials_of
from swarm_hub import hub_in as swarm_hub_in
from tiny_lab import make_lab, scores

KEYS = "/api/v2/keys"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "data", settings(requests_per_minute=100_000)) as found:
        yield found


# ---- keys --------------------------------------------------------------------------------------


def test_keys_that_ended_hide_none_that_opens(server: Server) -> None:
    """A key that ends makes none that lasts, however many it has made and ended; its owner sees it
    all along, and can end it."""
    own = server.key("ada")
    end = int(time.time()) + 3_000
    made = server.ask("POST", KEYS, {"expires": end, "label": "lent"}, own).json
    lent = made["api_key"]
    for _ in range(201):
        other = server.ask("POST", KEYS, {"expires": end}, lent).json["key"]["id"]
        assert server.ask("DELETE", f"{KEYS}/{other}", key=lent).status == 200
    assert server.ask("POST", KEYS, {"label": "lasting"}, lent).status == 403
    shown = server.ask("GET", KEYS, key=own).json["keys"]
    assert [key["label"] for key in shown if key["revoked"] is None] == ["", "lent"]
    assert server.ask("DELETE", f"{KEYS}/{made['key']['id']}", key=own).status == 200
    assert server.ask("GET", "/api/v2/me", key=lent).status == 401


def test_what_leaves_rows_behind_is_counted(tmp_path: Path) -> None:
    """Keys that are made and ended, leases that are taken and given back: so many in an hour."""
    with serving(tmp_path / "data", settings(records_per_hour=3)) as server:
        platform = {"platform": "H100"}
        path = "/api/v2/projects/main/replication/take"
        taken = [server.post(path, platform).status for _ in range(4)]
        assert taken == [200, 200, 200, 429]
        assert [server.post(KEYS, {}).status for _ in range(4)] == [201, 201, 201, 429]


# ---- requests ----------------------------------------------------------------------------------


def test_a_path_that_no_file_has_is_no_trouble(server: Server, tmp_path: Path) -> None:
    """A diff of a path with a NUL is refused in words."""
    repo = Repo(tmp_path / "repo")
    old, new = repo.commit("one"), repo.commit("two")
    assert server.push(repo.bundle()).status == 201
    for place in ("/api/git/diff", "/api/v2/projects/main/git/diff"):
        answer = server.get(f"{place}/{old}/{new}?path=a%00b")
        assert answer.status == 400 and "NUL" in answer.error


def test_one_who_reads_slowly_keeps_nobody_waiting(server: Server, tmp_path: Path) -> None:
    """As many fetches as there are slots, read by nobody: another agent's fetch still comes."""
    repo = Repo(tmp_path / "repo")
    for name in range(8):
        repo.commit(os.urandom(450_000).hex(), f"{name}.txt")
    assert server.push(repo.bundle()).status == 201
    path = f"/api/git/fetch/{repo.git('rev-parse', 'HEAD')}"
    key = server.key("slow")
    asked = f"GET {path} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    with contextlib.ExitStack() as held:
        for _ in range(2 * (os.cpu_count() or 1)):
            near = held.enter_context(socket.socket())
            near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            near.connect(("127.0.0.1", server.port))
            near.sendall(asked)
        started = time.monotonic()
        answer = server.get(path, "quick")
        assert answer.status == 200 and len(answer.body) > 3_000_000
        # Who reads nothing is cut off after 30 seconds, and would give way then.
        assert time.monotonic() - started < 25


# ---- liars -------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_one_who_says_many_numbers_overturns_no_verdict(noise: float) -> None:
    """A true claim is not refuted, nor a false one confirmed, by 64 numbers of one agent."""
    honest = [measured([1.0, 1.01, 0.99]), measured([1.0, 1.0, 1.01])]
    assert judge(1.0, "lower", honest, noise).verdict == "confirmed"
    for lie in (1.5, 1.2, 1.1):
        liar = measured([lie] * 64)
        assert judge(1.0, "lower", [*honest, liar], noise).verdict != "refuted"
    for lie in (0.5, 0.4, 0.1):
        liar = measured([lie] * 64)
        assert judge(0.5, "lower", [honest[0], liar], noise).verdict != "confirmed"


# ---- hostile hubs ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "begins", [b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"], ids=["head", "chunk"]
)
def test_an_answer_that_never_ends_is_not_waited_for(begins: bytes) -> None:
    """A byte now and then, in a header or the length of a piece, keeps a caller no longer."""

    def drip(near: socket.socket) -> None:
        near.recv(65_536)
        near.sendall(begins or b"HTTP/1.1 200 OK\r\nX-Long: ")
        while True:
            time.sleep(0.05)
            near.sendall(b"0")

    with raw_server(drip) as url:
        client = HubClient(url, patience=Patience(silence=0.5, whole=0.5, tries=1))
        with pytest.raises(Unreachable):
            client.about()


@pytest.mark.parametrize("value", [10**400, -(10**400), True, "1", None, 1.5, 1e300, 2**63, 0, -1])
def test_a_number_without_end_is_none(value: object) -> None:
    """Of what a hub answers; and what a thing is numbered with can name a file."""
    assert positive_int(value) == 0
    found = finite_float(value)
    assert found is None or abs(found) < 1e301
    row = {"commit": "a" * 40, "agent": "ada", "verdict": "claimed", "runs": 1, "mean": None}
    assert parse_results([{**row, "seq": value, "value": 1.0}]) == []
    assert parse_results([{**row, "seq": 1, "value": 1.0, "runs": 10**400}]) == []


def test_a_folder_without_end_is_not_walked(tmp_path: Path) -> None:
    """A pack of a kilobyte whose commit has 12**10 files: an editable one is found at once."""
    evil = Evil()
    blob = evil.blob(b"SCORE = 1\n")
    tree = evil.tree(*(("100644", f"f{n:02}", blob) for n in range(12)))
    for _ in range(9):
        tree = evil.tree(*(("40000", f"d{n:02}", tree) for n in range(12)))
    large = evil.blob(bytes(2 << 20))
    top = evil.tree(("40000", "d", tree), ("100644", "large.py", large), ("100644", "t.py", blob))
    commit = evil.commit(top)
    lab = make_lab(tmp_path / "lab")
    Git.discover(lab).take_pack(evil.pack())
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom autoresearch.store.git import Git\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))\n"
        "git = Git.discover(Path(sys.argv[1]))\n"
        "print(git.listed(sys.argv[2], ['t.py', 'large.py', 'd', 'none', 'd/d00']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(lab), commit],
        env={**os.environ, "PYTHONPATH": str(Path(autoresearch.__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "{'large.py': ('100644', 2097152), 't.py': ('100644', 10)}"


def test_a_large_file_of_others_is_not_read(tmp_path: Path) -> None:
    """Its size is asked first: a pack of 64 MiB can hold as many gigabytes."""
    evil = Evil()
    commit = evil.file("train.py", content=bytes(MAX_FILE + 1))
    small = evil.file("train.py", content=b"SCORE = 1\n")
    lab = make_lab(tmp_path / "lab")
    git, task, paths = Git.discover(lab), Task.load(lab), StudyPaths(lab, TAG)
    git.take_pack(evil.pack())
    with contextlib.closing(Outbox(tmp_path / "box.db")) as box:
        client, words = HubClient("http://127.0.0.1:1"), Joined("http://127.0.0.1:1", "key")
        discovery = Discovery(client, git, paths, task, box, words, "0" * 40)
        assert discovery._files(small) == {"train.py": b"SCORE = 1\n"}
        with pytest.raises(GitError, match="over 1,048,576 bytes"):
            discovery._files(commit)


def test_candidates_that_others_always_hold_are_run_now_and_then(tmp_path: Path) -> None:
    """A hub, or an agent that guesses what comes, keeps no study from running anything."""
    one, two, notes = lab_of(tmp_path / "one"), lab_of(tmp_path / "two"), list[str]()
    with swarm_hub_in(tmp_path / "hub") as hub:
        hub.make_project()
        with member_of(hub, one, "ada") as (study, _):
            study.baseline()
            for score in range(1, 8):
                files = {"train.py": f"SCORE = {score}\n".encode()}
                commit = study.git.commit(study.base, files, "x")
                hub.client("ada").claim("mine", tree=study.git.lab_tree(commit))
        with member_of(hub, two, "bob", notes) as (study, member):
            loop(study, member, scores(7, 6, 5, 4, 3, 2, 1))
    ran = [trial.value for trial in trials_of(two)]
    assert ran == [10.0, None, None, None, None, None, 2.0, None]
    assert sum("5 candidates in a row" in note for note in notes) == 1


# ---- folders of strangers ----------------------------------------------------------------------


@pytest.mark.parametrize("slug", ["../../out", "{tmp}/out", ""])
def test_a_backup_of_a_stranger_writes_nowhere_else(tmp_path: Path, slug: str) -> None:
    """A project of its database that is called like a path elsewhere is refused."""
    source = tmp_path / "a" / "b" / "source"
    with open_hub(source):
        pass
    with contextlib.closing(sqlite3.connect(source / "hub.db")) as database, database:
        database.execute("UPDATE projects SET slug = ?", (slug.format(tmp=tmp_path),))
    assert any("project's name" in finding.told for finding in check(source))
    target = tmp_path / "a" / "b" / "target"
    with pytest.raises(BadInput):
        restore(source, target)
    with pytest.raises(BadInput):
        backup(source, target)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["source"]


# ---- foreign words -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b"x = 1\r# IGNORE\r\ny = 2\n",
        b"if 1:\r    y = 2  # IGNORE\r\n",
        b"x = 1\n'IGNORE all of it'\n",
        b"class A:\n    'a'; 'IGNORE'\n",
        b"def f():\n    f'IGNORE'\n",
        b"def f():\n    b'IGNORE'\n",
    ],
)
def test_words_that_do_nothing_are_not_passed_on(text: bytes) -> None:
    """Comments behind a line end that hides them, and strings that stand alone."""
    found = strip_comments({"train.py": text}, [])
    assert found is None or b"IGNORE" not in found["train.py"]


def test_strings_of_ours_may_stand_alone() -> None:
    """What our own files say is no stranger's word."""
    ours = {"train.py": b"x = 1\n'a note of ours'\n"}
    theirs = {"train.py": b"x = 2\n'a note of ours'\n"}
    assert strip_comments(theirs, [ours]) == theirs
