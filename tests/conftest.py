"""Fixtures that several suites share."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

# A shell that begins a suite in the background has Ctrl-C ignored, by all that comes of it, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

MakeRepo = Callable[..., "Repo"]


@dataclass(frozen=True)
class Repo:
    """A git repository of a test, with an identity of its own and nobody's configuration."""

    folder: Path

    def git(self, *args: str | bytes, stdin: bytes = b"") -> str:
        """Run git in it; its output, or a failure that says what git said."""
        env = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{f"GIT_{who}_NAME": "Somebody" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "somebody@localhost" for who in ("AUTHOR", "COMMITTER")},
        }
        ended = subprocess.run(
            ["git", *args], cwd=self.folder, input=stdin, env=env, capture_output=True
        )
        assert ended.returncode == 0, f"git {args}: {ended.stderr.decode(errors='replace')}"
        return os.fsdecode(ended.stdout).strip()

    def write(self, name: str, content: str | bytes, *, executable: bool = False) -> Path:
        """Write a file, its folders made as needed."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o755 if executable else 0o644)
        return path

    def commit(self, message: str = "a commit") -> str:
        """Commit all there is; the commit's hash."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def make_repo(tmp_path: Path) -> MakeRepo:
    """Make a repository: `make_repo({"train.py": "x = 1"}, "name", "--object-format=sha256")`."""

    def make(files: dict[str, str | bytes] | None = None, name: str = "repo", *args: str) -> Repo:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        repo = Repo(folder)
        repo.git("init", "-q", "-b", "main", *args)
        for path, content in (files or {}).items():
            repo.write(path, content)
        if files:
            repo.commit("first")
        return repo

    return make
