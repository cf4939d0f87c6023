"""What the harness itself costs between two trials. Bound: median under 150 ms.

The trial is a `cat`, so that nearly all that is left is ours: proposal collected, commit,
export, supervisor, measure, record, ratchet, results.tsv. The proposer's own time is not counted.
Beside it: the recipe of `git commit`, run, `git reset --hard` and an appended line.

    python benchmarks/overhead.py [--trials 60]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from autoresearch.executors.local import LocalExecutor
from autoresearch.lab.task import Task
from autoresearch.proposers import Brief, Proposal
from autoresearch.strategies.greedy import Greedy
from autoresearch.study.opening import open_study

TASK = """
command = "cat score.txt"
editable = ["score.txt"]
[metric]
name = "score"
"""


class Counter:
    """Every fourth proposal is better, the others are not."""

    name = "counter"

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Write a number that no one has written before."""
        began = time.perf_counter()
        number = len(brief.history)
        value = 1000.0 - number if number % 4 == 0 else 1000.0 + number
        (workspace / "score.txt").write_text(f"score: {value}\n")
        self.seconds.append(time.perf_counter() - began)
        return Proposal(f"score {value}")


def make_lab(folder: Path) -> None:
    """A repository with as many files as the nanogpt lab has."""
    (folder / "task.toml").write_text(TASK)
    (folder / "score.txt").write_text("score: 1000\n")
    for name in ("prepare.py", "program.md", "README.md"):
        (folder / name).write_text("x = 1\n" * 2000)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "lab")


def git(folder: Path, *words: str) -> None:
    """git as a person has it."""
    identity = ("-c", "user.name=b", "-c", "user.email=b@localhost")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def ours(lab: Path, trials: int) -> list[float]:
    """Seconds from the end of a trial to the end of the next, less the proposer's."""
    proposer, times = Counter(), []
    with open_study(Task.load(lab), "bench", Greedy(), LocalExecutor()) as study:
        study.baseline()
        for _ in range(trials):
            began = time.perf_counter()
            study.step(proposer)
            times.append(time.perf_counter() - began - proposer.seconds[-1])
    return times


def recipe(lab: Path, trials: int) -> list[float]:
    """The same by commit, run, reset."""
    times = []
    for number in range(trials):
        began = time.perf_counter()
        value = 2000.0 - number if number % 4 == 0 else 2000.0 + number
        (lab / "score.txt").write_text(f"score: {value}\n")
        git(lab, "commit", "-qam", f"score {value}")
        subprocess.run("cat score.txt > run.log", shell=True, cwd=lab, check=True)
        with (lab / "table.tsv").open("a") as table:
            table.write(f"{value}\n")
        if number % 4:
            git(lab, "reset", "-q", "--hard", "HEAD~1")
        times.append(time.perf_counter() - began)
    return times


def main() -> None:
    """Print both, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=60)
    trials = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        for folder in (first, second):
            make_lab(Path(folder))
        results = {
            "autoresearch": ours(Path(first), trials),
            "recipe": recipe(Path(second), trials),
        }
    rival = statistics.median(results["recipe"])
    print(f"{trials} trials each")
    print(f"{'':<14}{'median ms':>10}{'p90 ms':>9}{'max ms':>9}{'ratio':>8}")
    for name, times in results.items():
        median, p90 = statistics.median(times), statistics.quantiles(times, n=10)[-1]
        row = f"{median * 1000:>10.0f}{p90 * 1000:>9.0f}{max(times) * 1000:>9.0f}"
        print(f"{name:<14}{row}{median / rival:>8.1f}")


if __name__ == "__main__":
    main()
