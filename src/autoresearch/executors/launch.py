"""A command about to start: how, as what, and what is done around it. In the supervisor."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from autoresearch.executors import Job
from autoresearch.executors.limits import die_with_parent, first_to_go, set_limits


def nothing(*_: object) -> None:
    """What a launch does where it has nothing to do."""


@dataclass(frozen=True)
class Launch:
    """One way to start a job."""

    words: list[str]
    env: Mapping[str, str]
    folder: str | None
    confine: Callable[[], None] = nothing  # in the child, before it becomes the command
    pass_fds: tuple[int, ...] = ()
    settle: Callable[[subprocess.Popen[bytes]], None] = nothing  # here, once it started
    check: Callable[[int], int] = field(default=lambda code: code)  # its exit code; or OSError


def plain(job: Job) -> Launch:
    """Nothing between the command and the machine but limits."""

    def confine() -> None:
        set_limits(job.limits)
        first_to_go()
        die_with_parent()

    return Launch(["/bin/sh", "-c", job.command], job.env, str(job.folder), confine)


def start(launch: Launch) -> subprocess.Popen[bytes]:
    """Start it, its output in a pipe; an OSError names what kept it from starting.

    It may wait until `settle` lets it go on.
    """
    heard, told = os.pipe()
    os.set_blocking(told, False)
    try:
        return subprocess.Popen(
            launch.words,
            cwd=launch.folder,
            env=launch.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=launch.pass_fds,
            preexec_fn=lambda: _confined(launch, told),  # this process has one thread only
        )
    except subprocess.SubprocessError as error:
        raise OSError(os.read(heard, 4096).decode(errors="replace") or str(error)) from error
    finally:
        for end in (heard, told, *launch.pass_fds):
            os.close(end)


def _confined(launch: Launch, told: int) -> None:
    try:
        launch.confine()
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(told, f"{error or type(error).__name__}".encode())
        raise
