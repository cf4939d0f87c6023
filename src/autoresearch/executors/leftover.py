"""Kills what an earlier harness left running, by a file that each supervisor writes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path

from autoresearch.executors.processes import KILL_SECONDS, boot, descendants, kill_exactly, started

FILE = "attempt.json"


def write_pids(log: Path, child: int) -> None:
    """Write the pids of a run beside its log; best effort: normal killing does not need it."""
    pids = {"supervisor": os.getpid(), "command": child}
    text = json.dumps({"boot": boot(), **{who: [pid, started(pid)] for who, pid in pids.items()}})
    path, temporary = log.with_name(FILE), log.with_name(f".{FILE}.{os.getpid()}")
    with contextlib.suppress(OSError):
        temporary.write_text(text)
        temporary.replace(path)


def remove_pids(log: Path) -> None:
    """Remove the file: the run is over."""
    with contextlib.suppress(OSError):
        log.with_name(FILE).unlink()


def kill_leftover(path: Path) -> bool:
    """Kill the processes named in an `attempt.json` and their descendants.

    Returns whether anything still ran; False without a readable file. A process is identified by
    pid, start time and boot, so a later process with the same pid is spared. Call this only when
    the harness that wrote the file has ended.
    """
    try:
        saved = json.loads(path.read_text())
        pairs = (saved["supervisor"], saved["command"])
        processes = [(int(pid), str(start)) for pid, start in pairs]
        same_boot = saved["boot"] == boot()
    except (OSError, ValueError, KeyError, TypeError):
        return False
    killed = same_boot and _kill(processes)
    path.unlink(missing_ok=True)
    return killed


def _kill(processes: list[tuple[int, str]]) -> bool:
    """Wait for the supervisor to end everything; kill what it cannot."""
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
    """Whether a supervisor ends now that its harness is gone; a stopped one is continued."""
    deadline = time.monotonic() + KILL_SECONDS
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
