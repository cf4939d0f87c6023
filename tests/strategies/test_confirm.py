"""Confirm: a step is hope, a keep is confirmation, and the record alone tells which is which."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.errors import StrategyError
from autoresearch.lab.metric import Metric
from autoresearch.lab.task import Keep
from autoresearch.store.ledger import CLAIM, CONFIRM, NOISE, REFRESH, SCREEN, Ledger, Status, Trial
from autoresearch.strategies import CONFIRMER, RunRequest
from autoresearch.strategies.confirmation import SequentialConfirmation
from autoresearch.strategies.greedy import Greedy
from autoresearch.strategies.screening_test import Noise, Rule, alpha_for, claim
from strategies.confirmed import A_A, SPREAD, Lab

POLICIES = Path(__file__).parent.parent.parent / "benchmarks" / "policies"
METRICS = {"minimize": Metric("val_bpb"), "maximize": Metric("accuracy", "maximize")}
MakeLab = Callable[..., Lab]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeLab]:
    """Make a lab: `make(Keep(steps=1), direction="maximize")`."""
    with contextlib.ExitStack() as stack:

        def make(keep: Keep | None = None, direction: str = "minimize") -> Lab:
            path = tmp_path / f"{len(list(tmp_path.glob('*.db')))}.db"
            ledger = Ledger(path, METRICS[direction])
            return Lab(stack.enter_context(contextlib.closing(ledger)), keep)

        yield make


@pytest.fixture(params=METRICS)
def lab(request: pytest.FixtureRequest, make: MakeLab) -> Lab:
    """A lab of each direction in turn, its baseline run: worth 0, with a noise of one."""
    made = make(direction=request.param)
    made.baseline()
    return made


def became(trial: Trial) -> tuple[str, str]:
    """What became of a trial, and why."""
    return str(trial.status), trial.reason


def purposes(trial: Trial) -> list[str]:
    """What its runs were for; `other` marks those that were not of its own commit."""
    return [f"{a.purpose}{' other' if a.commit else ''}" for a in trial.runs]


KEPT, STEPPED, UNCONFIRMED = ("keep", ""), ("tentative", ""), ("discard", "unconfirmed")


# ---- the baseline --------------------------------------------------------------------------------


def test_the_baseline_runs_against_itself(lab: Lab) -> None:
    """Four runs under seeds of their own tell level and noise, and are its value."""
    (first,) = lab.ledger.trials()
    assert became(first) == KEPT
    assert purposes(first) == [NOISE] * 4
    assert len({a.seed for a in first.runs}) == 4
    assert first.value == pytest.approx(0.0)
    assert (lab.at.noise.sd, lab.at.noise.df) == (pytest.approx(1.0), 3)
    assert (lab.at.incumbent, lab.at.tip) == ("base", "base")


def test_the_task_says_how_often_the_baseline_runs(make: MakeLab) -> None:
    """More runs are more degrees of freedom from the start."""
    lab = make(Keep(runs=7))
    lab.baseline(*A_A, 0.5, -0.5, 0.0)
    assert lab.at.noise.df == 6


def test_a_baseline_that_fails_once_is_no_baseline(make: MakeLab) -> None:
    """It crashes at its first failure, and the next one starts anew."""
    lab = make()
    assert became(lab.baseline(1.0, None)) == ("crash", "failed")
    with pytest.raises(StrategyError, match="after its baseline"):
        lab.rule.select(lab.ledger)
    assert became(lab.baseline()) == KEPT
    assert lab.at.noise.df == 3


# ---- steps ---------------------------------------------------------------------------------------


def test_what_looks_better_twice_is_a_step_and_no_keep(lab: Lab) -> None:
    """The next candidate starts from it; the last kept commit stays what it was."""
    step = lab.edit(2.0, 2.0)
    assert became(step) == STEPPED
    assert (step.word, purposes(step)) == ("step", [SCREEN] * 2)
    assert len({a.seed for a in step.runs}) == 2
    assert lab.rule.select(lab.ledger) == step.commit
    assert lab.at.incumbent == "base"
    assert lab.ledger.best() == lab.ledger.trial(0)


def test_a_step_is_believed_less_than_it_shows(lab: Lab) -> None:
    """A winner was lucky too: of a gain of 2 sd 1.2 are believed, of one of 1 sd a half."""
    lab.edit(2.0 + SPREAD, 2.0 - SPREAD)
    assert lab.at.level.value == pytest.approx(1.2)
    lab.edit(1.0 + SPREAD, 1.0 - SPREAD)
    assert lab.at.level.value == pytest.approx(1.7)


@pytest.mark.parametrize(
    ("gains", "runs"), [((-0.5,), 1), ((0.29,), 1), ((0.31, 0.31), 2), ((2.0, -1.2), 2)]
)
def test_what_does_not_look_better_is_put_aside(
    lab: Lab, gains: tuple[float, ...], runs: int
) -> None:
    """Below 0.3 sd one run is enough; below a mean of 0.5 sd the second one was not."""
    trial = lab.edit(*gains)
    assert became(trial) == ("discard", "")
    assert len(trial.runs) == runs
    assert lab.at.tip == "base"


@pytest.mark.parametrize("gains", [(None,), (2.0, None)])
def test_a_candidate_that_fails_in_its_screen_is_a_crash(
    lab: Lab, gains: tuple[float | None, ...]
) -> None:
    """A number in the first run does not help: what fails once is no step."""
    assert became(lab.edit(*gains)) == ("crash", "failed")
    assert (lab.at.tip, lab.at.trials, lab.at.quiet) == ("base", 1, 1)


def test_what_a_guard_refused_is_not_climbed(lab: Lab) -> None:
    """Checks and bounds come after the rule: their discard leaves the tip where it was."""
    lab.edit(3.0, 3.0, refused="size is 6, above its maximum 5")
    assert (lab.at.tip, lab.at.steps, lab.at.trials) == ("base", (), 1)
    assert lab.at.level.value == pytest.approx(0.0)


def test_min_delta_is_asked_of_a_step_as_well(make: MakeLab) -> None:
    """With a min_delta of 2 a gain of 2.2 sd is no step, and one of 2.6 is."""
    lab = make(Keep(min_delta=2.0))
    lab.baseline()
    assert became(lab.edit(2.2)) == ("discard", "")
    assert became(lab.edit(2.6, 2.6)) == STEPPED


# ---- code ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [{"nodes": 12}, {"nodes": None, "lines": 1}])
def test_a_gain_within_the_noise_that_adds_code_is_not_worth_it(
    lab: Lab, size: dict[str, int | None]
) -> None:
    """0.9 sd for more nodes (or lines, where there are no nodes) is told as adds_code."""
    assert became(lab.edit(0.9, 0.9, **size)) == ("discard", "adds_code")
    assert lab.at.tip == "base"
    assert became(lab.edit(1.1, 1.1, **size)) == STEPPED


def test_a_small_gain_that_adds_nothing_is_a_step(lab: Lab) -> None:
    """A constant that is another one weighs nothing, however many lines a comment has."""
    assert became(lab.edit(0.6, 0.6, nodes=0, lines=3)) == STEPPED


def test_a_simplification_need_only_look_no_worse(lab: Lab) -> None:
    """Its hurdles are half an sd lower; the same numbers without less code are no step."""
    assert became(lab.edit(-0.1)) == ("discard", "")
    assert became(lab.edit(-0.1, 0.1, nodes=-5)) == STEPPED
    assert became(lab.edit(-0.3, nodes=-5)) == ("discard", "")


def test_a_simplification_alone_is_kept_when_it_is_proven_not_much_worse(make: MakeLab) -> None:
    """Confirmed not worse by 1 sd; what may be told of it is close to what its pairs show."""
    lab = make()
    lab.baseline(*A_A)
    for _ in range(60):
        lab.edit(-2.0, refresh=0.0)  # earns the error of a confirmation
    lab.edit(0.1, 0.1, nodes=-5)
    kept = lab.confirmation(0.3, 0.3, 0.3, 0.3, last=True)
    assert became(kept) == KEPT
    assert kept.because.startswith("confirmed as no worse, and simpler: better than #0 by 0.")
    assert lab.at.confirmed[0].claim.estimate == pytest.approx(0.3, abs=0.2)


def test_a_stack_with_other_steps_must_gain_as_a_whole(make: MakeLab) -> None:
    """One line less does not let four idle edits in, though the whole is shorter."""
    lab = make()
    lab.baseline(*A_A)
    for _ in range(60):
        lab.edit(-2.0)
    lab.edit(0.1, 0.1, nodes=-50)
    lab.edit(0.6, 0.6, nodes=1, refused="")  # adds_code: not climbed
    lab.edit(0.6, 0.6, nodes=0)
    assert became(lab.confirmation(0.1, 0.1, 0.1, last=True)) == UNCONFIRMED


# ---- confirmations -----------------------------------------------------------------------------


def test_five_steps_are_proven_together_and_kept(lab: Lab) -> None:
    """Steps, a confirmation, a keep: the tip is the new incumbent, and its gain is claimed."""
    *_, tip = lab.steps(5)
    assert lab.rule.due_confirmation(lab.ledger) == tip.commit
    confirmation = lab.confirmation(6.0, 6.0, 6.0, 6.0)
    assert became(confirmation) == KEPT
    assert (confirmation.commit, confirmation.parent, confirmation.proposer) == (
        tip.commit,
        "base",
        CONFIRMER,
    )
    assert (lab.at.incumbent, lab.at.tip) == (tip.commit, tip.commit)
    assert (lab.at.steps, lab.at.open_at, lab.at.trials) == ((), 0, 5)
    assert confirmation.value == pytest.approx(lab.sign * 6.0)
    assert lab.rule.due_confirmation(lab.ledger, last=True) is None


def test_a_proof_runs_pairs_on_fresh_seeds_in_turn(lab: Lab) -> None:
    """A-B-B-A, and so the pair to tell by; both of a pair have one seed, and no other run has."""
    screened = {a.seed for trial in lab.steps(5) for a in trial.runs}
    confirmation = lab.confirmation(6.0, 6.0, 6.0, 6.0)
    new, old = f"{CONFIRM}", f"{CONFIRM} other"
    assert purposes(confirmation) == [new, old, old, new, new, old, f"{CLAIM} other", CLAIM]
    seeds = [a.seed for a in confirmation.runs]
    assert seeds[::2] == seeds[1::2]
    assert len(set(seeds)) == 4
    assert not set(seeds) & screened


def test_no_proof_before_the_stack_is_full_but_a_last_one(lab: Lab) -> None:
    """Four steps climb on; when nothing new will follow they are confirmed."""
    lab.steps(4)
    assert lab.rule.due_confirmation(lab.ledger) is None
    assert lab.rule.due_confirmation(lab.ledger, last=True) == lab.at.tip


def test_a_proof_between_leaves_the_stack_open(lab: Lab) -> None:
    """Better, and not confirmed: the climb goes on, and half as many steps again are asked for."""
    lab.steps(5)
    tip = lab.at.tip
    assert became(lab.confirmation(1.0, 1.0, 1.0)) == UNCONFIRMED
    assert (lab.at.tip, lab.at.incumbent, lab.at.open_at) == (tip, "base", 5)
    assert lab.rule.due_confirmation(lab.ledger, last=True) is None  # nothing new to prove
    lab.steps(1)
    assert lab.rule.due_confirmation(lab.ledger) is None
    lab.steps(1)
    assert became(lab.confirmation(9.0, 9.0, 9.0, 9.0)) == KEPT
    assert lab.at.confirmed[0].trial == 9


def test_a_stack_that_does_not_gain_goes_back_to_the_anchor(lab: Lab) -> None:
    """Hopeless after one pair: nothing of the climb is believed, and the next edit starts anew."""
    lab.steps(5)
    assert became(lab.confirmation(-3.0)) == UNCONFIRMED
    assert (lab.at.tip, lab.at.steps, lab.at.quiet) == ("base", (), 0)
    assert lab.at.level == lab.at.incumbent_level
    assert became(lab.edit(2.0, 2.0)) == STEPPED
    assert lab.ledger.trials()[-1].parent == "base"


def test_every_proof_teaches_the_noise(lab: Lab) -> None:
    """Whatever comes of it; a confirmation cannot be kept without what its budget allows."""
    lab.steps(5)
    lab.confirmation(1.0, 2.0, 0.0)
    assert lab.at.noise.df == 3 + 5 + 4
    assert [(p.trials, p.steps) for p in lab.at.confirmations] == [(5, 5)]


def test_a_candidate_that_fails_in_a_proof_gets_one_more_chance(lab: Lab) -> None:
    """The pair is run again under another seed, and counts as if nothing had been."""
    lab.steps(5)
    confirmation = lab.confirmation((None, 0.0), 6.0, 6.0, 6.0, 6.0)
    assert became(confirmation) == KEPT
    assert confirmation.value == pytest.approx(lab.sign * 6.0)
    assert len(confirmation.runs) == 10


@pytest.mark.parametrize("failing", [(None, 0.0), (6.0, None), (None, None)])
def test_what_cannot_be_measured_twice_is_dropped(
    lab: Lab, failing: tuple[float | None, float | None]
) -> None:
    """Tip or incumbent: no keep, no crash of the study, back to the incumbent."""
    lab.steps(5)
    confirmation = lab.confirmation(6.0, failing, failing)
    assert became(confirmation) == ("discard", "unmeasurable")
    assert (lab.at.tip, lab.at.incumbent) == ("base", "base")
    assert len(lab.at.confirmations) == 1


def test_a_keep_has_a_number_though_its_last_runs_failed(lab: Lab) -> None:
    """The pair to tell by decides nothing; when it fails the keep stands on its confirmation."""
    lab.steps(5)
    confirmation = lab.confirmation(6.0, 6.0, 6.0, (None, None), (None, None))
    assert became(confirmation) == KEPT
    assert confirmation.value == pytest.approx(lab.sign * 6.0)
    assert lab.at.confirmed[0].claim.estimate <= 6.0


def test_a_proof_that_a_guard_refused_has_cost_its_error(lab: Lab) -> None:
    """Back to the incumbent, and what the confirmation might spend is spent."""
    lab.steps(5)
    lab.confirmation(6.0, 6.0, 6.0, 6.0, refused="size is 6, above its maximum 5")
    assert (lab.at.tip, lab.at.incumbent) == ("base", "base")
    assert [(p.trials, p.steps) for p in lab.at.confirmations] == [(5, 5)]


def test_steps_of_one_prove_each_edit_alone(make: MakeLab) -> None:
    """One step is due at once; what is not confirmed then is dropped, and never open."""
    lab = make(Keep(steps=1, confidence=0.9))
    lab.baseline()
    lab.edit(2.0, 2.0)
    assert became(lab.confirmation(1.0, -1.0, 3.0)) == UNCONFIRMED
    assert (lab.at.tip, lab.at.open_at) == ("base", 0)
    lab.edit(2.0, 2.0)
    assert became(lab.confirmation(6.0, 6.0, 6.0, 6.0)) == KEPT


def test_confidence_is_what_a_proof_may_cost(make: MakeLab) -> None:
    """The same pairs are confirmation enough at 0.9, and not at 0.999."""
    ends = []
    for confidence in (0.9, 0.999):
        lab = make(Keep(confidence=confidence))
        lab.baseline()
        lab.steps(5)
        pairs = [2.5] * (4 if confidence == 0.9 else 3)
        ends.append(became(lab.confirmation(*pairs)))
    assert ends == [KEPT, UNCONFIRMED]


def test_min_delta_is_what_a_keep_must_be_proven_to_gain(make: MakeLab) -> None:
    """The same pairs are kept without one, and go back where they lie below it."""
    ends = []
    for min_delta in (0.0, 7.0):
        lab = make(Keep(min_delta=min_delta))
        lab.baseline()
        lab.steps(5, gain=9.0)
        ends.append(became(lab.confirmation(*[6.0] * (1 if min_delta else 4))))
    assert ends == [KEPT, UNCONFIRMED]


def test_what_may_be_told_is_the_claim_of_the_rule(make: MakeLab) -> None:
    """Rule 1: from the pairs, the pair after the keep, the noise and error of that moment."""
    lab = make(Keep(rule=1))
    lab.baseline()
    lab.steps(5)
    noise, rule = lab.at.noise, lab.rule.rule
    pairs = [5.0, 6.0, 7.0]
    lab.confirmation(*pairs, 4.0)
    alpha = alpha_for(5, 5, [], rule)
    assert lab.at.confirmed[0].claim == claim(pairs, [4.0], noise, rule, alpha)


# ---- time ----------------------------------------------------------------------------------------


def test_after_twenty_quiet_trials_the_tip_is_run_again(lab: Lab) -> None:
    """The level follows the machine, and the count begins anew."""
    for _ in range(19):
        assert REFRESH not in purposes(lab.edit(-2.0))
    refreshed = lab.edit(-2.0, refresh=4.0)
    assert purposes(refreshed) == [SCREEN, f"{REFRESH} other"]
    assert refreshed.runs[1].commit == "base"
    assert refreshed.value == pytest.approx(lab.sign * -2.0)
    assert (lab.at.level.value, lab.at.quiet) == (pytest.approx(1.0), 0)
    assert REFRESH not in purposes(lab.edit(-2.0))


def test_a_refresh_that_fails_changes_nothing(lab: Lab) -> None:
    """The trial it rode on is decided as it was, and the level stays."""
    for _ in range(19):
        lab.edit(-2.0)
    assert became(lab.edit(-2.0, refresh=None)) == ("discard", "")
    assert (lab.at.level.value, lab.at.quiet) == (pytest.approx(0.0), 0)


# ---- without noise -------------------------------------------------------------------------------


@pytest.fixture(params=["said", "seen", "seen by three"])
def exact(request: pytest.FixtureRequest, make: MakeLab) -> Lab:
    """A lab whose runs do not differ: task.toml says so, or its baseline shows it."""
    keep = {"said": Keep(noise="none"), "seen": Keep(), "seen by three": Keep(runs=3)}
    made = make(keep[request.param])
    made.baseline(*[0.1] * {"said": 2, "seen": 4, "seen by three": 3}[request.param])
    return made


def looks(lab: Lab, gain: float) -> list[float]:
    """The runs of what would be kept: another one where nobody has said that there is no noise."""
    return [gain] if lab.rule.keep.noise == "none" else [gain, gain]


def test_without_noise_one_run_decides(exact: Lab) -> None:
    """Strictly better is kept, by however little, once another seed agrees; no confirmation."""
    assert exact.at.exact
    kept = exact.edit(*looks(exact, 1e-9))
    assert became(kept) == KEPT
    assert len(kept.runs) == len(looks(exact, 1e-9))
    assert exact.at.incumbent == exact.at.tip == kept.commit
    assert became(exact.edit(-1e-9)) == ("discard", "")
    assert became(exact.edit(None)) == ("crash", "failed")
    assert exact.rule.due_confirmation(exact.ledger, last=True) is None


def test_of_equals_without_noise_the_simpler_is_kept(exact: Lab) -> None:
    """Equal and shorter is kept; equal and as long, equal and longer, worse and shorter are not."""
    assert became(exact.edit(0.0, nodes=0)) == ("discard", "")
    assert became(exact.edit(0.0, nodes=3)) == ("discard", "")
    assert became(exact.edit(-1e-9, nodes=-30)) == ("discard", "")
    assert became(exact.edit(*looks(exact, 0.0), nodes=-1)) == KEPT


@pytest.fixture
def unaware(make: MakeLab) -> Lab:
    """A lab whose baseline has no chance in it, and whose candidates have."""
    made = make(Keep())
    made.baseline(*[0.1] * 4)
    return made


def test_noise_that_the_baseline_did_not_have_is_found_before_a_keep(unaware: Lab) -> None:
    """A run that beats the tip is made again; it differs, so the noise is measured, and nothing
    is kept before it is confirmed."""
    assert unaware.at.exact
    first = unaware.edit(3.0, 2.0, 1.0, 4.0)
    assert purposes(first) == [SCREEN, SCREEN, NOISE, NOISE]
    assert became(first) == STEPPED
    assert not unaware.at.exact
    assert unaware.at.noise.sd == pytest.approx(1.2909944)
    assert (unaware.at.tip, unaware.at.incumbent) == (first.commit, "base")
    assert purposes(unaware.edit(-9.0)) == [SCREEN]
    assert unaware.rule.due_confirmation(unaware.ledger, last=True) == first.commit


def test_noise_that_is_found_in_a_lucky_run_is_remembered(unaware: Lab) -> None:
    """It is no step after all; what comes next is screened like in any noisy lab."""
    assert became(unaware.edit(1.0, -3.0, -2.0, -4.0)) == ("discard", "")
    assert not unaware.at.exact
    assert unaware.at.tip == "base"
    assert became(unaware.edit(9.0, 9.0)) == STEPPED


def test_a_second_look_that_fails_is_a_crash(unaware: Lab) -> None:
    """What runs on one seed only is no keep; the study stays as it was."""
    assert became(unaware.edit(1.0, None)) == ("crash", "failed")
    assert unaware.at.exact
    assert became(unaware.edit(1.0, 2.0, None, 3.0)) == STEPPED
    assert unaware.at.noise.df == 2


def test_what_task_toml_says_is_believed(make: MakeLab) -> None:
    """With noise = "none" there is no second request."""
    lab = make(Keep(noise="none"))
    lab.baseline(0.1, 0.1)
    assert purposes(lab.edit(1.0)) == [SCREEN]


def test_without_noise_min_delta_is_a_plain_margin(make: MakeLab) -> None:
    """A gain must pass it, save for code taken away."""
    lab = make(Keep(noise="none", min_delta=0.5))
    lab.baseline(1.0, 1.0)
    assert became(lab.edit(0.5)) == ("discard", "")
    assert became(lab.edit(0.6)) == KEPT
    assert became(lab.edit(0.1, nodes=-2)) == KEPT


def test_a_quiet_exact_study_never_runs_anything_again(exact: Lab) -> None:
    """There is no drift to follow."""
    assert all(len(exact.edit(-1.0).runs) == 1 for _ in range(25))


def test_noise_that_was_denied_is_named(make: MakeLab) -> None:
    """noise = "none" and two different numbers: the baseline is refused, and both are told."""
    lab = make(Keep(noise="none"), direction="maximize")
    refused = lab.baseline(0.25, 0.5)
    assert became(refused) == ("crash", 'keep.noise is "none", and two runs gave 0.25 and 0.5')
    assert refused.value == pytest.approx(0.375)


# ---- the record ----------------------------------------------------------------------------------


def test_a_ledger_of_another_strategy_is_refused(make: MakeLab) -> None:
    """Runs that the rule would not have made are named, with the way out."""
    lab = make()
    lab.rule = Greedy()  # type: ignore[assignment]
    base = lab.added("base", "base")
    lab.play(lab.ran(base, RunRequest(), 0.0), lambda *_: 0.0)
    other = lab.added("base", "")
    lab.play(lab.ran(other, RunRequest(), 1.0), lambda *_: 0.0)
    with pytest.raises(StrategyError, match="begun with another strategy"):
        SequentialConfirmation().select(lab.ledger)


def play_anything(lab: Lab, rng: random.Random, trials: int, crashes: float = 0.1) -> None:
    """Candidates of any worth and size, failing now and then, with all due confirmations."""
    worth = {"base": 0.0}

    def answer(request: RunRequest, trial: Trial) -> float | None:
        if rng.random() < crashes / 2 and trial.number:
            return None
        return worth[request.commit or trial.commit] + rng.gauss(0, 1)

    lab.play(lab.added("base", "base"), answer)
    for _ in range(trials):
        if (tip := lab.rule.due_confirmation(lab.ledger)) is not None:
            lab.play(lab.added(lab.at.incumbent, tip, CONFIRMER), answer)
            continue
        parent = lab.rule.select(lab.ledger)
        trial = lab.added(parent, "", nodes=rng.choice([-9, 0, 0, 0, 9]))
        worth[trial.commit] = worth[parent] + rng.choice([-2, 0, 0.5, 1.0, 2.0])
        refused = "size is 6" if rng.random() < crashes else ""
        lab.play(trial, answer, refused)


@settings(max_examples=3, deadline=None, database=None)
@given(seed=st.integers(0, 10**6), direction=st.sampled_from(list(METRICS)))
def test_any_study_can_be_recomputed_from_its_record(
    tmp_path_factory: pytest.TempPathFactory, seed: int, direction: str
) -> None:
    """A fresh rule over the ledger comes to every recorded verdict, save where a guard refused."""
    path = tmp_path_factory.mktemp("any") / "ledger.db"
    with contextlib.closing(Ledger(path, METRICS[direction])) as ledger:
        play_anything(Lab(ledger), random.Random(seed), 120)
        trials = ledger.trials()
        for trial in trials:
            decision = SequentialConfirmation().decide(trial, ledger)
            climbed = decision.status is Status.KEEP or decision.status is Status.TENTATIVE
            if not (climbed and trial.reason == "size is 6"):
                assert (decision.status, decision.reason) == (trial.status, trial.reason)
        assert len(trials) == 121


def test_the_standing_does_not_depend_on_when_it_is_asked(make: MakeLab) -> None:
    """Asked after every run, or once at the end by another process: it is the same."""
    asked, unasked = make(), make()
    play_anything(unasked, random.Random(3), 60)
    rule = asked.rule

    class Nosy(SequentialConfirmation):
        def decide(self, trial: Trial, ledger: Ledger) -> object:  # type: ignore[override]
            if trial.number:
                self.standing(ledger)
                self.due_confirmation(ledger, last=True)
            return super().decide(trial, ledger)

    asked.rule = Nosy()
    play_anything(asked, random.Random(3), 60)
    assert rule.standing(asked.ledger) == SequentialConfirmation().standing(unasked.ledger)
    assert [became(t) for t in asked.ledger.trials()] == [
        became(t) for t in unasked.ledger.trials()
    ]


# ---- what it promises ----------------------------------------------------------------------------


def luck(rng: random.Random) -> Callable[[RunRequest, Trial], float]:
    """Runs of commits that are all worth the same."""
    return lambda *_: rng.gauss(0, 1)


def test_where_nothing_works_hardly_anything_is_kept(make: MakeLab) -> None:
    """No-op edits: the steps kept are at most one in a hundred trials, over several studies."""
    kept = trials = 0
    for seed in range(8):
        lab, noise = make(), luck(random.Random(seed))
        lab.play(lab.added("base", "base"), noise)
        for _ in range(100):
            lab.play(lab.added(lab.rule.select(lab.ledger), ""), noise)
            if (tip := lab.rule.due_confirmation(lab.ledger)) is not None:
                lab.play(lab.added(lab.at.incumbent, tip, CONFIRMER), noise)
        trials += lab.at.trials
        for confirmation in lab.ledger.kept()[1:]:
            kept += len(lab.ledger.steps_to(confirmation.commit, confirmation.parent))
    assert trials == 800
    assert kept <= 8


@pytest.mark.parametrize(("world", "seed"), [("mix", 1), ("mix", 2), ("log", 3), ("null", 4)])
@pytest.mark.parametrize("steps", [5, 1])
@pytest.mark.parametrize("version", [1, 2])
def test_it_decides_as_the_simulated_rule_does(
    make: MakeLab,
    monkeypatch: pytest.MonkeyPatch,
    world: str,
    seed: int,
    steps: int,
    version: int,
) -> None:
    """On the same random numbers: the runs, keeps, gains and claims of benchmarks/policies."""
    pytest.importorskip("numpy")
    monkeypatch.syspath_prepend(str(POLICIES))
    import worlds

    import policies

    trials, rule = 80, Rule(steps=steps, version=version)
    told = policies.Stacks(worlds.Machine(worlds.WORLDS[world], (seed,)), rule)
    told.study(policies.Limit(trials=trials))

    machine, lab = (
        worlds.Machine(worlds.WORLDS[world], (seed,)),
        make(Keep(steps=steps, rule=version)),
    )
    worth = {"base": 0.0}

    def answer(request: RunRequest, trial: Trial) -> float:
        return machine.run(worth[request.commit or trial.commit])

    def prove(last: bool) -> None:
        if (tip := lab.rule.due_confirmation(lab.ledger, last=last)) is not None:
            lab.play(lab.added(lab.at.incumbent, tip, CONFIRMER), answer)

    lab.play(lab.added("base", "base"), answer)
    for _ in range(trials):
        trial = lab.added(lab.rule.select(lab.ledger), "", nodes=0)
        worth[trial.commit] = worth[trial.parent] + machine.propose()
        lab.play(trial, answer)
        prove(last=False)
    prove(last=True)

    at, outcome = lab.at, told.outcome
    assert machine.runs == outcome.runs
    assert (at.trials, len(at.confirmations), len(at.confirmed)) == (
        outcome.trials,
        outcome.confirmations,
        outcome.confirmed,
    )
    assert worth[at.incumbent] == pytest.approx(outcome.true)
    assert worth[at.tip] == pytest.approx(told.tip)
    assert sum(confirmed.claim.estimate for confirmed in at.confirmed) == pytest.approx(
        outcome.claimed
    )
    noise = told.noise.at(told.level.value)
    assert (at.noise.sd, at.noise.df) == (pytest.approx(noise.sd), noise.df)
    assert at.level.value == pytest.approx(told.level.value)


def test_the_noise_of_a_standing_is_that_of_its_runs(lab: Lab) -> None:
    """By hand: squares of 3 by the baseline, 1 by each step, 2 by the tip, 0 by the incumbent."""
    lab.steps(5)
    lab.confirmation(1.0, 2.0, 0.0)
    assert (lab.at.noise.sd, lab.at.noise.df) == (pytest.approx((10 / 12) ** 0.5), 12)


def test_the_noise_of_rule_1_is_that_of_baseline_and_pairs(make: MakeLab) -> None:
    """The baseline's runs and the differences of each confirmation, pooled."""
    lab = make(Keep(rule=1))
    lab.baseline()
    lab.steps(5)
    lab.confirmation(1.0, 2.0, 0.0)
    halves = [difference / 2**0.5 for difference in (1.0, 2.0, 0.0)]
    pooled = Noise.pooled([A_A, halves])
    assert (lab.at.noise.sd, lab.at.noise.df) == (pytest.approx(pooled.sd), pooled.df)
