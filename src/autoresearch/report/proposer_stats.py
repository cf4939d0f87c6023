"""Arms: which proposer earned what, as a small table or a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoresearch.report.story import signed
from autoresearch.store.rows import plain

NOISE_ARM = "noop"  # the control that changes nothing


@dataclass(frozen=True)
class ProposerStats:
    """What one proposer tried, gained and cost. Gains are in the metric's unit; more is better."""

    proposer: str
    trials: int = 0  # the refused included, baseline and proofs not
    steps: int = 0  # that were climbed, proven or not
    kept: int = 0  # on its own or within a proof
    gain: float = 0.0  # as the study claims it
    usd: float = 0.0  # of all its proposals, those that came to nothing included
    tokens: int = 0
    control: bool = False

    @property
    def per_trial(self) -> float | None:
        """Gain a trial; None without a trial."""
        return self.gain / self.trials if self.trials else None

    @property
    def per_usd(self) -> float | None:
        """Gain a dollar; None where nothing was spent."""
        return self.gain / self.usd if self.usd else None


HEAD = ("proposer", "trials", "kept", "gain", "a trial", "dollars", "tokens", "a dollar")


def arm_cells(arm: ProposerStats) -> tuple[str, ...]:
    """A row under `HEAD`."""
    name = plain(arm.proposer) + (" (control)" if arm.control else "")
    return (
        name,
        str(arm.trials),
        str(arm.kept) + (f" of {arm.steps} steps" if arm.steps else ""),
        signed(arm.gain),
        _or_dash(arm.per_trial),
        f"{arm.usd:,.2f}" if arm.usd else "—",
        f"{arm.tokens:,}" if arm.tokens else "—",
        _or_dash(arm.per_usd),
    )


def arm_lines(arms: Sequence[ProposerStats]) -> list[str]:
    """For a terminal: a table, its head first; one proposer is a line."""
    if len(arms) < 2:
        return [arm_line(arm) for arm in arms]
    table = [HEAD, *map(arm_cells, arms)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in table
    ]
    return [line.rstrip() for line in lines] + noise_remark(arms)


def arm_line(arm: ProposerStats) -> str:
    """`offline: 12 trials, 3 kept, gain +0.012000 (+0.001000 a trial)`, and what it cost."""
    trials = f"{arm.trials} trial{'' if arm.trials == 1 else 's'}"
    told = f"{plain(arm.proposer)}: {trials}, {arm.kept} kept, gain {signed(arm.gain)}"
    if arm.per_trial is not None:
        told += f" ({signed(arm.per_trial)} a trial)"
    if arm.usd:
        told += f", ${arm.usd:,.2f} ({_or_dash(arm.per_usd)} a dollar)"
    return told + (f", {arm.tokens:,} tokens" if arm.tokens else "")


def noise_remark(arms: Sequence[ProposerStats]) -> list[str]:
    """What the control that changes nothing says of the others."""
    for arm in arms:
        if arm.proposer == NOISE_ARM and arm.per_trial is not None:
            kept = f"{arm.kept or 'none'} of its {arm.trials} trials"
            falsely = f", falsely: noise earns {signed(arm.per_trial)} a trial here."
            return [
                f"{NOISE_ARM} leaves the code as it is; {kept} {'was' if arm.kept < 2 else 'were'} "
                f"kept{falsely if arm.kept else '.'}"
            ]
    return []


def _or_dash(value: float | None) -> str:
    return "—" if value is None else signed(value)
