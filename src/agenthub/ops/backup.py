"""Back a hub up while it is served, and restore a backup.

A backup is a hub's folder like any other: it can be checked, served and backed up. It holds the
pepper, so it is as secret as the hub. `check`, `export` and `import_` are here for callers, too.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

from agenthub.errors import BadInput
from agenthub.files import remove_tree, sync_folder
from agenthub.git.repository import lay_out
from agenthub.ops.exporting import export
from agenthub.ops.importing import import_
from agenthub.records.checking import check
from agenthub.records.copies import (
    DATABASE,
    PEPPER,
    PROJECTS,
    appearing,
    check_empty,
    copy_file,
    copy_packs,
    repository_of,
    slugs_in,
    snapshot,
    writable,
)

__all__ = ["backup", "backup_into", "check", "export", "import_", "restore"]

_NAME = re.compile(r"\d{8}T\d{6}Z")  # of a backup in a folder of backups: its time


def backup(data: Path, target: Path, earlier: Path | None = None) -> Path:
    """Copy a hub, served or not, into a new or empty folder; returns the folder.

    The folder appears when all of it is on disk. Packs are hard links to the hub's, or to those of
    an `earlier` backup, where they share a disk. Conflict when the folder has something in it.
    """
    data, target = data.absolute(), target.absolute()
    check_empty(target, "Give a new folder for the backup")
    with appearing(target) as folder:
        snapshot(data, folder / DATABASE)  # before the packs: see `copies`
        if (data / PEPPER).is_file():
            copy_file(data / PEPPER, folder / PEPPER)
        _copy_projects(data, folder, earlier)
    return target


def backup_into(data: Path, folder: Path, keep: int = 14) -> Path:
    """Add a backup, named by the time, to a folder of backups; keep the newest `keep` of them.

    Old ones are removed once the new one is whole.
    """
    if keep < 1:
        raise BadInput(f"At least one backup must be kept, not {keep}.")
    folder = folder.absolute()
    there = _backups(folder)
    name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    made = backup(data, folder / name, there[-1] if there else None)
    for old in _backups(folder)[:-keep]:
        remove_tree(old)
    return made


def restore(source: Path, data: Path) -> None:
    """Restore a backup that is whole into a new or empty folder.

    Conflict when the folder has something in it, BadInput when the backup has problems.
    """
    source, data = source.absolute(), data.absolute()
    check_empty(data, "Give a new folder for the hub, or move the old one away")
    found = check(source)
    if found:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise BadInput(
            f"The backup {source} is not whole: {found[0]}{more}. Nothing was restored; take "
            "another backup."
        )
    with writable(data):
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        data.chmod(0o700)
        beside = data / f".{DATABASE}.restored"
        snapshot(source, beside)
        _copy_projects(source, data, link=False, listed=beside)
        copy_file(source / PEPPER, data / PEPPER)
        beside.rename(data / DATABASE)  # last: without it the folder is no hub
        sync_folder(data)


# ---- inside ------------------------------------------------------------------------------------


def _copy_projects(
    source: Path, target: Path, earlier: Path | None = None,
    *, link: bool = True, listed: Path | None = None,
) -> None:  # fmt: skip
    """Copy the packs of all projects in the target's copy of the database."""
    for slug in slugs_in(listed or target / DATABASE):
        made = repository_of(target, slug)
        for folder in (target / PROJECTS, made.parent, target / "incoming"):
            folder.mkdir(mode=0o700, exist_ok=True)
        lay_out(made, target / "incoming" / slug)
        found = repository_of(source, slug)
        if found.is_dir():
            had = None if earlier is None else repository_of(earlier, slug)
            copy_packs(found, made, had, link=link)
        sync_folder(made.parent)
    if (target / PROJECTS).is_dir():
        sync_folder(target / PROJECTS)


def _backups(folder: Path) -> list[Path]:
    """The backups in a folder, oldest first."""
    there = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in there if _NAME.fullmatch(path.name))
