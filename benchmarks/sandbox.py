"""What a sandbox adds to the start and end of a job. Bound: its median is under 50 ms more.

The job is `true`. The levels take turns, so that a busy moment of the machine meets all of them;
the last column is the median of the differences to the level `none` of the same turn.

    python benchmarks/sandbox.py [--turns 40]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from autoresearch.errors import ExecutorError
from autoresearch.executors import Executor, Job
from autoresearch.executors.local import LocalExecutor
from autoresearch.executors.sandbox import LandlockExecutor, SandboxExecutor

LEVELS: dict[str, Executor] = {
    "none": LocalExecutor(),
    "landlock": LandlockExecutor(),
    "bubblewrap": SandboxExecutor(),
}


def once(executor: Executor, home: Path) -> float:
    """Milliseconds of one job that does nothing."""
    env = {"PATH": os.environ["PATH"]}
    began = time.perf_counter()
    ended = executor.run(Job("true", home / "job", home / "log", 60.0, env))
    assert ended.ok, (home / "log").read_text()
    return (time.perf_counter() - began) * 1000


def working(home: Path) -> dict[str, Executor]:
    """The levels that work here; the others are named."""
    found = {}
    for name, executor in LEVELS.items():
        try:
            once(executor, home)
            found[name] = executor
        except ExecutorError as error:
            print(f"{name} does not work here: {error.__cause__ or error}")
    return found


def main() -> None:
    """Print each level's times, and what it adds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=40)
    turns = parser.parse_args().turns
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o755)
        (home / "job").mkdir()
        levels = working(home)
        times: dict[str, list[float]] = {name: [] for name in levels}
        for _ in range(turns):
            for name, executor in levels.items():
                times[name].append(once(executor, home))
    print(f"{turns} turns\n{'':<12}{'median ms':>10}{'p90 ms':>9}{'max ms':>9}{'adds ms':>9}")
    for name, found in times.items():
        added = statistics.median(a - b for a, b in zip(found, times["none"], strict=True))
        p90 = statistics.quantiles(found, n=10)[-1]
        median = statistics.median(found)
        print(f"{name:<12}{median:>10.1f}{p90:>9.1f}{max(found):>9.1f}{added:>9.1f}")


if __name__ == "__main__":
    main()
