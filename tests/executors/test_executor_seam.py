"""What every executor promises, run by each of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch.executors import Execution, Executor, Job
from autoresearch.executors.fake import FakeExecutor
from autoresearch.executors.local import LocalExecutor

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
SAYS = {command: (text, code) for command, text, code in CASES}


def fake() -> Executor:
    """Says what the table says."""
    return FakeExecutor(lambda job: SAYS[job.command])


MAKERS: list[Callable[[], Executor]] = [LocalExecutor, fake]


@pytest.fixture(params=MAKERS, ids=["local", "fake"])
def executor(request: pytest.FixtureRequest) -> Executor:
    """Each executor in turn."""
    make: Callable[[], Executor] = request.param
    return make()


def run(executor: Executor, folder: Path, command: str) -> Execution:
    """Run a command in a folder, with its log beside."""
    job = Job(command, folder, folder / "log", 60.0, {"PATH": os.environ["PATH"]})
    return executor.run(job)


@pytest.mark.parametrize(("command", "text", "code"), CASES)
def test_a_command_ends_as_data(
    executor: Executor, tmp_path: Path, command: str, text: str, code: int
) -> None:
    """Output and exit code arrive whatever they are; a failure is a result, never an exception."""
    ended = run(executor, tmp_path, command)
    assert (ended.ending, ended.exit_code, ended.signal) == ("exit", code, None)
    assert ended.ok is (code == 0)
    assert ended.leftovers == 0
    assert ended.seconds >= 0 and ended.peak_memory >= 0
    assert (tmp_path / "log").read_bytes() == text.encode()


def test_a_log_is_written_anew(executor: Executor, tmp_path: Path) -> None:
    """What an earlier run left in the log is gone."""
    (tmp_path / "log").write_text("val_bpb: 0.1\n" * 100)
    run(executor, tmp_path, "echo hello")
    assert (tmp_path / "log").read_text() == "hello\n"


def test_an_executor_can_be_used_again(executor: Executor, tmp_path: Path) -> None:
    """One object runs job after job, and one does not show in the next."""
    codes = [run(executor, tmp_path, command).exit_code for command, _, _ in CASES]
    assert codes == [code for _, _, code in CASES]


def test_the_fake_shows_what_it_was_asked(tmp_path: Path) -> None:
    """A test can look at every job that reached the fake."""
    executor = FakeExecutor(lambda _: ("METRIC loss=1", 0))
    job = Job("anything", tmp_path, tmp_path / "log", 1.0, {"SEED": "1"})
    executor.run(job)
    assert executor.jobs == [job]
