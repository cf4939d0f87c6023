"""Failures that are alike: grouped by the last words of their logs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from autoresearch.store.ledger import Status
from autoresearch.store.rows import Row, plain

ALARM = 3  # failures that are alike, from which on they are an alarm
_VARIES = re.compile(r"0x[0-9a-fA-F]+|\d[\d.,:]*|(?:/[^\s/:'\"]+)+/")  # addresses, numbers, folders


@dataclass(frozen=True)
class Failures:
    """Trials that ran and failed with the same last words."""

    words: str  # of the newest of them
    trials: tuple[int, ...]

    @property
    def text(self) -> str:
        """`9 crashed alike: ZeroDivisionError: division by zero`."""
        return f"{len(self.trials)} crashed alike: {self.words}"


def failures(rows: Sequence[Row]) -> tuple[Failures, ...]:
    """The groups of trials that ran and gave no usable number, the largest first."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.status is Status.CRASH and not row.skipped:
            groups.setdefault((row.reason, _VARIES.sub("#", row.detail)), []).append(row)
    found = [
        Failures(failure_words(same[-1]), tuple(row.number for row in same))
        for same in groups.values()
    ]
    return tuple(sorted(found, key=lambda one: (-len(one.trials), one.trials)))


def failure_words(row: Row) -> str:
    """Why a trial has no number: its reason, and the last words of its log."""
    reason, detail = plain(row.reason).replace("_", " "), plain(row.detail)
    if reason and detail and reason.lower() not in detail.lower():
        return detail if reason == "failed" else f"{reason}: {detail}"
    return detail or reason or "no reason is on record"
