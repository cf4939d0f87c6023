"""The rules of a push: examine its objects before they are admitted.

Only new commits are walked, and each tree once. Sizes are added up on the way, so that a tree with
a billion files is refused after the first few thousand.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from agenthub.errors import BadInput, Forbidden, TooLarge
from agenthub.git.objects import (
    FILE,
    MAX_COMMIT,
    MAX_TREE,
    PROGRAM,
    TREE,
    Commit,
    Entry,
    Info,
    Reader,
    parse_commit,
    parse_tree,
)
from agenthub.validation import clean_line, shown

Known = Callable[[Collection[str]], set[str]]
Stored = Callable[[Sequence[str]], list[Info | None]]

_SUBJECT = 500  # characters
_HEADERS = 16_384  # bytes of a commit beside its message: signatures, many parents
_ODD = {"120000": "a symbolic link", "160000": "a submodule"}
_BARE = {b"head", b"objects", b"refs"}  # a folder with these is a repository to git


@dataclass(frozen=True)
class PushLimits:
    """How much one push, one commit and one file may have."""

    bundle_bytes: int = 5_000_000
    objects: int = 5_000  # of a push, that the hub lacks
    pack_objects: int = 50_000  # of a pack, known ones too: some clients always send all history
    commits: int = 1_000  # new ones, of a push
    parents: int = 16  # of a commit
    blob_bytes: int = 1_000_000
    tree_entries: int = 2_000  # files and folders of a commit, in all
    tree_bytes: int = 50_000_000  # of all files of a commit, as checked out
    depth: int = 12  # folders in folders
    message_bytes: int = 8_192
    path_bytes: int = 512
    walked_bytes: int = 32 << 20  # of all folders of a push


@dataclass(frozen=True)
class Protected:
    """Files that commits may not change, or are flagged for changing: the evaluation, say."""

    paths: tuple[str, ...] = ()
    refuse: bool = True  # or flag
    root: str = ""  # commit to compare with; empty: each commit's first parent


@dataclass(frozen=True)
class NewCommit:
    """A new commit of a push, as the index stores it."""

    sha: str  # 40 lower-case hex digits
    tree: str
    parents: tuple[str, ...]
    subject: str  # first line, at most 500 characters, cleaned
    author: str  # as written in the commit: unproven, for show
    author_time: int  # seconds since the epoch
    patch_id: str = ""  # of the diff to the first parent, "" for none
    flags: tuple[str, ...] = ()  # "protected:PATH"


@dataclass(frozen=True)
class Examined:
    """What an acceptable push holds."""

    new: tuple[NewCommit, ...]  # parents first
    text_bytes: int  # of all files it brings


def examine(
    reader: Reader,
    names: Collection[str],
    heads: Sequence[str],
    known: Known,
    stored: Stored,
    limits: PushLimits,
    protected: Protected,
) -> Examined:
    """Examine the objects `names` of a push; HubError says what is wrong with it.

    `known` returns which commits the index has, `stored` what the repository has already.
    """
    infos = _sized(reader, names, stored, limits)
    found = [name for name, info in infos.items() if info.kind == "commit"]
    new = _new_commits(reader, found, heads, infos, known, limits)
    trees = _Trees(reader, limits)
    for sha, commit in new.items():
        _check_commit(sha, commit, limits)
        trees.check(sha, commit.tree)
    extra = sorted(set(infos) - trees.seen - set(new))
    lost = sum(info is None for info in stored(extra))
    if lost:
        raise BadInput(
            f"The pack holds {lost:,} objects that no new commit of it needs, and only whole "
            "commits are stored. Make it with `git bundle create` or `git push`."
        )
    rows = [_row(sha, commit, trees.touched(commit, protected)) for sha, commit in new.items()]
    _check_protected(rows, protected)
    return Examined(tuple(rows), sum(i.size for i in infos.values() if i.kind == "blob"))


# ---- sizes and commits -------------------------------------------------------------------------


def _sized(
    reader: Reader, names: Collection[str], stored: Stored, limits: PushLimits
) -> dict[str, Info]:
    """Kind and size of each object; TooLarge for too many new ones, or a large file."""
    ordered = sorted(names)
    fresh = len(ordered)
    if fresh > limits.objects:
        fresh = sum(info is None for info in stored(ordered))
    if fresh > limits.objects:
        raise TooLarge(
            f"The push has {fresh:,} new objects; at most {limits.objects:,} are allowed. Push "
            "an older commit first."
        )
    sized = zip(ordered, reader.info(ordered), strict=True)
    infos = {name: info for name, info in sized if info is not None}
    largest = max((i.size for i in infos.values() if i.kind == "blob"), default=0)
    if largest > limits.blob_bytes:
        raise TooLarge(
            f"The push has a file of {largest:,} bytes; at most {limits.blob_bytes:,} are allowed. "
            "Leave data and checkpoints out of the commit (.gitignore)."
        )
    return infos


def _new_commits(
    reader: Reader,
    found: Sequence[str],
    heads: Sequence[str],
    infos: Mapping[str, Info],
    known: Known,
    limits: PushLimits,
) -> dict[str, Commit]:
    """The commits that the index lacks, parents first; each parent is among them or known."""
    have = known({*found, *heads})
    for head in heads:
        if head not in have:
            _check_head(head, infos.get(head))
    fresh = [name for name in found if name not in have]
    if len(fresh) > limits.commits:
        raise TooLarge(
            f"The push has {len(fresh):,} new commits; at most {limits.commits:,} are allowed at "
            "once. Push an older commit first."
        )
    size = limits.message_bytes + _HEADERS
    read = map(parse_commit, reader.read_all(fresh, "commit", size))
    commits = dict(zip(fresh, read, strict=True))
    above = {parent for commit in commits.values() for parent in commit.parents} - set(commits)
    if unknown := above - known(above):
        raise BadInput(
            f"Parent {min(unknown)} of a pushed commit is not on this hub. Push it as well: make "
            "the bundle with more history.",
            hash=min(unknown),
        )
    return _parents_first([head for head in heads if head in commits], commits)


def _check_head(head: str, info: Info | None) -> None:
    if info is None:
        raise BadInput(
            f"The push names {head} as a head and does not hold it, nor does the hub know it. "
            "Push it again from a repository that has it.",
            hash=head,
        )
    if info.kind != "commit":
        raise BadInput(
            f"Head {head} is a {info.kind}; only commits can be pushed. Push the commit itself, "
            "for example `git bundle create FILE HEAD`.",
            hash=head,
        )


def _parents_first(heads: Iterable[str], commits: Mapping[str, Commit]) -> dict[str, Commit]:
    """The commits that heads reach, each after all its parents."""
    done: dict[str, Commit] = {}
    for head in heads:
        stack = [(head, iter(commits[head].parents))]
        while stack:
            name, parents = stack[-1]
            parent = next((p for p in parents if p in commits and p not in done), None)
            if parent is None:
                done[name] = commits[name]
                stack.pop()
            else:
                stack.append((parent, iter(commits[parent].parents)))
    return done


def _check_commit(sha: str, commit: Commit, limits: PushLimits) -> None:
    if len(commit.message) > limits.message_bytes:
        raise TooLarge(
            f"The message of commit {sha[:12]} has {len(commit.message):,} bytes; at most "
            f"{limits.message_bytes:,} are allowed. Shorten it with `git commit --amend`.",
            hash=sha,
        )
    if len(commit.parents) > limits.parents:
        raise TooLarge(
            f"Commit {sha[:12]} has {len(commit.parents)} parents; at most {limits.parents} are "
            "allowed. Merge in steps.",
            hash=sha,
        )


def _row(sha: str, commit: Commit, touched: tuple[str, ...]) -> NewCommit:
    text = commit.message.decode(errors="replace").lstrip("\n")
    return NewCommit(
        sha,
        commit.tree,
        commit.parents,
        clean_line(text.partition("\n")[0], _SUBJECT),
        clean_line(commit.author.decode(errors="replace"), 200),
        commit.author_time,
        flags=tuple(f"protected:{path}" for path in touched),
    )


def _check_protected(rows: Iterable[NewCommit], protected: Protected) -> None:
    touched = next((row for row in rows if row.flags), None)
    if protected.refuse and touched is not None:
        paths = [flag.partition(":")[2] for flag in touched.flags]
        base = protected.root[:12] or "its parent"
        raise Forbidden(
            f"Commit {touched.sha[:12]} changes {', '.join(paths)}, which this project protects: "
            f"it must be as in {base}. Commit it so, which leaves your copy in the folder: "
            f"git restore --staged --source={base} -- PATH && git commit --amend",
            hash=touched.sha,
            paths=paths,
        )


# ---- trees -------------------------------------------------------------------------------------


class _Trees:
    """Checks the folders of commits, each once."""

    def __init__(self, reader: Reader, limits: PushLimits) -> None:
        self._reader = reader
        self._limits = limits
        self._left = limits.walked_bytes
        self._measured: dict[str, _Measure] = {}
        self._sizes: dict[str, int] = {}  # of files
        self.seen: set[str] = set()  # all folders and files on the way

    def check(self, sha: str, tree: str) -> None:
        """HubError when something in a commit's files is not allowed."""
        try:
            self._measure(tree, 1)
        except (BadInput, TooLarge) as error:
            raise type(error)(f"Commit {sha[:12]}: {error.message}", hash=sha) from error

    def touched(self, commit: Commit, protected: Protected) -> tuple[str, ...]:
        """The protected paths that a commit has changed."""
        base = protected.root or next(iter(commit.parents), "")
        if not protected.paths or not base:
            return ()
        tree = parse_commit(self._reader.read(base, "commit", MAX_COMMIT)).tree
        if tree == commit.tree:
            return ()
        paths = ((path, path.strip("/").split("/")) for path in protected.paths)
        return tuple(
            path for path, parts in paths if self._at(tree, parts) != self._at(commit.tree, parts)
        )

    def _at(self, tree: str, parts: Sequence[str]) -> set[tuple[bytes, str, str]]:
        """The entries at a path, and at paths that some file systems take for the same."""
        wanted = _folded(parts[0].encode())
        met = [entry for entry in self._read(tree) if _folded(entry.name) == wanted]
        if len(parts) == 1:
            return {(entry.name, entry.mode, entry.sha) for entry in met}
        inner = [self._at(entry.sha, parts[1:]) for entry in met if entry.mode == TREE]
        return {(e.name, e.mode, "") for e in met}.union(*inner)

    def _measure(self, tree: str, level: int) -> _Measure:
        if known := self._measured.get(tree):
            return known
        if level > self._limits.depth:
            raise TooLarge(
                f"its folders are over {self._limits.depth} deep; at most {self._limits.depth} "
                "are allowed. Flatten them."
            )
        whole, names, entries = _Measure(0, 0, 1, 0), set(), self._read(tree)
        for entry in entries:
            _check_entry(entry)
        self._look_up(entry.sha for entry in entries if entry.mode != TREE)
        for entry in entries:
            self.seen.add(entry.sha)
            names.add(entry.name.lower())
            if entry.mode == TREE:
                inner = self._measure(entry.sha, level + 1)
            else:
                inner = _Measure(0, self._sizes[entry.sha], 0, 0)
            whole = whole.with_one(inner, len(entry.name))
            self._check(whole)
        if names >= _BARE:
            raise BadInput(
                "a folder of it has HEAD, objects and refs, so git takes it for a repository; "
                "rename one of them."
            )
        self.seen.add(tree)
        self._measured[tree] = whole
        return whole

    def _check(self, whole: _Measure) -> None:
        limits = self._limits
        for seen, limit, what in (
            (whole.entries, limits.tree_entries, "files and folders"),
            (whole.size, limits.tree_bytes, "bytes in all its files"),
            (whole.height, limits.depth, "folders in folders"),
            (whole.path, limits.path_bytes, "bytes in the name of a path"),
        ):
            if seen > limit:
                raise TooLarge(
                    f"it has {seen:,} {what} or more; at most {limit:,} are allowed. Leave data "
                    "and build results out of the commit (.gitignore)."
                )

    def _look_up(self, blobs: Iterable[str]) -> None:
        """Look up the sizes of files."""
        unknown = sorted({blob for blob in blobs if blob not in self._sizes})
        for blob, info in zip(unknown, self._reader.info(unknown), strict=True):
            self._sizes[blob] = info.size if info else 0

    def _read(self, tree: str) -> list[Entry]:
        raw = self._reader.read(tree, "tree", MAX_TREE)
        self._left -= len(raw)
        if self._left < 0:
            raise TooLarge("the push has too many folders to be read; push fewer commits at once.")
        return list(parse_tree(raw))


@dataclass(frozen=True)
class _Measure:
    """The totals of a folder."""

    entries: int  # in all
    size: int  # bytes of all files
    height: int  # folders, itself included
    path: int  # bytes of the longest path in it

    def with_one(self, inner: _Measure, name: int) -> _Measure:
        """These totals with one more entry."""
        longest = name + (1 + inner.path if inner.path else 0)
        height = max(self.height, 1 + inner.height)
        entries, size = self.entries + 1 + inner.entries, self.size + inner.size
        return _Measure(entries, size, height, max(self.path, longest))


def _check_entry(entry: Entry) -> None:
    if entry.mode not in (TREE, FILE, PROGRAM):
        what = _ODD.get(entry.mode, f"an entry of mode {entry.mode}")
        raise BadInput(
            f"{_name(entry)} is {what}; only files and folders are allowed. Put a plain file there."
        )
    try:
        text = entry.name.decode()
    except UnicodeDecodeError:
        raise BadInput(f"the name {_name(entry)} is not UTF-8; rename it.") from None
    odd = any(unicodedata.category(sign) in ("Cc", "Cf", "Cn", "Zl", "Zp") for sign in text)
    if odd or "\\" in text or "/" in text or text.startswith("-") or text in ("", ".", ".."):
        raise BadInput(
            f"the name {_name(entry)} begins with `-`, or has a backslash, a control character or "
            "an invisible one; rename it."
        )
    if text.lower().rstrip(". ") in (".git", "git~1"):
        raise BadInput(f"{_name(entry)} would be taken for git's own folder; rename it.")
    if text.lower() == ".gitmodules":
        raise BadInput(
            "it has a .gitmodules; submodules are not allowed. Push a commit without it."
        )


def _name(entry: Entry) -> str:
    return shown(entry.name.decode(errors="replace"))


def _folded(name: bytes) -> str:
    text = unicodedata.normalize("NFC", name.decode(errors="surrogateescape"))
    return unicodedata.normalize("NFC", text.casefold())
