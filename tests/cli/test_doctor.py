"""doctor: it names each broken invariant and the command that repairs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from autoresearch.cli import main
from autoresearch.cli.diagnosis import examine_lab, examine_machine, examine_study
from autoresearch.lab.task import Task
from autoresearch.proposers.fake import ScriptedProposer
from autoresearch.study.opening import read_study
from tiny_lab import git, make_lab, opened, scores


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A study of three trials: baseline, a keep, a discard."""
    folder = make_lab(tmp_path / "lab")
    with opened(folder) as study:
        proposer = ScriptedProposer(scores(9, 12))
        for _ in range(3):
            study.step(proposer)
    return folder


def wrong(lab: Path) -> dict[str, tuple[str, str]]:
    """Checks of the study that fail: name -> (seen, repair)."""
    task = Task.load(lab)
    with read_study(task) as (ledger, paths, repository):
        found = list(examine_study(task, ledger, paths, repository))
    assert len(found) == 6
    return {f.name: (f.seen, f.mend) for f in found if not f.good}


def mend(lab: Path, command: str) -> None:
    """Run the command that the doctor names."""
    if command.startswith("autoresearch "):
        command = f"{sys.executable} -m {command}"
    subprocess.run(command, shell=True, cwd=lab, check=True, capture_output=True)


def test_a_sound_study_has_nothing_to_mend(lab: Path) -> None:
    """All invariants hold after ordinary work."""
    assert wrong(lab) == {}


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("results.tsv", ["sh", "-c", "echo mine >> results.tsv"]),
        ("branch", ["git", "branch", "-f", "autoresearch/t", "main"]),
        ("branch", ["git", "branch", "-D", "autoresearch/t"]),
        ("pins", ["git", "update-ref", "refs/autoresearch/t/2", "main"]),
        ("pins", ["git", "update-ref", "-d", "refs/autoresearch/t/2"]),
    ],
)
def test_harm_is_seen_and_the_command_that_is_named_mends_it(
    lab: Path, name: str, harm: list[str]
) -> None:
    """One thing is broken, one check fails, and its command repairs it."""
    subprocess.run(harm, cwd=lab, check=True, capture_output=True)
    found = wrong(lab)
    assert list(found) == [name]
    mend(lab, found[name][1])
    assert wrong(lab) == {}


def test_a_ref_that_no_trial_made_is_named_and_left_alone(lab: Path) -> None:
    """It may be somebody's own; nothing is to mend."""
    git(lab, "update-ref", "refs/autoresearch/t/99", "main")
    assert wrong(lab) == {}
    task = Task.load(lab)
    with read_study(task) as (ledger, paths, repository):
        found = {f.name: f.seen for f in examine_study(task, ledger, paths, repository)}
    assert "refs/autoresearch/t/99 beside them is of no trial, and left alone" in found["pins"]


def test_a_moved_branch_is_put_back_and_what_was_there_keeps_a_name(lab: Path) -> None:
    """The command that is named loses no commit."""
    git(lab, "branch", "-f", "autoresearch/t", "refs/autoresearch/t/2")
    lost = git(lab, "rev-parse", "autoresearch/t")
    mend(lab, wrong(lab)["branch"][1])
    assert wrong(lab) == {}
    assert lost in git(lab, "for-each-ref", "--format=%(objectname)", "refs/heads")


def test_a_lost_commit_is_named(lab: Path) -> None:
    """The message has the number of the trial whose commit is missing."""
    commit = git(lab, "rev-parse", "refs/autoresearch/t/2")
    git(lab, "update-ref", "-d", "refs/autoresearch/t/2")
    (lab / ".git" / "objects" / commit[:2] / commit[2:]).unlink()
    assert wrong(lab)["commits"][0] == "missing for trials 2"


def test_the_machine_is_checked(tmp_path: Path) -> None:
    """Python, git, sandbox, disk, torch, GPUs and agents, each with what was seen."""
    found = {f.name: f for f in examine_machine(tmp_path)}
    assert list(found) == ["python", "git", "sandbox", "free disk", "torch", "nvidia", "agents"]
    assert all(f.seen for f in found.values())
    assert found["git"].good


def test_the_command_speaks_to_people_and_to_scripts(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--json is a list of findings; a study to mend is exit code 1."""
    (lab / "results.tsv").write_text("mine")
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--json", "--lab", str(lab)])
    assert ended.value.code == 1
    found = json.loads(capsys.readouterr().out)
    assert [f["name"] for f in found if f["name"] == "results.tsv" and not f["good"]]
    with pytest.raises(SystemExit):
        main(["doctor", "--lab", str(lab)])
    assert "look  results.tsv:" in capsys.readouterr().out


def test_a_lab_without_a_study_has_its_canary(tmp_path: Path) -> None:
    """The command must use the editable files; nothing is written into the lab."""
    good = make_lab(tmp_path / "good")
    (check,) = examine_lab(good)
    assert (check.name, check.good) == ("canary", True)
    assert check.seen == "train.py replaced: the run fails (failed)"
    assert not (good / ".autoresearch").exists()
    deaf = make_lab(tmp_path / "deaf", run_py="print('score: 10')\n")
    (check,) = examine_lab(deaf)
    assert not check.good
    assert "train.py replaced: score 10: do runs use the editable files?" in check.seen
    assert list(examine_lab(tmp_path)) == []


def test_the_canary_of_a_study_is_shown(lab: Path) -> None:
    """As the study recorded it."""
    done = subprocess.run(
        [sys.executable, "-m", "autoresearch", "doctor", "--json"],
        cwd=lab, capture_output=True, text=True,
    )  # fmt: skip
    found = {check["name"]: check for check in json.loads(done.stdout)}
    assert found["canary"]["good"]
    assert found["canary"]["seen"] == "train.py replaced: the run fails (failed)"
    status = [sys.executable, "-m", "autoresearch", "status"]
    shown = subprocess.run(status, cwd=lab, capture_output=True, text=True).stdout
    assert "canary:     train.py replaced: the run fails (failed)" in shown
