"""The verdict: one sentence that is true, whatever happened; and what alarms."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoresearch.lab.metric import Metric
from autoresearch.report.failures import failures
from autoresearch.report.proposer_stats import ProposerStats
from autoresearch.report.story import Story
from autoresearch.report.verdict import alarms, verdict
from autoresearch.store.ledger import Status
from autoresearch.store.rows import Row
from autoresearch.strategies.screening_test import Claim
from report.made import MAXIMIZE, MINIMIZE, all_crash, long_study, made_story


def crashed(number: int, detail: str, reason: str = "failed") -> Row:
    """A trial that ran and gave no number."""
    return Row(number, "", None, 0.0, Status.CRASH, "edit", reason, detail=detail)


def baseline_and(*rows: Row) -> Story:
    """A study of a baseline of 50 and these."""
    first = Row(0, "", 50.0, 0.0, Status.KEEP, "baseline")
    return Story.of_rows("", Metric("score"), (first, *rows))


def test_a_keep_is_two_values_and_the_confirmed_gain() -> None:
    """Both values were measured, the percentage is theirs, the gain has its interval."""
    story = long_study()
    found = verdict(story)
    assert found.text == (
        "val_bpb went from 3.305000 to 3.025000 (-8.47 %) in trial #51; "
        "confirmed side by side on fresh seeds: better by 0.280000 "
        "(95 % interval 0.240000 to 0.320000)."
    )
    assert found.value == story.summary.digits.value(story.rows[51].value)


def test_without_a_confirmation_the_verdict_says_so() -> None:
    """A results file knows nothing of confirmations."""
    assert verdict(made_story()).text.endswith("in trial #10; no confirmation is on record.")


def test_nothing_better_is_said_plainly() -> None:
    """The baseline alone, and discards beside it, are no gain."""
    worse = Row(1, "", 60.0, 0.0, Status.DISCARD, "edit")
    said = "Nothing better than the baseline is kept yet: score stands at 50.000000."
    assert verdict(baseline_and()).text == said
    assert verdict(baseline_and(worse)).text == said


def test_a_night_of_one_failure_is_the_verdict() -> None:
    """All experiments failed in one way: with a baseline, without one, and a single trial."""
    alone = Story.of_rows("", MINIMIZE, tuple(crashed(n, "no GPU") for n in range(3)))
    assert verdict(all_crash()).text == (
        "12 of 12 crashed alike: ZeroDivisionError: division by zero at line 12; "
        "nothing is kept beside the baseline, score 50.000000."
    )
    assert verdict(alone).text == "3 of 3 crashed alike: no GPU."
    assert verdict(baseline_and(crashed(1, "no GPU"))).text.startswith(
        "The only trial that ran crashed: no GPU; nothing is kept"
    )


def test_failures_of_two_kinds_are_no_verdict() -> None:
    """Nor are failures beside a trial that ran."""
    two = baseline_and(crashed(1, "no GPU"), crashed(2, "no disk"))
    one_ran = baseline_and(crashed(1, "x"), Row(2, "", 60.0, 0.0, Status.DISCARD, ""))
    for story in (two, one_ran):
        assert verdict(story).text.startswith("Nothing better than the baseline")
    none = Story.of_rows("", MINIMIZE, (crashed(0, "a"), crashed(1, "b")))
    assert verdict(none).text == "No trial has a usable val_bpb yet."


@pytest.mark.parametrize("gain", [Claim(0.05, -0.067, 0.176), Claim(-0.01, -0.02, 0.0)])
def test_an_interval_that_includes_no_gain_is_not_called_confirmed(gain: Claim) -> None:
    """The verdict and an alarm say that the gain is not sure."""
    story = long_study()
    unsure = replace(story, summary=replace(story.summary, gain=gain))
    assert "confirmed" not in verdict(unsure).text
    assert "is not sure" in verdict(unsure).text
    assert any("includes no gain" in alarm for alarm in alarms(unsure))


def test_a_keep_that_measures_worse_is_not_called_better() -> None:
    """Its confirmation may have decided so, and verify may have measured otherwise."""
    story = made_story()
    best = story.summary.best
    assert best is not None
    worse = replace(story, summary=replace(story.summary, best=replace(best, value=1.1)))
    assert "which is not better than the baseline's 0.997900 as measured" in verdict(worse).text


def test_more_is_better_for_a_score() -> None:
    """The direction decides, not the sign of the change."""
    rows = [Row(k, "", 0.5 + k / 10, 0.0, Status.KEEP, "edit") for k in range(3)]
    said = verdict(Story.of_rows("", MAXIMIZE, rows)).text
    assert said.startswith("score went from 0.500000 to 0.700000 (+40.00 %)")


def test_three_failures_alike_are_an_alarm() -> None:
    """Two are not; the numbers in their words may differ, and so may folders and addresses."""
    rows = [
        crashed(1, "CUDA out of memory: tried 20.00 MiB", "oom"),
        crashed(2, "CUDA out of memory: tried 1,200 MiB", "oom"),
        crashed(3, "CUDA out of memory: tried 7 MiB", "oom"),
        crashed(4, "No such file: /tmp/run-1/x.bin"),
        crashed(5, "No such file: /tmp/other/x.bin"),
        Row(6, "", 60.0, 0.0, Status.DISCARD, ""),
        Row(7, "", None, 0.0, Status.CRASH, "", "duplicate", skipped=True),
    ]
    story = baseline_and(*rows)
    assert [one.trials for one in failures(story.rows)] == [(1, 2, 3), (4, 5)]
    assert alarms(story) == (
        "3 of 7 trials that ran crashed alike: oom: CUDA out of memory: tried 7 MiB",
    )


def test_different_reasons_are_not_alike() -> None:
    """A timeout and a killed run may end in the same words."""
    rows = [crashed(1, "step 10", "timeout"), crashed(2, "step 10", "killed")]
    assert [one.text for one in failures(rows)] == [
        "1 crashed alike: timeout: step 10", "1 crashed alike: killed: step 10",
    ]  # fmt: skip


def test_failures_without_words_have_their_reason() -> None:
    """A results file has neither."""
    assert failures([crashed(1, "", "")])[0].words == "no reason is on record"
    assert failures([crashed(1, "", "no_metric")])[0].words == "no metric"


def test_a_kept_control_is_an_alarm() -> None:
    """noop changes nothing: a keep of it is luck."""
    story = replace(made_story(), proposers=(ProposerStats("noop", 9, 0, 1, control=True),))
    assert any("noop" in alarm for alarm in alarms(story))
    assert not alarms(made_story())
