"""`Hub`: an open data folder with everything in it, and the operations across several tables."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from agenthub.errors import Unavailable
from agenthub.files import remove_tree
from agenthub.git.ingest import Announced, NewCommit, Pushed, receive
from agenthub.git.policy import Protected, PushLimits
from agenthub.git.repository import GitSettings, Repository
from agenthub.records.agents import Accounts, Caller, read_pepper
from agenthub.records.audit import Audit
from agenthub.records.board import Board, Post
from agenthub.records.buckets import Buckets, Limit, Quotas, Rates, address_subject
from agenthub.records.checking import unsettled
from agenthub.records.claims import Claims
from agenthub.records.commits import ATTEMPT, FRONTIER, Commits, Index
from agenthub.records.database import Database
from agenthub.records.events import Events
from agenthub.records.projects import DEFAULT, Project, Projects, Rules
from agenthub.records.replication import Replication
from agenthub.records.results import (
    Leaderboard,
    Result,
    Results,
    projects_of,
    recompute_tiers,
    recompute_verdicts,
)

HOUR, DAY = 3600.0, 86400.0
MIB = 2**20


@dataclass(frozen=True)
class HubSettings:
    """The settings of a hub's operator."""

    max_bundle_mb: float = 50.0
    pushes_per_hour: int = 600  # of an agent, failed ones too
    posts_per_hour: int = 100
    records_per_hour: int = 1000  # of an agent: results, claims, verifications, leases, keys, each
    diffs_per_hour: int = 60
    registrations_per_hour: int = 10  # from one address
    requests_per_minute: int = 1200
    mb_per_day: float = 500.0  # of an agent's uploads, failed pushes too
    agent_quota_mb: float = 1000.0
    project_quota_mb: float = 20000.0
    pushes_in_line: int = 64  # waiting pushes; more are refused, to retry later
    connections: int = 4096  # at once
    connections_each: int | None = None  # of an address; None: an eighth, at least 64
    head_seconds: float = 10.0  # for a request up to its body
    idle_seconds: float = 15.0  # without a byte of a body
    body_seconds: float = 600.0  # for a whole body
    stranger_seconds: float = 15.0  # for a whole body sent without a key
    unread_seconds: float = 30.0  # for a client to read some of its answer
    bodies_mb: float = 64.0  # of bodies in memory, and as much of fetches; pushes are in files
    finish_seconds: float = 30.0  # for running requests when the server stops
    public_page: bool = True  # whether the page for people needs no key
    limits: PushLimits = field(default_factory=PushLimits)
    git: GitSettings = field(default_factory=GitSettings)


@dataclass(frozen=True)
class Space:
    """One project: its rules, and everything pushed, posted and measured in it."""

    project: Project
    repository: Repository
    commits: Commits
    board: Board
    results: Results
    leaderboard: Leaderboard
    replication: Replication
    claims: Claims


class Hub:
    """One hub. `open_hub` opens it and holds its lock. Every method is thread-safe."""

    def __init__(
        self, data: Path, database: Database, accounts: Accounts, settings: HubSettings
    ) -> None:
        self.data = data
        self.spool = data / "incoming" / "_spool"  # uploads; no project can have this name
        self.settings = settings
        self.database = database
        self.accounts = accounts
        self.audit = Audit(database)
        self.events = Events(database)
        self.buckets = Buckets(database)
        self.quotas = Quotas(database)
        self.requests = Rates(Limit(self.settings.requests_per_minute, 60.0))
        self.projects = Projects(database)
        self._repositories: dict[str, Repository] = {}
        self._ruling = threading.Lock()  # changes by the admin run one after another
        self._opening = threading.Lock()
        self._notes = ThreadPoolExecutor(1, "hub-notes")
        accounts.later = self._notes.submit
        self.projects.default()
        self._settle_all()
        remove_tree(self.spool)
        self.spool.mkdir(parents=True, mode=0o700)

    def close(self) -> None:
        """Close the database and the repositories."""
        self._notes.shutdown()
        for repository in self._repositories.values():
            repository.close()
        self.database.close()

    def space(self, slug: str = DEFAULT) -> Space:
        """A project with everything in it; Missing when there is none of that name."""
        project, database = self.projects.get(slug), self.database
        return Space(
            project,
            self._repository(slug),
            Commits(database, project.id),
            Board(database, project.id),
            Results(database, project.id),
            Leaderboard(database, project.id),
            Replication(database, project.id),
            Claims(database, project.id),
        )

    # ---- pushing -------------------------------------------------------------------------------

    def push(
        self, caller: Caller, bundle: Path, slug: str = DEFAULT, role: str = FRONTIER,
        *, counted: bool = False,
    ) -> Pushed:  # fmt: skip
        """Take a bundle in, whole or not at all; results that named its commits get them.

        `role` is "frontier", or "attempt" for what was tried and put aside. `counted` says that
        `count_push` and `count_bytes` were called already, while the bundle came in.
        """
        caller.need("push")
        if not counted:
            self.count_push(caller)
            self.count_bytes(caller, bundle.stat().st_size)
        space = self.space(slug)
        index = self.index(caller, space, role, bundle.stat().st_size)
        pushed = self._receive(space, index, bundle)
        if role == FRONTIER:
            self._promote(index, pushed.heads)
        return pushed

    def push_refs(
        self, caller: Caller, body: Path, slug: str, announced: Announced, frontier: Sequence[str]
    ) -> Pushed:
        """Take a push by git in, as `push` takes a bundle; it was counted while it came in.

        Commits that the `frontier` heads reach go to the frontier, all others are attempts.
        """
        caller.need("push")
        space = self.space(slug)
        size = body.stat().st_size
        index = self.index(caller, space, ATTEMPT, size, frontier=frontier)
        pushed = self._receive(space, index, body, announced)
        self._promote(index, frontier)
        return pushed

    def _receive(
        self, space: Space, index: Index, body: Path, announced: Announced | None = None
    ) -> Pushed:
        def settle(new: Sequence[NewCommit]) -> int:
            return space.results.settle([commit.sha for commit in new])

        limits, protected = self.limits(space), self.protected(space)
        return receive(body, space.repository, index, limits, protected, settle, announced)

    def _promote(self, index: Index, heads: Sequence[str]) -> None:
        """Heads may have been known before, as attempts."""
        with self.database.write():
            for head in heads:
                index.promote(head)

    def index(
        self, caller: Caller, space: Space, role: str = FRONTIER, size: int = 0,
        *, frontier: Sequence[str] = (),
    ) -> Index:  # fmt: skip
        """The index of a project's commits, for an agent to add to."""
        assert role in (FRONTIER, ATTEMPT), role
        quotas = self.settings.agent_quota_mb, self.settings.project_quota_mb
        each, whole = (int(megabytes * MIB) for megabytes in quotas)
        return Index(
            self.database, space.project.id, caller.agent, role, frontier=frontier, size=size,
            quotas=(each, whole), admin="admin" in caller.scopes,
        )  # fmt: skip

    def limits(self, space: Space) -> PushLimits:
        """The caps on a push: the hub's, as changed by the project; bytes only downwards."""
        ruled, known = space.project.rules.limits, {item.name for item in fields(PushLimits)}
        own = {name: int(value) for name, value in ruled.items() if name in known}
        most = int(self.settings.max_bundle_mb * MIB)
        own["bundle_bytes"] = min(most, own.get("bundle_bytes", most))
        return replace(self.settings.limits, **own)

    def protected(self, space: Space) -> Protected:
        """The files that a project's commits may not change."""
        rules = space.project.rules
        return Protected(rules.protected, rules.on_protected == "refuse", space.project.root)

    def count_push(self, caller: Caller) -> None:
        """Count one push, before the work, so that failures count; TooMany over the rate."""
        self._take(caller, "push", self.settings.pushes_per_hour)

    def count_bytes(self, caller: Caller, size: int, *, spent: bool = False) -> None:
        """Count bytes that an agent sends; TooMany over its daily share.

        `spent` bytes belong to an upload that failed: they count, however little is left.
        """
        limit = Limit(self.settings.mb_per_day * MIB, DAY)
        count = self.buckets.charge if spent else self.buckets.take
        count(f"agent:{caller.agent}", "bytes", limit, max(1, size))

    # ---- posting -------------------------------------------------------------------------------

    def post(
        self, caller: Caller, channel: str, content: str, parent: int | None = None,
        slug: str = DEFAULT,
    ) -> tuple[Post, Result | None]:  # fmt: skip
        """Write a post, and the result in it when its first line is the protocol's result line."""
        caller.need("post")
        space = self.space(slug)
        space.board.channel(channel)  # 404 before anything is counted
        self._take(caller, "post", self.settings.posts_per_hour)
        with self.database.write():
            post = space.board.post(channel, caller.agent, content, parent)
            return post, space.results.from_post(caller.agent, content, post.id)

    # ---- administration ------------------------------------------------------------------------

    def change_project(self, slug: str, rules: Rules, actor: str = "admin") -> Project:
        """Change a project's rules, and recompute its tiers and verdicts."""
        with self._ruling:
            made = self.projects.change(slug, rules, actor)
            recompute_tiers(self.database, made.id)
            recompute_verdicts(self.database, made.id)
            return made

    def set_runner(self, id: str, runner: bool = True, actor: str = "admin") -> None:
        """Trust an agent's verifications alone, or stop it, and recompute the verdicts."""
        with self._ruling:
            self.accounts.set_runner(id, runner, actor)
            for project in projects_of(self.database, id):
                recompute_verdicts(self.database, project)

    # ---- limits on all -----------------------------------------------------------------------

    def count_request(self, subject: str) -> None:
        """Count one request of `agent:ID` or `ip:ADDRESS`; TooMany over the rate."""
        self.requests.take(subject)

    def count_registration(self, address: str) -> None:
        """Count one registration from an address; TooMany over the rate."""
        limit = Limit(self.settings.registrations_per_hour, HOUR)
        self.buckets.take(address_subject(address), "register", limit)

    def count_diff(self, caller: Caller) -> None:
        """Count one diff of an agent; TooMany over the rate."""
        self._take(caller, "diff", self.settings.diffs_per_hour)

    def _take(self, caller: Caller, action: str, per_hour: int) -> None:
        self.buckets.take(f"agent:{caller.agent}", action, Limit(per_hour, HOUR))

    # ---- inside --------------------------------------------------------------------------------

    def _settle_all(self) -> None:
        """Link posted results that an earlier version, killed after a push, did not link."""
        for row in self.database.rows("SELECT id FROM projects"):
            if found := unsettled(self.database, row["id"]):
                Results(self.database, row["id"]).settle([each["sha"] for each in found])

    def _repository(self, slug: str) -> Repository:
        with self._opening:
            found = self._repositories.get(slug)
            if found is None:
                folder = self.data / "projects" / slug / "repo.git"
                found = Repository.create(folder, self.data / "incoming" / slug, self.settings.git)
                found.sweep()
                self._repositories[slug] = found
            return found


@contextlib.contextmanager
def open_hub(
    data: Path, settings: HubSettings | None = None, admin_key: str | None = None
) -> Iterator[Hub]:
    """Open a data folder, created if missing, and hold its lock; Unavailable if it is served."""
    data = data.absolute()
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _held(data / "lock"):
        database = Database(data / "hub.db")
        try:
            accounts = Accounts(database, read_pepper(data / "pepper"), admin_key)
            hub = Hub(data, database, accounts, settings or HubSettings())
        except BaseException:
            database.close()
            raise
        with contextlib.closing(hub):
            yield hub


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Lock the data folder for one server; the kernel releases it when the process ends."""
    with path.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            stream.seek(0)
            raise Unavailable(
                f"The hub in {path.parent} is served already, by {stream.read().strip()}. "
                "Stop that one first, or give this one a --data folder of its own."
            ) from error
        stream.truncate(0)
        stream.write(f"process {os.getpid()}")
        stream.flush()
        yield
