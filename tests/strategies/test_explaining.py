"""Every decision says why: against what the trial started from, by how much, in sds of one run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autoresearch.lab.metric import Metric
from autoresearch.lab.task import Keep
from autoresearch.store.ledger import Explanation, Ledger, Status, Trial
from autoresearch.strategies import RunRequest
from autoresearch.strategies.greedy import Greedy
from strategies.confirmed import SPREAD, Lab

METRICS = {"minimize": Metric("val_bpb"), "maximize": Metric("accuracy", "maximize")}
MakeLab = Callable[..., Lab]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeLab]:
    """Make a lab: `make(Keep(steps=1), Metric("loss"))`."""
    with contextlib.ExitStack() as stack:

        def make(keep: Keep | None = None, metric: Metric = METRICS["minimize"]) -> Lab:
            ledger = Ledger(tmp_path / f"{len(list(tmp_path.glob('*.db')))}.db", metric)
            return Lab(stack.enter_context(contextlib.closing(ledger)), keep)

        yield make


@pytest.fixture(params=METRICS)
def lab(request: pytest.FixtureRequest, make: MakeLab) -> Lab:
    """A lab of each direction in turn, its baseline run: worth 0, with a noise of one."""
    made = make(metric=METRICS[request.param])
    made.baseline()
    return made


def why(trial: Trial) -> Explanation:
    """Its explanation, which it has."""
    assert trial.explanation is not None
    return trial.explanation


def test_a_discard_says_by_how_much_it_is_worse_than_its_parent(lab: Lab) -> None:
    """The baseline is worth 0 with a noise of one: -3 is 3 sd, and -0.2 is within the noise."""
    worse, near, good = lab.edit(-3.0), lab.edit(-0.2), lab.edit(0.2)
    assert worse.because == "worse than #0 by 3 (3 sd)"
    assert near.because == "within noise of #0 (-0.2 sd)"
    assert good.because == "within noise of #0 (0.2 sd)"
    assert (why(worse).against, why(worse).gain, why(worse).sd) == (0, -3.0, pytest.approx(1.0))


def test_it_is_compared_with_its_own_parent_and_not_with_the_last_keep(lab: Lab) -> None:
    """A step of 10 stands on the baseline: 8 is worse than the step, though better than #0."""
    step = lab.edit(10.0 + SPREAD, 10.0 - SPREAD)
    assert step.because == "looks better than #0 by 10 (10 sd)"
    lost = lab.edit(-1.2)  # the step is believed to be 9.2, so this is 8.0
    assert lost.value == pytest.approx(lab.sign * 8.0)
    assert lost.because == "worse than #1 by 2 (2 sd)"


def test_where_the_shown_value_contradicts_the_decision_the_believed_one_is_named(
    lab: Lab,
) -> None:
    """A tip that was run again at 4 is believed to be better than the 0 that it showed first."""
    for _ in range(19):
        lab.edit(-2.0)
    lab.edit(-2.0, refresh=4.0)  # the level is now 1
    lost = lab.edit(0.1)
    assert lost.value == pytest.approx(lab.sign * 1.1)
    believed = f"{lab.sign:.4g}"
    assert lost.because == f"within noise of #0, believed to be {believed} (0.1 sd)"


def test_a_second_run_that_fell_back_is_told_as_that(lab: Lab) -> None:
    """The mean of 2 and -1.2 is 0.4: within the noise, though the first run looked good."""
    assert lab.edit(2.0, -1.2).because == "second run fell back: within noise of #0 (0.4 sd)"
    assert lab.edit(1.0, -5.0).because == "second run fell back: worse than #0 by 2 (2 sd)"


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ({"nodes": 14}, "adds 14 nodes for 0.7 sd"),
        ({"nodes": None, "lines": 1}, "adds 1 line for 0.7 sd"),
    ],
)
def test_code_that_is_not_worth_its_gain_is_counted(
    lab: Lab, size: dict[str, int | None], words: str
) -> None:
    """Nodes, or lines where no syntax tree is known."""
    lost = lab.edit(0.7, 0.7, **size)
    assert (lost.reason, lost.because) == ("adds_code", words)


def test_a_simpler_step_says_that_it_is_simpler(lab: Lab) -> None:
    """It need not look better, so that is not what is said."""
    step = lab.edit(0.1 + SPREAD, 0.1 - SPREAD, nodes=-5)
    assert step.because == "simpler by 5 nodes, and within noise of #0 (0.1 sd)"


def test_a_gain_below_min_delta_is_no_noise(make: MakeLab) -> None:
    """2.5 sd better, and 3 are asked for."""
    lab = make(Keep(min_delta=3.0))
    lab.baseline()
    assert lab.edit(2.5).because == "better than #0 by 2.5 (2.5 sd), less than min_delta"


def test_a_confirmation_says_what_its_pairs_showed(lab: Lab) -> None:
    """Open, given up, and confirmed with its interval: each against the incumbent."""
    lab.steps(5)
    opened = lab.confirmation(1.0, 1.0, 1.0)
    assert opened.because.startswith("unconfirmed: better than #0 by 1 (1")
    assert opened.because.endswith("in 3 pairs")
    lab.steps(2)
    lost = lab.confirmation(-3.0)
    assert lost.because.startswith("unconfirmed: worse than #0 by 3 (3")
    assert lost.because.endswith("in 1 pair")
    lab.steps(5)
    kept = lab.confirmation(9.0, 9.0, 9.0, 9.0)
    (claim,) = (keep.claim for keep in lab.at.confirmed)
    assert (why(kept).gain, why(kept).low, why(kept).high) == (
        claim.estimate,
        claim.low,
        claim.high,
    )
    assert kept.because.startswith("confirmed: better than #0 by ")
    later = lab.edit(-5.0)
    assert why(later).against == kept.number  # the keep has the name, not its last step


def test_a_keep_that_its_claim_does_not_bear_out_says_so(lab: Lab) -> None:
    """Three pairs pass the bar, and the fourth is terrible: the interval holds no gain, no keep."""
    lab.steps(5)
    for _ in range(30):
        lab.edit(-2.0)  # earns the error of a confirmation
    lost = lab.confirmation(1.2, 1.3, 1.25, -8.0, last=True)
    assert (str(lost.status), lost.reason) == ("discard", "unconfirmed")
    explanation = why(lost)
    assert explanation.low is not None and explanation.low < 0
    assert explanation.pairs == 4
    assert "in 4 pairs" in lost.because
    assert lab.at.confirmed == ()


def test_what_could_not_be_measured_says_so(lab: Lab) -> None:
    """No number of it is made up."""
    lab.steps(5)
    lost = lab.confirmation(6.0, (None, 0.0), (6.0, None))
    assert lost.reason == "unmeasurable"
    assert lost.because == "unmeasurable: in one pair every try had a run that failed"


def test_without_noise_it_says_no_sds(make: MakeLab) -> None:
    """Equal, worse, or better by one run."""
    lab = make(Keep(noise="none"))
    lab.baseline(1.0, 1.0)
    assert lab.edit(-0.25).because == "worse than #0 by 0.25"
    assert lab.edit(0.0).because == "equal to #0"
    kept = lab.edit(0.5)
    assert kept.because == "better than #0 by 0.5"
    assert lab.edit(-0.25).because == f"worse than #{kept.number} by 0.25"


@pytest.mark.parametrize(("direction", "words"), [("minimize", "10 %"), ("maximize", "9.5 %")])
def test_on_a_log_scale_it_says_shares(make: MakeLab, direction: str, words: str) -> None:
    """A loss of 110 is a tenth worse than 100; an accuracy of e^-0.1 less by 9.5 in a hundred."""
    metric = Metric("x", direction, scale="log")  # type: ignore[arg-type]
    lab = make(metric=metric)
    noise = iter((1.01, 0.99, 1.01, 0.99))
    lab.play(lab.added("base", "base"), lambda *_: lab.sign * 100 * next(noise))
    factor = 1.1 if direction == "minimize" else 0.905
    lost = lab.play(lab.added("base", ""), lambda *_: lab.sign * 100 * factor)
    assert str(lost.status) == "discard"
    assert lost.because.startswith(f"worse than #0 by {words} (")


def test_the_guards_reason_is_the_reason(lab: Lab) -> None:
    """What a bound refused was better: no comparison explains it."""
    refused = lab.edit(3.0, 3.0, refused="size is 6, above its maximum 5")
    assert (refused.explanation, refused.because) == (None, "size is 6, above its maximum 5")


@pytest.mark.parametrize("rule", [1, 2])
def test_studies_of_both_rules_explain_themselves(make: MakeLab, rule: int) -> None:
    """An older study goes on with its rule, and says why from now on."""
    lab = make(Keep(rule=rule))
    lab.baseline()
    assert lab.edit(-3.0).because == "worse than #0 by 3 (3 sd)"
    lab.steps(5)
    assert lab.confirmation(-3.0).because.startswith("unconfirmed: worse than #0 by 3 (3")


def test_greedy_says_it_without_sds(make: MakeLab) -> None:
    """It knows no noise, and its discards are told by the best."""
    lab = make()
    lab.rule = Greedy()  # type: ignore[assignment]
    values = iter((5.0, 4.0, 6.0, 6.0))
    base = lab.added("base", "base")
    request = lab.rule.decide(base, lab.ledger).request
    assert request is None
    found = []
    for trial in (base, *(lab.added("base", "") for _ in range(3))):
        ran = lab.ran(trial, RunRequest(), next(values))
        found.append(lab.play(ran, lambda *_: 0.0))
    assert [trial.status for trial in found] == [
        Status.KEEP,
        Status.DISCARD,
        Status.KEEP,
        Status.DISCARD,
    ]
    assert [trial.because for trial in found] == [
        "",
        "worse than #0 by 1",
        "better than #0 by 1",
        "equal to #2",
    ]
