"""A branch that somebody has checked out stays where it is, and follows once they have left."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from autoresearch.cli.diagnosis import examine_study
from autoresearch.lab.task import Task
from autoresearch.proposers.fake import ScriptedProposer
from autoresearch.store.git import Git
from autoresearch.study.collaborators import CallbackListener
from autoresearch.study.opening import read_study
from autoresearch.study.study import Study
from tiny_lab import git, make_lab, opened, scores

BRANCH = "refs/heads/autoresearch/t"


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A lab whose study has a baseline."""
    folder = make_lab(tmp_path / "lab")
    step(folder)
    return folder


def step(lab: Path, *values: float) -> list[str]:
    """Open the study, make a trial of each value; what it had to say, at the opening first."""
    with opened(lab) as study:
        return tried(study, *values)


def tried(study: Study, *values: float) -> list[str]:
    """Trials of these values; all that the study had to say."""
    said = list(study.notices)
    study.collaborators.attach(listener=CallbackListener(on_note=said.append))
    if study.ledger.best() is None:
        study.baseline()
    proposer = ScriptedProposer(scores(*values))
    for _ in values:
        study.step(proposer)
    return said


def places(lab: Path, kind: str) -> Path:
    """Somebody checks the branch out: in the lab itself, or in another work tree."""
    if kind == "lab":
        git(lab, "switch", "-q", "autoresearch/t")
        return lab
    git(lab, "worktree", "add", "-q", str(lab.parent / "a tree"), "autoresearch/t")
    return lab.parent / "a tree"


def way_out(said: str) -> None:
    """Run the command that a message names."""
    subprocess.run(said.rpartition("by that: ")[2], shell=True, check=True, capture_output=True)


@pytest.mark.parametrize("kind", ["lab", "tree"])
def test_a_keep_leaves_no_reverse_in_a_checkout(lab: Path, kind: str) -> None:
    """The fault that it was: the next plain `git commit` there took the best back."""
    holder = places(lab, kind)
    before = git(lab, "rev-parse", BRANCH)
    said = step(lab, 9, 8)
    assert len(said) == 1
    assert f"is checked out in {holder}" in said[0]
    assert git(holder, "status", "--porcelain", "-uno") == ""
    assert git(lab, "rev-parse", BRANCH) == before
    (holder / "train.py").write_text("SCORE = 1 # mine\n")
    way_out(said[0])
    assert (holder / "train.py").read_text() == "SCORE = 1 # mine\n"
    step(lab, 12)
    assert git(lab, "show", f"{BRANCH}:train.py") == "SCORE = 8"


def test_somebody_who_checks_it_out_meanwhile_is_told_once(lab: Path) -> None:
    """The study goes on through several keeps, and the branch catches up within the session."""
    with opened(lab) as study:
        assert study.notices == ()
        tree = places(lab, "tree")
        said = tried(study, 9, 8)
        assert len(said) == 1 and str(tree) in said[0]
        best = study.ledger.best()
        assert best is not None and git(lab, "rev-parse", BRANCH) != best.commit
        way_out(said[0])
        study.step(ScriptedProposer(scores(12)))
        assert git(lab, "rev-parse", BRANCH) == best.commit


def test_every_work_tree_that_holds_it_is_named(lab: Path) -> None:
    """One branch may be checked out twice, by force."""
    tree = places(lab, "tree")
    git(lab, "switch", "-q", "--ignore-other-worktrees", "autoresearch/t")
    said = step(lab, 9)[0]
    assert f"checked out in {lab}, {tree}" in said
    way_out(said)
    assert [git(folder, "rev-parse", "--abbrev-ref", "HEAD") for folder in (lab, tree)] == [
        "HEAD",
        "HEAD",
    ]


def test_a_rebase_of_the_branch_holds_it_as_well(lab: Path) -> None:
    """Git shows such a work tree as detached, and moves the branch at the end."""
    tree = places(lab, "tree")
    git(tree, "commit", "-q", "--allow-empty", "-m", "one")
    git(tree, "-c", "sequence.editor=sed -i s/pick/edit/", "rebase", "-q", "-i", "HEAD~1")
    assert Git.discover(lab).holders(BRANCH) == [tree]


def test_a_work_tree_that_is_gone_holds_nothing(lab: Path) -> None:
    """Git remembers it until it is pruned."""
    places(lab, "tree").rename(lab.parent / "elsewhere")
    assert step(lab, 9) == []
    assert git(lab, "show", f"{BRANCH}:train.py") == "SCORE = 9"


def test_the_doctor_sees_a_branch_that_waits(lab: Path) -> None:
    """It is no harm: the way out is named."""
    tree = places(lab, "tree")
    step(lab, 9)
    task = Task.load(lab)
    with read_study(task) as (ledger, paths, repository):
        found = {f.name: f for f in examine_study(task, ledger, paths, repository)}
    assert found["branch"].good
    assert f"git -C '{tree}' switch --detach" in found["branch"].seen
