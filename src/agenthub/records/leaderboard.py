"""The ranking: one board per tier, of confirmed results or of claimed ones."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from sqlite3 import Cursor

from agenthub.records.database import Database
from agenthub.records.events import PAGE, capped
from agenthub.records.results import COLUMNS, FROM, Result, result_of

CLAIMED = "r.status = 'keep' AND r.\"commit\" IS NOT NULL AND r.verdict <> 'refuted'"
CONFIRMED = "r.verdict = 'confirmed'"
LOOKED_AT = 10_000  # rows, should one commit have very many results


@dataclass(frozen=True)
class Tier:
    """A kind of machine, with its counts of results."""

    tier: str
    claimed: int
    confirmed: int


class Leaderboard:
    """The ranked results of one project."""

    def __init__(self, database: Database, project: int) -> None:
        self._db = database
        self._project = project

    def best(
        self, tier: str | None = None, *, replicated: bool = True, limit: int = 50
    ) -> tuple[Result, ...]:
        """The best results, each commit once; of all tiers when none is given.

        Replicated ones are ranked by what others measured; claimed ones by what was claimed, and
        refuted claims are left out.
        """
        found: dict[str | None, Result] = {}
        with contextlib.closing(self._ranked(tier, replicated)) as rows:
            for result in map(result_of, rows):
                found.setdefault(result.commit, result)
                if len(found) >= capped(limit):
                    break
        return tuple(found.values())

    def staircase(
        self, tier: str, *, replicated: bool = True, limit: int = PAGE
    ) -> tuple[Result, ...]:
        """Results that were the best when they came: the newest `limit`, oldest first."""
        cost, where = _terms(replicated)
        rows = self._db.rows(
            f"SELECT seq FROM (SELECT r.seq, {cost} AS cost, min({cost}) OVER (ORDER BY r.seq "
            "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM results r "
            f"WHERE r.project = ? AND r.tier = ? AND {where}) "
            "WHERE before IS NULL OR cost < before ORDER BY seq DESC LIMIT ?",
            *(self._project, tier, capped(limit)),
        )
        steps = (self._db.row(f"SELECT {COLUMNS} {FROM} WHERE r.seq = ?", row[0]) for row in rows)
        return tuple(reversed([result_of(row) for row in steps if row is not None]))

    def tiers(self) -> tuple[Tier, ...]:
        """The tiers that have kept results, most results first."""
        rows = self._db.rows(
            "SELECT tier, count(*) AS claimed, sum(verdict = 'confirmed') AS confirmed "
            "FROM results r WHERE project = ? AND r.status = 'keep' AND r.\"commit\" IS NOT NULL "
            "GROUP BY tier ORDER BY claimed DESC, tier LIMIT 200",
            self._project,
        )
        return tuple(Tier(*row) for row in rows)

    def _ranked(self, tier: str | None, replicated: bool) -> Cursor:
        cost, where = _terms(replicated)
        values: list[object] = [self._project]
        if tier is not None:
            where, values = f"r.tier = ? AND {where}", [*values, tier]
        return self._db.read().execute(
            f"SELECT {COLUMNS} {FROM} WHERE r.project = ? AND {where} "
            f"ORDER BY {cost}, r.seq LIMIT {LOOKED_AT}",
            values,
        )


def _terms(replicated: bool) -> tuple[str, str]:
    return ("r.mean_cost", CONFIRMED) if replicated else ("r.cost", CLAIMED)
