"""A memory limit that the kernel enforces: a control group per job, where one can be made."""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

PREFIX = "autoresearch-"
REMOVE_SECONDS = 0.5  # until the kernel releases a group whose processes have ended


@dataclass(frozen=True)
class Dialect:
    """File names of one of the two versions of control groups."""

    limit: str  # bytes of memory at most
    # file for the swap limit, and what to write there; None: the limit
    swap: tuple[str, str | None]
    events: str  # file with the line `oom_kill N`


V2 = Dialect("memory.max", ("memory.swap.max", "0"), "memory.events")
V1 = Dialect("memory.limit_in_bytes", ("memory.memsw.limit_in_bytes", None), "memory.oom_control")


@dataclass(frozen=True)
class MemoryGroup:
    """A control group with a memory limit that holds one job."""

    folder: Path
    dialect: Dialect

    def join(self) -> None:
        """Move the calling process, and all that it will start, into the group."""
        (self.folder / "cgroup.procs").write_text("0")

    def killed(self) -> bool:
        """Whether the kernel killed a process of the group because its memory was used up."""
        with contextlib.suppress(OSError):
            events = (self.folder / self.dialect.events).read_text()
            kills = re.search(r"^oom_kill (\d+)$", events, re.M)
            return kills is not None and int(kills[1]) > 0
        return False

    def remove(self) -> None:
        """Remove the group once its processes ended; a later job removes one that is still busy."""
        deadline = time.monotonic() + REMOVE_SECONDS
        while not _removed(self.folder) and time.monotonic() < deadline:
            time.sleep(0.005)


def memory_group(limit: int | None) -> MemoryGroup | None:
    """A new group with a limit in bytes; None without a limit, or where none can be made."""
    for place, dialect in _places() if limit is not None else ():
        _sweep(place)
        with contextlib.suppress(OSError):
            return _created(MemoryGroup(place / f"{PREFIX}{os.getpid()}", dialect), str(limit))
    return None


def _created(group: MemoryGroup, limit: str) -> MemoryGroup:
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
    """Folders in which a group for a child may be made, the nearest first.

    With version 2 that is the folder above our own group, because a group that holds processes
    has no children with limits. We may write there where the session's part of the tree was
    delegated to the user.
    """
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return []
    return [place for line in mounts if (place := _place(line, groups)) is not None]


def _place(mount: str, groups: list[str]) -> tuple[Path, Dialect] | None:
    """The folder in one mounted hierarchy, if it has a memory controller for us."""
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
    """Remove the groups of supervisors that have ended."""
    for folder in place.glob(f"{PREFIX}*"):
        if not Path("/proc", folder.name.removeprefix(PREFIX)).exists():
            _removed(folder)


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
