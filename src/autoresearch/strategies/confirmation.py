"""Confirm: climb on what looks better, keep what is proven. The rule itself is in `sequential`.

Every verdict is found by walking the whole ledger again, run by run, through the lines below: each
is written as a story that asks for a run (`yield`) and is handed its value. What it asks for after
the last recorded run is what happens next; so a study goes on from its record alone, and anyone
can recompute its verdicts.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

from autoresearch.errors import StrategyError
from autoresearch.lab.task import Keep
from autoresearch.store.ledger import (
    CLAIM,
    NOISE,
    PROOF,
    REFRESH,
    STEP,
    Ledger,
    State,
    Status,
    Trial,
)
from autoresearch.strategies import PROVER, RunRequest, Verdict
from autoresearch.strategies.screening_test import (
    Claim,
    Decision,
    Level,
    Noise,
    Proof,
    Rule,
    alpha_for,
    claim,
    decide,
    decide_simpler,
    earns_its_lines,
    screen,
    stack_due,
)

PAIR_DRAW, CLAIM_DRAW, REFRESH_DRAW = 10, 50, 90  # seeds of one trial, by what they are for
TRIES = 2  # of a pair of which one run failed
_ROOT2 = math.sqrt(2)


@dataclass(frozen=True)
class Proven:
    """A keep, and the gain over the one before it that may be told."""

    trial: int
    claim: Claim
    steps: tuple[int, ...] = ()  # the trials that it proves, if it is not one of its own
    shown: tuple[float, ...] = ()  # the gain that the runs of each of them had shown


@dataclass(frozen=True)
class Climb:
    """Where a study stands: what is proven, and what is only hoped for."""

    incumbent: str  # the last kept commit
    tip: str  # where the next candidate starts
    incumbent_level: Level
    level: Level  # of the tip
    noise: Noise
    steps: tuple[int, ...] = ()  # trials climbed since the anchor
    grown: tuple[int, ...] = ()  # nodes of code that each of them added
    shown: tuple[float, ...] = ()  # gain over the tip that the runs of each of them showed
    open_at: int = 0  # steps when a proof was last left open
    quiet: int = 0  # trials since the tip was last run or moved
    trials: int = 0  # not counting proofs
    proofs: tuple[Proof, ...] = ()
    proven: tuple[Proven, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether runs of one candidate do not differ, so that one is enough."""
        return self.noise.sd == 0

    @property
    def simplifies(self) -> bool:
        """Whether all that was climbed is code taken away."""
        return bool(self.grown) and max(self.grown) < 0

    @property
    def proof(self) -> Proof:
        """A proof of it all, as the budget sees it."""
        return Proof(self.trials, len(self.steps))


Line = Generator[RunRequest, float | None, tuple[Verdict, Climb | None]]


class SequentialConfirmation:
    """Screen each candidate, climb on what looks better, prove the climb on fresh seeds."""

    name = "confirm"

    def __init__(self, keep: Keep | None = None) -> None:
        self.keep = keep or Keep()
        kept = self.keep
        self.rule = Rule(kept.confidence, kept.min_delta, steps=kept.steps)
        self._memory: dict[Path, tuple[int, Climb | None]] = {}

    @classmethod
    def of(cls, ledger: Ledger) -> SequentialConfirmation | None:
        """The rule as a study was begun with it; None where that was another rule."""
        facts = ledger.facts
        return cls(Keep.of(facts.get("keep", ""))) if facts.get("strategy") == cls.name else None

    # ---- what a study asks ---------------------------------------------------------------------

    def select(self, ledger: Ledger) -> str:
        """The tip: the last kept commit, or what was climbed since."""
        return self.standing(ledger).tip

    def due_confirmation(self, ledger: Ledger, *, last: bool = False) -> str | None:
        """The tip, when its climb is to be proven now."""
        at = self.standing(ledger)
        if at.tip == at.incumbent or len(at.steps) == at.open_at:  # nothing new since it was open
            return None
        due = last or stack_due(len(at.steps), self.rule, open_at=at.open_at)
        return at.tip if due else None

    def judge(self, trial: Trial, ledger: Ledger) -> Verdict:
        """What a trial's runs mean so far, after all that came before it."""
        at = self._walked(ledger, trial.number)
        asked = self._told(self._line(trial, at), trial)
        return Verdict(None, look=asked) if isinstance(asked, RunRequest) else asked[0]

    def standing(self, ledger: Ledger) -> Climb:
        """Where the study stands after all its finished trials."""
        at = self._walked(ledger, len(ledger))
        if at is None:
            raise StrategyError("A study selects only after its baseline.")
        return at

    # ---- walking the record --------------------------------------------------------------------

    def _walked(self, ledger: Ledger, until: int) -> Climb | None:
        """The standing before trial `until`; from where the last walk of this ledger ended."""
        self._sign = -1.0 if ledger.metric.direction == "minimize" else 1.0
        walked, at = self._memory.get(ledger.path, (0, None))
        if walked > until:
            walked, at = 0, None
        for trial in ledger.trials(walked, until):
            if trial.state is not State.APPLIED:
                break
            walked, at = trial.number + 1, self._after(trial, at)
        self._memory = {ledger.path: (walked, at)}  # what is applied never changes
        return at

    def _after(self, trial: Trial, at: Climb | None) -> Climb | None:
        """The standing once a trial is told: what was refused for another reason changes little."""
        told = self._told(self._line(trial, at), trial) if trial.runs else None
        if told is not None and not isinstance(told, RunRequest):
            verdict, later = told
            if later is not None and (verdict.status, verdict.reason) == (
                trial.status,
                trial.reason,
            ):
                return later
        if at is None or not trial.runs:
            return at
        if trial.proposer == PROVER:
            return self._dropped(replace(at, proofs=(*at.proofs, at.proof)))
        return replace(at, trials=at.trials + 1, quiet=at.quiet + 1)

    def _told(self, line: Line, trial: Trial) -> RunRequest | tuple[Verdict, Climb | None]:
        """A story with the runs that were made for it: what it asks next, or how it ended."""
        try:
            asked = next(line)
            for attempt in trial.runs:
                if (attempt.commit, attempt.role) != (asked.commit, asked.role):
                    raise StrategyError(
                        f"Run {attempt.number} of trial {trial.number} was made as "
                        f"{attempt.role}, and this rule asks for {asked.role} there: the study "
                        "was begun with another strategy. Go on with that one, or take a new --tag."
                    )
                value = None if attempt.value is None else self._sign * attempt.value
                asked = line.send(value)
        except StopIteration as ended:
            verdict: tuple[Verdict, Climb | None] = ended.value
            return verdict
        return asked

    def _line(self, trial: Trial, at: Climb | None) -> Line:
        if at is None:
            return self._baseline(trial)
        if trial.proposer == PROVER:
            return self._proof(trial, at)
        return self._screening(trial, at)

    # ---- the stories ---------------------------------------------------------------------------

    def _baseline(self, trial: Trial) -> Line:
        """Run against itself, it tells the noise."""
        values: list[float] = []
        for draw in range(2 if self.keep.noise == "none" else self.keep.runs):
            value = yield RunRequest(role=NOISE, draw=draw)
            if value is None:
                return _crash(trial), None
            values.append(value)
        if self.keep.noise == "none" and values[0] != values[1]:
            seen = " and ".join(f"{self._sign * value:g}" for value in values)
            return Verdict(Status.CRASH, f'keep.noise is "none", and two runs gave {seen}'), None
        level = Level.of(values)
        at = Climb(trial.commit, trial.commit, level, level, Noise.pooled([values]))
        return Verdict(Status.KEEP), at

    def _screening(self, trial: Trial, at: Climb) -> Line:
        """One run; a second where the first is promising. What still is becomes the tip."""
        now = replace(at, trials=at.trials + 1, quiet=at.quiet + 1)
        gains: list[float] = []
        grown = _growth(trial)
        while True:
            value = yield RunRequest(draw=len(gains))
            if value is None:
                return _crash(trial), now
            gains.append(value - at.level.value)
            if now.exact:
                seen = yield from self._seen_again(now, value, simpler=grown < 0)
                if not seen:
                    return _crash(trial), now
                if len(set(seen)) == 1:
                    return self._exactly(trial, now, value, simpler=grown < 0)
                now = replace(now, noise=Noise.pooled([seen]))
                gains = [each - at.level.value for each in seen[: len(self.rule.hurdles)]]
            decision = screen(gains, now.noise, self.rule, simpler=grown < 0)
            if decision.verdict != "again":
                break
        worth = earns_its_lines(decision.estimate, grown, now.noise)
        if decision.verdict == "keep" and worth:
            return Verdict(Status.DISCARD, STEP), self._stepped(trial, now, decision)
        reason = "adds_code" if decision.verdict == "keep" else ""
        return Verdict(Status.DISCARD, reason), (yield from self._refreshed(now))

    def _exactly(
        self, trial: Trial, at: Climb, value: float, *, simpler: bool
    ) -> tuple[Verdict, Climb]:
        """Without noise its value decides; of equals the simpler one is kept."""
        if not self._beats(at, value, simpler=simpler):
            return Verdict(Status.DISCARD), at
        gain = value - at.level.value
        level, told = Level.of([value]), Proven(trial.number, Claim(gain, gain, gain))
        later = replace(at, incumbent=trial.commit, tip=trial.commit, proven=(*at.proven, told))
        return Verdict(Status.KEEP), replace(later, level=level, incumbent_level=level)

    def _beats(self, at: Climb, value: float, *, simpler: bool) -> bool:
        gain = value - at.level.value
        return gain > self.rule.min_delta or (simpler and gain >= 0)

    def _seen_again(
        self, at: Climb, value: float, *, simpler: bool
    ) -> Generator[RunRequest, float | None, list[float]]:
        """The runs of a candidate in a lab without noise so far: one, unless it would be kept.

        Then it is run on another seed: a baseline without chance may get a successor with it. If
        that gives another value, it is run as often as a baseline, to tell the noise. Nothing
        when it failed.
        """
        seen = [value]
        if self.keep.noise == "none" or not self._beats(at, value, simpler=simpler):
            return seen
        second = yield RunRequest(draw=1)
        if second is None or second == value:
            return [] if second is None else seen
        seen.append(second)
        for draw in range(2, self.keep.runs):
            more = yield RunRequest(role=NOISE, draw=draw)
            seen += [] if more is None else [more]
        return seen

    def _proof(self, trial: Trial, at: Climb) -> Line:
        """Tip against anchor, in pairs A-B-B-A on fresh seeds; once kept, one more to tell by."""
        alpha = alpha_for(at.proof.trials, at.proof.steps, at.proofs, self.rule)
        simpler = at.simplifies and self._believed(at) < at.noise.sd
        test = decide_simpler if simpler else decide
        at = replace(at, proofs=(*at.proofs, at.proof))
        pairs: list[tuple[float, float]] = []
        verdict = "again"
        while verdict == "again":
            pair = yield from self._pair(at, len(pairs), PROOF)
            if pair is None:
                return Verdict(Status.DISCARD, "unmeasurable"), self._dropped(at)
            pairs.append(pair)
            verdict = test(_differences(pairs), at.noise, self.rule, alpha).verdict
        if verdict != "keep":
            return Verdict(Status.DISCARD, "unproven"), self._unproven(at, pairs, verdict)
        extra = yield from self._pair(at, len(pairs), CLAIM)
        more = _differences([extra or pairs[-1]])
        told = claim(_differences(pairs), more, at.noise, self.rule, alpha, simpler=simpler)
        at = self._measured(at, pairs)
        if extra is not None:
            at = replace(at, level=at.level.seen(extra[0], self.rule))
        proven = (*at.proven, Proven(trial.number, told, at.steps, at.shown))
        kept = replace(at, incumbent=at.tip, incumbent_level=at.level, steps=(), grown=(), shown=())
        return Verdict(Status.KEEP), replace(kept, open_at=0, quiet=0, proven=proven)

    # ---- parts of them -------------------------------------------------------------------------

    def _pair(
        self, at: Climb, number: int, role: str
    ) -> Generator[RunRequest, float | None, tuple[float, float] | None]:
        """(tip, anchor), each once on one seed; None when one of them fails again and again."""
        for again in range(TRIES):
            draw = (CLAIM_DRAW if role == CLAIM else PAIR_DRAW) + TRIES * number + again
            looks = [RunRequest(role=role, draw=draw), RunRequest(at.incumbent, role, draw)]
            values: dict[str, float | None] = {}
            for look in reversed(looks) if number % 2 else looks:
                values[look.commit] = yield look
            new, old = values[""], values[at.incumbent]
            if new is not None and old is not None:
                return new, old
        return None

    def _refreshed(self, at: Climb) -> Generator[RunRequest, float | None, Climb]:
        """After a long time without a step the tip is run again: machines drift."""
        if at.quiet < self.rule.refresh or at.exact:
            return at
        value = yield RunRequest(at.tip, REFRESH, REFRESH_DRAW)
        level = at.level if value is None else at.level.seen(value, self.rule)
        return replace(at, level=level, quiet=0)

    def _stepped(self, trial: Trial, at: Climb, decision: Decision) -> Climb:
        return replace(
            at,
            tip=trial.commit,
            level=at.level.stepped(decision.estimate, at.noise, self.rule),
            steps=(*at.steps, trial.number),
            grown=(*at.grown, _growth(trial)),
            shown=(*at.shown, decision.estimate),
            quiet=0,
        )

    def _unproven(self, at: Climb, pairs: list[tuple[float, float]], verdict: str) -> Climb:
        """A stack that may yet be good is climbed on; a single step is not worth a second proof."""
        at = self._measured(at, pairs)
        if verdict == "open" and self.rule.steps > 1:
            return replace(at, open_at=len(at.steps))
        return self._dropped(at)

    def _measured(self, at: Climb, pairs: list[tuple[float, float]]) -> Climb:
        """What a proof's runs teach, whatever came of it: both levels, and the noise."""
        level, incumbent = at.level, at.incumbent_level
        for new, old in pairs:
            level, incumbent = level.seen(new, self.rule), incumbent.seen(old, self.rule)
        noise = at.noise.joined([difference / _ROOT2 for difference in _differences(pairs)])
        return replace(at, level=level, incumbent_level=incumbent, noise=noise)

    def _dropped(self, at: Climb) -> Climb:
        """Back to the anchor: nothing of the climb is believed any more."""
        clean = replace(at, steps=(), grown=(), shown=(), open_at=0, quiet=0)
        return replace(clean, tip=at.incumbent, level=at.incumbent_level)

    def _believed(self, at: Climb) -> float:
        return at.level.value - at.incumbent_level.value - self.rule.min_delta


def _growth(trial: Trial) -> int:
    """How much code it adds: nodes of the syntax tree, or lines where there is none."""
    return (trial.lines or 0) if trial.nodes is None else trial.nodes


def _crash(trial: Trial) -> Verdict:
    failed = next(a for a in reversed(trial.own) if a.value is None)
    return Verdict(Status.CRASH, failed.reason)


def _differences(pairs: list[tuple[float, float]]) -> list[float]:
    return [new - old for new, old in pairs]
