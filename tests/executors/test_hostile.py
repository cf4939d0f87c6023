"""Hostile trials: no process survives, nothing outside changes, and the ending is right."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from autoresearch.executors import JobLimits
from autoresearch.executors.bounded_log import LOG_HEAD, LOG_TAIL
from autoresearch.executors.leftover import FILE
from executors.place import Place, bubblewrap_place, landlock_place, look, until

LEVELS = ["bubblewrap", "landlock"]

DETACH = """
import signal, sys, time
def deaf():
    for number in range(1, 32):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_IGN)
def detach(times):
    for _ in range(times):
        if os.fork():
            return False
        os.setsid()
    return True
def forever():
    open('ready', 'a').close()
    while True:
        time.sleep(60)
def tried(what, *arguments):
    try:
        print('DONE', what.__name__, arguments, what(*arguments))
    except (OSError, ValueError, AttributeError) as error:
        print('no', what.__name__, arguments, error)
"""

STAYERS = {
    "deaf": "deaf()\nforever()",
    "setsid": "detach(1)\nforever()",
    "double fork, deaf": "deaf()\ndetach(2)\nforever()",
    "twenty generations": "detach(20)\nforever()",
    "stopped": "open('ready', 'w')\nos.fork()\nos.kill(os.getpid(), signal.SIGSTOP)",
    "re-forks every 2 ms": "if os.fork():\n    forever()\nwhile True:\n    if os.fork():\n"
    "        os._exit(0)\n    os.setsid()\n    time.sleep(0.002)",
    "no environment": "if not os.fork():\n    os.setsid()\n"
    "    os.execve('/bin/sleep', ['sleep', '617.5'], {})\nforever()",
    "floods its log": "open('ready', 'w')\nwhile True:\n    os.write(1, b'x' * 65536)",
}


@pytest.fixture(params=LEVELS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place of each sandbox."""
    with contextlib.ExitStack() as stack:
        if request.param == "landlock":
            made = stack.enter_context(landlock_place())
        else:
            made = bubblewrap_place(tmp_path)
        yield made
        made.clear()


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Place]:
    """A place with a bubblewrap sandbox."""
    made = bubblewrap_place(tmp_path)
    yield made
    made.clear()


# ---- processes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("body", STAYERS.values(), ids=STAYERS)
def test_nothing_outlives_a_timeout(place: Place, body: str) -> None:
    """However it hides, all of a trial is dead when run returns, and its log is bounded."""
    for timeout in (1.0, 5.0, 30.0):  # until it has come to its trick, on a busy machine too
        ended = place.python_run(DETACH + body, timeout)
        if (place.folder / "ready").exists():
            break
    assert (place.folder / "ready").exists()
    assert ended.ending == "timeout"
    assert place.log.stat().st_size <= LOG_HEAD + LOG_TAIL + 100


@pytest.mark.parametrize("body", STAYERS.values(), ids=STAYERS)
def test_nothing_outlives_the_command(place: Place, body: str) -> None:
    """What a command leaves in the background, its output still open, dies with it at once."""
    hostile = place.program(DETACH + body).removeprefix("exec ")
    ended = place.run(f"{hostile} & while ! [ -e ready ]; do sleep 0.01; done; exit 5")
    assert (ended.ending, ended.exit_code) == ("exit", 5)


@pytest.mark.parametrize("body", STAYERS.values(), ids=STAYERS)
def test_nothing_outlives_the_harness(place: Place, body: str) -> None:
    """With the harness killed by -9, its trial is gone soon after, and so is its note."""
    before = look(place.outside)
    level = "landlock" if place.executor.name == "landlock" else "bubblewrap"  # type: ignore[attr-defined]
    words = [level, str(place.folder), str(place.log), place.program(DETACH + body), place.mark]
    harness = subprocess.Popen([sys.executable, "-c", HARNESS, *words])
    note = place.log.parent / FILE
    try:
        until((place.folder / "ready").exists, "the trial runs")
        until(note.exists, "the note is written")
        until(place.alive, "its processes are known to this test")
        supervisor = psutil.Process(json.loads(note.read_text())["supervisor"][0])
    finally:
        harness.kill()
        harness.wait()
    until(lambda: not supervisor.is_running() or ended(supervisor), "the supervisor ends")
    until(lambda: not place.alive(), "nothing is alive")
    assert look(place.outside) == before
    assert not note.exists()


def ended(process: psutil.Process) -> bool:
    """Whether a process is gone, or only waits to be collected."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


HARNESS = """
import pathlib, sys
from autoresearch.executors import Job
from autoresearch.executors.local import supervised
level, folder, log, command, mark = sys.argv[1:]
env = {"PATH": "/usr/bin:/bin", "AUTORESEARCH_MARK": mark}
supervised(Job(command, pathlib.Path(folder), pathlib.Path(log), 60.0, env), level)
"""


@pytest.mark.parametrize("number", ["SIGKILL", "SIGSTOP", "SIGTERM"])
def test_it_cannot_signal_anybody(apart: Place, number: str) -> None:
    """It sends a signal to every process it can name: those outside have other names."""
    outside = [os.getpid(), os.getppid(), 1]
    body = f"for pid in [*{outside}, -1, *range(2, 40000)]:\n    if pid != os.getpid():\n"
    body += f"        try:\n            os.kill(pid, signal.{number})\n"
    body += "        except OSError:\n            pass\nprint('through')"
    ended = apart.python_run("import signal\n" + body, timeout=20.0)
    assert ended.ending in ("exit", "signal", "timeout")


def test_under_landlock_it_cannot_signal_anybody_either() -> None:
    """By scope (ABI 6), or by being another user: neither supervisor nor harness can be reached."""
    with landlock_place() as place:
        from autoresearch.executors.landlock import abi

        if abi() < 6 and os.geteuid():
            pytest.skip("this kernel's Landlock knows no scopes, and we are not root")
        body = f"for pid in (os.getppid(), {os.getpid()}, {os.getppid()}):\n"
        body += "    tried(os.kill, pid, 0)\n    tried(os.kill, pid, signal.SIGTERM)\n"
        assert place.python_run(DETACH + body).ok
        refused = [line for line in place.said() if line.startswith("no kill")]
        assert len(refused) == 6, place.said()


# ---- files -------------------------------------------------------------------------------------


def test_it_does_not_read_what_it_was_not_shown(place: Place) -> None:
    """Secrets beside its folder, of the user, of the machine and of other processes stay so."""
    (place.outside / "secret").chmod(0o644)
    secret = place.outside / "secret"
    names = [secret, "/etc/shadow", "/etc/hostname", Path.home() / ".bashrc", place.log, __file__]
    mine = f"/proc/{os.getpid()}"
    names += [f"{mine}/environ", f"{mine}/root" + "/etc/hostname"]
    names += ["/dev/mem", "/dev/kmsg", "/proc/kcore"]
    body = "def read(name):\n    return open(name, 'rb').read(10)\n"
    body += f"for name in {list(map(str, names))}:\n    tried(read, name)\n"
    body += f"os.symlink({str(secret)!r}, 'link')\ntried(read, 'link')\n"
    body += f"tried(os.link, {str(secret)!r}, 'hard')\n"
    assert place.python_run(DETACH + body).ok
    assert len(place.said()) == len(names) + 2
    assert [line for line in place.said() if line.startswith("DONE")] == []


def test_it_changes_nothing_outside(place: Place) -> None:
    """Writing, making, removing, renaming, linking, changing modes: refused everywhere else."""
    targets = ["/", "/usr", "/etc", "/dev", "/proc/sys/kernel", place.outside, place.folder.parent]
    targets += [Path(os.__file__).parent, Path(sys.prefix)]
    body = f"""
secret = {str(place.outside / "secret")!r}
def write(name, mode):
    open(name, mode).write('x')
write('here', 'w')
for folder in {list(map(str, targets))}:
    tried(write, folder + '/new', 'w')
    tried(os.mkdir, folder + '/new')
    tried(os.rename, 'here', folder + '/new')
    tried(os.symlink, 'here', folder + '/new')
for name in (secret, '/etc/passwd', '/usr/bin/env', '/proc/sys/kernel/core_pattern', '/bin/sh'):
    tried(write, name, 'a')
    tried(os.remove, name)
    tried(os.truncate, name, 0)
    tried(os.chown, name, os.getuid(), os.getuid())
    tried(os.chmod, name, 0o777)
tried(os.rename, '.', '../moved')
tried(os.rmdir, '../outside')
"""
    machine = [owned(name) for name in ("/etc/passwd", "/usr/bin/env")]
    pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    assert place.python_run(DETACH + body).ok
    done = [line for line in place.said() if line.startswith("DONE")]
    if place.executor.name == "sandbox":  # type: ignore[attr-defined]
        own = f"'{place.folder.parent}/new'"  # below its own /tmp, and on no disk
        done = [line for line in done if own not in line]
    assert done == []
    assert not list(place.folder.parent.glob("new"))
    assert [owned(name) for name in ("/etc/passwd", "/usr/bin/env")] == machine
    assert Path("/proc/sys/kernel/core_pattern").read_text() == pattern


def owned(name: str) -> tuple[int, int, int, int]:
    """Whose a file is, how it may be used, and when it was written."""
    found = Path(name).stat()
    return found.st_uid, found.st_mode, found.st_size, found.st_mtime_ns


def test_it_mounts_nothing_and_gains_nothing(apart: Place) -> None:
    """mount, umount, remount, pivot_root, nested namespaces, setuid programs, ptrace: refused."""
    body = """
import ctypes
library = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if getattr(library, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)
os.mkdir('m')
tried(call, 'mount', b'tmpfs', b'm', b'tmpfs', 0, None)
tried(call, 'mount', None, b'/', None, 32, None)
tried(call, 'mount', None, b'/usr', None, 32 | 4096, None)
tried(call, 'mount', b'/proc', b'm', None, 4096, None)
for name in (b'/', b'/usr', b'/tmp', b'/proc', b'/dev'):
    tried(call, 'umount2', name, 2)
for flag in (0x10000000, 0x20000, 0x40000000, 0x20000000, 0x10000000 | 0x20000):
    tried(call, 'unshare', flag)
tried(call, 'setuid', 0)
tried(call, 'chroot', b'.')
tried(call, 'sethostname', b'x', 1)
tried(os.mknod, 'device', 0o20666, os.makedev(1, 1))
tried(os.setxattr, 'm', b'security.capability', b'x')
"""
    assert apart.python_run(DETACH + body).ok
    assert [line for line in apart.said() if line.startswith("DONE")] == []
    assert len(apart.said()) == 19


def test_it_fills_only_what_is_its_own(apart: Place) -> None:
    """/tmp and /dev/shm end at their size, everything else is refused; the host's are as before."""
    before = {name: shutil.disk_usage(name).used for name in ("/dev/shm",)}
    body = """
def fill(name):
    stream, count = open(name + '/fill', 'wb', 0), 0
    while True:
        try:
            count += stream.write(b'x' * 2**20)
        except OSError as error:
            return count
for name in ('/tmp', '/dev/shm', '/tmp/home', '/', '/dev', '/etc', '/root', '/home', '/var'):
    tried(fill, name)
"""
    limits = JobLimits(memory=256 * 2**20)
    assert apart.python_run(DETACH + body, limits=limits).ok
    done = [line.split() for line in apart.said() if line.startswith("DONE")]
    assert [int(words[-1]) for words in done] == [64 * 2**20, 64 * 2**20, 0]
    assert shutil.disk_usage("/dev/shm").used - before["/dev/shm"] < 10 * 2**20


def test_it_fills_its_folder(place: Place) -> None:
    """A folder over its size ends the trial as "disk", a tree too deep to be named as well."""
    limits = JobLimits(disk=20 * 2**20)
    body = "stream = open('big', 'wb', 0)\n"
    body += "while stream.tell() < 10**9:\n    stream.write(b'x' * 2**20)\n"
    assert place.python_run(DETACH + body + "forever()", limits=limits).ending == "disk"
    (place.folder / "big").unlink()
    deep = "for _ in range(60):\n    os.mkdir('d' * 100)\n    os.chdir('d' * 100)\nforever()"
    assert place.python_run(DETACH + deep, limits=limits).ending == "disk"
    subprocess.run(["rm", "-rf", str(place.folder)], check=True)


# ---- network -----------------------------------------------------------------------------------


@pytest.fixture
def listeners() -> Iterator[tuple[int, int, str, list[str]]]:
    """A TCP and a UDP port and an abstract name of ours, and who came there."""
    came: list[str] = []
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        udp.bind(("127.0.0.1", 0))
        name = f"autoresearch-test-{os.getpid()}"
        unix.bind("\0" + name)
        unix.listen()
        for listener in (tcp, udp, unix):
            threading.Thread(target=_listen, args=(listener, came), daemon=True).start()
        yield tcp.getsockname()[1], udp.getsockname()[1], name, came
        for listener in (tcp, udp, unix):
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)


def _listen(listener: socket.socket, came: list[str]) -> None:
    with contextlib.suppress(OSError):
        if listener.type == socket.SOCK_DGRAM:
            if listener.recv(10):
                came.append("udp")
        else:
            with listener.accept()[0]:
                came.append(listener.family.name)


def test_it_reaches_no_socket(place: Place, listeners: tuple[int, int, str, list[str]]) -> None:
    """Neither TCP nor UDP nor an abstract Unix socket of this machine hears of it."""
    tcp, udp, name, came = listeners
    body = f"""
import socket
def connect(*address):
    socket.create_connection(address, 5)
def send(*address):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', address)
def abstract(name):
    socket.socket(socket.AF_UNIX).connect(chr(0) + name)
def raw():
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
tried(connect, '127.0.0.1', {tcp})
tried(send, '127.0.0.1', {udp})
tried(abstract, {name!r})
tried(raw)
"""
    ended = place.run(place.program(DETACH + body).replace(" -I -S ", " -I "))
    assert ended.ok
    assert len(place.said()) == 4
    done = [line for line in place.said() if line.startswith("DONE")]
    assert [line for line in done if not line.startswith("DONE send")] == []  # sent to nobody
    assert came == []
