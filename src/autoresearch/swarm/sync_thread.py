"""Courier: a thread that takes letters to the hub and brings news; the loop never waits for it.

While the hub is away it tries again, ever more seldom, and says so once; whatever happens here, the
study goes on.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from agenthub.client import AgentHubError, BadInput, HubError, TooMany
from agenthub.client.hub_client import HubClient
from autoresearch.errors import AutoResearchError, GitError, LedgerError
from autoresearch.lab.task import Task
from autoresearch.store.git import Git
from autoresearch.store.paths import StudyPaths
from autoresearch.swarm.discovery import Discovery, Duty, View
from autoresearch.swarm.hub_protocol import SENDING, check_ruler, client_of, is_agent, passes
from autoresearch.swarm.mirror_commits import Shadows
from autoresearch.swarm.outbox import Letter, Outbox
from autoresearch.swarm.settings import SwarmSettings

FIRST, LONGEST = 1.0, 300.0  # seconds of the first pause while the hub is away, and of any
PAGE = 200  # of our newest results, to see whether one arrived
LEASE_SECONDS = (900, 86_400)  # of a lease, at least and at most
MOST_TOLD = 100  # different things that a session says of its hub


@dataclass(frozen=True)
class StudyContext:
    """What it needs to know of a study. Nothing of it belongs to the loop's thread."""

    git: Git
    paths: StudyPaths
    task: Task
    base: str  # the commit that the study began with
    outbox: Path


@dataclass
class SyncThread:
    """Works from `start` to `stop`; what it finds is for the loop to read."""

    ground: StudyContext
    settings: SwarmSettings
    note: Callable[[str], None]
    view: View = field(default_factory=View, init=False)
    away: bool = field(default=False, init=False)
    stuck: bool = field(default=False, init=False)  # it takes no more from us for now
    ready: Duty | None = field(default=None, init=False)  # a result to run again

    def __post_init__(self) -> None:
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._leaving, self._wanted = threading.Event(), threading.Event()
        self._looked = 0.0
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="hub", daemon=True)

    # ---- for the loop --------------------------------------------------------------------------

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def hurry(self) -> None:
        """There is a letter."""
        self._wake.set()

    def want(self) -> None:
        """Somebody's result could be run again: look at once, and then as often as ever."""
        if not self._wanted.is_set():
            self._wanted.set()
            self._looked = 0.0
            self.hurry()

    def done(self) -> None:
        """What was ready is done, or given back."""
        self.ready = None
        self._wanted.clear()
        self.hurry()

    def stop(self, outbox: Outbox, max_seconds: float) -> None:
        """Send what waits, as far as it goes in so many seconds, and end."""
        self._leaving.set()
        self.hurry()
        ends = time.monotonic() + max_seconds
        while outbox.count() and self._thread.is_alive() and time.monotonic() < ends:
            if self.away or self.stuck:
                break
            time.sleep(0.02)
        self._stopping.set()
        self._wake.set()
        self._thread.join(2.0)

    # ---- the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with contextlib.closing(Outbox(self.ground.outbox)) as outbox:
                self._work(outbox)
        except LedgerError as error:
            self.away = True
            self.note(f"{error} The study goes on alone.")

    def _work(self, outbox: Outbox) -> None:
        errand, failed = self._errand(outbox), 0
        while not self._stopping.is_set():
            try:
                self._round(errand)
            except TooMany as error:
                self._full(error)
                continue
            except Exception as error:  # whatever it is: later it may go
                failed += 1
                self._gone(error, outbox)
                pause = min(FIRST * 2.0 ** min(failed - 1, 30), LONGEST)
                self._stopping.wait(pause * random.uniform(0.5, 1.0))
                continue
            failed = 0
            self._wake.wait(self._until_look())
            self._wake.clear()

    def _errand(self, outbox: Outbox) -> Errand:
        ground, client = self.ground, client_of(self.settings, SENDING)
        scout = Discovery(
            client, ground.git, ground.paths, ground.task, outbox, self.settings, ground.base
        )
        shadows = Shadows(ground.git, outbox, ground.paths)
        return Errand(client, outbox, shadows, scout, self._refused, self._stopping)

    def _round(self, errand: Errand) -> None:
        """Greet, look what is new, send what waits."""
        errand.greet(anew=self.away)
        self._back(errand.outbox)
        errand.outbox.contact()
        if not self._leaving.is_set() and self._until_look() <= 0:
            self._look(errand.scout)
        errand.send_all()
        self.stuck = False
        errand.outbox.contact()

    def _look(self, scout: Discovery) -> None:
        """See what is new; what the hub will not tell us is no reason to send it nothing."""
        try:
            self.view = scout.look()
            self._promise(scout)
        except HubError as error:
            if passes(error):
                raise
            self._say(f"The hub does not answer a question: {error}")
        self._looked = time.monotonic()

    def _promise(self, scout: Discovery) -> None:
        """Have a result ready to be run again, when one is wanted or was promised before."""
        if self.settings.replicate <= 0 or self.ready is not None:
            return
        self.ready = scout.promised()
        if self.ready is None and self._wanted.is_set():
            low, high = LEASE_SECONDS
            runs = self.settings.runs * self.ground.task.budget.timeout
            self.ready, told = scout.take(int(min(max(2 * runs + 600, low), high)))
            for words in told:
                self._say(words)

    def _until_look(self) -> float:
        """Seconds until the hub is looked at again."""
        ago = time.monotonic() - self._looked
        return max(0.0, self.settings.look - ago) if self._looked else 0.0

    # ---- what is said --------------------------------------------------------------------------

    def _gone(self, error: Exception, outbox: Outbox) -> None:
        if not self.away:
            self.away = True
            waiting = f"{outbox.count()} letters wait" if outbox.count() else "nothing waits"
            ours = isinstance(error, AutoResearchError | AgentHubError)
            why = str(error) if ours else repr(error)
            self.note(f"The hub is away, and the study goes on alone ({waiting}): {why}")

    def _full(self, error: TooMany) -> None:
        """The hub takes no more from us for now."""
        self.stuck = True
        self._say(f"The hub takes no more for now; the rest follows: {error}")
        self._stopping.wait(min(error.retry_after, LONGEST) * random.uniform(1.0, 1.2))

    def _back(self, outbox: Outbox) -> None:
        if self.away:
            self.away = False
            self.note(f"The hub is back; {outbox.count()} letters go out.")

    def _refused(self, letter: Letter, error: Exception) -> None:
        self._say(f"The hub does not take {letter.about}: {error}", once=str(error))

    def _say(self, words: str, once: str = "") -> None:
        """Say something, once."""
        if (once or words) not in self._told and len(self._told) < MOST_TOLD:
            self._told.add(once or words)
            self.note(words)


@dataclass
class Errand:
    """One way to the hub and back, with all that it takes."""

    client: HubClient
    outbox: Outbox
    shadows: Shadows
    scout: Discovery
    refused: Callable[[Letter, Exception], None]
    stopping: threading.Event
    agent: str = ""

    def greet(self, *, anew: bool = False) -> None:
        """Learn who we are there, and that the project measures what we measure."""
        if self.agent and not anew:
            return
        about = project_of(self.client.about())
        check_ruler(about, self.scout.task.metric, self.client.project)
        tiers = about.get("tiers")
        self.scout.tiers = tiers if isinstance(tiers, dict) else {}
        self.agent = self.scout.agent = whoami(self.client)
        self.outbox.remember(agent=self.agent, tier=self.scout.tier)

    def send_all(self) -> None:
        """All letters, the oldest first."""
        while not self.stopping.is_set() and (letter := self.outbox.next()) is not None:
            self.outbox.begin(letter)
            try:
                self._send(letter)
            except (HubError, GitError) as error:
                if passes(error):
                    raise
                self.outbox.refuse(letter, str(error))
                self.refused(letter, error)
            else:
                self.outbox.sent(letter)

    def _send(self, letter: Letter) -> None:
        body = letter.body
        if letter.kind == "trial":
            self._send_trial(letter)
        elif letter.kind == "verify":
            told = (body["result"], body["values"], body["platform"], body["tree"])
            with _once(letter):
                self.client.verify(*told)
        elif letter.kind == "finish":
            with _once(letter):
                self.client.finish(body["lease"], body["values"], body["platform"])
        else:
            with _whatever():
                if letter.kind == "release":
                    self.client.give_back(body["lease"])
                else:
                    self.client.finish_claim(body["claim"])

    def _send_trial(self, letter: Letter) -> None:
        """Its commit, and then what it gave."""
        body = letter.body
        shadow, above = self.shadows.make(body)
        self._push(shadow, above, body["role"])
        if letter.begun and self._arrived(shadow, letter):
            return
        self.client.publish(
            shadow,
            self.scout.settings.platform,
            body["status"],
            body["value"],
            memory_gb=body["memory_gb"],
            seconds=body["seconds"],
            seed=body["seed"],
            description=body["description"],
            metric=self.scout.task.metric.name,
        )

    def _push(self, shadow: str, above: tuple[str, ...], role: str) -> None:
        """Push one commit; with all below it, where the hub lacks what it builds on."""
        with tempfile.TemporaryDirectory(prefix="autoresearch-hub-") as scratch:
            bundle = Path(scratch) / "bundle"
            self.shadows.bundle(shadow, above, bundle)
            try:
                self.client.push(bundle, role)
            except BadInput:
                if not above:
                    raise
                self.shadows.bundle(shadow, (), bundle)
                self.client.push(bundle, role)

    def _arrived(self, shadow: str, letter: Letter) -> bool:
        """Whether the hub has this result already: its answer was lost on the way."""
        told = self.client.results(agent=self.agent, limit=PAGE).get("results")
        wanted = (shadow, letter.body["seed"], letter.body["status"])
        rows = [row for row in told if isinstance(row, dict)] if isinstance(told, list) else []
        return any(
            (row.get("commit"), row.get("seed"), row.get("status")) == wanted for row in rows
        )


def project_of(answer: dict[str, object]) -> dict[str, object]:
    """The project of an answer."""
    inner = answer.get("project", answer)
    return inner if isinstance(inner, dict) else {}


def whoami(client: HubClient) -> str:
    """The agent that the key belongs to."""
    told = client.me()
    inner = told.get("agent", told)
    name = inner.get("id") if isinstance(inner, dict) else inner
    if not is_agent(name):
        raise HubError(502, f"{client.url} does not say who this key belongs to. Is it a hub?")
    return str(name)


@contextlib.contextmanager
def _once(letter: Letter) -> Iterator[None]:
    """What was begun before may have arrived: that it is there already is no refusal then."""
    try:
        yield
    except HubError as error:
        if not (letter.begun and error.status == 409):
            raise


@contextlib.contextmanager
def _whatever() -> Iterator[None]:
    """A courtesy: what the hub thinks of it does not matter, unless it is away."""
    try:
        yield
    except HubError as error:
        if passes(error):
            raise
