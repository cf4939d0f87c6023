"""Discovery: fetch what others on the hub found; only the editable files are read."""

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
from autoresearch.swarm.hub_protocol import (
    HubResult,
    best_first,
    is_commit,
    is_temporary,
    parse_results,
    positive_int,
)
from autoresearch.swarm.mirror_commits import FACT
from autoresearch.swarm.outbox import Outbox
from autoresearch.swarm.settings import SwarmSettings

MOST = 64 << 20  # bytes of the bundle of one commit
MAX_FILE = 1 << 20  # bytes of one editable file
BOARD = 20  # results that are looked at
FETCHED = 5  # of these, fetched: the best ones
HAVES = 500  # of our commits, which the hub leaves out of a bundle
LEASE, UNFIT = "lease:", "unfit:"
MET, WHOLE, MIXED = "met:", "whole", "mixed"  # and a commit of the hub: how it was tried here
LISTED = 50  # waiting results that the hub lists at most
TRIES = 3  # leases that are taken to find one that can be run here
PLAIN = ("100644", "100755")


@dataclass(frozen=True)
class ForeignCommit:
    """Another agent's commit, fetched into this repository."""

    result: HubResult
    tree: str
    files: Mapping[str, bytes]  # the editable ones


@dataclass(frozen=True)
class ReplicationLease:
    """Another agent's result that the hub leased to this study, to be run here."""

    lease: int
    result: int
    theirs: str  # commit on the hub
    tree: str
    expires: int  # unix seconds
    commit: str = ""  # of ours: the same files, on our base


@dataclass(frozen=True)
class HubView:
    """The hub at the last look, for this study's tier."""

    replicated: tuple[HubResult, ...] = ()  # best first
    claimed: tuple[HubResult, ...] = ()  # best first
    commits: tuple[ForeignCommit, ...] = ()  # of others, best first


@dataclass
class Discovery:
    """Looks and fetches, in the thread of the sync. `base` is the commit that the study began at.

    Its methods raise HubError when the hub is away or busy; an answer that is wrong for good only
    means that there is nothing to be had.
    """

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

    # ---- commits that are worth trying ---------------------------------------------------------

    def look(self) -> HubView:
        """The boards of our tier, and the best commits of others, fetched."""
        replicated, claimed = (self._board(replicated=trusted) for trusted in (True, False))
        wanted = replicated if self.settings.trust == "replicated" else claimed
        commits = (self._fetch_result(result) for result in self._worth_fetching(wanted))
        return HubView(
            tuple(replicated), tuple(claimed), tuple(each for each in commits if each is not None)
        )

    def _worth_fetching(self, wanted: list[HubResult]) -> list[HubResult]:
        """The best results of others: those not tried here, and those not mixed in yet."""
        mine, met = set(self.outbox.facts(FACT).values()), self.outbox.facts(MET)
        new = [each for each in wanted if each.commit not in mine and each.commit not in met]
        whole = [each for each in wanted if met.get(each.commit) == WHOLE]
        return best_first([*new[:FETCHED], *whole[:FETCHED]], self.task.metric)

    def _board(self, *, replicated: bool) -> list[HubResult]:
        answer = self.client.leaderboard(tier=self.tier, replicated=replicated, limit=BOARD)
        return best_first(parse_results(answer.get("results")), self.task.metric)

    def _fetch_result(self, result: HubResult) -> ForeignCommit | None:
        """The commit of a result with its editable files; None when it lacks one of them."""
        try:
            self._fetch(result.commit)
            files = self._files(result.commit)
            return ForeignCommit(result, self.git.tree(result.commit), files)
        except GitError:
            return None
        except HubError as error:
            if is_temporary(error):
                raise
            return None

    def _fetch(self, commit: str) -> None:
        """Fetch a commit and pin it by a ref; GitError or HubError when that fails."""
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
            raise GitError(f"The hub did not send {commit}, which was requested.")
        self.git.set_ref(ref, commit)

    def _files(self, commit: str) -> dict[str, bytes]:
        """The editable files of another's commit; GitError when one is missing or too large."""
        known = self.git.listed(commit, self.task.editable)
        for name in self.task.editable:
            mode, size = known.get(name, ("", 0))
            if mode not in PLAIN:
                raise GitError(f"Commit {commit[:12]} has no plain file {name}.")
            if size > MAX_FILE:  # checked before it is read: a small pack may hold gigabytes
                raise GitError(f"{name} of commit {commit[:12]} has over {MAX_FILE:,} bytes.")
        return {name: self.git.read(commit, name) for name in self.task.editable}

    # ---- results to replicate ------------------------------------------------------------------

    def unfinished_lease(self) -> ReplicationLease | None:
        """A lease that an earlier session took and did not finish, if it can still be run."""
        for text in self.outbox.facts(LEASE).values():
            lease = ReplicationLease(**json.loads(text))
            if prepared := self._prepare(lease):
                return prepared
            self._return_unfit(lease)
        return None

    def take_lease(self, seconds: int) -> tuple[ReplicationLease | None, list[str]]:
        """A lease that can be run here, and a sentence about each one that was given back."""
        passed: list[ReplicationLease] = []
        lease = None
        while lease is None and len(passed) < TRIES and self._anything_waits(passed):
            taken = _parse_lease(self.client.take(self.settings.platform, seconds))
            if taken is None:
                break
            self.outbox.note(f"{LEASE}{taken.lease}", json.dumps(asdict(taken)))
            if (lease := self._prepare(taken)) is None:
                passed.append(taken)  # held until the end, so that we do not get it once more
        return lease, [self._return_unfit(each) for each in passed]

    def _anything_waits(self, passed: Iterable[ReplicationLease]) -> bool:
        """Whether a result waits that we never gave back; a full list may hide further ones."""
        rows = self.client.queue(tier=self.tier).get("results")
        if isinstance(rows, list) and len(rows) >= LISTED:
            return True
        known = {each.result for each in passed} | set(map(int, self.outbox.facts(UNFIT)))
        results = parse_results(rows)
        return any(each.agent != self.agent and each.seq not in known for each in results)

    def _prepare(self, lease: ReplicationLease) -> ReplicationLease | None:
        """The lease with a commit of ours that has exactly the measured files; None if impossible.

        Only editable files are taken from the hub's commit: no other may differ.
        """
        try:
            self._fetch(lease.theirs)
            theirs = self._files(lease.theirs).items()
            files = {self.git.prefix + name: content for name, content in theirs}
            commit = self.git.commit(self.base, files, f"result {lease.result} of the hub\n")
            same = self.git.lab_tree(commit) == lease.tree
        except GitError:
            return None
        except HubError as error:
            if is_temporary(error):
                raise
            return None
        return replace(lease, commit=commit) if same else None

    def _return_unfit(self, lease: ReplicationLease) -> str:
        return_lease(self.outbox, lease, unfit=True)
        return (
            f"Result {lease.result} of the hub is not run again here: other files than "
            f"{', '.join(self.task.editable)} differ from this study's. The lease was given back."
        )


def return_lease(outbox: Outbox, lease: ReplicationLease, *, unfit: bool = False) -> None:
    """Write a letter that gives a lease back. An unfit one cannot be run here, now or later."""
    with outbox.transaction():
        outbox.add(f"release:{lease.lease}", "release", {"lease": lease.lease})
        outbox.forget(f"{LEASE}{lease.lease}")
        if unfit:
            outbox.note(f"{UNFIT}{lease.result}", "1")


def finish_lease(
    outbox: Outbox, lease: ReplicationLease, values: list[float], platform: str
) -> None:
    """Write a letter with the values that the runs of a leased result gave."""
    body = {"lease": lease.lease, "values": values, "platform": platform, "tree": lease.tree}
    with outbox.transaction():
        outbox.add(f"finish:{lease.lease}", "finish", body)
        outbox.forget(f"{LEASE}{lease.lease}")


def _parse_lease(answer: Mapping[str, Any] | None) -> ReplicationLease | None:
    if answer is None:
        return None
    numbers = (answer.get(name) for name in ("id", "result", "expires"))
    lease, result, expires = map(positive_int, numbers)
    theirs, tree = answer.get("commit"), answer.get("tree")
    if not (is_commit(theirs) and is_commit(tree) and lease and result):
        return None
    return ReplicationLease(lease, result, str(theirs), str(tree), expires)
