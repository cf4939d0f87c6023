"""Starts a job under Landlock, with rights taken away, where namespaces are not available.

The job reads what bubblewrap would show it, and writes to its folder (which holds its TMPDIR and
HOME), /dev/shm and `writable`. Without a network it makes no connections: a seccomp filter refuses
Internet sockets and io_uring. Under root the job runs as an unprivileged user.

Weaker than bubblewrap:
- The job sees that files and processes of the machine exist, with sizes and owners, but cannot
  read them.
- It may change modes, times and owners of files that belong to its user.
- It connects to Unix sockets that it can reach, and leaves files in /dev/shm behind.
- Before ABI 6 (Linux 6.12) it can signal other processes of its user: supervisor and harness.
- The supervisor finds and kills its processes, not the kernel.
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
    chown_trees,
    die_with_parent,
    first_closed_folder,
    free_uid,
    limit_forks,
    prefer_oom_kill,
    set_limits,
    switch_user,
)
from autoresearch.executors.linux import PR_SET_NO_NEW_PRIVS, call, prctl
from autoresearch.executors.seccomp import refuse_network
from autoresearch.executors.visible_paths import (
    SYSTEM,
    TOP,
    devices,
    environment,
    interpreter,
    system_files,
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
# the rights that apply to a path that is not a folder
FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL
RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # ABI -> number of file rights it knows
TCP = 3  # bind and connect, from ABI 4
SCOPES = 3  # abstract Unix sockets and signals, from ABI 6


def abi() -> int:
    """The kernel's version of Landlock; 0: none."""
    try:
        return call("syscall", _CREATE, None, ctypes.c_size_t(0), _VERSION)
    except OSError:
        return 0


def landlocked(job: Job) -> Launch:
    """How to start a job under Landlock; OSError says why it cannot be started."""
    version, uid = abi(), free_uid()
    if not version:
        raise OSError("this kernel has no Landlock")
    folder = job.folder.resolve()
    scratch = folder / SCRATCH
    scratch.mkdir(exist_ok=True)
    writable = [folder, *(path.resolve() for path in job.writable)]
    if uid is not None:
        _check_reachable(job, uid)
        chown_trees(writable, uid)
    return Launch(
        ["/bin/sh", "-c", job.command],
        env=environment(job, str(scratch), str(scratch)),
        folder=str(job.folder),
        confine=partial(_confine, job, version, uid, writable),
    )


def _check_reachable(job: Job, uid: int) -> None:
    """Check that the job's unprivileged user can reach its paths: nothing is mounted for it."""
    for path in (job.folder, *job.readable, *job.writable):
        if closed := first_closed_folder(path, uid):
            raise OSError(
                f"a job that root starts under Landlock runs as an unprivileged user, which cannot "
                f"pass {closed} on the way to {path}: chmod o+x {closed}, or run as another user"
            )


def _confine(job: Job, version: int, uid: int | None, writable: list[Path]) -> None:
    """In the child, before the command starts; the order matters."""
    set_limits(job.limits)
    prefer_oom_kill()
    # before the change of user: root can open more paths
    ruleset = _rules_of(job, version, writable)
    if uid is not None:
        switch_user(uid)
        limit_forks(job.limits)
    die_with_parent()
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    call("syscall", _RESTRICT, ruleset, 0)  # from here on only the rules' paths are allowed
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
    """Paths, and the rights below them."""
    for name in (*SYSTEM, *TOP, *system_files(job), *USERS):
        yield Path(name), READ
    for path in (*interpreter(), *job.readable):
        yield path, READ
    # CUDA writes names of its threads there
    yield Path("/proc"), READ | (WRITE_FILE if job.gpu else 0)
    for node in (*(f"/dev/{name}" for name in NODES), *devices(job)):
        yield Path(node), every & ~EXECUTE
    for path in writable:
        yield path, every


def _allow(ruleset: int, path: Path, rights: int) -> None:
    """Add a rule, unless the path does not exist."""
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    allowed = rights if path.is_dir() else rights & FILE
    rule = struct.pack("=Qi", allowed, handle)
    call("syscall", _ADD, ruleset, _PATH_BENEATH, rule, 0)
    os.close(handle)
