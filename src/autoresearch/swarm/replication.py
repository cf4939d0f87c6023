"""Again: somebody else's result, run on seeds of ours, beside the record."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from autoresearch.store.extra_runs import ExtraRun, add_run, read_runs
from autoresearch.study.study import Study
from autoresearch.swarm.discovery import Duty, fulfil, give_back
from autoresearch.swarm.outbox import Outbox
from autoresearch.swarm.settings import SwarmSettings

SPENT = "replicated seconds"
MOST_SEED = 2**31
PLACE = "hub"  # below the folder of runs beside the record


@dataclass
class Again:
    """Keeps to its share of the time that all runs take, over all sessions of a study."""

    study: Study
    outbox: Outbox
    settings: SwarmSettings
    own: float = field(default=0.0, init=False)  # seconds of the study's trials

    def __post_init__(self) -> None:
        self.own = sum(trial.seconds for trial in self.study.ledger.trials())

    def is_due(self) -> bool:
        """Whether one more replication stays within the share.

        The first may come as soon as the study's own trials have taken that long: a loop that
        joins late learns what of the best is true, and the trials that follow make up for it.
        """
        spent, one = float(self.outbox.fact(SPENT, "0")), self.settings.runs * self._usual()
        if not spent and self.own >= one:
            return True
        return spent + one <= self.settings.replicate * (self.own + spent + one)

    def run(self, duty: Duty) -> str:
        """Run what was promised and write what it gave; in words."""
        folder = self.study.paths.extra_runs / PLACE / str(duty.result)
        done = [run for run in read_runs(folder) if run.tree == duty.tree][: self.settings.runs]
        while len(done) < self.settings.runs and not self.study.ending:
            done.append(self._once(duty, folder))
        if len(done) < self.settings.runs:
            return ""  # the promise stands: the next session goes on from here
        known = [run.value for run in done if run.value is not None]
        if len(known) < len(done):
            give_back(self.outbox, duty, unfit=True)
            return f"Result {duty.result} of the hub does not run here; the lease was given back."
        fulfil(self.outbox, duty, known, self.settings.platform)
        told = ", ".join(f"{value:.6f}" for value in known)
        return f"Result {duty.result} of the hub was run again: {told}."

    def _once(self, duty: Duty, folder: Path) -> ExtraRun:
        """One run, on a seed that whoever claims the result cannot have prepared for."""
        seed = secrets.randbelow(MOST_SEED)
        attempt = self.study.measure(duty.commit, seed, folder / str(seed) / "run.log").run
        spent = float(self.outbox.fact(SPENT, "0")) + attempt.seconds
        self.outbox.note(SPENT, f"{spent:.3f}")
        run = ExtraRun(duty.tree, seed, attempt.value, {}, attempt.reason, attempt.seconds)
        return add_run(folder, run)

    def _usual(self) -> float:
        return self.study.usual_seconds() if self.study.ledger.kept() else 0.0
