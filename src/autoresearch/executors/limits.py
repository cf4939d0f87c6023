"""What a child does before the command starts: set limits, and change the user."""

from __future__ import annotations

import contextlib
import os
import resource
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from autoresearch.executors import JobLimits

FIRST_UID, UIDS = 61_184, 4_096  # unused by convention: reserved for dynamic users of services
FORKS = 16  # processes and threads that may exist per process that JobLimits allow


def free_uid() -> int | None:
    """Uid for a sandboxed job when we are root, one per supervisor; None when we are not."""
    return FIRST_UID + os.getpid() % UIDS if os.geteuid() == 0 else None


def switch_user(uid: int) -> None:
    """Become another user for good, without supplementary groups."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def set_limits(limits: JobLimits) -> None:
    """Set the limits that the kernel enforces per process; never above our own."""
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, limits.file_size)
    _lower(resource.RLIMIT_NOFILE, limits.open_files)


def fork_limit(limits: JobLimits) -> int | None:
    """Threads and processes of a user with no others: limits a fork bomb at once."""
    return None if limits.processes is None else FORKS * limits.processes + 256


def limit_forks(limits: JobLimits) -> None:
    """Set the fork limit; only for a user that has no other processes."""
    _lower(resource.RLIMIT_NPROC, fork_limit(limits))


def prefer_oom_kill() -> None:
    """Have the kernel kill this process before the harness when memory runs out."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("500")


def die_with_parent() -> None:
    """Have the kernel kill the command, not its children, when the supervisor ends."""
    if sys.platform == "linux":
        from autoresearch.executors.linux import PR_SET_PDEATHSIG, prctl

        prctl(PR_SET_PDEATHSIG, 9)


def chown_trees(paths: Iterable[Path], uid: int) -> None:
    """Change the owner of folders and all in them; links are not followed."""
    for path in paths:
        os.chown(path, uid, uid)
        for folder, names, files in os.walk(path):
            for name in (*names, *files):
                os.chown(Path(folder, name), uid, uid, follow_symlinks=False)


def first_closed_folder(path: Path, uid: int) -> Path | None:
    """The first folder on the way to a path that a user cannot enter, or None."""
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
