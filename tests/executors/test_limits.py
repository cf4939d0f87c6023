"""Limits, at every level: what is too much ends with its own name."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from autoresearch.executors import JobLimits
from autoresearch.executors.leftover import FILE, kill_leftover
from autoresearch.executors.local import LocalExecutor
from autoresearch.executors.processes import boot, kill_exactly, started
from autoresearch.executors.watchdog import ASLEEP, DiskMeter, Watchdog, suspended_seconds
from executors.place import Place, bubblewrap_place, landlock_place, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits are Linux's")
MIB = 2**20


@pytest.fixture(params=["none", "landlock", "bubblewrap"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place of each level."""
    with contextlib.ExitStack() as stack:
        if request.param == "landlock":
            made = stack.enter_context(landlock_place())
        elif request.param == "bubblewrap":
            made = bubblewrap_place(tmp_path)
        else:
            made = Place(tmp_path, LocalExecutor(), sys.executable)
        yield made
        made.clear()


def test_too_much_memory(place: Place) -> None:
    """A command over its memory limit is killed; its peak is reported."""
    ended = place.python_run(
        "import time\nx = bytearray(b'x') * 300_000_000\ntime.sleep(600)",
        limits=JobLimits(memory=100 * MIB),
    )
    assert (ended.ending, ended.exit_code, ended.signal) == ("memory", None, None)
    assert ended.peak_memory >= 100 * MIB


def test_memory_of_many_processes_counts_together(place: Place) -> None:
    """Four processes, each below the limit, pass it together."""
    text = "import time\nos.fork(), os.fork()\nx = bytearray(b'x') * 50_000_000\ntime.sleep(600)"
    assert place.python_run(text, limits=JobLimits(memory=150 * MIB)).ending == "memory"


def test_shared_memory_counts_once(place: Place) -> None:
    """Eight processes that share 60 MB do not hold 480."""
    text = "import time\nx = bytearray(b'x') * 60_000_000\nos.fork(), os.fork(), os.fork()\n"
    assert place.python_run(text + "time.sleep(2)", limits=JobLimits(memory=200 * MIB)).ok


def test_too_many_processes(place: Place) -> None:
    """Forking past the limit ends with its name, be it a fork bomb."""
    text = "import time\nfor _ in range(60):\n    if not os.fork():\n        time.sleep(600)\n"
    limits = JobLimits(processes=30)
    assert place.python_run(text + "time.sleep(600)", limits=limits).ending == "processes"
    bomb = "import time\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n"
    if place.executor.name == "local" or os.geteuid():
        return  # a bomb without a limit of the kernel's own is not for a test
    ended = place.python_run(bomb + "        time.sleep(1)", limits=limits)
    assert ended.ending == "processes"


def test_too_large_a_folder(place: Place) -> None:
    """Many files, none too large, are too much together; what is sparse does not count."""
    text = (
        "import time\nos.truncate(os.open('sparse', os.O_CREAT | os.O_RDWR), 10**10)\n"
        "for i in range(20):\n    open(f'f{i}', 'wb').write(b'x' * 2**20)\ntime.sleep(600)"
    )
    assert place.python_run(text, limits=JobLimits(disk=10 * MIB)).ending == "disk"
    short = text.replace("600", "3")
    assert place.python_run(short, limits=JobLimits(disk=100 * MIB)).ok


def test_too_large_a_file(place: Place) -> None:
    """A file ends where it must, to the byte, and the program may live with that."""
    text = (
        "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\ntry:\n"
        "    open('big', 'wb', 0).write(b'x' * 10**7)\n"
        "    open('big', 'ab', 0).write(b'x' * 10**7)\nexcept OSError as e:\n    print(e)\n"
    )
    assert place.python_run(text, limits=JobLimits(file_size=MIB)).ok
    assert place.said() == ["[Errno 27] File too large"]
    assert (place.folder / "big").stat().st_size == MIB


def test_too_many_open_files_and_no_core(place: Place) -> None:
    """Open files end at the limit, or at the machine's if that is lower; cores are never left."""
    command = "ulimit -n; ulimit -Hn; ulimit -c"
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for asked in (64, 10**9):
        assert place.run(command, limits=JobLimits(open_files=asked)).ok
        most = str(asked if hard == resource.RLIM_INFINITY else min(asked, hard))
        assert place.said() == [most, most, "0"]


@pytest.mark.parametrize("timeout", [0.5])
def test_a_stopped_and_a_hung_trial_end(place: Place, timeout: float) -> None:
    """SIGSTOP of itself and its shell, a deaf loop, a zombie leader: each ends as a timeout."""
    stop = "import signal\nos.kill(0, signal.SIGSTOP)"
    deaf = "import signal\nfor n in range(1, 32):\n    n in (9, 19) or signal.signal(n, 1)\n"
    zombie = "import threading, time, ctypes\nthreading.Thread(target=time.sleep, args=(600,))"
    zombie += ".start()\nctypes.CDLL(None).syscall(60, 0)"
    for text in (stop, deaf + "while True: pass", zombie):
        assert place.python_run(text, timeout).ending == "timeout"


def test_limits_that_are_kept_do_not_show(place: Place) -> None:
    """A command within all its limits ends as it would without."""
    limits = JobLimits(memory=500 * MIB, processes=50, file_size=MIB, disk=10 * MIB, open_files=100)
    ended = place.run("echo x > x; cat x; exit 3", limits=limits)
    assert (ended.ending, ended.exit_code, place.said()) == ("exit", 3, ["x"])


def test_a_machine_that_did_not_sleep() -> None:
    """Two clocks that run alike are no suspend."""
    watchdog, before = Watchdog(JobLimits(), Path.cwd()), suspended_seconds()
    assert not watchdog.suspended()
    assert abs(suspended_seconds() - before) < ASLEEP


def test_the_disk_meter_counts_what_is_there(tmp_path: Path) -> None:
    """It counts blocks below the folder, follows no link, and notices growth."""
    (tmp_path / "in/a").mkdir(parents=True)
    (tmp_path / "out").write_bytes(b"x" * MIB)
    (tmp_path / "in/link").symlink_to(tmp_path)
    (tmp_path / "in/a/file").write_bytes(b"x" * MIB)
    meter, now = DiskMeter(tmp_path / "in"), 0.0
    first = meter.count(now)
    assert MIB <= first < 1.5 * MIB
    (tmp_path / "in/a/more").write_bytes(b"x" * MIB)
    assert meter.count(now + 100) >= first + MIB


def test_a_folder_of_many_files_is_counted_in_steps(tmp_path: Path) -> None:
    """However many there are, one look takes a part; the looks add up."""
    for number in range(5000):
        (tmp_path / str(number)).touch()
    (tmp_path / "big").write_bytes(b"x" * MIB)
    meter = DiskMeter(tmp_path)
    assert max(meter.count(float(second)) for second in range(4)) >= MIB


# ---- what an earlier harness left --------------------------------------------------------------


def sleeper() -> subprocess.Popen[bytes]:
    """A shell with a child, in a session of its own."""
    command = "sleep 613.75 & sleep 613.75"
    return subprocess.Popen(["sh", "-c", command], start_new_session=True)


def written(folder: Path, boot_id: str, pid: int, start: str | None) -> Path:
    """An attempt.json."""
    path = folder / FILE
    path.write_text(
        json.dumps({"boot": boot_id, "supervisor": [pid, start], "command": [pid, start]})
    )
    return path


def gone(pid: int) -> bool:
    """Whether a process is no more, or only waits to be collected."""
    return started(pid) is None


def test_a_leftover_is_killed_with_its_tree(tmp_path: Path) -> None:
    """What the file names is killed with all below it, though it is stopped; once."""
    process = sleeper()
    try:
        until(lambda: len(psutil.Process(process.pid).children()) == 2, "it runs")
        below = [child.pid for child in psutil.Process(process.pid).children()]
        other = {"boot": boot(), "supervisor": [2**22, "1"]}
        path = tmp_path / FILE
        path.write_text(json.dumps({**other, "command": [process.pid, started(process.pid)]}))
        assert kill_leftover(path) is True
        assert process.wait() == -signal.SIGKILL
        until(lambda: all(map(gone, below)), "its children are dead")
        assert not path.exists()
        assert kill_leftover(path) is False
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("wrong", ["boot", "start"])
def test_a_process_that_took_the_id_later_is_spared(tmp_path: Path, wrong: str) -> None:
    """Another start of the machine, or of the process: it is not the one, and lives."""
    process = sleeper()
    try:
        start = started(process.pid) if wrong != "start" else "1"
        path = written(tmp_path, boot() if wrong != "boot" else "other", process.pid, start)
        assert kill_leftover(path) is False
        assert process.poll() is None
        assert kill_exactly(process.pid, "1") is False
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("text", [None, "", "{}", "[]", '{"boot": 1, "supervisor": 3}', "\0"])
def test_a_broken_file_kills_nothing(tmp_path: Path, text: str | None) -> None:
    """A missing or broken file kills nothing."""
    if text is not None:
        (tmp_path / FILE).write_text(text)
    assert kill_leftover(tmp_path / FILE) is False


def test_the_file_is_there_while_it_runs(place: Place) -> None:
    """It names the supervisor, and is gone with it."""
    harness = subprocess.Popen([sys.executable, "-c", HARNESS, *arguments(place, "sleep 600")])
    try:
        until((place.log.parent / FILE).exists, "the file is there")
        told = json.loads((place.log.parent / FILE).read_text())
        assert told["boot"] == boot()
        assert psutil.Process(told["supervisor"][0]).ppid() == harness.pid
    finally:
        harness.kill()
        harness.wait()
    until(lambda: not (place.log.parent / FILE).exists(), "the file is gone")
    until(lambda: not place.alive(), "nothing is alive")


def test_a_stopped_supervisor_of_a_dead_harness(place: Place) -> None:
    """A supervisor that cannot end because it is stopped is continued, and ends."""
    harness = subprocess.Popen([sys.executable, "-c", HARNESS, *arguments(place, "sleep 600")])
    path = place.log.parent / FILE
    until(path.exists, "the file is there")
    supervisor = json.loads(path.read_text())["supervisor"][0]
    os.kill(supervisor, signal.SIGSTOP)
    until(lambda: psutil.Process(supervisor).status() == psutil.STATUS_STOPPED, "it is stopped")
    harness.kill()
    harness.wait()
    assert started(supervisor) is not None
    assert kill_leftover(path) is True
    assert gone(supervisor) and place.alive() == []


HARNESS = """
import pathlib, sys
from autoresearch.executors import Job
from autoresearch.executors.local import supervised
level, folder, log, command, mark = sys.argv[1:]
env = {"PATH": "/usr/bin:/bin", "AUTORESEARCH_MARK": mark}
supervised(Job(command, pathlib.Path(folder), pathlib.Path(log), 60.0, env), level)
"""
LEVELS = {"local": "none", "sandbox": "bubblewrap", "landlock": "landlock"}


def arguments(place: Place, command: str) -> list[str]:
    """Of a harness that runs a command in a place."""
    level = LEVELS[place.executor.name]  # type: ignore[attr-defined]
    return [level, str(place.folder), str(place.log), command, place.mark]
