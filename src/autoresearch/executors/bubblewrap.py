"""Starts a job in bubblewrap: its own namespaces for processes, network, files and users.

A path that is not named below does not exist for the job. There is no seccomp filter, and a GPU
uses the host's driver: a hole in the kernel is a way out.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from autoresearch.executors import Job
from autoresearch.executors.launch import Launch
from autoresearch.executors.limits import (
    chown_trees,
    fork_limit,
    free_uid,
    limit_forks,
    prefer_oom_kill,
    set_limits,
    switch_user,
)
from autoresearch.executors.linux import bind, mount_tmpfs, unshare_mounts
from autoresearch.executors.visible_paths import (
    SYSTEM,
    TOP,
    devices,
    environment,
    find_program,
    interpreter,
    system_files,
)

TMP_SIZE, SHM_SIZE = 2**30, 4 * 2**30  # bytes of /tmp and /dev/shm at most; both are in memory
HOME = "/tmp/home"
STAGE = "/dev/shm"  # where root binds paths that the job's unprivileged user cannot reach
ISOLATION = (
    *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"),
    *("--disable-userns", "--cap-drop", "ALL", "--die-with-parent", "--new-session"),
    *("--hostname", "sandbox", "--clearenv"),
)


@dataclass(frozen=True)
class Mount:
    """A file or folder that the sandbox shows under its own path."""

    path: Path
    writable: bool = False


def bubblewrapped(job: Job) -> Launch:
    """How to start a job in bubblewrap; OSError says why it cannot be started."""
    program = find_program("bwrap")
    if program is None:
        raise OSError("bubblewrap is not installed: no `bwrap` on PATH")
    uid, mounts = free_uid(), list(_mounts(job))
    if uid is not None:
        _check_readable(mount.path for mount in mounts if not mount.writable)
        chown_trees((mount.path for mount in mounts if mount.writable), uid)
    sources = _sources(mounts, staged=uid is not None)
    channels = _Channels(job, uid)
    words = [*_options(job, channels), *_binds(mounts, sources), *_final_options(job)]
    arguments = _memory_file("\0".join(words) + "\0")
    return Launch(
        [program, "--args", str(arguments), "--", "/bin/sh", "-c", job.command],
        env={},
        folder=None,
        confine=lambda: _confine(job, mounts, uid),
        pass_fds=(arguments, *channels.inside),
        settle=channels.admit,
        check=channels.exit_code,
    )


class _Channels:
    """The pipes and files that bubblewrap gets from the supervisor."""

    def __init__(self, job: Job, uid: int | None) -> None:
        user = os.getuid() if uid is None else uid
        self.passwd = _memory_file(
            f"root:x:0:0::/:/bin/sh\ntrial:x:{user}:{user}::{HOME}:/bin/sh\n"
        )
        self.group = _memory_file(f"root:x:0:\ntrial:x:{user}:\n")
        status, self.status = os.pipe()
        self._reports = open(status, "rb")  # noqa: PTH123, SIM115 - of start and exit
        self.gate, self._gate_keeper = os.pipe()
        self._forks = fork_limit(job.limits) if uid is None and _forks_counted_apart() else None

    @property
    def inside(self) -> tuple[int, ...]:
        """The descriptors that bubblewrap inherits."""
        return self.passwd, self.group, self.status, self.gate

    def admit(self, _: subprocess.Popen[bytes]) -> None:
        """Limit the forks of the sandbox's first process once it exists, then let it continue."""
        line = self._reports.readline()
        if line and self._forks is not None:
            first = json.loads(line)["child-pid"]
            resource.prlimit(first, resource.RLIMIT_NPROC, (self._forks, self._forks))
        os.close(self._gate_keeper)  # opens the gate

    def exit_code(self, code: int) -> int:
        """The command's exit code, negative for a signal; OSError when it never started."""
        if b"exit-code" not in self._reports.read() and code > 0:
            raise OSError("bubblewrap could not set up the sandbox; the log has its message")
        # bubblewrap reports a signal as 128 + number
        return 128 - code if 128 < code <= 192 else code


def _options(job: Job, channels: _Channels) -> Iterator[str]:
    """Options for namespaces, system folders, private folders and the environment."""
    yield from ISOLATION
    if not job.network:
        yield "--unshare-net"
    yield from ("--json-status-fd", str(channels.status), "--block-fd", str(channels.gate))
    yield from _system(job)
    yield from ("--ro-bind-data", str(channels.passwd), "/etc/passwd")
    yield from ("--ro-bind-data", str(channels.group), "/etc/group")
    yield from ("--proc", "/proc", "--dev", "/dev")
    for device in devices(job):
        yield from ("--dev-bind", device, device)
    yield from _private(job)
    for name, text in environment(job, HOME, "/tmp").items():
        yield from ("--setenv", name, text)


def _system(job: Job) -> Iterator[str]:
    for name in SYSTEM:
        if Path(name).exists():
            yield from ("--ro-bind", name, name)
    for top in TOP:
        if Path(top).is_symlink():
            yield from ("--symlink", str(Path(top).readlink()), top)
        elif Path(top).exists():
            yield from ("--ro-bind", top, top)
    for setting in system_files(job):
        yield from ("--ro-bind", setting, setting)


def _private(job: Job) -> Iterator[str]:
    """Private folders in memory, each at most a quarter of the job's memory."""
    share = (job.limits.memory or 1 << 62) // 4
    for size, name in ((TMP_SIZE, "/tmp"), (SHM_SIZE, "/dev/shm")):
        yield from ("--size", str(min(size, share)), "--tmpfs", name)
    yield from ("--dir", HOME)


def _mounts(job: Job) -> Iterable[Mount]:
    """What the job may see besides the system: outer folders first, writable after readable."""
    found = {path: Mount(path) for path in (*interpreter(), *map(_absolute, job.readable))}
    for path in map(_absolute, (job.folder, *job.writable)):
        found[path] = Mount(path, writable=True)
    for mount in found.values():
        if not mount.path.exists():
            raise OSError(f"{mount.path} is to be shown in the sandbox, and does not exist")
    return sorted(found.values(), key=lambda mount: (len(mount.path.parts), mount.writable))


def _check_readable(paths: Iterable[Path]) -> None:
    """Under root a job runs as an unprivileged user: all must be able to read its files."""
    for path in paths:
        needed = 0o005 if path.is_dir() else 0o004
        if path.stat().st_mode & needed != needed:
            raise OSError(
                f"a job that root starts in a sandbox runs as an unprivileged user, which may not "
                f"read {path}: chmod -R o+rX {path}"
            )


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - links stay: the sandbox uses this name


def _sources(mounts: Iterable[Mount], *, staged: bool) -> list[str]:
    if staged:
        return [f"{STAGE}/{number}" for number, _ in enumerate(mounts)]
    return [str(mount.path) for mount in mounts]


def _binds(mounts: Iterable[Mount], sources: Iterable[str]) -> Iterator[str]:
    for mount, source in zip(mounts, sources, strict=True):
        yield from ("--bind" if mount.writable else "--ro-bind", source, str(mount.path))


def _final_options(job: Job) -> Iterator[str]:
    """Make the folders that bubblewrap created itself read-only, and enter the job's folder."""
    yield from ("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", str(_absolute(job.folder)))


def _confine(job: Job, mounts: list[Mount], uid: int | None) -> None:
    """In the child, before bubblewrap starts: set limits, and under root change the user."""
    set_limits(job.limits)
    prefer_oom_kill()
    if uid is not None:
        _stage([mount.path for mount in mounts])
        switch_user(uid)
        limit_forks(job.limits)  # this user has no other processes


def _stage(paths: list[Path]) -> None:
    """Bind paths that only root can reach below STAGE, in a mount namespace of this child."""
    unshare_mounts()
    handles = [os.open(path, os.O_PATH) for path in paths]
    folders = [path.is_dir() for path in paths]
    mount_tmpfs(STAGE)
    for number, (handle, is_folder) in enumerate(zip(handles, folders, strict=True)):
        target = Path(STAGE, str(number))
        if is_folder:
            target.mkdir()
        else:
            target.touch()
        bind(f"/proc/self/fd/{handle}", str(target))
        os.close(handle)


def _forks_counted_apart() -> bool:
    """Whether the kernel counts a user's processes per user namespace (Linux 5.14)."""
    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int(minor.split("-")[0])) >= (5, 14)


def _memory_file(text: str) -> int:
    handle = os.memfd_create("autoresearch")
    os.write(handle, text.encode(errors="surrogateescape"))
    os.lseek(handle, 0, os.SEEK_SET)
    return handle
