"""A study's branch: it follows the keeps, and waits while a work tree has it checked out."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from autoresearch.errors import BranchMoved
from autoresearch.store.git import Git
from autoresearch.store.ledger import Ledger
from autoresearch.store.paths import StudyPaths

LEFT_AT = "branch_left_at"  # the fact in the ledger: where the branch waits; empty: at the best


class StudyBranch:
    """The branch of one study. Only its study moves it, by compare-and-swap."""

    def __init__(self, git: Git, ledger: Ledger, paths: StudyPaths) -> None:
        self._git = git
        self._ledger = ledger
        self._paths = paths
        self._told = False  # a person knows that a work tree holds it

    def check(self) -> None:
        """Check that the branch is where the ledger left it; create that of a new study."""
        name, unfinished = self._paths.branch, self._ledger.unfinished()
        settled = self._ledger.best_before(unfinished) if unfinished else self._ledger.best()
        best = settled.commit if settled else self._ledger.facts["base"]
        expected, stands = self._left_at or best, self._git.ref(name)
        if stands is None:
            self._git.create_ref(name, best)
            self._remember("")
        elif stands == best:
            self._remember("")
        elif stands != expected and not (unfinished and stands == unfinished.commit):
            aside = f"{self._paths.tag}-{stands[:7]}"
            raise BranchMoved(
                f"The branch autoresearch/{self._paths.tag} is at {stands[:12]}, and the ledger "
                f"left it at {expected[:12]}: somebody moved it. To go on with this study, name "
                f"what is there, so that it stays, and put the branch back: git branch {aside} "
                f"{stands} && git update-ref {name} {expected} {stands}. Or start a new study from "
                "it: check it out and take another --tag."
            )

    def advance(
        self, to: str, since: str, on_note: Callable[[str], object] = lambda _: None
    ) -> None:
        """Move the branch to a commit from `since`, where the ledger left it.

        While a work tree has it checked out it stays, and `on_note` hears once why.
        """
        name, left = self._paths.branch, self._left_at or since
        if self._git.ref(name) == to:
            return
        if notice := held_branch(self._git, self._paths):
            if not self._told:
                on_note(notice)
            self._told = True
            self._remember(left)
            return
        self._git.move_ref(name, to, left)
        self._remember("")
        self._told = False

    def catch_up(self) -> None:
        """Move a branch that waited to the best, if nothing holds it any more."""
        if not self._left_at or self._ledger.unfinished() is not None:
            return
        if not held_branch(self._git, self._paths):
            best = self._ledger.best()
            to = best.commit if best else self._ledger.facts["base"]
            self._git.move_ref(self._paths.branch, to, self._left_at)
            self._remember("")

    def announce(self) -> str:
        """Which work trees hold the branch, for a person to hear once; empty: none."""
        notice = held_branch(self._git, self._paths)
        self._told = bool(notice)
        return notice

    @property
    def _left_at(self) -> str:
        return self._ledger.facts.get(LEFT_AT, "")

    def _remember(self, where: str) -> None:
        if self._left_at != where:
            self._ledger.remember(**{LEFT_AT: where})


def held_branch(git: Git, paths: StudyPaths) -> str:
    """Which work trees have a study's branch checked out, and the way out; empty: none."""
    holders = git.holders(paths.branch)
    if not holders:
        return ""
    places = ", ".join(str(folder) for folder in holders)
    ways = "; ".join(f"git -C {shlex.quote(str(folder))} switch --detach" for folder in holders)
    return (
        f"The branch autoresearch/{paths.tag} is checked out in {places}. It stays where it is "
        "meanwhile, since the next commit there would undo what the study keeps. The study goes "
        "on, and `autoresearch best` has its best. To let the branch follow, leave it there; no "
        f"file changes by that: {ways}"
    )
