"""Noise: one sd for the study of rule 1, and one where the incumbent stands for rule 2."""

from __future__ import annotations

import contextlib
import itertools
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean

import pytest

from autoresearch.lab.metric import Metric
from autoresearch.lab.task import Keep
from autoresearch.store.ledger import Ledger, Status, Trial
from autoresearch.strategies import CONFIRMER, RunRequest
from autoresearch.strategies.confirmation import SequentialConfirmation
from autoresearch.strategies.noise import CUT, Group, LocalNoise, PooledNoise, agree
from autoresearch.strategies.summary import claimed_gain, noise_of
from strategies.confirmed import Lab

Draw = Callable[[random.Random], float]


def runs(rng: random.Random, level: float, sd: float, count: int) -> list[float]:
    """Runs of one commit."""
    return [rng.gauss(level, sd) for _ in range(count)]


def record(*groups: list[float], may_scale: bool = True) -> LocalNoise:
    """What these runs, each of one commit and the newest last, say of noise."""
    return LocalNoise(tuple(map(Group.of, groups)), may_scale)


# ---- the estimate --------------------------------------------------------------------------------


def test_runs_that_agree_are_pooled() -> None:
    """By hand: squares 2 + 2 + 0.5 over 1 + 1 + 1 degrees of freedom."""
    noise = record([0.0, 2.0], [10.0, 12.0], [5.0, 6.0])
    assert noise.at(7.0).sd == pytest.approx(math.sqrt(1.5))
    assert (noise.at(7.0).df, noise.runs, noise.how) == (3, 6, "pooled")


def test_where_the_noise_has_changed_the_newest_runs_count() -> None:
    """Shrunk or grown a hundredfold: the sd is that of the newest runs, from these alone."""
    rng = random.Random(1)
    for old, new in ((38.0, 0.38), (0.38, 38.0)):
        noise = record(*(runs(rng, 5.0, sd, 4) for sd in (old, old, new, new, new)))
        assert noise.at(5.0).sd == pytest.approx(new, rel=0.5)
        assert (noise.at(5.0).df, noise.runs, noise.how) == (9, 12, "recent")


def test_equal_noise_is_hardly_ever_cut() -> None:
    """A cut where nothing changed costs degrees of freedom: fewer than 2 in 100 studies."""
    rng, cuts = random.Random(2), 0
    for _ in range(1000):
        groups = [runs(rng, 0.0, 1.0, 4), *(runs(rng, 0.0, 1.0, 2) for _ in range(5))]
        groups += [runs(rng, 0.0, 1.0, 3) for _ in range(4)]
        cuts += record(*groups).how != "pooled"
    assert cuts < 20


def test_bartlett_by_an_independent_computation() -> None:
    """Variances 4 and 1 with 10 and 20 degrees of freedom: the statistic is 6.67, by hand.

    30 ln(2) - 10 ln(4) = 6.931; over 1 + (1/10 + 1/20 - 1/30) / 3 = 1.0389 that is 6.672.
    """
    assert CUT > 6.672
    assert agree(40.0, 10, 20.0, 20)
    # 30 ln(11/3) - 10 ln(9) = 17.0; over 1.0389 that is 16.4
    assert not agree(90.0, 10, 20.0, 20)
    assert agree(0.0, 3, 5.0, 3)  # runs that are equal by rounding say nothing of a change


def test_old_runs_leave_the_window() -> None:
    """Noise that grows slowly is followed: of 40 confirmations the last ones count."""
    rng = random.Random(3)
    noise = LocalNoise.of(runs(rng, 0.0, 1.0, 4))
    for number in range(40):
        sd = 1.03**number
        pairs = [(rng.gauss(1, sd), rng.gauss(0, sd)) for _ in range(3)]
        noise = noise.with_pairs(pairs, (), at_tip=True)
    assert noise.at(0.0).sd == pytest.approx(1.03**36, rel=0.3)
    assert noise.at(0.0).df <= 33
    assert len(noise.groups) < 40


def test_equal_runs_do_not_make_a_noisy_lab_exact() -> None:
    """A metric in steps of a hundredth is often equal twice; the noise once seen is not lost."""
    noise = LocalNoise.of([0.90, 0.91, 0.92, 0.91])
    for _ in range(60):
        noise = noise.with_pairs([(0.95, 0.91)] * 3, (), at_tip=True)
    assert noise.at(0.95).sd > 0
    assert LocalNoise.of([0.9] * 4).with_step([0.9, 0.9]).at(0.9).sd == 0


def test_relative_noise_is_recognised_and_follows_the_level() -> None:
    """4 % of the level, from 900 down to 0.9: known at levels where nothing has run yet."""
    rng = random.Random(4)
    levels = (900.0, 300.0, 90.0, 9.0, 0.9)
    noise = record(*(runs(rng, -level, 0.04 * level, 3) for level in levels))
    assert noise.how == "relative"
    for level in (2000.0, 30.0, 0.9):
        assert noise.at(-level).sd == pytest.approx(0.04 * level, rel=0.5)
    assert noise.at(-1.0).df == 10
    pairs = [(-10.0, -70.0), (-10.0, -70.0)]
    share = noise.at(-1.0).sd
    expected = share * math.sqrt((10**2 + 70**2) / 2)
    assert noise.of_pairs(pairs).sd == pytest.approx(expected, rel=0.3)  # with the pairs themselves


def test_constant_noise_is_not_taken_for_relative() -> None:
    """The same levels with one sd: it stays that, and so it does about zero."""
    rng = random.Random(5)
    for levels in ((900.0, 300.0, 90.0, 30.0), (3.0, 1.0, -1.0, -3.0), (2.0, 2.1, 2.2, 2.3)):
        noise = record(*(runs(rng, level, 0.5, 4) for level in levels))
        assert noise.how == "pooled"
        assert noise.at(1e6).sd == noise.at(levels[-1]).sd == pytest.approx(0.5, rel=0.6)


def test_a_record_of_rule_1_is_what_it_was() -> None:
    """Squares 2 of the baseline; pairs differ by 1 and 3, so squares 2 over the root of 2: 1."""
    noise = PooledNoise.of([0.0, 2.0]).with_step([5.0, 9.0])
    noise = noise.with_pairs([(1.0, 0.0), (3.0, 0.0)], [(9.0, 0.0)], at_tip=True)
    assert (noise.at(3.0).sd, noise.at(3.0).df) == (pytest.approx(math.sqrt(3 / 2)), 2)
    assert (noise.runs, noise.how) == (6, "pooled")


def test_the_screening_runs_of_a_step_are_not_smaller_noise() -> None:
    """A step was lucky in its first run; on average its squares are those of any two runs."""
    rng, squares = random.Random(6), []
    while len(squares) < 4000:
        one, two = rng.gauss(0, 1), rng.gauss(0, 1)
        if one > 0.3 and (one + two) / 2 > 0.5:
            squares.append(LocalNoise.of([0.0, 1.0]).with_step([one, two]).groups[-1].squares)
    assert fmean(squares) == pytest.approx(1.0, abs=0.12)


# ---- the rule on it ------------------------------------------------------------------------------


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Make a lab: `make(Metric("loss"), Keep(rule=1))`."""
    with contextlib.ExitStack() as stack:

        def make(metric: Metric, keep: Keep | None = None) -> Lab:
            ledger = Ledger(tmp_path / f"{len(list(tmp_path.glob('*.db')))}.db", metric)
            ledger.remember(strategy="confirm", keep=(keep or Keep()).settings, rule="2")
            if keep is not None and keep.rule is not None:
                ledger.remember(rule=str(keep.rule))
            return Lab(stack.enter_context(contextlib.closing(ledger)), keep)

        yield make


class World:
    """Commits of known values, in the metric's own unit, and runs of them."""

    def __init__(self, lab: Lab, start: float, sd: Callable[[float], float], seed: int = 1) -> None:
        self.lab, self.sd, self.rng = lab, sd, random.Random(seed)
        self.value = {"base": start}
        lab.play(lab.added("base", "base"), self.run)

    def run(self, request: RunRequest, trial: Trial) -> float:
        """One run; the Lab turns worth into value, so this undoes it."""
        value = self.value[request.commit or trial.commit]
        return self.lab.sign * (value + self.rng.gauss(0, self.sd(value)))

    def edit(self, value: float) -> Trial:
        """A candidate of this true value, and a confirmation when one is due."""
        lab = self.lab
        trial = lab.added(lab.rule.select(lab.ledger), "", nodes=0)
        self.value[trial.commit] = value
        trial = lab.play(trial, self.run)
        if (tip := lab.rule.due_confirmation(lab.ledger)) is not None:
            self.confirm(tip)
        return trial

    def confirm(self, tip: str | None = None) -> Trial:
        """The confirmation that is due, or the last one."""
        lab = self.lab
        tip = tip or lab.rule.due_confirmation(lab.ledger, last=True)
        assert tip is not None
        return lab.play(lab.added(lab.at.incumbent, tip, CONFIRMER), self.run)


def collapsing(level: float) -> float:
    """Noise of the study that fell from 988 to 0.9: 4 % at first, less than 1 % in the end."""
    return 38.0 * level / 988.0 if level > 50 else 0.0045 * level


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_gain_at_a_low_level_is_not_measured_by_the_noise_at_a_high_one(
    make: Callable[..., Lab], scale: str, seed: int
) -> None:
    """988, then 0.904, then 0.0147: the last is a step and not "worse than 0.904"."""
    world = World(make(Metric("loss", scale=scale)), 988.0, collapsing, seed)  # type: ignore[arg-type]
    assert world.edit(0.904).status is Status.TENTATIVE
    assert world.edit(0.0147).status is Status.TENTATIVE
    assert world.edit(0.9).status is Status.DISCARD
    assert world.confirm().status is Status.KEEP
    estimate = noise_of(world.lab.ledger)
    assert estimate is not None
    assert estimate.sd < 0.01
    assert estimate.level == pytest.approx(0.0147, rel=0.1)
    assert world.edit(0.0141).status is Status.TENTATIVE


@pytest.mark.parametrize(
    ("rule", "becomes"), [(1, Status.DISCARD), (2, Status.TENTATIVE), (None, Status.TENTATIVE)]
)
def test_after_a_keep_at_a_low_level_its_own_noise_counts(
    make: Callable[..., Lab], rule: int | None, becomes: Status
) -> None:
    """0.904 is kept, then 0.0147 comes; a study of rule 1 goes on as it was, with its fault."""
    world = World(make(Metric("loss"), Keep(rule=rule)), 988.0, collapsing)
    assert world.edit(0.904).status is Status.TENTATIVE
    assert world.confirm().status is Status.KEEP
    assert world.edit(0.0147).status is becomes


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_log_scale_claims_in_the_unit_of_the_metric(
    make: Callable[..., Lab], direction: str
) -> None:
    """Each of five steps is a tenth better: the claim is a difference of two values."""
    factor = 0.9 if direction == "minimize" else 1 / 0.9
    metric = Metric("x", direction, scale="log")  # type: ignore[arg-type]
    world = World(make(metric), 50.0, lambda level: 0.01 * level)
    for step in range(1, 6):
        world.edit(50.0 * factor**step)
    truth = metric.gain(50.0 * factor**5, 50.0)
    ledger = world.lab.ledger
    assert len(ledger.kept()) == 2
    assert claimed_gain(ledger) == pytest.approx(truth, rel=0.1)
    (keep,) = world.lab.at.confirmed
    assert 0 < keep.claim.low < truth < keep.claim.high
    estimate = noise_of(ledger)
    assert estimate is not None and estimate.how == "log"
    assert estimate.share == pytest.approx(0.01, rel=0.5)


def test_one_function_says_which_noise_it_is(make: Callable[..., Lab]) -> None:
    """sd, level, runs and how it was found: the same numbers for all outputs."""
    lab = make(Metric("loss"))
    assert noise_of(lab.ledger) is None
    lab.baseline()
    estimate = noise_of(lab.ledger)
    assert estimate is not None
    assert (estimate.sd, estimate.level, estimate.runs) == (pytest.approx(1.0), 0.0, 4)
    assert estimate.words == "sd of one run at 0: 1, from 4 runs"
    exact = make(Metric("loss"))
    exact.baseline(0.5, 0.5, 0.5, 0.5)
    told = noise_of(exact.ledger)
    assert told is not None and told.words == "no noise: 4 runs of one commit were equal"


def test_relative_noise_says_so(make: Callable[..., Lab]) -> None:
    """A twenty-fifth of the level, in words and as a number."""
    world = World(make(Metric("loss")), 900.0, lambda level: 0.04 * level, seed=2)
    for value in (600.0, 300.0, 100.0, 30.0, 9.0):
        world.edit(value)
    estimate = noise_of(world.lab.ledger)
    assert estimate is not None and estimate.how == "relative"
    assert estimate.share == pytest.approx(0.04, rel=0.5)
    assert "% of the level, from" in estimate.words


@pytest.mark.parametrize("seed", range(6))
def test_a_candidate_much_noisier_than_its_incumbent_is_not_kept_for_luck(
    make: Callable[..., Lab], seed: int
) -> None:
    """Incumbent's sd 0.001, the candidates' 0.017, and no gain: what is kept has gained."""
    lab = make(Metric("loss"), Keep(steps=1))
    world = World(lab, 0.89, lambda level: 0.001 if level == 0.89 else 0.017, seed)
    for _ in range(60):
        world.edit(0.890001)
    for keep in lab.at.confirmed:
        assert keep.claim.low > 0
    assert len(lab.at.confirmed) <= 1


@pytest.mark.parametrize("size", [1e160, 1e200, 1e300])
@pytest.mark.parametrize("rule", [1, 2])
def test_absurd_values_of_a_candidate_are_data(
    make: Callable[..., Lab], rule: int, size: float
) -> None:
    """A program that prints 1e200 is screened, stepped on and confirmed, without an error."""
    lab = make(Metric("score", "maximize"), Keep(rule=rule, steps=2))
    lab.baseline()
    for _ in range(2):
        assert lab.edit(size, 1.5 * size).status is Status.TENTATIVE
    tip, values = lab.rule.due_confirmation(lab.ledger), itertools.cycle((size, -size, 2 * size))
    assert tip is not None
    confirmation = lab.added("base", tip, CONFIRMER)
    done = lab.play(confirmation, lambda request, _: 0.0 if request.commit else next(values))
    assert done.status in (Status.KEEP, Status.DISCARD)
    lab.edit(-1.0)
    assert noise_of(lab.ledger) is not None


def test_an_older_ledger_goes_on_with_its_rule(make: Callable[..., Lab]) -> None:
    """Whatever the caller's settings: the ledger says which version decides."""
    lab = make(Metric("loss"), Keep(rule=1))
    lab.baseline()
    assert SequentialConfirmation().standing(lab.ledger).noises == PooledNoise(lab.at.noise, 4)
    newer = make(Metric("loss"))
    newer.baseline()
    assert isinstance(SequentialConfirmation(Keep()).standing(newer.ledger).noises, LocalNoise)
    lab.ledger._db.execute("DELETE FROM study WHERE key = 'rule'")  # as a ledger of schema 3
    assert isinstance(SequentialConfirmation().standing(lab.ledger).noises, PooledNoise)
