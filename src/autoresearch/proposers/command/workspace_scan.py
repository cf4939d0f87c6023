"""Finds the folders of an agent's program, and the state of its workspace before and after."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from autoresearch.files import read_regular

MOST = 20_000  # files of a workspace that are listed at most
FILE = 1 << 20  # bytes of an editable file at most


def program_folders(program: str) -> tuple[Path, ...]:
    """Paths outside /usr that must be readable for a program to run: its own, its interpreter's.

    A command is often a link into a package, or a script whose interpreter is elsewhere.
    """
    found: dict[Path, None] = {}
    for path in _chain(Path(program), 4):
        if path.exists() and not path.is_relative_to("/usr"):
            found[_package(path)] = None
    return tuple(found)


def _chain(path: Path, depth: int) -> Iterator[Path]:
    """Each path from a name through its links to its file, and on to a script's interpreter."""
    for _ in range(20):
        yield path
        if not path.is_symlink():
            break
        path = Path(os.path.normpath(path.parent / path.readlink()))
    script = _interpreter(path)
    if script and depth:
        yield from _chain(Path(script), depth - 1)


def _interpreter(path: Path) -> str | None:
    """The interpreter that a script's first line names."""
    try:
        with path.open("rb") as stream:
            first = stream.readline(500).decode(errors="replace")
    except OSError:
        return None
    words = first[2:].split() if first.startswith("#!") else []
    if words and words[0].endswith("/env"):
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        return shutil.which(words[0]) if words else None
    return words[0] if words else None


def _package(path: Path) -> Path:
    """The smallest folder that holds a program's package; never a whole HOME."""
    inside = [parent for parent in path.parents if parent.name in ("node_modules", "site-packages")]
    if inside:
        return inside[-1]
    prefix = path.parent.parent
    alone = path.parent.name != "bin" or prefix == Path("/") or prefix in _homes()
    return path if alone else prefix


def _homes() -> tuple[Path, ...]:
    home = Path.home()
    return home, home / ".local"


def editable_state(workspace: Path, editable: Sequence[str]) -> dict[str, str]:
    """A hash of each editable file; a link or a missing file differs from any content."""
    found = {}
    for name in editable:
        try:
            found[name] = hashlib.sha256(read_regular(workspace / name, FILE)).hexdigest()
        except OSError as error:
            found[name] = f"not a plain file: {type(error).__name__}"
    return found


def fixed_state(workspace: Path, editable: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """All other files by name: mode, size, time of change, inode."""
    found: dict[str, tuple[int, ...]] = {}
    for path in _entries(workspace):
        name = os.path.relpath(path, workspace)
        if name in editable or len(found) >= MOST:
            continue
        try:
            seen = path.lstat()
        except OSError:
            continue
        found[name] = (seen.st_mode, seen.st_size, seen.st_mtime_ns, seen.st_ino)
    return found


def _entries(root: Path) -> Iterator[Path]:
    """Files below a folder; links are not followed, caches of git and Python are skipped."""
    waiting = [root]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                yield Path(entry.path)
            elif entry.name not in (".git", "__pycache__", ".tmp"):
                waiting.append(Path(entry.path))
