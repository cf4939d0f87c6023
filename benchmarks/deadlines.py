"""Trials that will not end. Bounds: over within their timeout and 2 s, and no process survives.

Every kind of trial at every level of sandbox that works here, in turns. `median s` and `worst s`
are from the timeout to the return of the executor: its supervisor's start is in them, and what ends
by itself is below zero. Survivors carry the trial's mark in their environment or name, or have
their working directory in its folder; zombies count.

    python benchmarks/deadlines.py [--repeats 5] [--timeout 1.0]
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from autoresearch.executors import Executor, Job
from sandbox import working

LATE = 2.0  # seconds after the timeout
LONGEST = 10.0  # seconds after which a chain of forks ends by itself
PYTHON = shutil.which("python3", path="/usr/bin:/bin") or sys.executable  # for every user

START = f"""
import os, signal, sys, time
with open('program.py') as stream:
    mark = stream.readline()[2:14]
try:
    with open('/proc/self/comm', 'w') as stream:
        stream.write(mark)
except OSError:
    pass
def hang():
    open('ready', 'a').close()
    time.sleep(60)
    os._exit(0)
def chain():
    end = time.monotonic() + {LONGEST}
    open('ready', 'a').close()
    while time.monotonic() < end:
        if os.fork():
            os._exit(0)
        os.setsid()
        time.sleep(0.002)
    os._exit(0)
"""
KINDS = {
    "sleeps for ever": "hang()",
    "stops itself": "open('ready', 'a').close()\nos.kill(os.getpid(), signal.SIGSTOP)",
    "leaves a zombie": "if not os.fork():\n    os._exit(0)\nhang()",
    "ignores SIGTERM": "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nhang()",
    "daemons": "for _ in range(5):\n    if not os.fork():\n        os.setsid()\n"
    "        if os.fork():\n            os._exit(0)\n        hang()\nhang()",
    "forks and forks": "if not os.fork():\n    chain()\nhang()",
    "forks and leaves": "if not os.fork():\n    os.setsid()\n    chain()\ntime.sleep(0.3)",
    "child holds stdout": "if not os.fork():\n    os.setsid()\n    hang()\nprint('so')\nhang()",
    "leaves it so": "if not os.fork():\n    os.setsid()\n    hang()\ntime.sleep(0.3)",
}


@dataclass
class Row:
    """What one kind of trial did at one level."""

    late: list[float] = field(default_factory=list)  # seconds beyond the timeout
    survivors: int = 0
    idle: int = 0  # times that it did not come to its trick


def survivors(mark: str, folder: Path) -> Iterator[psutil.Process]:
    """Processes of a trial: by environment, by name (all that a zombie has), by folder."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            named = process.name() == mark[:12]  # asked first: of a zombie the rest is an error
            if named or Path(process.cwd() or "/").is_relative_to(folder) or carries(process, mark):
                yield process


def carries(process: psutil.Process, mark: str) -> bool:
    """Whether a process has the mark in its environment."""
    return bool(process.environ().get("AUTORESEARCH_MARK") == mark)


def trial(executor: Executor, kind: str, timeout: float, row: Row) -> None:
    """Run one, and look what is left of it; that is killed."""
    mark = uuid.uuid4().hex
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o755)
        folder = Path(home, "job")
        folder.mkdir()
        (folder / "program.py").write_text(f"# {mark}\n{START}{KINDS[kind]}\n")
        env = {"PATH": "/usr/bin:/bin", "AUTORESEARCH_MARK": mark}
        command = f"exec '{PYTHON}' -I -S program.py"
        began = time.monotonic()
        executor.run(Job(command, folder, Path(home, "log"), timeout, env))
        row.late.append(time.monotonic() - began - timeout)
        for process in survivors(mark, folder):
            row.survivors += 1
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        row.idle += not (folder / "ready").exists()


def table(rows: dict[tuple[str, str], Row]) -> bool:
    """Print all rows; whether a bound is broken."""
    print(f"{'trial':<20}{'level':<12}{'median s':>9}{'worst s':>9}{'survivors':>11}")
    broken = False
    for (kind, level), row in rows.items():
        bad = max(row.late) > LATE or row.survivors > 0 or row.idle > 0
        note = f"  not come to its trick: {row.idle}" if row.idle else "  broken" if bad else ""
        numbers = f"{statistics.median(row.late):>9.2f}{max(row.late):>9.2f}{row.survivors:>11}"
        print(f"{kind:<20}{level:<12}{numbers}{note}")
        broken = broken or bad
    return broken


def main() -> None:
    """Print the table; exit code 1 when a bound is broken."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--timeout", type=float, default=1.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o755)
        Path(home, "job").mkdir()
        levels = working(Path(home))
    rows = {(kind, level): Row() for kind in KINDS for level in levels}
    for _ in range(args.repeats):
        for (kind, level), row in rows.items():
            trial(levels[level], kind, args.timeout, row)
    print(f"timeout {args.timeout:g} s, {args.repeats} repeats")
    sys.exit(table(rows))


if __name__ == "__main__":
    main()
