"""How sure a study's gains are: its noise, its claims, the results of verify and ablate."""

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
from autoresearch.strategies.noise import Noise


def findings(ledger: Ledger, folder: Path) -> tuple[Finding, ...]:
    """The report's lines of "is it real"; verify and ablate left their results in `folder`.

    Results for an earlier best are left out.
    """
    best = ledger.best()
    if best is None or best.value is None:
        return ()
    found = list(_ledger_findings(ledger))
    verified, ablated = _saved(folder / VERIFIED), _saved(folder / ABLATED)
    if verified.get("best") == best.number:
        found += _verify_findings(verified)
    elif not best.is_baseline:
        found.append(Finding("on fresh seeds", "not checked yet", "autoresearch verify"))
    if ablated.get("best") == best.number:
        found += [_ablate_finding(change) for change in ablated["changes"]]
    return tuple(found)


def _ledger_findings(ledger: Ledger) -> Iterator[Finding]:
    values = [a.value for a in baseline(ledger).own if a.value is not None]
    if len(values) > 1:
        remark = f"standard deviation of one run; the baseline ran {len(values)} times"
        yield Finding("noise", number(Noise.pooled([values]).sd), remark)
    yield Finding("gain that the study claims", signed(claimed_gain(ledger)))
    if (rule := SequentialConfirmation.of(ledger)) is not None:
        for confirmed in rule.standing(ledger).confirmed:
            claim = confirmed.claim
            remark = f"confirmed on fresh seeds; {signed(claim.low)} to {signed(claim.high)}"
            yield Finding(f"of it by #{confirmed.trial}", signed(claim.estimate), remark)


def _verify_findings(verified: Mapping[str, Any]) -> Iterator[Finding]:
    for one in verified["compared"]:
        gain = one["gain"]
        span = "" if gain["low"] is None else f"{signed(gain['low'])} to {signed(gain['high'])}, "
        remark = f"{span}{verified['seeds']} fresh seeds for each, taking turns"
        yield Finding(f"gain on {one['name']}", signed(gain["mean"]), remark)
    if verified["claimed"] > 0:
        share = verified["compared"][0]["gain"]["mean"] / verified["claimed"]
        yield Finding("of the claimed gain", f"{share:.0%}", "was found again")


def _ablate_finding(change: Mapping[str, Any]) -> Finding:
    about = f"without #{change['trial']} it loses"
    if change["gain"] is None:
        return Finding(about, "?", f"{change['note']} ({change['why_not']})")
    return Finding(about, signed(change["gain"]["mean"]), change["note"])


def _saved(path: Path) -> dict[str, Any]:
    """A result file of verify or ablate; empty where there is none."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
