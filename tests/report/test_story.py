"""Story: the staircase, and the summary of bare rows."""

from __future__ import annotations

import pytest

from autoresearch.lab.metric import Metric
from autoresearch.report.story import Story
from autoresearch.store.ledger import Status
from autoresearch.store.rows import Row, read_tsv
from report.made import MAXIMIZE, MINIMIZE, made_story, real_results


def test_the_staircase_of_the_real_file() -> None:
    """It starts at 0.997900, ends at 0.969686, moves 22 times, and its largest step is 0.011859."""
    story = Story.of_rows("", MINIMIZE, read_tsv(real_results())[1])
    moved = [s for s in story.positions if s.record and s.before is not None]
    first, best = story.summary.baseline, story.summary.best
    assert first is not None
    assert best is not None
    assert (first.value, best.value, best.trial) == (0.9979, 0.969686, 118)
    assert len(moved) == 22
    assert min(s.delta or 0 for s in moved) == pytest.approx(-0.011859)
    assert story.summary.headline == "val_bpb 0.997900 → 0.969686 (-2.83 %)"
    assert story.summary.counts.text == "125 experiments: 22 keeps, 102 discarded, 1 crashed"


@pytest.mark.parametrize(
    ("metric", "best"), [(MINIMIZE, [1.0, 1.0, 1.0, 1.0]), (MAXIMIZE, [1.0, 1.0, 1.1, 1.1])]
)
def test_of_bare_rows_only_better_keeps_move_the_staircase(
    metric: Metric, best: list[float]
) -> None:
    """A discard with a better number and a keep with a worse one leave the best where it is."""
    rows = [
        Row(0, "", 1.0, 0, Status.KEEP, ""),
        Row(1, "", 0.5, 0, Status.DISCARD, "lucky"),
        Row(2, "", 1.1, 0, Status.KEEP, "simpler"),
        Row(3, "", None, 0, Status.CRASH, ""),
    ]
    story = Story.of_rows("", metric, rows)
    assert [s.best for s in story.positions] == best
    assert [s.delta for s in story.positions][:2] == [None, -0.5]


def test_a_difference_is_against_the_trial_it_started_from() -> None:
    """Not against the last keep, where the parent is known to be another trial."""
    rows = [
        Row(0, "", 1.0, 0, Status.KEEP, ""),
        Row(1, "", 0.5, 0, Status.TENTATIVE, "a step", parent=0),
        Row(2, "", 0.75, 0, Status.DISCARD, "made from the step", parent=1),
    ]
    story = Story.of_rows("", MINIMIZE, rows)
    assert [s.delta for s in story.positions] == [None, -0.5, 0.25]
    assert [s.best for s in story.positions] == [1.0, 1.0, 1.0]


def test_a_story_without_numbers_has_a_headline() -> None:
    """Crashes only, or nothing at all: a sentence, not an error."""
    crashed = Story.of_rows("", MINIMIZE, [Row(0, "", None, 0, Status.CRASH, "")]).summary
    assert crashed.headline == "no trial has a usable val_bpb yet"
    assert (crashed.best, crashed.baseline, crashed.trials_per_hour) == (None, None, None)
    none = Story.of_rows("", MINIMIZE, []).summary
    assert none.headline == "no trial has a usable val_bpb yet"
    first = Story.of_rows("", MINIMIZE, made_story().rows[:1]).summary
    assert first.headline == "val_bpb 0.997900, nothing better is confirmed yet"
