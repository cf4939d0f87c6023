"""Locks that processes hold on files: the kernel releases them when the process ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

LOCK_PAUSE = 0.1  # seconds between two tries for a lock that another process holds


@contextlib.contextmanager
def alone(path: Path, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock that all studies of this user share; `on_wait` gets its holder, once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as stream:
        if not take_lock(stream):
            stream.seek(0)
            on_wait(stream.read().strip() or "another process")
            while not take_lock(stream):
                time.sleep(LOCK_PAUSE)
        stream.truncate(0)
        stream.write(f"process {os.getpid()}")
        stream.flush()
        yield


def take_lock(stream: IO[str]) -> bool:
    """Try to take the lock; whether it is ours now. The kernel releases it when we end."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
