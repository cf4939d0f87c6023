"""The fixed files of a study: what must be as its commit has it, and what may differ on record."""

from __future__ import annotations

import contextlib
import functools
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from autoresearch.errors import TaskError
from autoresearch.lab.fixed_files import is_document, is_instruction, task_changes
from autoresearch.lab.task import FILE, Task
from autoresearch.store.git import FileChange, Git
from autoresearch.store.ledger import Ledger

PROGRAM_SIZE = 1 << 18  # bytes of a text file that may be a program
SHOWN = 5  # files in a message
DIFFERS, TASK_TEXT = "differs", "task_text"  # facts in the ledger


@dataclass(frozen=True)
class Difference:
    """What differed from a study's commit without locking it, from one opening to the next."""

    since: str  # a time
    trial: int  # the next one then
    changed: tuple[str, ...]  # in words; empty: nothing any more


@dataclass(frozen=True)
class FixedFiles:
    """The fixed files of a lab, compared with the commit that its study measures with.

    Runs are exports of commits, so no edit of the folder reaches them. An edit that could change
    the number were it committed is refused, so that nobody takes it for measured; others are noted.
    """

    git: Git
    task: Task
    base: str
    next_tag: str  # for the study that would measure with other files
    known: bool  # the study is not new
    task_text: str | None = None  # task.toml as it was, where git does not know it

    def check(self) -> list[str]:
        """What differs and cannot change the number, in words; TaskError for what can."""
        fixed, free = self._changed_keys()
        locking: list[FileChange] = []
        for change in self.git.changed_files(self.base):
            if change.path in (FILE, *self.task.editable) or is_instruction(change.path):
                continue
            if is_document(change.path, self._programs):
                free.append(f"{change.path}: {change.how}")
            else:
                locking.append(change)
        if locking or fixed:
            raise TaskError(self._refusal(locking, fixed))
        return free

    def _changed_keys(self) -> tuple[list[str], list[str]]:
        """What differs in task.toml: what can change the number, and what cannot."""
        there = {entry.path for entry in self.git.entries(self.base, self.git.prefix + FILE)}
        if self.git.prefix + FILE in there:
            old = _text(self.git.read(self.base, self.git.prefix + FILE))
        elif self.task_text is not None:
            old = self.task_text
        else:
            return [], []
        return task_changes(old, task_text(self.task), self.task)

    @functools.cached_property
    def _texts(self) -> Mapping[str, str]:
        """The text files of the commit that may be programs, by name."""
        entries = self.git.entries(self.base, self.git.prefix)
        found = {}
        for start in range(0, len(entries), 100):
            names = [entry.path for entry in entries[start : start + 100]]
            for path, (mode, size) in self.git.listed(self.base, names).items():
                if size <= PROGRAM_SIZE and mode.startswith("100"):
                    with contextlib.suppress(UnicodeDecodeError):
                        text = self.git.read(self.base, path).decode()
                        found[path.removeprefix(self.git.prefix)] = text
        return found

    def _programs(self) -> Mapping[str, str]:
        return self._texts

    def _refusal(self, changed: list[FileChange], keys: list[str]) -> str:
        """What differs, and the ways out, none of which loses an edit."""
        shown = [f"{each.path} ({each.how})" for each in changed[:SHOWN]]
        shown += ["..."] if len(changed) > SHOWN else []
        paths = [*(each.path for each in changed), *([FILE] if keys else [])]
        told = [
            f"Fixed files differ from the commit this study measures with ({self.base[:12]}): "
            f"{', '.join([*shown, *keys])}.",
            *self._conversions(changed),
            self._ways_out(paths),
        ]
        return " ".join(told)

    def _conversions(self, changed: Iterable[FileChange]) -> list[str]:
        """What git converts, where it plays a role."""
        named = {each.path: self.git.conversion(each.path) for each in changed}
        told = [f"{path} ({how})" for path, how in named.items() if how][:SHOWN]
        if not told:
            return []
        return [f"Git converts on the way in and out: {', '.join(told)}; both sides count."]

    def _ways_out(self, paths: list[str]) -> str:
        """How to measure with the files as they are, and how to go on with those of the commit."""
        named = shlex.join(paths) if len(paths) <= SHOWN else "-A"
        mine = {each.path for each in self.git.changed_files("HEAD")} & set(paths)
        save = f"git add {named} && git commit -m 'other fixed files'" if mine else ""
        new = f"autoresearch run --tag {self.next_tag}" if self.known else ""
        first = f"To measure with them, commit them{' and' if new else ''}"
        if not mine:
            first = "They are committed; to measure with them"
        first += f"{' start a new study' if new else ''}: {' && '.join(filter(None, (save, new)))}"
        if mine == set(paths):
            aside = shlex.join(sorted(mine)) if len(mine) <= SHOWN else "."
            back = f"to set the edits aside, where git keeps them: git stash push -- {aside}"
        else:
            back = (
                f"to go on with this study, stand on its commit{' afterwards' if mine else ''}: "
                f"git switch --detach {self.base[:12]}"
            )
        return f"{first}. Or, {back}"


def task_text(task: Task) -> str:
    """The lab's task.toml as it stands."""
    return _text((task.folder / FILE).read_bytes())


def _text(content: bytes) -> str:
    return content.decode("utf-8-sig", "replace").replace("\r\n", "\n")


def note_differences(ledger: Ledger, changed: list[str]) -> Difference | None:
    """Record what differs besides, from now on; the new entry, or None when nothing is new."""
    earlier = differences(ledger)
    if list(earlier[-1].changed if earlier else ()) == changed:
        return None
    now = Difference(datetime.now(UTC).isoformat(timespec="seconds"), len(ledger), tuple(changed))
    rows = [[each.since, each.trial, list(each.changed)] for each in (*earlier, now)]
    ledger.remember(**{DIFFERS: json.dumps(rows)})
    return now


def differences(ledger: Ledger) -> tuple[Difference, ...]:
    """What differed besides, oldest first."""
    rows = json.loads(ledger.facts.get(DIFFERS, "[]"))
    return tuple(Difference(since, trial, tuple(changed)) for since, trial, changed in rows)


def differs_now(ledger: Ledger) -> str | None:
    """What differs from the study's commit and does not count; None when nothing does."""
    last = differences(ledger)[-1:]
    if not last or not last[0].changed:
        return None
    return f"{'; '.join(last[0].changed)} (since trial {last[0].trial}; the number does not change)"
