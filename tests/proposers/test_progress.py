"""Progress: a proposer that wraps others passes on what the one at work reports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch.proposers import Brief, Progress, Proposal, Proposer, progress
from autoresearch.proposers.controls import Controlled, Noop
from autoresearch.proposers.fake import ScriptedProposer
from autoresearch.proposers.record import Recorder
from autoresearch.proposers.team import Fallback

BRIEF = Brief("Make the score small.", ("train.py",), "c0")


class Working:
    """A proposer that reports while it works, and records what its wrapper then passes on."""

    name = "working"
    max_seconds = 60.0

    def __init__(self) -> None:
        self.wrapper: Proposer = self
        self.seen: list[Progress | None] = []
        self._at: Progress | None = None

    def progress(self) -> Progress | None:
        """What it does now."""
        return self._at

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Work for a moment."""
        self._at = Progress(0.5, 7000, "I read the file")
        self.seen.append(progress(self.wrapper))
        self._at = None
        return Proposal("done")


WRAPPERS: dict[str, Callable[[Proposer, Path], Proposer]] = {
    "itself": lambda inner, _: inner,
    "recorder": lambda inner, folder: Recorder(inner, folder / "night.jsonl"),
    "controls": lambda inner, _: Controlled(inner, [(Noop(), 0.0)]),
    "team": lambda inner, _: Fallback([("script", ScriptedProposer([])), ("agent", inner)]),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_one_at_work_is_heard(wrapper: str, tmp_path: Path) -> None:
    """While it works its report arrives whole; before and after there is none."""
    (tmp_path / "train.py").write_text("SCORE = 10\n")
    inner = Working()
    inner.wrapper = WRAPPERS[wrapper](inner, tmp_path)
    assert progress(inner.wrapper) is None
    assert inner.wrapper.propose(tmp_path, BRIEF).note == "done"
    assert inner.seen == [Progress(0.5, 7000, "I read the file")]
    assert progress(inner.wrapper) is None


def test_a_proposer_that_reports_nothing_has_no_progress() -> None:
    """As most do not."""
    assert progress(ScriptedProposer([])) is None
