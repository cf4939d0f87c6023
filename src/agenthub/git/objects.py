"""Parse git's commits and trees, and read objects through one long-lived process."""

from __future__ import annotations

import contextlib
import os
import re
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agenthub.errors import BadInput, TooLarge, Unavailable
from agenthub.git.subprocesses import Process
from agenthub.validation import is_hash

TREE, FILE, PROGRAM = "40000", "100644", "100755"
MAX_COMMIT, MAX_TREE = 64 * 1024, 1 << 20  # bytes that are read at most
_BATCH = 200  # requests sent before an answer is read: they and their answers fit into the pipes
_PERSON = re.compile(rb"(.*> ?)(-?\d+) [+-]\d+", re.DOTALL)


@dataclass(frozen=True)
class Info:
    """What an object is, without its content."""

    kind: str  # blob, tree, commit, tag
    size: int  # bytes, unpacked


@dataclass(frozen=True)
class Commit:
    """A parsed commit."""

    tree: str
    parents: tuple[str, ...]
    author: bytes
    author_time: int  # seconds since the epoch, as the author claims
    message: bytes


@dataclass(frozen=True)
class Entry:
    """One name in a tree."""

    mode: str  # as git writes it: no leading zero
    name: bytes
    sha: str


def parse_commit(raw: bytes) -> Commit:
    """Parse a commit; BadInput when it is not written as git writes it."""
    head, _, message = raw.partition(b"\n\n")
    lines = head.split(b"\n")
    trees = [line[5:] for line in lines[:1] if line.startswith(b"tree ")]
    parents = [line[7:] for line in lines if line.startswith(b"parent ")]
    authors = [line[7:] for line in lines if line.startswith(b"author ")]
    person = _PERSON.fullmatch(authors[0]) if authors else None
    if not trees or person is None or not all(len(name) == 40 for name in (*trees, *parents)):
        raise BadInput("A commit of the push is not written as git writes it. Make it with git.")
    when = min(max(int(person[2]), 0), 2**62)
    named = tuple(parent.decode() for parent in parents)
    return Commit(trees[0].decode(), named, person[1].strip(), when, message)


def parse_tree(raw: bytes) -> Iterator[Entry]:
    """Parse a tree's entries; BadInput when it is not written as git writes it."""
    at = 0
    while at < len(raw):
        nul = raw.find(b"\0", at)
        mode, space, name = raw[at:nul].partition(b" ")
        if nul < 0 or not space or nul + 21 > len(raw):
            raise BadInput("A folder of the push is not written as git writes it.")
        yield Entry(mode.decode("ascii", "replace"), name, raw[nul + 1 : nul + 21].hex())
        at = nul + 21


@dataclass(frozen=True)
class Quarantine:
    """Pushed objects that are not admitted yet, in a folder of their own."""

    objects: Path

    def names(self) -> set[str]:
        """The hashes of all objects in it, packed or loose."""
        found: set[str] = set()
        for index in self.objects.glob("pack/*.idx"):
            found |= set(_index_names(index.read_bytes()))
        for loose in self.objects.glob("[0-9a-f][0-9a-f]/*"):
            if is_hash(name := loose.parent.name + loose.name):
                found.add(name)
        return found


class Reader:
    """A `git cat-file --batch-command` process that answers one request after another.

    It starts at the first request, and restarts after it died or did not answer. Thread-safe.
    """

    def __init__(self, start: Callable[[], Process], seconds: float = 30) -> None:
        self._start = start
        self._seconds = seconds  # to wait for one answer
        self._process: Process | None = None
        self._pending = b""
        self._ends = 0.0
        self._turn = threading.Lock()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process; the next request starts another one."""
        with self._turn:
            self._end()

    def info(self, names: Sequence[str]) -> list[Info | None]:
        """Kind and size of objects by whole hash, in order; None for one that is missing."""
        found: list[Info | None] = []
        for batch in _batches(names):
            with self._requesting("info", batch):
                found += [_info(self._line()) for _ in batch]
        return found

    def read(self, name: str, kind: str, limit: int) -> bytes:
        """One object's content; TooLarge over `limit` bytes, BadInput if missing or no `kind`."""
        return self.read_all([name], kind, limit)[0]

    def read_all(self, names: Sequence[str], kind: str, limit: int) -> list[bytes]:
        """The contents of objects, in order; none is read when one of them is too large."""
        for name, info in zip(names, self.info(names), strict=True):
            if info is None or info.kind != kind:
                seen = "missing" if info is None else f"a {info.kind}"
                raise BadInput(f"{name} should be a {kind} and is {seen}.", hash=name)
            if info.size > limit:
                raise TooLarge(
                    f"The {kind} {name} has {info.size:,} bytes; at most {limit:,} are allowed.",
                    hash=name,
                )
        contents: list[bytes] = []
        for batch in _batches(names):
            with self._requesting("contents", batch):
                contents += [self._content() for _ in batch]
        return contents

    @contextlib.contextmanager
    def _requesting(self, verb: str, names: Sequence[str]) -> Iterator[None]:
        """Send one request per name; a failure ends the process, so that no answer is left over."""
        with self._turn:
            self._ends = time.monotonic() + self._seconds
            try:
                self._send("".join(f"{verb} {name}\n" for name in names).encode())
                yield
            except OSError as error:
                self._end()
                raise Unavailable("The hub cannot read its repository now. Try again.") from error
            except BaseException:
                self._end()
                raise

    def _send(self, request: bytes) -> None:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = self._start()
        assert self._process.stdin is not None
        self._process.stdin.write(request)
        self._process.stdin.flush()

    def _content(self) -> bytes:
        info = _info(self._line())
        if info is None:
            raise OSError("an object went away while it was read")
        while len(self._pending) <= info.size:
            self._fill()
        content, self._pending = self._pending[: info.size], self._pending[info.size + 1 :]
        return content

    def _line(self) -> bytes:
        while b"\n" not in self._pending:
            self._fill()
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _fill(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        wait = max(0.0, self._ends - time.monotonic())
        ready = select.poll()
        ready.register(self._process.stdout, select.POLLIN)
        if not ready.poll(wait * 1000):
            raise OSError("no answer in time")
        chunk = os.read(self._process.stdout.fileno(), 1 << 18)
        if not chunk:
            raise OSError("the process ended")
        self._pending += chunk

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._process, self._pending = None, b""


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _BATCH):
        yield names[start : start + _BATCH]


def _info(line: bytes) -> Info | None:
    words = line.decode("ascii", "replace").split(" ")
    return None if len(words) != 3 else Info(words[1], int(words[2]))


def _index_names(index: bytes) -> Iterator[str]:
    """The hashes in a pack's index of version 2, as git writes it."""
    if index[:8] != b"\xfftOc\0\0\0\2":
        raise Unavailable("git wrote an index of a pack that this hub does not know.")
    count = int.from_bytes(index[1028:1032])
    for at in range(1032, 1032 + 20 * count, 20):
        yield index[at : at + 20].hex()
