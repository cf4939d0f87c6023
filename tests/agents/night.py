"""A night as a user has it: `autoresearch run` in a process, a HOME, and nothing else around it."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil

import autoresearch
from agents.tools import AGENTS
from autoresearch.lab.task import Task
from autoresearch.store.ledger import UNSTATED, Ledger, Trial
from model_server import ModelServer, Script
from tiny_lab import TASK, make_lab

DOCS = Path(__file__).parents[2] / "docs" / "agents.md"
KEY = "sk-scripted-0123456789"
LONGEST = 300  # seconds of one night
PATHS = ("/v1/chat/completions", "/v1/responses", "/v1beta/models/")


class Night:
    """A tiny lab, a HOME with the endpoints of docs/agents.md in it, and a scripted model."""

    def __init__(self, root: Path, agent: str, server: ModelServer, nowhere: str) -> None:
        self.lab, self.home = root / "lab", root / "home"
        self.agent, self.server, self._nowhere = agent, server, nowhere
        self.out = ""
        settings = self.home / ".config" / "autoresearch" / "agents.toml"
        settings.parent.mkdir(parents=True)
        settings.write_text(documented(server))

    def make_lab(self, more: str = "", sandbox: str = "auto") -> None:
        """The lab, with settings of its own for the agent."""
        head = TASK.replace("[metric]", f'sandbox = "{sandbox}"\n[metric]')
        table = f"\n[agent.{self.agent}]\n{more}\n" if more else ""
        make_lab(self.lab, task_toml=f'{head}\n[keep]\nstrategy = "greedy"\n{table}')

    def run(self, trials: int, *, ahead: bool = False) -> int:
        """`autoresearch run`; its exit code."""
        words = ["-m", "autoresearch", "run", "--tag", "t", "--agent", self.agent]
        words += [] if ahead else ["--no-ahead"]
        done = subprocess.run(
            [sys.executable, *words, "--trials", str(trials)],
            cwd=self.lab,
            env=self._env(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST,
        )
        self.out = done.stdout
        print(self.out)
        return done.returncode

    def trials(self) -> list[Trial]:
        """What stands in the ledger."""
        with closing(self._ledger()) as ledger:
            return list(ledger.trials())

    def for_nothing(self) -> list[str]:
        """The kinds of proposals that came to nothing, in order."""
        with closing(self._ledger()) as ledger:
            costs = [spend for spend in ledger.spends() if spend.kind != UNSTATED]
            return [spend.kind for spend in costs if spend.trial is None]

    def survivors(self) -> list[str]:
        """Processes that know of this night's folders, by HOME or by their words."""
        mark, found = str(self.lab.parent), []
        for process in psutil.process_iter():
            try:
                told = [*process.cmdline(), *process.environ().values()]
            except psutil.Error:
                continue
            if process.pid != psutil.Process().pid and any(mark in word for word in told):
                found.append(" ".join(process.cmdline()) or process.name())
        return found

    def tokens(self) -> list[int]:
        """What each trial's proposal took."""
        with closing(self._ledger()) as ledger:
            costs = [spend for spend in ledger.spends() if spend.kind != UNSTATED]
            return [spend.tokens for spend in costs if spend.trial]

    def strangers(self) -> list[str]:
        """Requests to the server that are not the agent's own: another path, another key."""
        return [
            request.path
            for request in self.server.requests
            if not request.path.startswith(PATHS)
            or not any(KEY in text for text in request.headers.values())
        ]

    def _ledger(self) -> Ledger:
        path = self.lab / ".autoresearch" / "t" / "ledger.db"
        return Ledger(path, Task.load(self.lab).metric)

    def _env(self) -> dict[str, str]:
        """PATH, HOME, a key, the server; what is not on this machine is behind a dead proxy."""
        tool, key = AGENTS.get(self.agent, (None, "SCRIPTED_KEY"))
        programs = [Path(sys.executable).parent, *((tool.programs,) if tool else ())]
        programs += [Path(path).parent for name in ("node", "git") if (path := shutil.which(name))]
        proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        endpoints = {
            "AUTORESEARCH_LLM_BASE_URL": self.server.url,
            "AUTORESEARCH_LLM_KEY_ENV": "SCRIPTED_KEY",
            "OPENAI_API_BASE": self.server.url,
            "GOOGLE_GEMINI_BASE_URL": self.server.root,
        }
        return {
            "PATH": ":".join([*map(str, programs), "/usr/local/bin", "/usr/bin", "/bin"]),
            "PYTHONPATH": str(Path(autoresearch.__file__).parents[1]),
            "HOME": str(self.home),
            **dict.fromkeys((*proxies, *map(str.lower, proxies)), self._nowhere),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1"),
            key: KEY,
            **endpoints,
        }


def documented(server: ModelServer) -> str:
    """The agents.toml that docs/agents.md shows for an endpoint of one's own, with this server."""
    section = DOCS.read_text().split("### Another endpoint", 1)[1]
    found = re.search(r"```toml\n(.*?)```", section, re.DOTALL)
    assert found
    return found[1].replace("http://127.0.0.1:8000/v1", server.url)


@contextmanager
def night(root: Path, agent: str, script: Script) -> Iterator[Night]:
    """A study with its server; afterwards no process runs, and no unexpected request came."""
    root.chmod(0o755)
    with socket.socket() as closed, ModelServer(script) as server:
        closed.bind(("127.0.0.1", 0))  # taken, and nobody listens
        mine = Night(root, agent, server, f"http://127.0.0.1:{closed.getsockname()[1]}")
        yield mine
        assert mine.survivors() == []
        assert server.requests
        assert mine.strangers() == []
