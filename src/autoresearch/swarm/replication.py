"""Replication: run another agent's result on seeds of ours, beside the study's own record."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from autoresearch.store.extra_runs import ExtraRun, add_run, read_runs
from autoresearch.study.study import Study
from autoresearch.swarm.discovery import ReplicationLease, finish_lease, return_lease
from autoresearch.swarm.outbox import Outbox
from autoresearch.swarm.settings import SwarmSettings

SPENT = "replicated seconds"
MOST_SEED = 2**31
PLACE = "hub"  # the folder of these runs, below that of all runs beside the record


@dataclass
class Replication:
    """Runs leased results, within a share of the time of all runs over all sessions of a study."""

    study: Study
    outbox: Outbox
    settings: SwarmSettings
    own_seconds: float = field(default=0.0, init=False)  # of the study's trials

    def __post_init__(self) -> None:
        self.own_seconds = sum(trial.seconds for trial in self.study.ledger.trials())

    def is_due(self) -> bool:
        """Whether one more replication stays within the share.

        The first replication is due as soon as the study's own trials have taken as long as it
        will: a study that joins late learns early which of the best results are true, and its next
        trials make up for the time.
        """
        spent, one = float(self.outbox.fact(SPENT, "0")), self.settings.runs * self._usual()
        if not spent and self.own_seconds >= one:
            return True
        return spent + one <= self.settings.replicate * (self.own_seconds + spent + one)

    def run(self, lease: ReplicationLease) -> str:
        """Run a leased result and write a letter with its values; a sentence about the outcome.

        Empty when the study ended meanwhile: the next session goes on with the same lease.
        """
        folder = self.study.paths.extra_runs / PLACE / str(lease.result)
        done = [run for run in read_runs(folder) if run.tree == lease.tree][: self.settings.runs]
        while len(done) < self.settings.runs and not self.study.ending:
            done.append(self._run_once(lease, folder))
        if len(done) < self.settings.runs:
            return ""
        known = [run.value for run in done if run.value is not None]
        if len(known) < len(done):
            return_lease(self.outbox, lease, unfit=True)
            return f"Result {lease.result} of the hub does not run here; the lease was given back."
        finish_lease(self.outbox, lease, known, self.settings.platform)
        values = ", ".join(f"{value:.6f}" for value in known)
        return f"Result {lease.result} of the hub was run again: {values}."

    def _run_once(self, lease: ReplicationLease, folder: Path) -> ExtraRun:
        """One run, on a random seed that the claiming agent cannot have prepared for."""
        seed = secrets.randbelow(MOST_SEED)
        run = self.study.measure(lease.commit, seed, folder / str(seed) / "run.log").run
        spent = float(self.outbox.fact(SPENT, "0")) + run.seconds
        self.outbox.note(SPENT, f"{spent:.3f}")
        return add_run(folder, ExtraRun(lease.tree, seed, run.value, {}, run.reason, run.seconds))

    def _usual(self) -> float:
        return self.study.usual_seconds() if self.study.ledger.kept() else 0.0
