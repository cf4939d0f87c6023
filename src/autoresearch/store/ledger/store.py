"""The record of all trials: one SQLite file, written before anything else moves.

Every trial walks proposed → committed → running → executed → measured → decided → applied.
Opening a study finishes or repeats the one trial that stopped on the way. results.tsv and JSONL are
views of this.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoresearch.errors import LedgerError
from autoresearch.lab.metric import Metric
from autoresearch.store.ledger.explanation import Explanation
from autoresearch.store.ledger.record import Record
from autoresearch.store.ledger.schema import (
    OLD_TABLES,
    RUN_COLUMNS,
    SCHEMA,
    SPEND_COLUMNS,
    TABLES,
    TRIAL_COLUMNS,
    UPGRADES,
    VERSION,
)
from autoresearch.store.ledger.trial import NEXT, UNSTATED, Run, Spend, State, Status, Trial


class Ledger:
    """All trials of one study. A method returns once its change is on disk.

    What was read stays in memory: it is read again after another process wrote to the file.
    """

    def __init__(self, path: Path, metric: Metric) -> None:
        self.path = path
        self.metric = metric
        self._known: Record | None = None  # all trials, as they are on disk
        self._version = -1  # of the file, when they were read: others' writes change it
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

    def add(self, trial: Trial, tokens: int = 0, unstated_usd: float = 0.0) -> Trial:
        """Write a new trial and what it cost; its number is the next free one."""
        with self._transaction() as changed:
            row = self._db.execute("SELECT coalesce(max(number) + 1, 0) FROM trial").fetchone()
            trial = replace(trial, number=row[0])
            changed.add(trial.number)
            self._insert("trial", TRIAL_COLUMNS, _trial_row(trial))
            if trial.cost_usd or tokens:
                cost = Spend(trial.created, trial.proposer, trial.cost_usd, tokens, trial.number)
                self._insert("spend", SPEND_COLUMNS, _spend_row(cost))
            self._add_unstated(trial.created, trial.proposer, unstated_usd, trial.number)
        return trial

    def spend(self, cost: Spend, unstated_usd: float = 0.0) -> None:
        """Write the cost of a proposal that became no trial."""
        with self._transaction():
            self._insert("spend", SPEND_COLUMNS, _spend_row(cost))
            self._add_unstated(cost.at, cost.proposer, unstated_usd, None)

    def advance(self, trial: Trial, state: State, **changes: Any) -> Trial:
        """Write a trial's next state, and what is known with it."""
        later = _moved(trial, state, **changes)
        with self._transaction(trial.number):
            self._update(later, trial.state)
        return later

    def add_run(self, trial: Trial, run: Run) -> Trial:
        """Write that a run ended; its number is read from the log later."""
        later = _moved(trial, State.EXECUTED, runs=(*trial.runs, run))
        with self._transaction(trial.number):
            self._insert("run", ("trial", *RUN_COLUMNS), (trial.number, *_run_row(run)))
            self._update(later, trial.state)
        return later

    def measure_run(self, trial: Trial, run: Run) -> Trial:
        """Write the last run's number, or why it has none."""
        later = _moved(trial, State.MEASURED, runs=(*trial.runs[:-1], run))
        names = ", ".join(f'"{name}" = ?' for name in RUN_COLUMNS)
        with self._transaction(trial.number):
            self._db.execute(
                f"UPDATE run SET {names} WHERE trial = ? AND number = ?",
                (*_run_row(run), trial.number, run.number),
            )
            self._update(later, trial.state)
        return later

    def abandon(self, trial: Trial) -> None:
        """Delete the row of a trial that never became a commit."""
        if trial.state is not State.PROPOSED:
            raise ValueError(f"trial {trial.number} is {trial.state}, and stays on record")
        with self._transaction(trial.number):
            self._db.execute("DELETE FROM trial WHERE number = ?", (trial.number,))

    def remember(self, **facts: str) -> None:
        """Write facts of the study itself: its tag, base commit, task, machine."""
        with self._transaction():
            self._write_facts(facts)

    def recode(self, codes: Mapping[int, str], **facts: str) -> None:
        """Replace the fingerprints of trials and write facts, all in one transaction."""
        with self._transaction(*codes):
            self._db.executemany(
                "UPDATE trial SET code = ? WHERE number = ?",
                [(code, number) for number, code in codes.items()],
            )
            self._write_facts(facts)
        self._known = None  # its index of fingerprints is old

    # ---- reading -------------------------------------------------------------------------------

    @property
    def facts(self) -> dict[str, str]:
        """What `remember` wrote."""
        return dict(self._select("SELECT key, value FROM study ORDER BY key"))

    def trials(self, start: int = 0, end: int = 1 << 62) -> tuple[Trial, ...]:
        """All trials, oldest first; of those, number `start` up to, not including, `end`."""
        return self._record().slice(start, end)

    def trial(self, number: int) -> Trial:
        """One trial; LedgerError when there is none of that number."""
        found = self._record().trials.get(number)
        if found is None:
            count = len(self)
            allowed = f"0 to {count - 1}" if count else "none yet"
            raise LedgerError(f"No trial {number} in this study (there are: {allowed}).")
        return found

    def unfinished(self) -> Trial | None:
        """The one trial that is not applied yet, if any."""
        return next(self._record().unfinished(), None)

    def kept(self) -> tuple[Trial, ...]:
        """The staircase: kept trials, oldest first."""
        return self._record().kept()

    def best(self) -> Trial | None:
        """The last kept trial: the incumbent that a challenger must beat."""
        kept = self._record().kept()
        return kept[-1] if kept else None

    def best_before(self, trial: Trial) -> Trial | None:
        """The incumbent that a trial had to beat."""
        kept = [one for one in self._record().kept() if one.number < trial.number]
        return kept[-1] if kept else None

    def number_of(self, commit: str, before: int) -> int | None:
        """The trial, of those below number `before`, that a commit is named after.

        The last that kept it, or else the first that it belongs to.
        """
        kept = [t.number for t in self._record().kept() if t.commit == commit]
        made = self._record().made_by.get(commit)
        known = [number for number in (*kept[::-1], made) if number is not None and number < before]
        return known[0] if known else None

    def tried(self, code: str) -> Trial | None:
        """The first finished trial of the same code that ran, if any."""
        return self._record().ran_with(code)

    def children(self, commit: str) -> tuple[Trial, ...]:
        """Trials made from a commit."""
        return tuple(t for t in self.trials() if t.parent == commit != t.commit)

    def leaves(self) -> tuple[Trial, ...]:
        """Finished trials without children."""
        parents = {t.parent for t in self.trials() if t.commit != t.parent}
        finished = (t for t in self.trials() if t.state is State.APPLIED and t.commit)
        return tuple(t for t in finished if t.commit not in parents)

    def lineage(self, trial: Trial) -> tuple[Trial, ...]:
        """The chain of parents from the baseline to a trial, both included."""
        made_by = {t.commit: t for t in self.trials(end=trial.number + 1) if t.commit}
        chain = [trial]
        while not chain[-1].is_baseline and chain[-1].parent in made_by:
            chain.append(made_by[chain[-1].parent])
        return tuple(reversed(chain))

    def steps_to(self, tip: str, since: str) -> tuple[Trial, ...]:
        """The trials that lead from commit `since` to commit `tip`, without that of `since`.

        Where `since` is not on the way they lead from the baseline.
        """
        made_by = self._record().made_by
        steps = []
        while tip != since and tip in made_by:
            steps.append(self._record().trials[made_by[tip]])
            if steps[-1].is_baseline:
                break
            tip = steps[-1].parent
        return tuple(reversed(steps))

    def made(self, commit: str) -> Trial | None:
        """The first trial that made a commit; None where no trial of this study did."""
        number = self._record().made_by.get(commit)
        return None if number is None else self._record().trials[number]

    def spends(self) -> tuple[Spend, ...]:
        """What proposals cost, oldest first, failed ones included."""
        columns = ", ".join(SPEND_COLUMNS)
        return tuple(Spend(*row) for row in self._select(f"SELECT {columns} FROM spend"))

    def unstated(self) -> float:
        """Dollars of `spent` that no session stated: limits of sessions that did not say."""
        return float(self._select("SELECT total(usd) FROM spend WHERE kind = ?", UNSTATED)[0][0])

    def spent(self) -> tuple[float, int]:
        """Dollars and tokens of all proposals together, unstated ones at their limit."""
        usd, tokens = self._select("SELECT total(usd), total(tokens) FROM spend")[0]
        return float(usd), int(tokens)

    def integrity(self) -> str:
        """SQLite's check of the file: "ok", or the first problem it finds."""
        return str(self._select("PRAGMA integrity_check(1)")[0][0])

    def __len__(self) -> int:
        return len(self._record().trials)

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

    def _record(self) -> Record:
        """All trials; from memory, unless another process has written to the file."""
        version = self._select("PRAGMA data_version")[0][0]
        if self._known is None or version != self._version:
            self._known, self._version = Record(self._read("1")), version
        return self._known

    def _insert(self, table: str, columns: Sequence[str], row: tuple[Any, ...]) -> None:
        names = ", ".join(f'"{name}"' for name in columns)
        marks = ", ".join("?" * len(columns))
        self._db.execute(f"INSERT INTO {table}({names}) VALUES ({marks})", row)

    def _write_facts(self, facts: Mapping[str, str]) -> None:
        self._db.executemany(
            "INSERT INTO study VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
            facts.items(),
        )

    def _add_unstated(self, at: str, by: str, usd: float, trial: int | None) -> None:
        if usd:
            row = _spend_row(Spend(at, by, usd, 0, trial, UNSTATED))
            self._insert("spend", SPEND_COLUMNS, row)

    def _update(self, trial: Trial, was: State) -> None:
        names = ", ".join(f'"{name}" = ?' for name in TRIAL_COLUMNS)
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
        columns = ", ".join(f'"{name}"' for name in TRIAL_COLUMNS)
        chosen = f"FROM trial WHERE {where} ORDER BY number"
        runs = self._runs(f"SELECT number {chosen}", *values)
        for row in self._select(f"SELECT {columns} {chosen}", *values):
            yield _trial(dict(zip(TRIAL_COLUMNS, row, strict=True)), runs.get(row[0], []))

    def _runs(self, trials: str, *values: object) -> dict[int, list[Run]]:
        """Runs by trial number; `trials` is a query that selects the numbers."""
        columns = ", ".join(f'"{name}"' for name in RUN_COLUMNS)
        query = f"SELECT trial, {columns} FROM run WHERE trial IN ({trials}) ORDER BY trial, number"
        found: dict[int, list[Run]] = {}
        for number, *row in self._select(query, *values):
            found.setdefault(number, []).append(_run(tuple(row)))
        return found

    def _check_schema(self) -> None:
        both = "SELECT user_version, name FROM pragma_user_version LEFT JOIN sqlite_master"
        rows = self._db.execute(both).fetchall()  # one query: another process may be making it now
        version, tables = rows[0][0], {name for _, name in rows if name}
        ours = tables >= TABLES or tables >= OLD_TABLES
        if version == 0 and not tables:
            self._db.executescript(f"BEGIN EXCLUSIVE;{SCHEMA}COMMIT;")
        elif ours and version > VERSION:
            raise LedgerError(
                f"{self.path} was written by a newer AutoResearch (schema {version}, this one "
                f"reads up to {VERSION}). Update AutoResearch, or use another --tag."
            )
        elif ours and version in UPGRADES:
            self._upgrade()
        elif not ours or version != VERSION:
            raise LedgerError(
                f"{self.path} is a database, but not a ledger of AutoResearch. "
                "Move it away, or use another --tag."
            )

    def _upgrade(self) -> None:
        """Bring an older schema up, step by step, in one transaction."""
        self._db.execute("PRAGMA foreign_keys = OFF")  # a rebuilt table is dropped and replaced
        self._db.execute("BEGIN EXCLUSIVE")
        try:
            while (found := self._db.execute("PRAGMA user_version").fetchone()[0]) in UPGRADES:
                for statement in filter(str.strip, UPGRADES[found].split(";")):
                    self._db.execute(statement)
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _transaction(self, *numbers: int) -> Iterator[set[int]]:
        """One transaction that changes the trials of these numbers, and of those added to the set.

        The record is out of memory meanwhile, so that an interrupt leaves nothing stale there.
        """
        known, self._known = self._known, None
        changed = set(numbers)
        with _explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield changed
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # on a full disk SQLite has ended it already
                    self._db.execute("ROLLBACK")
                raise
        if known is not None:
            for number in changed:
                known.put(number, next(self._read("number = ?", number), None))
            self._known = known


def _moved(trial: Trial, state: State, **changes: Any) -> Trial:
    if state not in NEXT[trial.state]:
        raise ValueError(f"trial {trial.number} cannot go from {trial.state} to {state}")
    return replace(trial, state=state, **changes)


def _trial(row: dict[str, Any], runs: list[Run]) -> Trial:
    row["state"] = State(row["state"])
    row["status"] = Status(row["status"]) if row["status"] else None
    row["explanation"] = Explanation.of(row["explanation"]) if row["explanation"] else None
    return Trial(**row, runs=tuple(runs))


def _run(row: tuple[Any, ...]) -> Run:
    fields = dict(zip(RUN_COLUMNS, row, strict=True))
    said = json.loads(fields["numbers"])
    in_words = isinstance(said.get("numbers"), dict)  # else there are numbers alone
    return Run(**fields | (said if in_words else {"numbers": said}))


def _run_row(run: Run) -> tuple[Any, ...]:
    said: dict[str, Any] = dict(run.numbers)
    if run.unread or run.feedback:
        said = {"numbers": said, "unread": dict(run.unread), "feedback": run.feedback}
    numbers = json.dumps(said, sort_keys=True)
    return tuple(numbers if name == "numbers" else getattr(run, name) for name in RUN_COLUMNS)


def _spend_row(cost: Spend) -> tuple[Any, ...]:
    return tuple(getattr(cost, name) for name in SPEND_COLUMNS)


def _trial_row(trial: Trial) -> tuple[Any, ...]:
    row = {name: getattr(trial, name) for name in TRIAL_COLUMNS}
    row["explanation"] = trial.explanation and trial.explanation.text
    return tuple(row.values())


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn an error of SQLite into a LedgerError that names the file."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise LedgerError(
            f"The ledger {path} cannot be used: {error}. If it is damaged, move it away and keep "
            "it: the commits stay pinned under refs/autoresearch/."
        ) from error
