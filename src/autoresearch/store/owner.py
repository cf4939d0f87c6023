"""Which study a tag's refs belong to: a record in the repository, beside the refs themselves."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from autoresearch.store.git import Git
from autoresearch.store.paths import StudyPaths


@dataclass(frozen=True)
class Owner:
    """The study that has a tag in a repository."""

    study: str  # its id
    lab: str  # its folder, seen from the repository's own; empty: an unreadable record


def new_id() -> str:
    """The id of a new study: no two have the same."""
    return uuid.uuid4().hex


def owner_here(git: Git, paths: StudyPaths, study: str) -> Owner:
    """A study in this lab, as the repository records it."""
    return Owner(study, os.path.relpath(paths.lab.resolve(), git.common_dir.resolve()))


def read_owner(git: Git, paths: StudyPaths) -> Owner | None:
    """The study that the refs of a tag belong to; None when nothing is recorded."""
    content = git.note(paths.owner)
    if content is None:
        return None
    try:
        told = json.loads(content)
        return Owner(str(told["study"]), str(told["lab"]))
    except (ValueError, TypeError, KeyError):
        return Owner("", "")


def claim(git: Git, paths: StudyPaths, owner: Owner, before: Owner | None = None) -> bool:
    """Record the owner of a tag; False when another process was quicker.

    `before` is the record that is replaced; None: there is none yet.
    """
    old = None if before is None else _record(before)
    return git.set_note(paths.owner, _record(owner), old)


def home_of(git: Git, owner: Owner, tag: str) -> Path:
    """Where the ledger of an owner would be."""
    return StudyPaths(git.common_dir.resolve() / owner.lab, tag).ledger


def _record(owner: Owner) -> bytes:
    return (json.dumps(asdict(owner), sort_keys=True) + "\n").encode()
