"""Ledger: the only legal way through a trial's states, and nothing that was written is lost."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.errors import LedgerError
from autoresearch.lab.metric import Metric
from autoresearch.store.ledger import (
    CONFIRM,
    SCHEMA_VERSION,
    Explanation,
    Ledger,
    Run,
    Spend,
    State,
    Status,
    Trial,
)
from autoresearch.store.ledger.schema import UPGRADES

METRIC = Metric("val_bpb")
BASE = "b" * 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger is."""
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    """A fresh ledger."""
    with contextlib.closing(Ledger(path, METRIC)) as made:
        yield made


def made_run(number: int = 0, value: float | None = 1.5, **other: Any) -> Run:
    """A run that has a number, or crashed."""
    defaults = {"seed": 42, "seconds": 2.5, "exit_code": 0, "memory_gb": 0.25}
    reason = "" if value is not None else "failed"
    return Run(number, value=value, **{"reason": reason, **defaults, **other})


def advanced(ledger: Ledger, trial: Trial, to: State) -> Trial:
    """Walk a trial along the line to a state, as a run that crashed would."""
    for state in list(State)[list(State).index(trial.state) + 1 : list(State).index(to) + 1]:
        if state is State.COMMITTED:
            made = f"commit-{trial.number}"
            trial = ledger.advance(trial, state, commit=made, tree=f"tree-{trial.number}")
        elif state is State.EXECUTED:
            trial = ledger.add_run(trial, made_run(len(trial.runs), None))
        elif state is State.DECIDED:
            trial = ledger.advance(trial, state, status=Status.CRASH, reason="failed")
        else:
            trial = ledger.advance(trial, state)
    return trial


def finished(
    ledger: Ledger, status: Status, value: float | None = 1.5, parent: str = BASE, code: str = ""
) -> Trial:
    """A whole trial."""
    trial = advanced(ledger, ledger.add(Trial(0, parent, "a note", "hand")), State.PROPOSED)
    commit = BASE if trial.number == 0 else f"commit-{trial.number}"
    trial = ledger.advance(trial, State.COMMITTED, commit=commit, tree=f"t-{commit}", code=code)
    trial = ledger.add_run(ledger.advance(trial, State.RUNNING), made_run(0, None))
    trial = ledger.measure_run(trial, made_run(0, value))
    return ledger.advance(ledger.advance(trial, State.DECIDED, status=status), State.APPLIED)


# ---- states ------------------------------------------------------------------------------------

LEGAL = {
    ("proposed", "committed"), ("proposed", "decided"), ("committed", "running"),
    ("running", "running"), ("running", "executed"), ("executed", "measured"),
    ("measured", "running"), ("measured", "decided"), ("decided", "applied"),
}  # fmt: skip


@pytest.mark.parametrize("to", State)
@pytest.mark.parametrize("start", State)
def test_a_trial_goes_only_where_the_line_leads(ledger: Ledger, start: State, to: State) -> None:
    """Every step that is not on the line is refused and leaves the row as it was."""
    trial = advanced(ledger, ledger.add(Trial(0, BASE, "note", "hand")), start)
    status = Status.CRASH if to in (State.DECIDED, State.APPLIED) else None
    if (start, to) in LEGAL:
        assert ledger.advance(trial, to, status=status).state is to
    else:
        with pytest.raises(ValueError, match=f"from {start} to {to}"):
            ledger.advance(trial, to, status=status)
        assert ledger.trial(0) == trial


@pytest.mark.parametrize(
    ("start", "to", "status"),
    [("measured", State.DECIDED, None), ("proposed", State.COMMITTED, Status.KEEP),
     ("proposed", State.DECIDED, "kept")],
)  # fmt: skip
def test_status_and_state_agree(ledger: Ledger, start: str, to: State, status: Any) -> None:
    """The file itself refuses a decision without a status, a status without one, and a made-up one.

    After the refusal the ledger goes on working.
    """
    trial = advanced(ledger, ledger.add(Trial(0, BASE, "note", "hand")), State(start))
    with pytest.raises(LedgerError, match="CHECK"):
        ledger.advance(trial, to, status=status)
    assert ledger.trial(0) == trial
    assert advanced(ledger, trial, State.APPLIED).status is Status.CRASH


def test_a_value_beside_a_reason_for_none_is_refused(ledger: Ledger) -> None:
    """A run has a number or a reason, never both; what was there stays."""
    trial = advanced(ledger, ledger.add(Trial(0, BASE, "note", "hand")), State.EXECUTED)
    with pytest.raises(LedgerError):
        ledger.measure_run(trial, made_run(0, 1.0, reason="invalid"))
    assert ledger.trial(0) == trial


def test_a_trial_can_be_run_again(ledger: Ledger) -> None:
    """Each further run is kept, and the value of the trial is the mean of them."""
    trial = advanced(ledger, ledger.add(Trial(0, BASE, "note", "hand")), State.EXECUTED)
    trial = ledger.measure_run(trial, made_run(0, 1.0))
    trial = ledger.add_run(ledger.advance(trial, State.RUNNING), made_run(1, None))
    trial = ledger.measure_run(trial, made_run(1, 2.0, memory_gb=3.0, detail="words"))
    assert ledger.trial(0) == trial
    assert (trial.value, trial.memory_gb, trial.seconds, trial.detail) == (1.5, 3.0, 5.0, "words")


def test_a_stale_trial_cannot_overwrite_a_newer_one(ledger: Ledger, path: Path) -> None:
    """Whoever holds an old copy of a trial is told, and nothing is written."""
    old = advanced(ledger, ledger.add(Trial(0, BASE, "note", "hand")), State.COMMITTED)
    with contextlib.closing(Ledger(path, METRIC)) as other:
        newer = advanced(other, old, State.MEASURED)
    with pytest.raises(LedgerError, match="not committed any more"):
        ledger.advance(old, State.RUNNING)
    running = replace(old, state=State.RUNNING)
    with pytest.raises(LedgerError):
        ledger.add_run(running, made_run())
    assert ledger.trial(0) == newer


def test_a_trial_that_never_became_a_commit_can_be_taken_back(ledger: Ledger) -> None:
    """Only a proposed row is abandoned; its number is used again, and it cannot be advanced."""
    finished(ledger, Status.KEEP)
    trial = ledger.add(Trial(0, BASE, "note", "hand"))
    ledger.abandon(trial)
    assert len(ledger) == 1
    with pytest.raises(LedgerError):
        ledger.advance(trial, State.COMMITTED)
    again = ledger.add(Trial(0, BASE, "other", "hand"))
    assert again.number == trial.number == 1
    with pytest.raises(ValueError, match="committed, and stays"):
        ledger.abandon(advanced(ledger, again, State.COMMITTED))
    assert len(ledger) == 2


# ---- reading -----------------------------------------------------------------------------------


def test_an_empty_ledger_answers(ledger: Ledger) -> None:
    """Before the baseline every question has an answer, and none is an error."""
    assert (len(ledger), ledger.trials(), ledger.kept(), ledger.leaves()) == (0, (), (), ())
    assert (ledger.best(), ledger.unfinished(), ledger.facts) == (None, None, {})
    with pytest.raises(LedgerError, match="none yet"):
        ledger.trial(0)


@pytest.mark.parametrize("number", [2, -1, 10**30, -(10**30)])
def test_a_trial_that_is_not_there_is_answered_with_those_that_are(
    ledger: Ledger, number: int
) -> None:
    """Any integer that is no trial's number names the range that exists."""
    finished(ledger, Status.KEEP)
    finished(ledger, Status.DISCARD)
    with pytest.raises(LedgerError, match="0 to 1"):
        ledger.trial(number)


def test_the_ledger_knows_best_leaves_children_and_lineage(ledger: Ledger) -> None:
    """The questions that strategies ask, on a history with keeps, discards and crashes."""
    base = finished(ledger, Status.KEEP, 3.0)
    lost = finished(ledger, Status.DISCARD, 4.0)
    won = finished(ledger, Status.KEEP, 2.0)
    crash = finished(ledger, Status.CRASH, None, won.commit)
    best = finished(ledger, Status.KEEP, 1.0, won.commit)
    assert ledger.trials() == (base, lost, won, crash, best)
    assert ledger.kept() == (base, won, best)
    assert ledger.best() == best
    assert [ledger.best_before(t) for t in (base, lost, won, crash, best)] == [
        None, base, base, won, won,
    ]  # fmt: skip
    assert ledger.children(base.commit) == (lost, won)
    assert ledger.children(won.commit) == (crash, best)
    assert ledger.leaves() == (lost, crash, best)
    assert ledger.lineage(best) == (base, won, best)
    assert ledger.lineage(lost) == (base, lost)
    assert ledger.lineage(base) == (base,)
    assert base.is_baseline and not best.is_baseline


def test_tried_knows_files_that_have_been_run(ledger: Ledger) -> None:
    """The first finished trial of some code is found; an unfinished one is not."""
    finished(ledger, Status.KEEP)
    first = finished(ledger, Status.DISCARD, code="same")
    finished(ledger, Status.DISCARD, code="same")
    advanced(ledger, ledger.add(Trial(0, BASE, "note", "hand", code="new")), State.RUNNING)
    assert ledger.tried("same") == first
    assert ledger.tried("new") is None
    assert ledger.tried("never") is None


@pytest.mark.parametrize("state", State)
def test_the_unfinished_trial_is_found_in_every_state(ledger: Ledger, state: State) -> None:
    """Whatever state a process stopped in, opening finds that trial and all before it."""
    done = finished(ledger, Status.KEEP)
    trial = advanced(ledger, ledger.add(Trial(0, BASE, "note", "hand")), state)
    assert ledger.unfinished() == (None if state is State.APPLIED else trial)
    assert ledger.trial(0) == done


def test_facts_are_remembered_and_replaced(ledger: Ledger, path: Path) -> None:
    """Facts of the study survive a reopening; a later one of a name replaces it."""
    ledger.remember(tag="a", base="b")
    ledger.remember(base="c", note="two\nlines ☃")
    with contextlib.closing(Ledger(path, METRIC)) as again:
        assert again.facts == {"tag": "a", "base": "c", "note": "two\nlines ☃"}


texts = st.text(st.characters(codec="utf-8"), max_size=30)
floats = st.floats(allow_nan=False)
attempts = st.builds(
    Run,
    number=st.just(0),
    seed=st.integers(-(2**63), 2**63 - 1),
    seconds=st.floats(0, allow_infinity=False),
    exit_code=st.none() | st.integers(0, 255),
    value=st.none() | floats,
    memory_gb=floats,
    trust=texts,
    reason=st.just(""),
    detail=texts,
    numbers=st.dictionaries(texts, floats, max_size=3),
)
trials = st.builds(
    Trial,
    number=st.just(0),
    parent=texts,
    note=texts,
    proposer=texts,
    created=texts,
    cost_usd=st.floats(0, allow_infinity=False),
)


@settings(max_examples=40, deadline=None)
@given(trial=trials, attempt=attempts, commit=texts, reason=texts, status=st.sampled_from(Status))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    trial: Trial,
    attempt: Run,
    commit: str,
    reason: str,
    status: Status,
) -> None:
    """Any text and any number of a whole trial survives, to the last bit, in a second process."""
    path = tmp_path_factory.mktemp("any") / "ledger.db"
    with contextlib.closing(Ledger(path, METRIC)) as ledger:
        trial = ledger.advance(ledger.add(trial), State.COMMITTED, commit=commit, tree=commit)
        trial = ledger.add_run(ledger.advance(trial, State.RUNNING), attempt)
        trial = ledger.measure_run(trial, attempt)
        trial = ledger.advance(trial, State.DECIDED, status=status, reason=reason)
        trial = ledger.advance(trial, State.APPLIED)
    with contextlib.closing(Ledger(path, METRIC)) as again:
        assert again.trials() == (trial,)
        assert again.trial(0).runs == (attempt,)


def test_nan_among_a_logs_other_numbers_is_kept(ledger: Ledger) -> None:
    """A log may print NaN for what is not the metric; it is on record as that."""
    trial = advanced(ledger, ledger.add(Trial(0, BASE, "note", "hand")), State.EXECUTED)
    ledger.measure_run(trial, made_run(0, 1.0, numbers={"grad": math.nan, "up": math.inf}))
    numbers = ledger.trial(0).runs[0].numbers
    assert math.isnan(numbers["grad"]) and numbers["up"] == math.inf


# ---- several at once ---------------------------------------------------------------------------


def test_one_reads_while_the_other_writes(ledger: Ledger, path: Path) -> None:
    """A reader sees each state as soon as it is written, and its looking stops no writer."""
    with contextlib.closing(Ledger(path, METRIC)) as reader:
        trial = ledger.add(Trial(0, BASE, "note", "hand"))
        for state in list(State)[1:]:
            trial = advanced(ledger, trial, state)
            assert reader.trial(0) == trial
        assert reader.facts == {}


def test_a_half_written_transaction_is_invisible(ledger: Ledger, path: Path) -> None:
    """While another process is in the middle of writing, readers see what was there before."""
    finished(ledger, Status.KEEP)
    before = ledger.trials()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE trial SET note = 'half'")
        assert ledger.trials() == before
        other.execute("ROLLBACK")


def test_a_writer_waits_for_another(ledger: Ledger, path: Path) -> None:
    """A lock that is held for a moment delays a write, and does not fail it."""
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    with contextlib.closing(other):
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.3, other.execute, ("COMMIT",))
        release.start()
        assert ledger.add(Trial(0, BASE, "note", "hand")).number == 0
        release.join()


OPEN = """
import sys, pathlib
from autoresearch.store.ledger import Ledger, Trial
from autoresearch.lab.metric import Metric
print("ready", flush=True)
sys.stdin.readline()
ledger = Ledger(pathlib.Path(sys.argv[1]), Metric("m"))
"""


def script(text: str, path: Path) -> subprocess.Popen[str]:
    """A process that runs this with a ledger's path, waiting for a line before it begins."""
    return subprocess.Popen(
        [sys.executable, "-c", OPEN + text, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_processes_that_make_a_ledger_at_once_make_one(path: Path) -> None:
    """Whoever comes second to a new file finds it made, not an error."""
    with contextlib.ExitStack() as stack:
        runs = [stack.enter_context(script("ledger.remember(a='b')", path)) for _ in range(4)]
        for run in runs:
            assert run.stdout and run.stdout.readline() == "ready\n"
        for run in runs:
            assert run.stdin
            run.stdin.write("go\n")
            run.stdin.flush()
    assert [run.returncode for run in runs] == [0] * 4
    with contextlib.closing(Ledger(path, METRIC)) as ledger:
        assert ledger.facts == {"a": "b"}


WRITE_FOR_EVER = """
while True:
    trial = ledger.add(Trial(0, "base", "note", "hand"))
    print(trial.number, trial.state, flush=True)
    trial = ledger.advance(trial, "committed", commit="c", tree="t")
    print(trial.number, trial.state, flush=True)
"""


def test_what_a_killed_process_had_written_is_there(path: Path) -> None:
    """kill -9 between and inside transactions: what a method returned from is never lost."""
    acknowledged: dict[int, str] = {}
    for count in (3, 10, 17, 24):
        with script(WRITE_FOR_EVER, path) as run:
            assert run.stdin and run.stdout
            run.stdin.write("go\n")
            run.stdin.flush()
            assert run.stdout.readline() == "ready\n"
            lines = [run.stdout.readline() for _ in range(count)]
            run.kill()
            lines += run.stdout.read().splitlines()  # said after our look, before the kill
        for line in lines:
            number, _, state = line.strip().partition(" ")
            acknowledged[int(number)] = state
        with contextlib.closing(Ledger(path, METRIC)) as ledger:
            states = {trial.number: trial.state for trial in ledger.trials()}
        for number, state in acknowledged.items():
            assert states[number] in (state, State.COMMITTED)
        assert len(states) - len(acknowledged) <= count


FILL = """
import os, resource
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
trial = ledger.add(Trial(0, "base", "note", "hand"))
for attempt in range(2):
    try:
        while True:
            ledger.remember(**{f"{len(ledger.facts)}": "x" * 10_000})
    except Exception as error:
        print(type(error).__name__, error)
    print(len(ledger.facts))
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
print(ledger.advance(trial, "committed").state)
"""


def test_a_full_disk_is_told_and_survived(path: Path) -> None:
    """With no room a write fails as our error and nothing is lost; with room it goes on."""
    with script(FILL, path) as run:
        out, _ = run.communicate("go\n")
    _, first, count, second, later, state = out.splitlines()
    for said in (first, second):
        assert said.startswith("LedgerError") and str(path) in said
        assert "transaction" not in said  # the trouble itself, not a clumsy way of rolling back
    assert 0 < int(count) < int(later)
    assert state == "committed"
    with contextlib.closing(Ledger(path, METRIC)) as ledger:
        assert len(ledger.facts) == int(later)


# ---- what is no ledger of ours -----------------------------------------------------------------


def database(path: Path, statements: str) -> None:
    """A SQLite file of somebody's."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(statements)


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION, 7])
def test_a_foreign_database_is_refused_and_left_alone(path: Path, version: int) -> None:
    """Somebody else's SQLite file is named as that, whatever its version, and left as it is."""
    database(path, f"CREATE TABLE trial(x); PRAGMA user_version = {version};")
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=f"{path}.*not a ledger.*--tag"):
        Ledger(path, METRIC)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_newer_ledger_is_refused_and_left_alone(ledger: Ledger, path: Path) -> None:
    """A schema from the future is told by number, with the two ways out."""
    ledger.close()
    database(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=rf"newer.*schema {SCHEMA_VERSION + 1}.*Update.*--tag"):
        Ledger(path, METRIC)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"commit\tval_bpb\n" * 100, b"SQLite format 3\0" + b"\1" * 200]
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    """Text, or rubbish that begins like SQLite, is our error, and stays as it is."""
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=f"{path} cannot be used"):
        Ledger(path, METRIC)
    assert path.read_bytes() == content


def read_all(path: Path) -> None:
    """Open a ledger and look at everything."""
    with contextlib.closing(Ledger(path, METRIC)) as ledger:
        for trial in ledger.trials():
            assert ledger.facts is not trial


def test_a_damaged_ledger_is_our_error(ledger: Ledger, path: Path) -> None:
    """Overwritten pages are told as damage, wherever they are found, with what to do."""
    finished(ledger, Status.KEEP)
    ledger.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + os.urandom(len(whole) - 4096))
    with pytest.raises(LedgerError, match=r"cannot be used.*move it away"):
        read_all(path)


def test_a_truncated_ledger_is_our_error(ledger: Ledger, path: Path) -> None:
    """Half a file is told as damage."""
    finished(ledger, Status.KEEP)
    ledger.close()
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(LedgerError, match="cannot be used"):
        read_all(path)


@pytest.mark.parametrize("kind", ["no folder", "a folder", "a loop"])
def test_a_place_where_no_file_can_be_is_our_error(path: Path, kind: str) -> None:
    """A path that cannot hold a file is named."""
    if kind == "no folder":
        path = path.parent / "missing" / "ledger.db"
    elif kind == "a folder":
        path.mkdir()
    else:
        path.symlink_to(path)
    with pytest.raises(LedgerError, match=str(path)):
        Ledger(path, METRIC)


def test_a_read_only_disk_is_our_error(tmp_path: Path) -> None:
    """Where nothing can be written the ledger says so, and it is no traceback."""
    place = Path("/proc/self/ledger.db") if os.geteuid() == 0 else tmp_path / "closed" / "ledger.db"
    if os.geteuid() != 0:
        place.parent.mkdir(mode=0o500)
    with pytest.raises(LedgerError, match=str(place)):
        Ledger(place, METRIC)


def test_a_closed_ledger_says_so(ledger: Ledger) -> None:
    """Use after close is our error as well."""
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        ledger.trials()


def test_a_place_without_shared_memory_is_our_error() -> None:
    """Where SQLite answers anything but "wal", the ledger says so and names the way out."""
    with pytest.raises(LedgerError, match=r"in WAL mode .*'memory'.*local disk"):
        Ledger(Path(":memory:"), METRIC)  # the one place that every machine has


def test_fresh_runs_speak_before_those_that_a_choice_was_made_by(ledger: Ledger) -> None:
    """The screening run is not counted once there are others, nor is what ran beside a trial."""
    trial = advanced(ledger, ledger.add(Trial(0, BASE, "note", "hand")), State.MEASURED)
    made = [(1.0, "screen", ""), (3.0, CONFIRM, ""), (9.0, CONFIRM, "other"), (5.0, CONFIRM, "")]
    runs = [
        replace(made_run(n, value), purpose=purpose, commit=commit)
        for n, (value, purpose, commit) in enumerate(made)
    ]
    trial = replace(trial, runs=tuple(runs))
    assert trial.value == 4.0
    assert [a.value for a in trial.own] == [1.0, 3.0, 5.0]
    failed = replace(runs[3], value=None, reason="oom")
    assert replace(trial, runs=(*runs[:3], failed)).value is None


SCHEMA_1 = """
CREATE TABLE study(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE trial(
  number INTEGER PRIMARY KEY CHECK(number >= 0), parent TEXT NOT NULL, note TEXT NOT NULL,
  proposer TEXT NOT NULL, state TEXT NOT NULL, "commit" TEXT NOT NULL, tree TEXT NOT NULL,
  status TEXT, reason TEXT NOT NULL, created TEXT NOT NULL, cost_usd REAL NOT NULL) STRICT;
CREATE TABLE attempt(
  trial INTEGER NOT NULL REFERENCES trial(number), number INTEGER NOT NULL, seed INTEGER NOT NULL,
  seconds REAL NOT NULL, exit_code INTEGER, value REAL, memory_gb REAL NOT NULL,
  trust TEXT NOT NULL, sandbox TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL,
  numbers TEXT NOT NULL, PRIMARY KEY(trial, number)) STRICT;
INSERT INTO trial VALUES (0, 'p', 'n', 'me', 'applied', 'p', 't', 'keep', '', '', 0.0);
INSERT INTO attempt VALUES (0, 0, 42, 1.0, 0, 1.5, 0.1, 'log', 'none', '', '', '{}');
PRAGMA user_version = 1;
"""


def test_a_ledger_of_an_older_schema_is_brought_up(path: Path) -> None:
    """What stood in it is kept, and it can be written to; opening it again finds nothing to do."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(SCHEMA_1)
    for number in (1, 2):
        with contextlib.closing(Ledger(path, METRIC)) as ledger:
            first = ledger.trial(0)
            assert (first.value, first.lines, first.own[0].purpose) == (1.5, None, "screen")
            trial = ledger.add(Trial(0, BASE, "note", "hand", lines=3))
            assert ledger.trial(number) == trial
            ledger.abandon(trial) if number == 1 else None
            ledger.add(Trial(0, BASE, "note", "hand")) if number == 1 else None


SCHEMA_2 = """
CREATE TABLE study(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE trial(
  number INTEGER PRIMARY KEY CHECK(number >= 0), parent TEXT NOT NULL, note TEXT NOT NULL,
  proposer TEXT NOT NULL, state TEXT NOT NULL, "commit" TEXT NOT NULL, tree TEXT NOT NULL,
  status TEXT, reason TEXT NOT NULL, created TEXT NOT NULL, cost_usd REAL NOT NULL,
  lines INTEGER, nodes INTEGER) STRICT;
CREATE TABLE attempt(
  trial INTEGER NOT NULL REFERENCES trial(number), number INTEGER NOT NULL, seed INTEGER NOT NULL,
  seconds REAL NOT NULL, exit_code INTEGER, value REAL, memory_gb REAL NOT NULL,
  trust TEXT NOT NULL, sandbox TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL,
  numbers TEXT NOT NULL, "commit" TEXT NOT NULL DEFAULT '', role TEXT NOT NULL DEFAULT 'screen',
  load REAL, PRIMARY KEY(trial, number)) STRICT;
INSERT INTO trial VALUES (0, 'p', 'n', 'me', 'applied', 'p', 't', 'keep', '', 'then', 0, 0, 0);
INSERT INTO trial VALUES (1, 'p', 'n', 'me', 'applied', 'q', 'u', 'keep', '', 'then', 2.5, 1, 1);
PRAGMA user_version = 2;
"""


def test_costs_of_an_older_ledger_are_carried_over(path: Path) -> None:
    """Since schema 3 there is a table of costs; it holds the costs of earlier trials, once."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(SCHEMA_2)
    for _ in range(2):
        with contextlib.closing(Ledger(path, METRIC)) as ledger:
            assert ledger.spends() == (Spend("then", "me", 2.5, 0, 1),)
            assert ledger.spent() == (2.5, 0)


# ---- from schema 3, where a step was a discard and a run an attempt ------------------------------

SCHEMA_3 = (Path(__file__).parent.parent / "fixtures" / "schema3" / "ledger.sql").read_text()


def whole(path: Path) -> tuple[int, list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """The schema of a ledger, its trials and its runs, in the words that schema has."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        tables = {
            name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'")
        }
        run = "attempt" if "attempt" in tables else "run"
        assert tables == {"study", "trial", run, "spend"}
        return (
            db.execute("PRAGMA user_version").fetchone()[0],
            db.execute("SELECT * FROM trial ORDER BY number").fetchall(),
            db.execute(f"SELECT * FROM {run} ORDER BY trial, number").fetchall(),
        )


def test_a_ledger_of_schema_3_gets_the_new_words(path: Path) -> None:
    """Steps become tentative, purposes and states are renamed, all else is as it was."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(SCHEMA_3)
    _, trials, runs = whole(path)
    with contextlib.closing(Ledger(path, METRIC)) as ledger:
        found = ledger.trials()
        assert ledger.spent() == (
            sum(0.25 for t in found if t.proposer == "script"),
            sum(range(22)),
        )
        assert ledger.abandon(ledger.add(Trial(0, BASE, "note", "hand"))) is None
    steps = [row[0] for row in trials if row[8] == "step"]
    assert [t.number for t in found if t.status is Status.TENTATIVE] == steps != []
    assert [t.reason for t in found if t.proposer == "confirm"] == ["", "unconfirmed"]
    assert {t.state for t in found} == {State.RUNNING, State.APPLIED}
    assert {run.purpose for t in found for run in t.runs} == {"screen", "noise", CONFIRM, "claim"}
    version, new_trials, new_runs = whole(path)
    assert version == SCHEMA_VERSION
    words = slice(0, 4), slice(5, 7), slice(9, None)  # all but state, status and reason
    assert {r[14] for r in new_trials} == {None}  # no explanation is made up
    new_trials = [r[:14] for r in new_trials]
    assert [[r[w] for w in words] for r in new_trials] == [[r[w] for w in words] for r in trials]
    assert [(*r[:13], r[14]) for r in new_runs] == [(*r[:13], r[14]) for r in runs]


@pytest.mark.parametrize(("state", "now"), [("ran", "executed"), ("judged", "measured")])
def test_an_unfinished_trial_of_schema_3_stands_where_it_stood(
    path: Path, state: str, now: str
) -> None:
    """Its state is the same one, by its new name."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(SCHEMA_3)
        db.execute("UPDATE trial SET state = ? WHERE state = 'running'", (state,))
        db.commit()
    with contextlib.closing(Ledger(path, METRIC)) as ledger:
        unfinished = ledger.unfinished()
        assert unfinished is not None and unfinished.state == State(now)


KILLED = """
import os, signal, sqlite3, sys, pathlib
from autoresearch.store.ledger import Ledger
from autoresearch.lab.metric import Metric

left = int(sys.argv[2])  # instructions of SQLite until the kill

def count():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

class Counted(sqlite3.Connection):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.set_progress_handler(count, 1)

def connect(path, **options):
    return Counted(path, **options)

sqlite3.connect = connect
Ledger(pathlib.Path(sys.argv[1]), Metric("val_bpb"))
print(int(sys.argv[2]) - left)
"""


@pytest.mark.parametrize("start", [3, 4])
def test_a_kill_in_the_middle_of_an_upgrade_leaves_one_schema_whole(
    tmp_path: Path, start: int
) -> None:
    """kill -9 at instants all over the upgrade: the old or the new schema with all rows."""

    def upgraded(name: str, at: int) -> tuple[Path, subprocess.CompletedProcess[str]]:
        path = tmp_path / name
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.executescript(SCHEMA_3 + (UPGRADES[3] if start == 4 else ""))
        words = [sys.executable, "-c", KILLED, str(path), str(at)]
        return path, subprocess.run(words, capture_output=True, text=True)

    calm, done = upgraded("calm.db", 1 << 60)
    assert done.returncode == 0, done.stderr
    old, new = whole(upgraded("old.db", 1)[0]), whole(calm)
    assert (old[0], new[0]) == (start, SCHEMA_VERSION)
    count = int(done.stdout)
    seen = set()
    for part in range(1, 13):
        path, done = upgraded(f"{part}.db", count * part // 13)
        assert done.returncode == -signal.SIGKILL, done.stderr
        found = whole(path)
        assert found in (old, new)
        seen.add(found[0])
        with contextlib.closing(Ledger(path, METRIC)):
            assert whole(path) == new
    assert start in seen


def test_a_ledger_of_schema_4_goes_on_and_explains_what_follows(path: Path) -> None:
    """Its trials have no explanation, new ones have theirs to the last bit."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(SCHEMA_3 + UPGRADES[3])
    why = Explanation("worse", 4, gain=-0.1 - 0.2, sds=1 / 3, believed=2.25, fell_back=True)
    with contextlib.closing(Ledger(path, METRIC)) as ledger:
        old = ledger.trials()
        assert {trial.explanation for trial in old} == {None}
        assert [trial.because for trial in old] == [trial.reason for trial in old]
        trial = ledger.add(Trial(0, BASE, "note", "hand"))
        ledger.advance(trial, State.DECIDED, status=Status.DISCARD, explanation=why)
    with contextlib.closing(Ledger(path, METRIC)) as again:
        assert again.trial(trial.number).explanation == why


def test_an_explanation_of_a_newer_kind_is_left_out(ledger: Ledger, path: Path) -> None:
    """A word that this version does not know is no error, and none that it knows is put for it."""
    finished(ledger, Status.DISCARD)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("""UPDATE trial SET explanation = '{"kind": "eaten", "gain": 1}'""")
        db.commit()
    assert ledger.trial(0).explanation is None


def test_what_was_spent_outlives_the_trial_it_was_spent_on(ledger: Ledger) -> None:
    """Failed proposals and abandoned trials cost what they cost."""
    assert ledger.spent() == (0.0, 0)
    trial = ledger.add(Trial(0, BASE, "note", "codex", created="now", cost_usd=0.5), tokens=100)
    ledger.spend(Spend("later", "codex", 0.25, 20, None, "busy"))
    assert ledger.spends()[0] == Spend("now", "codex", 0.5, 100, trial.number, "trial")
    ledger.abandon(trial)
    assert [cost.trial for cost in ledger.spends()] == [None, None]
    assert ledger.spent() == (0.75, 120)


def test_a_proposal_that_costs_nothing_leaves_no_row(ledger: Ledger) -> None:
    """The offline proposer fills no table."""
    ledger.add(Trial(0, BASE, "note", "offline"))
    assert ledger.spends() == ()


def test_an_interrupted_write_leaves_nothing_stale_in_memory(tmp_path: Path) -> None:
    """Ctrl-C at any instant of a write: what the ledger says is what is on disk."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "ledger.db"
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with contextlib.closing(Ledger(path, METRIC)) as ledger:
            for instant in range(60):
                assert len(ledger.trials()) == len(ledger)  # it is in memory now
                with contextlib.suppress(KeyboardInterrupt):
                    signal.setitimer(signal.ITIMER_REAL, 0.0001 + instant * 0.00005)
                    ledger.add(Trial(0, "a" * 40, f"trial {instant}", "hand"))
                signal.setitimer(signal.ITIMER_REAL, 0)
                with contextlib.closing(Ledger(path, METRIC)) as fresh:
                    assert ledger.trials() == fresh.trials()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_words_of_a_run_are_read_back(ledger: Ledger) -> None:
    """What a guard said instead of a number, and the evaluator's feedback; whatever the names."""
    trial = ledger.advance(ledger.add(Trial(0, "b", "n", "p")), State.COMMITTED, commit="b")
    run = Run(0, 42, 1.0, 0, None, 0.0, reason="invalid", numbers={"numbers": 1.0, "": 2.0})
    said = replace(run, unread={"ms": "ms is 5 ms"}, feedback="one\ntwo")
    trial = ledger.add_run(ledger.advance(trial, State.RUNNING), run)
    assert ledger.trial(0).runs == (run,)
    ledger.measure_run(trial, said)
    with contextlib.closing(Ledger(ledger.path, ledger.metric)) as again:
        assert again.trial(0).runs == (said,)
        assert again.trial(0).feedback == "one\ntwo"
