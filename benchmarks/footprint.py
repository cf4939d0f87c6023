"""What memory the harness takes. Bounds: under 120 MB after all trials, and no more for a long log.

A real study in a process of its own: a scripted proposer, trials that are a `cat`, no sandbox. What
is shown is the loop's process; a trial's supervisor is another one. Then trials that print so many
MB, each in a fresh process: its peak, which must not grow with what the trial prints.

    python benchmarks/footprint.py [--trials 1000] [--logs 0 1 20 200]
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from autoresearch.executors.local import LocalExecutor
from autoresearch.lab.task import Task
from autoresearch.store.ledger import Trial
from autoresearch.strategies.greedy import Greedy
from autoresearch.study.collaborators import CallbackListener
from autoresearch.study.loop import StopLimits, research
from autoresearch.study.opening import open_study
from overhead import Counter, git, make_lab

MEMORY = 120.0  # MB that the loop may hold in the end
GROWTH = 3.0  # MB that a long log may add to the peak: allocators round up
LINES = "yes 'step 1 | progress 50% | loss 2.000000' | head -c SIZE"
ONE_LINE = "yes x | tr -d '\\\\n' | head -c SIZE"
TALKS = """
command = "PRINT; echo; cat score.txt"
editable = ["score.txt"]
[metric]
name = "score"
"""

Work = Callable[[Path, int, Connection], None]


def study(lab: Path, trials: int, out: Connection) -> None:
    """Run a study; send trials, MB and seconds at its start and after every tenth of it."""
    began, every = time.monotonic(), max(1, trials // 10)

    def tell(trial: Trial) -> None:
        if trial.number % every == 0:
            held = psutil.Process().memory_info().rss / 1e6
            out.send((trial.number, held, time.monotonic() - began))

    with open_study(Task.load(lab), "bench", Greedy(), LocalExecutor()) as opened:
        opened.collaborators.attach(listener=CallbackListener(on_trial=tell))
        research(opened, Counter(), StopLimits(trials=trials))


def lines(lab: Path, megabytes: int, out: Connection) -> None:
    """A trial that prints so much, as lines of a usual length."""
    talk(lab, LINES, megabytes, out)


def one_line(lab: Path, megabytes: int, out: Connection) -> None:
    """A trial that prints so much without a line's end."""
    talk(lab, ONE_LINE, megabytes, out)


def talk(lab: Path, command: str, megabytes: int, out: Connection) -> None:
    """Run a trial that prints so much; send MB printed, MB at the peak and seconds."""
    began = time.monotonic()
    talks = TALKS.replace("PRINT", command).replace("SIZE", str(megabytes * 10**6))
    (lab / "task.toml").write_text(talks)
    git(lab, "commit", "-qam", "a lab that talks")
    with open_study(Task.load(lab), "bench", Greedy(), LocalExecutor()) as opened:
        opened.baseline()
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    out.send((megabytes, peak, time.monotonic() - began))


def apart(work: Work, amount: int) -> Iterator[tuple[int, float, float]]:
    """What some work in a lab sends from a process of its own, as it comes."""
    context = multiprocessing.get_context("spawn")
    inlet, outlet = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        make_lab(Path(folder))
        process = context.Process(target=work, args=(Path(folder), amount, outlet))
        process.start()
        outlet.close()
        try:
            while True:
                yield inlet.recv()
        except EOFError:
            process.join()
    if process.exitcode:
        raise SystemExit(f"{work.__name__} of {amount} failed")


def table(title: str, rows: Iterator[tuple[int, float, float]]) -> list[float]:
    """Print rows as they come; their MB."""
    print(f"{title:>16}{'MB':>9}{'seconds':>9}")
    found = []
    for amount, held, seconds in rows:
        print(f"{amount:>16,}{held:>9.1f}{seconds:>9.1f}", flush=True)
        found.append(held)
    return found


def main() -> None:
    """Print both tables; exit code 1 when a bound is broken."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--logs", type=int, nargs="+", default=[0, 1, 20, 200], help="in MB")
    args = parser.parse_args()
    held = table("trials", apart(study, args.trials))
    broken = []
    if max(held) > MEMORY:
        broken.append(f"{max(held):.1f} MB held, allowed are {MEMORY:g}")
    for title, work in (("MB of lines", lines), ("MB in one line", one_line)):
        peaks = table(title, (row for size in args.logs for row in apart(work, size)))
        if max(peaks) > peaks[0] + GROWTH:
            broken.append(f"{title}: the peak grew by {max(peaks) - peaks[0]:.1f} MB")
    print("\n".join(f"broken: {line}" for line in broken) or "all bounds hold")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
