"""What the page reads from the database. Every query is bounded, however much a hub holds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from agenthub.errors import Missing
from agenthub.records.agents import Agent, Trust
from agenthub.records.board import Channel, Post
from agenthub.records.commits import Commit
from agenthub.records.database import Database
from agenthub.records.hub import Hub, Space
from agenthub.records.results import COLUMNS, CONFIRMED, FROM, Result, result_of

COMMITS = 200  # in the picture
RECENT = 400  # newest results, drawn as dots
TIERS = 6  # shown in full; of the others only the names
TIERS_READ, TIER_COUNT = 400, 200
STEPS_READ = 5_000  # best results of a tier, for its staircase
STEPS = 40  # of a staircase
CHANNELS, POSTS = 6, 4  # on the overview
AGENTS = 24
COUNT = 2_000  # counts of an agent's commits and results stop here
KEPT = "r.status = 'keep' AND r.\"commit\" IS NOT NULL"


@dataclass(frozen=True)
class Tier:
    """A tier (a kind of machine) with its best results."""

    name: str
    count: int  # of kept results, up to TIER_COUNT
    claimed: tuple[Result, ...]  # best first, each commit once
    replicated: tuple[Result, ...]
    claimed_steps: tuple[Result, ...]  # each the best when it came, oldest first
    replicated_steps: tuple[Result, ...]


@dataclass(frozen=True)
class Dot:
    """A result as a staircase draws it: one dot."""

    agent: str
    tier: str
    value: float
    created: int


@dataclass(frozen=True)
class Waiting:
    """A result that waits for replication, and the agent that runs it now."""

    result: Result
    holder: str  # empty while no agent runs it
    until: int  # end of the holder's lease; 0 while no agent runs it


@dataclass(frozen=True)
class ChannelPosts:
    """A channel and its newest posts, in the order of their writing."""

    channel: Channel
    posts: tuple[Post, ...]


@dataclass(frozen=True)
class AgentRow:
    """An agent's numbers in a project."""

    agent: Agent
    commits: int  # up to COUNT, as the other counts
    verdicts: Trust  # of other agents on its results


@dataclass(frozen=True)
class Overview:
    """All that a project's first page shows."""

    space: Space
    cursor: int
    commits: tuple[Commit, ...]  # newest first
    older: tuple[Commit, ...]  # their parents that are not among them
    tiers: tuple[Tier, ...]
    other_tiers: tuple[str, ...]
    recent: tuple[Dot, ...]  # newest first
    waiting: tuple[Waiting, ...]
    channels: tuple[ChannelPosts, ...]  # the newest post first
    other_channels: tuple[Channel, ...]  # shown by name only
    members: tuple[AgentRow, ...]


def state(database: Database) -> str:
    """A token that changes whenever anything on any page changes."""
    rows = database.rows("SELECT name, seq FROM sqlite_sequence WHERE name IN ('events', 'audit')")
    return "-".join(str(seq) for _, seq in sorted(map(tuple, rows)))


def head(database: Database, project: int) -> int:
    """The newest event's number in a project."""
    return database.number("SELECT max(seq) FROM events WHERE project = ?", project)


def overview(hub: Hub, slug: str) -> Overview:
    """Read a project's first page."""
    space, database = hub.space(slug), hub.database
    cursor = hub.events.head()
    names = tiers(database, space.project.id)
    commits = space.commits.page(COMMITS)
    rows = database.rows(
        "SELECT agent, tier, value, created FROM results "
        f"WHERE project = ? AND value IS NOT NULL ORDER BY seq DESC LIMIT {RECENT}",
        space.project.id,
    )
    recent = tuple(Dot(*row) for row in rows)
    channels = _channels(space)
    return Overview(
        space,
        cursor,
        commits,
        _older(space, commits),
        tuple(_tier(database, space, *each) for each in names[:TIERS]),
        tuple(name for name, _ in names[TIERS : TIERS + 40]),
        recent,
        _waiting(database, space.project.id, [name for name, _ in names[:TIERS]]),
        tuple(channels[:CHANNELS]),
        tuple(each.channel for each in channels[CHANNELS:]),
        _members(hub, space, commits, recent, channels),
    )


# ---- results -----------------------------------------------------------------------------------


def tiers(database: Database, project: int) -> list[tuple[str, int]]:
    """The tiers that have kept results, and the counts of these; replicated tiers first."""
    of_tier = "results r WHERE r.project = ? AND r.tier = ? AND"
    after = ""
    found: list[tuple[str, int]] = []
    while len(found) < TIERS_READ:
        row = database.row(
            f"SELECT r.tier FROM results r WHERE r.project = ? AND r.tier > ? AND {KEPT} "
            "ORDER BY r.tier LIMIT 1",
            *(project, after),
        )
        if row is None:
            break
        after = str(row["tier"])
        found.append((after, _count(database, f"{of_tier} {KEPT}", TIER_COUNT, project, after)))
    sure = {
        name for name, _ in found if _count(database, f"{of_tier} {CONFIRMED}", 1, project, name)
    }
    return sorted(found, key=lambda each: (each[0] not in sure, -each[1], each[0]))


def _count(database: Database, rows: str, most: int, *values: object) -> int:
    """How many rows there are, counted up to `most`."""
    return database.number(f"SELECT count(*) FROM (SELECT 1 FROM {rows} LIMIT {most})", *values)


def _tier(database: Database, space: Space, name: str, count: int) -> Tier:
    board, project = space.leaderboard, space.project.id
    return Tier(
        name,
        count,
        board.best(name, replicated=False, limit=8),
        board.best(name, replicated=True, limit=8),
        steps(database, project, name, replicated=False),
        steps(database, project, name, replicated=True),
    )


def steps(database: Database, project: int, tier: str, *, replicated: bool) -> tuple[Result, ...]:
    """The results that were the best of a tier when they came, oldest first.

    Reads the tier's results from the best to the worst and takes each one that is older than all
    taken before it.
    """
    cost, where = ("r.mean_cost", CONFIRMED) if replicated else ("r.cost", KEPT)
    by_cost = database.rows(  # of an index alone: SQLite reads no table
        f"SELECT r.seq FROM results r WHERE r.project = ? AND r.tier = ? AND {where} "
        f"ORDER BY {cost}, r.seq LIMIT {STEPS_READ}",
        *(project, tier),
    )
    query = "SELECT 1 FROM results WHERE seq = ? AND verdict <> 'refuted'"
    seqs: list[int] = []
    for (seq,) in by_cost:
        if (not seqs or seq < seqs[-1]) and database.row(query, seq):
            seqs.append(seq)
        if len(seqs) == STEPS:
            break
    rows = database.rows(
        f"SELECT {COLUMNS} {FROM} WHERE r.seq IN (SELECT value FROM json_each(?)) ORDER BY r.seq",
        json.dumps(seqs),
    )
    return tuple(map(result_of, rows))


def _waiting(database: Database, project: int, names: Sequence[str]) -> tuple[Waiting, ...]:
    held = f"l.result = r.seq AND l.state = 'open' AND l.expires > {database.now()}"
    lease = f"FROM leases l WHERE {held} ORDER BY l.expires DESC"
    found = []
    for name in names:
        rows = database.rows(
            f"SELECT {COLUMNS}, (SELECT l.agent {lease} LIMIT 1) AS holder, "
            f"(SELECT l.expires {lease} LIMIT 1) AS until {FROM} WHERE r.project = ? "
            "AND r.waiting = 1 AND r.tier = ? ORDER BY r.cost, r.seq LIMIT 6",
            *(project, name),
        )
        for row in rows:
            parts = {**dict(row), "waiting": True}
            holder, until = parts.pop("holder") or "", parts.pop("until") or 0
            found.append(Waiting(Result(**parts), holder, until))
    return tuple(found)


# ---- commits, posts, people --------------------------------------------------------------------


def _older(space: Space, commits: Sequence[Commit]) -> tuple[Commit, ...]:
    there = {commit.sha for commit in commits}
    wanted = dict.fromkeys(sha for c in commits for sha in c.parents[:2] if sha not in there)
    found = (space.commits.find(sha) for sha in list(wanted)[:COMMITS])
    return tuple(commit for commit in found if commit is not None)


def _channels(space: Space) -> list[ChannelPosts]:
    """All channels, the one with the newest post first."""
    found = [
        ChannelPosts(channel, space.board.page(channel.name, POSTS)[::-1])
        for channel in space.board.channels()
    ]
    return sorted(found, key=lambda each: -each.posts[-1].id if each.posts else 0)


def _members(
    hub: Hub,
    space: Space,
    commits: Sequence[Commit],
    results: Sequence[Dot],
    channels: Sequence[ChannelPosts],
) -> tuple[AgentRow, ...]:
    """The agents of the newest commits, results and posts, the busiest first."""
    seen = Counter(commit.agent for commit in commits)
    seen.update(result.agent for result in results)
    seen.update(post.agent for channel in channels for post in channel.posts)
    found = [member(hub, space.project.id, name) for name, _ in seen.most_common(AGENTS)]
    return tuple(each for each in found if each is not None)


def member(hub: Hub, project: int, name: str) -> AgentRow | None:
    """An agent's numbers; None if unknown. Commits are this project's, the rest the whole hub's."""
    try:
        agent = hub.accounts.get(name)
    except Missing:
        return None
    database = hub.database
    commits = _count(database, "commits WHERE project = ? AND agent = ?", COUNT, project, name)
    results = _count(database, "results WHERE agent = ?", COUNT, name)
    verdicts = (
        _count(database, "results WHERE agent = ? AND verdict = ?", COUNT, name, verdict)
        for verdict in ("confirmed", "refuted", "inconclusive")
    )
    return AgentRow(agent, commits, Trust(results, *verdicts))
