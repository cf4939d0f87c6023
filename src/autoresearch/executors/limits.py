"""What a child does to itself before it becomes the command: limits, and another user."""

from __future__ import annotations

import contextlib
import os
import resource
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from autoresearch.executors import JobLimits

FIRST_UID, UIDS = 61_184, 4_096  # of nobody: kept free for services that come and go
BOMB = 16  # processes and threads that may exist for each process that Limits allow


def free_uid() -> int | None:
    """The user that a sandboxed job runs as when we are root: nobody's, one per supervisor."""
    return FIRST_UID + os.getpid() % UIDS if os.geteuid() == 0 else None


def become(uid: int) -> None:
    """Be another user from here on, with no way back and no group of root's."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def set_limits(limits: JobLimits) -> None:
    """The limits that the kernel keeps for each process; never above what we may have."""
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, limits.file_size)
    _lower(resource.RLIMIT_NOFILE, limits.open_files)


def fork_limit(limits: JobLimits) -> int | None:
    """Threads and processes of a user that has no others: stops a bomb until the watchdog looks."""
    return None if limits.processes is None else BOMB * limits.processes + 256


def limit_forks(limits: JobLimits) -> None:
    """Keep the fork limit; only where this process's user has no others."""
    _lower(resource.RLIMIT_NPROC, fork_limit(limits))


def first_to_go() -> None:
    """When the machine runs out of memory, the kernel takes this process before the harness."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("500")


def die_with_parent() -> None:
    """Be killed when the supervisor is; for the command itself, not for what it starts."""
    if sys.platform == "linux":
        from autoresearch.executors.linux import PR_SET_PDEATHSIG, prctl

        prctl(PR_SET_PDEATHSIG, 9)


def give(paths: Iterable[Path], uid: int) -> None:
    """Make folders, and all in them, a user's; links are not followed."""
    for path in paths:
        os.chown(path, uid, uid)
        for folder, names, files in os.walk(path):
            for name in (*names, *files):
                os.chown(Path(folder, name), uid, uid, follow_symlinks=False)


def barrier(path: Path, uid: int) -> Path | None:
    """The first folder on the way to a path that a user without groups cannot pass."""
    for folder in reversed(path.resolve().parents):
        found = folder.stat()
        owned = stat.S_IXUSR if found.st_uid == uid else stat.S_IXOTH
        if not found.st_mode & owned:
            return folder
    return None


def _lower(kind: int, value: int | None) -> None:
    if value is None:
        return
    hard = resource.getrlimit(kind)[1]
    most = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (most, most))
