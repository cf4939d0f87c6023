"""The net diff: what the best changed in all, and which trial brought each line."""

from __future__ import annotations

from autoresearch.report.net_diff import DiffLine, net_diffs
from autoresearch.store.ledger import Trial


def net(*versions: str | bytes | None) -> list[DiffLine]:
    """The lines between the first and the last of these, trials 1, 2, ... between them."""
    files = {str(n): v.encode() if isinstance(v, str) else v for n, v in enumerate(versions)}
    trials = [
        Trial(n, str(n - 1), f"edit {n}", "offline", commit=str(n)) for n in range(1, len(versions))
    ]
    found = net_diffs("0", trials, ["train.py"], lambda commit, _: files[commit])
    return [line for one in found for line in one.lines if line.sign in "+-"]


def test_each_line_has_the_trial_that_brought_it() -> None:
    """Also where a later trial moved its place, or took away the line beside it."""
    found = net("a\nb\nc\n", "a\nB\nc\n", "new\na\nB\nc\n", "new\na\nB\n")
    assert found == [
        DiffLine("+", "new", 2),
        DiffLine("-", "b", 1), DiffLine("-", "c", 3), DiffLine("+", "B", 1),
    ]  # fmt: skip


def test_the_last_of_several_changes_to_a_line_counts() -> None:
    """What lies between is no part of the net diff; the first change took the old line away."""
    assert net("LR = 1\n", "LR = 2\n", "LR = 3\n") == [
        DiffLine("-", "LR = 1", 1), DiffLine("+", "LR = 3", 2),
    ]  # fmt: skip


def test_what_was_taken_back_is_no_change() -> None:
    """A to B to A is nothing, and no file is listed."""
    assert net("a\n", "b\n", "a\n") == []


def test_a_file_that_came_or_went_is_all_its_lines() -> None:
    """A file that is not there has no lines."""
    assert net(None, "x\n") == [DiffLine("+", "x", 1)]
    assert net("x\n", "y\n", None)[0] == DiffLine("-", "x", 1)


def test_binary_and_huge_files_are_not_compared() -> None:
    """They are left out, as a whole."""
    assert net(b"\0a", b"\0b") == []
    assert net("a\n", "b\n" * 300_000) == []
