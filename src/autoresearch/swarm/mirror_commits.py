"""Shadows: a study's commits as a hub sees them, the lab's folder alone, from the baseline on.

The repository around a lab, and what it was before the study, is nobody else's affair. The shadow
of a baseline has no parent and depends on its files alone: all who begin with the same lab begin
with the same commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from agenthub.client import write_header
from autoresearch.files import write_whole
from autoresearch.store.git import Git
from autoresearch.store.ledger import Status, Trial
from autoresearch.store.paths import StudyPaths
from autoresearch.swarm.outbox import Outbox

FACT = "shadow:"  # and a commit of ours -> the commit on the hub
KEPT = "keep"


def as_body(trial: Trial, task: str, other: str = "") -> dict[str, Any]:
    """What is told of a finished trial. `other` is the hub's commit that it was taken from."""
    first, status = trial.own[0], (trial.status or Status.CRASH).public.value
    climbs = trial.status in (Status.KEEP, Status.TENTATIVE)
    return {
        "commit": trial.commit,
        "parent": "" if trial.is_baseline else trial.parent,
        "other": other if climbs else "",
        "message": f"{task}\n" if trial.is_baseline else f"{trial.note}\n\nTrial: {trial.number}\n",
        "at": 0 if trial.is_baseline else int(datetime.fromisoformat(trial.created).timestamp()),
        "role": "frontier" if status == KEPT else "attempt",
        "status": status,
        "value": None if trial.status is Status.CRASH else trial.value,
        "memory_gb": round(trial.memory_gb, 3),
        "seconds": round(trial.seconds, 3),
        "seed": first.seed,
        "description": trial.note + trial.why,
    }


class Shadows:
    """Makes them, and remembers which is whose."""

    def __init__(self, git: Git, outbox: Outbox, paths: StudyPaths) -> None:
        self._git = git
        self._outbox = outbox
        self._paths = paths

    def of(self, commit: str) -> str:
        """The shadow of a commit; empty when it has none."""
        return self._outbox.fact(FACT + commit)

    def make(self, body: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        """The shadow of a trial's commit and those that it builds on."""
        above = tuple(filter(None, (self.of(body["parent"]), body["other"])))
        made = self.of(body["commit"])
        if not made:
            tree = self._git.lab_tree(body["commit"])
            made = self._git.plant(tree, above, body["message"], body["at"])
            self._git.set_ref(f"{self._paths.met}{made}", made)
            self._outbox.note(FACT + body["commit"], made)
        return made, self._git.parents(made)

    def bundle(self, shadow: str, above: Sequence[str], target: Path) -> None:
        """Write a bundle of a shadow to a file, for one who has those that it builds on."""
        header = write_header([(shadow, "HEAD")], above)
        write_whole(target, header + self._git.pack(shadow, above), durable=False)
