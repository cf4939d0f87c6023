"""A study without processes: the confirm rule over a real ledger, with runs that are made up.

What a commit is worth is told as a gain: more is better whatever the metric's direction, and the
baseline is worth 0. `A_A` gives it a noise of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from autoresearch.lab.task import Keep
from autoresearch.store.ledger import Ledger, Run, State, Status, Trial
from autoresearch.strategies import CONFIRMER, Decision, RunRequest
from autoresearch.strategies.confirmation import Climb, SequentialConfirmation

SPREAD = math.sqrt(0.4)  # a step's runs, so far to each side of their mean, tell of a noise of one
A_A = tuple(side * math.sqrt(3) / 2 for side in (1, -1, 1, -1))  # mean 0, sd 1
Answer = Callable[[RunRequest, Trial], float | None]  # what a run is worth; None: it fails
Pair = float | tuple[float | None, float | None]  # the difference of a pair, or (tip, incumbent)


class Lab:
    """Plays trials as a study does, run by run, and records them."""

    def __init__(self, ledger: Ledger, keep: Keep | None = None) -> None:
        self.ledger = ledger
        ledger._db.execute("PRAGMA synchronous = OFF")  # this record may be lost with the power
        self.rule = SequentialConfirmation(keep)
        self.sign = -1.0 if ledger.metric.direction == "minimize" else 1.0

    @property
    def at(self) -> Climb:
        """Where it stands."""
        return self.rule.standing(self.ledger)

    # ---- trials --------------------------------------------------------------------------------

    def baseline(self, *worth: float | None) -> Trial:
        """Run against itself."""
        runs = iter(worth or A_A)
        return self.play(self.added("base", "base"), lambda *_: next(runs))

    def edit(
        self,
        *gains: float | None,
        nodes: int | None = 0,
        lines: int | None = None,
        refused: str = "",
        refresh: float | None = 0.0,
    ) -> Trial:
        """A candidate whose runs look so much better than the tip is believed to be."""
        level, left = self.at.level.value, iter(gains)

        def answer(request: RunRequest, trial: Trial) -> float | None:
            gain = refresh if request.commit else next(left)
            return None if gain is None else level + gain

        trial = self.added(self.rule.select(self.ledger), "", nodes=nodes, lines=lines)
        trial = self.play(trial, answer, refused)
        assert list(left) == [], "fewer runs were made than the test has numbers for"
        return trial

    def confirmation(self, *pairs: Pair, last: bool = False, refused: str = "") -> Trial:
        """The due confirmation; each pair is a difference, or the values of tip and incumbent."""
        tip = self.rule.due_confirmation(self.ledger, last=last)
        assert tip is not None, "nothing is to be confirmed"
        left, known = list(pairs), dict[int, tuple[float | None, float | None]]()

        def answer(request: RunRequest, trial: Trial) -> float | None:
            if request.seed_index not in known:  # two runs of one draw are one pair
                pair = left.pop(0)
                known[request.seed_index] = pair if isinstance(pair, tuple) else (pair, 0.0)
            return known[request.seed_index][1 if request.commit else 0]

        trial = self.play(self.added(self.at.incumbent, tip, CONFIRMER), answer, refused)
        assert left == [], "fewer pairs were run than the test has numbers for"
        return trial

    def steps(self, count: int, gain: float = 2.0, nodes: int | None = 0) -> list[Trial]:
        """So many candidates that look better."""
        return [self.edit(gain + SPREAD, gain - SPREAD, nodes=nodes) for _ in range(count)]

    # ---- what a study does with the rule ---------------------------------------------------------

    def added(self, parent: str, commit: str, by: str = "hand", **size: int | None) -> Trial:
        """A trial that is a commit, and has not run."""
        trial = self.ledger.add(Trial(0, parent, "note", by))
        commit = commit or f"commit-{trial.number}"
        return self.ledger.advance(trial, State.COMMITTED, commit=commit, **size)

    def play(self, trial: Trial, answer: Answer, refused: str = "") -> Trial:
        """Run after run, until the rule has decided; a guard may refuse what would be climbed."""
        while (decision := self.rule.decide(trial, self.ledger)).status is None:
            assert decision.request is not None
            trial = self.ran(trial, decision.request, answer(decision.request, trial))
        if decision.climbs and refused:
            decision = Decision(Status.DISCARD, refused)
        trial = self.ledger.advance(
            trial,
            State.DECIDED,
            status=decision.status,
            reason=decision.reason,
            explanation=decision.explanation,
        )
        return self.ledger.advance(trial, State.APPLIED)

    def ran(self, trial: Trial, request: RunRequest, worth: float | None) -> Trial:
        """One more run of it, measured."""
        trial = self.ledger.advance(trial, State.RUNNING)
        value = None if worth is None else self.sign * worth
        run = Run(len(trial.runs), request.seed_index, 1.0, 0, value, 0.0)
        run = replace(run, commit=request.commit, purpose=request.purpose)
        if value is None:
            run = replace(run, reason="failed")
        return self.ledger.measure_run(self.ledger.add_run(trial, run), run)
