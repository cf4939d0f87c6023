"""What one discarded trial costs in hops: calls across module borders, processes, SQL, folds.

The parent process alone is traced, in the thread that drives the study. A *crossing* is a call from
one module of ours into another; the constructors that `dataclass` writes do not count, and a
property does. A *fold* is one finished trial taken into the state of the strategy: a walk of the
whole ledger would fold them all.

    python benchmarks/trace.py [--strategy confirm]
"""

from __future__ import annotations

import argparse
import inspect
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from autoresearch.executors.local import LocalExecutor
from autoresearch.lab.task import Task
from autoresearch.strategies.registry import make_strategy
from autoresearch.study.opening import open_study
from overhead import Counter as Proposals
from overhead import make_lab

BOUNDS = {"module crossings": 90, "git processes": 10, "folds": 1}


class Trace:
    """Counts what happens between `begin` and `end`."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()  # by function
        self.borders: Counter[tuple[str, str]] = Counter()  # (from, to), modules of ours
        self.processes: Counter[str] = Counter()  # by program, git with its verb
        self.statements: Counter[str] = Counter()  # by first word
        self._seen: set[FrameType] = set()
        self._on = False
        sys.addaudithook(self._audit)

    def begin(self) -> None:
        """Count from here on."""
        self._on = True
        sys.setprofile(self._profile)

    def end(self) -> None:
        """Count no further."""
        sys.setprofile(None)
        self._on = False

    def statement(self, sql: str) -> None:
        """One statement that SQLite runs."""
        if self._on:
            self.statements[sql.split(None, 1)[0].upper()] += 1

    def _profile(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event != "call":
            return
        here = module_of(frame)
        if (
            here is None or frame in self._seen or frame.f_code.co_filename == "<string>"
        ):  # a generator that goes on is no new call
            return
        if frame.f_code.co_flags & inspect.CO_GENERATOR:
            self._seen.add(frame)
        self.calls[f"{here}.{frame.f_code.co_qualname}"] += 1
        above = frame.f_back
        while above is not None and module_of(above) is None:
            above = above.f_back
        there = module_of(above) if above else None
        if there is not None and there != here:
            self.borders[there, here] += 1

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._on and event == "subprocess.Popen":
            words = [str(word) for word in arguments[1]]
            self.processes[verb_of(words)] += 1


def module_of(frame: FrameType) -> str | None:
    """The module of ours that a frame runs in, or None."""
    name = str(frame.f_globals.get("__name__", ""))
    return name if name.startswith("autoresearch.") else None


def verb_of(words: list[str]) -> str:
    """`git commit-tree`, or the program's name."""
    if Path(words[0]).name != "git":
        return Path(words[0]).name
    rest = iter(words[1:])
    for word in rest:
        if word != "-c":
            return f"git {word}"
        next(rest)
    return "git"


def traced(lab: Path, strategy: str) -> Trace:
    """The trace of one discarded trial, in the middle of a study."""
    task, proposals, trace = Task.load(lab), Proposals(), Trace()
    with open_study(task, "trace", make_strategy(strategy, task.keep), LocalExecutor()) as study:
        study.baseline()
        for _ in range(4):
            study.step(proposals)
        study.ledger._db.set_trace_callback(trace.statement)
        trace.begin()
        trial = study.step(proposals)
        trace.end()
        study.ledger._db.set_trace_callback(None)
    assert trial.status == "discard", trial
    return trace


def main() -> None:
    """Print the counts, and the borders that are crossed most."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strategy", default="confirm")
    parser.add_argument("--most", type=int, default=12, help="borders that are listed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_lab(Path(folder))
        trace = traced(Path(folder), options.strategy)
    git = Counter({verb: n for verb, n in trace.processes.items() if verb.startswith("git")})
    folds = sum(n for name, n in trace.calls.items() if name.endswith(FOLD))
    rows = {
        "functions": len(trace.calls),
        "calls": trace.calls.total(),
        "modules": len({module for pair in trace.borders for module in pair}),
        "module crossings": trace.borders.total(),
        "git processes": git.total(),
        "other processes": trace.processes.total() - git.total(),
        "transactions": trace.statements["BEGIN"],
        "SELECTs": trace.statements["SELECT"],
        "folds": folds,
    }
    print(f"one discarded trial, strategy {options.strategy}\n")
    for name, count in rows.items():
        bound = f"   (at most {BOUNDS[name]})" if name in BOUNDS else ""
        print(f"{name:<22}{count:>6}{bound}")
    print(f"\n{dict(git)}\n")
    for (there, here), count in trace.borders.most_common(options.most):
        print(f"{count:>4}  {there} -> {here}")


FOLD = "SequentialConfirmation._after"

if __name__ == "__main__":
    main()
