"""What is known about the truth of a study: its noise, its claims, verify and ablate."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autoresearch.report.story import Finding, number, signed
from autoresearch.store.extra_runs import ABLATED, VERIFIED
from autoresearch.store.ledger import Ledger
from autoresearch.strategies.claims import baseline, claimed_gain
from autoresearch.strategies.confirmation import SequentialConfirmation
from autoresearch.strategies.screening_test import Noise


def findings(ledger: Ledger, folder: Path) -> tuple[Finding, ...]:
    """What is known of a study's truth, for its report; `folder` is where verify left its runs."""
    best = ledger.best()
    if best is None or best.value is None:
        return ()
    found = list(_own_findings(ledger))
    checked, taken = _kept(folder / VERIFIED), _kept(folder / ABLATED)
    if checked.get("best") == best.number:
        found += _checked_findings(checked)
    elif not best.is_baseline:
        found.append(Finding("on fresh seeds", "not checked yet", "autoresearch verify"))
    if taken.get("best") == best.number:
        found += [_part(change) for change in taken["changes"]]
    return tuple(found)


def _own_findings(ledger: Ledger) -> Iterator[Finding]:
    values = [a.value for a in baseline(ledger).own if a.value is not None]
    if len(values) > 1:
        remark = f"standard deviation of one run; the baseline ran {len(values)} times"
        yield Finding("noise", number(Noise.pooled([values]).sd), remark)
    yield Finding("gain that the study claims", signed(claimed_gain(ledger)))
    if (rule := SequentialConfirmation.of(ledger)) is not None:
        for told in rule.standing(ledger).confirmed:
            claim = told.claim
            remark = f"proven on fresh seeds; {signed(claim.low)} to {signed(claim.high)}"
            yield Finding(f"of it by #{told.trial}", signed(claim.estimate), remark)


def _checked_findings(checked: Mapping[str, Any]) -> Iterator[Finding]:
    for one in checked["compared"]:
        gain = one["gain"]
        sure = "" if gain["low"] is None else f"{signed(gain['low'])} to {signed(gain['high'])}, "
        remark = f"{sure}{checked['seeds']} fresh seeds for each, taking turns"
        yield Finding(f"gain on {one['name']}", signed(gain["mean"]), remark)
    if checked["claimed"] > 0:
        share = checked["compared"][0]["gain"]["mean"] / checked["claimed"]
        yield Finding("of the claimed gain", f"{share:.0%}", "was found again")


def _part(change: Mapping[str, Any]) -> Finding:
    about = f"without #{change['trial']} it loses"
    if change["gain"] is None:
        return Finding(about, "?", f"{change['note']} ({change['why_not']})")
    return Finding(about, signed(change["gain"]["mean"]), change["note"])


def _kept(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
