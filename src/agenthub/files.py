"""Write files whole or not at all; empty and remove folders, even hostile ones."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
from pathlib import Path


def write_whole(path: Path, content: bytes | str, *, durable: bool = True) -> None:
    """Replace a file in one step: a reader, or a crash, sees the old content or the new.

    Without `durable` it does not wait for the disk, and a power cut may bring the old one back.
    """
    data = content.encode() if isinstance(content, str) else content
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as stream:
            stream.write(data)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        if path.exists():
            beside.chmod(stat.S_IMODE(path.stat().st_mode))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)


def remove_tree(folder: Path) -> None:
    """Remove a folder, even one that a hostile program made thousands deep or unreadable."""
    with contextlib.suppress(OSError, RecursionError):
        shutil.rmtree(folder)
    if not folder.exists() or _removed(folder):
        return
    subprocess.run(["chmod", "-R", "u+rwX", "--", str(folder)], capture_output=True)
    if not _removed(folder):
        raise OSError(f"{folder} cannot be removed: something in it is not ours, or is in use")


def make_empty(folder: Path) -> None:
    """Make a folder empty; it is created when missing."""
    remove_tree(folder)
    folder.mkdir(parents=True)


def _removed(folder: Path) -> bool:
    subprocess.run(["rm", "-rf", "--", str(folder)], capture_output=True)
    return not folder.exists()


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, after a file was created in it or moved there."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
