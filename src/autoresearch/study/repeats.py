"""Repeated lines: a candidate adds code that an earlier candidate was worse with."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from autoresearch.store.ledger import Ledger, Status, Trial

RECENT = 100  # trials that are looked back at
LONGEST = 1000  # characters of a line whose comment is looked for
LEAST = 4  # letters and digits of a line that counts
_CODE = re.compile(r"""((?:[^"'#]|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|["'])*?)\s*(?:#.*)?""")

Files = Mapping[str, bytes]
Lines = frozenset[tuple[str, str]]  # (path, code without white space)


class Repeats:
    """Finds lines of recent discards among a candidate's new lines."""

    def __init__(self, files: Callable[[str], Files]) -> None:
        self._files = files  # the editable files of a commit
        self._written: dict[str, Lines] = {}  # by commit: commits never change

    def annotated(self, trial: Trial, commit: str, edit: Files, ledger: Ledger, most: int) -> Trial:
        """The trial, with a remark in its note of at most `most` characters if it repeats lines."""
        new = self._written[commit] = written(self._files(trial.parent), edit)
        while len(self._written) > 2 * RECENT:
            del self._written[next(iter(self._written))]
        remark = self._remark(new, ledger, trial.number)
        if not remark:
            return trial
        return replace(trial, note=f"{trial.note[: most - len(remark) - 1]} {remark}")

    def _remark(self, new: Lines, ledger: Ledger, number: int) -> str:
        """Names the discard that shares most lines, of equals the last."""
        earlier = ledger.trials(max(0, number - RECENT), number) if new else ()
        starts = (*ledger.kept(), *earlier) if earlier else ()
        known = {trial.commit: trial.value for trial in starts}
        worse = [t for t in earlier if _lost(t) and _worse(ledger, t, known.get(t.parent))]
        shared = [(len(new & self._of(trial)), trial.number) for trial in worse]
        count, of = max(shared, default=(0, 0))
        if not count:
            return ""
        lines = "a line" if count == 1 else f"{count} lines"
        return f"(brings back {lines} of #{of}, which was worse)"

    def _of(self, trial: Trial) -> Lines:
        if trial.commit not in self._written:
            files = self._files(trial.parent), self._files(trial.commit)
            self._written[trial.commit] = written(*files)
        return self._written[trial.commit]


def written(before: Files, after: Files) -> Lines:
    """The lines of code that a file has now and had nowhere before."""
    return frozenset(
        (path, line)
        for path, content in after.items()
        if content != before.get(path)
        for line in _code_lines(path, content) - _code_lines(path, before.get(path, b""))
    )


def _worse(ledger: Ledger, trial: Trial, before: float | None) -> bool:
    """Whether it was worse than its parent; true when the parent's value is unknown."""
    return before is None or ledger.metric.better(before, trial.value)


def _lost(trial: Trial) -> bool:
    """Whether it ran and was discarded for its number alone."""
    return trial.status is Status.DISCARD and not trial.reason and trial.value is not None


def _code_lines(path: str, content: bytes) -> frozenset[str]:
    """Lines without comments and white space; nearly empty ones are left out."""
    lines = content.decode("utf-8", "surrogateescape").splitlines()
    if path.endswith(".py"):
        lines = [_without_comment(line) for line in lines]
    bare = ("".join(line.split()) for line in lines)
    return frozenset(line for line in bare if sum(map(str.isalnum, line)) >= LEAST)


def _without_comment(line: str) -> str:
    match = _CODE.fullmatch(line) if len(line) <= LONGEST else None
    return match[1] if match else line
