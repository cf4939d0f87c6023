"""One project's bare repository; every git command of the hub runs here.

git has checked that no object of an admitted pack names a missing one, so the repository is whole.
Nothing is ever pruned: the hub's index keeps a commit, not a ref.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import logging
import os
import re
import secrets
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, BinaryIO

from agenthub.errors import BadInput, HubError, Missing, TooLarge, Unavailable
from agenthub.files import remove_tree, sync_folder, write_whole
from agenthub.git.bundle import write_header
from agenthub.git.objects import (
    MAX_COMMIT,
    MAX_TREE,
    TREE,
    Commit,
    Entry,
    Info,
    Quarantine,
    Reader,
    parse_commit,
    parse_tree,
)
from agenthub.git.subprocesses import (
    GIT,
    Child,
    Ended,
    Leash,
    Process,
    clean_env,
    file_of,
    run,
    sandbox_works,
    sandboxed,
    start_answering,
)
from agenthub.validation import clean_line, is_hash, shown

OLDEST = (2, 36)  # cat-file --batch-command
HAVES = 1_000  # commits of a fetcher that are looked at
CUT = "… cut: {seen:,} bytes are shown, the rest is not. Ask for one file of it by its path.\n"

_OUR_PATH = re.compile(r"(?<![\w./:~-])/[^\s'\":]+")  # a folder of the hub, which is secret
_PLAIN_DIFF = ("--no-ext-diff", "--no-textconv", "--no-renames", "--no-color", "--full-index")
_CONFIG = """[core]
\trepositoryformatversion = 0
\tbare = true
\thooksPath = /dev/null
\tfsync = all
\tbigFileThreshold = 1m
\tpackedGitWindowSize = 16m
\tpackedGitLimit = 128m
\tdeltaBaseCacheLimit = 32m
\tlogAllRefUpdates = false
[gc]
\tauto = 0
\tpruneExpire = never
[maintenance]
\tauto = false
[pack]
\tthreads = 1
\twindowMemory = 64m
\twriteReverseIndex = false
[index]
\tthreads = 1
[transfer]
\tfsckObjects = true
\tunpackLimit = 1
[repack]
\twriteBitmaps = false
"""

_LOCK = "keeping.lock"

UNPACKING = Leash()
READING = Leash()
SENDING = Leash(seconds=600, cpu=120, memory=4 << 30, output=1 << 40)
REPACKING = Leash(seconds=1800, cpu=1800, memory=16 << 30, file=1 << 40)


@dataclass(frozen=True)
class GitSettings:
    """How git runs on a repository."""

    sandbox: str = "auto"  # bubblewrap around the unpacking: "auto" where it works, "on", "off"
    repack_every: int = 100  # admitted packs
    unpacking: Leash = UNPACKING
    reading: Leash = READING
    sending: Leash = SENDING
    repacking: Leash = REPACKING


def lay_out(folder: Path, incoming: Path) -> None:
    """Create a bare repository unless there is one, and reset its configuration."""
    for made in (folder, folder / "objects", folder / "refs", incoming):
        made.mkdir(parents=True, exist_ok=True, mode=0o700)
        made.chmod(0o700)
    for made in (folder / "objects" / "pack", folder / "objects" / "info"):
        made.mkdir(exist_ok=True, mode=0o700)
    write_whole(folder / "config", _CONFIG)
    if not (folder / "HEAD").exists():
        write_whole(folder / "HEAD", "ref: refs/heads/none\n")
    (folder / _LOCK).touch(0o600)
    for name in ("alternates", "http-alternates"):  # no objects from elsewhere
        (folder / "objects" / "info" / name).unlink(missing_ok=True)


@contextlib.contextmanager
def repack_lock(folder: Path) -> Iterator[int | None]:
    """Hold the lock for rewriting packs, as a file handle; None while another process holds it.

    A child that inherits the handle holds the lock as well, and may outlive us.
    """
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        yield None
        return
    try:
        yield handle
    finally:
        os.close(handle)


@dataclass
class Repository:
    """A bare repository, and a folder on the same disk where pushes wait to be examined."""

    folder: Path
    incoming: Path
    settings: GitSettings = field(default_factory=GitSettings)

    def __post_init__(self) -> None:
        self.folder, self.incoming = self.folder.absolute(), self.incoming.absolute()
        self._reader = Reader(lambda: self._start_reader(None))
        self._repacking = threading.Lock()
        self._repack_thread: threading.Thread | None = None
        self._admitted = self.settings.repack_every  # unknown yet: check once

    @classmethod
    def create(
        cls, folder: Path, incoming: Path, settings: GitSettings | None = None
    ) -> Repository:
        """Create a repository, or open the existing one."""
        lay_out(folder, incoming)
        _check_version()
        return cls(folder, incoming, settings or GitSettings())

    def close(self) -> None:
        """End the reader, and wait for a running repack."""
        if self._repack_thread is not None:
            self._repack_thread.join()
        self._reader.close()

    def sweep(self) -> None:
        """Remove a killed process's leftovers; only while no other process works here."""
        for left in self.incoming.iterdir():
            remove_tree(left)
        packs = self.folder / "objects" / "pack"
        with repack_lock(self.folder) as lock:
            for path in packs.iterdir() if lock is not None else ():
                unfinished = path.name.startswith((".tmp-", "tmp_"))
                other = {".pack": ".idx", ".rev": ".idx", ".idx": ".pack"}.get(path.suffix)
                if unfinished or (other and not path.with_suffix(other).exists()):
                    path.unlink(missing_ok=True)
            if lock is not None:
                (packs / "multi-pack-index.lock").unlink(missing_ok=True)

    # ---- coming in -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def quarantine(self) -> Iterator[Path]:
        """A folder for one push; it is removed at the end in any case."""
        folder = self.incoming / secrets.token_hex(8)
        (folder / "objects" / "pack").mkdir(parents=True, mode=0o700)
        try:
            yield folder
        finally:
            remove_tree(folder)

    def unpack(self, folder: Path, pack: BinaryIO, limit: int) -> Quarantine:
        """Unpack the pack at a file's position into a quarantine's folder, checked by git.

        BadInput for objects that are damaged, missing or dangerous, TooLarge over `limit` bytes.
        """
        held = Quarantine(folder / "objects")
        checked = ("--stdin", "--fix-thin", "--strict", "--fsck-objects")
        command = [*self._sandboxed(folder), GIT, "index-pack", *checked]
        command.append(f"--max-input-size={max(1, limit)}")  # to git, 0 is no limit
        ended = run(command, self._env(held), self.settings.unpacking, pack)
        if ended.code != 0 or ended.stopped:
            raise unpack_error(ended, limit)
        return held

    def admit(self, held: Quarantine) -> None:
        """Move a quarantine's packs in, durably; a pack becomes visible with its index, last."""
        packs = self.folder / "objects" / "pack"
        files = sorted(held.objects.glob("pack/pack-*"), key=lambda path: path.suffix == ".idx")
        try:
            for file in files:
                file.rename(packs / file.name)
            sync_folder(packs)
        except OSError as error:
            raise Unavailable(f"The hub cannot store the push now: {error.strerror}.") from error
        self._admitted += 1

    def reader(self, held: Quarantine) -> Reader:
        """A reader of a quarantine's objects and the repository's; the caller closes it."""
        return Reader(lambda: self._start_reader(held))

    def patch_ids(self, held: Quarantine, pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
        """The stable patch id of each (commit, first parent or ""), where it has one.

        Empty when they take too long: a push does not depend on them.
        """
        differ = f"{GIT} diff-tree --stdin -p -r --root {' '.join(_PLAIN_DIFF)}"
        script = f"{differ} | {GIT} patch-id --stable"
        with file_of(f"{commit} {parent}".rstrip() for commit, parent in pairs) as stdin:
            ended = run(["/bin/sh", "-c", script], self._env(held), self.settings.reading, stdin)
        if ended.code != 0 or ended.stopped:
            return {}
        rows = (line.split(" ") for line in ended.out.decode("ascii", "replace").splitlines())
        return {row[1]: row[0] for row in rows if len(row) == 2}

    # ---- reading -------------------------------------------------------------------------------

    def info(self, names: Sequence[str]) -> list[Info | None]:
        """Kind and size of admitted objects, in order; None for one that is missing."""
        return self._reader.info(names)

    def commit_tree(self, commit: str) -> str:
        """The tree of a commit; Missing when there is no such commit."""
        return self._commit(commit).tree

    def message(self, commit: str) -> str:
        """A commit's message as its author wrote it; Missing when there is no such commit."""
        return self._commit(commit).message.decode("utf-8", "replace")

    def show(self, commit: str, path: str, limit: int) -> bytes:
        """One file of a commit; Missing, or TooLarge over `limit` bytes."""
        entry = self._entry(self.commit_tree(commit), path)
        if entry is None or entry.mode == TREE:
            what = "no file" if entry is None else "a folder, no file,"
            raise Missing(f"Commit {commit[:12]} has {what} at {shown(path)}.")
        return self._reader.read(entry.sha, "blob", limit)

    def listing(self, commit: str, path: str = "") -> list[Entry]:
        """The entries of a commit's folder; an empty path is the root. Missing if there is none."""
        tree = self.commit_tree(commit)
        entry = self._entry(tree, path) if path else Entry(TREE, b"", tree)
        if entry is None or entry.mode != TREE:
            raise Missing(f"Commit {commit[:12]} has no folder at {shown(path)}.")
        return list(parse_tree(self._reader.read(entry.sha, "tree", MAX_TREE)))

    def diff(
        self, old: str, new: str, path: str = "",
        *, shown_bytes: int = 262_144, blob_bytes: int = 1 << 20,
    ) -> Iterator[bytes]:  # fmt: skip
        """The diff of two commits as text, in pieces; too large files are named, not shown."""
        self._check_commit(old, new)
        _check_path(path)
        where = [f":(literal){path}"] if path else []
        large = self._too_large(old, new, where, blob_bytes)
        for name, sizes in large:
            line = clean_line(os.fsencode(name).decode(errors="replace"), 500)
            yield f"# {line}: {sizes} bytes, over {blob_bytes:,}; not shown\n".encode()
        where += [f":(exclude,literal){name}" for name, _ in large]  # git would read the whole
        command = [GIT, "diff-tree", "-p", "-r", *_PLAIN_DIFF, old, new, "--", *where]
        leash = replace(self.settings.reading, output=shown_bytes)
        with Child(command, self._env(), leash) as child:
            yield from child.chunks()
            ended = child.ended()
        if ended.stopped or ended.code != 0:
            yield ("\n" + CUT.format(seen=shown_bytes)).encode()

    def bundle(self, commit: str, haves: Sequence[str] = ()) -> Iterator[bytes]:
        """A bundle of a commit and its history, less what the fetcher has, in pieces.

        Unknown commits among `haves` are ignored.
        """
        self._check_commit(commit)
        haves = [have for have in haves[:HAVES] if is_hash(have)]
        infos = zip(haves, self.info(haves), strict=True)
        haves = [have for have, info in infos if info and info.kind == "commit"]
        edges = self._edges(commit, haves) if haves else []
        yield write_header([(commit, "HEAD")], edges)
        command = [GIT, "pack-objects", "--revs", "--stdout", "--thin", "--delta-base-offset", "-q"]
        with (
            file_of([commit, *(f"^{edge}" for edge in edges)]) as stdin,
            Child(command, self._env(), self.settings.sending, stdin) as child,
        ):
            yield from child.chunks()
            _check(child.ended(), "make the bundle")

    # ---- upkeep --------------------------------------------------------------------------------

    def tidy(self) -> None:
        """Start a repack in its own thread when one is due and none is running."""
        if self._admitted < self.settings.repack_every or self._repacking.locked():
            return
        self._admitted = 0
        if self.packs() >= self.settings.repack_every:
            made = threading.Thread(target=self._repack_or_log, name="hub-repack", daemon=True)
            self._repack_thread = made
            made.start()

    def repack(self) -> None:
        """Join small packs into larger ones; no object is dropped, and readers may go on."""
        with self._repacking, repack_lock(self.folder) as lock:
            if lock is None:
                return  # the repack of a killed process still runs
            command = [GIT, "repack", "--geometric=2", "-d", "-q", "-n", "--write-midx"]
            ended = run(command, self._env(), self.settings.repacking, inherit=(lock,))
        self._reader.close()  # the next one sees the new packs at once
        _check(ended, "repack the repository")

    def _repack_or_log(self) -> None:
        try:
            self.repack()
        except HubError as error:  # pushes go on; the next due repack retries
            logging.getLogger(__name__).warning("%s", error)

    def packs(self) -> int:
        """The number of packs."""
        return sum(name.endswith(".idx") for name in os.listdir(self.folder / "objects" / "pack"))  # noqa: PTH208

    def check(self) -> str:
        """What `git fsck` finds wrong with the packs and objects; empty when nothing."""
        command = [GIT, "fsck", "--full", "--strict", "--no-dangling", "--no-progress"]
        ended = run(command, self._env(), self.settings.repacking)
        return "" if ended.code == 0 else (ended.out.decode(errors="replace") + ended.errors)

    # ---- git -----------------------------------------------------------------------------------

    def child(
        self, arguments: Sequence[str], leash: Leash, stdin: int | IO[bytes], **env: str
    ) -> Child:
        """Start another git command on this repository, on a leash."""
        return Child([GIT, *arguments], {**self._env(), **env}, leash, stdin)

    def _env(self, held: Quarantine | None = None) -> dict[str, str]:
        """The environment of a git on this repository, which sees a quarantine's objects first."""
        if held is None:
            return clean_env(self.folder)
        own, pushed = str(self.folder / "objects"), str(held.objects)
        more = {"GIT_OBJECT_DIRECTORY": pushed, "GIT_ALTERNATE_OBJECT_DIRECTORIES": own}
        return clean_env(self.folder, **more)

    def _start_reader(self, held: Quarantine | None) -> Process:
        leash = self.settings.reading
        if held is None:  # it lives as long as the hub, so its CPU time is not limited
            leash = Leash(cpu=1 << 30, memory=self.settings.sending.memory)
        return start_answering([GIT, "cat-file", "--batch-command"], self._env(held), leash)

    def _sandboxed(self, folder: Path) -> list[str]:
        if self.settings.sandbox == "off":
            return []
        if sandbox_works(GIT):
            return sandboxed(GIT, readable=self.folder, writable=folder)
        if self.settings.sandbox == "auto":
            return []
        raise Unavailable(
            'The hub is set to unpack in a sandbox (sandbox = "on"), and bubblewrap does not '
            'work on this machine. Its operator can install it, or set "auto".'
        )

    def _check_commit(self, *names: str) -> None:
        for name, info in zip(names, self.info(names), strict=True):
            if info is None or info.kind != "commit":
                raise Missing(f"There is no commit {name} here.", hash=name)

    def _commit(self, name: str) -> Commit:
        self._check_commit(name)
        return parse_commit(self._reader.read(name, "commit", MAX_COMMIT))

    def _entry(self, tree: str, path: str) -> Entry | None:
        entry = Entry(TREE, b"", tree)
        for part in os.fsencode(path).split(b"/"):
            if entry.mode != TREE:
                return None
            inside = parse_tree(self._reader.read(entry.sha, "tree", MAX_TREE))
            found = next((entry for entry in inside if entry.name == part), None)
            if found is None:
                return None
            entry = found
        return entry

    def _edges(self, commit: str, haves: Sequence[str]) -> list[str]:
        """The commits of the fetcher on which the missing ones build."""
        with file_of([commit, *(f"^{have}" for have in haves)]) as stdin:
            command = [GIT, "rev-list", "--boundary", "--stdin"]
            ended = run(command, self._env(), self.settings.sending, stdin)
        _check(ended, "find what is new")
        lines = ended.out.decode().splitlines()
        edges = [line[1:] for line in lines if line.startswith("-")]
        return edges if len(edges) < len(lines) else [commit]

    def _too_large(
        self, old: str, new: str, where: Sequence[str], limit: int
    ) -> list[tuple[str, str]]:
        """Paths of a diff with too much text to compare, and the sizes before and after."""
        command = [GIT, "diff-tree", "-r", "-z", "--no-renames", old, new, "--", *where]
        ended = run(command, self._env(), self.settings.reading)
        _check(ended, "compare the commits")
        words, found = ended.out.split(b"\0"), []
        for row, name in zip(words[::2], words[1::2], strict=False):
            sides = [side for side in row.decode().split(" ")[2:4] if side.strip("0")]
            sizes = [info.size for info in self.info(sides) if info and info.kind == "blob"]
            if max(sizes, default=0) > limit:
                found.append((os.fsdecode(name), " -> ".join(f"{size:,}" for size in sizes)))
        return found


def unpack_error(ended: Ended, limit: int) -> HubError:
    """The error for a pack of at most `limit` bytes that git did not unpack; names no folder."""
    lines = [line for line in ended.errors.splitlines() if line.startswith(("fatal", "error"))]
    reason = _OUR_PATH.sub("(a path here)", clean_line(lines[0] if lines else ended.errors, 300))
    reason = reason or f"it ended with {ended.code}"
    if "No space left" in ended.errors or "unable to create temporary" in ended.errors:
        return Unavailable("The hub's disk is full. Try again later.")
    if "maximum allowed size" in ended.errors:
        return TooLarge(f"The pack has over {limit:,} bytes; push fewer commits at once.")
    if ended.starved:
        return TooLarge(
            "Unpacking the push took more time, memory or disk than any honest one needs. Push "
            "fewer commits at once, and no large files."
        )
    return BadInput(f"git refuses the pack: {reason}. Check your repository with `git fsck`.")


def _check(ended: Ended, what: str) -> None:
    """Unavailable when git failed. Its words name our folders, so they go to the log alone."""
    if ended.code != 0 or ended.stopped:
        why = ended.stopped or ended.code
        errors = clean_line(ended.errors, 500)
        logging.getLogger(__name__).warning("git could not %s (%s): %s", what, why, errors)
        raise Unavailable(
            f"git could not {what} ({why}); the hub's log says more. Try again later."
        )


def _check_path(path: str) -> None:
    """BadInput for a path that no commit can have."""
    if "\0" in path:
        raise BadInput(f"{shown(path)} has a NUL character, and no path has one.")
    if path.startswith("/") or ".." in path.split("/"):
        raise BadInput(
            f"{shown(path)} is no path in a commit: these begin at its root, without a slash in "
            "front and without `..`, as train.py or lib/model.py."
        )


@functools.cache
def _check_version() -> None:
    ended = run([GIT, "version"], clean_env(), Leash(seconds=20))
    words = ended.out.decode(errors="replace").split()
    parts = words[2].split(".")[:2] if len(words) > 2 else []
    numbers = [int(part) for part in parts if part.isdigit()]
    if ended.code != 0 or tuple(numbers) < OLDEST:
        seen = " ".join(words) or "no git on PATH"
        raise Unavailable(f"The hub needs git {OLDEST[0]}.{OLDEST[1]} or newer, and found: {seen}.")
