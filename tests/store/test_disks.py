"""A study is kept on a disk that can be written, by this machine alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from autoresearch.errors import LedgerError
from autoresearch.store.disks import MOUNTS, NETWORK, check_local, check_writable, mount_of

SAMPLE = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard
31 27 0:40 / /home rw,relatime shared:9 - nfs4 server:/export/home rw,vers=4.2
32 31 0:41 / /home/me/local\040disk rw - xfs /dev/sdb1 rw
33 27 0:42 / /mnt/c rw,noatime - 9p C:\134 rw,aname=drvfs;path=C:\
34 27 0:43 /a - b /mnt/dash rw - cifs //server/a\040-\040b rw
35 27 0:44 / /twice rw - nfs old:/twice rw
36 35 0:45 / /twice rw - tmpfs new rw
37 27 0:46 / /tab\011and\134slash rw - fuse.sshfs me@there:/ rw
a line that is none
"""


@pytest.mark.parametrize(
    ("folder", "mount"),
    [
        ("/srv/lab", ("/", "ext4")),
        ("/home", ("/home", "nfs4")),
        ("/home/me/lab", ("/home", "nfs4")),
        ("/homeless/lab", ("/", "ext4")),
        ("/home/me/local disk/lab", ("/home/me/local disk", "xfs")),
        ("/mnt/c/lab", ("/mnt/c", "9p")),
        ("/twice/lab", ("/twice", "tmpfs")),
        ("/tab\tand\\slash/lab", ("/tab\tand\\slash", "fuse.sshfs")),
    ],
)
def test_the_longest_mount_point_holds_a_folder(folder: str, mount: tuple[str, str]) -> None:
    """Names are unescaped and compared part by part; what was mounted later lies on top."""
    assert mount_of(Path(folder), SAMPLE) == mount


def test_no_text_tells_no_mount() -> None:
    """Where nothing is known nothing is refused."""
    assert mount_of(Path("/lab"), "") is None


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_this_machine_is_understood(tmp_path: Path) -> None:
    """The kernel's own text names a mount point above a folder, and it is a mount point."""
    found = mount_of(tmp_path.resolve(), MOUNTS.read_text(errors="surrogateescape"))
    assert found is not None
    assert os.path.ismount(found[0])


def test_a_local_folder_is_taken(tmp_path: Path) -> None:
    """Also one that is not there yet."""
    check_local(tmp_path / "not" / "yet")
    check_writable(tmp_path)


def test_what_one_machine_shares_with_its_guest_is_not_refused_by_name() -> None:
    """Containers and WSL show local folders so; SQLite refuses those that it cannot use."""
    assert not NETWORK & {"9p", "virtiofs", "vboxsf", "drvfs", "overlay", "fuse", "fuseblk"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_somebody_else_is_named(tmp_path: Path) -> None:
    """The error says why it cannot be written."""
    tmp_path.chmod(0o500)
    with pytest.raises(LedgerError, match="belongs to somebody else"):
        check_writable(tmp_path)
