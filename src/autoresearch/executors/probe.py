"""Finds the best sandbox that works on this machine, and selects an executor by policy."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autoresearch.errors import ExecutorError
from autoresearch.executors import Executor, Job, Level
from autoresearch.executors.local import LocalExecutor
from autoresearch.executors.sandbox import LandlockExecutor, SandboxExecutor
from autoresearch.text import clean_line

Policy = Literal["auto", "required", "off"]
OLDEST = (0, 8)  # version of bubblewrap; the first with --disable-userns
_PROBE_SECONDS = 30.0  # for a trivial process


@dataclass(frozen=True)
class Probe:
    """The best sandbox that works on this machine."""

    level: Level
    why_not_higher: str = ""  # empty for the highest level


@functools.cache
def probe(folder: Path | None = None) -> Probe:
    """Try each level with a trivial process, the best first; cached per folder.

    Not every level works in every folder, so name the one in which jobs will run; a folder below
    it is created and removed. The default is the system's temporary folder.
    """
    if sys.platform != "linux":
        return Probe("none", f"there is no sandbox for {sys.platform}")
    higher: list[str] = []
    levels: tuple[tuple[Level, Executor], ...] = (
        ("bubblewrap", SandboxExecutor()),
        ("landlock", LandlockExecutor()),
    )
    for level, executor in levels:
        problem = _missing(level) or _fails(executor, folder)
        if problem is None:
            return Probe(level, "; ".join(higher))
        higher.append(f"{level}: {problem}")
    return Probe("none", "; ".join(higher))


def make_executor(policy: Policy = "auto", folder: Path | None = None) -> Executor:
    """The executor for a policy; ExecutorError when the policy "required" cannot be met.

    "auto" selects the best level; `probe` says which and why, and so does `Execution.sandbox`.
    """
    if policy == "off":
        return LocalExecutor()
    found = probe(folder)
    if found.level == "bubblewrap":
        return SandboxExecutor()
    if policy == "required":
        raise ExecutorError(
            f"A sandbox is required, and none works on this machine: {found.why_not_higher}. "
            "Install bubblewrap 0.8 or newer (apt-get install bubblewrap) and allow user "
            'namespaces; or accept a weaker level with sandbox = "auto" in task.toml.'
        )
    return LandlockExecutor() if found.level == "landlock" else LocalExecutor()


def _missing(level: Level) -> str | None:
    """What is missing for a level, or None."""
    if level == "landlock":
        from autoresearch.executors.landlock import abi

        return None if abi() else "this kernel has no Landlock"
    program = shutil.which("bwrap")
    if program is None:
        return "not installed"
    version = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False
    ).stdout
    if tuple(map(int, re.findall(r"\d+", version))) < OLDEST:
        return f"{version.strip() or program} is too old, 0.8 or newer is needed"
    return None


def _fails(executor: Executor, place: Path | None) -> str | None:
    """Why a trivial Python process does not run under an executor, or None when it does."""
    with tempfile.TemporaryDirectory(prefix=".probe-", dir=place) as home:
        Path(home).chmod(0o711)
        folder, log = Path(home, "job"), Path(home, "log")
        folder.mkdir()
        command = '"$AUTORESEARCH_PROBE" -I -S -c pass'
        job = Job(command, folder, log, _PROBE_SECONDS, {"AUTORESEARCH_PROBE": sys.executable})
        try:
            ended = executor.run(job)
        except ExecutorError as error:
            return _last_line(log) or str(error.__cause__ or error)
        return None if ended.ok else _last_line(log) or f"it ended by {ended.ending}"


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return clean_line(lines[-1]) if lines else ""
