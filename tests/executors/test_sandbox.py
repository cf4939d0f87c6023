"""SandboxExecutor: what a trial sees and has in there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoresearch.errors import ExecutorError
from autoresearch.executors import JobLimits
from executors.place import LONG, Place, bubblewrap_place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place with a bubblewrap sandbox."""
    made = bubblewrap_place(tmp_path)
    yield made
    made.clear()


def test_this_python_and_its_packages_are_there(place: Place) -> None:
    """The interpreter of the harness runs, imports what is installed, and shows its own paths."""
    place.run(f"'{sys.executable}' -uc 'import psutil, sys; print(sys.prefix); 1 / 0'; echo $?")
    assert place.said()[0] == sys.prefix
    assert place.said()[-1] == "1"
    (place.folder / "broken.py").write_text("import nothing_of_that_name\n")
    place.run(f"'{sys.executable}' '{place.folder}/broken.py'")
    assert f'File "{place.folder}/broken.py", line 1' in place.log.read_text()


def test_the_folder_is_writable_and_what_is_made_there_stays(place: Place) -> None:
    """The working directory keeps its name, and its files can be read afterwards."""
    assert place.run("pwd; mkdir -p a/b; echo made > a/b/c").ok
    assert place.said() == [str(place.folder)]
    assert (place.folder / "a/b/c").read_text() == "made\n"


def test_readable_is_read_and_writable_is_written(place: Place, tmp_path: Path) -> None:
    """What a job was given is at its place: files or folders, the ones fixed, the others not."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/rows").write_text("rows")
    (tmp_path / "data.json").write_text("{}")
    (tmp_path / "out").mkdir()
    given = {
        "readable": (tmp_path / "data", tmp_path / "data.json"),
        "writable": (tmp_path / "out",),
    }
    command = f"cat {tmp_path}/data/rows {tmp_path}/data.json; echo x > {tmp_path}/out/x; "
    place.run(command + f"echo x > {tmp_path}/data/x; echo x > {tmp_path}/data.json", **given)
    assert place.log.read_text().startswith("rows{}")
    assert (tmp_path / "out/x").read_text() == "x\n"
    assert (tmp_path / "data.json").read_text() == "{}"
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["rows"]


def test_a_folder_inside_what_is_readable_is_writable(place: Place) -> None:
    """The inner of two places wins."""
    (place.folder.parent / "beside").write_text("beside")
    place.folder.parent.chmod(0o755)
    place.run("cat ../beside; echo x > ../new; echo x > new", readable=(place.folder.parent,))
    assert place.log.read_text().startswith("beside")
    assert (place.folder / "new").exists() and not (place.folder.parent / "new").exists()


def test_what_does_not_exist_cannot_be_shown(place: Place, tmp_path: Path) -> None:
    """A path of the job that is missing is our error, named, and nothing runs."""
    with pytest.raises(ExecutorError, match="missing"):
        place.run("touch ran", readable=(tmp_path / "missing",))
    assert not (place.folder / "ran").exists()


def test_what_nobody_may_read_is_named(place: Place, tmp_path: Path) -> None:
    """Under root a job has another user: data that it cannot read is an error with the remedy."""
    if os.geteuid():
        pytest.skip("only root drops to another user")
    (tmp_path / "data").mkdir(mode=0o700)
    with pytest.raises(ExecutorError, match=r"unprivileged user, which may not read .*data: chmod"):
        place.run("touch ran", readable=(tmp_path / "data",))


def test_the_environment_is_an_allow_list(place: Place) -> None:
    """Secrets that slipped into the environment do not enter; what the task names does."""
    job = place.job("env", env_allowed=("MY_FLAG",))
    names = {"HUB_PASS": "x", "MY_FLAG": "é\n2", "OMP_NUM_THREADS": "2", "LD_PRELOAD": "/x.so"}
    job.env.update(names)  # type: ignore[attr-defined]
    assert place.executor.run(job).ok
    text = place.log.read_text()
    assert "MY_FLAG=é\n2" in text and "OMP_NUM_THREADS=2" in text and place.mark in text
    assert "HUB_PASS" not in text and "LD_PRELOAD" not in text
    assert "HOME=/tmp/home" in text and "TMPDIR=/tmp" in text


def test_it_is_somebody_with_a_name(place: Place) -> None:
    """Programs can look up their user; it is not root and has no capabilities."""
    command = "import getpass, os, pwd; print(pwd.getpwuid(os.getuid()).pw_name, os.getuid() == 0)"
    assert place.run(f"'{sys.executable}' -c '{command}'; grep -E 'Cap|NoNew' /proc/self/status").ok
    name, *powers = place.said()
    assert name == "trial False"
    assert {line.split()[1] for line in powers} == {"0000000000000000", "1"}


def test_a_network_when_it_is_allowed(place: Place) -> None:
    """With the network the machine's own interfaces are there, without it only a loopback."""
    command = "cut -d: -f1 -s /proc/net/dev | tr -d ' ' | sort | tr '\\n' ' '"
    place.run(command, network=True)
    inside = place.log.read_text().split()
    assert sorted(path.name for path in Path("/sys/class/net").iterdir()) == inside
    place.run(command)
    assert place.log.read_text().split() == ["lo"]


def test_only_three_descriptors_are_open(place: Place) -> None:
    """No open file of the harness or the supervisor is inherited."""
    assert place.run("ls /proc/self/fd").ok
    assert place.said() == ["0", "1", "2", "3"]  # 3 is the listing itself


def test_a_command_of_any_length_and_any_bytes(place: Place) -> None:
    """Quotes, newlines and a hundred thousand characters arrive."""
    long = "x" * 100_000
    assert place.run(f"printf '%s\\n' 'a\"b\nc' '{long}'").ok
    assert place.log.read_text() == f'a"b\nc\n{long}\n'


def test_a_folder_with_any_name(place: Place) -> None:
    """Blanks, quotes and newlines in a path change nothing."""
    odd = place.folder / "a b\n'é"
    odd.mkdir()
    ended = place.run("touch here; pwd", folder=odd)
    assert ended.ok and (odd / "here").exists()


def test_semaphores_and_shared_memory_work(place: Place) -> None:
    """What data loaders with workers need is there."""
    program = "import multiprocessing as m\nprint(m.Semaphore())\nm.Array('d', 1000)\n"
    assert place.run(f"'{sys.executable}' -c \"{program}\"").ok


def test_memory_folders_have_a_size(place: Place) -> None:
    """/tmp and /dev/shm have their limits, and hold no files of the machine."""
    limits = JobLimits(memory=64 * 2**20)
    place.run(
        "ls -A /tmp /dev/shm; for f in /tmp /dev/shm; do "
        "head -c 100000000 /dev/zero > $f/x; stat -c %s $f/x; done",
        limits=limits,
    )
    sizes = [line for line in place.said() if line.isdecimal()]
    assert sizes == [str(16 * 2**20)] * 2
    assert "home" in place.said()


def test_it_ends_when_asked_before_it_began(place: Place) -> None:
    """A budget of nothing is over at once."""
    assert place.run("sleep 600", timeout=0.0).ending == "timeout"


def test_many_short_jobs_all_end_alike(place: Place) -> None:
    """Thirty runs in a row end alike."""
    ends = [place.run("true", LONG) for _ in range(30)]
    assert {(ended.ending, ended.exit_code, ended.leftovers) for ended in ends} == {("exit", 0, 0)}
