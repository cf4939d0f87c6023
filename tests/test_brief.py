"""What a proposer is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.brief import RECENT, CommitFiles, make_brief
from autoresearch.proposers.fake import ScriptedProposer
from tiny_lab import CRASHES, TASK, edit, make_lab, opened, scores


def test_the_contract_names_files_metric_and_limits(tmp_path: Path) -> None:
    """An agent learns from the text alone what it may do and how it is measured."""
    lab = make_lab(tmp_path / "lab", task_toml=TASK.replace("= 20", "= 20\nseconds = 7"))
    with opened(lab) as study:
        study.baseline()
        text = make_brief(study.task, study.ledger, study.ask(), study.read).text
    for said in ("Edit only: train.py", "`python run.py`", "reads score; lower", "20 s", "7 s"):
        assert said in text


def test_an_edited_program_is_read_at_the_next_proposal(tmp_path: Path) -> None:
    """A person steers by editing program.md while the study runs."""
    lab = make_lab(tmp_path / "lab")
    proposer = ScriptedProposer(scores(9, 8))
    with opened(lab) as study:
        study.baseline()
        study.step(proposer)
        (lab / "program.md").write_text("Try negative numbers.\n")
        study.step(proposer)
    assert "Try negative numbers." not in proposer.briefs[0].text
    assert "Try negative numbers." in proposer.briefs[1].text


def test_the_same_ledger_gives_the_same_brief(tmp_path: Path) -> None:
    """Crashes are told with their reason, and only the last trials one by one."""
    lab = make_lab(tmp_path / "lab")
    with opened(lab) as study:
        proposer = ScriptedProposer([edit(CRASHES, "boom"), *scores(*range(11, 12 + RECENT))])
        study.baseline()
        for _ in range(RECENT + 2):
            study.step(proposer)
        briefs = [make_brief(study.task, study.ledger, study.ask(), study.read) for _ in "ab"]
    assert briefs[0].text == briefs[1].text
    assert "score 31" in briefs[0].text
    assert "boom" not in briefs[0].text
    assert briefs[0].history[1].outcome == "crash"


def test_files_of_a_commit_are_read_when_looked_at() -> None:
    """A brief of a thousand trials costs nothing until somebody reads them."""
    asked = []

    def read(commit: str, path: str) -> str:
        asked.append((commit, path))
        return "text"

    files = CommitFiles("abc", ("train.py",), read)
    assert (list(files), len(files), asked) == (["train.py"], 1, [])
    assert files["train.py"] == "text"
    assert asked == [("abc", "train.py")]
    with pytest.raises(KeyError):
        files["prepare.py"]
