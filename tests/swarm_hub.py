"""A hub that can be killed and started again, and loops that join it: as processes, or here."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import autoresearch
from agenthub.client.hub_client import HubClient
from autoresearch.errors import ProposerError
from autoresearch.lab.task import Task
from autoresearch.proposers import Brief, Proposal, Proposer
from autoresearch.proposers.fake import Edit, ScriptedProposer
from autoresearch.store.git import Git
from autoresearch.store.ledger import Ledger, State, Trial
from autoresearch.store.paths import StudyPaths
from autoresearch.strategies.greedy import Greedy
from autoresearch.study.loop import StopLimits, research
from autoresearch.study.opening import open_study
from autoresearch.study.study import Study
from autoresearch.swarm.member import Member, joined
from autoresearch.swarm.settings import SwarmSettings
from tiny_lab import TASK, make_lab

T = TypeVar("T")
ADMIN = "admin-key-of-a-hub-for-tests-only"
PLATFORM, TAG = "H100", "t"
OFF = TASK.replace("[metric]", 'sandbox = "off"\n[metric]')
PATIENCE = 60.0  # seconds after which a test gives up
SERVE = """
import sys
from pathlib import Path
from agenthub.records.hub import HubSettings
from agenthub.server.serve import serve
many = dict(pushes_per_hour=10_000, posts_per_hour=10_000, requests_per_minute=100_000)
settings = HubSettings(**many)
serve(Path(sys.argv[1]), port=int(sys.argv[2]), settings=settings, admin_key=sys.argv[3])
"""


def until(look: Callable[[], T | None], what: str) -> T:
    """What a look finds, as soon as it finds something."""
    ends = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < ends, f"waited in vain: {what}"
        time.sleep(0.02)
    return found


def environment(**more: str) -> dict[str, str]:
    """Of a process that runs this code, and knows no hub but the one it is told of."""
    places = [str(Path(autoresearch.__file__).parent.parent), str(Path(__file__).parent)]
    kept = {name: text for name, text in os.environ.items() if "HUB" not in name}
    return {**kept, "PYTHONPATH": os.pathsep.join(places), **more}


@dataclass
class HubProcess:
    """A hub's server on a port that stays its own over restarts."""

    data: Path
    port: int
    keys: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    project: str = "tiny"

    def within(self, project: str) -> HubProcess:
        """The same server, and a new project of it."""
        found = replace(self, project=project)
        found.make_project()
        return found

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Serve; returns when it listens."""
        words = [sys.executable, "-c", SERVE, str(self.data), str(self.port), ADMIN]
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, text=True, env=environment(), start_new_session=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith("hub: ")

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(30)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def key(self, agent: str) -> str:
        """An agent's key; the agent is made when it is new."""
        if agent not in self.keys:
            self.keys[agent] = HubClient(self.url).register(agent)["api_key"]
        return self.keys[agent]

    def client(self, agent: str) -> HubClient:
        """What an agent asks with."""
        return HubClient(self.url, self.key(agent), self.project)

    def make_project(self) -> None:
        """Make the project: it measures what the tiny lab prints, and takes any root."""
        body = {"slug": self.project, "metric": "score", "direction": "lower", "forest": True}
        HubClient(self.url, ADMIN)._post("projects", hub=True, **body)

    def results(self, agent: str | None = None) -> list[dict[str, Any]]:
        """All results, oldest first."""
        found = self.client("watcher").results(agent=agent, limit=200)["results"]
        return sorted(found, key=lambda row: row["seq"])


@contextlib.contextmanager
def hub_in(data: Path) -> Iterator[HubProcess]:
    """A hub with the tests' project, that is ended afterwards."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    hub = HubProcess(data, port)
    hub.start()
    try:
        yield hub
    finally:
        hub.kill()


# ---- loops -------------------------------------------------------------------------------------


def lab_of(folder: Path, **files: str) -> Path:
    """A tiny lab that runs without a sandbox, so that it is quick."""
    return make_lab(folder, **{"task_toml": OFF, **files})


def settings_of(hub: HubProcess, agent: str, **changed: Any) -> SwarmSettings:
    """Of a loop that looks often and replicates nothing, unless told otherwise."""
    usual = {"look": 0.05, "replicate": 0.0, "platform": PLATFORM, "parting": PATIENCE}
    return SwarmSettings(hub.url, hub.key(agent), hub.project, **{**usual, **changed})


@contextlib.contextmanager
def member_of(
    hub: HubProcess, lab: Path, agent: str, notes: list[str] | None = None, **changed: Any
) -> Iterator[tuple[Study, Member]]:
    """A study of a lab that takes part, in this process."""
    told = notes if notes is not None else []
    settings = settings_of(hub, agent, **changed)
    with (
        open_study(Task.load(lab), TAG, Greedy()) as study,
        joined(study, settings, told.append) as member,
    ):
        yield study, member


def loop(study: Study, member: Member, edits: list[Edit], trials: int | None = None) -> str:
    """Run a script of edits."""
    limits = StopLimits(trials=len(edits) if trials is None else trials)
    return research(study, ScriptedProposer(edits), limits, between=member.between)


class Counting:
    """Proposes scores that get worse, each one new, until a file says that it is enough."""

    name = "counting"

    def __init__(self, first: float, enough: Path) -> None:
        self.first = first
        self.enough = enough

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Write the next score: `first`, and a thousandth more each time."""
        if self.enough.exists():
            raise ProposerError("It is enough.")
        score = self.first + len(brief.history) / 1000
        (workspace / "train.py").write_text(f"SCORE = {score:.3f}\n")
        return Proposal(f"score {score:.3f}")


def enough(lab: Path) -> Path:
    """The file that ends a lab's loop."""
    return lab.with_suffix(".enough")


@dataclass
class Loop:
    """A loop in a process of its own."""

    process: subprocess.Popen[str]
    lab: Path
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def finish(self) -> int:
        """Let it end after the trial under way; its exit status."""
        enough(self.lab).touch()
        return self._ended()

    def _ended(self) -> int:
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._ended()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            self.notes += map(str.strip, lines)


@contextlib.contextmanager
def loop_process(
    hub: HubProcess, lab: Path, agent: str, first: float, **changed: Any
) -> Iterator[Loop]:
    """Start a loop that counts from a score on; it is killed if it still runs at the end."""
    told = {"lab": str(lab), "first": first}
    settings = asdict(settings_of(hub, agent, **changed))
    words = json.dumps({**told, "settings": settings})
    process = subprocess.Popen(
        [sys.executable, __file__, words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
        start_new_session=True,
    )
    started = Loop(process, lab)
    try:
        yield started
    finally:
        started.kill()


def trials_of(lab: Path) -> list[Trial]:
    """The finished trials of a lab's study."""
    task = Task.load(lab)
    path = StudyPaths(lab, TAG).ledger
    if not path.exists():
        return []
    with contextlib.closing(Ledger(path, task.metric)) as ledger:
        return [trial for trial in ledger.trials() if trial.state is State.APPLIED]


def unpublished(hub: HubProcess, lab: Path, agent: str) -> list[str]:
    """What is wrong between a study and the hub: every trial that ran is there, exactly once."""
    git, client, wrong = Git.discover(lab), hub.client("watcher"), []
    rows = hub.results(agent)
    ran = [trial for trial in trials_of(lab) if trial.own]
    for trial in ran:
        mine = [row for row in rows if row["seed"] == trial.own[0].seed]
        if len(mine) != 1:
            wrong.append(f"trial {trial.number} has {len(mine)} results")
            continue
        commit = client.commit(mine[0]["commit"])["commit"]
        kept = trial.status is not None and trial.status.value == "keep"
        seen = (mine[0]["status"], mine[0]["value"], commit["tree"], commit["role"])
        role = "frontier" if kept or commit["role"] == "frontier" else "attempt"
        value = trial.value if trial.status and trial.status.value != "crash" else None
        wanted = (
            str(trial.status and trial.status.public),
            value,
            git.lab_tree(trial.commit),
            role,
        )
        if seen != wanted:
            wrong.append(f"trial {trial.number}: {seen}, not {wanted}")
    if [row["seed"] for row in rows] != [trial.own[0].seed for trial in ran]:
        wrong.append("the results are not in the order of the trials")
    return wrong


def main(words: str) -> None:
    """One loop, as it is asked for; what it says of the hub goes to stdout."""
    asked = json.loads(words)
    settings = SwarmSettings(**asked["settings"])

    def say(text: str) -> None:
        print(text, flush=True)

    lab = Path(asked["lab"])
    proposer: Proposer = Counting(asked["first"], enough(lab))
    with (
        open_study(Task.load(lab), TAG, Greedy()) as study,
        joined(study, settings, say) as member,
    ):
        research(study, proposer, StopLimits(), on_note=say, between=member.between)


if __name__ == "__main__":
    main(sys.argv[1])
