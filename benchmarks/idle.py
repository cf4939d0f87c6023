"""How busy the machine that runs trials is, when a proposal takes as long as a trial.

Stand-ins that sleep: proposals of 60 s and trials of 60 s, scaled down. Bound: at least 95 % busy
with a proposal ahead; about half without. The harness's own time between two trials does not
scale, so a small scale shows it larger than it is: at 0.1 it weighs ten times what it weighs in
earnest.

    python benchmarks/idle.py [--trials 10] [--scale 0.1]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from autoresearch.executors.local import LocalExecutor
from autoresearch.lab.task import Task
from autoresearch.proposers import Brief, Proposal
from autoresearch.strategies.greedy import Greedy
from autoresearch.study.loop import StopLimits, research
from autoresearch.study.opening import open_study
from overhead import git

TASK = """
command = "sleep {seconds} && awk '{{sum += $1}} END {{print \\"score:\\", sum}}' score.txt"
editable = ["score.txt"]
[metric]
name = "score"
[budget]
timeout = 600
"""
LINES = 80  # of the edited file, whose sum is the score


@dataclass
class Deliberate:
    """Sleeps, then changes one line; every fifth change is better, the others are not."""

    seconds: float
    name: str = "deliberate"
    max_seconds: float = 600.0
    calls: int = 0

    def propose(self, workspace: Path, brief: Brief) -> Proposal:  # noqa: ARG002
        """Think, and edit."""
        time.sleep(self.seconds)
        self.calls += 1
        path = workspace / "score.txt"
        lines = path.read_text().splitlines()
        lines[4 * self.calls % LINES] = str(-1 if self.calls % 5 == 0 else self.calls)
        path.write_text("\n".join(lines) + "\n")
        return Proposal(f"idea {self.calls}")


def busy(
    folder: Path, trials: int, seconds: float, *, ahead: bool
) -> tuple[float, float, int, int]:
    """Share of the time in which a trial ran, seconds in all, keeps, proposals."""
    folder.mkdir()
    (folder / "task.toml").write_text(TASK.format(seconds=seconds))
    (folder / "score.txt").write_text("0\n" * LINES)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "lab")
    proposer = Deliberate(seconds)
    with open_study(Task.load(folder), "bench", Greedy(), LocalExecutor()) as study:
        study.baseline()
        study.step(proposer, lambda: ahead)  # the first proposal has nothing to hide behind
        began = time.perf_counter()
        research(study, proposer, StopLimits(trials=trials), ahead=ahead)
        wall = time.perf_counter() - began
        ran = sum(trial.seconds for trial in study.ledger.trials(2))
        return ran / wall, wall, len(study.ledger.kept()) - 1, proposer.calls


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--scale", type=float, default=0.1, help="of 60 s (default: 0.1, so 6 s)")
    asked = parser.parse_args()
    seconds = 60 * asked.scale
    print(f"proposals of {seconds:g} s, trials of {seconds:g} s, {asked.trials} trials\n")
    print(f"{'':<16}{'busy':>7}{'wall s':>9}{'kept':>6}{'proposals':>11}")
    with tempfile.TemporaryDirectory() as scratch:
        for name, ahead in (("one ahead", True), ("--no-ahead", False)):
            share, wall, kept, calls = busy(
                Path(scratch, name.strip("-")), asked.trials, seconds, ahead=ahead
            )
            print(f"{name:<16}{share:>7.1%}{wall:>9.1f}{kept:>6}{calls:>11}")


if __name__ == "__main__":
    main()
