"""A commit sent to a hub with what it lacks: negotiated, and in slices that its caps allow."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

from agenthub.client.hub_client import HubClient, Json, as_list
from agenthub.client.local import Local
from agenthub.errors import TooLarge

SLICE = 1_000  # commits of one push


def send(
    local: Local,
    client: HubClient,
    tip: str,
    role: str = "frontier",
    told: Callable[[int], None] = lambda _: None,
) -> Json:
    """Push a commit and all below it that the hub lacks: `{"heads", "new"}`.

    A long history goes in slices, each half as long when one is too large; `told` is given how
    many commits are left. What was sent stays there, so that the next try goes on from it.
    """
    known = local.known(tip, client.haves)
    size, new = SLICE, []
    while True:
        rest = local.lacking(tip, known)
        upto = tip if len(rest) <= size else rest[size - 1]
        if len(rest) > size:
            told(len(rest))
        try:
            answer = _pushed(local, client, upto, known, role)
        except TooLarge:
            size = min(size, len(rest)) // 2
            if not size:
                raise  # a commit alone is too large
            continue
        new += as_list(answer.get("new"))
        if upto == tip:
            return {**answer, "new": new}
        known = {*known, upto}


def _pushed(local: Local, client: HubClient, tip: str, known: Collection[str], role: str) -> Json:
    with tempfile.TemporaryDirectory(prefix="autoresearch-push-") as scratch:
        bundle = Path(scratch) / "bundle"
        local.write_bundle(tip, known, bundle)
        return client.push(bundle, role)
