"""Story: the content of a report: its rows, its summary, and what stands beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from autoresearch.lab.metric import Metric
from autoresearch.store.ledger import Status
from autoresearch.store.rows import Row
from autoresearch.strategies.summary import Counts, Figure, Summary

if TYPE_CHECKING:
    from autoresearch.report.net_diff import NetDiff
    from autoresearch.report.proposer_stats import ProposerStats
    from autoresearch.report.stacks import Stack, Step


@dataclass(frozen=True)
class Position:
    """A row, what it started from, and the last kept value before and after it."""

    row: Row
    start: float | None  # value of the trial that it was made from
    before: float | None  # last kept value before this trial
    best: float | None  # last kept value after this trial

    @property
    def delta(self) -> float | None:
        """Value minus that of the trial it started from, in the metric's unit; None without one."""
        if self.row.value is None or self.start is None:
            return None
        return self.row.value - self.start

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
    rows: Sequence[Row]
    summary: Summary
    facts: Mapping[str, str] = field(default_factory=dict)  # machine, task, seeds, budget
    findings: Sequence[Finding] = ()  # is it real: noise, claims, verify, ablate
    proposers: Sequence[ProposerStats] = ()
    stacks: Mapping[int, Stack] = field(default_factory=dict)  # by the number of their keep
    net: Sequence[NetDiff] = ()  # baseline to best, a file each
    alarms: Sequence[str] = ()  # what a person should look at, beside crashes that are alike

    @classmethod
    def of_rows(
        cls, title: str, metric: Metric, rows: Sequence[Row], facts: Mapping[str, str] | None = None
    ) -> Story:
        """The story of bare rows, such as a results.tsv has: nothing is known of confirmations."""
        return cls(title, rows, summary_of_rows(rows, metric), facts or {})

    @property
    def metric(self) -> Metric:
        """The number that the study improves."""
        return self.summary.metric

    @property
    def positions(self) -> tuple[Position, ...]:
        """Every row with the last kept value before and after it."""
        return climb(self.rows, self.summary)

    @property
    def open_steps(self) -> tuple[Position, ...]:
        """The steps that no confirmation has decided, oldest first: the newest tentative rows."""
        count = 0 if self.summary.open is None else self.summary.open.count
        steps = [one for one in self.positions if one.row.status is Status.TENTATIVE]
        return tuple(steps[len(steps) - count :])

    @property
    def members(self) -> Mapping[int, Step]:
        """The steps that were kept together with others, by trial."""
        stacks = (stack for stack in self.stacks.values() if len(stack.steps) > 1)
        return {step.trial: step for stack in stacks for step in stack.steps}


def summary_of_rows(rows: Sequence[Row], metric: Metric) -> Summary:
    """The summary of rows without a ledger: a keep counts where its value is better."""
    kept: list[Row] = []
    for row in rows:
        before = kept[-1].value if kept else None
        if row.status is Status.KEEP and metric.better(row.value, before):
            kept.append(row)
    experiments = rows[1:] if rows and kept and kept[0] is rows[0] else rows

    def ended(status: Status) -> int:
        return sum(row.status is status and not row.skipped for row in experiments)

    counts = Counts(
        experiments=len(experiments),
        keeps=ended(Status.KEEP),
        open_steps=ended(Status.TENTATIVE),
        discarded=ended(Status.DISCARD),
        crashed=ended(Status.CRASH),
        skipped=sum(row.skipped for row in experiments),
    )
    ends = [Figure(row.number, row.value or 0.0, 1) for row in kept]
    return Summary(
        metric,
        counts,
        baseline=ends[0] if ends else None,
        best=ends[-1] if ends else None,
        values={row.number: row.value for row in rows},
        kept=frozenset(row.number for row in kept),
    )


def climb(rows: Sequence[Row], summary: Summary) -> tuple[Position, ...]:
    """The staircase: the value of the last keep before and after each row."""
    best: float | None = None
    values = {row.number: row.value for row in rows}
    positions = []
    for row in rows:
        before = best
        if row.number in summary.kept and row.value is not None:
            best = row.value
        start = before if row.parent is None else values.get(row.parent)
        positions.append(Position(row, start, before, best))
    return tuple(positions)
