"""The lines of a file that are nearest to some that are not in it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

SHOWN = 40  # lines at most
WIDE = 200  # characters of a line that are compared
AROUND = 2  # lines shown on either side


def nearest_lines(search: Sequence[str], lines: Sequence[str]) -> tuple[int, list[str]]:
    """Where the nearest stretch begins, from 0, and its lines with two more on either side."""
    if not lines:
        return 0, []
    size = min(len(search), SHOWN)
    start = max(0, _start(search[:size], lines) - AROUND)
    return start, list(lines[start : start + size + 2 * AROUND])


def _start(search: Sequence[str], lines: Sequence[str]) -> int:
    """The place where most lines agree but for blanks; else the likeness of the longest decides."""
    wanted = [line.strip() for line in search]
    there = [line.strip() for line in lines]
    agree = [_agreement(wanted, there, at) for at in range(len(there))]
    if max(agree) > 0:
        return agree.index(max(agree))
    longest = max(range(len(wanted)), key=lambda i: len(wanted[i]))
    return max(0, _likest(wanted[longest][:WIDE], [line[:WIDE] for line in there]) - longest)


def _agreement(wanted: Sequence[str], there: Sequence[str], at: int) -> int:
    """Characters in the lines that are the same when the stretch begins here."""
    pairs = zip(wanted, there[at : at + len(wanted)], strict=False)
    return sum(len(a) for a, b in pairs if a == b)


def _likest(word: str, lines: Sequence[str]) -> int:
    """The line most like a word."""
    matcher = difflib.SequenceMatcher(None, autojunk=False)
    matcher.set_seq2(word)
    best, likeness = 0, -1.0
    for number, line in enumerate(lines):
        matcher.set_seq1(line)
        if matcher.real_quick_ratio() <= likeness or matcher.quick_ratio() <= likeness:
            continue
        if (ratio := matcher.ratio()) > likeness:
            best, likeness = number, ratio
    return best
