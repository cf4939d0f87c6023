"""The thread that sends a study's letters to the hub and fetches news; the loop never waits for it.

While the hub is away, the thread tries again after longer and longer pauses, and reports it once.
No error here ends the study.
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
from autoresearch.swarm.discovery import Discovery, HubView, ReplicationLease
from autoresearch.swarm.hub_protocol import (
    SENDING,
    check_metric,
    client_of,
    is_temporary,
    parse_project,
    whoami,
)
from autoresearch.swarm.mirror_commits import MirrorCommits
from autoresearch.swarm.outbox import Letter, Outbox
from autoresearch.swarm.settings import SwarmSettings

FIRST, LONGEST = 1.0, 300.0  # seconds of the first pause while the hub is away, and of any
PAGE = 200  # of our newest results, to see whether one arrived
LEASE_SECONDS = (900, 86_400)  # of a lease, at least and at most
MOST_NOTES = 100  # different notes of one session about its hub


@dataclass(frozen=True)
class StudyContext:
    """What the thread needs of a study. None of it belongs to the loop's thread."""

    git: Git
    paths: StudyPaths
    task: Task
    base: str  # the commit that the study began with
    outbox: Path


@dataclass
class SyncThread:
    """Works from `start` to `stop`; the loop reads `view`, `away`, `throttled` and `lease`."""

    context: StudyContext
    settings: SwarmSettings
    note: Callable[[str], None]
    view: HubView = field(default_factory=HubView, init=False)
    away: bool = field(default=False, init=False)  # the hub did not answer
    throttled: bool = field(default=False, init=False)  # the hub takes no more from us for now
    lease: ReplicationLease | None = field(default=None, init=False)  # a result to replicate

    def __post_init__(self) -> None:
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._leaving, self._lease_wanted = threading.Event(), threading.Event()
        self._last_look = 0.0
        self._noted: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="hub", daemon=True)

    # ---- for the loop --------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Have it send a new letter soon."""
        self._wake.set()

    def request_lease(self) -> None:
        """Have it take a result to replicate: at once, and then at each look until it has one."""
        if not self._lease_wanted.is_set():
            self._lease_wanted.set()
            self._last_look = 0.0
            self.wake()

    def clear_lease(self) -> None:
        """The loop has finished the lease, or given it back."""
        self.lease = None
        self._lease_wanted.clear()
        self.wake()

    def stop(self, outbox: Outbox, max_seconds: float) -> None:
        """Send what waits, for so many seconds at most, and end."""
        self._leaving.set()
        self.wake()
        ends = time.monotonic() + max_seconds
        while outbox.count() and self._thread.is_alive() and time.monotonic() < ends:
            if self.away or self.throttled:
                break
            time.sleep(0.02)
        self._stopping.set()
        self._wake.set()
        self._thread.join(2.0)

    # ---- the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with contextlib.closing(Outbox(self.context.outbox)) as outbox:
                self._work(outbox)
        except LedgerError as error:
            self.away = True
            self.note(f"{error} The study goes on alone.")

    def _work(self, outbox: Outbox) -> None:
        session, failed = self._open_session(outbox), 0
        while not self._stopping.is_set():
            try:
                self._sync(session)
            except TooMany as error:
                self.throttled = True
                self._note_once(f"The hub takes no more for now; the rest follows: {error}")
                self._stopping.wait(min(error.retry_after, LONGEST) * random.uniform(1.0, 1.2))
                continue
            except Exception as error:  # of any kind: a later try may succeed
                failed += 1
                self._note_away(error, outbox)
                pause = min(FIRST * 2.0 ** min(failed - 1, 30), LONGEST)
                self._stopping.wait(pause * random.uniform(0.5, 1.0))
                continue
            failed = 0
            self._wake.wait(self._until_look())
            self._wake.clear()

    def _open_session(self, outbox: Outbox) -> HubSession:
        context, client = self.context, client_of(self.settings, SENDING)
        discovery = Discovery(
            client, context.git, context.paths, context.task, outbox, self.settings, context.base
        )
        mirrors = MirrorCommits(context.git, outbox, context.paths)
        return HubSession(client, outbox, mirrors, discovery, self._note_refusal, self._stopping)

    def _sync(self, session: HubSession) -> None:
        """Check the project, look for news when it is time, send what waits."""
        session.check_in(force=self.away)
        if self.away:
            self.away = False
            self.note(f"The hub is back; {session.outbox.count()} letters go out.")
        session.outbox.record_contact()
        if not self._leaving.is_set() and self._until_look() <= 0:
            self._look(session.discovery)
        session.send_all()
        self.throttled = False
        session.outbox.record_contact()

    def _look(self, discovery: Discovery) -> None:
        """Fetch news. If the hub refuses a question, letters are sent all the same."""
        try:
            self.view = discovery.look()
            if self.settings.replicate > 0 and self.lease is None:
                self._find_lease(discovery)
        except HubError as error:
            if is_temporary(error):
                raise
            self._note_once(f"The hub does not answer a question: {error}")
        self._last_look = time.monotonic()

    def _find_lease(self, discovery: Discovery) -> None:
        """Have a lease ready: one of an earlier session, or a new one if the loop requested it."""
        self.lease = discovery.unfinished_lease()
        if self.lease is None and self._lease_wanted.is_set():
            low, high = LEASE_SECONDS
            runs = self.settings.runs * self.context.task.budget.timeout
            seconds = int(min(max(2 * runs + 600, low), high))
            self.lease, returned = discovery.take_lease(seconds)
            for sentence in returned:
                self._note_once(sentence)

    def _until_look(self) -> float:
        """Seconds until the next look at the hub."""
        ago = time.monotonic() - self._last_look
        return max(0.0, self.settings.look - ago) if self._last_look else 0.0

    # ---- notes for the user --------------------------------------------------------------------

    def _note_away(self, error: Exception, outbox: Outbox) -> None:
        if not self.away:
            self.away = True
            waiting = f"{outbox.count()} letters wait" if outbox.count() else "nothing waits"
            ours = isinstance(error, AutoResearchError | AgentHubError)
            why = str(error) if ours else repr(error)
            self.note(f"The hub is away, and the study goes on alone ({waiting}): {why}")

    def _note_refusal(self, letter: Letter, error: Exception) -> None:
        self._note_once(f"The hub does not take {letter.about}: {error}", topic=str(error))

    def _note_once(self, text: str, topic: str = "") -> None:
        """Pass a note on, unless one with the same topic (by default its text) went before."""
        if (topic or text) not in self._noted and len(self._noted) < MOST_NOTES:
            self._noted.add(topic or text)
            self.note(text)


@dataclass
class HubSession:
    """The thread's exchange with the hub: it checks in, and sends letters one by one."""

    client: HubClient
    outbox: Outbox
    mirrors: MirrorCommits
    discovery: Discovery
    on_refusal: Callable[[Letter, Exception], None]
    stopping: threading.Event
    agent: str = ""  # empty: not checked in yet

    def check_in(self, *, force: bool = False) -> None:
        """Learn our name there, and check the project's metric; WrongProject if it differs."""
        if self.agent and not force:
            return
        about = parse_project(self.client.about())
        check_metric(about, self.discovery.task.metric, self.client.project)
        tiers = about.get("tiers")
        self.discovery.tiers = tiers if isinstance(tiers, dict) else {}
        self.agent = self.discovery.agent = whoami(self.client)
        self.outbox.remember(agent=self.agent, tier=self.discovery.tier)

    def send_all(self) -> None:
        """Send all letters, the oldest first."""
        while not self.stopping.is_set() and (letter := self.outbox.next()) is not None:
            self.outbox.begin(letter)
            try:
                self._send(letter)
            except (HubError, GitError) as error:
                if is_temporary(error):
                    raise
                self.outbox.refuse(letter, str(error))
                self.on_refusal(letter, error)
            else:
                self.outbox.sent(letter)

    def _send(self, letter: Letter) -> None:
        body = letter.body
        if letter.kind == "trial":
            self._send_trial(letter)
        elif letter.kind == "verify":
            with _once(letter):
                self.client.verify(body["result"], body["values"], body["platform"], body["tree"])
        elif letter.kind == "finish":
            with _once(letter):
                self.client.finish(body["lease"], body["values"], body["platform"])
        else:
            with _ignoring_refusals():
                if letter.kind == "release":
                    self.client.give_back(body["lease"])
                else:
                    self.client.finish_claim(body["claim"])

    def _send_trial(self, letter: Letter) -> None:
        """Push the mirror of a trial's commit, and publish its result."""
        body = letter.body
        mirror, parents = self.mirrors.make(body)
        self._push(mirror, parents, body["role"])
        if letter.begun and self._arrived(mirror, letter):
            return
        self.client.publish(
            mirror,
            self.discovery.settings.platform,
            body["status"],
            body["value"],
            memory_gb=body["memory_gb"],
            seconds=body["seconds"],
            seed=body["seed"],
            description=body["description"],
            metric=self.discovery.task.metric.name,
        )

    def _push(self, mirror: str, parents: tuple[str, ...], role: str) -> None:
        """Push one commit; with all its ancestors, if the hub lacks its parents."""
        with tempfile.TemporaryDirectory(prefix="autoresearch-hub-") as scratch:
            bundle = Path(scratch) / "bundle"
            self.mirrors.bundle(mirror, parents, bundle)
            try:
                self.client.push(bundle, role)
            except BadInput:
                if not parents:
                    raise
                self.mirrors.bundle(mirror, (), bundle)
                self.client.push(bundle, role)

    def _arrived(self, mirror: str, letter: Letter) -> bool:
        """Whether the hub has this result already: its answer was lost on the way."""
        found = self.client.results(agent=self.agent, limit=PAGE).get("results")
        wanted = (mirror, letter.body["seed"], letter.body["status"])
        rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
        return any(
            (row.get("commit"), row.get("seed"), row.get("status")) == wanted for row in rows
        )


@contextlib.contextmanager
def _once(letter: Letter) -> Iterator[None]:
    """Take a conflict for success if the letter was sent before: it had arrived."""
    try:
        yield
    except HubError as error:
        if not (letter.begun and error.status == 409):
            raise


@contextlib.contextmanager
def _ignoring_refusals() -> Iterator[None]:
    """For a courtesy to the hub: only a hub that is away or busy counts as an error."""
    try:
        yield
    except HubError as error:
        if is_temporary(error):
            raise
