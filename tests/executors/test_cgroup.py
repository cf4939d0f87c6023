"""The kernel's own memory limit, where a control group can be made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from autoresearch.executors import JobLimits
from autoresearch.executors.cgroup import PREFIX, V1, V2, MemoryGroup, _place, memory_group
from autoresearch.executors.local import LocalExecutor
from executors.place import Place

MIB = 2**20


@pytest.fixture
def group() -> MemoryGroup:
    """A group with a limit; skips where this machine gives none."""
    made = memory_group(100 * MIB)
    if made is None:
        pytest.skip("no control group with a memory limit can be made here")
    made.remove()
    return made


@pytest.fixture
def place(tmp_path: Path, group: MemoryGroup) -> Place:
    """Where jobs run."""
    return Place(tmp_path, LocalExecutor(), sys.executable)


def test_a_burst_between_two_looks_is_not_given(place: Place) -> None:
    """What is taken and given back at once is refused by the kernel, and has its name."""
    burst = "x = bytearray(b'x') * 200_000_000\ndel x\n"
    ended = place.python_run(burst, limits=JobLimits(memory=100 * MIB))
    assert ended.ending == "memory"
    assert ended.peak_memory >= 100 * MIB


def test_a_child_that_was_refused_counts(place: Place) -> None:
    """A command that survives the death of its child has passed its limit all the same."""
    text = "import time\nif not os.fork():\n    x = bytearray(b'x') * 200_000_000\nos.wait()\n"
    assert place.python_run(text, limits=JobLimits(memory=100 * MIB)).ending == "memory"


def test_nothing_of_a_group_is_left(place: Place, group: MemoryGroup) -> None:
    """The group is removed after its job; that of a killed supervisor after the next job."""
    orphan = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True
    )
    stale = group.folder.parent / f"{PREFIX}{int(orphan.stdout)}"
    stale.mkdir()
    inside = place.python_run(
        "print(open('/proc/self/cgroup').read())", limits=JobLimits(memory=MIB * 100)
    )
    assert inside.ok
    assert f"/{PREFIX}" in place.log.read_text()
    assert not list(group.folder.parent.glob(f"{PREFIX}*"))


def test_without_a_limit_there_is_no_group() -> None:
    """A job that may take all there is needs none."""
    assert memory_group(None) is None


def _v2(point: Path) -> str:
    return f"31 23 0:26 / {point} rw,nosuid,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate"


def test_version_2_is_found_where_the_session_was_given_it(tmp_path: Path) -> None:
    """Beside our own group, when the folder above hands its memory controller down."""
    ours = tmp_path / "user.slice" / "app.slice" / "term.scope"
    ours.mkdir(parents=True)
    (ours / "cgroup.subtree_control").write_text("\n")
    groups = ["0::/user.slice/app.slice/term.scope"]
    assert _place(_v2(tmp_path), groups) is None
    (ours.parent / "cgroup.subtree_control").write_text("cpu memory pids\n")
    assert _place(_v2(tmp_path), groups) == (ours.parent, V2)


def test_version_1_is_found_by_its_controller() -> None:
    """The hierarchy whose options name memory, by its mount point."""
    line = "39 30 0:34 {} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
    groups = ["5:cpu,cpuacct:/", "4:memory:/box/one", "0::/"]
    inside = Path("/sys/fs/cgroup/memory")
    assert _place(line.format("/"), groups) == (inside / "box/one", V1)
    assert _place(line.format("/box"), groups) == (inside / "one", V1)
    assert (
        _place(line.format("/").replace("memory rw", "cpu rw").replace(",memory", ",cpu"), groups)
        is None
    )


def test_counts_of_either_version_are_read(tmp_path: Path) -> None:
    """`oom_kill` counts; `oom` alone does not, because the kernel may have reclaimed memory."""
    for dialect in (V1, V2):
        group = MemoryGroup(tmp_path, dialect)
        (tmp_path / dialect.events).write_text("oom 3\noom_kill 0\n")
        assert not group.killed()
        (tmp_path / dialect.events).write_text("oom 3\noom_kill 1\noom_group_kill 0\n")
        assert group.killed()
