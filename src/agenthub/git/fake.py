"""An index in memory, for tests and trials of the git side without a database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence

from agenthub.git.ingest import NewCommit


class MemoryIndex:
    """An `Index` that lasts as long as the process."""

    def __init__(self) -> None:
        self.commits: dict[str, NewCommit] = {}  # in order of arrival
        self._writing = threading.Lock()

    def known(self, shas: Collection[str]) -> set[str]:
        """The subset of `shas` that was recorded."""
        return {sha for sha in shas if sha in self.commits}

    def record(self, new: Sequence[NewCommit], admit: Callable[[], None]) -> None:
        """Add commits, after their objects were admitted."""
        with self._writing:
            admit()
            for commit in new:
                self.commits.setdefault(commit.sha, commit)

    def leaves(self) -> set[str]:
        """Commits that are no other commit's parent."""
        parents = {parent for commit in self.commits.values() for parent in commit.parents}
        return set(self.commits) - parents
