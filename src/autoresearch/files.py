"""Files read with suspicion and written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
from pathlib import Path


def read_regular(path: Path, limit: int | None = None) -> bytes:
    """The bytes of a regular file; a link, a device or an oversized file is an OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{path} is not a regular file")
        with open(descriptor, "rb", closefd=False) as stream:
            content = stream.read() if limit is None else stream.read(limit + 1)
    finally:
        os.close(descriptor)
    if limit is not None and len(content) > limit:  # counted: a file can grow while it is read
        size = max(found.st_size, len(content))
        raise OSError(f"{path} has {size:,} bytes; at most {limit:,} are allowed")
    return content


def write_whole(path: Path, content: bytes | str, *, durable: bool = True) -> None:
    """Replace a file in one step: a reader, or a crash, sees the old content or the new.

    Without `durable` a power cut may bring the old one back, and nothing waits for the disk.
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


def write_inside(folder: Path, name: str, content: bytes) -> None:
    """Write a file below a folder that a stranger may have filled, and nowhere else.

    Links, files and folders that stand where a folder or the file belongs are removed first.
    """
    *parents, _ = Path(name).parts
    path = folder
    for part in parents:
        path = path / part
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
            path.mkdir()
    target = folder / name
    if target.is_dir() and not target.is_symlink():
        remove_tree(target)
    target.unlink(missing_ok=True)
    with target.open("xb") as stream:
        stream.write(content)


def remove_tree(folder: Path) -> None:
    """Remove a folder that a hostile program filled: thousands deep, or closed to its owner."""
    with contextlib.suppress(OSError, RecursionError):
        shutil.rmtree(folder)
    if not folder.exists() or _removed(folder):
        return
    subprocess.run(["chmod", "-R", "u+rwX", "--", str(folder)], capture_output=True)
    if not _removed(folder):
        raise OSError(f"{folder} cannot be removed: something in it is not ours, or is in use")


def make_empty(folder: Path) -> None:
    """A folder with nothing in it, whatever was there."""
    remove_tree(folder)
    folder.mkdir(parents=True)


def _removed(folder: Path) -> bool:
    subprocess.run(["rm", "-rf", "--", str(folder)], capture_output=True)
    return not folder.exists()


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk: a file that was made in it, or moved there."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
