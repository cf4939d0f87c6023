"""How sure a study's gains are: its noise, its claims, the results of verify and ablate."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autoresearch.digits import Digits
from autoresearch.report.story import Finding
from autoresearch.store.extra_runs import ABLATED, VERIFIED
from autoresearch.store.ledger import Ledger
from autoresearch.strategies.confirmation import SequentialConfirmation
from autoresearch.strategies.summary import Summary


def findings(ledger: Ledger, folder: Path, summary: Summary) -> tuple[Finding, ...]:
    """The report's lines of "is it real"; verify and ablate left their results in `folder`.

    Results for an earlier best are left out.
    """
    best = ledger.best()
    if best is None or best.value is None:
        return ()
    digits = summary.digits
    found = list(_ledger_findings(ledger, summary))
    verified, ablated = _saved(folder / VERIFIED), _saved(folder / ABLATED)
    if verified.get("best") == best.number:
        found += _verify_findings(verified, digits)
    elif not best.is_baseline:
        found.append(Finding("on fresh seeds", "not checked yet", "autoresearch verify"))
    if ablated.get("best") == best.number:
        found += [_ablate_finding(change, digits) for change in ablated["changes"]]
    return tuple(found)


def _ledger_findings(ledger: Ledger, summary: Summary) -> Iterator[Finding]:
    digits = summary.digits
    if summary.noise is not None:
        yield Finding("noise", f"{summary.noise.sd:.3g}", summary.noise.words)
    if (rule := SequentialConfirmation.of(ledger)) is None:
        return
    for keep in rule.standing(ledger).confirmed:
        claim, steps = keep.claim, len(keep.steps)
        what = f"its {steps} steps together" if steps > 1 else "it"
        remark = f"{what}, on fresh seeds; {_span(claim.low, claim.high, digits)}"
        yield Finding(
            f"#{keep.trial} gains over the keep before", digits.difference(claim.estimate), remark
        )


def _verify_findings(verified: Mapping[str, Any], digits: Digits) -> Iterator[Finding]:
    for one in verified["compared"]:
        gain = one["gain"]
        span = "" if gain["low"] is None else f"{_span(gain['low'], gain['high'], digits)}, "
        remark = f"{span}{verified['seeds']} fresh seeds for each, taking turns"
        yield Finding(f"gain on {one['name']}", digits.difference(gain["mean"]), remark)
    if verified["claimed"] > 0:
        share = verified["compared"][0]["gain"]["mean"] / verified["claimed"]
        yield Finding("of the claimed gain", f"{share:.0%}", "was found again")


def _ablate_finding(change: Mapping[str, Any], digits: Digits) -> Finding:
    about = f"without #{change['trial']} it loses"
    if change["gain"] is None:
        return Finding(about, "?", f"{change['note']} ({change['why_not']})")
    return Finding(about, digits.difference(change["gain"]["mean"]), change["note"])


def _span(low: float, high: float, digits: Digits) -> str:
    return f"{digits.difference(low)} to {digits.difference(high)}"


def _saved(path: Path) -> dict[str, Any]:
    """A result file of verify or ablate; empty where there is none."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
