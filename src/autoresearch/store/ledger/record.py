"""The record in memory: all trials by number, with the few indexes that a trial asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from autoresearch.store.ledger.trial import State, Status, Trial


class Record:
    """All trials of a study as the ledger has them on disk; the ledger alone changes it."""

    def __init__(self, trials: Iterable[Trial] = ()) -> None:
        self.trials: dict[int, Trial] = {}  # by number, in order
        self.made_by: dict[str, int] = {}  # commit -> the first trial that it belongs to
        self._kept: dict[int, Trial] = {}
        self._codes: dict[str, int] = {}  # fingerprint -> the first finished trial of it that ran
        self._open: set[int] = set()  # numbers of trials that are not applied
        for trial in trials:
            self.put(trial.number, trial)

    def put(self, number: int, trial: Trial | None) -> None:
        """Write one trial, new or changed; None removes it."""
        if trial is None:
            self.trials.pop(number, None)
            self._open.discard(number)
            return
        self.trials[number] = trial
        if trial.commit:
            self.made_by.setdefault(trial.commit, number)
        if trial.status is Status.KEEP:
            self._kept[number] = trial
        if trial.state is not State.APPLIED:
            self._open.add(number)
            return
        self._open.discard(number)
        if trial.runs and trial.code:
            self._codes.setdefault(trial.code, number)

    def slice(self, start: int, end: int) -> tuple[Trial, ...]:
        """Trials from number `start` up to, not including, `end`, oldest first."""
        last = min(end, next(reversed(self.trials), -1) + 1)
        return tuple(self.trials[n] for n in range(max(start, 0), last) if n in self.trials)

    def kept(self) -> tuple[Trial, ...]:
        """Kept trials, oldest first."""
        return tuple(self._kept[number] for number in sorted(self._kept))

    def unfinished(self) -> Iterator[Trial]:
        """Trials that are not applied, oldest first."""
        return (self.trials[number] for number in sorted(self._open))

    def ran_with(self, code: str) -> Trial | None:
        """The first finished trial of that fingerprint that ran, or None."""
        number = self._codes.get(code)
        return None if number is None else self.trials[number]
