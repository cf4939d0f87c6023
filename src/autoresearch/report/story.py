"""Story: the content of a report, and the few numbers that summarize it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from autoresearch.lab.metric import Metric
from autoresearch.store.ledger import Status
from autoresearch.store.rows import Row

if TYPE_CHECKING:
    from autoresearch.report.proposer_stats import ProposerStats


@dataclass(frozen=True)
class Position:
    """A row, with the best kept value before and after it."""

    row: Row
    before: float | None  # best kept value before this trial
    best: float | None  # best kept value after this trial

    @property
    def delta(self) -> float | None:
        """Value minus the best before it, in the metric's unit; None where either is missing."""
        if self.row.value is None or self.before is None:
            return None
        return self.row.value - self.before

    @property
    def record(self) -> bool:
        """Whether this trial moved the staircase."""
        return self.best != self.before


@dataclass(frozen=True)
class Finding:
    """One line of "is it real": the question, the figure, how sure it is."""

    about: str
    figure: str
    remark: str = ""


@dataclass(frozen=True)
class Story:
    """A study as its report shows it."""

    title: str
    metric: Metric
    rows: Sequence[Row]
    facts: Mapping[str, str] = field(default_factory=dict)  # machine, task, seeds, budget
    findings: Sequence[Finding] = ()  # is it real: noise, claims, verify, ablate
    proposers: Sequence[ProposerStats] = ()

    @property
    def positions(self) -> tuple[Position, ...]:
        """Every row with the best before and after it."""
        return climb(self.rows, self.metric)

    @property
    def baseline(self) -> Row | None:
        """The first row, when it has a value."""
        first = self.rows[0] if self.rows else None
        return first if first is not None and first.value is not None else None

    @property
    def best(self) -> Row | None:
        """The kept row of the best value."""
        records = [position.row for position in self.positions if position.record]
        return records[-1] if records else None

    def count(self, status: Status) -> int:
        """How many trials have this status, without the skipped."""
        return sum(row.status is status and not row.skipped for row in self.rows)

    @property
    def skipped(self) -> int:
        """How many trials were skipped: they ended before they ran."""
        return sum(row.skipped for row in self.rows)

    @property
    def trials_per_hour(self) -> float | None:
        """Trials an hour of running time; None where no row has its seconds."""
        seconds = sum(row.seconds or 0.0 for row in self.rows)
        timed = sum(row.seconds is not None for row in self.rows)
        return timed * 3600 / seconds if seconds else None


def climb(rows: Sequence[Row], metric: Metric) -> tuple[Position, ...]:
    """The staircase: the best kept value before and after each row."""
    best: float | None = None
    positions = []
    for row in rows:
        before = best
        if row.status is Status.KEEP and metric.better(row.value, best):
            best = row.value
        positions.append(Position(row, before, best))
    return tuple(positions)


def headline(story: Story) -> str:
    """One line: `val_bpb 0.997900 → 0.969686 (−2.83 %)`."""
    first, best = story.baseline, story.best
    if best is None or best.value is None:
        return f"no trial has a usable {story.metric.name} yet"
    if first is None or first.value is None or best is first:
        return f"{story.metric.name} {number(best.value)}"
    text = f"{story.metric.name} {number(first.value)} → {number(best.value)}"
    change = percent(best.value, first.value)
    return f"{text} ({change})" if change else text


def counted(story: Story) -> str:
    """`126 trials: 23 kept, 102 discarded, 1 crashed`."""
    words = {Status.KEEP: "kept", Status.DISCARD: "discarded", Status.CRASH: "crashed"}
    counts = {word: story.count(status) for status, word in words.items()}
    counts["skipped"] = story.skipped
    total = f"{len(story.rows)} trial{'s' if len(story.rows) != 1 else ''}"
    return f"{total}: " + ", ".join(f"{n} {word}" for word, n in counts.items() if n)


def percent(value: float, of: float) -> str:
    """The signed change in percent of `of`; empty when `of` is zero."""
    if of == 0 or not math.isfinite(change := 100 * (value - of) / abs(of)):
        return ""
    return f"{signed(change, '.2f' if abs(change) < 100 else ',.0f')} %"


def number(value: float) -> str:
    """Six decimals; six digits where the number is very large or very small."""
    if value == 0 or 5e-6 <= abs(value) < 1000:
        return f"{value:.6f}".replace("-", "−")
    return (f"{value:,.1f}" if 1000 <= abs(value) < 1e9 else f"{value:.5e}").replace("-", "−")


def signed(value: float, form: str = "") -> str:
    """A number with its sign, a true minus or a plus."""
    text = format(abs(value), form) if form else number(abs(value))
    return f"{'−' if value < 0 else '+'}{text}"
