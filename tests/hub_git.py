"""A hub's git side for tests, and handmade packs: git itself would not write the evil ones."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agenthub.errors import HubError
from agenthub.git.bundle import write_header
from agenthub.git.fake import MemoryIndex
from agenthub.git.ingest import Pushed, receive
from agenthub.git.policy import Protected, PushLimits
from agenthub.git.repository import Repository
from conftest import Repo

COMMIT, TREE, BLOB, TAG, OFS_DELTA = 1, 2, 3, 4, 6
NAMES = {COMMIT: "commit", TREE: "tree", BLOB: "blob", TAG: "tag"}
WHO = b"Somebody <somebody@localhost> 1700000000 +0000"


@dataclass
class World:
    """A repository of the hub with its index."""

    repository: Repository
    index: MemoryIndex = field(default_factory=MemoryIndex)
    limits: PushLimits = field(default_factory=PushLimits)
    protected: Protected = field(default_factory=Protected)

    def push(self, bundle: bytes) -> Pushed:
        """Push a bundle's bytes."""
        body = io.BytesIO(bundle)
        return receive(body, self.repository, self.index, self.limits, self.protected)

    def refuses(self, bundle: bytes, status: int, match: str | None = None) -> HubError:
        """Push a bundle that must be refused with a status, and leave nothing behind."""
        before, known = self.files(), dict(self.index.commits)
        with pytest.raises(HubError, match=match) as refused:
            self.push(bundle)
        assert refused.value.status == status, refused.value
        assert len(str(refused.value)) < 700
        assert self.files() == before
        assert self.index.commits == known
        assert list(self.repository.incoming.iterdir()) == []
        return refused.value

    def files(self) -> list[tuple[str, int]]:
        """Names and sizes of all files of the repository."""
        folder = self.repository.folder
        paths = (path for path in folder.rglob("*") if path.is_file())
        return sorted((str(path.relative_to(folder)), path.stat().st_size) for path in paths)

    @property
    def bare(self) -> Repo:
        """The hub's repository, for git itself."""
        return Repo(self.repository.folder)


def bundle_of(repo: Repo, *args: str, version: int = 2) -> bytes:
    """The bundle that `git bundle create` makes of some revisions."""
    path = repo.folder.parent / "made.bundle"
    repo.git("bundle", "create", "-q", f"--version={version}", str(path), *args)
    return path.read_bytes()


@dataclass
class Evil:
    """Objects and packs written by hand, links, lies and all."""

    objects: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    def add(self, kind: int, content: bytes) -> str:
        """An object; its hash."""
        name = hashlib.sha1(b"%s %d\0" % (NAMES[kind].encode(), len(content)) + content)
        self.objects[name.hexdigest()] = (kind, content)
        return name.hexdigest()

    def blob(self, content: bytes = b"x\n") -> str:
        """A file."""
        return self.add(BLOB, content)

    def tree(self, *entries: tuple[str, str | bytes, str]) -> str:
        """A folder of (mode, name, hash), in git's order."""
        rows = [(m, n.encode() if isinstance(n, str) else n, sha) for m, n, sha in entries]
        rows.sort(key=lambda row: row[1] + (b"/" if row[0] == "40000" else b""))
        raw = b"".join(b"%s %s\0" % (m.encode(), n) + bytes.fromhex(sha) for m, n, sha in rows)
        return self.add(TREE, raw)

    def commit(self, tree: str, *parents: str, message: bytes = b"evil\n") -> str:
        """A commit of a folder."""
        lines = [b"tree " + tree.encode(), *(b"parent " + p.encode() for p in parents)]
        return self.add(
            COMMIT, b"\n".join([*lines, b"author " + WHO, b"committer " + WHO, b"", message])
        )

    def file(self, name: str | bytes, mode: str = "100644", content: bytes = b"x\n") -> str:
        """A commit of one file."""
        return self.commit(self.tree((mode, name, self.blob(content))))

    def bundle(self, *heads: str, prerequisites: Sequence[str] = ()) -> bytes:
        """A bundle of all objects there are."""
        named = [(head, f"refs/heads/h{number}") for number, head in enumerate(heads)]
        return write_header(named, prerequisites) + self.pack()

    def pack(self) -> bytes:
        """A pack of all objects there are, each in whole."""
        return pack(entry(kind, content) for kind, content in self.objects.values())


def pack(entries: Iterable[bytes]) -> bytes:
    """A pack of ready entries."""
    whole = list(entries)
    body = b"PACK" + struct.pack(">II", 2, len(whole)) + b"".join(whole)
    return body + hashlib.sha1(body).digest()


def entry(kind: int, content: bytes, *, between: bytes = b"") -> bytes:
    """One entry of a pack; `between` comes after the size, where a delta names its base."""
    size, head = len(content), bytearray()
    byte, size = kind << 4 | size & 15, size >> 4
    while size:
        head.append(byte | 128)
        byte, size = size & 127, size >> 7
    head.append(byte)
    return bytes(head) + between + zlib.compress(content, 6)


def delta(base: int, result: int, instructions: bytes) -> bytes:
    """A delta's bytes for a base and a result of these sizes."""
    return _number(base) + _number(result) + instructions


def _number(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def world_in(folder: Path) -> World:
    """A new world below a folder."""
    return World(Repository.create(folder / "repo.git", folder / "incoming"))


# Appended to a program: print the peak memory of itself and its largest child, in MB. getrusage of
# the process itself would include its parent's memory.
PRINT_MEMORY = """
import resource
from pathlib import Path
rows = Path("/proc/self/status").read_text().splitlines()
own = next(int(row.split()[1]) for row in rows if row.startswith("VmHWM:")) // 1024
print(f"\\nRSS {own} {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024}")
"""


def run_program(program: str, *args: str) -> tuple[str, int, int]:
    """Run a Python program; its output, its own peak memory and its children's, in MB."""
    ended = subprocess.run(
        [sys.executable, "-c", program + PRINT_MEMORY, *args],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    output, _, rss = ended.stdout.decode().rpartition("\nRSS ")
    own, children = map(int, rss.split())
    return output, own, children
