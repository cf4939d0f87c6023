"""A log of bounded size, whatever is written to it."""

from __future__ import annotations

import os
from pathlib import Path

LOG_HEAD = 16 * 2**20  # bytes of a log that are written as they come
LOG_TAIL = 4 * 2**20  # bytes of the rest that are kept, from its end


class BoundedLog:
    """Writes a stream to a file: its head as it comes, of the rest only the tail."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._room = LOG_HEAD
        self._tail = bytearray()
        self._dropped = 0

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of the stream."""
        head, rest = chunk[: self._room], chunk[self._room :]
        self._file.write(head)
        self._room -= len(head)
        self._tail += rest
        if len(self._tail) >= 2 * LOG_TAIL:
            self._cut()

    def close(self) -> None:
        """Append the tail, after a line that says how much was left out."""
        with self._file:
            self._cut()
            if self._dropped:
                line = b"\n[autoresearch: %d bytes of the log left out]\n" % self._dropped
                self._file.write(line)
            self._file.write(self._tail)
            os.fsync(self._file.fileno())

    def _cut(self) -> None:
        excess = max(0, len(self._tail) - LOG_TAIL)
        del self._tail[:excess]
        self._dropped += excess
