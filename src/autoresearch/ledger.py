"""The record of all trials: one SQLite file, written before anything else moves.

Every row walks proposed → committed → running → ran → judged → decided → applied; opening a study
finishes or repeats the one row that stopped on the way. results.tsv and JSONL are views of this.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from autoresearch.errors import LedgerError
from autoresearch.metric import Metric

SCHEMA_VERSION = 1


class Status(StrEnum):
    """What became of a trial."""

    KEEP = "keep"
    DISCARD = "discard"
    CRASH = "crash"


class State(StrEnum):
    """How far a trial has come; the order is the order of the line."""

    PROPOSED = "proposed"  # an edit was collected
    COMMITTED = "committed"  # it is a commit, pinned by a ref
    RUNNING = "running"  # an attempt is under way
    RAN = "ran"  # the attempt ended and is recorded
    JUDGED = "judged"  # its number was read, or its failure named
    DECIDED = "decided"  # status and reason are final
    APPLIED = "applied"  # the branch agrees


# Where a trial may go from each state. A verdict of "again" leads from judged back to running.
_NEXT = {
    State.PROPOSED: {State.COMMITTED, State.DECIDED},
    State.COMMITTED: {State.RUNNING},
    State.RUNNING: {State.RUNNING, State.RAN},
    State.RAN: {State.JUDGED},
    State.JUDGED: {State.RUNNING, State.DECIDED},
    State.DECIDED: {State.APPLIED},
    State.APPLIED: set[State](),
}


@dataclass(frozen=True)
class Attempt:
    """One run of a candidate's command."""

    number: int  # from 0, within its trial
    seed: int
    seconds: float  # wall clock of the whole attempt
    exit_code: int | None  # None when it was killed
    value: float | None  # the metric, or None when there is no usable one
    memory_gb: float  # peak: of the accelerator where one was used, else resident memory
    trust: str = "log"  # who produced the number: the candidate's own log
    sandbox: str = "none"  # what stood between it and the machine
    reason: str = ""  # why there is no usable value: timeout, oom, no_metric, invalid, ...
    detail: str = ""  # one line for people: the log's own words
    numbers: Mapping[str, float] = field(default_factory=dict)  # all that the log printed


@dataclass(frozen=True)
class Trial:
    """One candidate: proposed, run, measured and judged."""

    number: int  # 0 is the baseline
    parent: str  # commit it was made from; the base commit for the baseline
    note: str
    proposer: str
    state: State = State.PROPOSED
    commit: str = ""
    tree: str = ""
    status: Status | None = None
    reason: str = ""
    created: str = ""  # UTC, ISO 8601
    cost_usd: float = 0.0
    attempts: tuple[Attempt, ...] = ()

    @property
    def is_baseline(self) -> bool:
        """Whether it is the unedited start of a study."""
        return self.parent == self.commit

    @property
    def value(self) -> float | None:
        """The metric of the last attempt, or None when it has none."""
        return self.attempts[-1].value if self.attempts else None

    @property
    def memory_gb(self) -> float:
        """Peak memory of the last attempt, in GiB; 0 when nothing ran."""
        return self.attempts[-1].memory_gb if self.attempts else 0.0

    @property
    def seconds(self) -> float:
        """Wall clock of all attempts together."""
        return sum(attempt.seconds for attempt in self.attempts)

    @property
    def detail(self) -> str:
        """The last attempt's own words, one line."""
        return self.attempts[-1].detail if self.attempts else ""


_TABLES = {"study", "trial", "attempt"}
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS study(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS trial(
  number INTEGER PRIMARY KEY CHECK(number >= 0),
  parent TEXT NOT NULL,
  note TEXT NOT NULL,
  proposer TEXT NOT NULL,
  state TEXT NOT NULL CHECK(state IN ({", ".join(f"'{s}'" for s in State)})),
  "commit" TEXT NOT NULL,
  tree TEXT NOT NULL,
  status TEXT CHECK(status IN ({", ".join(f"'{s}'" for s in Status)})),
  reason TEXT NOT NULL,
  created TEXT NOT NULL,
  cost_usd REAL NOT NULL CHECK(cost_usd >= 0),
  CHECK((status IS NULL) = (state NOT IN ('decided', 'applied')))
) STRICT;
CREATE TABLE IF NOT EXISTS attempt(
  trial INTEGER NOT NULL REFERENCES trial(number),
  number INTEGER NOT NULL CHECK(number >= 0),
  seed INTEGER NOT NULL,
  seconds REAL NOT NULL CHECK(seconds >= 0),
  exit_code INTEGER,
  value REAL,
  memory_gb REAL NOT NULL,
  trust TEXT NOT NULL,
  sandbox TEXT NOT NULL,
  reason TEXT NOT NULL,
  detail TEXT NOT NULL,
  numbers TEXT NOT NULL,
  PRIMARY KEY(trial, number),
  CHECK(value IS NULL OR reason = '')
) STRICT;
PRAGMA user_version = {SCHEMA_VERSION};
"""

_TRIAL_COLUMNS = (
    "number", "parent", "note", "proposer", "state", "commit", "tree",
    "status", "reason", "created", "cost_usd",
)  # fmt: skip
_ATTEMPT_COLUMNS = (
    "number", "seed", "seconds", "exit_code", "value", "memory_gb",
    "trust", "sandbox", "reason", "detail", "numbers",
)  # fmt: skip


class Ledger:
    """All trials of one study. What a method has returned from is on disk."""

    def __init__(self, path: Path, metric: Metric) -> None:
        self.path = path
        self.metric = metric
        with _explained(path):
            self._db = sqlite3.connect(path, isolation_level=None)
        try:
            with _explained(path):
                self._open()
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    # ---- writing -------------------------------------------------------------------------------

    def add(self, trial: Trial) -> Trial:
        """Write a new trial; its number is the next free one."""
        with self._transaction():
            row = self._db.execute("SELECT coalesce(max(number) + 1, 0) FROM trial").fetchone()
            trial = replace(trial, number=row[0])
            marks = ", ".join("?" * len(_TRIAL_COLUMNS))
            self._db.execute(f"INSERT INTO trial VALUES ({marks})", _trial_row(trial))
        return trial

    def advance(self, trial: Trial, state: State, **changes: Any) -> Trial:
        """Write a trial's next state, and what came to be known with it."""
        later = _stepped(trial, state, **changes)
        with self._transaction():
            self._update(later, trial.state)
        return later

    def add_attempt(self, trial: Trial, attempt: Attempt) -> Trial:
        """Write that an attempt ended; its number is read from the log later."""
        later = _stepped(trial, State.RAN, attempts=(*trial.attempts, attempt))
        marks = ", ".join("?" * (len(_ATTEMPT_COLUMNS) + 1))
        with self._transaction():
            self._db.execute(
                f"INSERT INTO attempt VALUES ({marks})", (trial.number, *_attempt_row(attempt))
            )
            self._update(later, trial.state)
        return later

    def judge_attempt(self, trial: Trial, attempt: Attempt) -> Trial:
        """Write what the last attempt was worth."""
        later = _stepped(trial, State.JUDGED, attempts=(*trial.attempts[:-1], attempt))
        names = ", ".join(f"{name} = ?" for name in _ATTEMPT_COLUMNS)
        with self._transaction():
            self._db.execute(
                f"UPDATE attempt SET {names} WHERE trial = ? AND number = ?",
                (*_attempt_row(attempt), trial.number, attempt.number),
            )
            self._update(later, trial.state)
        return later

    def abandon(self, trial: Trial) -> None:
        """Take back the row of a trial that never became a commit."""
        if trial.state is not State.PROPOSED:
            raise ValueError(f"trial {trial.number} is {trial.state}, and stays on record")
        with self._transaction():
            self._db.execute("DELETE FROM trial WHERE number = ?", (trial.number,))

    def remember(self, **facts: str) -> None:
        """Write facts of the study itself: its tag, base commit, task, machine."""
        with self._transaction():
            self._db.executemany(
                "INSERT INTO study VALUES (?, ?) "
                "ON CONFLICT(key) DO UPDATE SET value = excluded.value",
                facts.items(),
            )

    # ---- reading -------------------------------------------------------------------------------

    @property
    def facts(self) -> dict[str, str]:
        """What `remember` wrote."""
        return dict(self._select("SELECT key, value FROM study ORDER BY key"))

    def trials(self) -> tuple[Trial, ...]:
        """All trials, oldest first."""
        return tuple(self._read("1"))

    def trial(self, number: int) -> Trial:
        """One trial; LedgerError when there is none of that number."""
        count = len(self)
        if 0 <= number < count:
            return next(self._read("number = ?", number))
        allowed = f"0 to {count - 1}" if count else "none yet"
        raise LedgerError(f"No trial {number} in this study (there are: {allowed}).")

    def unfinished(self) -> Trial | None:
        """The one trial that is not applied yet, if any."""
        return next(self._read("state <> 'applied'"), None)

    def kept(self) -> tuple[Trial, ...]:
        """The staircase: kept trials, oldest first."""
        return tuple(self._read("status = 'keep'"))

    def best(self) -> Trial | None:
        """The last kept trial: the incumbent that a challenger must beat."""
        return next(self._read("status = 'keep' ORDER BY number DESC LIMIT 1"), None)

    def best_before(self, trial: Trial) -> Trial | None:
        """The incumbent that a trial had to beat."""
        newest = "status = 'keep' AND number < ? ORDER BY number DESC LIMIT 1"
        return next(self._read(newest, trial.number), None)

    def tried(self, tree: str) -> Trial | None:
        """The first finished trial of the same files, if any."""
        return next(self._read("tree = ? AND state = 'applied' LIMIT 1", tree), None)

    def children(self, commit: str) -> tuple[Trial, ...]:
        """Trials made from a commit."""
        return tuple(self._read('parent = ? AND "commit" <> parent', commit))

    def leaves(self) -> tuple[Trial, ...]:
        """Finished trials that nothing was made from."""
        child = 'SELECT 1 FROM trial c WHERE c.parent = trial."commit" AND c."commit" <> c.parent'
        return tuple(self._read(f"state = 'applied' AND \"commit\" <> '' AND NOT EXISTS ({child})"))

    def lineage(self, trial: Trial) -> tuple[Trial, ...]:
        """The chain of parents from the baseline to a trial, both included."""
        made_by = {t.commit: t for t in self._read("number <= ?", trial.number) if t.commit}
        chain = [trial]
        while not chain[-1].is_baseline and chain[-1].parent in made_by:
            chain.append(made_by[chain[-1].parent])
        return tuple(reversed(chain))

    def integrity(self) -> str:
        """What SQLite says of the file: "ok", or the first trouble it finds."""
        return str(self._select("PRAGMA integrity_check(1)")[0][0])

    def __len__(self) -> int:
        return int(self._select("SELECT count(*) FROM trial")[0][0])

    # ---- inside --------------------------------------------------------------------------------

    def _open(self) -> None:
        self._db.execute("PRAGMA busy_timeout = 5000")
        self._check_schema()
        self._want_wal()
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")

    def _want_wal(self) -> None:
        mode = self._db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise LedgerError(
                f"SQLite cannot keep {self.path} in WAL mode (its answer is {mode!r}): the file "
                "system has no shared memory or no locks, as those of networks and of shared "
                "folders. Clone the lab to a local disk and run there."
            )

    def _update(self, trial: Trial, was: State) -> None:
        names = ", ".join(f'"{name}" = ?' for name in _TRIAL_COLUMNS)
        changed = self._db.execute(
            f"UPDATE trial SET {names} WHERE number = ? AND state = ?",
            (*_trial_row(trial), trial.number, was),
        )
        if changed.rowcount != 1:
            raise LedgerError(
                f"Trial {trial.number} of {self.path} is not {was} any more: another process "
                "has written to this study. Run one at a time."
            )

    def _select(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with _explained(self.path):
            return self._db.execute(query, values).fetchall()

    def _read(self, where: str, *values: object) -> Iterator[Trial]:
        columns = ", ".join(f'"{name}"' for name in _TRIAL_COLUMNS)
        tail = "" if "ORDER BY" in where or "LIMIT" in where else " ORDER BY number"
        chosen = f"FROM trial WHERE {where}{tail}"
        attempts = self._attempts(f"SELECT number {chosen}", *values)
        for row in self._select(f"SELECT {columns} {chosen}", *values):
            yield _trial(dict(zip(_TRIAL_COLUMNS, row, strict=True)), attempts.get(row[0], []))

    def _attempts(self, trials: str, *values: object) -> dict[int, list[Attempt]]:
        """The attempts of those trials whose numbers a query gives, by trial."""
        columns = ", ".join(_ATTEMPT_COLUMNS)
        query = (
            f"SELECT trial, {columns} FROM attempt WHERE trial IN ({trials}) ORDER BY trial, number"
        )
        found: dict[int, list[Attempt]] = {}
        for number, *row in self._select(query, *values):
            found.setdefault(number, []).append(_attempt(tuple(row)))
        return found

    def _check_schema(self) -> None:
        both = "SELECT user_version, name FROM pragma_user_version LEFT JOIN sqlite_master"
        rows = self._db.execute(both).fetchall()  # one look: somebody may be making it right now
        version, tables = rows[0][0], {name for _, name in rows if name}
        if version == 0 and not tables:
            self._db.executescript(f"BEGIN EXCLUSIVE;{_SCHEMA}COMMIT;")
        elif tables >= _TABLES and version > SCHEMA_VERSION:
            raise LedgerError(
                f"{self.path} was written by a newer AutoResearch (schema {version}, this one "
                f"reads up to {SCHEMA_VERSION}). Update AutoResearch, or use another --tag."
            )
        elif not tables >= _TABLES or version != SCHEMA_VERSION:
            raise LedgerError(
                f"{self.path} is a database, but not a ledger of AutoResearch. "
                "Move it away, or use another --tag."
            )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with _explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # on a full disk SQLite has ended it already
                    self._db.execute("ROLLBACK")
                raise


def _stepped(trial: Trial, state: State, **changes: Any) -> Trial:
    if state not in _NEXT[trial.state]:
        raise ValueError(f"trial {trial.number} cannot go from {trial.state} to {state}")
    return replace(trial, state=state, **changes)


def _trial(row: dict[str, Any], attempts: list[Attempt]) -> Trial:
    row["state"] = State(row["state"])
    row["status"] = Status(row["status"]) if row["status"] else None
    return Trial(**row, attempts=tuple(attempts))


def _attempt(row: tuple[Any, ...]) -> Attempt:
    fields = dict(zip(_ATTEMPT_COLUMNS, row, strict=True))
    return Attempt(**fields | {"numbers": json.loads(fields["numbers"])})


def _attempt_row(attempt: Attempt) -> tuple[Any, ...]:
    values = [getattr(attempt, name) for name in _ATTEMPT_COLUMNS[:-1]]
    return (*values, json.dumps(dict(attempt.numbers), sort_keys=True))


def _trial_row(trial: Trial) -> tuple[Any, ...]:
    return tuple(getattr(trial, name) for name in _TRIAL_COLUMNS)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn SQLite's trouble into ours, with the file's name."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise LedgerError(
            f"The ledger {path} cannot be used: {error}. If it is damaged, move it away and keep "
            "it: the commits stay pinned under refs/autoresearch/."
        ) from error
