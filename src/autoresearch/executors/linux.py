"""The few Linux calls that Python has no name for; each raises OSError with the kernel's word."""

from __future__ import annotations

import ctypes
import os
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWNS = 0x20000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18


def call(name: str, *arguments: Any) -> int:
    """A function of the C library that answers -1 when it fails."""
    library = ctypes.CDLL(None, use_errno=True)
    answer = int(getattr(library, name)(*arguments))
    if answer == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return answer


def prctl(option: int, value: int) -> None:
    """Set something of this process."""
    call("prctl", option, value, 0, 0, 0)


def unshare_mounts() -> None:
    """From here on what this process mounts is seen by it and its children alone."""
    call("unshare", CLONE_NEWNS)
    call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)


def mount_tmpfs(target: str) -> None:
    """An empty folder in memory, over what was there."""
    call("mount", b"tmpfs", target.encode(), b"tmpfs", MS_NOSUID | MS_NODEV, b"mode=0755")


def bind(source: str, target: str) -> None:
    """Show a file or folder at a second place."""
    call("mount", os.fsencode(source), os.fsencode(target), None, MS_BIND | MS_REC, None)
