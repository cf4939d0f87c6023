"""Files: read with suspicion, written whole or not at all."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autoresearch.files import read_regular, write_inside, write_whole


def names(folder: Path) -> list[str]:
    """What a folder holds."""
    return sorted(path.name for path in folder.iterdir())


def test_a_regular_file_is_read_whole(tmp_path: Path) -> None:
    """Bytes come back as they are, up to and including the limit."""
    path = tmp_path / "file"
    path.write_bytes(b"\x00\xff\r\n")
    assert read_regular(path) == b"\x00\xff\r\n"
    assert read_regular(path, limit=4) == b"\x00\xff\r\n"


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    """One byte too many is an error that names both sizes."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1001)
    with pytest.raises(OSError, match="1,001 bytes; at most 1,000"):
        read_regular(path, limit=1000)


def test_a_file_that_hides_its_size_is_still_bounded() -> None:
    """A kernel file reports size 0 and holds more; the limit applies all the same."""
    path = Path("/proc/self/status")
    if not path.exists():
        pytest.skip("no /proc here")
    with pytest.raises(OSError, match="at most 10 are allowed"):
        read_regular(path, limit=10)


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "fifo", "socket", "device"])
def test_what_is_not_a_regular_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    """Links, folders, pipes, sockets and devices are errors; none of them hangs or is followed."""
    path = tmp_path / "it"
    (tmp_path / "real").write_text("secret")
    if kind == "link":
        path.symlink_to(tmp_path / "real")
    elif kind == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    else:
        path = Path("/dev/zero")
    with pytest.raises(OSError):
        read_regular(path)


def test_a_refusal_leaks_no_descriptor(tmp_path: Path) -> None:
    """However often a folder or a large file is refused, no descriptor stays open."""
    large = tmp_path / "large"
    large.write_bytes(b"12345")
    before = len(names(Path("/dev/fd")))
    for _ in range(50):
        for path in (tmp_path, large):
            with pytest.raises(OSError):
                read_regular(path, limit=1)
    assert len(names(Path("/dev/fd"))) <= before


@pytest.mark.parametrize("obstacle", ["none", "link", "broken", "file", "folder", "leaf", "pipe"])
def test_write_inside_writes_nowhere_else(tmp_path: Path, obstacle: str) -> None:
    """Whatever a stranger put in the way is gone, and what its links led to is as it was."""
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    (outside / "train.py").write_bytes(b"mine")
    inside.mkdir()
    if obstacle in ("link", "broken"):
        (inside / "pkg").symlink_to(outside if obstacle == "link" else tmp_path / "nowhere")
    elif obstacle == "file":
        (inside / "pkg").write_text("a file")
    elif obstacle != "none":
        (inside / "pkg" / "deep").mkdir(parents=True)
    target = inside / "pkg" / "deep" / "train.py"
    if obstacle == "folder":
        (target / "more").mkdir(parents=True)
    if obstacle == "leaf":
        target.symlink_to(outside / "train.py")
    if obstacle == "pipe":
        os.mkfifo(target)
    write_inside(inside, "pkg/deep/train.py", b"ours")
    assert read_regular(target) == b"ours"
    assert (outside / "train.py").read_bytes() == b"mine"
    assert [path.name for path in outside.iterdir()] == ["train.py"]


def test_write_whole_makes_and_replaces(tmp_path: Path) -> None:
    """Text and bytes are written as given, and nothing is left beside the file."""
    path = tmp_path / "file"
    write_whole(path, "héllo\n")
    assert path.read_bytes() == "héllo\n".encode()
    write_whole(path, b"\r\n\x00")
    assert path.read_bytes() == b"\r\n\x00"
    assert names(tmp_path) == ["file"]


def test_write_whole_keeps_the_mode(tmp_path: Path) -> None:
    """An executable file stays one."""
    path = tmp_path / "run.sh"
    path.write_text("old")
    path.chmod(0o750)
    write_whole(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o750


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    """Text that cannot be encoded, or a folder in the way, changes nothing and leaves no scrap."""
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(OSError):
        write_whole(tmp_path / "folder", "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file", "folder"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """When there is no room for the new content, the old one stands and no scrap stays."""
    path = tmp_path / "file"
    path.write_text("old")
    script = (
        "import resource, pathlib, sys\n"
        "from autoresearch.files import write_whole\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_whole(pathlib.Path(sys.argv[1]), 'x' * 100_000)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True
    )
    assert "File too large" in ended.stderr
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_kill_at_any_instant_leaves_one_or_the_other(tmp_path: Path) -> None:
    """A writer that is killed -9 again and again never leaves half a file."""
    path = tmp_path / "file"
    write_whole(path, "0" * 100_000)
    script = (
        "import pathlib, sys\n"
        "from autoresearch.files import write_whole\n"
        "while True:\n"
        "    for digit in '123456789':\n"
        "        write_whole(pathlib.Path(sys.argv[1]), digit * 100_000)\n"
    )
    for _ in range(5):
        before = path.stat().st_ino
        with subprocess.Popen([sys.executable, "-c", script, str(path)]) as writer:
            while path.stat().st_ino == before:  # until it is at work
                assert writer.poll() is None
                time.sleep(0.001)
            writer.kill()
        content = path.read_text()
        assert len(content) == 100_000
        assert len(set(content)) == 1
