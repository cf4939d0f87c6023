"""Tiers and verdicts made anew, after the admin has changed what they rest on: a batch at a time,
so that others write in between. Whoever is stopped half-way says it again, and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from sqlite3 import Row

from agenthub.records.database import Database
from agenthub.records.projects import Projects
from agenthub.records.results import Results
from agenthub.tiers import tier_of

BATCH = 100

_PLATFORMS = {
    "results": (
        "SELECT seq, platform, tier FROM results WHERE project = ? AND seq > ? ORDER BY seq LIMIT ?"
    ),
    "verifications": (
        "SELECT v.seq, v.platform, v.tier FROM verifications v JOIN results r ON r.seq = v.result "
        "WHERE r.project = ? AND v.seq > ? ORDER BY v.seq LIMIT ?"
    ),
}
_VERIFIED = (
    "SELECT DISTINCT v.result AS seq FROM verifications v JOIN results r ON r.seq = v.result "
    "WHERE r.project = ? AND v.result > ? ORDER BY v.result LIMIT ?"
)


def tiers_anew(database: Database, project: int) -> None:
    """Give every measurement the tier that the project's rules say by now."""
    names = Projects(database).by_id(project).rules.tiers
    for table, query in _PLATFORMS.items():
        for rows in _batches(database, query, project):
            said = ((tier_of(row["platform"], names), row["seq"], row["tier"]) for row in rows)
            changed = [(tier, seq) for tier, seq, before in said if tier != before]
            if changed:
                with database.write() as connection:
                    connection.executemany(f"UPDATE {table} SET tier = ? WHERE seq = ?", changed)


def verdicts_anew(database: Database, project: int) -> None:
    """Say anew what all verifications of a project mean."""
    results = Results(database, project)
    for rows in _batches(database, _VERIFIED, project):
        results.rejudge([row["seq"] for row in rows])


def projects_of(database: Database, verifier: str) -> tuple[int, ...]:
    """The projects in which an agent has verified something."""
    rows = database.rows(
        "SELECT DISTINCT r.project FROM verifications v JOIN results r ON r.seq = v.result "
        "WHERE v.verifier = ? ORDER BY r.project",
        verifier,
    )
    return tuple(row["project"] for row in rows)


def _batches(database: Database, query: str, project: int) -> Iterator[list[Row]]:
    after = 0
    while rows := database.rows(query, project, after, BATCH):
        yield rows
        after = rows[-1]["seq"]
