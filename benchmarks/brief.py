"""How long the brief takes, and how long it is. Bounds: 1,000 trials in 200 ms, 24,000 characters.

A real ledger under the confirm rule, filled row by row; commits of a real repository for all that
a brief reads from git, which is the newest trials and the parent. The code that the candidates
edit has 600 lines. Each figure is the median of several, the ledger opened anew for each, as
`autoresearch brief` does.

    python benchmarks/brief.py [--times 9] [--trials 10 100 1000 10000]
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from autoresearch.lab.task import Task
from autoresearch.store.git import Git
from autoresearch.store.ledger import Ledger, Run, State, Status, Trial
from autoresearch.study.brief import CHARACTERS, RECENT, make_brief

BOUND = 200.0  # ms, with 1,000 trials
TASK = """
command = "python train.py"
editable = ["train.py"]
[metric]
name = "val_bpb"
"""
CODE = "".join(f"PARAMETER_{n} = {n}  # of the model, and what it is for\n" for n in range(600))
PROGRAM = (
    "# The program\n\n" + "Look for a lower loss; prefer simple changes to clever ones.\n" * 60
)


def make_lab(folder: Path) -> Git:
    """A lab with one file of some length."""
    for name, text in {"task.toml": TASK, "train.py": CODE, "program.md": PROGRAM}.items():
        (folder / name).write_text(text)
    identity = ("-c", "user.name=b", "-c", "user.email=b@localhost")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "lab"]):
        subprocess.run(["git", *identity, *words], cwd=folder, check=True)
    return Git.discover(folder)


def fill(path: Path, task: Task, git: Git, count: int) -> str:
    """So many trials, a keep in forty and a crash in ten; the commit to start from."""
    parent = git.resolve("HEAD") or ""
    with contextlib.closing(Ledger(path, task.metric)) as ledger:
        ledger._db.execute("PRAGMA synchronous = OFF")  # nobody needs this record tomorrow
        for number in range(count):
            commit = parent if number == 0 else f"{number:040x}"
            if number and count - number <= 2 * RECENT:
                text = CODE.replace("PARAMETER_7 = 7", f"PARAMETER_7 = {number}.5")
                commit = git.commit(parent, {"train.py": text.encode()}, f"trial {number}")
            kept = number == 0 or (number % 40 == 0 and count - number > 2 * RECENT)
            add(ledger, parent, commit, kept=kept, crashed=number % 10 == 3)
    return parent


def add(ledger: Ledger, parent: str, commit: str, *, kept: bool, crashed: bool) -> None:
    """One finished trial."""
    number = len(ledger)
    note = f"set parameter {number} to another value, since the loss was still falling at the end"
    trial = ledger.add(Trial(0, parent, note, "llm"))
    trial = ledger.advance(trial, State.COMMITTED, commit=commit, code=f"{number:032x}")
    trial = ledger.advance(trial, State.RUNNING)
    value = None if crashed else 1.0 - 1e-5 * number + (0.0 if kept else 0.01)
    reason = "failed" if crashed else ""
    numbers = {f"key_{n}": 0.1 * n for n in range(10)}
    attempt = Run(0, number, 300.0, 0, value, 4.0, reason=reason, numbers=numbers)
    trial = ledger.measure_run(ledger.add_run(trial, attempt), attempt)
    status = Status.KEEP if kept else Status.CRASH if crashed else Status.DISCARD
    if status is Status.DISCARD and number % 15 == 1:
        status, reason = Status.TENTATIVE, ""
    trial = ledger.advance(trial, State.DECIDED, status=status, reason=reason)
    ledger.advance(trial, State.APPLIED)


def measured(build: Callable[[], str], times: int) -> tuple[int, float]:
    """Characters, and the median of milliseconds."""
    taken, text = [], ""
    for _ in range(times):
        began = time.perf_counter()
        text = build()
        taken.append(1000 * (time.perf_counter() - began))
    return len(text), statistics.median(taken)


def row(folder: Path, trials: int, times: int) -> bool:
    """Print one row; whether it is within its bounds."""
    folder.mkdir()
    git = make_lab(folder)
    task, path = Task.load(folder), folder / "ledger.db"
    parent = fill(path, task, git, trials)

    def read(commit: str, name: str) -> str:
        return git.read(commit, git.prefix + name).decode()

    def build() -> str:
        with contextlib.closing(Ledger(path, task.metric)) as ledger:
            return make_brief(task, ledger, parent, read).text

    characters, ms = measured(build, times)
    print(f"{trials:>8,}{characters:>12,}{ms:>10.1f}")
    return characters <= CHARACTERS and (trials > 1000 or ms <= BOUND)


def main() -> None:
    """The table; exit code 1 when a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=9)
    parser.add_argument("--trials", type=int, nargs="+", default=[10, 100, 1000, 10_000])
    asked = parser.parse_args()
    print(f"{'trials':>8}{'characters':>12}{'ms':>10}")
    with tempfile.TemporaryDirectory(prefix="autoresearch-brief-") as scratch:
        good = [row(Path(scratch) / str(count), count, asked.times) for count in asked.trials]
    raise SystemExit(not all(good))


if __name__ == "__main__":
    main()
