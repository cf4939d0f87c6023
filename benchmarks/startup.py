"""How long `autoresearch --help` takes, beside an empty Python. Bound: under 0.3 s.

python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 15


def seconds(*words: str) -> float:
    """Wall clock of one process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Time both in turn, so that a noisy machine slows both."""
    commands = {
        "python -c pass": ("-c", "pass"),
        "autoresearch --help": ("-m", "autoresearch", "--help"),
        "autoresearch run --help": ("-m", "autoresearch", "run", "--help"),
        "ah --help": ("-c", "from agenthub.cli import main; main(['--help'])"),
        "ah push --help": ("-c", "from agenthub.cli import main; main(['push', '--help'])"),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(RUNS):
        for name, words in commands.items():
            times[name].append(seconds(*words))
    empty = statistics.median(times["python -c pass"])
    print(f"{'command':<26}{'median ms':>10}{'max ms':>9}{'ratio':>8}")
    for name, runs in times.items():
        median = statistics.median(runs)
        print(f"{name:<26}{median * 1000:>10.0f}{max(runs) * 1000:>9.0f}{median / empty:>8.1f}")


if __name__ == "__main__":
    main()
