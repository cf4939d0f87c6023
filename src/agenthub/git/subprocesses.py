"""Where the hub starts processes: one clean environment for every git, and limits on each."""

from __future__ import annotations

import contextlib
import functools
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

GIT = "git"
Process = subprocess.Popen[bytes]

_CHUNK = 65_536
_ERRORS = 4_096  # bytes of stderr that are kept
_CLEAN = {
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "none",
}
_OURS = (  # over the configuration of a user's repository, which is not ours to trust
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.bigFileThreshold=1m",
    "gc.auto=0",
    "safe.directory=*",
)
_SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/nix/store")


# ---- one way to start a clean git ---------------------------------------------------------------


def clean_env(git_dir: Path | None = None, **more: str) -> dict[str, str]:
    """The whole environment of a child: no configuration but that of the repository `git_dir`.

    Nothing of the caller's environment but PATH and TMPDIR, no protocol to fetch by, no prompt.
    """
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    repository = {} if git_dir is None else {"GIT_DIR": str(git_dir)}
    return {"PATH": os.defpath, **kept, **_CLEAN, **repository, **more}


def clean_git(
    arguments: Sequence[str],
    folder: Path,
    git_dir: Path | None = None,
    stdin: bytes | IO[bytes] = b"",
    stdout: IO[bytes] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run git on a user's own repository, without limits, to its end.

    No hook, monitor or upkeep of that repository runs. FileNotFoundError without git on PATH.
    """
    given: dict[str, Any] = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    return subprocess.run(
        [GIT, *(word for setting in _OURS for word in ("-c", setting)), *arguments],
        cwd=folder,
        env=clean_env(git_dir),
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C on the terminal is for the caller alone
        **given,
    )


def start_answering(command: Sequence[str], env: Mapping[str, str], leash: Leash) -> Process:
    """Start a program that answers on stdout what it reads on stdin, until its stdin is closed."""
    return subprocess.Popen(
        [*leash.words(), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=dict(env),
        cwd="/",
    )


# ---- programs on a leash -----------------------------------------------------------------------


@dataclass(frozen=True)
class Leash:
    """What a child program may use before it is killed."""

    seconds: float = 60  # wall clock
    cpu: int = 10  # seconds
    memory: int = 768 << 20  # bytes of address space, not held on macOS
    file: int = 256 << 20  # bytes of any one file it writes
    output: int = 16 << 20  # bytes of stdout

    def words(self) -> list[str]:
        """A small shell that sets the limits and becomes the program; no code runs in our fork."""
        limits = [f"ulimit -t {self.cpu}", f"ulimit -f {self.file // 512}", "ulimit -c 0"]
        if sys.platform != "darwin":
            limits.append(f"ulimit -v {self.memory // 1024}")
        return ["/bin/sh", "-c", f'umask 077; {"; ".join(limits)}; exec "$@"', "sh"]


@dataclass(frozen=True)
class Ended:
    """How a child program ended."""

    code: int  # negative for a signal
    out: bytes
    errors: str  # the first 4,096 bytes of its stderr
    stopped: str = ""  # "time" or "output" when we killed it

    @property
    def starved(self) -> bool:
        """Whether it reached one of its limits."""
        ended = abs(self.code) % 128 if self.code else 0  # a sandbox reports a signal as 128 + n
        by_signal = ended in (signal.SIGKILL, signal.SIGXCPU, signal.SIGXFSZ)
        signs = ("ut of memory", "mmap failed", "annot allocate memory", "File too large")
        return bool(self.stopped) or by_signal or any(sign in self.errors for sign in signs)


class Child:
    """A running program whose output is read as it comes; leaving the `with` kills its group."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        leash: Leash,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        inherit: tuple[int, ...] = (),
    ) -> None:
        self._leash = leash
        self._ends = time.monotonic() + leash.seconds
        self._errors = b""
        self.stopped = ""
        self._process = subprocess.Popen(
            [*leash.words(), *command],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            cwd="/",
            pass_fds=inherit,
            start_new_session=True,
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def chunks(self) -> Iterator[bytes]:
        """Its stdout, until it ends, runs out of time, or has written too much."""
        assert self._process.stdout is not None and self._process.stderr is not None
        left = self._leash.output
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            ready.register(self._process.stderr, selectors.EVENT_READ)
            while ready.get_map() and not self.stopped:
                for key, _ in ready.select(max(0.0, self._ends - time.monotonic())):
                    chunk = os.read(key.fd, _CHUNK)
                    if not chunk:
                        ready.unregister(key.fileobj)
                    elif key.fileobj is self._process.stderr:
                        self._errors = (self._errors + chunk)[:_ERRORS]
                    else:
                        self.stopped = "output" if len(chunk) > left else ""
                        yield chunk[:left]
                        left -= len(chunk)
                        if self.stopped:
                            break
                if time.monotonic() >= self._ends and not self.stopped:
                    self.stopped = "time"

    def ended(self, out: bytes = b"") -> Ended:
        """Wait for its end, within its time, and return how it ended, with `out` as its output."""
        if self.stopped:
            self._kill()
        try:
            self._process.wait(max(0.0, self._ends - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.stopped = "time"
            self._kill()
        errors = self._errors.decode(errors="replace")
        return Ended(self._process.returncode, out, errors, self.stopped)

    def _kill(self) -> None:
        """Kill the whole group; its leader is not reaped yet, so its number is still its own."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def run(
    command: Sequence[str],
    env: Mapping[str, str],
    leash: Leash,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    inherit: tuple[int, ...] = (),
) -> Ended:
    """Run a program to its end; it gets the file handles in `inherit` as well."""
    with Child(command, env, leash, stdin, inherit) as child:
        out = b"".join(child.chunks())
        return child.ended(out)


@contextlib.contextmanager
def file_of(lines: Iterable[str]) -> Iterator[BinaryIO]:
    """Lines as an open file that a child can read at its own pace."""
    with tempfile.TemporaryFile() as file:
        file.writelines(f"{line}\n".encode() for line in lines)
        file.seek(0)
        yield file


# ---- a sandbox, where there is one -------------------------------------------------------------


def sandboxed(program: str, *, readable: Path, writable: Path) -> list[str]:
    """Words to put before a command: it gets no network, sees no process, and these two folders."""
    seen = ("--ro-bind", str(readable), str(readable), "--bind", str(writable), str(writable))
    return [*_bubblewrap(program), *seen, "--"]


@functools.cache
def sandbox_works(program: str) -> bool:
    """Whether bubblewrap is installed, may make namespaces, and the program runs in it."""
    if shutil.which("bwrap") is None:
        return False
    command = [*_bubblewrap(program), program, "--version"]
    return run(command, clean_env(), Leash(seconds=20)).code == 0


@functools.cache
def _bubblewrap(program: str) -> tuple[str, ...]:
    path = shutil.which(program)
    homes = {*_SYSTEM, str(Path(path).resolve().parent.parent) if path else "/usr"}
    binds = [word for home in sorted(homes) for word in ("--ro-bind-try", home, home)]
    apart = ("--unshare-all", "--die-with-parent", "--new-session")
    devices = [w for name in (os.devnull, "/dev/urandom") for w in ("--dev-bind", name, name)]
    return ("bwrap", *apart, *binds, *devices)
