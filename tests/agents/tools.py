"""Real programs of coding agents: how each is installed, and the variable of its key."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

INSTALL = 600  # seconds of one command


@dataclass(frozen=True)
class Tool:
    """A program in the version that docs/agents.md says was tried."""

    name: str
    version: str
    npm: str = ""  # a package of npm
    pip: tuple[str, ...] = ()  # or packages of PyPI, in a venv of their own

    @property
    def folder(self) -> Path:
        """Where it is kept from one run to the next: outside the repository."""
        default = Path("~/.cache/autoresearch-test-tools").expanduser()
        root = Path(os.environ.get("AUTORESEARCH_TEST_TOOLS") or default)
        return root / f"{self.name}-{self.version}"

    @property
    def programs(self) -> Path:
        """Its folder of programs."""
        return self.folder / ("node_modules/.bin" if self.npm else "bin")

    def install(self) -> str:
        """Have it there; what the registry said when it is not, else nothing."""
        if self.npm and shutil.which("npm") is None:
            return "npm is not installed here"
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with Path(f"{self.folder}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another worker may be at it
            return "" if (self.folder / "complete").exists() else self._fetch()

    def _fetch(self) -> str:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        for command in self._commands():
            ended = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL)
            if ended.returncode:
                return (ended.stderr or ended.stdout).strip()[-1000:]
        (self.folder / "complete").touch()
        return ""

    def _commands(self) -> list[list[str]]:
        if self.npm:
            quiet = ["--no-audit", "--no-fund", "--loglevel=error", "--engine-strict"]
            package = f"{self.npm}@{self.version}"
            return [["npm", "install", "--prefix", str(self.folder), *quiet, package]]
        python = str(self.folder / "bin" / "python")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        first, *others = self.pip
        venv = [sys.executable, "-m", "venv", str(self.folder)]
        return [venv, [*pip, f"{first}=={self.version}", *others]]


CODEX = Tool("codex", "0.169.0", npm="@openai/codex")
GEMINI = Tool("gemini", "0.61.0", npm="@google/gemini-cli")
OPENCODE = Tool("opencode", "1.18.33", npm="opencode-ai")
PI = Tool("pi", "0.73.1", npm="@mariozechner/pi-coding-agent")  # the last for Node 20
MINI = Tool("mini-swe-agent", "2.4.6", pip=("mini-swe-agent", "mcp"))
AIDER = Tool("aider", "0.86.2", pip=("aider-chat",))

AGENTS = {  # preset -> program, the variable of its key
    "codex": (CODEX, "CODEX_API_KEY"),
    "mini-swe-agent": (MINI, "OPENAI_API_KEY"),
    "gemini": (GEMINI, "GEMINI_API_KEY"),
    "opencode": (OPENCODE, "OPENAI_API_KEY"),
    "pi": (PI, "OPENAI_API_KEY"),
    "aider": (AIDER, "OPENAI_API_KEY"),
    "gemini-acp": (GEMINI, "GEMINI_API_KEY"),
    "opencode-acp": (OPENCODE, "OPENAI_API_KEY"),
}
