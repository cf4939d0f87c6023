"""Results: what agents measured, the verifications by other agents, and the ranking.

A result is `claimed` until another agent has run its exact tree. `verdicts.py` has the rule.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from sqlite3 import Cursor, Row

from agenthub.errors import BadInput, Conflict, Forbidden, Missing
from agenthub.records.commits import Commit, Commits
from agenthub.records.database import LAST, Database, narrowed, noun, upto
from agenthub.records.events import PAGE, Events, capped
from agenthub.records.projects import Projects, Rules
from agenthub.records.result_line import DESCRIPTION, parse
from agenthub.records.verdicts import Noise, Runs, measured_noise, runs_of, verdict_on
from agenthub.tiers import tier_of
from agenthub.validation import check_abbreviation, check_hash, check_platform, clean_line

STATUSES = ("keep", "discard", "crash")
MOST_RUNS = 64  # of one verification
ENOUGH = 3  # verifiers, after which an inconclusive result waits no longer
BATCH = 100  # results of one transaction, while they are recomputed
CLAIMED = "r.status = 'keep' AND r.\"commit\" IS NOT NULL AND r.verdict <> 'refuted'"
CONFIRMED = "r.verdict = 'confirmed'"
LOOKED_AT = 10_000  # rows, should one commit have very many results


@dataclass(frozen=True)
class Draft:
    """A measurement as an agent reports it."""

    commit: str  # 7 digits or more
    platform: str
    status: str  # keep, discard, crash
    value: float | None
    memory_gb: float | None = None
    seconds: float | None = None
    seed: int | None = None
    description: str = ""
    metric: str = ""  # empty: the project's


@dataclass(frozen=True)
class Result:
    """An agent's result of a commit, and the hub's verdict on it."""

    seq: int
    commit: str | None  # whole hash; None until the named commit is pushed
    named: str  # the hash in the agent's words
    agent: str
    metric: str
    direction: str
    value: float | None
    platform: str
    tier: str
    memory_gb: float | None
    status: str
    seconds: float | None
    seed: int | None
    description: str
    source: str  # post or api
    post: int | None
    created: int
    verdict: str  # claimed, confirmed, refuted, inconclusive
    runs: int  # other agents' runs that count
    mean: float | None
    sd: float | None
    waiting: bool  # for another agent to run it


@dataclass(frozen=True)
class Verification:
    """Another agent's runs of a result's exact tree."""

    seq: int
    result: int
    verifier: str
    runner: bool  # whether the admin trusts the verifier now
    platform: str
    tier: str
    runs: int
    mean: float
    sd: float | None
    values: tuple[float, ...]
    created: int


COLUMNS = (
    'r.seq, c.sha AS "commit", r.named, r.agent, r.metric, r.direction, r.value, r.platform, '
    "r.tier, r.memory_gb, r.status, r.seconds, r.seed, r.description, r.source, r.post, r.created, "
    "r.verdict, r.runs, r.mean, r.sd, r.waiting"
)
FROM = 'FROM results r LEFT JOIN commits c ON c.seq = r."commit"'


class Results:
    """The results of one project."""

    def __init__(self, database: Database, project: int) -> None:
        self._db = database
        self._project = project
        self._commits = Commits(database, project)
        self._events = Events(database)

    # ---- writing -------------------------------------------------------------------------------

    def record(self, agent: str, draft: Draft) -> Result:
        """Record a result of a pushed commit; Missing or Conflict when its hash is unknown."""
        with self._db.write():
            sha = self._commits.resolve(draft.commit)
            return self._add(agent, replace(draft, commit=sha), "api", None)

    def from_post(self, agent: str, content: str, post: int | None) -> Result | None:
        """Record the result in a post's first line; None without one in the project's metric.

        If its commit was not pushed yet, `settle` adds it later.
        """
        rules = self._rules()
        line = parse(content)
        if line is None or line.metric != rules.metric:
            return None
        with self._db.write():
            try:
                return self._add(agent, Draft(**asdict(line)), "post", post)
            except BadInput:
                return None  # then it is a post and no result

    def settle(self, shas: Sequence[str]) -> int:
        """Link posted results to the commits that they named before the push; returns how many."""
        settled = 0
        query = "UPDATE results SET \"commit\" = ?, waiting = status = 'keep' WHERE seq = ?"
        with self._db.write() as connection:
            for sha in shas:
                rows = self._db.rows(
                    'SELECT seq, named FROM results WHERE project = ? AND "commit" IS NULL '
                    "AND substr(named, 1, 7) = ? AND ? LIKE named || '%'",
                    *(self._project, sha[:7], sha),
                )
                for seq, named in rows:
                    commit = self._pushed(named)
                    if commit is None:
                        continue  # by now the hash is ambiguous
                    connection.execute(query, (commit.seq, seq))
                    self._events.append("result", seq, commit.agent, self._project)
                    settled += 1
        return settled

    def verify(
        self, result: int, verifier: str, *, tree: str, platform: str, values: Sequence[float]
    ) -> Result:
        """Record another agent's runs of a result's exact tree, and recompute its verdict."""
        check_platform(platform)
        self._check_verifiable(self.get(result), verifier, tree)
        if not 1 <= len(values) <= MOST_RUNS:
            raise BadInput(f"{len(values)} values were given; a verification has 1 to {MOST_RUNS}.")
        if not all(math.isfinite(value) and abs(value) < 1e100 for value in values):
            raise BadInput("Every value must be a finite number. Leave out runs that crashed.")
        runs = runs_of(values)
        with self._db.write():
            query = "SELECT 1 FROM verifications WHERE result = ? AND verifier = ?"
            if self._db.row(query, result, verifier):
                raise Conflict(f"{verifier} has verified result {result} already. Take another.")
            # A record of that day; a verdict uses the current trust in the agent.
            runner = self._db.number("SELECT runner FROM agents WHERE id = ?", verifier)
            self._db.insert(
                "verifications", result=result, verifier=verifier, runner=runner, platform=platform,
                tier=tier_of(platform, self._rules().tiers), runs=runs.runs, mean=runs.mean,
                sd=runs.sd, values=json.dumps(list(values)), created=self._db.now(),
            )  # fmt: skip
            self._events.append("verification", result, verifier, self._project)
            self._update_verdict(self.get(result), self._noise)
        return self.get(result)

    def update_verdicts(self, results: Sequence[int]) -> None:
        """Recompute the verdicts on some results, after a change of noise or trust."""
        with self._db.write():
            noise = cache(self._noise)  # of each tier
            for result in results:
                self._update_verdict(self.get(result), noise)

    # ---- reading -------------------------------------------------------------------------------

    def get(self, seq: int) -> Result:
        """One result; Missing when there is none."""
        rows = self._read("r.project = ? AND r.seq = ?", self._project, seq)
        if not rows:
            raise Missing(f"There is no result {seq} in this project.")
        return rows[0]

    def page(
        self, limit: int = 50, before: int | None = None,
        *, agent: str | None = None, status: str | None = None, tier: str | None = None,
    ) -> tuple[Result, ...]:  # fmt: skip
        """The newest results, or those before a seq; newest first."""
        wanted = {"r.agent": agent, "r.status": status, "r.tier": tier}
        newest = [self._project, upto(before or None)]
        where, values = narrowed("r.project = ? AND r.seq < ?", newest, **wanted)
        return self._read(f"{where} ORDER BY r.seq DESC LIMIT ?", *values, capped(limit))

    def of_commit(self, sha: str, limit: int = 50) -> tuple[Result, ...]:
        """A commit's results, oldest first."""
        where = "c.project = ? AND c.sha = ? ORDER BY r.seq LIMIT ?"
        return self._read(where, self._project, sha, capped(limit))

    def verifications(self, result: int) -> tuple[Verification, ...]:
        """A result's verifications, oldest first."""
        query = (
            "SELECT v.*, a.runner AS trusted FROM verifications v JOIN agents a "
            "ON a.id = v.verifier WHERE v.result = ? ORDER BY v.seq LIMIT 200"
        )
        return tuple(_verification(row) for row in self._db.rows(query, self.get(result).seq))

    def noise(self, tier: str) -> float:
        """How far two runs of one tree differ: as the admin set it, else estimated; 0: unknown."""
        return self._rules().noise or self._noise(tier).besides(0)

    # ---- inside --------------------------------------------------------------------------------

    def _add(self, agent: str, draft: Draft, source: str, post: int | None) -> Result:
        rules = self._rules()
        _check(draft, rules)
        commit = self._pushed(draft.commit)
        value = None if draft.status == "crash" else draft.value
        columns = {
            "project": self._project,
            "commit": None if commit is None else commit.seq,
            "named": draft.commit,
            "agent": agent,
            "metric": rules.metric,
            "direction": rules.direction,
            "value": value,
            "cost": _cost(value, rules.direction),
            "platform": draft.platform,
            "tier": tier_of(draft.platform, rules.tiers),
            "memory_gb": draft.memory_gb,
            "status": draft.status,
            "seconds": draft.seconds,
            "seed": draft.seed,
            "description": clean_line(draft.description, DESCRIPTION),
            "source": source,
            "post": post,
            "created": self._db.now(),
            "waiting": int(commit is not None and draft.status == "keep"),
        }
        with self._db.write():
            seq = self._db.insert("results", **columns)["seq"]
            self._events.append("result", seq, agent, self._project)
            return self.get(seq)

    def _pushed(self, prefix: str) -> Commit | None:
        try:
            return self._commits.get(prefix)
        except (Missing, Conflict):
            return None

    def _check_verifiable(self, result: Result, verifier: str, tree: str) -> None:
        """Raise unless this verifier may verify the result, and ran exactly its tree."""
        check_hash(tree)
        commit = None if result.commit is None else self._commits.find(result.commit)
        if commit is None or result.status != "keep":
            raise Conflict(
                f"Result {result.seq} cannot be verified: it is "
                f"{'not pushed' if commit is None else result.status}. Take one from the queue."
            )
        if verifier in (result.agent, commit.agent):
            raise Forbidden(
                f"{verifier} has a part in result {result.seq}: another agent must verify it."
            )
        if tree != commit.tree:
            raise Conflict(
                f"Another tree was run: {tree}. Result {result.seq} is of {commit.tree}; run "
                f"exactly commit {commit.sha}.",
                tree=commit.tree,
            )

    def _update_verdict(self, result: Result, noise: Callable[[str], Noise]) -> None:
        if result.value is None or result.commit is None or result.status != "keep":
            return
        same = [each for each in self.verifications(result.seq) if each.tier == result.tier]
        parts = [Runs(each.runs, each.mean, each.sd, each.runner) for each in same]
        far = self._rules().noise or noise(result.tier).of(result.seq, result.value)
        found = verdict_on(result.value, result.direction, parts, far)
        waiting = found.word in ("claimed", "inconclusive") and len(parts) < ENOUGH
        with self._db.write() as connection:
            connection.execute(
                "UPDATE results SET verdict = ?, runs = ?, mean = ?, sd = ?, mean_cost = ?, "
                "waiting = ? WHERE seq = ?",
                (
                    *(found.word, found.runs, found.mean, found.sd),
                    *(_cost(found.mean, result.direction), waiting, result.seq),
                ),
            )
            if found.word != result.verdict:
                self._events.append("verdict", result.seq, "hub", self._project)

    def _noise(self, tier: str) -> Noise:
        return measured_noise(self._db, self._project, tier)

    def _rules(self) -> Rules:
        return Projects(self._db).by_id(self._project).rules

    def _read(self, where: str, *values: object) -> tuple[Result, ...]:
        rows = self._db.rows(f"SELECT {COLUMNS} {FROM} WHERE {where}", *values)
        return tuple(result_of(row) for row in rows)


def result_of(row: Row) -> Result:
    """A result from a row of COLUMNS."""
    return noun(Result, row, waiting=bool(row["waiting"]))


def _cost(value: float | None, direction: str) -> float | None:
    """The value with its sign turned, if needed, so that less is better."""
    return -value if value is not None and direction == "higher" else value


def _check(draft: Draft, rules: Rules) -> None:
    check_abbreviation(draft.commit)
    check_platform(draft.platform)
    if draft.metric not in ("", rules.metric):
        raise BadInput(f"This project measures {rules.metric}, not {draft.metric}.")
    if draft.status not in STATUSES:
        raise BadInput(f"A status is {', '.join(STATUSES)}, not {clean_line(draft.status, 40)}.")
    if draft.status == "keep" and draft.value is None:
        raise BadInput(
            "A result that was kept has a value. Give it, or use the status discard or crash."
        )
    for name in ("value", "memory_gb", "seconds"):
        number = getattr(draft, name)
        least = -math.inf if name == "value" else 0
        if number is not None and not (math.isfinite(number) and number >= least):
            raise BadInput(f"{name} is a finite number, not negative where it cannot be: {number}.")
    if draft.seed is not None and abs(draft.seed) >= LAST:
        raise BadInput(f"A seed is a whole number under 2**62, not {draft.seed}.")


def _verification(row: Row) -> Verification:
    values = tuple(json.loads(row["values"]))
    return noun(Verification, row, runner=bool(row["trusted"]), values=values)


# ---- the ranking: one board per tier, of confirmed results or of claimed ones ------------------


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
        where, values = narrowed(f"r.project = ? AND {where}", [self._project], **{"r.tier": tier})
        return self._db.read().execute(
            f"SELECT {COLUMNS} {FROM} WHERE {where} ORDER BY {cost}, r.seq LIMIT {LOOKED_AT}",
            values,
        )


def _terms(replicated: bool) -> tuple[str, str]:
    return ("r.mean_cost", CONFIRMED) if replicated else ("r.cost", CLAIMED)


# ---- recomputing, after an admin changed a rule or trust in an agent ---------------------------
# Each batch is one transaction, so that other requests can write in between. If the process is
# killed half-way, the admin repeats the command.

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
        for rows in database.batches(query, project, size=BATCH):
            tiers = ((tier_of(row["platform"], names), row["seq"], row["tier"]) for row in rows)
            changed = [(tier, seq) for tier, seq, before in tiers if tier != before]
            if changed:
                with database.write() as connection:
                    connection.executemany(f"UPDATE {table} SET tier = ? WHERE seq = ?", changed)


def recompute_verdicts(database: Database, project: int) -> None:
    """Recompute the verdict on every verified result of a project."""
    results = Results(database, project)
    for rows in database.batches(_VERIFIED, project, size=BATCH):
        results.update_verdicts([row["seq"] for row in rows])


def projects_of(database: Database, verifier: str) -> tuple[int, ...]:
    """The projects in which an agent has verified a result."""
    rows = database.rows(
        "SELECT DISTINCT r.project FROM verifications v JOIN results r ON r.seq = v.result "
        "WHERE v.verifier = ? ORDER BY r.project",
        verifier,
    )
    return tuple(row["project"] for row in rows)
