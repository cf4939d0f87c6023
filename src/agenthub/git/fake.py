"""An index in memory: for tests, and for trying the git side without a database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence

from agenthub.git.ingest import NewCommit


class MemoryIndex:
    """Keeps the Index's promises for as long as the process lives."""

    def __init__(self) -> None:
        self.commits: dict[str, NewCommit] = {}  # in the order they came
        self._writing = threading.Lock()

    def known(self, shas: Collection[str]) -> set[str]:
        """Those of some commits that were recorded."""
        return {sha for sha in shas if sha in self.commits}

    def record(self, new: Sequence[NewCommit], admit: Callable[[], None]) -> None:
        """Add commits, once their objects are let in."""
        with self._writing:
            admit()
            for commit in new:
                self.commits.setdefault(commit.sha, commit)

    def leaves(self) -> set[str]:
        """Commits that no other one has as a parent."""
        parents = {parent for commit in self.commits.values() for parent in commit.parents}
        return set(self.commits) - parents
