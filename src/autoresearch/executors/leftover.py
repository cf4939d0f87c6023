"""What an earlier harness may have left running: written down when it starts, killed by that."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path

from autoresearch.executors.processes import KILL_PATIENCE, boot, descendants, kill_exactly, started

FILE = "attempt.json"


def note(log: Path, child: int) -> None:
    """Write beside a log who runs the attempt; best effort: killing does not rest on it."""
    pids = {"supervisor": os.getpid(), "command": child}
    text = json.dumps({"boot": boot(), **{who: [pid, started(pid)] for who, pid in pids.items()}})
    path, beside = log.with_name(FILE), log.with_name(f".{FILE}.{os.getpid()}")
    with contextlib.suppress(OSError):
        beside.write_text(text)
        beside.replace(path)


def forget(log: Path) -> None:
    """The attempt is over."""
    with contextlib.suppress(OSError):
        log.with_name(FILE).unlink()


def kill_leftover(path: Path) -> bool:
    """Kill what an `attempt.json` tells of and all below it; whether anything still ran.

    A process is known by id, start and boot: one that took the id later is spared. Call it only
    when the harness that wrote the file is gone. No file, or a broken one: False.
    """
    try:
        told = json.loads(path.read_text())
        processes = [(int(pid), str(start)) for pid, start in (told["supervisor"], told["command"])]
        same_boot = told["boot"] == boot()
    except (OSError, ValueError, KeyError, TypeError):
        return False
    killed = same_boot and _kill(processes)
    path.unlink(missing_ok=True)
    return killed


def _kill(processes: list[tuple[int, str]]) -> bool:
    """The supervisor is asked first: it alone leaves nothing; what it cannot do is done here."""
    alive = [(pid, start) for pid, start in processes if started(pid) == start]
    if not alive:
        return False
    if alive[0] == processes[0] and _ends_itself(*alive[0]):
        return True
    family = dict(alive)
    for _ in range(100):
        _stop(family)
        found = {pid: start for root in family for pid, start in _below(root)}
        if found.keys() <= family.keys():
            break
        family |= found
    for pid, start in family.items():
        kill_exactly(pid, start)
    return True


def _ends_itself(pid: int, start: str) -> bool:
    """Whether a supervisor without a harness ends, as it does when it is not stopped."""
    deadline = time.monotonic() + KILL_PATIENCE
    while started(pid) == start:
        if time.monotonic() > deadline:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.01)
    return True


def _stop(family: dict[int, str]) -> None:
    for pid, start in family.items():
        if started(pid) == start:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGSTOP)


def _below(root: int) -> list[tuple[int, str]]:
    return [(pid, start) for pid in descendants(root) if (start := started(pid))]
