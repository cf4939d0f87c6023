"""LandlockExecutor: what it allows, and its documented weaknesses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoresearch.errors import ExecutorError
from autoresearch.executors import JobLimits, landlock
from executors.place import Place, landlock_place


@pytest.fixture
def place() -> Iterator[Place]:
    """A place under Landlock."""
    with landlock_place() as made:
        yield made


@pytest.mark.parametrize("code", [0, 1, 3, 127])
def test_a_command_ends_as_data(place: Place, code: int) -> None:
    """Output and exit code arrive as without a sandbox, and the level is reported."""
    ended = place.run(f"echo out; echo err >&2; exit {code}")
    assert (ended.ending, ended.exit_code, ended.sandbox) == ("exit", code, "landlock")
    assert place.said() == ["out", "err"]


def test_a_signal_and_a_leftover(place: Place) -> None:
    """A signal is reported by number, and background processes are counted."""
    assert place.run("kill -9 $$").signal == 9
    ended = place.run("sleep 600 & setsid sleep 600 & sleep 0.2")
    assert (ended.ok, ended.leftovers) == (True, 2)


def test_its_folder_and_what_it_was_given(place: Place) -> None:
    """It writes where it may, also across folders, and reads what it may."""
    home = place.folder.parent
    for name in ("data", "out"):
        (home / name).mkdir()
        (home / name / "file").write_text(name)
    command = "mkdir a; echo x > a/x; mv a/x .; cat x ../data/file ../out/file; "
    command += "echo new > ../out/file; echo new > ../data/file"
    place.run(command, readable=(home / "data",), writable=(home / "out",))
    assert place.log.read_text().startswith("x\ndataout")
    assert (home / "out/file").read_text() == "new\n"
    assert (home / "data/file").read_text() == "data"


def test_temporary_files_and_semaphores_work(place: Place) -> None:
    """Temporary files are in its folder, and data loaders' semaphores can be made."""
    text = "import tempfile, multiprocessing as m\nprint(tempfile.mkdtemp())\nm.Semaphore()\n"
    path = place.folder / "program.py"
    path.write_text(text)
    assert place.run(f"'{place.python}' -I program.py").ok
    assert place.said()[0].startswith(str(place.folder / landlock.SCRATCH))


def test_the_environment_is_an_allow_list(place: Place) -> None:
    """As in the sandbox: nothing that was not named."""
    job = place.job("env")
    job.env.update(HUB_PASS="x", OMP_NUM_THREADS="2")  # type: ignore[attr-defined]
    assert place.executor.run(job).ok
    assert "HUB_PASS" not in place.log.read_text() and "OMP_NUM_THREADS=2" in place.log.read_text()


def test_with_a_network_sockets_can_be_had(place: Place) -> None:
    """The Internet's sockets are refused unless they are allowed; Unix sockets never."""
    text = "import socket\nfor family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):\n"
    text += "    try:\n        socket.socket(family)\n        print('yes')\n"
    text += "    except PermissionError:\n        print('no')\n"
    (place.folder / "program.py").write_text(text)
    command = f"'{place.python}' -I program.py"
    assert place.run(command).ok
    assert place.said() == ["no", "no", "yes"]
    assert place.run(command, network=True).ok
    assert place.said()[0] == "yes"


def test_it_sees_that_files_exist(place: Place) -> None:
    """What the docstring admits: a secret's size shows, its content does not."""
    assert "sizes" in (landlock.__doc__ or "")
    (place.outside / "secret").chmod(0o644)
    place.run("stat -c %s ../outside/secret; cat ../outside/secret")
    assert place.said()[0] == "11"
    assert "the answers" not in place.log.read_text()


def test_limits_come_with_it(place: Place) -> None:
    """A job's limits hold here too."""
    place.run("ulimit -n; ulimit -c", limits=JobLimits(open_files=99))
    assert place.said() == ["99", "0"]


def test_as_root_a_closed_folder_is_named(tmp_path: Path, place: Place) -> None:
    """A folder closed to other users is named, with a command that opens it."""
    if os.geteuid():
        pytest.skip("only root drops to another user")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "job").mkdir()
    with pytest.raises(ExecutorError, match=r"cannot pass .*chmod o\+x"):
        place.run("true", folder=closed / "job")
