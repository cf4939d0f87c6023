"""Child programs on a short leash: time, memory, CPU, file size and output are all bounded."""

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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

_CHUNK = 65_536
_ERRORS = 4_096  # bytes of stderr that are kept
_SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/nix/store")


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
    errors: str  # the beginning of what it said on stderr
    stopped: str = ""  # "time" or "output" when we ended it

    @property
    def starved(self) -> bool:
        """Whether it met one of its limits."""
        ended = abs(self.code) % 128 if self.code else 0  # a sandbox tells a signal as 128 + n
        by_signal = ended in (signal.SIGKILL, signal.SIGXCPU, signal.SIGXFSZ)
        said = ("ut of memory", "mmap failed", "annot allocate memory", "File too large")
        return bool(self.stopped) or by_signal or any(words in self.errors for words in said)


class Child:
    """A running program, read as it writes. Leaving the `with` ends it and all it started."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        leash: Leash,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        keep: tuple[int, ...] = (),
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
            pass_fds=keep,
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
        """What it writes, until it ends, is out of time, or has written too much."""
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
        """Wait for its end, within its time; how it ended."""
        if self.stopped:
            self._kill()
        try:
            self._process.wait(max(0.0, self._ends - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.stopped = "time"
            self._kill()
        said = self._errors.decode(errors="replace")
        return Ended(self._process.returncode, out, said, self.stopped)

    def _kill(self) -> None:
        """End the whole group; its leader is not reaped before, so the number is still its own."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def run(
    command: Sequence[str],
    env: Mapping[str, str],
    leash: Leash,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    keep: tuple[int, ...] = (),
) -> Ended:
    """Run a program to its end; it inherits the handles to `keep`."""
    with Child(command, env, leash, stdin, keep) as child:
        out = b"".join(child.chunks())
        return child.ended(out)


def bare_env() -> dict[str, str]:
    """All that a child gets of our environment."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


@contextlib.contextmanager
def file_of(text: str) -> Iterator[BinaryIO]:
    """A text as a file that a child can read, however slowly."""
    with tempfile.TemporaryFile() as file:
        file.write(text.encode())
        file.seek(0)
        yield file


# ---- a sandbox, where there is one -------------------------------------------------------------


def sandboxed(program: str, *, readable: Path, writable: Path) -> list[str]:
    """What to put before a command: no network, no other process, and two folders of ours."""
    seen = ("--ro-bind", str(readable), str(readable), "--bind", str(writable), str(writable))
    return [*_bubblewrap(program), *seen, "--"]


@functools.cache
def sandbox_works(program: str) -> bool:
    """Whether bubblewrap is here, may make namespaces, and the program runs in it."""
    if shutil.which("bwrap") is None:
        return False
    return (
        run([*_bubblewrap(program), program, "--version"], bare_env(), Leash(seconds=20)).code == 0
    )


@functools.cache
def _bubblewrap(program: str) -> tuple[str, ...]:
    path = shutil.which(program)
    homes = {*_SYSTEM, str(Path(path).resolve().parent.parent) if path else "/usr"}
    binds = [word for home in sorted(homes) for word in ("--ro-bind-try", home, home)]
    apart = ("--unshare-all", "--die-with-parent", "--new-session")
    devices = [w for name in (os.devnull, "/dev/urandom") for w in ("--dev-bind", name, name)]
    return ("bwrap", *apart, *binds, *devices)
