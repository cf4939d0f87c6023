"""LocalExecutor with real processes: whatever they do, none of them survives."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from autoresearch.errors import ExecutorError
from autoresearch.executors import Execution, Job
from autoresearch.executors.bounded_log import LOG_HEAD, LOG_TAIL
from autoresearch.executors.local import LocalExecutor

LONG = 60.0  # seconds: a test that waits so long has failed
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs a child subreaper")


def until(true: Callable[[], object], what: str) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < deadline, f"still not so after {LONG:.0f} s: {what}"
        time.sleep(0.01)


def ended(process: psutil.Process) -> bool:
    """Whether a process is gone, or only waits for its parent to notice."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Place:
    """A folder where commands run whose processes all carry a mark in their environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.mark = uuid.uuid4().hex
        self.nap = str(1000 + int(self.mark[:6], 16))  # seconds: a mark on a command line

    @property
    def env(self) -> dict[str, str]:
        """The environment of its jobs."""
        return {"PATH": os.environ["PATH"], "MARK": self.mark}

    def job(self, command: str, timeout: float = LONG) -> Job:
        """A job in this folder."""
        return Job(command, self.folder, self.log, timeout, self.env)

    def run(self, command: str, timeout: float = LONG) -> Execution:
        """Run a command; fails when anything of it is alive on return."""
        ended = LocalExecutor().run(self.job(command, timeout))
        assert self.alive() == []
        return ended

    def program(self, text: str) -> str:
        """The command that runs a Python program, started fast."""
        path = self.folder / f"program-{uuid.uuid4().hex[:8]}.py"
        path.write_text(text.replace("NAP", self.nap))
        return f"exec '{sys.executable}' -I -S '{path}'"

    def said(self) -> list[str]:
        """The log's lines."""
        return self.log.read_text().splitlines()

    def alive(self) -> list[int]:
        """Processes that carry a mark."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                known = process.environ().get("MARK") == self.mark
                if known or process.cmdline() == ["sleep", self.nap]:
                    found.append(process.pid)
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place; what a failed test leaves there is killed."""
    made = Place(tmp_path)
    yield made
    while left := made.alive():
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


# ---- how it ends -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_command_that_dies_of_a_signal(place: Place, number: signal.Signals) -> None:
    """The signal is reported by number, and there is no exit code."""
    ended = place.run(f"echo before; kill -{int(number)} $$; echo after")
    assert (ended.ending, ended.signal, ended.exit_code, ended.ok) == (
        "signal",
        number,
        None,
        False,
    )
    assert place.said() == ["before"]


@pytest.mark.parametrize(
    ("command", "code", "word"),
    [("no-such-command-here", 127, "not found"), ("./plain", 126, "denied"), ("if", 2, "yntax")],
)
def test_a_command_that_cannot_start(place: Place, command: str, code: int, word: str) -> None:
    """A missing, a not executable and a malformed command are the shell's exit codes and words."""
    (place.folder / "plain").write_text("not a program")
    ended = place.run(command)
    assert (ended.ending, ended.exit_code) == ("exit", code)
    assert word in place.log.read_text()


def test_a_timeout_keeps_what_was_said(place: Place) -> None:
    """A command over its time is killed; its output so far is in the log."""
    ended = place.run("echo before; sleep 600; echo after", timeout=0.5)
    assert (ended.ending, ended.exit_code, ended.signal) == ("timeout", None, None)
    assert not ended.ok and ended.leftovers == 0
    assert ended.seconds >= 0.5
    assert place.said() == ["before"]


def test_no_time_at_all_is_a_timeout(place: Place) -> None:
    """A budget of nothing is over at once, without a hang."""
    assert place.run("sleep 600", timeout=0.0).ending == "timeout"


def test_a_command_that_closes_its_output_is_waited_for(place: Place) -> None:
    """The end of the log is not the end of the command."""
    ended = place.run("echo said; exec >&- 2>&-; sleep 0.3; touch late; exit 4")
    assert ended.exit_code == 4
    assert (place.folder / "late").exists()
    assert place.said() == ["said"]


# ---- what it gets ------------------------------------------------------------------------------


def test_the_environment_is_exactly_the_jobs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the harness is inherited, and every value arrives unchanged."""
    monkeypatch.setenv("OUR_SECRET", "secret")
    odd = {"EMPTY": "", "LINES": "a\nb", "UNI": "é☃", "QUOTE": "a'b\"c$(x)", "EQ": "a=b"}
    job = Job(
        place.program("import os; print(dict(os.environ))"),
        place.folder, place.log, LONG, place.env | odd,
    )  # fmt: skip
    assert LocalExecutor().run(job).ok
    got = eval(place.log.read_text())
    shells_own = {"PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"}
    assert {k: v for k, v in got.items() if k not in shells_own} == place.env | odd


def test_the_command_runs_in_its_folder(place: Place) -> None:
    """A folder with any name is the working directory."""
    folder = place.folder / "a b\n'é"
    folder.mkdir()
    job = Job("touch here; pwd -P", folder, place.log, LONG, place.env)
    assert LocalExecutor().run(job).ok
    assert (folder / "here").exists()
    assert place.log.read_text() == f"{folder.resolve()}\n"


def test_standard_input_is_empty(place: Place) -> None:
    """A command that asks a question gets no answer, and does not hang."""
    assert place.run("cat; read x || exit 7").exit_code == 7


@LINUX
def test_no_descriptor_and_no_ignored_signal_is_inherited(place: Place) -> None:
    """A command starts with three open files and every signal at its default."""
    (place.folder / "open").write_text("")
    with (place.folder / "open").open():
        program = "import os\nprint(sorted(os.listdir('/proc/self/fd')))\n"
        assert place.run(place.program(program)).ok
        assert place.said() == ["['0', '1', '2', '3']"]  # 3 is the listing itself
    assert place.run("grep SigIgn /proc/self/status").ok
    ignored = int(place.said()[0].split()[1], 16)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
        assert not ignored >> (number - 1) & 1, number


# ---- the log -----------------------------------------------------------------------------------


def test_output_is_kept_byte_for_byte(place: Place) -> None:
    """Bytes that are no text, from both streams, in the order they came."""
    assert place.run(r"printf '\000\377\r'; printf '\033[31m' >&2; printf 'end'").ok
    assert place.log.read_bytes() == b"\0\xff\r\x1b[31mend"


FLOOD = f"""
import os, sys
for i in range(0, {60 * 2**20}, 2**20):
    os.write(1, b"".join(b"%015d\\n" % j for j in range(i // 16, (i + 2**20) // 16)))
pid = os.getppid()
while b"supervisor" not in open(f"/proc/{{pid}}/cmdline", "rb").read():
    pid = int(open(f"/proc/{{pid}}/stat").read().rpartition(")")[2].split()[1])
peak = next(line for line in open(f"/proc/{{pid}}/status") if line.startswith("VmHWM"))
print("supervisor", peak.split()[1])
"""


@LINUX
def test_a_flooded_log_keeps_head_and_tail(place: Place) -> None:
    """Of 60 MB the beginning and the end stay, with the count of what is left out between.

    The supervisor's memory does not grow with it, and the last line is there to be measured.
    """
    assert place.run(place.program(FLOOD)).ok
    log = place.log.read_bytes()
    head, line, tail = log[:LOG_HEAD], *log[LOG_HEAD + 1 :].split(b"\n", 1)
    assert head == b"".join(b"%015d\n" % i for i in range(LOG_HEAD // 16))
    last = tail.splitlines()[-1]
    whole = 60 * 2**20 + len(last) + 1
    assert line == b"[autoresearch: %d bytes of the log left out]" % (whole - LOG_HEAD - LOG_TAIL)
    assert len(tail) == LOG_TAIL
    assert tail.splitlines()[-2] == b"%015d" % (60 * 2**20 // 16 - 1)
    assert last.startswith(b"supervisor ")
    assert int(last.split()[1]) < 100_000  # KiB


def test_a_log_a_little_over_the_head_is_whole(place: Place) -> None:
    """When head and tail cover all of it, no byte is missing and no remark is made."""
    size = LOG_HEAD + LOG_TAIL
    assert place.run(
        place.program(f"import os\nfor _ in range({size // 1024}): os.write(1, b'x' * 1024)")
    )
    assert place.log.read_bytes() == b"x" * size


def test_an_endless_flood_is_stopped_in_time(place: Place) -> None:
    """A command that never stops writing is killed at its deadline, its log bounded."""
    assert place.run("exec yes", timeout=1.0).ending == "timeout"
    assert place.log.stat().st_size <= LOG_HEAD + LOG_TAIL + 100


# ---- nothing survives --------------------------------------------------------------------------

DETACH = """
import os, signal, sys, time
for number in range(1, 32):
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_IGN)
def detach(times):
    for _ in range(times):
        if os.fork():
            return False
        os.setsid()
    return True
def ready():
    open("ready", "a").close()
def wait_ready():
    while not os.path.exists("ready"):
        time.sleep(0.01)
def forever():
    ready()
    while True:
        time.sleep(60)
"""

HOSTILE = {
    "ignores every signal": "forever()",
    "a child in a session of its own": "detach(1) or wait_ready()\nforever()",
    "a double fork": "detach(2) or wait_ready()\nforever()",
    "ten generations": "detach(10) or wait_ready()\nforever()",
    "is stopped": "ready()\nos.kill(os.getpid(), signal.SIGSTOP)",
    "its child is stopped": "if not os.fork():\n    os.setsid()\n    ready()\n"
    "    os.kill(os.getpid(), signal.SIGSTOP)\nwait_ready()\nforever()",
    "many children": "for _ in range(6):\n    os.fork()\nos.setsid() if os.getpid() % 2 and "
    "os.getpid() != os.getpgrp() else None\nforever()",
    "an empty environment": "os.environ.clear()\nif not os.fork():\n    os.setsid()\n    ready()\n"
    "    os.execve('/bin/sleep', ['sleep', 'NAP'], {})\nwait_ready()\nforever()",
    "forks every 2 ms": "ready()\nwhile True:\n    if os.fork():\n        os._exit(0)\n"
    "    os.setsid()\n    time.sleep(0.002)",
    "forks without pause": "ready()\nwhile True:\n    if os.fork():\n        os._exit(0)\n"
    "    os.setsid()",
    "forks without pause, and stays": "if os.fork():\n    wait_ready()\n    forever()\nready()\n"
    "while True:\n    if os.fork():\n        os._exit(0)\n    os.setsid()",
}


@LINUX
@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_nothing_survives_a_timeout(place: Place, body: str) -> None:
    """However a trial hides its processes, all are dead when run returns."""
    for timeout in (0.5, 5.0, LONG):  # until it has come to its trick, on a busy machine too
        assert place.run(place.program(DETACH + body), timeout).ending in ("timeout", "exit")
        if (place.folder / "ready").exists():
            break
    assert (place.folder / "ready").exists()


@LINUX
@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_nothing_survives_the_command_itself(place: Place, body: str) -> None:
    """What a command that ended well leaves in the background is killed, its result stands."""
    hostile = place.program(DETACH + body).removeprefix("exec ")
    ended = place.run(f"{hostile} & while ! [ -e ready ]; do sleep 0.01; done; echo done; exit 5")
    assert (ended.ending, ended.exit_code) == ("exit", 5)
    assert ended.leftovers > 0
    assert place.said() == ["done"]


@LINUX
def test_the_open_log_of_a_leftover_does_not_delay_the_end(place: Place) -> None:
    """A background process that holds the log open is killed, not waited for, and counted."""
    ended = place.run("sleep 600 & setsid sleep 600 & sleep 0.2; echo done")
    assert (ended.ok, ended.leftovers) == (True, 2)
    assert place.said() == ["done"]


@LINUX
def test_orphans_that_ended_are_no_leftovers_and_no_zombies(place: Place) -> None:
    """Children that detached and ended by themselves are collected while the command runs."""
    program = f"""{DETACH}
for _ in range(30):
    if not os.fork():
        if not os.fork():
            os._exit(0)
        os._exit(0)
    os.wait()
def zombies():
    count = 0
    for name in os.listdir("/proc"):
        try:
            stat = open(f"/proc/{{name}}/stat").read().rpartition(")")[2].split()
        except OSError:
            continue
        count += stat[0] == "Z" and stat[1] == str(os.getppid())
    return count
while zombies():
    time.sleep(0.01)
"""
    ended = place.run(
        place.program(program.replace("signal.signal(number", "(lambda *_: 0)(number"))
    )
    assert (ended.ok, ended.leftovers) == (True, 0)


def test_memory_of_all_processes_is_seen(place: Place) -> None:
    """The peak is of the whole tree: two processes that hold 60 MB each are 120 MB."""
    hold = "import os, time\nos.fork()\nx = bytearray(b'x') * 60_000_000\ntime.sleep(2)\n"
    assert place.run(place.program(hold)).peak_memory > 115_000_000


# ---- the harness itself ends -------------------------------------------------------------------

HARNESS = """
import pathlib, signal, sys
from autoresearch.executors import Job
from autoresearch.executors.local import LocalExecutor
folder, command, mark, path = sys.argv[1:]
if path.startswith("deaf:"):
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
try:
    job = Job(command, pathlib.Path(folder), pathlib.Path(folder) / "log", 60.0,
              {"PATH": path.removeprefix("deaf:"), "MARK": mark})
    print(LocalExecutor().run(job).exit_code)
except KeyboardInterrupt:
    print("interrupted")
"""


@contextlib.contextmanager
def harness(place: Place, command: str, path: str = "") -> Iterator[subprocess.Popen[str]]:
    """A process that runs a command with a LocalExecutor."""
    arguments = [str(place.folder), command, place.mark, path + os.environ["PATH"]]
    with subprocess.Popen(
        [sys.executable, "-c", HARNESS, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


@LINUX
@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("a double fork", signal.SIGKILL),
        ("its child is stopped", signal.SIGKILL),
        ("an empty environment", signal.SIGKILL),
        ("forks every 2 ms", signal.SIGKILL),
        ("a child in a session of its own", signal.SIGTERM),
        ("ignores every signal", signal.SIGINT),
        ("forks without pause, and stays", signal.SIGINT),
    ],
)
def test_nothing_survives_the_harness(place: Place, name: str, number: int) -> None:
    """When the harness is killed, even by kill -9, all of its trial dies soon after."""
    with harness(place, place.program(DETACH + HOSTILE[name])) as process:
        until((place.folder / "ready").exists, "the trial runs")
        supervisors = psutil.Process(process.pid).children()
        assert len(supervisors) == 1
        process.send_signal(number)
        process.wait()
        if number == signal.SIGINT:  # a clean end: nothing is alive when it is over
            assert place.alive() == []
        until(lambda: ended(supervisors[0]), "the supervisor ends")
    until(lambda: not place.alive(), "nothing is alive")


@LINUX
def test_ctrl_c_is_clean(place: Place) -> None:
    """SIGINT becomes KeyboardInterrupt in the harness, with no word from below it."""
    with harness(place, "touch ready; sleep 600") as process:
        until((place.folder / "ready").exists, "the trial runs")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (out, err, process.returncode) == ("interrupted\n", "", 0)
    assert place.alive() == []


def test_a_harness_that_ignores_its_children_gets_exit_codes(place: Place) -> None:
    """A parent that set SIGCHLD to ignored, as some daemons do, changes nothing."""
    with harness(place, "exit 3", "deaf:") as process:
        out, err = process.communicate()
    assert (out, err) == ("3\n", "")


def test_signals_to_the_supervisor_are_not_its_end(place: Place) -> None:
    """A stray SIGTERM, SIGINT or SIGHUP does not leave the trial without its keeper."""
    assert (
        place.run("kill -TERM $PPID; kill -INT $PPID; kill -HUP $PPID; sleep 0.1; exit 3").exit_code
        == 3
    )


def test_a_killed_supervisor_is_our_error(place: Place) -> None:
    """Without its supervisor a job may live on: the harness reports that instead of going on."""
    with pytest.raises(ExecutorError, match=r"may still run.*below"):
        LocalExecutor().run(place.job("kill -9 $PPID; sleep 600"))


def test_jobs_run_side_by_side(place: Place, tmp_path: Path) -> None:
    """Two jobs of one process end on their own: neither kills or waits for the other."""
    other = Place(tmp_path / "other")
    other.folder.mkdir()
    ended: list[Execution] = []
    wait = "touch ready; while ! [ -e go ]; do sleep 0.01; done; exit 4"
    thread = threading.Thread(target=lambda: ended.append(other.run(wait)))
    thread.start()
    until((other.folder / "ready").exists, "the other job runs")
    assert place.run("sleep 600 & exit 3").exit_code == 3
    assert other.alive() != []
    (other.folder / "go").touch()
    thread.join()
    assert [execution.exit_code for execution in ended] == [4]


# ---- a place that cannot be had ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["no folder", "folder is a file", "no place for the log", "NUL"])
def test_a_place_that_cannot_be_had_is_our_error(place: Place, kind: str) -> None:
    """What stands in the way is named, without a traceback, and nothing runs."""
    folder, log, command = place.folder, place.log, "touch ran"
    if kind == "no folder":
        folder = folder / "missing"
    elif kind == "folder is a file":
        folder = place.folder / "file"
        folder.touch()
    elif kind == "no place for the log":
        log = place.folder / "missing" / "log"
    else:
        command = "touch ran\0"
    with pytest.raises(ExecutorError, match="touch ran") as caught:
        LocalExecutor().run(Job(command, folder, log, LONG, place.env))
    assert str(folder) in str(caught.value)
    assert not (place.folder / "ran").exists()


@LINUX
def test_a_full_disk_is_our_error_and_nothing_survives(place: Place) -> None:
    """When the log cannot be written, the job is killed and the reason is reported."""
    command = "setsid sleep 600 & echo hello; sleep 600"
    with pytest.raises(ExecutorError, match="No space left"):
        LocalExecutor().run(Job(command, place.folder, Path("/dev/full"), LONG, place.env))
    assert place.alive() == []
