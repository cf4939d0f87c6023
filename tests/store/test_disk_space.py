"""Room to run for weeks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autoresearch.errors import NoRoom
from autoresearch.store.disk_space import Reserve, check_disk
from autoresearch.store.locks import alone, take_lock


def test_the_reserve_takes_its_bytes_and_gives_them_back(tmp_path: Path) -> None:
    """The bytes are really on the disk, held once, and gone when given up."""
    reserve = Reserve(tmp_path / "reserve", 1 << 20)
    reserve.hold()
    assert reserve.path.stat().st_blocks * 512 >= 1 << 20
    before = reserve.path.stat().st_mtime_ns
    reserve.hold()
    assert reserve.path.stat().st_mtime_ns == before
    assert reserve.give_up()
    assert not reserve.path.exists()
    assert not reserve.give_up()


def test_a_disk_below_the_floor_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """The message tells what is free, what is needed and which key says so."""
    check_disk(tmp_path, 1)
    with pytest.raises(NoRoom, match=r"GiB are free.*limits\.free_disk_gb"):
        check_disk(tmp_path, 1 << 60)


HOLD = """
import sys
from pathlib import Path
from autoresearch.store.locks import alone
with alone(Path(sys.argv[1]), print):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_measures_at_a_time_and_who_waits_is_told_for_whom(tmp_path: Path) -> None:
    """The lock names its holder, and is free when that one dies, however it dies."""
    lock, told = tmp_path / "cache" / "measuring.lock", list[str]()
    words = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"

        def on_wait(who: str) -> None:
            told.append(who)
            holder.kill()

        with alone(lock, on_wait):
            assert lock.read_text() == f"process {os.getpid()}"
    assert told == [f"process {holder.pid}"]
    with alone(lock, told.append), lock.open("r+") as other:
        assert not take_lock(other)
    with lock.open("r+") as other:
        assert take_lock(other)
    assert len(told) == 1
