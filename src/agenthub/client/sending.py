"""Send a commit to a hub, with the history that the hub lacks, in slices that its caps allow."""

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
    on_slice: Callable[[int], None] = lambda _: None,
) -> Json:
    """Push a commit and all below it that the hub lacks: `{"heads", "new"}`.

    A long history is sent in slices; one that is too large is halved. `on_slice` gets the number
    of commits that are left. The hub keeps the slices of a push that failed, so that the next one
    goes on from there.
    """
    known = local.known(tip, client.haves)
    size, new = SLICE, []
    while True:
        rest = local.lacking(tip, known)
        upto = tip if len(rest) <= size else rest[size - 1]
        if len(rest) > size:
            on_slice(len(rest))
        try:
            answer = _push_bundle(local, client, upto, known, role)
        except TooLarge:
            size = min(size, len(rest)) // 2
            if not size:
                raise  # one commit alone is too large
            continue
        new += as_list(answer.get("new"))
        if upto == tip:
            return {**answer, "new": new}
        known = {*known, upto}


def _push_bundle(
    local: Local, client: HubClient, tip: str, known: Collection[str], role: str
) -> Json:
    with tempfile.TemporaryDirectory(prefix="autoresearch-push-") as scratch:
        bundle = Path(scratch) / "bundle"
        local.write_bundle(tip, known, bundle)
        return client.push(bundle, role)
