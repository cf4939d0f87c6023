"""Reads untrusted files safely, and writes files whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
from pathlib import Path


def read_regular(path: Path, limit: int | None = None) -> bytes:
    """The bytes of a regular file; OSError for a link, a device, or more than `limit` bytes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{path} is not a regular file")
        with open(descriptor, "rb", closefd=False) as stream:
            content = stream.read() if limit is None else stream.read(limit + 1)
    finally:
        os.close(descriptor)
    # checked after reading: a file may grow meanwhile
    if limit is not None and len(content) > limit:
        size = max(found.st_size, len(content))
        raise OSError(f"{path} has {size:,} bytes; at most {limit:,} are allowed")
    return content


def not_utf8(path: Path, error: UnicodeDecodeError) -> str:
    """The message for a file that is not UTF-8: its name, the byte, and what to do."""
    at, byte = error.start, error.object[error.start]
    return (
        f"{path} is not UTF-8 text: byte {at} is 0x{byte:02x}. Save it as UTF-8; if it is Latin-1: "
        f"iconv -f latin1 -t utf-8 {path.name} > new && mv new {path.name}"
    )


def write_whole(path: Path, content: bytes | str, *, durable: bool = True) -> None:
    """Replace a file atomically: readers see the old content or the new, also after a crash.

    Without `durable` this does not wait for the disk, and a power cut may bring the old content
    back.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        if path.exists():
            temporary.chmod(stat.S_IMODE(path.stat().st_mode))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)


def write_inside(folder: Path, name: str, content: bytes) -> None:
    """Write a file below an untrusted folder, and never outside of it.

    A link, file or folder in place of the file or of one of its folders is removed first.
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
    """Remove an untrusted folder, even one that is thousands deep or closed to its owner."""
    with contextlib.suppress(OSError, RecursionError):
        shutil.rmtree(folder)
    if not folder.exists() or _force_remove(folder):
        return
    subprocess.run(["chmod", "-R", "u+rwX", "--", str(folder)], capture_output=True)
    if not _force_remove(folder):
        raise OSError(
            f"{folder} cannot be removed: something in it belongs to another user, or is in use"
        )


def make_empty(folder: Path) -> None:
    """Create an empty folder, removing what was there."""
    remove_tree(folder)
    folder.mkdir(parents=True)


def _force_remove(folder: Path) -> bool:
    subprocess.run(["rm", "-rf", "--", str(folder)], capture_output=True)
    return not folder.exists()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, after a file was created in it or moved there."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
