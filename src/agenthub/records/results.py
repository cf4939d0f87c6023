"""Results: what agents measured, and the verifications by other agents.

A result is `claimed` until another agent has run its exact tree. `verdicts.py` has the rule.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from sqlite3 import Row

from agenthub.errors import BadInput, Conflict, Forbidden, Missing
from agenthub.records.commits import Commit, Commits
from agenthub.records.database import Database
from agenthub.records.events import Events, capped
from agenthub.records.noise import Noise, measured_noise
from agenthub.records.projects import Projects, Rules
from agenthub.records.result_line import DESCRIPTION, parse
from agenthub.records.verdicts import Runs, Verdict, runs_of, verdict_on
from agenthub.tiers import tier_of
from agenthub.validation import check_abbreviation, check_hash, check_platform, clean_line

STATUSES = ("keep", "discard", "crash")
MOST_RUNS = 64  # of one verification
ENOUGH = 3  # verifiers, after which an inconclusive result waits no longer
NEWEST = 1 << 62


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
        with self._db.write():
            for sha in shas:
                rows = self._db.rows(
                    'SELECT seq, named FROM results WHERE project = ? AND "commit" IS NULL '
                    "AND substr(named, 1, 7) = ? AND ? LIKE named || '%'",
                    *(self._project, sha[:7], sha),
                )
                settled += sum(self._settle(row["seq"], row["named"]) for row in rows)
        return settled

    def verify(
        self, result: int, verifier: str, *, tree: str, platform: str, values: Sequence[float]
    ) -> Result:
        """Record another agent's runs of a result's exact tree, and recompute its verdict."""
        check_platform(platform)
        self._check_verifiable(self.get(result), verifier, tree)
        runs = runs_of(_checked_values(values))
        with self._db.write() as connection:
            query = "SELECT 1 FROM verifications WHERE result = ? AND verifier = ?"
            if self._db.row(query, result, verifier):
                raise Conflict(f"{verifier} has verified result {result} already. Take another.")
            # A record of that day; a verdict uses the current trust in the agent.
            runner = self._db.number("SELECT runner FROM agents WHERE id = ?", verifier)
            connection.execute(
                "INSERT INTO verifications(result, verifier, runner, platform, tier, runs, mean, "
                'sd, "values", created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
                (
                    *(result, verifier, runner, platform, tier_of(platform, self._rules().tiers)),
                    *(runs.runs, runs.mean, runs.sd, json.dumps(list(values)), self._db.now()),
                ),
            )
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
        self,
        limit: int = 50,
        before: int | None = None,
        *,
        agent: str | None = None,
        status: str | None = None,
        tier: str | None = None,
    ) -> tuple[Result, ...]:
        """The newest results, or those before a seq; newest first."""
        where, values = "r.project = ? AND r.seq < ?", [self._project, before or NEWEST]
        for column, wanted in (("agent", agent), ("status", status), ("tier", tier)):
            if wanted is not None:
                where, values = f"{where} AND r.{column} = ?", [*values, wanted]  # type: ignore[list-item]
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
            '"commit"': None if commit is None else commit.seq,
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
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        with self._db.write() as connection:
            query = f"INSERT INTO results({names}) VALUES ({marks}) RETURNING seq"
            seq = connection.execute(query, tuple(columns.values())).fetchone()[0]
            self._events.append("result", seq, agent, self._project)
            return self.get(seq)

    def _settle(self, seq: int, named: str) -> bool:
        commit = self._pushed(named)
        if commit is None:
            return False  # by now the hash is ambiguous
        with self._db.write() as connection:
            connection.execute(
                "UPDATE results SET \"commit\" = ?, waiting = status = 'keep' WHERE seq = ?",
                (commit.seq, seq),
            )
            self._events.append("result", seq, commit.agent, self._project)
        return True

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
        parts = [
            Runs(found.runs, found.mean, found.sd, found.runner)
            for found in self.verifications(result.seq)
            if found.tier == result.tier
        ]
        far = self._rules().noise or noise(result.tier).of(result.seq, result.value)
        found = verdict_on(result.value, result.direction, parts, far)
        open_ = found.word in ("claimed", "inconclusive") and len(parts) < ENOUGH
        self._write_verdict(result, found, open_)

    def _write_verdict(self, result: Result, found: Verdict, waiting: bool) -> None:
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
    return Result(**{**dict(row), "waiting": bool(row["waiting"])})


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
    if draft.seed is not None and abs(draft.seed) >= NEWEST:
        raise BadInput(f"A seed is a whole number under 2**62, not {draft.seed}.")


def _checked_values(values: Sequence[float]) -> Sequence[float]:
    if not 1 <= len(values) <= MOST_RUNS:
        raise BadInput(f"{len(values)} values were given; a verification has 1 to {MOST_RUNS}.")
    if not all(math.isfinite(value) and abs(value) < 1e100 for value in values):
        raise BadInput("Every value must be a finite number. Leave out runs that crashed.")
    return values


def _verification(row: Row) -> Verification:
    parts = dict(row)
    trusted, values = bool(parts.pop("trusted")), tuple(json.loads(row["values"]))
    return Verification(**{**parts, "runner": trusted, "values": values})
