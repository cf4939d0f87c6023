"""Row: one trial as the pictures see it, from a ledger or from a bare results.tsv."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from autoresearch.errors import ReportError
from autoresearch.store.ledger import SKIP, STEP, Status, Trial

Curve = tuple[tuple[float, float], ...]

_BYTES = 64 * 2**20  # a results file larger than this is some other file
_WRITTEN = {str(status): status for status in Status if status is status.public}
_ABSENT = {"", "-", "n/a", "na", "none"}


@dataclass(frozen=True)
class Row:
    """One finished trial. `value` is None when it has no usable number."""

    number: int  # 0 is the baseline
    commit: str
    value: float | None
    memory_gb: float
    status: Status
    note: str
    reason: str = ""
    seed: int | None = None
    seconds: float | None = None  # wall clock of all runs
    proposer: str = ""
    parent: int | None = None  # number of the trial it was made from
    curve: Curve = ()  # (progress 0..1, loss)
    diff: str = ""
    skipped: bool = False  # it ended before it ran, such as a duplicate
    created: str = ""  # UTC, ISO 8601
    because: str = ""  # why it was decided as it was, in words
    detail: str = ""  # the last words of a run that gave no number

    @property
    def word(self) -> str:
        """Its status, in one word for people."""
        if self.skipped:
            return SKIP
        return STEP if self.status is Status.TENTATIVE else self.status.value


def from_trials(
    trials: Iterable[Trial],
    curves: Mapping[int, Curve] | None = None,
    diffs: Mapping[int, str] | None = None,
    values: Mapping[int, float | None] | None = None,
) -> tuple[Row, ...]:
    """The decided trials as rows; curves, diffs and other values are looked up by trial number."""
    decided = [trial for trial in trials if trial.status is not None]
    values = values or {}
    curves, diffs = curves or {}, diffs or {}
    made_by: dict[str, int] = {}  # commit -> the last trial so far that ran it

    def parent_of(trial: Trial) -> int | None:
        parent = made_by.get(trial.parent) if trial.number else None
        if trial.commit:
            made_by[trial.commit] = trial.number
        return parent

    return tuple(
        Row(
            number=trial.number,
            commit=trial.commit,
            value=_usable(values.get(trial.number, trial.value), trial.status),
            memory_gb=trial.memory_gb,
            status=trial.status or Status.CRASH,
            note=trial.note,
            reason=trial.reason,
            seed=trial.runs[-1].seed if trial.runs else None,
            seconds=trial.seconds if trial.runs else None,
            created=trial.created,
            proposer=trial.proposer,
            parent=parent_of(trial),
            curve=tuple(curves.get(trial.number, ())),
            diff=diffs.get(trial.number, ""),
            skipped=trial.is_skipped,
            because=trial.because,
            detail=trial.detail if trial.status is Status.CRASH else "",
        )
        for trial in decided
    )


def read_tsv(path: Path) -> tuple[str, tuple[Row, ...]]:
    """The metric's name and the rows of a file `commit <metric> memory_gb status description`.

    Trailing columns may be missing or more, lines blank or ended by CRLF. A crash has no value,
    whatever number stands there. ReportError names the line, what was seen and what is allowed.
    """
    lines = _lines(path)
    header_at, header = next(lines, (1, ""))
    columns = _columns(path, header_at, header)
    rows = [
        _row(f"{path}, line {at}", number, columns, line.split("\t"))
        for number, (at, line) in enumerate(lines)
    ]
    return header.split("\t")[1].strip(), tuple(rows)


def plain(text: str) -> str:
    """One line of it: whitespace folded, control and direction-changing characters removed."""
    spaced = " ".join(text.split())
    return "".join(c for c in spaced if unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co"})


def _usable(value: float | None, status: Status | None) -> float | None:
    if value is None or status is Status.CRASH or not math.isfinite(value):
        return None
    return value


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines that are not blank."""
    try:
        if path.stat().st_size > _BYTES:
            raise ReportError(
                f"{path} has {path.stat().st_size:,} bytes; a results file has at most {_BYTES:,}. "
                "Name the results.tsv of a study."
            )
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ReportError(
            f"{path} cannot be read: {error.strerror}. Name the results.tsv of a study."
        ) from error
    except UnicodeDecodeError as error:
        raise ReportError(
            f"{path} is not UTF-8 text (byte {error.start}). Name the results.tsv of a study."
        ) from error
    for at, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield at, line.rstrip("\r")


def _columns(path: Path, at: int, header: str) -> dict[str, int]:
    """Where each column stands; the metric is the second one, whatever its name."""
    names = [name.strip().lower() for name in header.split("\t")]
    if len(names) < 3 or names[0] != "commit" or "status" not in names[2:] or not names[1]:
        raise ReportError(
            f"{path}, line {at} is {_shown(header)}, not the heading of a results file. Allowed: "
            "tab-separated `commit  <metric>  memory_gb  status  description`."
        )
    return {"metric": 1} | {name: i for i, name in reversed([*enumerate(names)]) if i != 1}


def _row(where: str, number: int, columns: Mapping[str, int], cells: list[str]) -> Row:
    def cell(name: str) -> str:
        at = columns.get(name, len(cells))
        return cells[at].strip() if at < len(cells) else ""

    status = _status(where, cell("status"))
    value = None if status is Status.CRASH else _number(where, "metric", cell("metric"))
    if status is Status.KEEP and value is None:
        raise ReportError(
            f"{where}: a kept trial whose metric is {_shown(cell('metric'))}. "
            "Allowed: a finite number; `crash` is the status of a trial without one."
        )
    return Row(
        number=number,
        commit=cell("commit"),
        value=value,
        memory_gb=_number(where, "memory_gb", cell("memory_gb")) or 0.0,
        status=status,
        note=_note(columns, cells),
    )


def _status(where: str, text: str) -> Status:
    try:
        return _WRITTEN[text.lower()]
    except KeyError:
        allowed = ", ".join(_WRITTEN)
        raise ReportError(f"{where}: status is {_shown(text)}. Allowed: {allowed}.") from None


def _number(where: str, name: str, text: str) -> float | None:
    """A finite number, or None for an absent or non-finite one."""
    if text.lower() in _ABSENT:
        return None
    try:
        value = float(text)
    except ValueError:
        raise ReportError(f"{where}: {name} is {_shown(text)}. Allowed: a number.") from None
    return value if math.isfinite(value) else None


def _note(columns: Mapping[str, int], cells: list[str]) -> str:
    """The description, with what a stray tab cut off it, and a spreadsheet's quote taken away."""
    at = columns.get("description")
    if at is None or at >= len(cells):
        return ""
    last = at == max(columns.values())
    note = " ".join(cells[at:] if last else cells[at : at + 1]).strip()
    return note[1:] if note[:1] == "'" and note[1:2] in set("=+-@") else note


def _shown(text: str) -> str:
    """A bounded quotation of what was seen."""
    text = plain(text.replace("\t", " "))
    return f"'{text[:60]}…'" if len(text) > 60 else f"'{text}'" if text else "empty"
