"""From a log to a number, or to the reason why there is none."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from autoresearch.evaluation.verdicts import Scored
from autoresearch.executors import Execution
from autoresearch.lab.metric import read_numbers
from autoresearch.lab.task import Task
from autoresearch.store.ledger import Run
from autoresearch.text import DETAIL, clean_indented, clean_line

_LAST = 50  # lines at a log's end that are searched for it
_PIECE = 1 << 16  # characters of one line that are looked at
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
    numbers, last = _read(log)
    if verdict is not None:
        numbers = {**numbers, **verdict.numbers}
    found = replace(run, numbers=numbers, memory_gb=_memory(run, numbers))
    if verdict is not None and verdict.reason and verdict.reason != "no_metric":
        return _without(found, verdict.reason, verdict.detail)
    if run.reason:
        return _explained(found, last)
    return _printed(found, last, task) if verdict is None else _scored(found, verdict, task)


def _printed(found: Run, last: list[str], task: Task) -> Run:
    """The run with the number that it printed."""
    name = task.metric.name
    if name not in found.numbers:
        seen = f"; the last line is: {last[-1]}" if last else "; the log is empty"
        return _without(found, "no_metric", f"no line `{name}: number` in the output{seen}")
    if problem := task.metric.problem(found.numbers[name]):
        return _without(found, "invalid", problem)
    return replace(found, value=found.numbers[name])


def _scored(found: Run, verdict: Scored, task: Task) -> Run:
    """The run with the judge's number; the detail reports a different printed one."""
    if verdict.value is None:
        return _without(found, verdict.reason, verdict.detail)
    printed = found.numbers.get(task.metric.name, verdict.value)
    honest = math.isclose(printed, verdict.value, rel_tol=1e-3, abs_tol=1e-6)
    detail = "" if honest else f"it printed {printed:g}; the {task.source} found {verdict.value:g}"
    return replace(found, value=verdict.value, detail=detail)


def out_of_bounds(run: Run, task: Task) -> str | None:
    """Why a secondary number forbids a keep, or None."""
    problems = (bound.problem(run.numbers.get(bound.name)) for bound in task.secondary)
    return next((problem for problem in problems if problem), None)


def tail(log: Path, lines: int) -> list[str]:
    """The last lines of a log with their indentation; of a redrawn line, the last state."""
    return list(deque(_lines(log, redrawn=False, clean=clean_indented), maxlen=lines))


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


def _read(log: Path) -> tuple[dict[str, float], list[str]]:
    last: deque[str] = deque(maxlen=_LAST)

    def passing(lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            if line:
                last.append(line)
            yield line

    return read_numbers(passing(_lines(log))), list(last)


def _lines(
    log: Path, *, redrawn: bool = True, clean: Callable[[str, int], str] = clean_line
) -> Iterator[str]:
    """A log's lines, cleaned; a carriage return ends a line, too, which the next may redraw."""
    if not log.exists():
        return
    with log.open(encoding="utf-8", errors="replace", newline="") as stream:
        line, ended = None, True
        while piece := stream.readline(_PIECE):  # a line may be as long as the log
            if ended and not (line and piece in ("\n", "\r", "\r\n")):  # "\r\r\n" ends one line
                line = clean(piece, 4 * DETAIL)
            ended = piece.endswith(("\n", "\r"))
            if ended and line is not None and (redrawn or piece.endswith("\n")):
                yield line
                line = None
        if line is not None:
            yield line
