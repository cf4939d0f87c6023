"""A hub that lies, or that others fill: a study reads no more of it than it can bear."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import autoresearch
from agenthub.client.hub_client import HubClient
from agenthub.client.transport import Timeouts, Unreachable
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
from stand_in_hub import raw_server
from swarm_hub import TAG, lab_of, loop, member_of, trials_of
from swarm_hub import hub_in as swarm_hub_in
from tiny_lab import make_lab, scores


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
        client = HubClient(url, timeouts=Timeouts(silence=0.5, whole=0.5, tries=1))
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
