"""SequentialConfirmation: build on what looks better, keep what fresh seeds confirm.

The arithmetic of the rule is in `screening_test`. Every decision comes from a walk over the whole
ledger, run by run, through the generators below. Each generator plays one trial: it yields a
RunRequest and is sent the value of that run. The first request that has no recorded run is what
happens next. So a study goes on from its record alone, and anyone can recompute its decisions.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from weakref import WeakKeyDictionary

from autoresearch.errors import StrategyError
from autoresearch.lab.metric import Metric
from autoresearch.lab.task import RULE, Keep
from autoresearch.store.ledger import (
    CLAIM,
    CONFIRM,
    NOISE,
    REFRESH,
    Explanation,
    Kind,
    Ledger,
    State,
    Status,
    Trial,
)
from autoresearch.strategies import CONFIRMER, Decision, RunRequest
from autoresearch.strategies.explaining import Comparison, explained
from autoresearch.strategies.noise import LocalNoise, Noise, NoiseRecord, Pair, PooledNoise
from autoresearch.strategies.screening_test import (
    Assessment,
    Claim,
    Confirmation,
    Level,
    Rule,
    alpha_for,
    assess,
    assess_simpler,
    claim,
    earns_its_lines,
    holds,
    screen,
    stack_due,
)

PAIR_SEEDS, CLAIM_SEEDS, REFRESH_SEEDS = 10, 50, 90  # first seed index of each purpose
TRIES = 2  # of a pair, when one of its runs fails


@dataclass(frozen=True)
class Confirmed:
    """A keep, and the gain over the keep before it."""

    trial: int
    claim: Claim  # in the metric's unit
    steps: tuple[int, ...] = ()  # the trials that it confirms; empty when it confirms itself
    shown: tuple[float, ...] = ()  # the gain that the screening runs of each step showed


@dataclass(frozen=True)
class Climb:
    """Where a study stands: what is confirmed, and which steps are tentative."""

    incumbent: str  # the last kept commit
    tip: str  # where the next candidate starts
    incumbent_level: Level
    level: Level  # of the tip
    noises: NoiseRecord
    steps: tuple[int, ...] = ()  # tentative trials since the incumbent
    grown: tuple[int, ...] = ()  # nodes of code that each of them added
    shown: tuple[float, ...] = ()  # gain over the tip that their screening runs showed
    open_at: int = 0  # steps when a confirmation last ended open
    quiet: int = 0  # trials since the tip was last run or moved
    trials: int = 0  # not counting confirmations
    confirmations: tuple[Confirmation, ...] = ()
    confirmed: tuple[Confirmed, ...] = ()

    @property
    def noise(self) -> Noise:
        """The noise of one run of the tip."""
        return self.noises.at(self.level.value)

    @property
    def exact(self) -> bool:
        """Whether runs of one candidate are equal, so that one is enough."""
        return self.noise.sd == 0

    @property
    def simplifies(self) -> bool:
        """Whether every step takes code away."""
        return bool(self.grown) and max(self.grown) < 0

    @property
    def confirmation(self) -> Confirmation:
        """A confirmation of all steps, as the error budget sees it."""
        return Confirmation(self.trials, len(self.steps))


Ended = tuple[Decision, Climb | None]  # what became of a trial, and where the study stands then
Play = Generator[RunRequest, float | None, Ended]


class SequentialConfirmation:
    """Screen each candidate, step to what looks better, confirm the steps on fresh seeds."""

    name = "confirm"

    def __init__(self, keep: Keep | None = None) -> None:
        self.keep = keep or Keep()
        self.metric = Metric("")
        self.rule = self._rule(self.keep.rule or RULE)
        self._memory: dict[Path, tuple[int, Climb | None]] = {}

    @classmethod
    def of(cls, ledger: Ledger) -> SequentialConfirmation | None:
        """The rule that a study was begun with; None when that is another one.

        The same ledger gets the same rule, which remembers how far it has walked.
        """
        facts = ledger.facts
        if facts.get("strategy") != cls.name:
            return None
        settings = facts.get("keep", "")
        known = _RULES.get(ledger)
        if known is None or known[0] != settings:
            known = _RULES[ledger] = (settings, cls(Keep.of(settings)))
        return known[1]

    # ---- what a study calls --------------------------------------------------------------------

    def select(self, ledger: Ledger) -> str:
        """The tip: the newest step, or the last kept commit."""
        return self.standing(ledger).tip

    def due_confirmation(self, ledger: Ledger, *, last: bool = False) -> str | None:
        """The tip, when its steps are to be confirmed now."""
        at = self.standing(ledger)
        if at.tip == at.incumbent or len(at.steps) == at.open_at:  # no step since it ended open
            return None
        due = last or stack_due(len(at.steps), self.rule, open_at=at.open_at)
        return at.tip if due else None

    def decide(self, trial: Trial, ledger: Ledger) -> Decision:
        """What a trial's runs mean so far, after all that came before it."""
        at = self._walked(ledger, trial.number)
        outcome = self._replayed(self._play(trial, at), trial)
        if isinstance(outcome, RunRequest):
            return Decision(None, request=outcome)
        decision, _ = outcome
        if decision.explanation is None:
            return decision
        return replace(decision, explanation=explained(decision.explanation, trial, ledger))

    def standing(self, ledger: Ledger) -> Climb:
        """Where the study stands after all its finished trials."""
        at = self._walked(ledger, len(ledger))
        if at is None:
            raise StrategyError("A study selects only after its baseline.")
        return at

    # ---- walking the record --------------------------------------------------------------------

    def _walked(self, ledger: Ledger, until: int) -> Climb | None:
        """The standing before trial `until`; the walk goes on from where the last one ended."""
        if ledger.path not in self._memory:
            self.metric = ledger.metric
            self.rule = self._rule(rule_version(ledger) or self.keep.rule or RULE)
        walked, at = self._memory.get(ledger.path, (0, None))
        if walked > until:
            walked, at = 0, None
        for trial in ledger.trials(walked, until):
            if trial.state is not State.APPLIED:
                break
            walked, at = trial.number + 1, self._after(trial, at)
        self._memory = {ledger.path: (walked, at)}  # an applied trial never changes
        return at

    def _rule(self, version: int) -> Rule:
        """The rule's settings; on a log scale min_delta is a share, compared as a logarithm."""
        kept, log = self.keep, self.metric.scale == "log"
        least = math.log1p(kept.min_delta) if log else kept.min_delta
        return Rule(kept.confidence, least, steps=kept.steps, version=version)

    def _noises(self, runs: list[float]) -> NoiseRecord:
        """What runs of one commit say about noise."""
        if self.rule.version == 1:
            return PooledNoise.of(runs)
        return LocalNoise.of(runs, may_scale=self.metric.scale == "linear")

    def _after(self, trial: Trial, at: Climb | None) -> Climb | None:
        """The standing after a finished trial; a trial that a guard refused changes little."""
        outcome = self._replayed(self._play(trial, at), trial) if trial.runs else None
        if outcome is not None and not isinstance(outcome, RunRequest):
            decision, later = outcome
            recorded = (trial.status, trial.reason)
            if later is not None and (decision.status, decision.reason) == recorded:
                return later
        if at is None or not trial.runs:
            return at
        if trial.proposer == CONFIRMER:
            confirmations = (*at.confirmations, at.confirmation)
            return self._dropped(replace(at, confirmations=confirmations))
        return replace(at, trials=at.trials + 1, quiet=at.quiet + 1)

    def _replayed(self, play: Play, trial: Trial) -> RunRequest | Ended:
        """Send a trial's recorded runs into its play: the next request, or how it ended."""
        try:
            request = next(play)
            for run in trial.runs:
                if (run.commit, run.purpose) != (request.commit, request.purpose):
                    raise StrategyError(
                        f"Run {run.number} of trial {trial.number} has the purpose {run.purpose}, "
                        f"and this rule expects {request.purpose} there: the study was begun with "
                        "another strategy. Go on with that one, or take a new --tag."
                    )
                request = play.send(None if run.value is None else self.metric.worth(run.value))
        except StopIteration as stop:
            ended: Ended = stop.value
            return ended
        return request

    def _play(self, trial: Trial, at: Climb | None) -> Play:
        if at is None:
            return self._baseline(trial)
        if trial.proposer == CONFIRMER:
            return self._confirmation(trial, at)
        return self._screening(trial, at)

    # ---- the plays, one a kind of trial --------------------------------------------------------

    def _baseline(self, trial: Trial) -> Play:
        """Several runs of one commit: their spread is the noise."""
        values: list[float] = []
        for index in range(2 if self.keep.noise == "none" else self.keep.runs):
            value = yield RunRequest(purpose=NOISE, seed_index=index)
            if value is None:
                return _crash(trial), None
            values.append(value)
        if self.keep.noise == "none" and values[0] != values[1]:
            seen = " and ".join(f"{self.metric.value_of(value):g}" for value in values)
            return Decision(Status.CRASH, f'keep.noise is "none", and two runs gave {seen}'), None
        level = Level.of(values)
        at = Climb(trial.commit, trial.commit, level, level, self._noises(values))
        return Decision(Status.KEEP), at

    def _screening(self, trial: Trial, at: Climb) -> Play:
        """One run; a second when the first looks promising. What looks better becomes the tip."""
        now = replace(at, trials=at.trials + 1, quiet=at.quiet + 1)
        gains: list[float] = []
        grown = _growth(trial)
        new_noise = False
        while True:
            value = yield RunRequest(seed_index=len(gains))
            if value is None:
                return _crash(trial), now
            gains.append(value - at.level.value)
            if now.exact:
                seen = yield from self._seen_again(now, value, simpler=grown < 0)
                if not seen:
                    return _crash(trial), now
                if len(set(seen)) == 1:
                    return self._exactly(trial, now, value, simpler=grown < 0)
                now, new_noise = replace(now, noises=self._noises(seen)), True
                gains = [each - at.level.value for each in seen[: len(self.rule.hurdles)]]
            screened = screen(gains, now.noise, self.rule, simpler=grown < 0)
            if screened.answer != "again":
                break
        worth = earns_its_lines(screened.estimate, grown, now.noise)
        compared = Comparison(gains, now.noise.sd, grown)
        if screened.answer == "keep" and worth:
            step = self._stepped(trial, now, screened, [] if new_noise else gains)
            return Decision(Status.TENTATIVE, explanation=compared.of_step), step
        if screened.answer == "keep":
            decision = Decision(Status.DISCARD, "adds_code", explanation=compared.of_code)
        else:
            decision = Decision(Status.DISCARD, explanation=compared.of_loss)
        return decision, (yield from self._refreshed(now))

    def _exactly(
        self, trial: Trial, at: Climb, value: float, *, simpler: bool
    ) -> tuple[Decision, Climb]:
        """Without noise the value decides; of equals the simpler one is kept."""
        gain = value - at.level.value
        compared = Comparison([gain], 0.0, _growth(trial))
        if not self._beats(at, value, simpler=simpler):
            return Decision(Status.DISCARD, explanation=compared.of_loss), at
        told = self._in_unit(Claim(gain, gain, gain), at.level.value)
        level, keep = Level.of([value]), Confirmed(trial.number, told)
        confirmed = (*at.confirmed, keep)
        later = replace(at, incumbent=trial.commit, tip=trial.commit, confirmed=confirmed)
        decision = Decision(Status.KEEP, explanation=compared.of_keep)
        return decision, replace(later, level=level, incumbent_level=level)

    def _beats(self, at: Climb, value: float, *, simpler: bool) -> bool:
        gain = value - at.level.value
        return gain > self.rule.min_delta or (simpler and gain >= 0)

    def _seen_again(
        self, at: Climb, value: float, *, simpler: bool
    ) -> Generator[RunRequest, float | None, list[float]]:
        """The values of a candidate in a lab without noise so far: one, unless it would be kept.

        Then it runs on another seed, since a candidate may bring randomness that the baseline
        lacked. If the second value differs, it runs as often as a baseline, to measure the noise.
        Empty when the second run failed.
        """
        seen = [value]
        if self.keep.noise == "none" or not self._beats(at, value, simpler=simpler):
            return seen
        second = yield RunRequest(seed_index=1)
        if second is None or second == value:
            return [] if second is None else seen
        seen.append(second)
        for index in range(2, self.keep.runs):
            more = yield RunRequest(purpose=NOISE, seed_index=index)
            seen += [] if more is None else [more]
        return seen

    def _confirmation(self, trial: Trial, at: Climb) -> Play:
        """Tip against incumbent, in pairs A-B-B-A on fresh seeds; one more pair after a keep."""
        now = at.confirmation
        alpha = alpha_for(now.trials, now.steps, at.confirmations, self.rule)
        simpler = at.simplifies and self._believed(at) < at.noise.sd
        test = assess_simpler if simpler else assess
        at = replace(at, confirmations=(*at.confirmations, now))
        pairs: list[Pair] = []
        answer = "again"
        while answer == "again":
            pair = yield from self._pair(at, len(pairs), CONFIRM)
            if pair is None:
                why = Explanation("unmeasurable")
                return Decision(Status.DISCARD, "unmeasurable", explanation=why), self._dropped(at)
            pairs.append(pair)
            noise = at.noises.of_pairs(pairs)
            answer = test(_differences(pairs), noise, self.rule, alpha).answer
        if answer != "keep":
            return self._unconfirmed(at, pairs, still_open=answer == "open")
        extra = yield from self._pair(at, len(pairs), CLAIM)
        more = [extra] if extra else [pairs[-1]] if self.rule.version == 1 else []
        told = claim(
            _differences(pairs),
            _differences(more),
            noise,
            self.rule,
            alpha,
            simpler=simpler,
            after=at.noises.of_pairs(pairs + more),
        )
        if not holds(told, self.rule, simpler=simpler):
            return self._unconfirmed(at, pairs, more, still_open=told.estimate > 0, claim=told)
        why = self._paired("confirmed", at, pairs + more, told)
        why = replace(why, added=sum(at.grown)) if simpler else why
        at = self._measured(at, pairs, more, at_tip=True)
        if extra is not None:
            at = replace(at, level=at.level.seen(extra[0], self.rule))
        old = fmean(old for _, old in pairs + more)
        gain = self._in_unit(told, old)
        confirmed = (*at.confirmed, Confirmed(trial.number, gain, at.steps, at.shown))
        kept = replace(at, incumbent=at.tip, incumbent_level=at.level, steps=(), grown=(), shown=())
        later = replace(kept, open_at=0, quiet=0, confirmed=confirmed)
        return Decision(Status.KEEP, explanation=why), later

    # ---- parts of them -------------------------------------------------------------------------

    def _pair(
        self, at: Climb, number: int, purpose: str
    ) -> Generator[RunRequest, float | None, Pair | None]:
        """(tip, incumbent), once each on one seed; None when every try has a run that fails."""
        first = (CLAIM_SEEDS if purpose == CLAIM else PAIR_SEEDS) + TRIES * number
        for index in range(first, first + TRIES):
            tip = RunRequest(purpose=purpose, seed_index=index)
            incumbent = RunRequest(at.incumbent, purpose, index)
            values: dict[RunRequest, float | None] = {}
            for request in (incumbent, tip) if number % 2 else (tip, incumbent):
                values[request] = yield request
            new, old = values[tip], values[incumbent]
            if new is not None and old is not None:
                return new, old
        return None

    def _refreshed(self, at: Climb) -> Generator[RunRequest, float | None, Climb]:
        """Run the tip again after many trials without a step, since machines drift."""
        if at.quiet < self.rule.refresh or at.exact:
            return at
        value = yield RunRequest(at.tip, REFRESH, REFRESH_SEEDS)
        level = at.level if value is None else at.level.seen(value, self.rule)
        return replace(at, level=level, quiet=0)

    def _stepped(self, trial: Trial, at: Climb, screened: Assessment, gains: list[float]) -> Climb:
        """After a step; `gains` are those of its runs that say something new about the noise."""
        runs = [at.level.value + gain for gain in gains]
        noises = at.noises.with_step(runs) if runs else at.noises
        noise = noises.at(at.level.value + screened.estimate)
        return replace(
            at,
            tip=trial.commit,
            noises=noises,
            level=at.level.stepped(screened.estimate, noise, self.rule),
            steps=(*at.steps, trial.number),
            grown=(*at.grown, _growth(trial)),
            shown=(*at.shown, screened.estimate),
            quiet=0,
        )

    def _unconfirmed(
        self,
        at: Climb,
        pairs: list[Pair],
        more: list[Pair] | None = None,
        *,
        still_open: bool,
        claim: Claim | None = None,
    ) -> Ended:
        """An open stack grows on; an open single step does not deserve a second confirmation."""
        grows = still_open and self.rule.steps > 1
        why = self._paired("unconfirmed", at, pairs + (more or []), claim)
        at = self._measured(at, pairs, more or [], at_tip=grows)
        for new, old in more or []:
            at = replace(
                at,
                level=at.level.seen(new, self.rule),
                incumbent_level=at.incumbent_level.seen(old, self.rule),
            )
        later = replace(at, open_at=len(at.steps)) if grows else self._dropped(at)
        return Decision(Status.DISCARD, "unconfirmed", explanation=why), later

    def _measured(self, at: Climb, pairs: list[Pair], more: list[Pair], *, at_tip: bool) -> Climb:
        """Levels and noise after a confirmation's runs, whatever its outcome."""
        level, incumbent = at.level, at.incumbent_level
        for new, old in pairs:
            level, incumbent = level.seen(new, self.rule), incumbent.seen(old, self.rule)
        noises = at.noises.with_pairs(pairs, more, at_tip=at_tip)
        return replace(at, level=level, incumbent_level=incumbent, noises=noises)

    def _paired(self, kind: Kind, at: Climb, pairs: list[Pair], claim: Claim | None) -> Explanation:
        """Why a confirmation ended as it did; gains as the rule compares them."""
        gain, sd = fmean(_differences(pairs)), at.noises.of_pairs(pairs).sd
        return Explanation(
            kind,
            gain=claim.estimate if claim else gain,
            sds=(claim.estimate if claim else gain) / sd if sd else None,
            low=claim.low if claim else None,
            high=claim.high if claim else None,
            sd=sd,
            pairs=len(pairs),
        )

    def _in_unit(self, claim: Claim, old: float) -> Claim:
        """A claim over what had this level, in the metric's unit."""
        if self.metric.scale == "linear":
            return claim
        before = self.metric.value_of(old)
        estimate, low, high = (
            self.metric.gain(self.metric.value_of(old + gain), before)
            for gain in (claim.estimate, claim.low, claim.high)
        )
        return Claim(estimate, low, high)

    def _dropped(self, at: Climb) -> Climb:
        """Back to the incumbent: the steps are given up."""
        clean = replace(at, steps=(), grown=(), shown=(), open_at=0, quiet=0)
        return replace(clean, tip=at.incumbent, level=at.incumbent_level)

    def _believed(self, at: Climb) -> float:
        return at.level.value - at.incumbent_level.value - self.rule.min_delta


def _growth(trial: Trial) -> int:
    """How much code it adds: nodes of the syntax tree, or lines where there is none."""
    return (trial.lines or 0) if trial.nodes is None else trial.nodes


def _crash(trial: Trial) -> Decision:
    failed = next(run for run in reversed(trial.own) if run.value is None)
    return Decision(Status.CRASH, failed.reason)


def rule_version(ledger: Ledger) -> int | None:
    """The version of the rule that a study was begun with; None for a ledger without a study."""
    facts = ledger.facts
    if "strategy" not in facts:
        return None
    begun = facts.get("rule", "1")
    if begun not in map(str, range(1, RULE + 1)):
        raise StrategyError(
            f"This study was begun with version {begun} of the keep rule, and this AutoResearch "
            f"knows 1 to {RULE}. Update AutoResearch, or take a new --tag."
        )
    return int(begun)


# The rule of each ledger that is open, with the settings that it was made from.
_RULES: WeakKeyDictionary[Ledger, tuple[str, SequentialConfirmation]] = WeakKeyDictionary()


def _differences(pairs: list[Pair]) -> list[float]:
    return [new - old for new, old in pairs]
