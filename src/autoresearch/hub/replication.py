"""The queue of results that wait for somebody else to run them, handed out under leases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from sqlite3 import Row

from autoresearch.hub.database import Database
from autoresearch.hub.errors import BadInput, Conflict, Forbidden, Missing
from autoresearch.hub.events import Events, capped
from autoresearch.hub.results import COLUMNS, FROM, Result, Results, result_of

SECONDS = 3_600  # of a lease, unless asked otherwise
LONGEST = 86_400
LEASES_EACH = 4  # open ones of an agent

# What an agent may replicate: waiting, not its own, not leased by anybody now, not verified by it,
# and not one whose lease it let run out before: nobody can keep a result from the others for ever.
OPEN_TO = (
    "r.project = ?1 AND r.waiting = 1 AND r.agent <> ?2 AND c.agent <> ?2 "
    "AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.result = r.seq AND "
    "((l.state = 'open' AND l.expires > ?3) OR (l.agent = ?2 AND l.state = 'open'))) "
    "AND NOT EXISTS (SELECT 1 FROM verifications v WHERE v.result = r.seq AND v.verifier = ?2)"
)


@dataclass(frozen=True)
class Lease:
    """A result that one agent alone replicates until a time."""

    id: int
    agent: str
    taken: int
    expires: int
    state: str  # open, done, released
    tree: str  # what to run, exactly
    result: Result


class Replication:
    """The queue of one project."""

    def __init__(self, database: Database, project: int) -> None:
        self._db = database
        self._project = project
        self._results = Results(database, project)
        self._events = Events(database)

    def queue(self, tier: str | None = None, limit: int = 50) -> tuple[Result, ...]:
        """Results that wait and that nobody has leased, the best claims first."""
        where, values = "", [self._project, self._db.now()]
        if tier is not None:
            where, values = "AND r.tier = ?3 ", [*values, tier]  # type: ignore[list-item]
        rows = self._db.rows(
            f"SELECT {COLUMNS} {FROM} WHERE r.project = ?1 AND r.waiting = 1 {where}"
            "AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.result = r.seq AND l.state = 'open' "
            f"AND l.expires > ?2) ORDER BY r.cost, r.seq LIMIT {capped(limit)}",
            *values,
        )
        return tuple(result_of(row) for row in rows)

    def take(self, agent: str, tier: str, seconds: int = SECONDS) -> Lease | None:
        """Lease the best claim of a tier that an agent may replicate; None when there is none.

        Conflict when it holds as many leases as it may.
        """
        if not 1 <= seconds <= LONGEST:
            raise BadInput(f"A lease is for 1 to {LONGEST:,} seconds, not {seconds:,}.")
        now = self._db.now()
        with self._db.write() as connection:
            query = "SELECT count(*) FROM leases WHERE agent = ? AND state = 'open' AND expires > ?"
            if self._db.number(query, agent, now) >= LEASES_EACH:
                raise Conflict(
                    f"{agent} holds {LEASES_EACH} leases, the most there may be. Finish or release "
                    "one."
                )
            found = self._db.row(
                f"SELECT r.seq {FROM} WHERE {OPEN_TO} AND r.tier = ?4 "
                "ORDER BY r.cost, r.seq LIMIT 1",
                *(self._project, agent, now, tier),
            )
            if found is None:
                return None
            id_ = connection.execute(
                "INSERT INTO leases(result, agent, taken, expires, state) "
                "VALUES (?, ?, ?, ?, 'open') RETURNING id",
                (found["seq"], agent, now, now + seconds),
            ).fetchone()[0]
            self._events.append("lease", found["seq"], agent, self._project)
            return self.get(id_)

    def get(self, lease: int) -> Lease:
        """One lease; Missing when there is none in this project."""
        row = self._row(lease)
        result = self._results.get(row["result"])
        names = ("id", "agent", "taken", "expires", "state", "tree")
        return Lease(**{name: row[name] for name in names}, result=result)

    def finish(
        self, lease: int, agent: str, *, tree: str, platform: str, values: Sequence[float]
    ) -> Result:
        """Write what a leased result gave; one that ran out counts if nobody was faster."""
        with self._db.write():
            result = self._own(lease, agent)["result"]
            self._end(lease, "done")
            return self._results.verify(result, agent, tree=tree, platform=platform, values=values)

    def release(self, lease: int, agent: str) -> None:
        """Give a lease back: somebody else may take the result at once."""
        with self._db.write():
            self._own(lease, agent)
            self._end(lease, "released")

    def _own(self, lease: int, agent: str) -> Row:
        row = self._row(lease)
        if row["agent"] != agent:
            raise Forbidden(f"Lease {lease} is {row['agent']}'s. Take one of your own.")
        if row["state"] != "open":
            raise Conflict(f"Lease {lease} is {row['state']} already. Take another one.")
        return row

    def _row(self, lease: int) -> Row:
        row = self._db.row(
            "SELECT l.*, c.tree FROM leases l JOIN results r ON r.seq = l.result "
            'JOIN commits c ON c.seq = r."commit" WHERE l.id = ? AND r.project = ?',
            *(lease, self._project),
        )
        if row is None:
            raise Missing(f"There is no lease {lease} in this project.")
        return row

    def _end(self, lease: int, state: str) -> None:
        with self._db.write() as connection:
            connection.execute("UPDATE leases SET state = ? WHERE id = ?", (state, lease))
