"""What every Index promises; `INDEXES` names all there are."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from agenthub.git.fake import MemoryIndex
from agenthub.git.ingest import Index, NewCommit
from hub_records import stored_index

INDEXES: list[Callable[[], Index]] = [MemoryIndex, stored_index]


@pytest.fixture(params=INDEXES, ids=lambda make: make.__name__)
def index(request: pytest.FixtureRequest) -> Index:
    """An empty index of each kind."""
    made: Index = request.param()
    return made


def commit(number: int, *parents: int) -> NewCommit:
    """A commit of a number upon others."""
    above = tuple(f"{parent:040x}" for parent in parents)
    return NewCommit(f"{number:040x}", "a" * 40, above, f"n {number}", "A <a@b>", 1_700_000_000)


def test_what_is_recorded_is_known(index: Index) -> None:
    """Only recorded commits are known."""
    assert index.known([]) == set()
    assert index.known([commit(1).sha]) == set()
    index.record([commit(1), commit(2, 1)], lambda: None)
    assert index.known([commit(1).sha, commit(2).sha, commit(3).sha]) == {
        commit(1).sha,
        commit(2).sha,
    }


def test_many_are_asked_for_at_once(index: Index) -> None:
    """Thousands of names in one question are fine."""
    index.record([commit(number) for number in range(1, 1_001)], lambda: None)
    asked = [commit(number).sha for number in range(1, 6_001)]
    assert len(index.known(asked)) == 1_000


def test_objects_come_first(index: Index) -> None:
    """While the objects are let in, nobody knows the commit yet; and it is called once."""
    seen = []
    index.record([commit(1)], lambda: seen.append(1))
    assert seen == [1]
    assert index.known([commit(1).sha]) == {commit(1).sha}


def test_a_failure_takes_all_back(index: Index) -> None:
    """When the objects cannot be let in, no commit is known, and the next record works."""

    def fail() -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        index.record([commit(1), commit(2, 1)], fail)
    assert index.known([commit(1).sha, commit(2).sha]) == set()
    index.record([commit(1), commit(2, 1)], lambda: None)
    assert len(index.known([commit(1).sha, commit(2).sha])) == 2


def test_recorded_twice(index: Index) -> None:
    """Commits that somebody recorded meanwhile are passed over, the others are added."""
    index.record([commit(1), commit(2, 1)], lambda: None)
    index.record([commit(2, 1), commit(3, 2)], lambda: None)
    assert len(index.known([commit(number).sha for number in (1, 2, 3)])) == 3


def test_many_at_once(index: Index) -> None:
    """Sixteen threads record without a failure, the same commits and their own."""
    index.record([commit(1)], lambda: None)

    def record(number: int) -> None:
        index.record([commit(2, 1), commit(100 + number, 1, 2)], lambda: None)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(record, range(64)))
    assert len(index.known([commit(100 + number).sha for number in range(64)])) == 64
