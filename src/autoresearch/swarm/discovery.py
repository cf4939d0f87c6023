"""Scout: what others on the hub found, fetched as objects; only the editable files are read."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from agenthub.client import HubError, read_header, tier_of
from agenthub.client.hub_client import HubClient
from autoresearch.errors import GitError
from autoresearch.lab.task import Task
from autoresearch.store.git import Git
from autoresearch.store.paths import StudyPaths
from autoresearch.swarm.hub_protocol import Seen, best_first, is_commit, passes, seen, whole
from autoresearch.swarm.mirror_commits import FACT
from autoresearch.swarm.outbox import Outbox
from autoresearch.swarm.settings import SwarmSettings

MOST = 64 << 20  # bytes of one commit of others
MAX_FILE = 1 << 20  # bytes of one editable file
BOARD = 20  # results of others that are looked at
FETCHED = 5  # of these, fetched: the best ones
HAVES = 500  # commits that the hub is told we have
LEASE, UNFIT = "lease:", "unfit:"
MET, WHOLE, MIXED = "met:", "whole", "mixed"  # and a commit of the hub: how it was tried here
LISTED = 50  # results that the hub lists of those that wait: where it does, there may be more
TRIES = 3  # leases that are taken to find one that can be run here
PLAIN = ("100644", "100755")


@dataclass(frozen=True)
class Found:
    """A commit of somebody else, here."""

    seen: Seen
    tree: str
    files: Mapping[str, bytes]  # the editable ones


@dataclass(frozen=True)
class Duty:
    """Somebody's result that we have promised to run again."""

    lease: int
    result: int
    theirs: str  # commit on the hub
    tree: str
    expires: int
    commit: str = ""  # of ours: the same files, on our base


@dataclass(frozen=True)
class View:
    """The hub as it was seen last."""

    replicated: tuple[Seen, ...] = ()  # best first, of our tier
    claimed: tuple[Seen, ...] = ()
    found: tuple[Found, ...] = ()  # others' commits that are here, best first


@dataclass
class Discovery:
    """Looks and fetches, in the courier's thread. `base` is the commit that the study began at."""

    client: HubClient
    git: Git
    paths: StudyPaths
    task: Task
    outbox: Outbox
    settings: SwarmSettings
    base: str
    tiers: Mapping[str, str] = field(default_factory=dict)
    agent: str = ""

    @property
    def tier(self) -> str:
        """The kind of machine that this one is."""
        return tier_of(self.settings.platform, self.tiers)

    # ---- what is worth taking over -------------------------------------------------------------

    def look(self) -> View:
        """The boards of our tier, and the best commits of others, fetched."""
        replicated, claimed = (self._board(replicated=trusted) for trusted in (True, False))
        wanted = replicated if self.settings.trust == "replicated" else claimed
        found = (self._met(each) for each in self._worth_fetching(wanted))
        return View(tuple(replicated), tuple(claimed), tuple(each for each in found if each))

    def _worth_fetching(self, wanted: list[Seen]) -> list[Seen]:
        """The best that are not ours: some that were not tried here, some to be mixed in yet."""
        mine, met = set(self.outbox.facts(FACT).values()), self.outbox.facts(MET)
        new = [each for each in wanted if each.commit not in mine and each.commit not in met]
        whole = [each for each in wanted if met.get(each.commit) == WHOLE]
        return best_first([*new[:FETCHED], *whole[:FETCHED]], self.task.metric)

    def _board(self, *, replicated: bool) -> list[Seen]:
        told = self.client.leaderboard(tier=self.tier, replicated=replicated, limit=BOARD)
        return best_first(seen(told.get("results")), self.task.metric)

    def _met(self, each: Seen) -> Found | None:
        """A commit of others with its editable files; None where it has no such."""
        try:
            self._fetch(each.commit)
            files = self._files(each.commit)
            return Found(each, self.git.tree(each.commit), files)
        except GitError:
            return None
        except HubError as error:
            if passes(error):
                raise
            return None

    def _fetch(self, commit: str) -> None:
        """Have a commit of others, pinned; GitError, or the hub's error, when it cannot be had."""
        ref = f"{self.paths.met}{commit}"
        if self.git.ref(ref) == commit:
            return
        haves = [*self.git.refs(self.paths.met).values()][:HAVES]
        with tempfile.TemporaryDirectory(prefix="autoresearch-hub-") as scratch:
            bundle = Path(scratch) / "bundle"
            self.client.fetch(commit, bundle, haves, MOST)
            content = bundle.read_bytes()
        header = read_header(io.BytesIO(content))
        self.git.take_pack(content[header.size :])
        if self.git.resolve(commit) != commit:
            raise GitError(f"The hub did not send {commit}, which was asked for.")
        self.git.set_ref(ref, commit)

    def _files(self, commit: str) -> dict[str, bytes]:
        """The editable files of a commit of others; GitError when it lacks one."""
        known = self.git.listed(commit, self.task.editable)
        for name in self.task.editable:
            mode, size = known.get(name, ("", 0))
            if mode not in PLAIN:
                raise GitError(f"Commit {commit[:12]} has no plain file {name}.")
            if size > MAX_FILE:  # asked before it is read: a small pack may hold gigabytes
                raise GitError(f"{name} of commit {commit[:12]} has over {MAX_FILE:,} bytes.")
        return {name: self.git.read(commit, name) for name in self.task.editable}

    # ---- what others want to be run again ------------------------------------------------------

    def promised(self) -> Duty | None:
        """A duty that an earlier session took and did not do, if it is still ours."""
        for told in self.outbox.facts(LEASE).values():
            duty = Duty(**json.loads(told))
            if made := self._doable(duty):
                return made
            self._unfit(duty)
        return None

    def take(self, seconds: int) -> tuple[Duty | None, list[str]]:
        """A result to run again, and in words what was given back."""
        passed: list[Duty] = []
        duty = None
        while duty is None and len(passed) < TRIES and self._waits(passed):
            taken = self._taken(self.client.take(self.settings.platform, seconds))
            if taken is None:
                break
            self.outbox.note(f"{LEASE}{taken.lease}", json.dumps(asdict(taken)))
            if (duty := self._doable(taken)) is None:
                passed.append(taken)  # held until the end, so that it is not given to us again
        return duty, [self._unfit(each) for each in passed]

    def _waits(self, passed: Iterable[Duty]) -> bool:
        """Whether something waits that we have not given back before, as far as the list goes."""
        told = self.client.queue(tier=self.tier).get("results")
        if isinstance(told, list) and len(told) >= LISTED:
            return True
        known = {each.result for each in passed} | set(map(int, self.outbox.facts(UNFIT)))
        return any(each.agent != self.agent and each.seq not in known for each in seen(told))

    def _taken(self, lease: Mapping[str, Any] | None) -> Duty | None:
        if lease is None:
            return None
        told = (lease.get(name) for name in ("id", "result", "expires"))
        lease_id, result, expires = map(whole, told)
        theirs, tree = lease.get("commit"), lease.get("tree")
        if not (is_commit(theirs) and is_commit(tree) and lease_id and result):
            return None
        return Duty(lease_id, result, str(theirs), str(tree), expires)

    def _doable(self, duty: Duty) -> Duty | None:
        """The duty with a commit of ours that has exactly the files that were measured."""
        try:
            self._fetch(duty.theirs)
            theirs = self._files(duty.theirs).items()
            files = {self.git.prefix + name: content for name, content in theirs}
            commit = self.git.commit(self.base, files, f"result {duty.result} of the hub\n")
            same = self.git.lab_tree(commit) == duty.tree
        except GitError:
            return None
        except HubError as error:
            if passes(error):
                raise
            return None
        return replace(duty, commit=commit) if same else None

    def _unfit(self, duty: Duty) -> str:
        """Give a lease back, and remember that it cannot be done here."""
        give_back(self.outbox, duty, unfit=True)
        return (
            f"Result {duty.result} of the hub is not run again here: other files than "
            f"{', '.join(self.task.editable)} differ from this study's. The lease was given back."
        )


def give_back(outbox: Outbox, duty: Duty, *, unfit: bool = False) -> None:
    """Write that a lease is not used after all."""
    with outbox.whole():
        outbox.add(f"release:{duty.lease}", "release", {"lease": duty.lease})
        outbox.forget(f"{LEASE}{duty.lease}")
        if unfit:
            outbox.note(f"{UNFIT}{duty.result}", "1")


def fulfil(outbox: Outbox, duty: Duty, values: list[float], platform: str) -> None:
    """Write what a promised result gave."""
    body = {"lease": duty.lease, "values": values, "platform": platform, "tree": duty.tree}
    with outbox.whole():
        outbox.add(f"finish:{duty.lease}", "finish", body)
        outbox.forget(f"{LEASE}{duty.lease}")
