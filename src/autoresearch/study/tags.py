"""A study's name: the tag that was asked for, or the next free one where another study has it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from autoresearch.errors import LedgerError, TaskError
from autoresearch.lab.task import Task
from autoresearch.store.git import Git
from autoresearch.store.ledger import Ledger
from autoresearch.store.owner import Owner, claim, home_of, new_id, owner_here, read_owner
from autoresearch.store.paths import StudyPaths

ID = "id"  # the fact in the ledger


@dataclass(frozen=True)
class Tag:
    """A tag that is this lab's, or free."""

    name: str
    notice: str = ""  # why it is not the one that was asked for

    def paths(self, task: Task) -> StudyPaths:
        """The study's places."""
        return StudyPaths(task.folder, self.name)


def choose_tag(task: Task, asked: str, git: Git | None = None) -> Tag:
    """The tag itself where it is this lab's or free, else `<tag>-2` or the next one that is."""
    git = git or Git.discover(task.folder)
    check_tag(git, asked)
    taken = ""
    for number in count(1):
        name = asked if number == 1 else f"{asked}-{number}"
        paths = StudyPaths(task.folder, name)
        if not paths.ledger.exists() and (why := _taken(git, paths)):
            taken = taken or why
            continue
        return Tag(name, f"{taken} This study is {name}." if taken else "")
    raise AssertionError("there is always a next number")


def check_tag(git: Git, tag: str) -> None:
    """TaskError for a tag that cannot name a branch and a folder."""
    if "/" in tag or tag.startswith(("-", ".")) or not git.valid_branch(f"autoresearch/{tag}"):
        raise TaskError(
            f"--tag is {tag!r}; allowed is a name that git takes as a branch, without slashes, "
            "such as nov21 or wider-mlp."
        )


def claim_new(git: Git, paths: StudyPaths) -> bool:
    """Take a free tag for a study that has no ledger yet; False when another one was quicker."""
    mine, found = owner_here(git, paths, new_id()), read_owner(git, paths)
    if found is not None and found.lab != mine.lab:
        return False
    return claim(git, paths, mine, found)


def own(git: Git, ledger: Ledger, paths: StudyPaths) -> None:
    """Make sure that the tag's refs are this ledger's; LedgerError when they are another study's.

    A ledger of an older version has no record of its own yet, and gets it where it knows the commit
    that the branch is at.
    """
    found, mine = read_owner(git, paths), ledger.facts.get(ID)
    if mine is None:
        here = found is not None and found.lab == owner_here(git, paths, "").lab
        mine = found.study if here and found is not None and found.study else new_id()
        ledger.remember(**{ID: mine})
    owner = owner_here(git, paths, mine)
    if found == owner:
        return
    if found is not None and found.lab != owner.lab:
        _check_moved(git, found, paths, mine)
    if found is None and not _knows_branch(git, ledger, paths):
        return  # the check of the branch has the message
    if not claim(git, paths, owner, found):
        raise LedgerError(f"Another process is taking the tag {paths.tag} right now. Run again.")


def _knows_branch(git: Git, ledger: Ledger, paths: StudyPaths) -> bool:
    """Whether the ledger knows the commit that the branch is at."""
    stands = git.ref(paths.branch)
    known = {ledger.facts["base"], *(trial.commit for trial in ledger.trials())}
    return stands is None or stands in known


def _check_moved(git: Git, found: Owner, paths: StudyPaths, mine: str) -> None:
    """LedgerError unless the lab was moved here from where the record has it."""
    there = home_of(git, found, paths.tag)
    if found.study == mine and (not there.exists() or there.samefile(paths.ledger)):
        return
    what = (
        f"The ledger {paths.ledger} is a copy: the study {paths.tag} is in {there.parents[2]}, and "
        "the two would move one branch. Go on there"
        if found.study == mine
        else f"The branch autoresearch/{paths.tag} and its refs belong to {_lab_of(git, found)}; "
        f"this ledger is another study's. Both stay as they are. Go on there"
    )
    raise LedgerError(f"{what}, or begin a study here: autoresearch run --tag {paths.tag}-2")


def _taken(git: Git, paths: StudyPaths) -> str:
    """Why a tag without a ledger here is not free; empty: it is."""
    owner = read_owner(git, paths)
    refs = {name for name in git.refs(paths.pins) if name != paths.owner}
    if git.exists(paths.branch):
        refs.add(paths.branch)
    refs |= set(git.refs_named("refs/remotes", f"autoresearch/{paths.tag}"))
    if owner is not None and owner.lab == owner_here(git, paths, "").lab:
        if not refs:  # a study that ended before its ledger was made
            return ""
        return (
            f"The tag {paths.tag} is in use: a study of this lab has it, whose ledger is no longer "
            "here. Its commits stay where they are."
        )
    if owner is not None:
        return f"The tag {paths.tag} is in use: it belongs to {_lab_of(git, owner)}."
    if refs:
        short = sorted(refs)[0].removeprefix("refs/heads/").removeprefix("refs/remotes/")
        return f"The tag {paths.tag} is in use: {short} exists, and no study of this lab made it."
    return ""


def _lab_of(git: Git, owner: Owner) -> str:
    folder = git.common_dir.resolve() / owner.lab
    with contextlib.suppress(OSError):
        folder = folder.resolve()
    return f"the study of {Path(folder)}" if owner.lab else "another study"
