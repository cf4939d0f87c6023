"""Alarms: crashes alike, budgets, noise, no keep, no sandbox; nothing where nothing is wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from autoresearch.lab.metric import Metric
from autoresearch.lab.task import Alarms, Budget, Task
from autoresearch.store.ledger import Ledger, Run, Spend, State, Status, Trial
from autoresearch.strategies.alarms import Alarm, alarms, crash_groups, pause_due
from strategies.confirmed import Lab

TASK = Task("tiny", Path("lab"), "python run.py", ("train.py",), Metric("score"), Budget(20.0))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """The record of a new study, with a baseline."""
    with contextlib.closing(Ledger(tmp_path / "ledger.db", Metric("score"))) as made:
        made._db.execute("PRAGMA synchronous = OFF")  # this record may be lost with the power
        finish(made, 10.0, Status.KEEP, parent="commit-0")
        yield made


def finish(
    ledger: Ledger,
    value: float | None,
    status: Status = Status.DISCARD,
    reason: str = "",
    detail: str = "",
    parent: str = "commit-0",
    sandbox: str = "landlock",
) -> Trial:
    """One more trial of one run, finished."""
    trial = ledger.add(Trial(0, parent, "note", "hand"))
    trial = ledger.advance(trial, State.COMMITTED, commit=f"commit-{trial.number}")
    trial = ledger.advance(trial, State.RUNNING)
    run = Run(0, 0, 1.0, 0, value, 0.0, sandbox=sandbox, reason=reason, detail=detail)
    trial = ledger.measure_run(ledger.add_run(trial, run), run)
    trial = ledger.advance(trial, State.DECIDED, status=status, reason=reason)
    return ledger.advance(trial, State.APPLIED)


def crash(ledger: Ledger, detail: str, reason: str = "failed") -> Trial:
    """A trial whose run failed with this last line."""
    return finish(ledger, None, Status.CRASH, reason, detail)


def skip(ledger: Ledger) -> None:
    """A trial that never ran."""
    trial = ledger.add(Trial(0, "commit-0", "note", "hand"))
    trial = ledger.advance(trial, State.DECIDED, status=Status.CRASH, reason="no_change")
    ledger.advance(trial, State.APPLIED)


def texts(ledger: Ledger, task: Task = TASK, now: float | None = None) -> list[str]:
    """What all standing alarms say."""
    return [alarm.text for alarm in alarms(ledger, task, now)]


def test_a_study_without_trouble_has_no_alarm(ledger: Ledger) -> None:
    """Two crashes alike, discards and a sandbox are nothing to warn of."""
    for _ in range(2):
        crash(ledger, "ZeroDivisionError: division by zero (exit code 1)")
    finish(ledger, 11.0)
    assert alarms(ledger, TASK) == ()


def test_three_crashes_alike_warn_at_once(ledger: Ledger) -> None:
    """The alarm has the final error line and how many crashed with it."""
    for _ in range(3):
        crash(ledger, "ZeroDivisionError: division by zero (exit code 1)")
    said = "3 of 3 crashed alike: ZeroDivisionError: division by zero"
    assert alarms(ledger, TASK) == (
        Alarm("crashes", "failed: ZeroDivisionError: division by zero", said, (1, 2, 3)),
    )
    for _ in range(9):
        crash(ledger, "ZeroDivisionError: division by zero (exit code 1)")
    assert texts(ledger) == ["12 of 12 crashed alike: ZeroDivisionError: division by zero"]


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        ("KeyError: 12", "KeyError: 7", True),
        ("RuntimeError: shape [32, 128]", "RuntimeError: shape [64, 7]", True),
        ("<Foo object at 0x7f2a>", "<Foo object at 0x7F2B01>", True),
        ("No such file: '/tmp/a1/x.bin'", "No such file: '/var/b/y.txt'", True),
        ("No such file: 'data/x.bin'", "No such file: '../y.txt'", True),
        ("loss is -3.5e-7", "loss is 12", True),
        ("step 3 of run deadbeef12: lost", "step 4 of run 0123abcd9: lost", True),
        ("NameError: name 'x' is not defined", "NameError: name 'y' is not defined", False),
        ("ValueError: bad", "TypeError: bad", False),
        ("loss is nan", "loss is inf", False),
    ],
)
def test_numbers_addresses_and_paths_do_not_tell_crashes_apart(
    ledger: Ledger, first: str, second: str, alike: bool
) -> None:
    """Whatever else differs makes another group."""
    crash(ledger, f"{first} (exit code 1)")
    crash(ledger, f"{second} (exit code 2)")
    groups = crash_groups(ledger.trials())
    assert [group.trials for group in groups] == ([(1, 2)] if alike else [(2,), (1,)])
    assert groups[0].message == second


def test_the_reason_tells_crashes_apart_too(ledger: Ledger) -> None:
    """A crash without a last line is named by its reason."""
    crash(ledger, "", "timeout")
    crash(ledger, "", "checks_failed")
    assert [group.message for group in crash_groups(ledger.trials())] == [
        "checks failed",
        "timeout",
    ]


def test_groups_count_experiments_that_ran(ledger: Ledger) -> None:
    """Skips, baselines and trials that are under way are no crashes; the largest comes first."""
    crash(ledger, "ValueError: a")
    skip(ledger)
    crash(ledger, "ValueError: b")
    crash(ledger, "ValueError: b")
    ledger.add(Trial(0, "commit-0", "under way", "hand"))
    first, second = crash_groups(ledger.trials())
    assert first.text == "2 of 3 crashed alike: ValueError: b"
    assert (second.trials, second.of) == ((1,), 3)


def test_a_row_of_crashes_goes_on_over_a_skip_and_ends_with_a_run(ledger: Ledger) -> None:
    """Three of forty alike in the past are no alarm; half of all are."""
    for _ in range(2):
        crash(ledger, "ValueError: b")
    skip(ledger)
    crash(ledger, "ValueError: b")
    assert texts(ledger) == ["3 of 3 crashed alike: ValueError: b"]
    for _ in range(3):
        finish(ledger, 12.0)
    assert texts(ledger) == ["3 of 6 crashed alike: ValueError: b"]
    finish(ledger, 12.0)
    assert texts(ledger) == []
    for _ in range(3):
        crash(ledger, "ValueError: b")
    assert texts(ledger) == ["6 of 10 crashed alike: ValueError: b (the last 3 in a row)"]


def test_new_crashes_in_a_row_are_named_as_such(ledger: Ledger) -> None:
    """Also when most of the study went well."""
    for _ in range(20):
        finish(ledger, 12.0)
    for _ in range(3):
        crash(ledger, "CUDA error")
    assert texts(ledger) == ["the last 3 in a row crashed alike: CUDA error"]


def test_the_study_pauses_after_as_many_crashes_as_the_task_allows(ledger: Ledger) -> None:
    """After a resume it pauses again after as many more; without the setting never."""
    for number in range(1, 9):
        crash(ledger, "ValueError: b")
        assert pause_due(ledger, Alarms()) == ""
        reason = f"the last {number} experiments crashed alike: ValueError: b"
        assert pause_due(ledger, Alarms(same_crashes=4)) == (reason if number % 4 == 0 else "")
    skip(ledger)
    assert pause_due(ledger, Alarms(same_crashes=4)) == ""


def test_no_keep_for_long_is_shown(ledger: Ledger) -> None:
    """From the last keep on; 0 switches it off."""
    for _ in range(4):
        finish(ledger, 12.0)
    task = replace(TASK, alarms=Alarms(no_keep=5))
    assert texts(ledger, task) == []
    skip(ledger)
    assert texts(ledger, task) == ["no keep in 5 experiments since the baseline, #0"]
    assert texts(ledger, replace(TASK, alarms=Alarms(no_keep=0))) == []
    finish(ledger, 9.0, Status.KEEP)
    assert texts(ledger, task) == []


def test_no_keep_names_the_steps_that_wait(tmp_path: Path) -> None:
    """Steps are no keeps."""
    with contextlib.closing(Ledger(tmp_path / "l.db", Metric("score"))) as ledger:
        ledger.remember(strategy="confirm")
        lab = Lab(ledger)
        lab.baseline()
        lab.steps(2)
        task = replace(TASK, sandbox="off", alarms=Alarms(no_keep=2))
        assert texts(ledger, task) == [
            "no keep in 2 experiments since the baseline, #0; 2 steps not confirmed"
        ]


@pytest.mark.parametrize(
    ("spent", "says"),
    [
        ((7.9, 0), []),
        ((8.0, 0), ["$8.00 of $10.00 are spent (80 %)"]),
        ((12.0, 0), ["$12.00 of $10.00 are spent (120 %)"]),
        ((0.0, 799), []),
        ((0.0, 812), ["812 of 1,000 tokens are spent (81 %)"]),
    ],
)
def test_a_budget_warns_at_four_fifths(
    ledger: Ledger, spent: tuple[float, int], says: list[str]
) -> None:
    """Dollars and tokens of all proposals, failed ones too; an empty limit is none."""
    usd, tokens = spent
    ledger.spend(Spend("2026-12-01T00:00:00+00:00", "claude", usd, tokens, None, "busy"))
    ledger.remember(max_usd="", max_tokens="")
    assert texts(ledger) == []
    ledger.remember(max_usd="10", max_tokens="1000")
    assert texts(ledger) == says


def test_a_session_warns_when_most_of_its_time_is_over(ledger: Ledger) -> None:
    """Only while it runs: without a moment the time is no budget."""
    began, until = (datetime(2026, 12, 1, hour, tzinfo=UTC) for hour in (0, 10))
    ledger.remember(session_began=began.isoformat(), session_until=until.isoformat())
    start, hour = began.timestamp(), 3600.0
    end = datetime.fromtimestamp(until.timestamp())
    assert texts(ledger) == texts(ledger, TASK, start + 7.9 * hour) == []
    assert texts(ledger, TASK, start + 8.5 * hour) == [
        f"85 % of the session's time is over: it ends at {end:%H:%M}"
    ]
    assert texts(ledger, TASK, start + 11 * hour) == []
    ledger.remember(session_until="")
    assert texts(ledger, TASK, start + 8.5 * hour) == []


def test_a_missing_sandbox_is_shown_unless_it_was_switched_off(ledger: Ledger) -> None:
    """The newest run decides."""
    finish(ledger, 12.0, sandbox="none")
    (text,) = texts(ledger)
    assert text.startswith("runs have no sandbox here")
    assert texts(ledger, replace(TASK, sandbox="off")) == []
    finish(ledger, 12.0)
    assert texts(ledger) == []


def noise_alarms(tmp_path: Path, *pairs: float, worth: tuple[float, ...] = ()) -> list[str]:
    """The alarms about noise after a confirmation with these differences."""
    with contextlib.closing(Ledger(tmp_path / "l.db", Metric("score"))) as ledger:
        ledger.remember(strategy="confirm")
        lab = Lab(ledger)
        lab.baseline(*worth)
        lab.steps(5, gain=3.0)
        lab.confirmation(*pairs)
        found = alarms(ledger, replace(TASK, sandbox="off"))
        assert {alarm.about for alarm in found} <= {"#6"}
        return [alarm.text for alarm in found if alarm.kind == "noise"]


def test_noise_that_jumps_is_shown(tmp_path: Path) -> None:
    """The pairs of a confirmation lie far farther apart than the baseline's runs."""
    (text,) = noise_alarms(tmp_path, 60.0, 0.0, 30.0, 30.0)
    assert text == (
        "the noise is higher since #6: sd of one run 21, before it 1; "
        "look whether the machine is busy, or the change adds randomness"
    )


def test_noise_that_vanishes_is_shown(tmp_path: Path) -> None:
    """Pairs that are all equal, where runs of one commit differed before."""
    (text,) = noise_alarms(tmp_path, 6.0, 6.0, 6.0, 6.0)
    assert text == (
        "the noise is lower since #6: sd of one run 0, before it 1; "
        "look whether the code still uses the seed"
    )


def test_ordinary_noise_is_no_alarm(tmp_path: Path) -> None:
    """Pairs about as far apart as the baseline's runs."""
    assert noise_alarms(tmp_path, 7.0, 5.5, 9.0, 6.0) == []
