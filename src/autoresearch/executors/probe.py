"""How much stands between a job and this machine: found out by trying, chosen by policy."""

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

Policy = Literal["auto", "required", "off"]
OLDEST = (0, 8)  # of bubblewrap: the first with --disable-userns
_PATIENCE = 30.0  # seconds for a trivial process


@dataclass(frozen=True)
class Probe:
    """The best sandbox that this machine offers."""

    level: Level
    why_not_higher: str = ""  # empty when nothing is higher


@functools.cache
def probe(folder: Path | None = None) -> Probe:
    """Try each level with a trivial process, the best first; once for each folder.

    The folder is where jobs will run (a place below it is made, and removed): not every level
    works everywhere. Without one it is the system's temporary folder.
    """
    if sys.platform != "linux":
        return Probe("none", f"no sandbox is known for {sys.platform}")
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
    """The executor that a policy asks for; ExecutorError when "required" cannot be had.

    "auto" takes the best there is: `probe` says which and why, each Execution's `sandbox` again.
    """
    if policy == "off":
        return LocalExecutor()
    found = probe(folder)
    if found.level == "bubblewrap":
        return SandboxExecutor()
    if policy == "required":
        raise ExecutorError(
            f"A sandbox is required, and this machine does not offer one: {found.why_not_higher}. "
            "Install bubblewrap 0.8 or newer (apt-get install bubblewrap) and allow user "
            'namespaces; or accept what there is with sandbox = "auto" in task.toml.'
        )
    return LandlockExecutor() if found.level == "landlock" else LocalExecutor()


def _missing(level: Level) -> str | None:
    """What a level needs and is known not to have."""
    if level == "landlock":
        from autoresearch.executors.landlock import abi

        return None if abi() else "this kernel has no Landlock"
    program = shutil.which("bwrap")
    if program is None:
        return "not installed"
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    numbers = tuple(map(int, re.findall(r"\d+", told.stdout)))
    if numbers < OLDEST:
        return f"{told.stdout.strip() or program} is too old, 0.8 or newer is needed"
    return None


def _fails(executor: Executor, place: Path | None) -> str | None:
    """Why a trivial process of this Python does not run there, or None when it does."""
    with tempfile.TemporaryDirectory(prefix=".probe-", dir=place) as home:
        Path(home).chmod(0o711)
        folder, log = Path(home, "job"), Path(home, "log")
        folder.mkdir()
        command = '"$AUTORESEARCH_PROBE" -I -S -c pass'
        job = Job(command, folder, log, _PATIENCE, {"AUTORESEARCH_PROBE": sys.executable})
        try:
            ended = executor.run(job)
        except ExecutorError as error:
            return _said(log) or str(error.__cause__ or error)
        return None if ended.ok else _said(log) or f"it ended by {ended.ending}"


def _said(log: Path) -> str:
    """The last line of a log."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return lines[-1][:200] if lines else ""
