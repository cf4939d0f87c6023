"""The loop's limits."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from autoresearch.errors import ProposerError
from autoresearch.loop import Limits, research
from autoresearch.proposers.fake import ScriptedProposer
from tiny_lab import make_lab, opened, scores


def test_without_limits_only_the_proposer_ends_it(tmp_path: Path) -> None:
    """A script that is over ends the session with its own words, and what was done stands."""
    with opened(make_lab(tmp_path / "lab")) as study:
        assert "script is over" in research(study, ScriptedProposer(scores(9, 8)), Limits())
        assert len(study.ledger) == 3


def test_a_proposer_with_nothing_at_all_is_an_error(tmp_path: Path) -> None:
    """A session that could not do a single trial does not look like a success."""
    with opened(make_lab(tmp_path / "lab")) as study, pytest.raises(ProposerError):
        research(study, ScriptedProposer([]), Limits())


def test_trials_count_experiments_and_not_the_baseline(tmp_path: Path) -> None:
    """Two trials are two edits, in this session."""
    with opened(make_lab(tmp_path / "lab")) as study:
        proposer = ScriptedProposer(scores(9, 8, 7))
        assert research(study, proposer, Limits(trials=2)) == "2 of 2 trials are done"
        assert research(study, proposer, Limits(trials=1)) == "1 of 1 trials are done"
        assert len(study.ledger) == 4


def test_a_deadline_in_the_past_allows_the_baseline_only() -> None:
    """The time is looked at before each trial."""
    assert Limits(until=time.time() - 1).reached(0) == "the time is up"
    assert Limits(until=time.time() + 60).reached(5) is None
