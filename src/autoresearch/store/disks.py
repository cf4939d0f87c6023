"""Whether a folder's disk can hold a study: it can be written, and by this machine alone."""

from __future__ import annotations

import os
import re
from pathlib import Path

from autoresearch.errors import LedgerError

MOUNTS = Path("/proc/self/mountinfo")  # Linux; see proc_pid_mountinfo(5)

# File systems that several machines mount at once. Those that join one machine with its guest (9p,
# virtiofs, vboxsf; also what gVisor and WSL show) are not named: there SQLite itself says no.
NETWORK = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ncpfs", "coda", "davfs"),
        *("ceph", "lustre", "gpfs", "beegfs", "wekafs", "orangefs", "gfs2", "ocfs2", "glusterfs"),
        *("fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.gcsfuse", "fuse.goofys", "fuse.davfs2"),
        *("fuse.mount-s3", "fuse.blobfuse", "fuse.blobfuse2", "fuse.ceph", "fuse.ceph-fuse"),
        *("fuse.glusterfs", "fuse.juicefs", "fuse.seaweedfs", "fuse.curlftpfs", "fuse.beegfs"),
    }
)


def mount_of(folder: Path, mountinfo: str) -> tuple[str, str] | None:
    """Mount point and file system of an absolute path, read from a mountinfo text."""
    found = None
    for line in mountinfo.splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split(" ")
        if not dash or len(fields) < 6:
            continue
        point = _unescaped(fields[4])
        if folder.is_relative_to(point) and (found is None or len(point) >= len(found[0])):
            found = point, after.split(" ")[0]  # of two at one place the later one is on top
    return found


def check_local(folder: Path) -> None:
    """Raise LedgerError when a folder is on a network file system; it need not exist yet."""
    folder = folder.resolve()
    try:
        mounts = MOUNTS.read_text(errors="surrogateescape")
    except OSError:
        return  # not Linux: SQLite itself refuses what it cannot use
    mount = mount_of(folder, mounts)
    if mount is not None and mount[1] in NETWORK:
        raise LedgerError(
            f"{folder} is on a network file system ({mount[1]}, mounted at {mount[0]}), and the "
            "ledger needs a local one: SQLite's write-ahead log is shared memory, which two "
            "machines do not share, so one could damage what the other writes. Clone the lab to "
            "a local disk and run there (git clone LAB /var/tmp/LAB), or make .autoresearch a link "
            "to a folder on one."
        )


def check_writable(folder: Path) -> None:
    """Raise LedgerError when no file can be made in a folder."""
    if os.access(folder, os.W_OK | os.X_OK):
        return
    read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
    why = "its disk is mounted read-only" if read_only else "it belongs to somebody else"
    raise LedgerError(
        f"{folder} cannot be written ({why}), and a study keeps its ledger, its results and its "
        "commits in the lab. Make it writable, or clone the lab to where you can write: "
        "git clone LAB ELSEWHERE"
    )


def _unescaped(field: str) -> str:
    """Space, tab, newline and backslash stand as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
