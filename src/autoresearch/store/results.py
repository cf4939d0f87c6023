"""The ledger written out for other tools: results.tsv in five columns, and JSON lines."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

from autoresearch.lab.metric import Metric
from autoresearch.store.ledger import Run, Trial
from autoresearch.store.rows import Row, plain


def results_tsv(rows: Iterable[Row], metric: Metric) -> str:
    """`commit <metric> memory_gb status description`; a row without a value has 0.000000 and 0.0.

    A description that a spreadsheet would execute is preceded by an apostrophe (see `_inert`);
    `read_tsv` removes it again.
    """
    lines = [("commit", metric.name, "memory_gb", "status", "description")]
    lines += [_cells(row) for row in rows]
    return "".join("\t".join(cells) + "\n" for cells in lines)


def jsonl(trials: Iterable[Trial], values: Mapping[int, float | None] | None = None) -> str:
    """All of every trial and its runs, one object a line, keys in the order of the fields.

    `values` are the values to show by trial number, where they are not the trial's own. Numbers
    that JSON does not have are the strings "nan", "inf" and "-inf".
    """
    values = values or {}
    records = (_trial(trial, values.get(trial.number, trial.value)) for trial in trials)
    return "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)


def _cells(row: Row) -> tuple[str, str, str, str, str]:
    commit = plain(row.commit)[:12] if row.commit == "baseline" else plain(row.commit)[:7]
    memory = row.memory_gb if row.value is not None else 0.0
    value = "0.000000" if row.value is None else in_full(row.value)
    return commit, value, f"{memory:.1f}", str(row.status.public), _inert(plain(row.note))


def in_full(value: float) -> str:
    """A value that reads back as the same float, with six decimals or more: `0.997900`."""
    text = repr(value)
    if "e" in text or len(text.partition(".")[2]) >= 6:
        return text
    return f"{value:.6f}"


def _inert(note: str) -> str:
    """An apostrophe before a formula; `+5% warmup` and `-0.1 lr` can do nothing and stay as is.

    `=` and `@` always begin a formula. After `+` and `-` only a call, a link to another sheet or
    a DDE link can act, and these need a `(`, `!` or `|`.
    """
    first, acts = note[:1], any(mark in note for mark in "(!|")
    return f"'{note}" if first in ("=", "@") or (first in ("+", "-") and acts) else note


def _trial(trial: Trial, value: float | None) -> dict[str, Any]:
    record = {f.name: getattr(trial, f.name) for f in fields(trial) if f.name != "runs"}
    if trial.explanation:
        record["explanation"] = {n: _json(v) for n, v in asdict(trial.explanation).items()}
    derived = {"value": value, "memory_gb": trial.memory_gb, "seconds": trial.seconds}
    record |= {"because": trial.because}
    runs = [_run(run) for run in trial.runs]
    return {name: _json(v) for name, v in (record | derived).items()} | {"runs": runs}


def _run(run: Run) -> dict[str, Any]:
    record = {f.name: _json(getattr(run, f.name)) for f in fields(run)}
    record["numbers"] = {name: _json(v) for name, v in sorted(run.numbers.items())}
    return record


def _json(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
