"""Story: the best so far, and the few numbers that summarize a study."""

from __future__ import annotations

import pytest

from autoresearch.report.story import Story, climb, counted, headline, number, percent, signed
from autoresearch.store.ledger import Status
from autoresearch.store.rows import Row, read_tsv
from report.made import MAXIMIZE, MINIMIZE, made_story, real_results


def test_the_staircase_of_the_real_file() -> None:
    """It starts at 0.997900, ends at 0.969686, moves 22 times, and its largest step is 0.011859."""
    story = Story("", MINIMIZE, read_tsv(real_results())[1])
    moved = [s for s in story.positions if s.record and s.before is not None]
    assert story.baseline is not None
    assert story.best is not None
    assert (story.baseline.value, story.best.value, story.best.number) == (0.9979, 0.969686, 118)
    assert len(moved) == 22
    assert min(s.delta or 0 for s in moved) == pytest.approx(-0.011859)
    assert headline(story) == "val_bpb 0.997900 → 0.969686 (−2.83 %)"
    assert counted(story) == "126 trials: 23 kept, 102 discarded, 1 crashed"


def test_only_kept_rows_move_the_staircase() -> None:
    """A discard with a better number and a keep with a worse one leave the best where it is."""
    rows = [
        Row(0, "", 1.0, 0, Status.KEEP, ""),
        Row(1, "", 0.5, 0, Status.DISCARD, "lucky"),
        Row(2, "", 1.1, 0, Status.KEEP, "simpler"),
        Row(3, "", None, 0, Status.CRASH, ""),
    ]
    assert [s.best for s in climb(rows, MINIMIZE)] == [1.0, 1.0, 1.0, 1.0]
    assert [s.best for s in climb(rows, MAXIMIZE)] == [1.0, 1.0, 1.1, 1.1]
    assert [s.delta for s in climb(rows, MINIMIZE)][:2] == [None, -0.5]


def test_a_story_without_numbers_has_a_headline() -> None:
    """Crashes only, or nothing at all: a sentence, not an error."""
    crashed = Story("", MINIMIZE, [Row(0, "", None, 0, Status.CRASH, "")])
    assert headline(crashed) == "no trial has a usable val_bpb yet"
    assert (crashed.best, crashed.baseline, crashed.trials_per_hour) == (None, None, None)
    assert headline(Story("", MINIMIZE, [])) == "no trial has a usable val_bpb yet"
    assert headline(Story("", MINIMIZE, made_story().rows[:1])) == "val_bpb 0.997900"


def test_trials_an_hour_count_running_time() -> None:
    """Two trials of 30 s and 90 s are 60 an hour."""
    rows = [Row(i, "", 1.0, 0, Status.KEEP, "", seconds=s) for i, s in enumerate((30.0, 90.0))]
    assert Story("", MINIMIZE, rows).trials_per_hour == 60


def test_numbers_are_written_for_people() -> None:
    """Six decimals where they mean something, thousands apart, and a true minus sign."""
    assert [number(v) for v in (0.0, 0.9697, -2.5, 1234.56, 3e-9)] == [
        "0.000000", "0.969700", "−2.500000", "1,234.6", "3.00000e−09",
    ]  # fmt: skip
    assert (signed(-0.011859), signed(0.5)) == ("−0.011859", "+0.500000")
    assert (percent(0.5, 1.0), percent(1.0, 0.0), percent(300.0, 1.0)) == (
        "−50.00 %",
        "",
        "+29,900 %",
    )
