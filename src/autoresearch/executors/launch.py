"""How the supervisor starts a command, with or without a sandbox."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from autoresearch.executors import Job
from autoresearch.executors.limits import die_with_parent, prefer_oom_kill, set_limits


def nothing(*_: object) -> None:
    """Default no-op callback."""


@dataclass(frozen=True)
class Launch:
    """One way to start a job."""

    words: list[str]
    env: Mapping[str, str]
    folder: str | None
    confine: Callable[[], None] = nothing  # called in the child, before the command starts
    pass_fds: tuple[int, ...] = ()
    settle: Callable[[subprocess.Popen[bytes]], None] = nothing  # called here, after the start
    check: Callable[[int], int] = field(default=lambda code: code)  # exit code -> the command's


def plain(job: Job) -> Launch:
    """Start a command without a sandbox, with its limits only."""

    def confine() -> None:
        set_limits(job.limits)
        prefer_oom_kill()
        die_with_parent()

    return Launch(["/bin/sh", "-c", job.command], job.env, str(job.folder), confine)


def start(launch: Launch) -> subprocess.Popen[bytes]:
    """Start a command with its output in a pipe; OSError says why it did not start.

    The command may wait until `settle` lets it continue.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
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
            preexec_fn=lambda: _confine(launch, writer),  # this process has one thread only
        )
    except subprocess.SubprocessError as error:
        raise OSError(os.read(reader, 4096).decode(errors="replace") or str(error)) from error
    finally:
        for end in (reader, writer, *launch.pass_fds):
            os.close(end)


def _confine(launch: Launch, writer: int) -> None:
    """In the child: call `confine`, and send its error to the supervisor."""
    try:
        launch.confine()
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(writer, f"{error or type(error).__name__}".encode())
        raise
