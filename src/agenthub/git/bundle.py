"""Read and write the header of a git bundle; git reads the pack that follows it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from agenthub.errors import BadInput, TooLarge
from agenthub.validation import is_hash, shown

SIGNATURES = {b"# v2 git bundle": 2, b"# v3 git bundle": 3}
MAX_LINE = 4_096  # bytes
MAX_HEADER = 256 * 1024  # bytes
MAX_HEADS = 64
MAX_PREREQUISITES = 1_000
_MAKE = "Make one with `git bundle create FILE HEAD`."


@dataclass(frozen=True)
class Header:
    """A bundle's header. The names of its refs are chosen by the sender, and are ignored."""

    version: int
    prerequisites: tuple[str, ...]  # commits that the receiver must have
    heads: tuple[str, ...]  # what it brings, each once
    size: int  # bytes up to where the pack begins


def read_header(stream: BinaryIO) -> Header:
    """Read a bundle's header and leave the stream at its pack; BadInput, TooLarge."""
    lines = _Lines(stream)
    first = lines.next()
    version = SIGNATURES.get(first)
    if version is None:
        raise BadInput(
            f"Not a git bundle: it begins with {_shown(first)}, and a bundle with "
            f'"# v2 git bundle". {_MAKE}'
        )
    prerequisites: dict[str, None] = {}
    heads: dict[str, None] = {}
    while line := lines.next():
        if line.startswith(b"@"):
            _check_capability(line, version)
        elif line.startswith(b"-"):
            prerequisites[_hash(line[1:])] = None
            _check_count(len(prerequisites), MAX_PREREQUISITES, "prerequisites")
        else:
            heads[_hash(line, named=True)] = None
            _check_count(len(heads), MAX_HEADS, "heads")
    if not heads:
        raise BadInput(f"The bundle names no head, so there is nothing to push. {_MAKE}")
    return Header(version, tuple(prerequisites), tuple(heads), lines.size)


def read_object_count(stream: BinaryIO) -> int:
    """The number of objects that a pack announces; leaves the stream behind the pack's header."""
    start = stream.read(12)
    if len(start) < 12 or start[:4] != b"PACK":
        raise BadInput(
            f"The push ends before its pack: {len(start)} bytes follow that are no pack. "
            "Send all of it."
        )
    return int(struct.unpack(">I", start[8:])[0])


def write_header(heads: Sequence[tuple[str, str]], prerequisites: Sequence[str] = ()) -> bytes:
    """A version 2 header for (hash, ref name) pairs, to be followed by a pack."""
    lines = ["# v2 git bundle", *(f"-{commit} " for commit in prerequisites)]
    lines += [f"{commit} {name}" for commit, name in heads]
    return ("\n".join(lines) + "\n\n").encode()


class _Lines:
    """Lines of a header, with caps on each line and on all of them."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size = 0

    def next(self) -> bytes:
        """The next line without its end; BadInput where the stream ends within the header."""
        line = self._stream.readline(MAX_LINE + 1)
        self.size += len(line)
        if self.size > MAX_HEADER or len(line) > MAX_LINE:
            if self.size == len(line):
                raise BadInput(f"Not a git bundle: its first line does not end. {_MAKE}")
            raise TooLarge(
                f"The bundle's header has over {min(self.size, MAX_HEADER):,} bytes, or a line "
                f"over {MAX_LINE:,}; push fewer refs at once."
            )
        if not line.endswith(b"\n"):
            raise BadInput(
                f"The bundle ends within its header, after {self.size:,} bytes. Send the whole "
                "file, for example with `curl --data-binary @FILE`."
            )
        return line[:-1]


def _check_capability(line: bytes, version: int) -> None:
    if version >= 3 and line == b"@object-format=sha1":
        return
    raise BadInput(
        f"The bundle asks for {_shown(line)}, which this hub does not read: only whole bundles of "
        "SHA-1 repositories. Make it without --filter, in a repository with SHA-1 hashes."
    )


def _hash(line: bytes, *, named: bool = False) -> str:
    text, space, name = line.partition(b" ")
    commit = text.decode("ascii", errors="replace")
    if is_hash(commit) and (not named or (space and name)):
        return commit
    raise BadInput(
        f"The bundle's header has a line that is not `HASH NAME`: {_shown(line)}. The hash is 40 "
        "of 0-9 and a-f. The file was damaged, or was not made by git."
    )


def _check_count(count: int, limit: int, what: str) -> None:
    if count > limit:
        raise TooLarge(f"The bundle has over {limit:,} {what}; push fewer refs at once.")


def _shown(line: bytes) -> str:
    return shown(line[:80].decode(errors="replace"))
