"""A real hub in its own process, and its load: connections, commits, bundles."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ADMIN = "the-admin-key-of-a-benchmark"
ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
}
SERVER = """
import json, os, sys
from pathlib import Path
if int(sys.argv[3]) >= 0 and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {int(sys.argv[3])})
from agenthub.records.hub import HubSettings
from agenthub.git.policy import PushLimits
from agenthub.git.repository import GitSettings
from agenthub.server.serve import serve
words = json.loads(sys.argv[2])
words["limits"] = PushLimits(**words.get("limits", {}))
words["git"] = GitSettings(**words.get("git", {}))
serve(Path(sys.argv[1]), port=0, settings=HubSettings(**words), admin_key=sys.argv[4])
"""
# Rates so high that the work is measured; caps of single pushes as shipped.
UNHURRIED = {
    "pushes_per_hour": 10**7,
    "posts_per_hour": 10**7,
    "diffs_per_hour": 10**7,
    "requests_per_minute": 10**9,
    "mb_per_day": 1e6,
    "agent_quota_mb": 1e6,
    "project_quota_mb": 1e6,
}


def cores() -> tuple[int, set[int]]:
    """The core for the server, and those for the load; -1 and none where cores cannot be chosen."""
    if not hasattr(os, "sched_getaffinity"):
        return -1, set()
    first, *others = sorted(os.sched_getaffinity(0))
    return first, set(others) or {first}


class Wire:
    """One kept connection with a key. Not thread-safe."""

    def __init__(self, port: int, key: str) -> None:
        self.port = port
        self._words = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
        self._socket: socket.socket | None = None

    def head(self, method: str, path: str, size: int = 0) -> bytes:
        """The lines before a body."""
        line = f"{method} {path} HTTP/1.1\r\n{self._words}Content-Length: {size}\r\n\r\n"
        return line.encode()

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """One request; its status and body. OSError when the server is gone."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self.port), 60)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._file = self._socket.makefile("rb")
        try:
            self._socket.sendall(self.head(method, path, len(body)) + body)
            return self._answer()
        except BaseException:
            self.close()
            raise

    def _answer(self) -> tuple[int, bytes]:
        status = self._file.readline().split()
        if len(status) < 2:
            raise ConnectionResetError("the server hung up")
        headers = {}
        while (line := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip().lower()
        if headers.get(b"transfer-encoding") == b"chunked":
            body = b"".join(self._chunks())
        else:
            size = int(headers[b"content-length"])
            body = self._file.read(size)
            if len(body) < size:
                raise ConnectionResetError("the server hung up in the middle of an answer")
        if headers.get(b"connection") == b"close":
            self.close()
        return int(status[1]), body

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._file.readline().strip() or b"0", 16):
            yield self._file.read(size)
            self._file.readline()
        self._file.readline()

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """One JSON request that must succeed; the answer."""
        status, found = self.ask(method, path, b"" if body is None else json.dumps(body).encode())
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {found[:300]!r}")
        return json.loads(found)

    def close(self) -> None:
        """Hang up; the next request connects again."""
        if self._socket is not None:
            self._file.close()
            self._socket.close()
            self._socket = None


@dataclass
class Server:
    """A hub that listens on loopback."""

    process: subprocess.Popen[str]
    port: int
    data: Path

    def wire(self, agent: str = "") -> Wire:
        """A connection as the admin, or as a new agent."""
        admin = Wire(self.port, ADMIN)
        if not agent:
            return admin
        key = admin.json("POST", "/api/admin/agents", {"id": agent})["api_key"]
        admin.close()
        return Wire(self.port, key)

    def cpu(self) -> float:
        """CPU seconds so far, of it and of its children that have ended."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def resident(self) -> float:
        """The most memory that the server itself ever had, MB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024

    @contextlib.contextmanager
    def watched(self) -> Iterator[list[float]]:
        """Sample the memory of it and all its children; the list's first item is the peak, MB."""
        peak, done = [0.0], threading.Event()

        def sample() -> None:
            server = psutil.Process(self.process.pid)
            while not done.wait(0.01):
                whole = 0
                for process in (server, *server.children(recursive=True)):
                    with contextlib.suppress(psutil.Error):
                        whole += process.memory_info().rss
                peak[0] = max(peak[0], whole / 2**20)

        thread = threading.Thread(target=sample)
        thread.start()
        try:
            yield peak
        finally:
            done.set()
            thread.join()

    def kill(self) -> None:
        """kill -9, and wait for the end."""
        self.process.kill()
        self.process.wait()


def start(data: Path, core: int = -1, **settings: Any) -> Server:
    """Start a hub over a data folder, and wait until it listens."""
    words = json.dumps(UNHURRIED | settings)
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(data), words, str(core), ADMIN],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith("hub: "):
        process.kill()
        raise RuntimeError(f"the hub did not start, and said {line!r}")
    server = Server(process, int(line.split()[1].rpartition(":")[2]), data)
    Wire(server.port, "").ask("GET", "/api/health")  # it says where it is before it answers
    return server


@contextlib.contextmanager
def serving(data: Path, core: int = -1, **settings: Any) -> Iterator[Server]:
    """A hub that is stopped afterwards."""
    server = start(data, core, **settings)
    try:
        yield server
    finally:
        server.process.terminate()
        try:
            server.process.wait(40)
        except subprocess.TimeoutExpired:
            server.kill()


def allow_files(count: int) -> None:
    """Allow this process so many open files, where the system permits it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = count if hard == resource.RLIM_INFINITY else min(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ---- commits and bundles ------------------------------------------------------------------------


def git(folder: Path, *words: str, stdin: bytes = b"") -> bytes:
    """Run git in a folder; what it printed."""
    done = subprocess.run(
        ["git", *words], cwd=folder, env=ENV, input=stdin, capture_output=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"git {words}: {done.stderr.decode(errors='replace')}")
    return done.stdout


@dataclass(frozen=True)
class Commits:
    """A repository with a base of commits in a row, and chains upon its last one."""

    folder: Path
    base: tuple[str, ...]
    chains: tuple[tuple[str, ...], ...]

    def bundle(self, sha: str, *without: str) -> bytes:
        """The body of a push: a bundle's header and a thin pack."""
        asked = "".join(f"{line}\n" for line in (sha, *(f"^{known}" for known in without)))
        pack = git(
            self.folder,
            *("pack-objects", "--revs", "--thin", "--stdout", "-q", "--delta-base-offset"),
            stdin=asked.encode(),
        )
        head = "".join(f"-{known}\n" for known in without)
        return f"# v2 git bundle\n{head}{sha} HEAD\n\n".encode() + pack

    def steps(self, chain: int) -> list[bytes]:
        """Each commit of a chain as a bundle upon the one before."""
        shas = (self.base[-1], *self.chains[chain])
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(self.bundle, shas[1:], shas))


def make_commits(folder: Path, base: int, chains: int, each: int, lines: int = 600) -> Commits:
    """`base` commits in a row, then `chains` times `each`; every one changes a line of train.py."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    rng = random.Random(1)
    text = [f"value_{n} = {rng.random():.16f}  # a constant" for n in range(lines)]
    stream, marks = [], []
    for number in range(base + chains * each):
        chain, step = divmod(number - base, each or 1)
        branch = "base" if number < base else f"chain{chain}"
        own = list(text)
        for back in range(min(number if number < base else step, 20) + 1):
            own[(number - back) % lines] = f"step_{number - back} = {number * 7919 + back}"
        parent = ""
        if number:
            above = number if number < base or step else base
            parent = f"from :{above}\n"
        body = "\n".join(own) + "\n"
        stream.append(
            f"commit refs/heads/{branch}\nmark :{number + 1}\n"
            f"committer Ada <ada@localhost> {1770000000 + number} +0000\n"
            f"data {len(f'step {number}')}\nstep {number}\n{parent}"
            f"M 100644 inline train.py\ndata {len(body)}\n{body}\n"
        )
        marks.append(number + 1)
    git(folder, "fast-import", "--quiet", "--export-marks=marks", stdin="".join(stream).encode())
    rows = (line.split() for line in (folder / "marks").read_text().splitlines())
    named = {int(mark[1:]): sha for mark, sha in rows}
    shas = [named[mark] for mark in marks]
    rest = shas[base:]
    return Commits(
        folder,
        tuple(shas[:base]),
        tuple(tuple(rest[n * each : (n + 1) * each]) for n in range(chains)),
    )


def bomb(folder: Path, files: Mapping[str, tuple[bytes, int]]) -> Commits:
    """Two commits: an empty one, then one of files, each so many times a piece."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@localhost")
    git(folder, *identity, "commit", "-q", "--allow-empty", "-m", "nothing")
    for name, (piece, times) in files.items():
        with (folder / name).open("wb") as file:
            for _ in range(times):
                file.write(piece)
    git(folder, "add", "-A")
    git(folder, *identity, "commit", "-q", "-m", "a lot")
    first, second = git(folder, "rev-list", "--reverse", "HEAD").decode().split()
    return Commits(folder, (first,), ((second,),))


def hash_of(word: str) -> str:
    """A commit's name for a word."""
    return hashlib.sha1(word.encode()).hexdigest()


def seconds(verb: Any, *values: Any) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    verb(*values)
    return time.perf_counter() - began
