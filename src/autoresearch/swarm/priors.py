"""Why a candidate need not run: what the priors of a claim mean on this kind of machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from autoresearch.swarm.hub_protocol import finite_float, is_agent, is_commit


def tried_before(priors: Any, agent: str, tier: str) -> str:
    """The reason, if others ran the same files on this kind of machine; else empty.

    Our own earlier tries, and the same change of other files, are not reason enough.
    """
    for row in _rows(priors):
        ref, results = row.get("ref"), row.get("results")
        if row.get("kind") != "commit" or row.get("same") != "tree" or not is_commit(ref):
            continue
        if is_agent(row.get("agent")) and row["agent"] != agent:
            measured = [each for each in _rows(results) if each.get("tier") == tier]
            if measured:
                value = finite_float(measured[0].get("value"))
                there = "a crash there" if value is None else f"{value:.6f} there"
                return f"duplicate of hub commit {str(ref)[:12]}, {there}"
    return ""


def held_now(priors: Any) -> str:
    """The reason, if another agent holds the claim now; else empty."""
    refs = (str(row.get("ref")) for row in _rows(priors) if row.get("kind") == "claim")
    return next((f"duplicate of hub claim {ref}" for ref in refs if ref.isdecimal()), "")


def _rows(value: Any) -> Iterator[dict[str, Any]]:
    return (row for row in value if isinstance(row, dict)) if isinstance(value, list) else iter(())
