"""Stacks: what each keep is made of, and what is known of each of its changes alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch.digits import Digits
from autoresearch.store.extra_runs import ABLATED
from autoresearch.store.ledger import Ledger
from autoresearch.strategies.confirmation import SequentialConfirmation

UNTESTED = "untested alone"


@dataclass(frozen=True)
class Step:
    """One change of a stack."""

    trial: int
    note: str
    alone: str = ""  # what is known of it alone; empty where the stack is this step only


@dataclass(frozen=True)
class Stack:
    """A keep and the steps that its confirmation kept together."""

    keep: int
    steps: tuple[Step, ...]
    lead: str = ""  # the note of the step that had shown the largest gain


def stacks_of(ledger: Ledger, extra_runs: Path, digits: Digits) -> dict[int, Stack]:
    """The confirmed keeps by number; `ablate` left in `extra_runs` what each change gives alone."""
    rule, best = SequentialConfirmation.of(ledger), ledger.best()
    if rule is None or best is None:
        return {}
    ablated = _ablated(extra_runs / ABLATED, best.number)
    found = {}
    for keep in rule.standing(ledger).confirmed:
        if keep.steps:
            notes = {number: ledger.trial(number).note for number in keep.steps}
            shown = dict(zip(keep.steps, keep.shown, strict=True))
            lead = max(keep.steps, key=lambda number: shown[number])
            single = len(keep.steps) == 1
            steps = tuple(
                Step(number, note, "" if single else _alone(ablated.get(number), digits))
                for number, note in notes.items()
            )
            found[keep.trial] = Stack(keep.trial, steps, notes[lead])
    return found


def _alone(change: Mapping[str, Any] | None, digits: Digits) -> str:
    """What `ablate` found of one change, in words."""
    if change is None:
        return UNTESTED
    if change.get("gain") is None:
        return f"{UNTESTED}: {change.get('why_not') or 'it could not be taken out'}"
    gain = change["gain"]
    text = f"without it the best loses {digits.difference(gain['mean'])}"
    if gain.get("low") is None or gain.get("high") is None:
        return text
    return f"{text} ({digits.difference(gain['low'])} to {digits.difference(gain['high'])})"


def _ablated(path: Path, best: int) -> dict[int, Mapping[str, Any]]:
    """The changes that `ablate` took out of this best; empty where it has not run on it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["best"] != best:
            return {}
        return {int(change["trial"]): change for change in found["changes"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
