"""The git repository of a hub's user: bundles are made from it and taken into it.

Only git's plumbing for objects is used: no work tree, no hook, no filter, and none of the user's
configuration. git checks what comes from a hub before it stores it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import IO

from agenthub.client.hub_client import HubClient, Json, as_list
from agenthub.errors import BadInput, GitError, TooLarge
from agenthub.git.bundle import read_header, read_object_count, write_header
from agenthub.git.subprocesses import clean_git
from agenthub.validation import check_hash, clean_line, is_hash, shown

FIRST, MOST = 64, 1_000  # commits of the first request whether a hub has them, and of any
HAVES = 256  # commits that a hub may leave out of a bundle
SLICE = 1_000  # commits of one push
MOST_INPUT = 4 << 30  # bytes of a pack that is taken in


@dataclass(frozen=True)
class Local:
    """A git repository on this machine."""

    git_dir: Path

    @classmethod
    def discover(cls, folder: Path) -> Local:
        """The repository around a folder; GitError when there is none, or one of SHA-256."""
        ended = _spawn(["rev-parse", "--absolute-git-dir", "--show-object-format"], folder)
        if ended.returncode != 0:
            raise GitError(
                f"{folder} is not in a git repository that can be used: {_reason(ended)}. Go to "
                "your project, or make one with `git init`."
            )
        place, objects = os.fsdecode(ended.stdout).split("\n")[:2]
        if objects != "sha1":
            raise GitError(
                f"{place} is a repository with {objects} hashes, and hubs keep SHA-1 history. "
                "Make one with `git init --object-format=sha1`."
            )
        return cls(Path(place))

    def resolve(self, revision: str) -> str:
        """The commit of a revision; BadInput when there is none."""
        words = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"]
        found = self._try(words).decode().strip() if revision.isprintable() else ""
        if is_hash(found):
            return found
        if revision == "HEAD":
            raise BadInput("There is no commit here yet. Make one: git commit -m '...'")
        raise BadInput(f"{shown(revision)} is no commit of this repository. See `git log`.")

    def tree(self, commit: str) -> str:
        """The tree of a commit: commits with equal trees have equal files."""
        named = f"{check_hash(commit)}^{{tree}}"
        return self._run(["rev-parse", "--verify", named]).decode().strip()

    def patch_id(self, commit: str) -> str:
        """The id of a commit's change to its first parent, as hubs compute it; empty if none."""
        named = f"{check_hash(commit)}^1"
        parent = self._try(["rev-parse", "--verify", "--quiet", named]).decode().split()
        plain = ["--no-ext-diff", "--no-textconv", "--no-renames", "--no-color", "--full-index"]
        pair = [*parent, commit]
        diff = self._run(["diff-tree", "-p", "-r", "--root", *plain, *pair])
        return self._run(["patch-id", "--stable"], stdin=diff).decode()[:40]

    # ---- towards a hub -------------------------------------------------------------------------

    def known(self, tip: str, haves: Callable[[Sequence[str]], Collection[str]]) -> set[str]:
        """Commits of a tip's history that a hub has; it lacks all others but their ancestors.

        `haves` returns those of some hashes that the hub has. A hub that has a commit has its
        parents, so that a hub without any of the root commits has nothing.
        """
        roots = self._list(["rev-list", "--max-parents=0", tip])[:MOST]
        known: set[str] = set()
        checked: set[str] = set()
        size = FIRST
        while rest := [each for each in reversed(self.lacking(tip, known)) if each not in checked]:
            batch = [*rest[:size], *(roots if not checked else ())]
            checked.update(batch)
            known.update(haves(batch))
            if known.isdisjoint(roots):
                return known
            size = min(MOST, 2 * size)
        return known

    def lacking(self, tip: str, known: Collection[str]) -> list[str]:
        """A commit and its ancestors without the known ones and their ancestors; parents first."""
        revisions = _lines([tip, *(f"^{commit}" for commit in known)])
        return self._list(["rev-list", "--topo-order", "--reverse", "--stdin"], revisions)

    def write_bundle(self, tip: str, known: Collection[str], target: Path) -> None:
        """Write a bundle of a commit and its history, without what is known, to a new file."""
        revisions = _lines([tip, *(f"^{commit}" for commit in sorted(known))])
        walked = self._list(["rev-list", "--boundary", "--stdin"], revisions)
        bounds = [line[1:] for line in walked if line.startswith("-")]
        with target.open("wb") as file:
            file.write(write_header([(tip, "HEAD")], bounds))
            file.flush()
            packing = ["pack-objects", "--revs", "--stdout", "--thin", "--delta-base-offset", "-q"]
            self._run(packing, stdin=revisions, stdout=file)

    # ---- from a hub ----------------------------------------------------------------------------

    def haves(self) -> list[str]:
        """Some of the newest commits of this repository, which a hub may leave out of a bundle.

        Empty in a shallow or partial clone, which may lack objects of a commit that it has.
        """
        shallow = self._try(["rev-parse", "--is-shallow-repository"]).strip() == b"true"
        if shallow or self._try(["config", "--get-regexp", r"^remote\..*\.promisor$"]):
            return []
        newest = ["rev-list", "--date-order", f"--max-count={HAVES}", "--all", "--ignore-missing"]
        head = self._try(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).decode().split()
        return self._list([*newest, *head])

    def holds(self, commit: str) -> bool:
        """Whether a commit is here with all its objects and history."""
        whole = ["rev-list", "--objects", "--quiet", check_hash(commit), "--not", "--all"]
        return not self._missing([commit]) and self._spawned(whole).returncode == 0

    def take(self, bundle: Path, want: str) -> None:
        """Store a bundle's objects, checked by git; BadInput if the wanted commit is not in it."""
        with bundle.open("rb", buffering=0) as raw, open(raw.fileno(), "rb", closefd=False) as file:
            header = read_header(file)
            if want not in header.heads:
                raise BadInput(f"The hub sent {header.heads[0]}, and {want} was requested.")
            lacking = self._missing(header.prerequisites)
            if lacking:
                raise BadInput(
                    f"The hub's bundle builds on {lacking[0]}, which is not here. Fetch that first."
                )
            if read_object_count(file):
                raw.seek(header.size)
                checked = ["--stdin", "--fix-thin", "--strict", "--fsck-objects"]
                self._run(["index-pack", *checked, f"--max-input-size={MOST_INPUT}"], stdin=raw)
        if self._missing([want]):
            raise BadInput(f"The hub's bundle names {want} and does not contain it.")

    def create_ref(self, name: str, commit: str) -> str:
        """Make a branch, or any ref, at a commit; its full name. An existing ref is never moved."""
        whole = name if name.startswith("refs/") else f"refs/heads/{name}"
        if name.startswith("-") or self._spawned(["check-ref-format", whole]).returncode != 0:
            raise BadInput(f"{shown(name)} cannot be a ref. Try one like `hub/best`.")
        there = self._try(["rev-parse", "--verify", "--quiet", whole]).decode().strip()
        if there and there != commit:
            raise BadInput(f"{whole} is there already, at {there[:12]}. Choose another name.")
        if not there:
            self._run(["update-ref", "--no-deref", whole, check_hash(commit), "0" * 40])
        return whole

    # ---- inside --------------------------------------------------------------------------------

    def _missing(self, commits: Iterable[str]) -> list[str]:
        hashes = [check_hash(commit) for commit in commits]
        kinds = self._list(["cat-file", "--batch-check=%(objecttype)"], _lines(hashes))
        return [commit for commit, kind in zip(hashes, kinds, strict=True) if kind != "commit"]

    def _list(self, args: Sequence[str], stdin: bytes = b"") -> list[str]:
        return self._run(args, stdin=stdin).decode().splitlines()

    def _run(
        self, args: Sequence[str], stdin: bytes | IO[bytes] = b"", stdout: IO[bytes] | None = None
    ) -> bytes:
        ended = self._spawned(args, stdin, stdout)
        if ended.returncode != 0:
            raise GitError(f"git {args[0]} failed in {self.git_dir}: {_reason(ended)}")
        return ended.stdout or b""

    def _try(self, args: Sequence[str]) -> bytes:
        ended = self._spawned(args)
        return ended.stdout if ended.returncode == 0 else b""

    def _spawned(
        self, args: Sequence[str], stdin: bytes | IO[bytes] = b"", stdout: IO[bytes] | None = None
    ) -> CompletedProcess[bytes]:
        return _spawn(args, self.git_dir, self.git_dir, stdin, stdout)


def send(
    local: Local,
    client: HubClient,
    tip: str,
    role: str = "frontier",
    on_slice: Callable[[int], None] = lambda _: None,
) -> Json:
    """Push a commit and all below it that the hub lacks: `{"heads", "new"}`.

    A long history is sent in slices; one that is too large is halved. `on_slice` gets the number
    of commits that are left. The hub keeps the slices of a push that failed, so that the next one
    goes on from there.
    """
    known = local.known(tip, client.haves)
    size, new = SLICE, []
    while True:
        rest = local.lacking(tip, known)
        upto = tip if len(rest) <= size else rest[size - 1]
        if len(rest) > size:
            on_slice(len(rest))
        try:
            with tempfile.TemporaryDirectory(prefix="autoresearch-push-") as scratch:
                bundle = Path(scratch) / "bundle"
                local.write_bundle(upto, known, bundle)
                answer = client.push(bundle, role)
        except TooLarge:
            size = min(size, len(rest)) // 2
            if not size:
                raise  # one commit alone is too large
            continue
        new += as_list(answer.get("new"))
        if upto == tip:
            return {**answer, "new": new}
        known = {*known, upto}


def _spawn(
    args: Sequence[str],
    folder: Path,
    git_dir: Path | None = None,
    stdin: bytes | IO[bytes] = b"",
    stdout: IO[bytes] | None = None,
) -> CompletedProcess[bytes]:
    try:
        return clean_git(args, folder, git_dir, stdin, stdout)
    except FileNotFoundError as error:
        raise GitError("git was not found on PATH. Install it, 2.34 or newer.") from error


def _lines(words: Iterable[str]) -> bytes:
    return "".join(f"{word}\n" for word in words).encode()


def _reason(ended: CompletedProcess[bytes]) -> str:
    words = ended.stderr.decode(errors="replace").strip()
    return clean_line(words, 400) or f"exit {ended.returncode}"
