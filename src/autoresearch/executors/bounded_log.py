"""A log whose size is bounded, however much is written to it."""

from __future__ import annotations

import os
from pathlib import Path

LOG_HEAD = 16 * 2**20  # bytes at the start of a log, written as they arrive
LOG_TAIL = 4 * 2**20  # bytes at the end of a log


class BoundedLog:
    """Writes the head of a stream to a file as it arrives, and its tail on close."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._head_left = LOG_HEAD
        self._tail = bytearray()
        self._dropped = 0

    def write(self, chunk: bytes) -> None:
        """Add the next bytes of the stream."""
        head, rest = chunk[: self._head_left], chunk[self._head_left :]
        self._file.write(head)
        self._head_left -= len(head)
        self._tail += rest
        if len(self._tail) >= 2 * LOG_TAIL:
            self._trim()

    def close(self) -> None:
        """Append the tail, after a line that says how many bytes were left out."""
        with self._file:
            self._trim()
            if self._dropped:
                line = b"\n[autoresearch: %d bytes of the log left out]\n" % self._dropped
                self._file.write(line)
            self._file.write(self._tail)
            os.fsync(self._file.fileno())

    def _trim(self) -> None:
        excess = max(0, len(self._tail) - LOG_TAIL)
        del self._tail[:excess]
        self._dropped += excess
