"""Claims: an agent announces what it is about to try, so that no other agent runs it, too.

A claim ends at a set time. An agent that claims a tree or a change that was tried already, or is
being tried, learns by whom and gets no claim.
"""

from __future__ import annotations

from dataclasses import dataclass
from sqlite3 import Row

from agenthub.errors import BadInput, Conflict, Forbidden, Missing
from agenthub.records.commits import Commits
from agenthub.records.database import Database, noun
from agenthub.records.events import Events, capped
from agenthub.records.results import Result, Results
from agenthub.validation import check_hash, check_text

SECONDS = 900  # of a claim by default
LONGEST = 14_400
TEXT_BYTES = 2_000
CLAIMS_EACH = 8  # open ones of an agent
PRIORS = 10  # listed for one claim


@dataclass(frozen=True)
class Claim:
    """One agent's exclusive right to try something until a time."""

    id: int
    agent: str
    text: str
    tree: str  # empty: not given
    patch_id: str
    state: str  # open, finished, released
    created: int
    expires: int


@dataclass(frozen=True)
class Prior:
    """The same tree or change, tried before or being tried."""

    kind: str  # commit or claim
    same: str  # tree or patch_id
    ref: str  # the commit's hash, the claim's number
    agent: str
    time: int
    results: tuple[Result, ...] = ()  # of the commit, where reported


@dataclass(frozen=True)
class Answer:
    """The answer to a claim: the claim itself, or who was first."""

    claim: Claim | None
    prior: tuple[Prior, ...]

    @property
    def granted(self) -> bool:
        """Whether the agent may try it now."""
        return self.claim is not None


class Claims:
    """The claims of one project."""

    def __init__(self, database: Database, project: int) -> None:
        self._db = database
        self._project = project
        self._commits = Commits(database, project)
        self._results = Results(database, project)
        self._events = Events(database)

    def claim(
        self,
        agent: str,
        text: str,
        *,
        tree: str = "",
        patch_id: str = "",
        seconds: int = SECONDS,
        anyway: bool = False,
    ) -> Answer:
        """Claim what an agent is about to try, unless it was tried or another agent tries it now.

        `anyway` grants what was tried before (another seed, another machine), never what another
        agent holds. An agent that claims the same again extends its claim.
        """
        words = check_text(text, "A claim's text", TEXT_BYTES)
        for given in filter(None, (tree, patch_id)):
            check_hash(given)
        if not 1 <= seconds <= LONGEST:
            raise BadInput(f"A claim is for 1 to {LONGEST:,} seconds, not {seconds:,}.")
        with self._db.write():
            own = self._same_of(agent, tree, patch_id)
            if own is not None:
                return Answer(self._extend(own, seconds), ())
            held, tried = self._prior(tree, patch_id, agent)
            prior = (*held, *tried)[:PRIORS]
            if held or (tried and not anyway):
                return Answer(None, prior)
            return Answer(self._add(agent, words, tree, patch_id, seconds), prior)

    def prior(self, *, tree: str = "", patch_id: str = "") -> tuple[Prior, ...]:
        """Held claims, commits and finished claims with exactly this tree or change."""
        held, tried = self._prior(tree, patch_id)
        return (*held, *tried)[:PRIORS]

    def extend(self, claim: int, agent: str, seconds: int = SECONDS) -> Claim:
        """Extend an open claim; Conflict when it has run out."""
        if not 1 <= seconds <= LONGEST:
            raise BadInput(f"A claim is for 1 to {LONGEST:,} seconds, not {seconds:,}.")
        with self._db.write():
            return self._extend(self._own(claim, agent), seconds)

    def finish(self, claim: int, agent: str) -> Claim:
        """Mark a claim as tried, even one that ran out; the same is not granted again."""
        return self._end(claim, agent, "finished")

    def release(self, claim: int, agent: str) -> Claim:
        """Give a claim back untried: any agent may claim it."""
        return self._end(claim, agent, "released")

    def get(self, claim: int) -> Claim:
        """One claim; Missing when there is none in this project."""
        query = "SELECT * FROM claims WHERE id = ? AND project = ?"
        row = self._db.row(query, claim, self._project)
        if row is None:
            raise Missing(f"There is no claim {claim} in this project.")
        return noun(Claim, row)

    def open(self, limit: int = 50, after: int = 0) -> tuple[Claim, ...]:
        """Open claims after an id, oldest first."""
        rows = self._db.rows(
            "SELECT * FROM claims WHERE project = ? AND state = 'open' AND expires > ? "
            "AND id > ? ORDER BY id LIMIT ?",
            *(self._project, self._db.now(), after, capped(limit)),
        )
        return tuple(noun(Claim, row) for row in rows)

    # ---- inside --------------------------------------------------------------------------------

    def _add(self, agent: str, text: str, tree: str, patch_id: str, seconds: int) -> Claim:
        now = self._db.now()
        query = "SELECT count(*) FROM claims WHERE agent = ? AND state = 'open' AND expires > ?"
        if self._db.number(query, agent, now) >= CLAIMS_EACH:
            raise Conflict(
                f"{agent} holds {CLAIMS_EACH} claims, the most there may be. Finish or release one."
            )
        columns = {"agent": agent, "text": text, "tree": tree, "patch_id": patch_id, "created": now}
        columns |= {"project": self._project, "state": "open", "expires": now + seconds}
        with self._db.write():
            row = self._db.insert("claims", **columns)
            self._events.append("claim", row["id"], agent, self._project)
        return noun(Claim, row)

    def _extend(self, claim: Claim, seconds: int) -> Claim:
        if claim.state != "open" or claim.expires <= self._db.now():
            raise Conflict(f"Claim {claim.id} is not held any more. Claim again.")
        until = max(claim.expires, self._db.now() + seconds)
        with self._db.write() as connection:
            connection.execute("UPDATE claims SET expires = ? WHERE id = ?", (until, claim.id))
        return self.get(claim.id)

    def _end(self, claim: int, agent: str, state: str) -> Claim:
        with self._db.write() as connection:
            found = self._own(claim, agent)
            if found.state != "open":
                raise Conflict(f"Claim {claim} is {found.state} already.")
            connection.execute("UPDATE claims SET state = ? WHERE id = ?", (state, claim))
            self._events.append(f"claim {state}", claim, agent, self._project)
            return self.get(claim)

    def _own(self, claim: int, agent: str) -> Claim:
        found = self.get(claim)
        if found.agent != agent:
            raise Forbidden(f"Claim {claim} is {found.agent}'s.")
        return found

    def _prior(self, tree: str, patch_id: str, agent: str = "") -> tuple[list[Prior], list[Prior]]:
        """Claims that other agents hold; and what any agent has tried."""
        rows = self._claimed(tree, patch_id)
        held = [row for row in rows if row["state"] == "open" and row["agent"] != agent]
        done = [row for row in rows if row["state"] == "finished"]
        tried = [*self._pushed(tree, patch_id), *(_of_claim(row, tree) for row in done)]
        return [_of_claim(row, tree) for row in held], tried

    def _same_of(self, agent: str, tree: str, patch_id: str) -> Claim | None:
        rows = self._claimed(tree, patch_id)
        mine = [noun(Claim, row) for row in rows if (row["agent"], row["state"]) == (agent, "open")]
        same = (each for each in mine if (each.tree, each.patch_id) == (tree, patch_id))
        return next(same, None)

    def _claimed(self, tree: str, patch_id: str) -> list[Row]:
        """Held and finished claims of this tree or change, newest first; no expired ones."""
        return self._db.rows(
            "SELECT * FROM claims WHERE project = ?1 AND id IN ("
            "  SELECT id FROM claims WHERE project = ?1 AND tree = ?2 AND tree <> ''"
            "  UNION SELECT id FROM claims WHERE project = ?1 AND patch_id = ?3 AND patch_id <> '')"
            "AND (state = 'finished' OR (state = 'open' AND expires > ?4)) "
            f"ORDER BY state DESC, id DESC LIMIT {PRIORS}",
            *(self._project, tree, patch_id, self._db.now()),
        )

    def _pushed(self, tree: str, patch_id: str) -> list[Prior]:
        same_tree = self._commits.by_tree(tree, PRIORS) if tree else ()
        same_patch = self._commits.by_patch_id(patch_id, PRIORS) if patch_id else ()
        found = {commit.sha: ("tree", commit) for commit in same_tree}
        for commit in same_patch:
            found.setdefault(commit.sha, ("patch_id", commit))
        return [
            Prior("commit", same, sha, commit.agent, commit.received, self._results.of_commit(sha))
            for sha, (same, commit) in found.items()
        ]


def _of_claim(row: Row, tree: str) -> Prior:
    same = "tree" if tree and row["tree"] == tree else "patch_id"
    return Prior("claim", same, str(row["id"]), row["agent"], row["created"])
