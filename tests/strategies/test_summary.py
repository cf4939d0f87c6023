"""The sentences of a summary, where a whole study would be needed to see them otherwise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoresearch.lab.metric import Metric
from autoresearch.strategies.screening_test import Claim
from autoresearch.strategies.summary import Figure, OpenSteps, Summary

BEST = Summary(Metric("loss"), baseline=Figure(0, 3.0, 4), best=Figure(9, 2.0, 4))


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (OpenSteps(1, 2.5, 4, 5), "1 step looks better, it measured 2.500000 (#4); not confirmed "
         "yet: that begins at 5 steps, or now, with autoresearch run --trials 0"),
        (OpenSteps(5, 2.5, 9, 5), "5 steps look better, the last one measured 2.500000 (#9); not "
         "confirmed yet: that comes next, or alone with autoresearch run --trials 0"),
        (OpenSteps(2, None, 9, None), "2 steps look better, the last one measured - (#9); not "
         "confirmed yet"),
        (None, ""),
    ],
)  # fmt: skip
def test_open_steps_say_what_they_wait_for(steps: OpenSteps | None, words: str) -> None:
    """How many, where the newest stands, and what confirms them."""
    assert replace(BEST, open=steps).open_text == words


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (Claim(1.0, 0.5, 1.5), "confirmed side by side on fresh seeds: better by 1.000000 "
         "(95 % interval 0.500000 to 1.500000)"),
        (Claim(0.1, -0.5, 0.7), "measured side by side on fresh seeds: better by 0.100000 "
         "(95 % interval -0.500000 to 0.700000); not sure"),
        (Claim(1.0, 1.0, 1.0), "better by 1.000000, exactly: runs of one commit are equal"),
        (Claim(0.0, 0.0, 0.0), "as good as the baseline, and simpler: runs of one commit are "
         "equal"),
        (None, ""),
    ],
)  # fmt: skip
def test_a_gain_says_how_it_was_measured_and_how_sure_it_is(gain: Claim | None, words: str) -> None:
    """Only what excludes no gain is called confirmed."""
    assert replace(BEST, gain=gain).gain_text == words


def test_verify_takes_the_place_of_the_confirmation() -> None:
    """With one seed it has no interval."""
    best = Figure(9, 2.0, 1, verified=True)
    told = replace(BEST, best=best, gain=Claim(1.0, 1.0, 1.0)).gain_text
    assert told == "measured by verify, side by side on fresh seeds: better by 1.000000"
