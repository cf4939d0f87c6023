"""Does the offline proposer find real improvements on the cpu preset? Bound: 1 % in three of three.

Three studies of 20 trials each from the shipped baseline, with different seeds; then the best of
each and the baseline are run again, in turn, on three seeds that no study has used. About 25
minutes on two cores (the budget counts CPU time, so two studies may run beside each other).

    python benchmarks/improve.py [--studies 3] [--trials 20] [--jobs 2]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from autoresearch.cli.scaffold import create_lab
from autoresearch.evaluation.jobs import run_job
from autoresearch.evaluation.parsing import parse_run, run_of
from autoresearch.executors.local import LocalExecutor
from autoresearch.lab.task import Task
from autoresearch.proposers.offline import OfflineProposer
from autoresearch.store.ledger import Trial
from autoresearch.strategies.greedy import Greedy
from autoresearch.study.collaborators import CallbackListener
from autoresearch.study.loop import StopLimits, research
from autoresearch.study.opening import open_study
from autoresearch.study.study import Study

FRESH = (900_001, 900_002, 900_003)  # seeds that no trial has


@dataclass(frozen=True)
class Outcome:
    """What one study claimed, and what was measured afterwards."""

    seed: int
    claimed: tuple[float, float]  # baseline and best, as the study saw them
    baseline: tuple[float, ...]  # on the fresh seeds
    best: tuple[float, ...]
    changes: str

    @property
    def gain(self) -> float:
        """Percent, of the means."""
        before, after = statistics.mean(self.baseline), statistics.mean(self.best)
        return 100 * (before - after) / before


def play(folder: Path, seed: int, trials: int) -> Outcome:
    """One study from nothing, then the re-measurement."""
    create_lab(folder, "nanogpt", "cpu")
    task = Task.load(folder)
    subprocess.run(
        [sys.executable, "prepare.py"], cwd=folder, check=True, stdout=subprocess.DEVNULL
    )
    with open_study(task, "bench", Greedy(), LocalExecutor(), seed=seed) as study:
        told = CallbackListener(on_trial=lambda trial: say(seed, trial))
        study.collaborators.attach(listener=told)
        research(study, OfflineProposer(seed), StopLimits(trials=trials))
        first, best = study.ledger.trial(0), study.ledger.best()
        assert best is not None and first.value is not None and best.value is not None
        again = [(value(study, first, s), value(study, best, s)) for s in FRESH]
        kept = "; ".join(trial.note for trial in study.ledger.kept()[1:])
    before, after = zip(*again, strict=True)
    return Outcome(seed, (first.value, best.value), before, after, kept)


def value(study: Study, trial: Trial, seed: int) -> float:
    """Run a trial's commit once more, with another seed; nothing is recorded."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, log = Path(scratch) / "lab", Path(scratch) / "run.log"
        folder.mkdir()
        study.git.export(trial.commit, folder)
        execution = study.executor.run(run_job(study.task, folder, log, seed))
        found = parse_run(run_of(0, seed, execution), log, study.task).value
    assert found is not None
    return found


def say(seed: int, trial: Trial) -> None:
    """A line a trial, so that one sees it live."""
    shown = "-" if trial.value is None else f"{trial.value:.4f}"
    print(f"study {seed}  #{trial.number:<3}{trial.status:<8}{shown:>8}  {trial.note}", flush=True)


def main() -> None:
    """Run the studies and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=3)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as root, ThreadPoolExecutor(args.jobs) as pool:
        folders = [Path(root) / str(seed) for seed in range(1, args.studies + 1)]
        jobs = [pool.submit(play, folder, int(folder.name), args.trials) for folder in folders]
        outcomes = [job.result() for job in jobs]
    print(f"\n{'study':<7}{'claimed':>18}{'fresh baseline':>16}{'fresh best':>12}{'gain %':>8}")
    for o in outcomes:
        claimed = f"{o.claimed[0]:.4f} → {o.claimed[1]:.4f}"
        means = f"{statistics.mean(o.baseline):>16.4f}{statistics.mean(o.best):>12.4f}"
        print(f"{o.seed:<7}{claimed:>18}{means}{o.gain:>8.2f}   {o.changes}")
    enough = sum(o.gain >= 1 for o in outcomes)
    print(f"at least 1 % in {enough} of {len(outcomes)}")


if __name__ == "__main__":
    main()
