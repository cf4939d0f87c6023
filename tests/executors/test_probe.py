"""Which sandbox this machine offers, and which one a policy gets."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from autoresearch.errors import ExecutorError
from autoresearch.executors import Job
from autoresearch.executors.local import LocalExecutor
from autoresearch.executors.probe import Policy, make_executor, probe
from autoresearch.executors.sandbox import LandlockExecutor, SandboxExecutor

WITHOUT = """
import sys
from pathlib import Path
from autoresearch.errors import ExecutorError
from autoresearch.executors import probe
found = probe.probe()
print(found.level)
print(found.why_not_higher)
print(probe.make_executor("auto").name)
try:
    probe.make_executor("required")
except ExecutorError as error:
    print(error)
"""


def without_bubblewrap(path: str) -> list[str]:
    """What a harness finds with another PATH."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_a_probe_is_made_once_and_gives_its_reasons() -> None:
    """The same answer each time; below the best level there is a reason."""
    found = probe()
    assert found is probe()
    assert found.level in ("bubblewrap", "landlock", "none")
    assert (found.level == "bubblewrap") is (found.why_not_higher == "")


def test_policies(tmp_path: Path) -> None:
    """off is local, auto is the best level, and an Execution reports it."""
    assert isinstance(make_executor("off"), LocalExecutor)
    chosen = {
        "bubblewrap": SandboxExecutor,
        "landlock": LandlockExecutor,
        "none": LocalExecutor,
    }
    executor = make_executor("auto", tmp_path)
    assert isinstance(executor, chosen[probe(tmp_path).level])
    (tmp_path / "job").mkdir()
    job = Job("true", tmp_path / "job", tmp_path / "log", 60.0, {"PATH": os.environ["PATH"]})
    assert executor.run(job).sandbox == probe(tmp_path).level
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job", "log"]


@pytest.mark.parametrize("policy", ["required", "auto"])
def test_with_bubblewrap_both_policies_take_it(policy: Policy) -> None:
    """Where the best level works there is nothing to refuse."""
    if probe().level != "bubblewrap":
        pytest.skip(f"no bubblewrap here: {probe().why_not_higher}")
    assert isinstance(make_executor(policy), SandboxExecutor)


def test_without_bubblewrap_required_is_refused() -> None:
    """The error says what is missing and what to do; auto takes the next level and says why."""
    level, why, name, refusal = without_bubblewrap("/nonexistent")
    assert level in ("landlock", "none")
    assert name == {"landlock": "landlock", "none": "local"}[level]
    assert "bubblewrap: not installed" in why
    assert "required" in refusal and "apt-get install bubblewrap" in refusal


@pytest.mark.parametrize(
    ("version", "word"), [("0.6.1", "too old"), ("0.11.0", "No permissions to create")]
)
def test_a_bubblewrap_that_does_not_work(version: str, word: str) -> None:
    """An old bubblewrap, and a machine without namespaces: its message is the reason."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        script = Path(folder, "bwrap")
        script.write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && echo "bubblewrap {version}" && exit\n'
            'echo "bwrap: No permissions to create new namespace" >&2\nexit 1\n'
        )
        script.chmod(0o755)
        _, why, _, refusal = without_bubblewrap(f"{folder}:/usr/bin:/bin")
    assert word in why and word in refusal


def test_required_is_our_error_with_exit_code_2() -> None:
    """A missing sandbox is an error of the machine, not a failure of a candidate."""
    assert ExecutorError.exit_code == 2
    assert set(Policy.__args__) == {"auto", "required", "off"}  # type: ignore[attr-defined]
