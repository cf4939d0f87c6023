"""A hub's database for tests: a real file, a clock set by hand, commits as if pushed."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

from agenthub.git.ingest import NewCommit
from agenthub.records.agents import Accounts
from agenthub.records.commits import FRONTIER, Commit, Commits, Index
from agenthub.records.database import Database
from agenthub.records.projects import Projects

NOON = 1_772_000_000
PEPPER = b"p" * 32


class Clock:
    """Unix seconds, set by hand."""

    def __init__(self) -> None:
        self.time = float(NOON)

    def __call__(self) -> float:
        return self.time


@contextlib.contextmanager
def taken_back(database: Database) -> Iterator[None]:
    """A transaction that fails at its end."""
    with contextlib.suppress(ZeroDivisionError), database.write():
        yield
        raise ZeroDivisionError


def digest(word: str) -> str:
    """A hash for a name: 40 digits, the same each time."""
    return hashlib.sha1(word.encode()).hexdigest()


def new(name: str, *parents: str, tree: str = "", patch: str = "") -> NewCommit:
    """A commit called by a name, on parents called by theirs."""
    return NewCommit(
        sha=digest(name),
        tree=digest(tree or f"tree of {name}"),
        parents=tuple(digest(parent) for parent in parents),
        subject=f"add {name}",
        author="Somebody <else@example.org>",
        author_time=NOON - 60,
        patch_id=digest(patch or f"patch of {name}") if parents else "",
    )


class Hub:
    """A database with a default project and three agents."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.path = folder / "hub.db"
        self.database = Database(self.path, self.clock)
        self.accounts = Accounts(self.database, PEPPER, "a long admin key")
        self.projects = Projects(self.database)
        self.project = self.projects.default().id
        self.commits = Commits(self.database, self.project)
        self.keys = {name: self.accounts.add(name) for name in ("ada", "bob", "cyd")}

    def push(
        self, *commits: NewCommit, agent: str = "ada", role: str = FRONTIER, project: int = 0
    ) -> tuple[Commit, ...]:
        """Record commits as a push does, and read them back."""
        place = project or self.project
        Index(self.database, place, agent, role).record(commits, lambda: None)
        found = (Commits(self.database, place).find(commit.sha) for commit in commits)
        return tuple(commit for commit in found if commit is not None)


def stored_index() -> Index:
    """An empty index in a database of its own, for the tests that all indexes pass."""
    folder = tempfile.TemporaryDirectory(prefix="index-")
    hub = Hub(Path(folder.name))
    index = Index(hub.database, hub.project, "ada")
    weakref.finalize(index, _removed, hub.database, folder)
    return index


def _removed(database: Database, folder: tempfile.TemporaryDirectory[str]) -> None:
    database.close()
    folder.cleanup()
