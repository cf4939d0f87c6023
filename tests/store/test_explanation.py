"""Explanation: why a trial was decided as it was, as data and in words."""

from __future__ import annotations

import json
import math

import pytest

from autoresearch.store.ledger import Explanation, Status, Trial
from autoresearch.store.results import jsonl
from autoresearch.store.rows import from_trials

WORDS = [
    (Explanation("worse", 4, gain=-0.107, sds=-3.06), "worse than #4 by 0.11 (3.1 sd)"),
    (Explanation("worse", 4, gain=-0.105, sds=-3.0), "worse than #4 by 0.1 (3 sd)"),
    (Explanation("worse", 4, gain=-0.5), "worse than #4 by 0.5"),
    (Explanation("worse", 4, gain=0.0), "equal to #4"),
    (Explanation("worse", 4, gain=-1234.5, sds=-17.4), "worse than #4 by 1200 (17 sd)"),
    (Explanation("worse", 0, gain=-3e-10, sds=-2.0), "worse than #0 by 3e-10 (2 sd)"),
    (Explanation("worse", None, gain=-1.0), "worse than its parent by 1"),
    (
        Explanation("worse", 4, gain=-0.12, sds=-3.0, relative=True),
        "worse than #4 by 12 % (3 sd)",
    ),
    (Explanation("within_noise", 4, gain=0.01, sds=0.2), "within noise of #4 (0.2 sd)"),
    (Explanation("within_noise", 4, gain=-0.01, sds=-0.2), "within noise of #4 (-0.2 sd)"),
    (
        Explanation("within_noise", 4, gain=0.01, sds=0.2, believed=2.32954),
        "within noise of #4, believed to be 2.33 (0.2 sd)",
    ),
    (
        Explanation("within_noise", 4, gain=0.01, sds=0.2, fell_back=True),
        "second run fell back: within noise of #4 (0.2 sd)",
    ),
    (
        Explanation("worse", 4, gain=-0.1, sds=-2.0, fell_back=True),
        "second run fell back: worse than #4 by 0.1 (2 sd)",
    ),
    (
        Explanation("too_small", 4, gain=0.01, sds=5.0),
        "better than #4 by 0.01 (5 sd), less than min_delta",
    ),
    (Explanation("adds_code", 4, gain=0.1, sds=0.3, added=14), "adds 14 nodes for 0.3 sd"),
    (Explanation("adds_code", 4, sds=0.3, added=1, unit="lines"), "adds 1 line for 0.3 sd"),
    (
        Explanation("unconfirmed", 0, gain=0.02, sds=0.4, pairs=3),
        "unconfirmed: better than #0 by 0.02 (0.4 sd) in 3 pairs",
    ),
    (
        Explanation("unconfirmed", 0, gain=0.05, sds=0.4, low=-0.01, high=0.11, pairs=4),
        "unconfirmed: better than #0 by 0.05 (0.4 sd), -0.01 to 0.11 in 4 pairs",
    ),
    (
        Explanation("unconfirmed", 0, gain=-0.3, sds=-1.0, pairs=1),
        "unconfirmed: worse than #0 by 0.3 (1 sd) in 1 pair",
    ),
    (Explanation("unmeasurable"), "unmeasurable: in one pair every try had a run that failed"),
    (Explanation("step", 4, gain=0.2, sds=1.3), "looks better than #4 by 0.2 (1.3 sd)"),
    (
        Explanation("step", 4, gain=0.2, sds=1.3, believed=2.4),
        "looks better than #4, believed to be 2.4, by 0.2 (1.3 sd)",
    ),
    (
        Explanation("step", 4, gain=-0.01, sds=-0.1, added=-5),
        "simpler by 5 nodes, and within noise of #4 (-0.1 sd)",
    ),
    (
        Explanation("step", 4, gain=0.2, sds=2.0, added=-1, unit="lines"),
        "simpler by 1 line, and looks better than #4 by 0.2 (2 sd)",
    ),
    (Explanation("better", 4, gain=0.0, added=-5), "simpler by 5 nodes, and equal to #4"),
    (Explanation("better", 4, gain=0.2), "better than #4 by 0.2"),
    (
        Explanation("confirmed", 0, gain=0.5, sds=3.0, low=0.2, high=0.8),
        "confirmed: better than #0 by 0.5 (3 sd), 0.2 to 0.8",
    ),
    (
        Explanation("confirmed", 0, gain=0.9697, low=0.96846, high=0.97093, relative=True),
        "confirmed: better than #0 by 97 %, 96.85 % to 97.09 %",
    ),
    (
        Explanation("confirmed", 0, gain=888.69, sds=400.0, low=887.123, high=890.456),
        "confirmed: better than #0 by 890 (400 sd), 887.1 to 890.5",
    ),
    (
        Explanation("confirmed", 0, gain=3e-9, sds=4.0, low=1.234e-9, high=4.567e-9),
        "confirmed: better than #0 by 3e-09 (4 sd), 1.2e-09 to 4.6e-09",
    ),
    (
        Explanation("confirmed", 0, gain=0.05, sds=1.0, low=-0.067, high=0.176),
        "kept, and not confirmed: better than #0 by 0.05 (1 sd), -0.07 to 0.18",
    ),
    (
        Explanation("confirmed", 0, gain=0.01, sds=0.1, low=-0.1, high=0.12, added=-3),
        "confirmed as no worse, and simpler: better than #0 by 0.01 (0.1 sd), -0.1 to 0.12",
    ),
]


@pytest.mark.parametrize(("why", "words"), WORDS)
def test_it_says_against_what_by_how_much_and_in_sds(why: Explanation, words: str) -> None:
    """Two digits of a difference, and no more of an sd than it is worth."""
    assert why.words == words


@pytest.mark.parametrize("why", [why for why, _ in WORDS])
def test_it_is_the_same_after_the_ledger(why: Explanation) -> None:
    """The column is JSON, and read back it is the same to the last bit."""
    assert Explanation.of(why.text) == why
    assert json.loads(why.text)["kind"] == why.kind


@pytest.mark.parametrize("sds", [math.inf, -math.inf, 5000.0, -5000.0])
def test_a_difference_without_measure_is_no_flood_of_digits(sds: float) -> None:
    """Beside a noise of next to nothing any difference is over 1000 sd."""
    assert Explanation("worse", 1, gain=-1.0, sds=sds).words == "worse than #1 by 1 (over 1000 sd)"


def test_a_difference_that_no_number_holds_is_kept_and_exported() -> None:
    """Two metrics of 1e308 on either side of zero: the ledger and strict JSON take it."""
    why = Explanation("worse", 0, gain=-math.inf, sds=-math.inf)
    assert Explanation.of(why.text) == why
    lost = Trial(1, "a", "note", "me", commit="b", status=Status.DISCARD, explanation=why)
    assert json.loads(jsonl([lost]))["explanation"]["gain"] == "-inf"
    assert why.words == "worse than #0 by inf (over 1000 sd)"


def test_trial_row_and_json_lines_say_it() -> None:
    """One sentence for all outputs; the machine word of a crash stays where there is no more."""
    why = Explanation("worse", 0, gain=-0.5, sds=-2.0)
    lost = Trial(1, "a", "note", "me", commit="b", status=Status.DISCARD, explanation=why)
    failed = Trial(2, "a", "note", "me", commit="c", status=Status.CRASH, reason="timeout")
    sentence = "worse than #0 by 0.5 (2 sd)"
    assert (lost.because, lost.why) == (sentence, f" [{sentence}]")
    assert (failed.because, failed.why) == ("timeout", " [timeout]")
    assert [row.because for row in from_trials([lost, failed])] == [sentence, "timeout"]
    first, second = map(json.loads, jsonl([lost, failed]).splitlines())
    assert (first["because"], first["explanation"]["sds"]) == (sentence, -2.0)
    assert (second["because"], second["explanation"]) == ("timeout", None)
