"""NetDiff: what changed from the baseline to the best, and which trial brought each line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from autoresearch.store.ledger import Trial

_CONTEXT = 3  # lines around a change
_BYTES = 400_000  # of a file that is compared


@dataclass(frozen=True)
class DiffLine:
    """One line; `sign` is + or -, a space for context, @ for the heading of a hunk."""

    sign: str
    text: str
    trial: int | None = None  # that brought the line, or took it away; None where it is unknown


@dataclass(frozen=True)
class NetDiff:
    """All changes of one file between baseline and best."""

    path: str
    lines: tuple[DiffLine, ...]


Read = Callable[[str, str], bytes | None]  # commit, path -> content; None where there is no file


def net_diffs(
    base: str, trials: Sequence[Trial], paths: Sequence[str], read: Read
) -> tuple[NetDiff, ...]:
    """The files that differ between commit `base` and the last of `trials`.

    `trials` are the edits from the baseline to the best, each made on the one before.
    """
    found = []
    for path in paths:
        versions = [_lines(read(commit, path)) for commit in (base, *(t.commit for t in trials))]
        known = [version for version in versions if version is not None]
        if len(known) == len(versions) and versions[0] != versions[-1]:
            numbers = [trial.number for trial in trials]
            found.append(NetDiff(path, tuple(_net(known, numbers))))
    return tuple(found)


def _lines(content: bytes | None) -> list[str] | None:
    """The lines of a file; none of one that is not there, None for one that is not compared."""
    if content is None:
        return []
    if len(content) > _BYTES or b"\0" in content:
        return None
    return content.decode("utf-8", "replace").removesuffix("\n").split("\n")


def _net(versions: Sequence[list[str]], numbers: Sequence[int]) -> Iterator[DiffLine]:
    """A unified diff of the first and the last version, each changed line with its trial."""
    brought, removed = _followed(versions, numbers)
    old, new = versions[0], versions[-1]
    for hunk in _matcher(old, new).get_grouped_opcodes(_CONTEXT):
        _, o0, _, n0, _ = hunk[0]
        yield DiffLine("@", f"@@ -{o0 + 1} +{n0 + 1} @@")
        for kind, i0, i1, j0, j1 in hunk:
            if kind == "equal":
                yield from (DiffLine(" ", old[i]) for i in range(i0, i1))
                continue
            yield from (DiffLine("-", old[i], removed.get(i)) for i in range(i0, i1))
            yield from (DiffLine("+", new[j], brought[j]) for j in range(j0, j1))


def _followed(
    versions: Sequence[list[str]], numbers: Sequence[int]
) -> tuple[list[int | None], dict[int, int]]:
    """The trial that brought each line of the last version, and that took each of the first."""
    lines: list[tuple[int | None, int | None]] = [(None, i) for i in range(len(versions[0]))]
    removed: dict[int, int] = {}
    for old, new, number in zip(versions, versions[1:], numbers, strict=False):
        later: list[tuple[int | None, int | None]] = []
        for kind, i0, i1, j0, j1 in _matcher(old, new).get_opcodes():
            if kind == "equal":
                later += lines[i0:i1]
                continue
            removed |= {first: number for _, first in lines[i0:i1] if first is not None}
            later += [(number, None)] * (j1 - j0)
        lines = later
    return [brought for brought, _ in lines], removed


def _matcher(old: Sequence[str], new: Sequence[str]) -> SequenceMatcher[str]:
    return SequenceMatcher(None, old, new, autojunk=False)
