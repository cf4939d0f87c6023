"""A job with rights taken away, by Landlock: where namespaces of its own cannot be had.

It reads what a sandbox would show it, and writes to its folder (its TMPDIR and HOME are in there),
/dev/shm and what it was given. Without a network it makes no connection of any kind: sockets of
the Internet and io_uring are refused by a seccomp filter. As root it runs as a user of nobody's.

What it does not do, and bubblewrap does:
- It sees that files exist, with sizes and owners, and the processes of the machine, though it
  reads neither.
- It may change modes, times and owners of files that belong to the user it runs as.
- It connects to Unix sockets whose files it may reach, and leaves files in /dev/shm behind.
- Before ABI 6 (Linux 6.12) it can signal what else its user runs: this supervisor, the harness.
- Its processes are found and killed by the supervisor, not by the kernel.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from autoresearch.executors import Job
from autoresearch.executors.launch import Launch
from autoresearch.executors.limits import (
    barrier,
    become,
    die_with_parent,
    first_to_go,
    free_uid,
    give,
    limit_forks,
    set_limits,
)
from autoresearch.executors.linux import PR_SET_NO_NEW_PRIVS, call, prctl
from autoresearch.executors.seccomp import refuse_network
from autoresearch.executors.visible_paths import (
    SYSTEM,
    TOP,
    devices,
    environment,
    interpreter,
    settings,
)

SCRATCH = ".tmp"  # in the job's folder
NODES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "fd")
USERS = ("/etc/passwd", "/etc/group")

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same on every processor
_VERSION = 1
_PATH_BENEATH = 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
TRUNCATE, IOCTL = 1 << 14, 1 << 15
READ = EXECUTE | READ_FILE | READ_DIR
FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL  # all that applies to what is no folder
RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # ABI -> how many rights over files it knows
TCP = 3  # bind and connect, from ABI 4
SCOPES = 3  # abstract Unix sockets and signals, from ABI 6


def abi() -> int:
    """The kernel's version of Landlock; 0 where there is none."""
    try:
        return call("syscall", _CREATE, None, ctypes.c_size_t(0), _VERSION)
    except OSError:
        return 0


def landlocked(job: Job) -> Launch:
    """The launch of a job under Landlock."""
    version, uid = abi(), free_uid()
    if not version:
        raise OSError("this kernel has no Landlock")
    folder = job.folder.resolve()
    scratch = folder / SCRATCH
    scratch.mkdir(exist_ok=True)
    writable = [folder, *(path.resolve() for path in job.writable)]
    if uid is not None:
        _check_reachable(job, uid)
        give(writable, uid)
    return Launch(
        ["/bin/sh", "-c", job.command],
        env=environment(job, str(scratch), str(scratch)),
        folder=str(job.folder),
        confine=partial(_confine, job, version, uid, writable),
    )


def _check_reachable(job: Job, uid: int) -> None:
    """Without mounts of our own, an unprivileged user must reach everything by itself."""
    for path in (job.folder, *job.readable, *job.writable):
        if closed := barrier(path, uid):
            raise OSError(
                f"as root, a job under Landlock runs as an unprivileged user, and that one cannot "
                f"pass {closed} on the way to {path}: chmod o+x {closed}, or run as another user"
            )


def _confine(job: Job, version: int, uid: int | None, writable: list[Path]) -> None:
    """In the child, before it becomes the command; the order matters."""
    set_limits(job.limits)
    first_to_go()
    ruleset = _rules_of(job, version, writable)  # as root it can name more than as nobody
    if uid is not None:
        become(uid)
        limit_forks(job.limits)
    die_with_parent()
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    call("syscall", _RESTRICT, ruleset, 0)  # from here on only what is named is allowed
    os.close(ruleset)
    if not job.network:
        refuse_network()


def _rules_of(job: Job, version: int, writable: list[Path]) -> int:
    every = (1 << RIGHTS.get(version, 16)) - 1
    ruleset = _ruleset(every, version, network=job.network)
    for path, rights in _rules(job, writable, every):
        _allow(ruleset, path, rights & every)
    return ruleset


def _ruleset(every: int, version: int, *, network: bool) -> int:
    tcp = TCP if version >= 4 and not network else 0
    scopes = SCOPES if version >= 6 else 0
    fields = struct.pack("QQQ", every, tcp, scopes)[
        : 8 if version < 4 else 16 if version < 6 else 24
    ]
    return call("syscall", _CREATE, fields, ctypes.c_size_t(len(fields)), 0)


def _rules(job: Job, writable: list[Path], every: int) -> Iterator[tuple[Path, int]]:
    """Paths and what may be done below them."""
    for name in (*SYSTEM, *TOP, *settings(job), *USERS):
        yield Path(name), READ
    for path in (*interpreter(), *job.readable):
        yield path, READ
    yield Path("/proc"), READ | (WRITE_FILE if job.gpu else 0)  # CUDA names its threads
    for node in (*(f"/dev/{name}" for name in NODES), *devices(job)):
        yield Path(node), every & ~EXECUTE
    for path in writable:
        yield path, every


def _allow(ruleset: int, path: Path, rights: int) -> None:
    """Add a rule; what does not exist needs none."""
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    allowed = rights if path.is_dir() else rights & FILE
    rule = struct.pack("=Qi", allowed, handle)
    call("syscall", _ADD, ruleset, _PATH_BENEATH, rule, 0)
    os.close(handle)
