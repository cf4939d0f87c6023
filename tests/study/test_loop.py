"""The loop's limits."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from autoresearch.errors import ProposerError
from autoresearch.proposers import Brief, Proposal
from autoresearch.proposers.fake import ScriptedProposer
from autoresearch.store.ledger import Trial
from autoresearch.store.pause import read_pause
from autoresearch.strategies.alarms import alarms
from autoresearch.study.loop import StopLimits, research
from tiny_lab import CRASHES, TASK, edit, make_lab, opened, scores


def test_without_limits_only_the_proposer_ends_it(tmp_path: Path) -> None:
    """A script that is over ends the session with its own words, and what was done stands."""
    with opened(make_lab(tmp_path / "lab")) as study:
        assert "script is over" in research(study, ScriptedProposer(scores(9, 8)), StopLimits())
        assert len(study.ledger) == 3


def test_a_proposer_with_nothing_at_all_is_an_error(tmp_path: Path) -> None:
    """A session that could not do a single trial does not look like a success."""
    with opened(make_lab(tmp_path / "lab")) as study, pytest.raises(ProposerError):
        research(study, ScriptedProposer([]), StopLimits())


def test_trials_count_experiments_and_not_the_baseline(tmp_path: Path) -> None:
    """Two trials are two edits, in this session."""
    with opened(make_lab(tmp_path / "lab")) as study:
        proposer = ScriptedProposer(scores(9, 8, 7))
        assert research(study, proposer, StopLimits(trials=2)) == "2 of 2 trials are done"
        assert research(study, proposer, StopLimits(trials=1)) == "1 of 1 trials are done"
        assert len(study.ledger) == 4


def test_a_deadline_in_the_past_allows_the_baseline_only() -> None:
    """The time is looked at before each trial."""
    assert StopLimits(until=time.time() - 1).reached(0) == "the time is up"
    assert StopLimits(until=time.time() + 60).reached(5) is None


class Troubled:
    """A proposer whose first calls meet trouble of our own side."""

    name = "troubled"

    def __init__(self, *errors: Exception) -> None:
        self._good = ScriptedProposer(scores(9, 8, 7))
        self._errors = [None, *errors]

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Fail as the script says, then propose."""
        error = self._errors.pop(0) if self._errors else None
        if error is not None:
            raise error
        return self._good.propose(workspace, brief)


def test_the_same_trouble_five_times_in_a_row_is_waited_out_ever_longer(tmp_path: Path) -> None:
    """Four times at once, then a minute, two, four; each with a clear line; then it goes on."""
    waits: list[float] = []
    notes: list[str] = []
    proposer = Troubled(*[OSError("the disk is on fire")] * 7)
    with opened(make_lab(tmp_path / "lab")) as study:
        why = research(
            study, proposer, StopLimits(trials=2), on_note=notes.append, sleep=waits.append
        )
    assert why == "2 of 2 trials are done"
    assert waits == [0.0] * 4 + [60.0, 120.0, 240.0]
    assert "the disk is on fire" in notes[-1]
    assert "trying again in 240 s" in notes[-1]


def test_trouble_frees_the_reserve_and_good_times_hold_it_again(tmp_path: Path) -> None:
    """The bytes set aside are there for the ledger when the disk is full."""
    seen: list[bool] = []
    with opened(make_lab(tmp_path / "lab")) as study:
        assert study.reserve.path.exists()
        research(
            study,
            Troubled(OSError("No space left on device")),
            StopLimits(trials=2),
            sleep=lambda _: seen.append(study.reserve.path.exists()),
        )
        assert seen == [False]
        assert study.reserve.path.exists()


def test_trouble_before_anything_worked_is_raised(tmp_path: Path) -> None:
    """A lab that never ran is not waited for."""
    proposer = Troubled(OSError("broken from the start"))
    proposer._errors.pop(0)
    with (
        opened(make_lab(tmp_path / "lab")) as study,
        pytest.raises(OSError, match="broken from the start"),
    ):
        research(study, proposer, StopLimits())


def test_what_an_earlier_run_left_is_said_in_one_line(tmp_path: Path) -> None:
    """Going on from an unfinished trial is told before it happens."""
    lab, notes = make_lab(tmp_path / "lab"), []
    with opened(lab) as study:
        study.baseline()
        study.ledger.add(Trial(0, study.ask(), "half", "hand"))
    with opened(lab) as study:
        research(study, ScriptedProposer(scores(9)), StopLimits(trials=1), on_note=notes.append)
        assert len(study.ledger) == 2
    assert notes == ["An earlier run left trial 1 proposed; going on from there."]


def test_crashes_alike_pause_the_study_where_the_task_demands_it(tmp_path: Path) -> None:
    """The pause says why; after a resume the study goes on, until as many more crash alike."""
    lab = make_lab(tmp_path / "lab", task_toml=TASK + "[alarms]\nsame_crashes = 2\n")
    crashes = [edit(f"x = {number}\n{CRASHES}", f"crash {number}") for number in range(5)]
    notes: list[str] = []
    pauses: list[tuple[int, str]] = []
    with opened(lab) as study:

        def resume(_: float) -> None:
            pause = read_pause(study.paths)
            assert pause is not None
            pauses.append((len(study.ledger), pause.reason))
            study.paths.pause.unlink()

        script = ScriptedProposer(crashes)
        research(study, script, StopLimits(trials=5), on_note=notes.append, sleep=resume)
    said = "the last {} experiments crashed alike: RuntimeError: boom"
    assert pauses == [(3, said.format(2)), (5, said.format(4))]
    assert [note for note in notes if note.startswith("Paused")] == [
        f"Paused: {said.format(count)}. `autoresearch resume` goes on." for count in (2, 4)
    ]


def test_crashes_alike_do_not_pause_a_study_by_default(tmp_path: Path) -> None:
    """They are an alarm, and the study goes on."""
    crashes = [edit(f"x = {number}\n{CRASHES}", f"crash {number}") for number in range(4)]
    with opened(make_lab(tmp_path / "lab")) as study:
        research(study, ScriptedProposer(crashes), StopLimits(trials=4))
        assert read_pause(study.paths) is None
        assert next(alarm.kind for alarm in alarms(study.ledger, study.task)) == "crashes"
