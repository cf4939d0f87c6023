"""Mirror commits: a study's commits as a hub gets them, with the lab's folder alone.

The rest of the repository, and its history before the study, stays private. The mirror of a
baseline has no parent and depends on its files alone: all studies that begin with the same lab
begin with the same commit on the hub.
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

FACT = "shadow:"  # and a commit of ours -> its mirror on the hub
KEPT = "keep"


def as_body(trial: Trial, task: str, other: str = "") -> dict[str, Any]:
    """The letter about a finished trial. `other` is the hub's commit that it was taken from."""
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
        "description": trial.note + (f" [{trial.reason}]" if trial.reason else ""),
    }


class MirrorCommits:
    """Makes mirror commits, and remembers in the outbox which commit each one mirrors."""

    def __init__(self, git: Git, outbox: Outbox, paths: StudyPaths) -> None:
        self._git = git
        self._outbox = outbox
        self._paths = paths

    def of(self, commit: str) -> str:
        """The mirror of a commit; empty when it has none."""
        return self._outbox.fact(FACT + commit)

    def make(self, body: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        """The mirror of a trial's commit, and the mirror's parents."""
        parents = tuple(filter(None, (self.of(body["parent"]), body["other"])))
        mirror = self.of(body["commit"])
        if not mirror:
            tree = self._git.lab_tree(body["commit"])
            mirror = self._git.plant(tree, parents, body["message"], body["at"])
            self._git.set_ref(f"{self._paths.met}{mirror}", mirror)
            self._outbox.note(FACT + body["commit"], mirror)
        return mirror, self._git.parents(mirror)

    def bundle(self, mirror: str, known: Sequence[str], target: Path) -> None:
        """Write a bundle of a mirror to a file, for a hub that has the known commits."""
        header = write_header([(mirror, "HEAD")], known)
        write_whole(target, header + self._git.pack(mirror, known), durable=False)
