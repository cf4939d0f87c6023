"""A bad git, disk or repository: the command names it, changes nothing and loses nothing."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import autoresearch
from tiny_lab import git, make_lab

RUN = ("run", "--tag", "t", "--agent", "tiny_agents:Countdown", "--trials")
PYTHONPATH = os.pathsep.join(
    map(str, [Path(__file__).parents[1], Path(autoresearch.__file__).parents[1]])
)
OLD_GIT = """#!/bin/sh
echo "$@" >> '{log}'
case "$*" in *version) echo 'git version {version}'; exit;; esac
exec '{git}' "$@"
"""
INSIDE = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-ec")


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A tiny lab whose baseline scores 10."""
    return make_lab(tmp_path / "lab")


def command(*words: str) -> list[str]:
    """The words that start the command line in another process."""
    return [sys.executable, "-m", "autoresearch", *words]


def started(lab: Path, words: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a lab; an error is a message, never a traceback."""
    env = {**os.environ, "PYTHONPATH": PYTHONPATH, **env}
    done = subprocess.run(words, cwd=lab, env=env, capture_output=True, text=True, timeout=100)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def refused(lab: Path, words: list[str], *messages: str, **env: str) -> None:
    """Exit code 2, a message with these words, and an unchanged lab."""
    before = listing(lab)
    done = started(lab, words, **env)
    assert done.returncode == 2, done.stdout + done.stderr
    for message in messages:
        assert message in done.stderr
    assert listing(lab) == before


def goes_on(lab: Path, trials: int, *words: str) -> list[str]:
    """Run this many trials, which must succeed; the notes of all trials."""
    done = started(lab, command(*RUN, str(trials), *words))
    assert done.returncode == 0, done.stderr
    return notes(lab)


def notes(lab: Path) -> list[str]:
    """The notes of all trials, as results.tsv has them."""
    return [line.split("\t")[4] for line in (lab / "results.tsv").read_text().splitlines()[1:]]


def listing(folder: Path) -> dict[str, tuple[int, str]]:
    """Modes and hashes of all below a folder, .git included."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }


# ---- git ---------------------------------------------------------------------------------------


def stub(folder: Path, version: str) -> tuple[str, Path]:
    """A PATH whose git reports this version, and the log of its calls."""
    folder.mkdir()
    script, log = folder / "git", folder / "calls"
    script.write_text(OLD_GIT.format(log=log, version=version, git=shutil.which("git")))
    script.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}", log


def test_an_old_git_is_refused_with_its_version(lab: Path, tmp_path: Path) -> None:
    """The error has the version that was found and the one that is needed."""
    path, _ = stub(tmp_path / "bin", "2.30.2")
    says = ("git is 2.30.2; AutoResearch needs 2.34 or newer", "Install a newer git")
    refused(lab, command(*RUN, "1"), *says, PATH=path)
    path, _ = stub(tmp_path / "odd", "of mine")
    refused(lab, command(*RUN, "1"), "git is of no known version", PATH=path)


def test_a_git_that_is_new_enough_is_asked_for_its_version_once(lab: Path, tmp_path: Path) -> None:
    """Opening a study costs one more process, and no more."""
    path, log = stub(tmp_path / "bin", "2.34.1")
    assert started(lab, command(*RUN, "1"), PATH=path).returncode == 0
    calls = log.read_text().splitlines()
    assert sum(line.endswith(" version") for line in calls) == 1


def test_no_git_is_refused_with_what_to_install(lab: Path, tmp_path: Path) -> None:
    """The error is ours and names the version."""
    (tmp_path / "empty").mkdir()
    says = "git was not found on PATH; install git 2.34 or newer"
    refused(lab, command(*RUN, "1"), says, PATH=str(tmp_path / "empty"))


# ---- disks -------------------------------------------------------------------------------------


def inside(script: str, *words: str) -> list[str]:
    """The words, run after a script in a mount namespace; skips where that is not allowed."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        pytest.skip("mounts of one's own need Linux and unshare")
    probe = subprocess.run([*INSIDE, "mount --bind /tmp /tmp"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"no mounts of one's own here: {probe.stderr.strip()}")
    return [*INSIDE, f'{script}\nexec "$@"', "sh", *words]


@pytest.mark.parametrize("known", [False, True], ids=["new study", "known study"])
def test_a_lab_on_a_read_only_disk_is_refused(lab: Path, known: bool) -> None:
    """The message names the folder and its read-only disk."""
    if known:
        goes_on(lab, 1)
    script = f"mount --bind '{lab}' '{lab}'\nmount -o remount,bind,ro '{lab}'\ncd '{lab}'"
    says = (f"{lab} cannot be written (its disk is mounted read-only)", "git clone LAB")
    refused(lab, inside(script, *command(*RUN, "1")), *says)
    assert len(goes_on(lab, 1)) == 2 + known


def test_a_lab_on_a_network_file_system_is_refused(lab: Path, tmp_path: Path) -> None:
    """The message names file system, mount point, reason and remedy; the mount table is a fake."""
    table = tmp_path / "mountinfo"
    table.write_text(f"1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:9 / {lab.parent} rw - nfs4 s:/x rw\n")
    script = f"mount --bind '{table}' /proc/$$/mountinfo"
    says = ("network file system (nfs4, mounted at", "two machines", "local disk", "git clone LAB")
    refused(lab, inside(script, *command(*RUN, "1")), *says)


def test_state_that_is_on_a_local_disk_is_enough(lab: Path, tmp_path: Path) -> None:
    """.autoresearch may be a link to a disk of this machine."""
    (tmp_path / "local").mkdir()
    (lab / ".autoresearch").symlink_to(tmp_path / "local")
    table = tmp_path / "mountinfo"
    table.write_text(f"1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:9 / {lab} rw - nfs4 s:/x rw\n")
    script = f"mount --bind '{table}' /proc/$$/mountinfo"
    done = started(lab, inside(script, *command(*RUN, "1")))
    assert done.returncode == 0, done.stderr
    assert len(notes(lab)) == 2


# ---- the repository ----------------------------------------------------------------------------


def test_changed_fixed_files_are_refused_before_anything_is_made(lab: Path) -> None:
    """A new study leaves nothing behind; a changed editable file is no reason to refuse."""
    (lab / "run.py").write_text("print('score: 0')\n")
    refused(lab, command(*RUN, "1"), "Fixed files differ", "run.py", "git stash push -- run.py")
    git(lab, "checkout", "run.py")
    (lab / "train.py").write_text("SCORE = 3.0\n")
    assert goes_on(lab, 1) == ["baseline", "score 9"]
    assert (lab / "train.py").read_text() == "SCORE = 3.0\n"


def test_a_detached_head_is_a_commit_like_any_other(lab: Path) -> None:
    """The study starts from it, goes on, and leaves it where it was."""
    git(lab, "commit", "-q", "--allow-empty", "-m", "newer")
    git(lab, "checkout", "-q", "--detach", "HEAD~1")
    head = git(lab, "rev-parse", "HEAD")
    goes_on(lab, 1)
    assert goes_on(lab, 1) == ["baseline", "score 9", "score 8"]
    assert git(lab, "rev-parse", "--abbrev-ref", "HEAD") == "HEAD"
    assert git(lab, "rev-parse", "HEAD", "autoresearch/t~2").split() == [head, head]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["index.lock", "HEAD.lock", "packed-refs.lock", "config.lock"])
def test_locks_of_the_user_are_neither_needed_nor_touched(lab: Path, name: str) -> None:
    """The study goes on with locks of other programs in .git."""
    (lab / ".git" / name).touch()
    goes_on(lab, 1)
    assert goes_on(lab, 1) == ["baseline", "score 9", "score 8"]
    assert (lab / ".git" / name).exists()


@pytest.mark.parametrize("name", ["refs/heads/autoresearch/t.lock", "refs/autoresearch/t/1.lock"])
def test_locks_of_a_killed_study_are_cleared_by_the_next(lab: Path, name: str) -> None:
    """Only studies write these refs, so a lock on one is left over."""
    goes_on(lab, 0)
    (lab / ".git" / name).touch()
    assert goes_on(lab, 1) == ["baseline", "score 9"]
    assert not (lab / ".git" / name).exists()


def test_a_study_in_whose_branch_somebody_stands_goes_on_and_says_so(lab: Path) -> None:
    """The branch stays meanwhile: no commit there undoes a keep. The way out loses nothing."""
    goes_on(lab, 0)
    git(lab, "switch", "-q", "autoresearch/t")
    (lab / ".git" / "HEAD.lock").touch()  # of another program: nothing of HEAD's is written
    done = started(lab, command(*RUN, "1"))
    assert done.returncode == 0, done.stderr
    assert f"is checked out in {lab}" in done.stdout
    assert f"git -C {lab} switch --detach" in done.stdout
    assert notes(lab) == ["baseline", "score 9"]
    (lab / ".git" / "HEAD.lock").unlink()
    assert git(lab, "status", "--porcelain") == "?? results.tsv"
    git(lab, "switch", "-q", "--detach")
    goes_on(lab, 0)
    assert git(lab, "show", "autoresearch/t:train.py") == "SCORE = 9"
    assert git(lab, "show", "HEAD:train.py").startswith("SCORE = 10")


def test_a_branch_moved_between_two_trials_stops_the_loop_and_loses_nothing(lab: Path) -> None:
    """A foreign commit is not overwritten; after the repair in the message the study goes on."""
    words = ("run", "--tag", "t", "--agent", "tiny_agents:Mover", "--trials", "3")
    done = started(lab, command(*words))
    assert done.returncode == 2
    assert "somebody moved it" in done.stderr
    assert git(lab, "rev-parse", "autoresearch/t") == git(lab, "rev-parse", "main")
    kept = git(lab, "rev-parse", "refs/autoresearch/t/1")
    assert f"git update-ref refs/heads/autoresearch/t {kept}" in done.stderr
    assert started(lab, command(*RUN, "1")).returncode == 2
    git(lab, "update-ref", "refs/heads/autoresearch/t", kept)
    assert goes_on(lab, 1)[:3] == ["baseline", "score 9", "score 8"]
    assert git(lab, "rev-parse", "refs/autoresearch/t/2~1") == kept
