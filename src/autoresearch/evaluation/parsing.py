"""From a log to a number, or to the reason why there is none."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoresearch.evaluation.verdicts import Scored
from autoresearch.executors import Execution
from autoresearch.lab.metric import Line, Statement, numbers_of, read_statements
from autoresearch.lab.task import Task
from autoresearch.store.ledger import Run
from autoresearch.text import DETAIL, FEEDBACK_LINES, clean_feedback, clean_indented, clean_line

_LAST = 50  # lines at a log's end that are searched for it
_PIECE = 1 << 16  # characters of a line that are read at once
_OVERLAP = 4096  # characters of one part of a line that are looked at again with the next
_INVALID = "INVALID:"  # begins a line in which the program calls its candidate invalid
_FEEDBACK = "FEEDBACK:"  # begins a line of words for the proposer
# What moves a terminal's cursor back to the beginning of its line, besides a carriage return.
_REDRAW = re.compile(r"\x08+|\x1b\[(?:2K|1?G|\d*;?\d*[HEF])")
_OOM = re.compile(
    r"out of memory|MemoryError|bad_alloc|can(?:no|')t allocate memory|not enough memory",
    re.IGNORECASE,
)
_OVER = {
    "memory": ("oom", "killed: out of memory, it took more than limits.memory_gb"),
    "disk": ("disk", "killed: its folder took more than limits.disk_gb"),
    "processes": ("processes", "killed: it ran more than limits.processes"),
}


def run_of(number: int, seed: int, execution: Execution, trust: str = "log") -> Run:
    """A run as its execution left it, without a number."""
    reason, detail = _ending(execution)
    return Run(
        number=number,
        seed=seed,
        seconds=execution.seconds,
        exit_code=execution.exit_code,
        value=None,
        memory_gb=execution.peak_memory / 2**30,
        trust=trust,
        sandbox=execution.sandbox,
        reason=reason,
        detail=detail,
    )


def parse_run(run: Run, log: Path, task: Task, verdict: Scored | None = None) -> Run:
    """The run with its number, or with the reason why it has none.

    With a verdict the number is the judge's; numbers of the log are kept beside it.
    """
    words = _read(log, task)
    numbers = numbers_of(words.statements)
    problems = ((name, one.problem()) for name, one in words.statements.items())
    unread = {name: problem for name, problem in problems if problem}
    if verdict is not None:
        numbers = {**_without_names(numbers, verdict.unread), **verdict.numbers}
        unread = {**_without_names(unread, verdict.numbers), **verdict.unread}
    found = replace(
        run,
        numbers=numbers,
        memory_gb=_memory(run, numbers),
        unread=_of_guards(unread, task),
        feedback=(verdict.feedback if verdict is not None else "") or words.feedback,
    )
    if verdict is not None and verdict.reason and verdict.reason != "no_metric":
        return _without(found, verdict.reason, verdict.detail)
    if run.reason and not (run.reason == "failed" and words.invalid is not None):
        return _explained(found, words.last)
    if words.invalid is not None:
        return _without(found, "invalid", words.invalid or "the output calls it invalid")
    return _printed(found, words, task) if verdict is None else _scored(found, verdict, task)


def _printed(found: Run, words: _Words, task: Task) -> Run:
    """The run with the number in the last line that it printed about the metric."""
    name = task.metric.name
    said = words.statements.get(name)
    if said is None:
        seen = f"; the last line is: {words.last[-1]}" if words.last else "; the log is empty"
        return _without(found, "no_metric", f"no line `{name}: number` in the output{seen}")
    if problem := said.problem():
        return _without(found, "invalid", problem)
    assert said.value is not None
    if problem := task.metric.problem(said.value):
        return _without(found, "invalid", problem)
    return replace(found, value=said.value)


def _scored(found: Run, verdict: Scored, task: Task) -> Run:
    """The run with the judge's number; the detail reports a different printed one."""
    if verdict.value is None:
        return _without(found, verdict.reason, verdict.detail)
    printed = found.numbers.get(task.metric.name, verdict.value)
    honest = math.isclose(printed, verdict.value, rel_tol=1e-3, abs_tol=1e-6)
    detail = "" if honest else f"it printed {printed:g}; the {task.source} found {verdict.value:g}"
    return replace(found, value=verdict.value, detail=detail)


def out_of_bounds(run: Run, task: Task, stated: Collection[str] = ()) -> str | None:
    """Why a secondary number of a run forbids a keep, or None.

    A guard fails closed: see `unknown_guard`.
    """
    values = ((bound, run.numbers.get(bound.name)) for bound in task.guards)
    problems = (bound.problem(value) for bound, value in values if value is not None)
    return unknown_guard(run, task, stated) or next(filter(None, problems), None)


def unknown_guard(run: Run, task: Task, stated: Collection[str]) -> str | None:
    """What a run says about a guard and is no number, or a missing guard of those in `stated`."""
    for bound in task.guards:
        if problem := run.unread.get(bound.name):
            return f"{problem}; {bound.allowed}"
        if bound.name in stated and bound.name not in run.numbers:
            return f"{bound.name} is missing in the output; {bound.allowed}"
    return None


def stated_guards(runs: Iterable[Run], task: Task) -> frozenset[str]:
    """The names of the guards that these runs gave a number for."""
    names = {name for run in runs for name in run.numbers}
    return frozenset(bound.name for bound in task.guards if bound.name in names)


def tail(log: Path, lines: int) -> list[str]:
    """The last lines of a log with their indentation; of a redrawn line, the last state."""
    return list(deque(_shown_lines(log), maxlen=lines))


def _ending(execution: Execution) -> tuple[str, str]:
    if execution.ending == "timeout":
        return "timeout", f"killed after {execution.seconds:.0f} s, the time limit"
    if execution.ending in _OVER:
        return _OVER[execution.ending]
    code = execution.exit_code or 0
    signal = execution.signal or (code - 128 if 128 < code <= 192 else 0)  # as a shell encodes it
    if signal:
        return "killed", f"killed by signal {signal}"
    if code in (126, 127):
        return "cannot_start", f"the shell could not start it (exit code {code})"
    return ("failed", f"exit code {code}") if code else ("", "")


def _explained(run: Run, last: list[str]) -> Run:
    """A failure with a detail from its log; out of memory is recognised."""
    failure = next((line for line in reversed(last) if line.startswith("FAIL")), None)
    words = failure or (last[-1] if last else "")
    if run.reason in ("failed", "killed") and any(_OOM.search(line) for line in last):
        oom = next(line for line in reversed(last) if _OOM.search(line))
        return _without(run, "oom", failure or oom)
    if run.reason == "timeout" or not words:
        return run
    return _without(run, run.reason, f"{words} ({run.detail})")


def _without(run: Run, reason: str, detail: str) -> Run:
    return replace(run, value=None, reason=reason, detail=clean_line(detail))


def _memory(run: Run, numbers: Mapping[str, float]) -> float:
    """GiB on the accelerator as the log reports it, else sampled resident memory."""
    printed = numbers.get("peak_vram_mb", 0.0) / 1024
    return printed if 0 < printed < math.inf else run.memory_gb


def _of_guards(unread: Mapping[str, str], task: Task) -> dict[str, str]:
    """What was said of the guards and is no number; nobody asks about other names."""
    return {bound.name: unread[bound.name] for bound in task.guards if bound.name in unread}


def _without_names(values: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


@dataclass(frozen=True)
class _Words:
    """What a log says: its statements, its own verdict on the run, and its last lines."""

    statements: Mapping[str, Statement]
    last: list[str]
    invalid: str | None  # the reason, where it calls the run invalid
    feedback: str


def _read(log: Path, task: Task) -> _Words:
    last: deque[str] = deque(maxlen=_LAST)
    invalid: list[str] = []
    feedback: list[str] = []

    def passing(lines: Iterable[Line]) -> Iterator[Line]:
        for line in lines:
            if line.text and line.begins:
                last.append(clean_line(line.text[: 8 * DETAIL], 4 * DETAIL))
            if line.begins and line.text.startswith(_INVALID):
                invalid.append(line.text.removeprefix(_INVALID).strip())
            if line.begins and line.text.startswith(_FEEDBACK) and len(feedback) < FEEDBACK_LINES:
                feedback.append(line.text.removeprefix(_FEEDBACK).strip())
            yield line

    wanted = (task.metric.name, *(bound.name for bound in task.guards))
    said = read_statements(passing(_lines(log)), wanted)
    return _Words(
        said, list(last), invalid[-1] if invalid else None, clean_feedback("\n".join(feedback))
    )


def _lines(log: Path) -> Iterator[Line]:
    """A log's lines, cleaned, for reading; a carriage return ends one, which the next redraws.

    A line as long as the log comes in parts that overlap: no statement is cut in two unseen.
    """
    if not log.exists():
        return
    with log.open(encoding="utf-8", errors="replace", newline="") as stream:
        carried, redrawn = "", False
        while piece := stream.readline(_PIECE):  # a line may be as long as the log
            parts = _REDRAW.split(carried + piece)
            for place, part in enumerate(parts):
                begins = place > 0 or not carried
                yield Line(clean_line(part, len(part)), redrawn or place > 0, begins)
            whole = piece.endswith(("\n", "\r"))
            redrawn = not piece.endswith("\n") if whole else redrawn or len(parts) > 1
            carried = "" if whole else parts[-1][-_OVERLAP:]


def _shown_lines(log: Path) -> Iterator[str]:
    """A log's lines for people, cleaned and indented; of a redrawn line, the last state."""
    if not log.exists():
        return
    with log.open(encoding="utf-8", errors="replace", newline="") as stream:
        line, ended = None, True
        while piece := stream.readline(_PIECE):
            if ended and not (line and piece in ("\n", "\r", "\r\n")):  # "\r\r\n" ends one line
                line = clean_indented(piece, 4 * DETAIL)
            ended = piece.endswith(("\n", "\r"))
            if ended and line is not None and piece.endswith("\n"):
                yield line
                line = None
        if line is not None:
            yield line
