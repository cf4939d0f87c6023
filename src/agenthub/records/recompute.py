"""Recompute tiers and verdicts after an admin changed what they depend on.

Each batch is one transaction, so that other requests can write in between. If the process is killed
half-way, the admin repeats the command.
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


def recompute_tiers(database: Database, project: int) -> None:
    """Give every result and verification of a project its tier by the current rules."""
    names = Projects(database).by_id(project).rules.tiers
    for table, query in _PLATFORMS.items():
        for rows in _batches(database, query, project):
            tiers = ((tier_of(row["platform"], names), row["seq"], row["tier"]) for row in rows)
            changed = [(tier, seq) for tier, seq, before in tiers if tier != before]
            if changed:
                with database.write() as connection:
                    connection.executemany(f"UPDATE {table} SET tier = ? WHERE seq = ?", changed)


def recompute_verdicts(database: Database, project: int) -> None:
    """Recompute the verdict on every verified result of a project."""
    results = Results(database, project)
    for rows in _batches(database, _VERIFIED, project):
        results.update_verdicts([row["seq"] for row in rows])


def projects_of(database: Database, verifier: str) -> tuple[int, ...]:
    """The projects in which an agent has verified a result."""
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
