"""Linux calls that Python does not offer; each raises OSError with the kernel's message."""

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
    """Call a function of the C library; OSError when it returns -1."""
    library = ctypes.CDLL(None, use_errno=True)
    answer = int(getattr(library, name)(*arguments))
    if answer == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return answer


def prctl(option: int, value: int) -> None:
    """Set a property of this process."""
    call("prctl", option, value, 0, 0, 0)


def unshare_mounts() -> None:
    """Move this process into its own mount namespace."""
    call("unshare", CLONE_NEWNS)
    call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)


def mount_tmpfs(target: str) -> None:
    """Mount an empty folder in memory."""
    call("mount", b"tmpfs", target.encode(), b"tmpfs", MS_NOSUID | MS_NODEV, b"mode=0755")


def bind(source: str, target: str) -> None:
    """Mount a file or folder under a second path."""
    call("mount", os.fsencode(source), os.fsencode(target), None, MS_BIND | MS_REC, None)
