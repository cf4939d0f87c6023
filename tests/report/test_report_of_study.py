"""The report of a real study: a stack of two steps, what each gives alone, and the net diff."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.cli.report import study_story
from autoresearch.executors.local import LocalExecutor
from autoresearch.lab.task import Task
from autoresearch.proposers import Proposal
from autoresearch.report.page import page
from autoresearch.report.plan import Plan
from autoresearch.report.stacks import UNTESTED
from autoresearch.report.verdict import verdict
from autoresearch.store.ledger import Status
from autoresearch.strategies.registry import make_strategy
from autoresearch.study.opening import open_study
from autoresearch.study.study import Study
from autoresearch.study.verify import ablate
from tiny_lab import NOISY, make_lab

# The score is what two constants add up to, and noise that the seed decides.
RUN = """
import os, random, train
luck = random.Random(f"{os.environ['AUTORESEARCH_SEED']} {train.A + train.B}").gauss(0, 0.1)
print("score:", train.A + train.B + luck)
"""


def edited(study: Study, old: str, new: str) -> Status | None:
    """A trial that replaces some text in the tip's train.py."""
    parent = study.ask()
    text = study.workspaces.read(parent, "train.py")
    assert old in text
    edit = {"train.py": text.replace(old, new).encode()}
    return study.tell(parent, edit, Proposal(f"{old} -> {new}"), "hand").status


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """A lab whose baseline scores 20, give or take."""
    train = "A = 10.0\n\n\n# between\n\n\nB = 10.0\n"
    return Task.load(make_lab(tmp_path / "lab", **NOISY | {"run_py": RUN, "train_py": train}))


def test_a_stack_is_named_by_its_strongest_step_and_its_members_are_untested(task: Task) -> None:
    """Open steps, then a keep of both; until ablate runs, none of them is known alone."""
    with open_study(task, "t", make_strategy("confirm", task.keep), LocalExecutor()) as study:
        study.baseline()
        assert edited(study, "B = 10.0", "B = 9.0") is Status.TENTATIVE
        assert edited(study, "A = 10.0", "A = 5.0") is Status.TENTATIVE
        assert edited(study, "A = 5.0", "A = 5.0 / 0") is Status.CRASH

        story = study_story(task, "t")
        assert [step.row.number for step in story.open_steps] == [1, 2]
        assert Plan(story).tip_line()[0][0] == 0
        assert verdict(story).text.startswith("Nothing better than the baseline is kept yet")
        assert story.rows[3].detail.startswith("ZeroDivisionError")

        kept = study.finish()
        assert kept is not None and kept.status is Status.KEEP
        story = study_story(task, "t")
        assert story.open_steps == ()
        assert "A = 10.0 -> A = 5.0 +1 more" in {label.text for label in Plan(story).labels}
        assert {step.trial: step.alone for step in story.members.values()} == {
            1: UNTESTED, 2: UNTESTED,
        }  # fmt: skip
        assert page(story).count(UNTESTED) == 5  # two lists, and what it means
        changed = [(line.text, line.trial) for line in story.net[0].lines if line.sign in "+-"]
        assert changed == [("A = 10.0", 2), ("A = 5.0", 2), ("B = 10.0", 1), ("B = 9.0", 1)]

        list(ablate(study, 3))
        alone = {step.trial: step.alone for step in study_story(task, "t").members.values()}
        assert all(text.startswith("without it the best loses +") for text in alone.values())
        assert UNTESTED not in page(study_story(task, "t")).partition("What is confirmed")[0]


def test_a_difference_is_against_what_a_trial_started_from(task: Task) -> None:
    """A discard on a step is compared with that step, also after the step was confirmed."""
    with open_study(task, "t", make_strategy("confirm", task.keep), LocalExecutor()) as study:
        study.baseline()
        assert edited(study, "A = 10.0", "A = 5.0") is Status.TENTATIVE
        assert edited(study, "A = 5.0", "A = 7.0") is Status.DISCARD
        study.finish()
        story = study_story(task, "t")
        step, discard, keep = story.positions[1:4]
        assert (step.row.parent, discard.row.parent, keep.row.parent) == (0, 1, 0)
        assert discard.start == step.row.value
