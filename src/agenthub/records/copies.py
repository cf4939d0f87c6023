"""Copy a hub while it is served: its database as of one moment, and its packs.

Always the database first, then the packs. A push makes its objects durable before its rows are
committed, and no object is ever removed: packs copied later hold every object of the rows.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from agenthub.errors import BadInput, Conflict, Unavailable
from agenthub.files import make_empty, remove_tree, sync_folder
from agenthub.git.repository import repack_lock
from agenthub.validation import check_project

DATABASE, PEPPER, PROJECTS = "hub.db", "pepper", "projects"
WAIT = 2_000.0  # seconds for a repack to end: longer than one may take
BUSY_SECONDS = 10


def snapshot(data: Path, target: Path) -> None:
    """Copy a hub's database as of one moment into one file; writers need not wait.

    BadInput where there is no hub, Unavailable where its database cannot be read.
    """
    path = data / DATABASE
    if not path.is_file():
        raise BadInput(
            f"{data} is not a hub's folder: it has no {DATABASE}. Give the folder that the hub "
            "serves (--data), or a backup of it."
        )
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as source,
            contextlib.closing(sqlite3.connect(target, timeout=BUSY_SECONDS)) as copy,
        ):
            source.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
            source.backup(copy)  # in one step: the state of one moment
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without companions
    except sqlite3.Error as error:
        raise Unavailable(f"The database {path} cannot be read: {error}.") from error


def repository_of(data: Path, slug: str) -> Path:
    """The folder of a project's repository; BadInput when the slug cannot be a project's."""
    return data / PROJECTS / check_project(slug) / "repo.git"


def copy_packs(
    source: Path, target: Path, earlier: Path | None = None, *, link: bool = True
) -> None:
    """Copy all packs of a repository into another one, as hard links on the same disk.

    Packs never change, so a link is as good. `earlier` is a repository that may have some already.
    """
    packs, made = source / "objects" / "pack", target / "objects" / "pack"
    with unchanging(source):
        for index in sorted(packs.glob("pack-*.idx")):
            for file in (index.with_suffix(".pack"), index.with_suffix(".rev"), index):
                if file.exists():
                    had = None if earlier is None else earlier / "objects" / "pack" / file.name
                    _put(file, made / file.name, had, link)
    sync_folder(made)


@contextlib.contextmanager
def unchanging(repository: Path, seconds: float = WAIT) -> Iterator[None]:
    """Keep packs from being removed; new ones may come. Unavailable when a repack does not end."""
    if not os.access(repository, os.W_OK):  # a backup on a read-only disk
        yield
        return
    ends = time.monotonic() + seconds
    while True:
        with repack_lock(repository) as lock:
            if lock is not None:
                yield
                return
        if time.monotonic() >= ends:
            raise Unavailable(
                f"{repository} has been repacked for {seconds:,.0f} seconds. Try again later."
            )
        time.sleep(0.1)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file durably into a new one that its owner alone may read."""
    handle = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with source.open("rb") as read, os.fdopen(handle, "wb") as written:
        shutil.copyfileobj(read, written, 1 << 20)
        written.flush()
        os.fsync(written.fileno())


def _put(file: Path, target: Path, had: Path | None, link: bool) -> None:
    for known in (file, had) if link else ():
        same = known is not None and known.exists() and known.stat().st_size == file.stat().st_size
        if known is not None and same:
            with contextlib.suppress(OSError):  # another disk, or one without links
                target.hardlink_to(known)
                return
    copy_file(file, target)


def slugs_in(database: Path) -> list[str]:
    """The projects in a copied database, which may be a stranger's: BadInput for a bad slug."""
    with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as found:
        rows = found.execute("SELECT slug FROM projects ORDER BY id")
        return [check_project(str(row[0])) for row in rows]


def check_empty(folder: Path, what_to_do: str) -> None:
    """Raise Conflict unless a folder is empty or missing."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        raise Conflict(f"{folder} is there already, and is not an empty folder. {what_to_do}.")


@contextlib.contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """A folder to fill: it becomes `target` at the end of the block, or is removed on an error."""
    partial = target.with_name(f".{target.name}.partial")
    with writable(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        make_empty(partial)
        partial.chmod(0o700)
        try:
            yield partial
            sync_folder(partial)
            partial.rename(target)
        except BaseException:
            remove_tree(partial)
            raise
        sync_folder(target.parent)


@contextlib.contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Turn an OSError while a folder is written into Unavailable."""
    try:
        yield
    except OSError as error:
        raise Unavailable(f"{folder} cannot be written: {error.strerror or error}.") from error
