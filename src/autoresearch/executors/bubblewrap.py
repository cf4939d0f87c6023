"""A job's own small machine, by bubblewrap: its processes, network, files and users apart.

What is not named below does not exist in there. There is no seccomp filter, and a GPU's driver is
the host's: who finds a hole in the kernel gets out.
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
    become,
    first_to_go,
    fork_limit,
    free_uid,
    give,
    limit_forks,
    set_limits,
)
from autoresearch.executors.linux import bind, mount_tmpfs, unshare_mounts
from autoresearch.executors.visible_paths import (
    SYSTEM,
    TOP,
    devices,
    environment,
    find,
    interpreter,
    settings,
)

TMP_SIZE, SHM_SIZE = 2**30, 4 * 2**30  # bytes at most; in memory
HOME = "/tmp/home"
STAGE = "/dev/shm"  # where root shows an unprivileged user what lies in folders it cannot pass
APART = (
    *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"),
    *("--disable-userns", "--cap-drop", "ALL", "--die-with-parent", "--new-session"),
    *("--hostname", "sandbox", "--clearenv"),
)


@dataclass(frozen=True)
class Mount:
    """A file or folder that is in the sandbox at the place where it is outside."""

    path: Path
    writable: bool = False


def bubblewrapped(job: Job) -> Launch:
    """The launch of a job in a sandbox."""
    program = find("bwrap")
    if program is None:
        raise OSError("bubblewrap is not installed: no `bwrap` on PATH")
    uid, mounts = free_uid(), list(_mounts(job))
    if uid is not None:
        _check_readable(mount.path for mount in mounts if not mount.writable)
        give((mount.path for mount in mounts if mount.writable), uid)
    sources = _sources(mounts, staged=uid is not None)
    channels = _Channels(job, uid)
    words = [*_words(job, channels), *_binds(mounts, sources), *_last(job)]
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
    """The pipes and files between us and bubblewrap."""

    def __init__(self, job: Job, uid: int | None) -> None:
        user = os.getuid() if uid is None else uid
        self.passwd = _memory_file(
            f"root:x:0:0::/:/bin/sh\ntrial:x:{user}:{user}::{HOME}:/bin/sh\n"
        )
        self.group = _memory_file(f"root:x:0:\ntrial:x:{user}:\n")
        heard, self.status = os.pipe()
        self._heard = open(heard, "rb")  # noqa: PTH123, SIM115 - told of start and end
        self.gate, self._opened = os.pipe()
        self._forks = fork_limit(job.limits) if uid is None and _forks_counted_apart() else None

    @property
    def inside(self) -> tuple[int, ...]:
        """What bubblewrap gets."""
        return self.passwd, self.group, self.status, self.gate

    def admit(self, _: subprocess.Popen[bytes]) -> None:
        """Once the sandbox's first process is there: limit its forks, and let it go on."""
        line = self._heard.readline()
        if line and self._forks is not None:
            first = json.loads(line)["child-pid"]
            resource.prlimit(first, resource.RLIMIT_NPROC, (self._forks, self._forks))
        os.close(self._opened)  # the gate

    def exit_code(self, code: int) -> int:
        """What the command ended with; an OSError when it never began."""
        if b"exit-code" not in self._heard.read() and code > 0:
            raise OSError("bubblewrap could not set the sandbox up; the log has its words")
        return 128 - code if 128 < code <= 192 else code  # a signal, as it tells it


def _words(job: Job, channels: _Channels) -> Iterator[str]:
    """All but what is bound: namespaces, the system's folders, private ones, environment."""
    yield from APART
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
    for setting in settings(job):
        yield from ("--ro-bind", setting, setting)


def _private(job: Job) -> Iterator[str]:
    """Folders of its own in memory, so far as its memory reaches."""
    share = (job.limits.memory or 1 << 62) // 4
    for size, name in ((TMP_SIZE, "/tmp"), (SHM_SIZE, "/dev/shm")):
        yield from ("--size", str(min(size, share)), "--tmpfs", name)
    yield from ("--dir", HOME)


def _mounts(job: Job) -> Iterable[Mount]:
    """What the job may see beside the system, outer folders first, the writable last."""
    found = {path: Mount(path) for path in (*interpreter(), *map(_absolute, job.readable))}
    for path in map(_absolute, (job.folder, *job.writable)):
        found[path] = Mount(path, writable=True)
    for mount in found.values():
        if not mount.path.exists():
            raise OSError(f"{mount.path} is to be seen in the sandbox, and does not exist")
    return sorted(found.values(), key=lambda mount: (len(mount.path.parts), mount.writable))


def _check_readable(paths: Iterable[Path]) -> None:
    """As root, a job runs as nobody: what it is to read must be open to all."""
    for path in paths:
        needed = 0o005 if path.is_dir() else 0o004
        if path.stat().st_mode & needed != needed:
            raise OSError(
                f"a job that root starts in a sandbox runs as nobody, and nobody may not read "
                f"{path}: chmod -R o+rX {path}"
            )


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - links stay: it is a name in the sandbox


def _sources(mounts: Iterable[Mount], *, staged: bool) -> list[str]:
    if staged:
        return [f"{STAGE}/{number}" for number, _ in enumerate(mounts)]
    return [str(mount.path) for mount in mounts]


def _binds(mounts: Iterable[Mount], sources: Iterable[str]) -> Iterator[str]:
    for mount, source in zip(mounts, sources, strict=True):
        yield from ("--bind" if mount.writable else "--ro-bind", source, str(mount.path))


def _last(job: Job) -> Iterator[str]:
    """The two folders that bubblewrap makes itself hold no more than it put there."""
    yield from ("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", str(_absolute(job.folder)))


def _confine(job: Job, mounts: list[Mount], uid: int | None) -> None:
    """In the child, before bubblewrap: as root, show it what it must see and be nobody."""
    set_limits(job.limits)
    first_to_go()
    if uid is not None:
        _stage([mount.path for mount in mounts])
        become(uid)
        limit_forks(job.limits)  # of this user, who has no other processes


def _stage(paths: list[Path]) -> None:
    """Bind what only root can reach to where anyone can; nobody but this child sees it."""
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
    """Whether the kernel counts a user's processes in a sandbox apart from those outside."""
    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int(minor.split("-")[0])) >= (5, 14)


def _memory_file(text: str) -> int:
    handle = os.memfd_create("autoresearch")
    os.write(handle, text.encode(errors="surrogateescape"))
    os.lseek(handle, 0, os.SEEK_SET)
    return handle
