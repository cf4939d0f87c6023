"""What each proposer tried, gained and cost, as a small table or a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoresearch.digits import Digits
from autoresearch.store.rows import plain

NOISE_CONTROL = "noop"  # the control that changes nothing


@dataclass(frozen=True)
class ProposerStats:
    """What one proposer tried, gained and cost. Gains are in the metric's unit; more is better."""

    proposer: str
    trials: int = 0  # with the skipped, without baseline and confirmations
    steps: int = 0  # confirmed or not
    kept: int = 0  # by themselves or as steps of a confirmation
    gain: float = 0.0  # as the study claims it
    usd: float = 0.0  # of all its proposals, failed ones included
    tokens: int = 0
    unstated_usd: float = 0.0  # limits of sessions that did not tell their cost
    control: bool = False

    @property
    def per_trial(self) -> float | None:
        """Gain a trial; None without a trial."""
        return self.gain / self.trials if self.trials else None

    @property
    def per_usd(self) -> float | None:
        """Gain a dollar; None where nothing was spent, or not all of it is known."""
        return self.gain / self.usd if self.usd and not self.unstated_usd else None


COLUMNS = ("proposer", "trials", "kept", "gain", "a trial", "dollars", "tokens", "a dollar")


def stats_cells(stats: ProposerStats, digits: Digits) -> tuple[str, ...]:
    """A row under `COLUMNS`."""
    name = plain(stats.proposer) + (" (control)" if stats.control else "")
    return (
        name,
        str(stats.trials),
        str(stats.kept) + (f" of {stats.steps} steps" if stats.steps else ""),
        digits.difference(stats.gain),
        _or_dash(stats.per_trial, digits),
        _dollars(stats) or "—",
        f"{stats.tokens:,}" if stats.tokens else "—",
        _or_dash(stats.per_usd, digits),
    )


def stats_lines(proposers: Sequence[ProposerStats], digits: Digits) -> list[str]:
    """For a terminal: a table with its heading, or a single line for a single proposer."""
    if len(proposers) < 2:
        return [stats_line(stats, digits) for stats in proposers]
    table = [COLUMNS, *(stats_cells(stats, digits) for stats in proposers)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in table
    ]
    return [line.rstrip() for line in lines] + noise_remark(proposers, digits)


def stats_line(stats: ProposerStats, digits: Digits) -> str:
    """`offline: 12 trials, 3 kept, gain +0.012000 (+0.001000 a trial)`, and what it cost."""
    trials = f"{stats.trials} trial{'' if stats.trials == 1 else 's'}"
    gain = digits.difference(stats.gain)
    line = f"{plain(stats.proposer)}: {trials}, {stats.kept} kept, gain {gain}"
    if stats.per_trial is not None:
        line += f" ({digits.difference(stats.per_trial)} a trial)"
    if dollars := _dollars(stats):
        rate = "" if stats.per_usd is None else f" ({_or_dash(stats.per_usd, digits)} a dollar)"
        line += f", {'$' if stats.usd else 'dollars '}{dollars}{rate}"
    return line + (f", {stats.tokens:,} tokens" if stats.tokens else "")


def _dollars(stats: ProposerStats) -> str:
    """Its dollars, and whether some are unknown; empty where it cost nothing."""
    if not stats.unstated_usd:
        return f"{stats.usd:,.2f}" if stats.usd else ""
    return f"{stats.usd:,.2f} + not told" if stats.usd else "not told"


def noise_remark(proposers: Sequence[ProposerStats], digits: Digits) -> list[str]:
    """A sentence on the gain that the noise control shows; empty in a study without it."""
    for stats in proposers:
        if stats.proposer == NOISE_CONTROL and stats.per_trial is not None:
            kept = f"{stats.kept or 'none'} of its {stats.trials} trials"
            verb = "was" if stats.kept < 2 else "were"
            earned = digits.difference(stats.per_trial)
            falsely = f", falsely: noise earns {earned} a trial here."
            return [
                f"{NOISE_CONTROL} leaves the code as it is; {kept} {verb} "
                f"kept{falsely if stats.kept else '.'}"
            ]
    return []


def _or_dash(value: float | None, digits: Digits) -> str:
    return "—" if value is None else digits.difference(value)
