"""A memory limit that the kernel keeps: a control group of a job's own, where one can be made."""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

PREFIX = "autoresearch-"
PATIENCE = 0.5  # seconds until the kernel lets go of a group whose processes have ended


@dataclass(frozen=True)
class Dialect:
    """The two versions of control groups say the same in different files."""

    limit: str  # bytes of memory at most
    swap: tuple[str, str | None]  # file for memory that may be swapped out, and what to write there
    events: str  # where `oom_kill N` is found


V2 = Dialect("memory.max", ("memory.swap.max", "0"), "memory.events")
V1 = Dialect("memory.limit_in_bytes", ("memory.memsw.limit_in_bytes", None), "memory.oom_control")


@dataclass(frozen=True)
class MemoryGroup:
    """A group that holds one job; more than its limit the kernel does not give."""

    folder: Path
    dialect: Dialect

    def join(self) -> None:
        """Put the calling process, and all that it will start, into the group."""
        (self.folder / "cgroup.procs").write_text("0")

    def killed(self) -> bool:
        """Whether the kernel had to kill in it because the memory was used up."""
        with contextlib.suppress(OSError):
            told = re.search(
                r"^oom_kill (\d+)$", (self.folder / self.dialect.events).read_text(), re.M
            )
            return told is not None and int(told[1]) > 0
        return False

    def remove(self) -> None:
        """Once its processes have ended; one that cannot go is removed by a later job."""
        deadline = time.monotonic() + PATIENCE
        while not _gone(self.folder) and time.monotonic() < deadline:
            time.sleep(0.005)


def memory_group(limit: int | None) -> MemoryGroup | None:
    """A new group with a limit in bytes; None without a limit, or where none can be made."""
    for place, dialect in _places() if limit is not None else ():
        _sweep(place)
        with contextlib.suppress(OSError):
            return _made(MemoryGroup(place / f"{PREFIX}{os.getpid()}", dialect), str(limit))
    return None


def _made(group: MemoryGroup, limit: str) -> MemoryGroup:
    group.folder.mkdir()
    try:
        (group.folder / group.dialect.limit).write_text(limit)
        swap, most = group.dialect.swap
        with contextlib.suppress(OSError):  # a kernel that does not count swap
            (group.folder / swap).write_text(most or limit)
        if not os.access(group.folder / "cgroup.procs", os.W_OK):
            raise PermissionError(f"{group.folder} cannot be joined")
    except OSError:
        group.remove()
        raise
    return group


def _places() -> list[tuple[Path, Dialect]]:
    """Where a group for a child of ours may be made, the nearest first.

    With version 2 that is beside our own group: a group that holds processes has no children with
    limits. Writing there is our right where the user's session was given its part of the tree.
    """
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return []
    return [place for line in mounts if (place := _place(line, groups)) is not None]


def _place(mount: str, groups: list[str]) -> tuple[Path, Dialect] | None:
    """The folder of one mounted hierarchy, when it has a memory controller for us."""
    left, _, right = mount.partition(" - ")
    root, point = left.split()[3:5]
    kind, _, options = right.partition(" ")
    if kind == "cgroup" and "memory" in options.split()[-1].split(","):
        ours = next(
            (g.split(":", 2)[2] for g in groups if "memory" in g.split(":")[1].split(",")), None
        )
        return None if ours is None else (_below(point, root, ours), V1)
    if kind == "cgroup2":
        ours = next((g[3:] for g in groups if g.startswith("0::")), None)
        here = None if ours is None else _below(point, root, ours)
        for place in (here, here.parent) if here else ():
            if _delegates(place):
                return place, V2
    return None


def _below(point: str, root: str, ours: str) -> Path:
    inside = ours.removeprefix(root) if root != "/" and ours.startswith(root) else ours
    return Path(point) / inside.lstrip("/")


def _delegates(place: Path) -> bool:
    with contextlib.suppress(OSError):
        return "memory" in (place / "cgroup.subtree_control").read_text().split()
    return False


def _sweep(place: Path) -> None:
    """Remove groups of supervisors that are gone; one in use cannot be removed."""
    for folder in place.glob(f"{PREFIX}*"):
        if not Path("/proc", folder.name.removeprefix(PREFIX)).exists():
            _gone(folder)


def _gone(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
