"""The files of a project's bare repository: nothing is pruned, no hook runs, one owner."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from agenthub.files import remove_tree, write_whole

_CONFIG = """[core]
\trepositoryformatversion = 0
\tbare = true
\thooksPath = /dev/null
\tfsync = all
\tbigFileThreshold = 1m
\tpackedGitWindowSize = 16m
\tpackedGitLimit = 128m
\tdeltaBaseCacheLimit = 32m
\tlogAllRefUpdates = false
[gc]
\tauto = 0
\tpruneExpire = never
[maintenance]
\tauto = false
[pack]
\tthreads = 1
\twindowMemory = 64m
\twriteReverseIndex = false
[index]
\tthreads = 1
[transfer]
\tfsckObjects = true
\tunpackLimit = 1
[repack]
\twriteBitmaps = false
"""

_LOCK = "keeping.lock"


def lay_out(folder: Path, incoming: Path) -> None:
    """Create a bare repository unless there is one, and reset its configuration."""
    for made in (folder, folder / "objects", folder / "refs", incoming):
        made.mkdir(parents=True, exist_ok=True, mode=0o700)
        made.chmod(0o700)
    for made in (folder / "objects" / "pack", folder / "objects" / "info"):
        made.mkdir(exist_ok=True, mode=0o700)
    write_whole(folder / "config", _CONFIG)
    if not (folder / "HEAD").exists():
        write_whole(folder / "HEAD", "ref: refs/heads/none\n")
    (folder / _LOCK).touch(0o600)
    for name in ("alternates", "http-alternates"):  # no objects from elsewhere
        (folder / "objects" / "info" / name).unlink(missing_ok=True)


def sweep(folder: Path, incoming: Path) -> None:
    """Remove leftovers of killed processes: quarantines, and packs without an index."""
    for left in incoming.iterdir():
        remove_tree(left)
    with repack_lock(folder) as lock:
        if lock is not None:
            _sweep_packs(folder / "objects" / "pack")


@contextlib.contextmanager
def repack_lock(folder: Path) -> Iterator[int | None]:
    """Hold the lock for rewriting packs, as a file handle; None while another process holds it.

    A child that inherits the handle holds the lock as well, and may outlive us.
    """
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        yield None
        return
    try:
        yield handle
    finally:
        os.close(handle)


def _sweep_packs(packs: Path) -> None:
    for path in packs.iterdir():
        unfinished = path.name.startswith((".tmp-", "tmp_"))
        other = {".pack": ".idx", ".rev": ".idx", ".idx": ".pack"}.get(path.suffix)
        unseen = other is not None and not path.with_suffix(other).exists()
        if unfinished or unseen:
            path.unlink(missing_ok=True)
    (packs / "multi-pack-index.lock").unlink(missing_ok=True)
