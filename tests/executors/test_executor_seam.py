"""What every executor promises, checked for each of them."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch.errors import ExecutorError
from autoresearch.executors import Execution, Job
from autoresearch.executors.bounded_log import LOG_HEAD, LOG_TAIL
from autoresearch.executors.fake import FakeExecutor
from executors.place import Place, bubblewrap_place, landlock_place, local_place, until

# Command, what it prints, how it exits.
CASES = [
    ("echo hello", "hello\n", 0),
    ("echo oops; exit 3", "oops\n", 3),
    ("echo err >&2; exit 255", "err\n", 255),
    ("true", "", 0),
    ("false", "", 1),
    ("printf 'no newline'", "no newline", 0),
    ("printf 'é ☃ \\n'", "é ☃ \n", 0),
    ("printf 'a\\r\\nb\\n'", "a\r\nb\n", 0),
    ("exit 127", "", 127),
]
FLOOD_BYTES = LOG_HEAD + LOG_TAIL + 2**20
FLOOD = f"head -c {FLOOD_BYTES} /dev/zero"
BEHAVIOURS = {command: (text, code) for command, text, code in CASES}
BEHAVIOURS[FLOOD] = ("\0" * FLOOD_BYTES, 0)
LEVELS = {"local": "none", "bubblewrap": "bubblewrap", "landlock": "landlock", "fake": "none"}


@contextlib.contextmanager
def place_of(name: str, home: Path) -> Iterator[Place]:
    """A place with an executor, or a skip that says why this machine has not got it."""
    with contextlib.ExitStack() as stack:
        if name == "landlock":
            place = stack.enter_context(landlock_place())
        elif name == "bubblewrap":
            place = bubblewrap_place(home)
        else:
            place = local_place(home)
        if name == "fake":
            place.executor = FakeExecutor(lambda job: BEHAVIOURS[job.command])
        yield place
        place.clear()


@pytest.fixture(params=["local", "bubblewrap", "landlock", "fake"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place with each executor in turn."""
    with place_of(request.param, tmp_path) as made:
        made.level = LEVELS[request.param]
        yield made


@pytest.fixture(params=["local", "bubblewrap", "landlock"])
def real(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place with each executor that starts processes."""
    with place_of(request.param, tmp_path) as made:
        yield made


# ---- every executor ----------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "text", "code"), CASES)
def test_a_command_ends_as_data(place: Place, command: str, text: str, code: int) -> None:
    """Output and exit code arrive whatever they are; a failure is a result, never an exception."""
    ended = place.run(command)
    assert (ended.ending, ended.exit_code, ended.signal) == ("exit", code, None)
    assert ended.ok is (code == 0)
    assert (ended.leftovers, ended.sandbox) == (0, place.level)
    assert ended.seconds >= 0 and ended.peak_memory >= 0
    assert place.log.read_bytes() == text.encode()


def test_a_log_is_written_anew(place: Place) -> None:
    """What an earlier run left in the log is gone."""
    place.log.write_text("val_bpb: 0.1\n" * 100)
    place.run("echo hello")
    assert place.log.read_text() == "hello\n"


def test_a_log_is_bounded(place: Place) -> None:
    """Of more output than head and tail together, the middle is left out and counted."""
    assert place.run(FLOOD).ok
    log = place.log.read_bytes()
    line = b"\n[autoresearch: %d bytes of the log left out]\n" % 2**20
    assert log == b"\0" * LOG_HEAD + line + b"\0" * LOG_TAIL


def test_an_executor_can_be_used_again(place: Place) -> None:
    """One object runs job after job, and one does not show in the next."""
    codes = [place.run(command).exit_code for command, _, _ in CASES]
    assert codes == [code for _, _, code in CASES]


def test_the_fake_records_its_jobs(tmp_path: Path) -> None:
    """A test can look at every job that the fake got."""
    executor = FakeExecutor(lambda _: ("METRIC loss=1", 0))
    job = Job("anything", tmp_path, tmp_path / "log", 1.0, {"SEED": "1"})
    executor.run(job)
    assert executor.jobs == [job]


# ---- executors that start processes --------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGTERM])
def test_a_signal_is_reported(real: Place, number: signal.Signals) -> None:
    """A command that dies of a signal has the signal's number and no exit code."""
    ended = real.run(f"echo before; kill -{int(number)} $$; echo after")
    assert (ended.ending, ended.signal, ended.exit_code) == ("signal", number, None)
    assert not ended.ok
    assert real.said() == ["before"]


def test_a_command_that_is_missing_is_an_exit_code(real: Place) -> None:
    """The shell's exit code and a message in the log, not an exception."""
    ended = real.run("no-such-command-here")
    assert (ended.ending, ended.exit_code) == ("exit", 127)
    assert "no-such-command-here" in real.log.read_text()


def test_the_timeout_ends_a_command(real: Place) -> None:
    """A command is killed at its timeout; its output until then is in the log."""
    for timeout in (1.0, 5.0, 30.0):  # until it has printed, on a busy machine too
        ended = real.run("echo before; sleep 600; echo after", timeout)
        if real.said():
            break
    assert (ended.ending, ended.exit_code, ended.signal) == ("timeout", None, None)
    assert not ended.ok
    assert real.said() == ["before"]


@pytest.mark.parametrize("last", ["exit 5", "sleep 600"], ids=["exit", "timeout"])
def test_all_processes_are_killed(real: Place, last: str) -> None:
    """Processes in the background, also in their own session, are dead when `run` returns."""
    start = "(touch one; exec sleep 600) & setsid sh -c 'touch two; exec sleep 600' & "
    wait = "while ! [ -e one ] || ! [ -e two ]; do sleep 0.01; done; touch ready; "
    for timeout in (2.0, 5.0, 30.0):
        ended = real.run(start + wait + last, timeout)  # asserts that nothing is alive
        if (real.folder / "ready").exists():
            break
    assert (real.folder / "ready").exists()
    assert ended.exit_code == (5 if last == "exit 5" else None)


def test_a_cancelled_job_is_killed(real: Place) -> None:
    """Once `cancelled` is set, the job and its processes are killed, long before the timeout."""
    cancelled = threading.Event()
    ended: list[Execution] = []
    job = replace(real.job("setsid sleep 600 & touch ready; sleep 600"), cancelled=cancelled)
    job = replace(job, timeout=600.0)
    thread = threading.Thread(target=lambda: ended.append(real.executor.run(job)))
    thread.start()
    until((real.folder / "ready").exists, "the job runs")
    cancelled.set()
    thread.join()
    assert [(one.ending, one.ok) for one in ended] == [("signal", False)]
    assert real.alive() == []


def test_the_environment_is_the_jobs(real: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variable of the job arrives byte for byte, and none of the harness is inherited."""
    monkeypatch.setenv("AUTORESEARCH_OURS", "secret")
    odd = {"AUTORESEARCH_ODD": "a\nb é☃ a'b\"c$(x) a=b", "AUTORESEARCH_EMPTY": ""}
    job = real.job('printf %s "$AUTORESEARCH_ODD[${AUTORESEARCH_EMPTY-unset}]"; env > env')
    assert real.executor.run(replace(job, env={**job.env, **odd})).ok
    assert real.log.read_text() == odd["AUTORESEARCH_ODD"] + "[]"
    assert "AUTORESEARCH_OURS" not in (real.folder / "env").read_text()


def test_a_command_runs_in_its_folder_without_input(real: Place) -> None:
    """The working directory is the job's folder, and standard input is empty."""
    assert real.run("touch here; pwd -P; cat; read x || exit 7").exit_code == 7
    assert (real.folder / "here").exists()
    assert real.said() == [str(real.folder.resolve())]


def test_a_folder_that_is_missing_is_an_executor_error(real: Place) -> None:
    """What the executor itself cannot do is an exception that names command and folder."""
    missing = real.folder / "missing"
    with pytest.raises(ExecutorError, match="touch ran") as caught:
        real.executor.run(replace(real.job("touch ran"), folder=missing))
    assert str(missing) in str(caught.value)
