"""Measure: from a command's log, whatever is in it, to a number or to the reason why none."""

from __future__ import annotations

import math
import os
import shutil
import sys
import tracemalloc
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.evaluation.jobs import job_env, run_job
from autoresearch.evaluation.parsing import (
    out_of_bounds,
    parse_run,
    run_of,
    stated_guards,
    tail,
)
from autoresearch.evaluation.verdicts import Scored
from autoresearch.executors import Execution
from autoresearch.lab.metric import Metric
from autoresearch.lab.task import Bound, Budget, Task
from autoresearch.store.ledger import Ledger, Run, State, Status, Trial
from autoresearch.text import DETAIL, FEEDBACK, FEEDBACK_LINES, clean_indented, clean_line

GOOD = Execution("exit", 0, None, seconds=2.0, peak_memory=2**30)
FAILED = Execution("exit", 1, None, seconds=2.0, peak_memory=0)
KILLED = Execution("signal", None, 9, seconds=2.0, peak_memory=0)
TIMEOUT = Execution("timeout", None, None, seconds=61.0, peak_memory=0)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """A task that wants val_bpb between 0.1 and 20."""
    return Task(
        "tiny",
        tmp_path,
        "python train.py",
        ("train.py",),
        Metric("val_bpb", range=(0.1, 20.0)),
        Budget(600.0, 300.5),
        secondary=(Bound("accuracy", 0.5, 1.0),),
    )


def measure(task: Task, output: str | bytes | None, execution: Execution = GOOD) -> Run:
    """What a run with this output is worth."""
    log = task.folder / "run.log"
    if output is not None:
        log.write_bytes(output.encode() if isinstance(output, str) else output)
    return parse_run(run_of(0, 42, execution), log, task)


UNREADABLE = [
    "None", "N/A", "95%", "0.9 s", "tensor(0.9)", "0.9 acc: 1", "1,234", "0,997", "--", "[0.9]",
    "0x1p-1", "1_000", "true", "1.5.2", "1e", "\u2212 1.5",
]  # fmt: skip


# ---- a number ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "value"),
    [
        ("val_bpb: 1.5\n", 1.5),
        ("val_bpb: 1.5", 1.5),
        ("---\nval_bpb:          1.500000\nnum_steps: 10\n", 1.5),
        ("val_bpb: 9\nval_bpb: 1.5\n", 1.5),
        ("val_bpb: nan\nval_bpb: 1.5\n", 1.5),
        ("step 1 | loss 3\rstep 2 | loss 2\rval_bpb: 1.5\r", 1.5),
        ("step 1\r\nval_bpb: 1.5\r\n", 1.5),
        ("progress 10%\rprogress 100%\nval_bpb: 1.5\n", 1.5),
        ("\x1b[32mval_bpb:\x1b[0m 1.5\x1b[K\n", 1.5),
        ("\x1b]0;title\x07val_bpb: 1.5\n", 1.5),
        ("val_bpb: 1.5\x00\n", 1.5),
        ("\ufeffval_bpb: 1.5\n", 1.5),
        (b"\xff\xfe rubbish\nval_bpb: 1.5\n", 1.5),
        ("x" * 1_000_000 + "\nval_bpb: 1.5\n", 1.5),
        ("METRIC val_bpb=1.5\n", 1.5),
        ("x" * 900 + " METRIC val_bpb=1.5\n", 1.5),
        ("val_bpb: 9\n" + "x" * 200_000 + " METRIC val_bpb=1.5 (best)\n", 1.5),
        ("val_bpb: 9\n" + "x" * 65_520 + " METRIC val_bpb=1.5\nbye\n", 1.5),
        ("\r 50%|##  | 5/10\r100%|####| 10/10 [00:01<00:00, 9.9it/s]val_bpb: 1.5\n", 1.5),
        ("val_bpb: 9\n\r10/10 val_bpb: 1.5", 1.5),
        ("val_bpb: 9\n|\b/\b-\bval_bpb: 1.5\n", 1.5),
        ("val_bpb: 9\nstep 5\x1b[2K\x1b[Gval_bpb: 1.5\n", 1.5),
        ("val_bpb: 9\r\nval_bpb: 1.5\r\r\n", 1.5),
        ("val_bpb:\u00a0\x1b[1m1.5\x1b[0m\t\n", 1.5),
        ("val_bpb: +1.5e0\n", 1.5),
        ("val_bpb: 9\nval_bpb: 1.5\n".encode("utf-16"), 1.5),
        ("val_bpb: 0.1\n", 0.1),
        ("val_bpb: 20\n", 20.0),
    ],
)
def test_a_number_is_found(task: Task, output: str | bytes, value: float) -> None:
    """The metric's last line counts, through progress bars, colours, rubbish and any line end."""
    run = measure(task, output)
    assert (run.value, run.reason, run.detail) == (value, "", "")
    assert (run.exit_code, run.seconds, run.seed) == (0, 2.0, 42)


@pytest.mark.parametrize(
    ("output", "reason", "said"),
    [
        ("val_bpb: nan\n", "invalid", "nan, not a finite number"),
        ("val_bpb: 1.5\nval_bpb: nan\n", "invalid", "nan"),
        ("val_bpb: inf\n", "invalid", "inf, not a finite number"),
        ("val_bpb: -Infinity\n", "invalid", "-inf"),
        ("val_bpb: 1e999\n", "invalid", "inf"),
        ("val_bpb: 0.0999\n", "invalid", "outside its range 0.1 to 20"),
        ("val_bpb: -1\n", "invalid", "outside its range"),
        ("val_bpb: 20.001\n", "invalid", "outside its range"),
        ("", "no_metric", "the log is empty"),
        (None, "no_metric", "the log is empty"),
        ("\n \n\r\r", "no_metric", "the log is empty"),
        ("done\n", "no_metric", "no line `val_bpb: number` in the output; the last line is: done"),
        ("val_bpb: soon\n", "invalid", "the line is: val_bpb: soon"),
        ("VAL_BPB: 1.5\n", "no_metric", "VAL_BPB: 1.5"),
        ("val_bpb 1.5\n", "no_metric", "val_bpb 1.5"),
        ("val_bpb: 0,9979\n", "invalid", "val_bpb: 0,9979"),
        *(
            (f"val_bpb: 1.5\n{form.format(text)}\nbye\n", "invalid", text)
            for form in ("val_bpb: {}", "METRIC val_bpb={}", "\r100%|##|val_bpb: {}")
            for text in UNREADABLE
        ),
        (b"val_bpb: 1.5\nval_bpb: 1.\xff5\n", "invalid", "\ufffd"),
        ("val_bpb: 1.5\nval_bpb: \n", "invalid", "val_bpb is empty"),
        ("val_bpb: 1.5\n" + "x" * 70_000 + " METRIC val_bpb=None\n", "invalid", "None"),
        ("val_bpb: 1.5\nval_bpb: " + "9" * 100_000 + "\n", "invalid", "999"),
    ],
)
def test_no_usable_number_has_a_reason(
    task: Task, output: str | None, reason: str, said: str
) -> None:
    """A command that ended well without a usable number says what was seen instead."""
    run = measure(task, output)
    assert (run.value, run.reason) == (None, reason)
    assert said in run.detail


@pytest.mark.parametrize(
    ("execution", "reason"),
    [(FAILED, "failed"), (KILLED, "killed"), (TIMEOUT, "timeout"),
     (replace(GOOD, exit_code=127), "cannot_start"), (replace(GOOD, exit_code=137), "killed")],
)  # fmt: skip
def test_a_number_of_a_failed_run_does_not_count(
    task: Task, execution: Execution, reason: str
) -> None:
    """Whoever printed a good number and then failed has none, but what it printed is on record."""
    run = measure(task, "val_bpb: 1.5\nbye\n", execution)
    assert (run.value, run.reason) == (None, reason)
    assert run.numbers == {"val_bpb": 1.5}
    assert run.detail


# ---- a reason ----------------------------------------------------------------------------------

TRACEBACK = """step 1 | loss 3
Traceback (most recent call last):
  File "train.py", line 1, in <module>
RuntimeError: mat1 and mat2 shapes cannot be multiplied
"""


@pytest.mark.parametrize(
    ("output", "execution", "reason", "detail"),
    [
        (TRACEBACK, FAILED, "failed",
         "RuntimeError: mat1 and mat2 shapes cannot be multiplied (exit code 1)"),
        ("FAIL: loss is nan at step 12\nbye\n", FAILED, "failed",
         "FAIL: loss is nan at step 12 (exit code 1)"),
        ("", FAILED, "failed", "exit code 1"),
        ("\n\n", KILLED, "killed", "killed by signal 9"),
        ("step 5\n", KILLED, "killed", "step 5 (killed by signal 9)"),
        ("step 5\n", replace(GOOD, exit_code=137), "killed", "step 5 (killed by signal 9)"),
        ("step 5\n", TIMEOUT, "timeout", "killed after 61 s, the time limit"),
        ("", replace(GOOD, exit_code=126), "cannot_start",
         "the shell could not start it (exit code 126)"),
        ("sh: 1: pyhton: not found\n", replace(GOOD, exit_code=127), "cannot_start",
         "sh: 1: pyhton: not found (the shell could not start it (exit code 127))"),
    ],
)  # fmt: skip
def test_a_failure_is_told_in_its_own_words(
    task: Task, output: str, execution: Execution, reason: str, detail: str
) -> None:
    """The log's FAIL line, else its last line, with how the command ended."""
    run = measure(task, output, execution)
    assert (run.reason, run.detail) == (reason, detail)


@pytest.mark.parametrize("execution", [FAILED, KILLED], ids=["failed", "killed"])
@pytest.mark.parametrize(
    "words",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory: you tried",
        "RuntimeError: DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes",
        "RuntimeError: MPS backend out of memory (MPS allocated: 9 GB)",
        "XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 7.28 TiB",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "OSError: [Errno 12] Cannot allocate memory",
        "MemoryError",
        "FAIL: out of memory at batch 512",
    ],
)
def test_out_of_memory_is_called_by_its_name(task: Task, words: str, execution: Execution) -> None:
    """The words that frameworks use for it, near the end of the log, make the reason oom."""
    run = measure(task, f"step 1\n{words}\n  some more\n  of a trace\n", execution)
    assert run.reason == "oom"
    assert run.detail.startswith(words[:40])


def test_out_of_memory_that_was_survived_is_no_reason(task: Task) -> None:
    """A run that caught it and printed its number counts; one that timed out, timed out."""
    survived = "CUDA out of memory, halving the batch\nval_bpb: 1.5\n"
    assert measure(task, survived).value == 1.5
    assert measure(task, survived, TIMEOUT).reason == "timeout"
    early = "CUDA out of memory\n" + "step\n" * 200
    assert measure(task, early, FAILED).reason == "failed"


# ---- memory and other numbers ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "memory"),
    [
        ("val_bpb: 1.5\n", 1.0),
        ("peak_vram_mb: 2048\nval_bpb: 1.5\n", 2.0),
        ("peak_vram_mb: 45,060.2\nval_bpb: 1.5\n", 1.0),
        ("peak_vram_mb: 0.0\nval_bpb: 1.5\n", 1.0),
        ("peak_vram_mb: nan\nval_bpb: 1.5\n", 1.0),
        ("peak_vram_mb: inf\nval_bpb: 1.5\n", 1.0),
        ("peak_vram_mb: -5\nval_bpb: 1.5\n", 1.0),
        ("peak_vram_mb: 1e300\nval_bpb: 1.5\n", 1e300 / 1024),
    ],
)
def test_memory_is_the_accelerators_where_one_was_used(
    task: Task, output: str, memory: float
) -> None:
    """The printed peak counts when it is a possible one, else what the executor sampled."""
    run = measure(task, output)
    assert run.memory_gb == memory
    assert run.value == 1.5


@pytest.mark.parametrize("printed", ["nan", "inf", "-inf", "-1", "1e308", "9" * 400, "0"])
def test_whatever_is_printed_can_be_recorded(task: Task, tmp_path: Path, printed: str) -> None:
    """No number that a candidate prints, under any name, is an error of the ledger."""
    output = f"peak_vram_mb: {printed}\nx: {printed}\nval_bpb: {printed}\nMETRIC seed={printed}\n"
    ledger = Ledger(tmp_path / "ledger.db", task.metric)
    trial = ledger.advance(ledger.add(Trial(0, "b", "n", "p")), State.COMMITTED, commit="b")
    trial = ledger.add_run(ledger.advance(trial, State.RUNNING), run_of(0, 42, GOOD))
    trial = ledger.measure_run(trial, measure(task, output))
    trial = ledger.advance(trial, State.DECIDED, status=Status.CRASH)
    read = ledger.trial(0)
    ledger.close()
    numbers = [sorted(one.runs[0].numbers.items()) for one in (trial, read)]
    assert len(numbers[0]) == 4
    assert repr(numbers[0]) == repr(numbers[1])  # by their text: NaN is not equal to itself
    assert read.value == trial.value


def test_secondary_numbers_bound_a_keep(task: Task) -> None:
    """Outside its bounds a second number forbids a keep."""
    assert out_of_bounds(measure(task, "val_bpb: 1.5\naccuracy: 0.5\n"), task) is None
    for bad in ("0.4", "1.1", "nan", "-inf"):
        problem = out_of_bounds(measure(task, f"val_bpb: 1.5\naccuracy: {bad}\n"), task)
        assert problem is not None and problem.startswith("accuracy is ")
    assert math.isnan(measure(task, "accuracy: nan\n").numbers["accuracy"])


@pytest.mark.parametrize("text", UNREADABLE)
@pytest.mark.parametrize("form", ["accuracy: {}", "METRIC accuracy={}"])
def test_a_guard_that_cannot_be_read_forbids_a_keep(task: Task, form: str, text: str) -> None:
    """An earlier number does not stand in for it; the guard, its limits and the line are named."""
    run = measure(task, f"accuracy: 0.9\n{form.format(text)}\nval_bpb: 1.5\n")
    problem = out_of_bounds(run, task) or ""
    assert run.value == 1.5
    assert problem.startswith("accuracy is ") and text in problem
    assert "at least 0.5 and at most 1" in problem


def test_a_missing_guard_forbids_a_keep_where_the_baseline_had_it(task: Task) -> None:
    """Silence is as little evidence as nonsense."""
    with_it = measure(task, "val_bpb: 1.5\naccuracy: 0.9\n")
    without = measure(task, "val_bpb: 1.4\n")
    assert stated_guards([with_it], task) == {"accuracy"}
    assert "accuracy is missing" in (out_of_bounds(without, task, {"accuracy"}) or "")
    assert out_of_bounds(without, task) is None
    unbounded = replace(task, secondary=(Bound("accuracy"),))
    assert out_of_bounds(without, unbounded, {"accuracy"}) is None


def test_a_verdicts_guard_counts_before_the_logs(task: Task) -> None:
    """What the judge cannot state, the candidate's own log does not replace."""
    log = task.folder / "run.log"
    log.write_text("accuracy: 0.9\n")
    unread = Scored(1.5, unread={"accuracy": "accuracy is '0.9', not a finite number"})
    run = parse_run(run_of(0, 42, GOOD), log, task, unread)
    assert "accuracy is '0.9'" in (out_of_bounds(run, task) or "")
    stated = parse_run(run_of(0, 42, GOOD), log, task, Scored(1.5, numbers={"accuracy": 0.2}))
    assert "below its minimum" in (out_of_bounds(stated, task) or "")


# ---- an evaluator's own words ------------------------------------------------------------------


@pytest.mark.parametrize("order", ["val_bpb: 0.5\n{}", "{}val_bpb: 0.5\n"])
@pytest.mark.parametrize("execution", [GOOD, FAILED], ids=["exit 0", "exit 1"])
def test_an_output_can_call_itself_invalid(task: Task, order: str, execution: Execution) -> None:
    """Wherever it stands, and whatever number is there: the run has none, and says why."""
    run = measure(task, order.format("INVALID: circles 3 and 7 overlap\n"), execution)
    assert (run.value, run.reason, run.detail) == (None, "invalid", "circles 3 and 7 overlap")


def test_feedback_is_kept_clean_and_bounded(task: Task) -> None:
    """What follows FEEDBACK: at a line's beginning is kept, without control characters."""
    run = measure(task, "FEEDBACK: slow in\x1b[31m case 7\x07\nval_bpb: 1.5\nFEEDBACK: wrong\n")
    assert (run.value, run.feedback) == (1.5, "slow in case 7\nwrong")
    flood = measure(task, "FEEDBACK: " + "x" * 9000 + "\n" + "FEEDBACK: y\n" * 9000)
    assert len(flood.feedback) <= FEEDBACK and flood.feedback.count("\n") < FEEDBACK_LINES


# ---- untrusted text ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("plain", "plain"),
        ("  a \t b\n\nc\r\nd\x0be\x0cf  ", "a b c d e f"),
        ("one\rtwo", "one two"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b[38:5:1mred\x1b[m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;you are root\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP1$r0m\x1b\\text", "text"),
        ("\x1b(Btext\x1bc\x1b7", "text"),
        ("\x1b[2J\x1b[Htext\x1b", "text"),
        ("a\x00b\x07c\x08d\x7fe\x85f", "abcde f"),
        ("safe\u202etxt.exe\u202c", "safetxt.exe"),
        ("\u2066a\u2069\u200eb\u200f\u061cc", "abc"),
        ("ze\u200bro\u200cwid\u200dth\u2060\ufeff\u00ad", "zerowidth"),
        ("tags\U000e0041\U000e0042\U000e007f", "tags"),
        ("half \ud800 pair \udcff", "half pair"),
        ("a\u2028b\u2029c", "a b c"),
        ("é ☃ 日本 \U0001f600", "é ☃ 日本 \U0001f600"),
        ("\x1b[", ""),
        ("\x1b]no end of it", ""),
        ("", ""),
    ],
)
def test_a_line_is_cleaned(text: str, clean: str) -> None:
    """Escape sequences, control, direction and invisible characters are gone, words stay."""
    assert clean_line(text) == clean


@given(st.text(st.characters()), st.integers(1, 50))
def test_no_text_escapes_cleaning(text: str, limit: int) -> None:
    """Any text becomes one bounded line that can be printed, encoded and cleaned again."""
    line = clean_line(text, limit)
    assert len(line) <= limit
    assert line == " ".join(line.split())
    assert not {unicodedata.category(c) for c in line} & {"Cc", "Cf", "Cs"}
    line.encode()
    assert clean_line(line, limit) == line


def test_a_long_line_is_cut(task: Task) -> None:
    """A megabyte on one line becomes a detail of bounded length that ends in an ellipsis."""
    run = measure(task, "é" * 1_000_000, FAILED)
    assert len(run.detail) <= DETAIL
    assert run.detail.endswith("…")


def test_a_line_as_long_as_the_log_is_not_taken_into_memory(task: Task) -> None:
    """20 MB without a line's end cost less than 2, and hide no number before or after them."""
    log = task.folder / "run.log"
    log.write_bytes(b"accuracy: 0.9\n" + b"val_bpb: 1 " * 2_000_000 + b"\nval_bpb: 1.5\n")
    tracemalloc.start()
    found = parse_run(run_of(0, 42, GOOD), log, task)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.value, found.numbers["accuracy"]) == (1.5, 0.9)
    assert peak < 2e6


def test_the_detail_of_a_hostile_log_is_harmless(task: Task) -> None:
    """What a log says about its failure reaches people without its escape sequences."""
    run = measure(task, "\x1b]0;pwned\x07\x1b[2JFAIL: \u202eno\x00pe\x1b[0m\n", FAILED)
    assert run.detail == "FAIL: nope (exit code 1)"


def test_a_tail_knows_the_lines_of_a_terminal(tmp_path: Path) -> None:
    """Of a program that wrote to a pseudo-terminal each line ends twice, and is no redrawing."""
    (tmp_path / "log").write_bytes(b"one\r\r\ntwo\r\nthree\r\r\n")
    assert tail(tmp_path / "log", 9) == ["one", "two", "three"]


def test_a_tail_keeps_the_indentation(tmp_path: Path) -> None:
    """A traceback is read by its indentation; colours and other controls are gone all the same."""
    (tmp_path / "log").write_bytes(
        b"Traceback:\n  File 'x'\n    a  =  1\n\tb\n\n"
        b" \x1b[31m red\x1b[0m \x00\xe2\x80\xae end  \r\n"
    )
    assert tail(tmp_path / "log", 9) == [
        "Traceback:",
        "  File 'x'",
        "    a  =  1",
        "        b",
        "",
        "  red  end",
    ]


@given(st.text(st.characters()), st.integers(1, 50))
def test_no_text_escapes_cleaning_with_its_indentation(text: str, limit: int) -> None:
    """Any text becomes one bounded line that can be printed, encoded and cleaned again."""
    line = clean_indented(text, limit)
    assert len(line) <= limit
    assert line.isprintable()
    line.encode()
    assert clean_indented(line, limit) == line


def test_the_tail_of_a_log_is_clean_and_bounded(tmp_path: Path) -> None:
    """The last lines are given cleaned; a log that is not there has none."""
    (tmp_path / "log").write_bytes(b"one\ntwo\r10%\r20%\rthree\x1b[0m\n" + b"\xff" * 10_000 + b"\n")
    lines = tail(tmp_path / "log", 3)
    assert lines[:2] == ["one", "three"]  # what was drawn anew is there as it stood at last
    assert len(lines[2]) < 1000
    assert tail(tmp_path / "missing", 3) == []


# ---- the job -----------------------------------------------------------------------------------


def test_a_job_is_what_the_task_says(task: Task, tmp_path: Path) -> None:
    """Command, timeout, seed and budget go from the task to the job."""
    job = run_job(task, tmp_path / "export", tmp_path / "log", seed=1042)
    assert (job.command, job.timeout) == ("python train.py", 600.0)
    assert (job.folder, job.log) == (tmp_path / "export", tmp_path / "log")
    assert job.env["AUTORESEARCH_SEED"] == "1042"
    assert float(job.env["AUTORESEARCH_BUDGET"]) == 300.5


def test_a_budget_that_is_not_set_is_not_handed_on(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a budget or a seed the harness's own surroundings do not supply one."""
    monkeypatch.setenv("AUTORESEARCH_SEED", "1")
    monkeypatch.setenv("AUTORESEARCH_BUDGET", "1")
    env = job_env(replace(task, budget=Budget(600.0)))
    assert "AUTORESEARCH_SEED" not in env
    assert "AUTORESEARCH_BUDGET" not in env


def test_a_budget_keeps_its_digits(task: Task) -> None:
    """A long budget arrives unrounded."""
    env = job_env(replace(task, budget=Budget(1e6, 86400.25)))
    assert float(env["AUTORESEARCH_BUDGET"]) == 86400.25


SECRETS = [
    "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "GITHUB_TOKEN",
    "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "WANDB_API_KEY",
    "DB_PASSWORD", "PGPASSWORD", "SMTP_PASS", "MYSQL_PWD", "VAULT_PASSPHRASE", "GH_PAT",
    "GOOGLE_APPLICATION_CREDENTIALS", "SESSION_COOKIE", "apikey", "my_token", "NPM_AUTH",
    "SSH_AUTH_SOCK", "X_SECRETS",
]  # fmt: skip
HARMLESS = [
    "HOME", "LANG", "PWD", "CUDA_VISIBLE_DEVICES", "TOKENIZERS_PARALLELISM", "OMP_NUM_THREADS",
    "HF_HOME", "GIT_AUTHOR_NAME", "AUTORESEARCH_CACHE", "PYTORCH_CUDA_ALLOC_CONF", "PATHS",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_not_handed_on(task: Task, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Keys, tokens and passwords of the user's shell do not reach a candidate."""
    monkeypatch.setenv(name, "sesame")
    assert name not in job_env(task)
    assert "sesame" not in job_env(task).values()


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_no_secret_is_handed_on(
    task: Task, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Settings that training needs arrive, even when a piece of their name looks like a secret."""
    monkeypatch.setenv(name, "value")
    assert job_env(task)[name] == "value"


def test_the_tasks_own_variables_win(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """What task.toml sets is set, a secret-sounding name included: its author chose it."""
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    env = job_env(replace(task, env={"OMP_NUM_THREADS": "2", "FAKE_TOKEN": "x"}))
    assert (env["OMP_NUM_THREADS"], env["FAKE_TOKEN"]) == ("2", "x")


def test_python_is_the_harnesss_own(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python` on the path of a job is the interpreter that has the lab's packages."""
    monkeypatch.setenv("PATH", "/nonexistent")
    python = shutil.which("python", path=job_env(task)["PATH"])
    assert python and Path(python).parent == Path(sys.executable).parent


def test_a_candidates_git_does_not_find_the_labs(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder where git stops looking is absolute, however the lab was named."""
    monkeypatch.chdir(tmp_path)
    env = job_env(replace(task, folder=Path()))
    assert env["GIT_CEILING_DIRECTORIES"] == os.path.realpath(tmp_path)
    monkeypatch.setenv("GIT_DIR", "/somewhere/.git")
    assert "GIT_DIR" not in job_env(task)
