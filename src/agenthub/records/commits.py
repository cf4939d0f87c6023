"""The index of a project's commits: the graph, without a call of git.

The frontier is for building on; attempts are discards and crashes, pushed for others to look at.
A leaf is a frontier commit without frontier children: an attempt on top of it does not hide it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from sqlite3 import Connection, Row

from agenthub.errors import BadInput, Conflict, Missing
from agenthub.git.ingest import NewCommit
from agenthub.records.buckets import Quotas
from agenthub.records.database import Database, narrowed, upto
from agenthub.records.events import PAGE, Events, capped
from agenthub.records.projects import Counts, Projects
from agenthub.validation import check_abbreviation, shown

FRONTIER, ATTEMPT = "frontier", "attempt"
CHAIN = 1_000  # the most commits of one lineage


@dataclass(frozen=True)
class Commit:
    """A commit as the hub knows it."""

    seq: int
    sha: str
    tree: str
    parents: tuple[str, ...]
    agent: str  # pushed it first, proved by its key
    subject: str
    author: str  # as written in the commit: unproven
    author_time: int
    patch_id: str
    flags: tuple[str, ...]
    role: str  # frontier or attempt
    n_children: int  # of the frontier
    received: int

    @property
    def is_leaf(self) -> bool:
        """Whether it is on the frontier and nothing there builds on it."""
        return self.role == FRONTIER and self.n_children == 0


class Commits:
    """The commits of one project, read-only."""

    def __init__(self, database: Database, project: int) -> None:
        self._db = database
        self._project = project

    def find(self, sha: str) -> Commit | None:
        """One commit by its whole hash; None when unknown."""
        return next(iter(self._read("project = ? AND sha = ?", self._project, sha)), None)

    def get(self, prefix: str) -> Commit:
        """One commit by its hash or an unambiguous beginning of it, as `resolve` says."""
        found = self.find(self.resolve(prefix))
        assert found is not None, "what resolves is there, and stays"
        return found

    def resolve(self, prefix: str) -> str:
        """The whole hash for 7 digits or more; BadInput, Missing, or Conflict if ambiguous."""
        check_abbreviation(prefix)
        rows = self._db.rows(
            "SELECT sha FROM commits WHERE project = ? AND sha >= ? AND sha < ? LIMIT 11",
            *(self._project, prefix, f"{prefix}g"),
        )
        if len(rows) > 1:
            raise Conflict(
                f"{shown(prefix)} could be several commits. Give more digits.",
                candidates=[row["sha"] for row in rows[:10]],
            )
        if not rows:
            raise Missing(f"commit not found: {prefix}. It was not pushed to this project.")
        return str(rows[0]["sha"])

    def page(
        self, limit: int = 50, before: int | None = None,
        *, agent: str | None = None, role: str | None = None, offset: int = 0,
    ) -> tuple[Commit, ...]:  # fmt: skip
        """The newest commits, or those before a seq; newest first."""
        return self._newest("project = ?", limit, before, offset, agent=agent, role=role)

    def leaves(
        self, limit: int = 50, before: int | None = None, *, agent: str | None = None
    ) -> tuple[Commit, ...]:
        """Leaves, newest first: frontier commits that no other frontier commit builds on."""
        where = "project = ? AND n_children = 0 AND role = 'frontier'"
        return self._newest(where, limit, before, agent=agent)

    def children(self, sha: str, limit: int = PAGE, after: int = 0) -> tuple[Commit, ...]:
        """Commits with this one among their parents, attempts too; oldest first."""
        return self._read(
            "seq IN (SELECT child FROM edges WHERE parent = "
            "(SELECT seq FROM commits WHERE project = ? AND sha = ?) AND child > ? "
            "ORDER BY child LIMIT ?) ORDER BY seq",
            *(self._project, sha, after, capped(limit)),
        )

    def lineage(self, sha: str, limit: int = CHAIN) -> tuple[Commit, ...]:
        """A commit, its first parent, that one's first parent, and so on to the root."""
        rows = self._db.rows(
            "WITH RECURSIVE chain(seq, step) AS ("
            "  SELECT seq, 1 FROM commits WHERE project = ? AND sha = ?"
            "  UNION ALL SELECT parent, step + 1 FROM chain JOIN edges ON child = chain.seq"
            "  WHERE idx = 0 AND step < ?) "
            "SELECT c.* FROM chain JOIN commits c ON c.seq = chain.seq ORDER BY step",
            *(self._project, sha, capped(limit, CHAIN)),
        )
        return tuple(_commit(row) for row in rows)

    def by_tree(self, tree: str, limit: int = 50) -> tuple[Commit, ...]:
        """Commits of exactly these files, oldest first."""
        where = "project = ? AND tree = ? ORDER BY seq LIMIT ?"
        return self._read(where, self._project, tree, capped(limit))

    def by_patch_id(self, patch_id: str, limit: int = 50) -> tuple[Commit, ...]:
        """Commits that make this change to whatever parent, oldest first."""
        where = "project = ? AND patch_id = ? AND patch_id <> '' ORDER BY seq LIMIT ?"
        return self._read(where, self._project, patch_id, capped(limit))

    def counts(self) -> Counts:
        """How many there are, by the counters in the database."""
        query = "SELECT commits, attempts, leaves FROM projects WHERE id = ?"
        row = self._db.row(query, self._project)
        return Counts(*row) if row else Counts(0, 0, 0)

    def faults(self) -> tuple[str, ...]:
        """Counters that are wrong, in words; reads every commit."""
        found = self._db.row(
            "SELECT count(*), coalesce(sum(role = 'attempt'), 0), "
            "coalesce(sum(role = 'frontier' AND n_children = 0), 0) FROM commits WHERE project = ?",
            self._project,
        )
        kept = asdict(self.counts()).items()
        wrong = [
            f"{self._project}: {name} is {count}, counted {counted}"
            for (name, count), counted in zip(kept, found or (), strict=True)
            if count != counted
        ]
        rows = self._db.rows(
            "SELECT sha FROM commits p WHERE project = ? AND n_children <> (SELECT count(*) FROM "
            "edges e JOIN commits c ON c.seq = e.child WHERE e.parent = p.seq "
            "AND c.role = 'frontier') ORDER BY seq LIMIT 20",
            self._project,
        )
        return (*wrong, *(f"children of {row['sha']}" for row in rows))

    def _newest(
        self, where: str, limit: int, before: int | None, offset: int = 0, **wanted: str | None
    ) -> tuple[Commit, ...]:
        where, values = narrowed(where, [self._project], **wanted)
        tail = "AND seq < ? ORDER BY seq DESC LIMIT ? OFFSET ?"
        return self._read(f"{where} {tail}", *values, upto(before), capped(limit), max(0, offset))

    def _read(self, where: str, *values: object) -> tuple[Commit, ...]:
        rows = self._db.rows(f"SELECT * FROM commits WHERE {where}", *values)
        return tuple(_commit(row) for row in rows)


@dataclass(frozen=True)
class Index:
    """A project's commits, for one agent to add to.

    An attempt of another agent is promoted by an `admin`, or by building on it.
    """

    database: Database
    project: int
    agent: str
    role: str = FRONTIER  # of what is recorded
    _: KW_ONLY
    frontier: Collection[str] = ()  # heads: what they reach is on the frontier in any case
    size: int = 0  # bytes that are counted with what is recorded
    quotas: tuple[int | None, int | None] = (None, None)  # the agent's, and the project's
    admin: bool = False

    def known(self, shas: Collection[str]) -> set[str]:
        """The subset of `shas` that are commits of the project."""
        query = (
            "SELECT sha FROM commits WHERE project = ? AND sha IN (SELECT value FROM json_each(?))"
        )
        return {row[0] for row in self.database.rows(query, self.project, json.dumps(list(shas)))}

    def record(self, new: Sequence[NewCommit], admit: Callable[[], None]) -> None:
        """All commits and parent edges in one transaction; `admit()` comes just before COMMIT.

        A commit that another push recorded meanwhile stays that agent's. BadInput for an unknown
        parent, Forbidden for a second root, TooLarge over a quota: then nothing is recorded.
        """
        with self.database.write() as connection:
            there = self.known([commit.sha for commit in new])
            for role, several in self._by_role(new):
                for commit in several:
                    if commit.sha not in there:
                        self._add(connection, commit, role)
                    elif role == FRONTIER:
                        self.promote(commit.sha)
                self._announce(role, [commit for commit in several if commit.sha not in there])
            if self.size:
                each, whole = self.quotas
                Quotas(self.database).add(f"agent:{self.agent}", self.size, each)
                Quotas(self.database).add(f"project:{self.project}", self.size, whole)
            admit()

    def promote(self, sha: str) -> bool:
        """Put an attempt of the agent's own, and what it builds on, on the frontier.

        False when it is none.
        """
        query = (
            "SELECT seq FROM commits WHERE project = ? AND sha = ? AND role = 'attempt' "
            "AND (? OR agent = ?)"
        )
        with self.database.write() as connection:
            row = self.database.row(query, self.project, sha, self.admin, self.agent)
            if row is not None:
                self._promote(connection, [row["seq"]])
                Events(self.database).append("promote", sha, self.agent, self.project)
            return row is not None

    def _by_role(self, new: Sequence[NewCommit]) -> list[tuple[str, list[NewCommit]]]:
        """New commits of the frontier, then attempts; parents stay before their children."""
        reached = {commit.sha for commit in new} if self.role == FRONTIER else {*self.frontier}
        for commit in reversed(new):  # children first
            if commit.sha in reached:
                reached.update(commit.parents)
        return [
            (FRONTIER, [commit for commit in new if commit.sha in reached]),
            (ATTEMPT, [commit for commit in new if commit.sha not in reached]),
        ]

    def _add(self, connection: Connection, commit: NewCommit, role: str) -> None:
        parents = list(dict.fromkeys(commit.parents))
        if not parents:
            Projects(self.database).admit_root(self.project, commit.sha)
        above = [self._parent(commit, sha) for sha in parents]
        columns = asdict(commit) | {
            "parents": " ".join(commit.parents), "flags": json.dumps(commit.flags),
            "project": self.project, "agent": self.agent,
            "role": ATTEMPT, "received": self.database.now(),
        }  # fmt: skip
        seq = self.database.insert("commits", **columns)["seq"]
        edges = [(seq, idx, parent) for idx, parent in enumerate(above)]
        connection.executemany("INSERT INTO edges VALUES (?, ?, ?)", edges)
        query = "UPDATE projects SET commits = commits + 1, attempts = attempts + 1 WHERE id = ?"
        connection.execute(query, (self.project,))
        if role == FRONTIER:
            self._promote(connection, [seq])

    def _parent(self, commit: NewCommit, sha: str) -> int:
        query = "SELECT seq FROM commits WHERE project = ? AND sha = ?"
        row = self.database.row(query, self.project, sha)
        if row is None:
            raise BadInput(
                f"parent commit not found: {sha}, of {commit.sha}. Push it first, or with it."
            )
        return int(row["seq"])

    def _promote(self, connection: Connection, seqs: list[int]) -> None:
        """Turn attempts and all attempts below them into frontier commits, counters too."""
        while seqs:
            seq = seqs.pop()
            turned = connection.execute(
                "UPDATE commits SET role = 'frontier' WHERE seq = ? AND role = 'attempt' "
                "RETURNING n_children",
                (seq,),
            ).fetchone()
            if turned is None:
                continue
            rows = self.database.rows("SELECT parent FROM edges WHERE child = ?", seq)
            above = [row["parent"] for row in rows]
            covered = sum(self._cover(connection, parent) for parent in above)
            connection.execute(
                "UPDATE projects SET attempts = attempts - 1, leaves = leaves + ? WHERE id = ?",
                (int(turned[0] == 0) - covered, self.project),
            )
            seqs.extend(above)

    def _cover(self, connection: Connection, parent: int) -> bool:
        """Count one more frontier child of a commit; whether it was a leaf until now."""
        children, role = connection.execute(
            "UPDATE commits SET n_children = n_children + 1 WHERE seq = ? "
            "RETURNING n_children, role",
            (parent,),
        ).fetchone()
        return bool(children == 1 and role == FRONTIER)

    def _announce(self, role: str, new: Sequence[NewCommit]) -> None:
        """Append one event for each head of what is new."""
        inner = {parent for commit in new for parent in commit.parents}
        kind = "commit" if role == FRONTIER else ATTEMPT
        for commit in new:
            if commit.sha not in inner:
                Events(self.database).append(kind, commit.sha, self.agent, self.project)


def _commit(row: Row) -> Commit:
    _, sha, tree, parents, agent, subject, author, written, patch_id, flags, role, n, at = row[1:]
    return Commit(
        *(row[0], sha, tree, tuple(parents.split()), agent, subject, author, written, patch_id),
        *(tuple(json.loads(flags)) if flags != "[]" else (), role, n, at),
    )
