"""The replication queue: results that wait for another agent to run them, under leases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from sqlite3 import Row

from agenthub.errors import BadInput, Conflict, Forbidden, Missing
from agenthub.records.database import Database, noun
from agenthub.records.events import Events, capped
from agenthub.records.results import COLUMNS, FROM, Result, Results, result_of

SECONDS = 3_600  # of a lease by default
LONGEST = 86_400
LEASES_EACH = 4  # open ones of an agent

# The queue of a project (?1) goes round the agents: first the best claim of each agent, then the
# second best of each. Of an agent's results of one commit on one tier only the best claim is in it,
# and none that is worse than a confirmed one. An agent loses a turn with the taker (?4) for each of
# its results that the taker leased within a day and that was not confirmed: bad claims wait behind
# other agents' claims. For a trusted runner, results with no trusted verification wait as well.
LINE = """
WITH wanted AS (
  SELECT r.seq, r.agent, r.tier, r."commit", r.cost, 1 AS waiting
  FROM results r WHERE r.project = ?1 {of} AND r.waiting = 1
  UNION ALL
  SELECT r.seq, r.agent, r.tier, r."commit", r.cost, 0
  FROM results r WHERE (SELECT runner FROM agents WHERE id = ?4) AND r.project = ?1 {of}
  AND r.waiting = 0 AND r.status = 'keep' AND r."commit" IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM verifications v JOIN agents a ON a.id = v.verifier
    WHERE v.result = r.seq AND v.tier = r.tier AND a.runner = 1)),
best AS (
  SELECT * FROM wanted w WHERE NOT EXISTS (
    SELECT 1 FROM results o WHERE o."commit" = w."commit" AND o.agent = w.agent
    AND o.tier = w.tier AND o.status = 'keep' AND o.seq <> w.seq AND (o.cost < w.cost
      OR (o.cost = w.cost AND (o.waiting < w.waiting OR (o.waiting = w.waiting AND o.seq < w.seq))))
    AND (o.waiting = 1 OR o.verdict = 'confirmed'))),
spent AS (
  SELECT o.agent, count(*) AS turns FROM leases l JOIN results o ON o.seq = l.result
  WHERE l.agent = ?4 AND l.taken > ?2 - 86400 AND o.project = ?1 AND o.verdict <> 'confirmed'
  GROUP BY o.agent),
line AS (
  SELECT b.seq, b.cost, ifnull(spent.turns, 0) + row_number() OVER (
    PARTITION BY b.agent ORDER BY b.cost, b.seq) AS turn
  FROM best b JOIN commits c ON c.seq = b."commit" LEFT JOIN spent ON spent.agent = b.agent
  WHERE NOT EXISTS (
    SELECT 1 FROM leases l WHERE l.result = b.seq AND l.state = 'open' AND l.expires > ?2) {open})
"""
# An agent replicates neither its own results nor those that it verified, gave back or let run out:
# no agent can keep a result from others for ever, and none gets the same one twice.
OPEN_TO = (
    "AND b.agent <> ?4 AND c.agent <> ?4 "
    "AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.result = b.seq AND l.agent = ?4) "
    "AND NOT EXISTS (SELECT 1 FROM verifications v WHERE v.result = b.seq AND v.verifier = ?4)"
)
OF_TIER = "AND r.tier = ?3"


@dataclass(frozen=True)
class Lease:
    """One agent's exclusive right to replicate a result until a time."""

    id: int
    agent: str
    taken: int
    expires: int
    state: str  # open, done, released
    tree: str  # the exact tree to run
    result: Result


class Replication:
    """The queue of one project."""

    def __init__(self, database: Database, project: int) -> None:
        self._db = database
        self._project = project
        self._results = Results(database, project)
        self._events = Events(database)

    def queue(
        self, tier: str | None = None, limit: int = 50, agent: str = ""
    ) -> tuple[Result, ...]:
        """Waiting results without a lease; each agent's best claim comes first.

        With `agent`, in the order in which that agent gets them.
        """
        line = LINE.format(of="" if tier is None else OF_TIER, open="")
        return self._line(line, agent, tier, capped(limit))

    def take(self, agent: str, tier: str, seconds: int = SECONDS) -> Lease | None:
        """Lease the first result in a tier's queue that an agent may replicate; None without one.

        Conflict when the agent holds `LEASES_EACH` leases already.
        """
        if not 1 <= seconds <= LONGEST:
            raise BadInput(f"A lease is for 1 to {LONGEST:,} seconds, not {seconds:,}.")
        open_to = LINE.format(of=OF_TIER, open=OPEN_TO)
        while found := self._line(open_to, agent, tier, 1):  # outside the writer's lock
            if (lease := self._lease(found[0], agent, seconds)) is not None:
                return lease
        return None

    def get(self, lease: int) -> Lease:
        """One lease; Missing when there is none in this project."""
        row = self._row(lease)
        result = self._results.get(row["result"])
        return noun(Lease, row, result=result)

    def finish(
        self, lease: int, agent: str, *, tree: str, platform: str, values: Sequence[float]
    ) -> Result:
        """Record the runs of a leased result; an expired lease may still be finished."""
        with self._db.write():
            result = self._end(lease, agent, "done")
            return self._results.verify(result, agent, tree=tree, platform=platform, values=values)

    def release(self, lease: int, agent: str) -> None:
        """Give a lease back: another agent may take the result at once, this one never again."""
        self._end(lease, agent, "released")

    def _line(self, line: str, agent: str, tier: str | None, limit: int) -> tuple[Result, ...]:
        rows = self._db.rows(
            f"{line} SELECT {COLUMNS} {FROM} JOIN line ON line.seq = r.seq "
            f"ORDER BY line.turn, line.cost, line.seq LIMIT {limit}",
            *(self._project, self._db.now(), tier, agent),
        )
        return tuple(result_of(row) for row in rows)

    def _lease(self, found: Result, agent: str, seconds: int) -> Lease | None:
        """Lease a result that was found waiting; None when another agent was faster."""
        now = self._db.now()
        open_ = "SELECT count(*) FROM leases WHERE state = 'open' AND expires > ?"
        with self._db.write():
            if self._db.number(f"{open_} AND agent = ?", now, agent) >= LEASES_EACH:
                raise Conflict(
                    f"{agent} holds {LEASES_EACH} leases, the most there may be. Finish or release "
                    "one."
                )
            changed = self._results.get(found.seq) != found
            if changed or self._db.number(f"{open_} AND result = ?", now, found.seq):
                return None
            columns = {"result": found.seq, "agent": agent, "taken": now, "expires": now + seconds}
            row = self._db.insert("leases", **columns, state="open")
            self._events.append("lease", found.seq, agent, self._project)
            return self.get(row["id"])

    def _end(self, lease: int, agent: str, state: str) -> int:
        """End an open lease of the agent's own; returns its result."""
        with self._db.write() as connection:
            row = self._row(lease)
            if row["agent"] != agent:
                raise Forbidden(f"Lease {lease} is {row['agent']}'s. Take one of your own.")
            if row["state"] != "open":
                raise Conflict(f"Lease {lease} is {row['state']} already. Take another one.")
            connection.execute("UPDATE leases SET state = ? WHERE id = ?", (state, lease))
            return int(row["result"])

    def _row(self, lease: int) -> Row:
        row = self._db.row(
            "SELECT l.*, c.tree FROM leases l JOIN results r ON r.seq = l.result "
            'JOIN commits c ON c.seq = r."commit" WHERE l.id = ? AND r.project = ?',
            *(lease, self._project),
        )
        if row is None:
            raise Missing(f"There is no lease {lease} in this project.")
        return row
