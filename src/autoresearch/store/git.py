"""The only file that calls git: plumbing on objects and refs, never a command on a work tree."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import subprocess
import tempfile
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from autoresearch.errors import BranchMoved, GitError
from autoresearch.files import read_regular, remove_tree

OLDEST = (2, 34)  # version that is asked for
_REGULAR = ("100644", "100755")
_LINK = "120000"
_TREE = "40000"
_SUBMODULE = "160000"
_TREES = 64  # trees that are remembered
_SCRATCH = "autoresearch-scratch-"  # folders in the repository's own, for one command each

# Nothing that the user or a candidate configured may run: no hooks, no filters, no signing, no gc,
# and no fetching of what a partial clone lacks (GIT_ALLOW_PROTOCOL).
_CONFIG = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.fsync=all",
    "commit.gpgsign=false",
    "core.splitIndex=false",
    "gc.auto=0",
    "i18n.commitEncoding=UTF-8",
    "safe.directory=*",
)
# Variables that name another repository, index or place than the one that is meant.
_ELSEWHERE = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR",
    "GIT_PREFIX", "GIT_NAMESPACE", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
)  # fmt: skip
_IDENTITY = {
    "GIT_AUTHOR_NAME": "AutoResearch",
    "GIT_AUTHOR_EMAIL": "autoresearch@localhost",
    "GIT_COMMITTER_NAME": "AutoResearch",
    "GIT_COMMITTER_EMAIL": "autoresearch@localhost",
}


@dataclass(frozen=True)
class Entry:
    """One file of a tree."""

    path: str  # from the repository's root, with forward slashes
    mode: str  # six octal digits, as git writes them
    blob: str


@dataclass(frozen=True)
class FileChange:
    """A file of the lab that is not as a commit has it."""

    path: str  # from the lab
    how: str  # in words


class Git:
    """One repository, and the folder in it that holds the lab."""

    def __init__(self, git_dir: Path, root: Path, prefix: str) -> None:
        self.git_dir = git_dir
        self.root = root  # top of the work tree
        self.prefix = prefix  # the lab's path below the root, "" or ending in "/"
        self._objects = _ObjectReader(git_dir, root)

    @classmethod
    def discover(cls, folder: Path) -> Git:
        """The repository around a folder; GitError when there is none."""
        asked = ("--absolute-git-dir", "--show-toplevel", "--show-prefix")
        ended = _spawn(["rev-parse", *asked], folder, b"", {})
        if ended.returncode != 0:
            raise GitError(_no_repository(folder, _message(ended)))
        git_dir, root, prefix = os.fsdecode(ended.stdout).split("\n")[:3]
        return cls(Path(git_dir), Path(root), prefix)

    # ---- objects -------------------------------------------------------------------------------

    def resolve(self, revision: str) -> str | None:
        """The full commit hash of a revision, or None."""
        found = self._objects.find(f"{revision}^{{commit}}")
        return found.name if found else None

    def tree(self, commit: str) -> str:
        """The tree hash of a commit: equal trees are equal files."""
        return self._object(f"{commit}^{{tree}}").name

    def lab_tree(self, commit: str) -> str:
        """The tree hash of the lab's own folder in a commit."""
        return self._object(f"{commit}:{self.prefix.rstrip('/')}").name

    def parents(self, commit: str) -> tuple[str, ...]:
        """The parent hashes of a commit."""
        return tuple(self._run("rev-parse", f"{commit}^@").decode().split())

    def entries(self, commit: str, prefix: str = "") -> tuple[Entry, ...]:
        """All files of a commit below a prefix; submodules are left out."""
        root = self._object(f"{commit}^{{tree}}").name
        return tuple(
            Entry(path, mode, name)
            for path, mode, name in self._walk(root)
            if mode != _SUBMODULE and path.startswith(prefix)
        )

    def listed(self, commit: str, paths: Sequence[str]) -> dict[str, tuple[str, int]]:
        """The mode and size in bytes of some files of a commit; nothing else of it is looked at."""
        out = self._run("ls-tree", "-l", "-z", "--full-tree", commit, "--", *paths)
        rows = (line.partition("\t") for line in os.fsdecode(out).split("\0") if line)
        found = ((path, words.split()) for words, _, path in rows)
        return {path: (mode, int(size)) for path, (mode, kind, _, size) in found if kind == "blob"}

    def read(self, commit: str, path: str) -> bytes:
        """One file of a commit, path from the repository's root."""
        return self._object(f"{commit}:{path}", "blob").content

    def export(self, commit: str, folder: Path) -> frozenset[str]:
        """Write a commit's files into a folder; their paths.

        Bytes as committed, no filter, no link that leads out.
        """
        entries = self.entries(commit)
        for entry, content in zip(entries, self._blobs(entries), strict=True):
            target = folder / _plain(entry.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            if entry.mode == _LINK:
                target.symlink_to(_inside(entry.path, os.fsdecode(content)))
            else:
                target.write_bytes(content)
                target.chmod(0o755 if entry.mode == "100755" else 0o644)
        return frozenset(entry.path for entry in entries)

    def commit(self, parent: str, files: Mapping[str, bytes], message: str) -> str:
        """A commit of the parent's tree with some files' contents replaced, and nothing else.

        Three processes of git, however many files: the blobs, the trees above them, the commit.
        """
        root = self._object(f"{parent}^{{tree}}").name
        tree = self._write_trees(root, self._write_blobs(files)) if files else root
        made = self._run("commit-tree", tree, "-p", parent, "-F", "-", stdin=message.encode())
        return made.decode().strip()

    def diff(self, old: str, new: str, paths: Sequence[str]) -> str:
        """The unified diff of some paths between two commits, as plain text."""
        options = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-renames")
        out = self._run("diff-tree", "-p", *options, old, new, "--", *paths)
        return out.decode(errors="replace")

    def without(self, change: str, now: str, path: str) -> bytes | None:
        """A file of the commit `now` less what the commit `change` did to it.

        None if later changes overlap, or the file is no text.
        """
        return self._merged(*(self.read(commit, path) for commit in (now, change, f"{change}^")))

    def carried(self, content: bytes, base: str, onto: str, path: str) -> bytes | None:
        """A file that was edited from the commit `base`, with the same edit made in `onto`.

        None where the two touch the same lines, or the file is no text.
        """
        return self._merged(self.read(onto, path), self.read(base, path), content)

    # ---- exchange with others ------------------------------------------------------------------

    def plant(self, tree: str, parents: Sequence[str], message: str, at: int) -> str:
        """A commit of a tree; the same arguments give the same hash."""
        dates = {f"GIT_{who}_DATE": f"@{at} +0000" for who in ("AUTHOR", "COMMITTER")}
        above = [word for parent in parents for word in ("-p", parent)]
        out = self._run("commit-tree", tree, *above, "-F", "-", stdin=message.encode(), env=dates)
        return out.decode().strip()

    def pack(self, commit: str, without: Sequence[str] = ()) -> bytes:
        """A commit and all below it as a pack, less what others have already."""
        asked = "".join(f"{name}\n" for name in (commit, *(f"^{name}" for name in without)))
        options = ("--revs", "--stdout", "--thin", "--delta-base-offset", "-q")
        return self._run("pack-objects", *options, stdin=asked.encode())

    def take_pack(self, pack: bytes) -> None:
        """Take a foreign pack in, if it is whole and harmless; GitError, and nothing of it is."""
        options = ("--stdin", "--fix-thin", "--strict", "--fsck-objects")
        self._run("index-pack", *options, f"--max-input-size={len(pack) + 1}", stdin=pack)

    def patch_id(self, old: str, new: str) -> str:
        """What was changed between two trees, as a hash that knows no line numbers; or ""."""
        options = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--full-index")
        diff = self._run("diff-tree", "-p", "-r", *options, old, new)
        return self._run("patch-id", "--stable", stdin=diff).decode().partition(" ")[0]

    # ---- refs ----------------------------------------------------------------------------------

    def ref(self, name: str) -> str | None:
        """Where a ref stands, or None."""
        return self.resolve(name)

    def create_ref(self, name: str, commit: str) -> None:
        """Make a ref; pinning the same commit twice is fine, another one is an error."""
        if self.ref(name) != commit:
            self._run("update-ref", "--no-deref", name, commit, "0" * len(commit))

    def set_ref(self, name: str, commit: str) -> None:
        """Make a ref point at a commit, wherever it pointed before."""
        self._run("update-ref", "--no-deref", name, commit)

    def move_ref(self, name: str, new: str, old: str) -> None:
        """Compare-and-swap: move a ref only from where it is known to stand."""
        try:
            self._run("update-ref", "--no-deref", name, new, old)
        except GitError as error:
            if self.ref(name) == old:
                raise  # a lock in the way, a full disk: nobody moved it
            there = self.ref(name)
            back = f"git update-ref {name} {old}"
            if there is not None:
                aside = f"{name.rpartition('/')[2]}-{there[:7]}"
                back = f"git branch {aside} {there} && {back} {there}"
            raise BranchMoved(
                f"{name} is at {there}, and the ledger left it at {old}: somebody moved it. To go "
                f"on, name what is there, so that it stays, and put the branch back: {back}. Or "
                "start a new study from where it is now: autoresearch run --tag NEW"
            ) from error

    def exists(self, name: str) -> bool:
        """Whether there is a ref, whatever it holds."""
        return self._objects.find(name) is not None

    def note(self, name: str) -> bytes | None:
        """The content that a ref holds, where that is no commit; None without the ref."""
        found = self._objects.find(name)
        return found.content if found and found.kind == "blob" else None

    def set_note(self, name: str, content: bytes, old: bytes | None) -> bool:
        """Let a ref hold a content, if it still holds the old one; None: if there is none yet."""
        made = self._run("hash-object", "-w", "--stdin", stdin=content).decode().strip()
        before = "0" * len(made) if old is None else _hash_object("blob", old, made)
        if self._try("update-ref", "--no-deref", name, made, before) is not None:
            return True
        if self.note(name) == old:  # nobody was quicker: a lock in the way, a full disk
            self._run("update-ref", "--no-deref", name, made, before)
        return self.note(name) == content

    def holders(self, name: str) -> list[Path]:
        """The work trees that have a branch checked out, or are in a rebase or bisection of it."""
        out = os.fsdecode(self._run("worktree", "list", "--porcelain"))
        found = [
            Path(words["worktree"])
            for words in (
                dict(line.partition(" ")[::2] for line in block.splitlines())
                for block in out.split("\n\n")
            )
            if words.get("branch") == name and "prunable" not in words
        ]
        for folder, where in self._work_trees().items():
            short = name.removeprefix("refs/heads/")
            marks = ("rebase-merge/head-name", "rebase-apply/head-name", "BISECT_START")
            with contextlib.suppress(OSError):
                if {_line_of(folder / mark) for mark in marks} & {name, short}:
                    found.append(where)
        return list(dict.fromkeys(found))

    def _work_trees(self) -> dict[Path, Path]:
        """The folders that git keeps for each work tree -> the work tree."""
        common = self.common_dir
        found = {common: common.parent if common.name == ".git" else common}
        for link in common.glob("worktrees/*/gitdir"):
            found[link.parent] = Path(_line_of(link)).parent
        return found

    def refs_named(self, prefix: str, ending: str) -> list[str]:
        """Refs below a prefix that end in a slash and these words."""
        return [name for name in self.refs(prefix) if name.endswith(f"/{ending}")]

    def drop_stale_locks(self, *names: str) -> None:
        """Remove lock files of refs that nobody else writes; their writer was killed."""
        for name in names:
            for lock in (self.common_dir / name).parent.glob(f"{Path(name).name}.lock"):
                lock.unlink(missing_ok=True)

    def drop_stale_scratch(self) -> None:
        """Remove what killed processes left of commits half made, an hour ago or longer."""
        for folder in self.git_dir.glob(f"{_SCRATCH}*"):
            if time.time() - folder.stat().st_mtime > 3600:
                remove_tree(folder)

    @property
    def common_dir(self) -> Path:
        """Where refs live, also for a linked work tree."""
        out = self._run("rev-parse", "--git-common-dir").decode().strip()
        return self.root / out

    def refs(self, prefix: str) -> dict[str, str]:
        """Refs below a prefix, and the objects they hold."""
        out = self._run("for-each-ref", "--format=%(refname) %(objectname)", prefix)
        return dict(line.split() for line in out.decode().splitlines())

    def is_ancestor(self, commit: str, of: str) -> bool:
        """Whether a commit is another one, or below it."""
        return self._try("merge-base", "--is-ancestor", commit, of) is not None

    def valid_branch(self, name: str) -> bool:
        """Whether git takes a name as a branch."""
        return self._try("check-ref-format", "--branch", name) is not None

    # ---- the user's own files ------------------------------------------------------------------

    def changed_files(self, commit: str) -> Iterator[FileChange]:
        """Lab files that git holds for changed since a commit.

        A file is unchanged if its bytes are the commit's, or become them by the conversions and
        filters that the user has set up, or are what these make of the commit's. Filters, which are
        programs, run for files with other bytes only. No index is read or written.
        """
        entries = self.entries(commit, self.prefix)
        doubtful = [entry for entry in entries if not self._same_on_disk(entry)]
        cleaned = self._cleaned([e.path for e in doubtful if e.mode in _REGULAR])
        hidden = self._hidden([entry.path for entry in doubtful])
        for entry in doubtful:
            if how := self._difference(commit, entry, cleaned, hidden.get(entry.path, "")):
                yield FileChange(entry.path.removeprefix(self.prefix), how)

    def is_tracked(self, path: str) -> bool:
        """Whether the user's index has a file of the lab."""
        return bool(self._try("ls-files", "-z", "--", self.prefix + path))

    def conversion(self, path: str) -> str:
        """What git is set up to do with a lab file on its way in and out; empty: nothing."""
        asked = ("text", "eol", "filter", "ident", "working-tree-encoding")
        out = self._as_user("check-attr", "-z", *asked, "--", self.prefix + path)
        words = os.fsdecode(out).split("\0") if out else []
        attributes = dict(zip(words[1::3], words[2::3], strict=False))
        plain = ("unspecified", "unset")
        told = [
            name if value == "set" else f"{name}={value}"
            for name, value in attributes.items()
            if value not in plain
        ]
        crlf = self._setting("core.autocrlf")
        if crlf in ("true", "input") and attributes.get("text") in ("unspecified", "auto"):
            told.append(f"core.autocrlf={crlf}")
        return " ".join(told)

    def as_checked_out(self, commit: str, path: str) -> bytes:
        """A lab file of a commit as a checkout writes it: with the user's conversions."""
        name = f"{commit}:{self.prefix}{path}"
        made = self._as_user("cat-file", "--filters", name)
        return self._object(name, "blob").content if made is None else made

    def as_committed(self, path: str, content: bytes) -> bytes:
        """The content of a lab file as `git add` stores it: with the user's conversions."""
        if not self.conversion(path):
            return content
        words = ("hash-object", "-w", "--stdin", f"--path={self.prefix}{path}")
        made = self._as_user(*words, stdin=content)
        return content if made is None else self._object(made.decode().strip(), "blob").content

    def _same_on_disk(self, entry: Entry) -> bool:
        """Whether kind, executable bit and bytes on disk are the commit's."""
        path = self.root / entry.path
        try:
            if entry.mode == _LINK:
                content = os.fsencode(path.readlink())
            else:
                content = read_regular(path)
                if _executable(path) != (entry.mode == "100755"):
                    return False
        except OSError:
            return False
        return _hash_object("blob", content, entry.blob) == entry.blob

    def _difference(
        self, commit: str, entry: Entry, cleaned: Mapping[str, str], hidden: str
    ) -> str:
        """How a file differs from its entry, in the eyes of git; empty: it does not."""
        path = self.root / entry.path
        if not os.path.lexists(path):
            return "" if hidden == "skip-worktree" else "it is gone"
        try:
            content = read_regular(path)
        except OSError:
            return "it is no regular file" if entry.mode in _REGULAR else "it is another link"
        same = _hash_object("blob", content, entry.blob) == entry.blob
        if entry.mode == _LINK:
            plain_links = self._setting("core.symlinks") == "false"
            return "" if same and plain_links else "it was a link"
        if not (same or cleaned.get(entry.path) == entry.blob or self._smudged(commit, entry)):
            told = (
                f"git has the order to ignore its changes ({hidden})" if hidden else "it was edited"
            )
            return told if entry.path in cleaned else "its filter fails, so git cannot compare it"
        if (
            _executable(path) == (entry.mode == "100755")
            or self._setting("core.fileMode") != "true"
        ):
            return ""
        return f"its mode is no longer {entry.mode}"

    def _smudged(self, commit: str, entry: Entry) -> bool:
        """Whether a file is what a checkout makes of its entry."""
        made = self._as_user("cat-file", "--filters", f"{commit}:{entry.path}")
        return made is not None and made == read_regular(self.root / entry.path)

    def _cleaned(self, paths: Sequence[str]) -> dict[str, str]:
        """The blob that git would make of each file; a file whose filter fails is left out."""
        there = [path for path in paths if (self.root / path).is_file()]
        listing = os.fsencode("".join(f"{path}\n" for path in there))
        if not any("\n" in path for path in there):
            out = self._as_user("hash-object", "--stdin-paths", stdin=listing) if there else b""
            if out is not None:
                return dict(zip(there, out.decode().split(), strict=True))
        each = {path: self._as_user("hash-object", "--", path) for path in there}
        return {path: out.decode().strip() for path, out in each.items() if out is not None}

    def _hidden(self, paths: Sequence[str]) -> dict[str, str]:
        """Of some files those whose changes git ignores on request, and by which mark."""
        marks = {"S": "skip-worktree", "s": "skip-worktree", "h": "assume-unchanged"}
        out = self._as_user("ls-files", "-v", "-z", "--", *paths) if paths else b""
        rows = (row.partition(" ") for row in os.fsdecode(out or b"").split("\0") if row)
        return {path: marks[mark] for mark, _, path in rows if mark in marks}

    def _setting(self, name: str) -> str:
        """A setting of the user's configuration, as git understands it."""
        usual = {"core.fileMode": "true", "core.symlinks": "true", "core.autocrlf": "false"}
        out = self._as_user("config", "--get", name)
        told = (out or b"").decode(errors="replace").strip().lower()
        return {"yes": "true", "on": "true", "1": "true", "no": "false", "off": "false",
                "0": "false"}.get(told, told) or usual[name]  # fmt: skip

    def _as_user(self, *args: str, stdin: bytes = b"") -> bytes | None:
        """What git answers with the user's own configuration; None when it fails.

        Hooks and the file system monitor stay off, and nothing is fetched.
        """
        env = {name: text for name, text in os.environ.items() if name not in _ELSEWHERE}
        env |= {"GIT_DIR": str(self.git_dir), "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
        env |= {"LC_ALL": "C.UTF-8", "GIT_ALLOW_PROTOCOL": "", "GIT_LFS_SKIP_SMUDGE": "1"}
        env |= {"GIT_LITERAL_PATHSPECS": "1", "GIT_NO_REPLACE_OBJECTS": "1"}
        words = [*_words(["-c", "core.safecrlf=false"]), *args]
        with _git_is_there(self.root):
            ended = subprocess.run(
                words, cwd=self.root, input=stdin, env=env, capture_output=True,
                start_new_session=True,
            )  # fmt: skip
        return ended.stdout if ended.returncode == 0 else None

    # ---- inside --------------------------------------------------------------------------------

    def _merged(self, *contents: bytes) -> bytes | None:
        """The first, with what the third did to the second; None where that does not fit."""
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=self.git_dir) as scratch:
            files = [Path(scratch) / str(number) for number in range(3)]
            for file, content in zip(files, contents, strict=True):
                file.write_bytes(content)
            return self._try("merge-file", "-p", "-q", *map(str, files))

    def _object(self, revision: str, kind: str = "") -> _Object:
        """An object that must be there, of a kind that must be right."""
        found = self._objects.find(revision)
        if found is None or (kind and found.kind != kind):
            seen = f"a {found.kind}" if found else "not there"
            raise GitError(f"{revision} in {self.root} is {seen}.")
        return found

    def _blobs(self, entries: Sequence[Entry]) -> Iterator[bytes]:
        for entry in entries:
            found = self._objects.find(entry.blob)
            if found is None:
                raise GitError(
                    f"The repository at {self.root} lacks {entry.blob}, which is {entry.path}: "
                    "it is damaged, or a partial clone. See git fsck, or clone it in full."
                )
            yield found.content

    def _walk(self, tree: str, above: str = "") -> Iterator[tuple[str, str, str]]:
        """(path, mode, hash) of all that is below a tree, in git's order."""
        for mode, name, object_hash in _tree_rows(self._object(tree, "tree")):
            if mode == _TREE:
                yield from self._walk(object_hash, f"{above}{name}/")
            else:
                yield f"{above}{name}", mode, object_hash

    def _write_blobs(self, files: Mapping[str, bytes]) -> dict[str, str]:
        """Write contents as blobs; the hash of each by its path."""
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=self.git_dir) as scratch:
            sources = [Path(scratch) / str(number) for number in range(len(files))]
            for source, content in zip(sources, files.values(), strict=True):
                source.write_bytes(content)
            names = [os.path.relpath(source, self.root) for source in sources]
            listing = "".join(f"{name}\n" for name in names)
            out = self._run(
                "hash-object", "-w", "--no-filters", "--stdin-paths", stdin=os.fsencode(listing)
            )
        return dict(zip(files, out.decode().split(), strict=True))

    def _write_trees(self, root: str, blobs: Mapping[str, str]) -> str:
        """Write the trees in which some files' blobs are replaced; the hash of the topmost."""
        written: list[bytes] = []
        parts = {tuple(path.split("/")): blob for path, blob in blobs.items()}
        top = self._replaced(root, parts, written)
        out = self._run("mktree", "-z", "--batch", stdin=b"\0".join(written) + b"\0")
        if out.decode().split()[-1:] != [top]:
            raise GitError(f"git wrote another tree in {self.root} than the one that was meant.")
        return top

    def _replaced(
        self, tree: str | None, blobs: Mapping[tuple[str, ...], str], written: list[bytes]
    ) -> str:
        """The hash of a tree with blobs replaced; its lines for `mktree` go to `written`."""
        rows = {n: (m, h) for m, n, h in _tree_rows(self._object(tree, "tree"))} if tree else {}
        for name in dict.fromkeys(path[0] for path in blobs):
            mode, old = rows.get(name, ("", None))
            inner = {path[1:]: to for path, to in blobs.items() if path[0] == name}
            if () in inner:
                rows[name] = (mode if mode in _REGULAR else "100644", inner[()])
            else:
                rows[name] = (_TREE, self._replaced(old if mode == _TREE else None, inner, written))
        return _write_tree(rows, written)

    def _run(self, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> bytes:
        ended = _spawn(args, self.root, stdin, {"GIT_DIR": str(self.git_dir), **(env or {})})
        if ended.returncode != 0:
            raise GitError(f"git {args[0]} failed in {self.root}: {_message(ended)}")
        return ended.stdout

    def _try(self, *args: str) -> bytes | None:
        ended = _spawn(args, self.root, b"", {"GIT_DIR": str(self.git_dir)})
        return ended.stdout if ended.returncode == 0 else None


@dataclass(frozen=True)
class _Object:
    """One object of git, read."""

    name: str  # its hash
    kind: str  # blob, tree, commit, tag
    content: bytes


class _ObjectReader:
    """One long-lived `git cat-file --batch`: an object costs a message, not a process.

    Threads may share it. Trees are immutable, so the last ones read are remembered.
    """

    def __init__(self, git_dir: Path, root: Path) -> None:
        self._git_dir = git_dir
        self._root = root
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._trees: OrderedDict[str, _Object] = OrderedDict()

    def find(self, revision: str) -> _Object | None:
        """An object by any name that git knows it by, or None."""
        if "\n" in revision:
            return self._find_alone(revision)
        with self._lock:
            if known := self._trees.get(revision):
                return known
            try:
                found = self._ask(revision)
            except (OSError, ValueError):  # somebody ended the process: once more with a new one
                self._drop()
                found = self._ask_again(revision)
            except BaseException:  # Ctrl-C: the rest of the answer must not be the next one
                self._drop()
                raise
            if found and found.kind == "tree":
                self._trees[found.name] = found
                while len(self._trees) > _TREES:
                    self._trees.popitem(last=False)
            return found

    def _ask_again(self, revision: str) -> _Object | None:
        try:
            return self._ask(revision)
        except (OSError, ValueError) as error:
            self._drop()
            raise GitError(f"git cat-file ended early in {self._root}: {error}") from error

    def _ask(self, revision: str) -> _Object | None:
        process = self._started()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(os.fsencode(revision) + b"\n")
        process.stdin.flush()
        header = process.stdout.readline()
        if not header.endswith(b"\n"):
            raise ValueError("no answer")
        words = header.split(b" ")
        if header.rstrip(b"\n").endswith((b" missing", b" ambiguous")) or len(words) != 3:
            return None
        size = int(words[2])
        content = process.stdout.read(size + 1)
        if len(content) != size + 1:
            raise ValueError("an answer cut short")
        return _Object(words[0].decode(), words[1].decode(), content[:-1])

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            with _git_is_there(self._root):
                process = subprocess.Popen(
                    _words(["cat-file", "--batch"]),
                    cwd=self._root,
                    env=_environment({"GIT_DIR": str(self._git_dir)}),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # a Ctrl-C on the terminal is for us
                )
            self._end = weakref.finalize(self, _end, process)
            self._process = process
        return self._process

    def _drop(self) -> None:
        """End the process; the next question starts another."""
        if self._process is not None:
            self._end()
            self._process = None

    def _find_alone(self, revision: str) -> _Object | None:
        """An object whose name has a line break: the long-lived reader takes one name a line."""
        env = {"GIT_DIR": str(self._git_dir)}
        found = _spawn(["rev-parse", "--verify", "--quiet", revision], self._root, b"", env)
        if found.returncode != 0:
            return None
        return self.find(found.stdout.decode().strip())


def _line_of(path: Path) -> str:
    """The one line of a file that git writes; empty without the file."""
    try:
        return os.fsdecode(path.read_bytes()).strip()
    except OSError:
        return ""


def _executable(path: Path) -> bool:
    """Whether git calls a file executable: its owner may run it."""
    return bool(path.stat().st_mode & 0o100)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close what a reader holds; it ends when its input does."""
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            if stream is not None:
                stream.close()
    process.wait()


def _tree_rows(tree: _Object) -> Iterator[tuple[str, str, str]]:
    """(mode, name, hash) of each entry of a tree object, in git's order."""
    size, at, content = len(tree.name) // 2, 0, tree.content
    while at < len(content):
        space, end = content.index(b" ", at), content.index(b"\0", at)
        mode, name = content[at:space].decode(), os.fsdecode(content[space + 1 : end])
        yield mode, name, content[end + 1 : end + 1 + size].hex()
        at = end + 1 + size


def _write_tree(rows: Mapping[str, tuple[str, str]], written: list[bytes]) -> str:
    """The hash of a tree with these (mode, hash) by name; its lines for `mktree -z`."""

    def order(name: str) -> bytes:
        return os.fsencode(name) + (b"/" if rows[name][0] == _TREE else b"")

    content, lines = b"", b""
    for name in sorted(rows, key=order):
        mode, object_hash = rows[name]
        kind = {_TREE: b"tree", _SUBMODULE: b"commit"}.get(mode, b"blob")
        content += mode.encode() + b" " + os.fsencode(name) + b"\0" + bytes.fromhex(object_hash)
        padded = mode.rjust(6, "0").encode()
        lines += b"%b %b %b\t%b\0" % (padded, kind, object_hash.encode(), os.fsencode(name))
    written.append(lines)
    return _hash_object("tree", content, next(iter(rows.values()))[1])


def _hash_object(kind: str, content: bytes, like: str) -> str:
    """The hash of an object, by the function that made another hash of the same repository."""
    digest = hashlib.sha1 if len(like) == 40 else hashlib.sha256
    return digest(f"{kind} {len(content)}\0".encode() + content).hexdigest()


def is_tracked(path: Path) -> bool:
    """Whether git knows a file, wherever it is; without a repository it does not."""
    folder = path.parent
    if not folder.is_dir():
        return False
    return _spawn(["ls-files", "--error-unmatch", "--", path.name], folder, b"", {}).returncode == 0


def init_repository(folder: Path, message: str) -> str:
    """Make a folder its own repository, with all its files in a first commit."""
    for args in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", message]):
        ended = _spawn(args, folder, b"", {})
        if ended.returncode != 0:
            raise GitError(f"git {args[0]} failed in {folder}: {_message(ended)}")
    found = Git.discover(folder).resolve("HEAD")
    assert found is not None
    return found


def _spawn(
    args: Sequence[str], cwd: Path, stdin: bytes, env: Mapping[str, str]
) -> subprocess.CompletedProcess[bytes]:
    with _git_is_there(cwd):
        return subprocess.run(
            _words(args),
            cwd=cwd,
            input=stdin,
            env=_environment(env),
            capture_output=True,
            start_new_session=True,  # a Ctrl-C on the terminal is for us
        )


@contextlib.contextmanager
def _git_is_there(cwd: Path) -> Iterator[None]:
    """Within: git is started in a folder; GitError when either is missing."""
    if not cwd.is_dir():
        raise GitError(f"{cwd} is not a folder that exists.")
    try:
        yield
    except FileNotFoundError as error:
        needed = ".".join(map(str, OLDEST))
        raise GitError(f"git was not found on PATH; install git {needed} or newer.") from error


def _words(args: Sequence[str]) -> list[str]:
    """A call of git with our settings."""
    return ["git", *(word for setting in _CONFIG for word in ("-c", setting)), *args]


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a call of git: nobody's configuration, our identity."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_ALLOW_PROTOCOL": "",
        "GIT_TERMINAL_PROMPT": "0",
        **_IDENTITY,
        **_dates(),
        **env,
    }


def _dates() -> dict[str, str]:
    """The time of commits, where SOURCE_DATE_EPOCH asks for the same one every time."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = f"@{epoch} +0000"
    return {f"GIT_{who}_DATE": moment for who in ("AUTHOR", "COMMITTER")} if epoch.isdigit() else {}


def git_version() -> tuple[int, ...]:
    """The version of the git on PATH; GitError when there is none."""
    told = _spawn(["version"], Path("/"), b"", {}).stdout.decode(errors="replace")
    return tuple(map(int, re.findall(r"\d+", told)[:3]))


def check_git() -> None:
    """GitError when the git on PATH is missing or too old."""
    if (found := git_version()) < OLDEST:
        needed, seen = (".".join(map(str, version)) for version in (OLDEST, found))
        raise GitError(
            f"git is {seen or 'of no known version'}; AutoResearch needs {needed} or newer "
            "(older ones are not tested). Install a newer git, or put one first on PATH."
        )


def _message(ended: subprocess.CompletedProcess[bytes]) -> str:
    words = ended.stderr.strip() or ended.stdout.strip()
    return words.decode(errors="replace") or f"exit {ended.returncode}"


def _no_repository(folder: Path, said: str) -> str:
    if "not a git repository (or any" not in said:
        return f"git cannot use the repository around {folder}: {said}"
    return (
        f"{folder} is not in a git repository, and a study keeps its candidates in one. "
        f"Make it one: cd {folder} && git init && git add -A && git commit -m 'my lab'"
    )


def _plain(path: str) -> str:
    """A path of a tree, unless it is one that git itself would not check out."""
    parts = path.split("/")
    if {"", ".", ".."} & set(parts) or ".git" in map(str.lower, parts):
        raise GitError(f"The commit holds a file named {path!r}, which no honest tool commits.")
    return path


def _inside(path: str, target: str) -> str:
    """A link's target, unless it may lead out of the tree; only leading `..` stay certain."""
    parts = PurePosixPath(target).parts
    ups = parts.count("..")
    inside = ups < len(PurePosixPath(path).parts) and set(parts[:ups]) <= {".."}
    if not inside or target.startswith("/"):
        raise GitError(
            f"{path} is a link to {target}, outside the repository, and would not mean the "
            "same in a clean export. Make it a regular file, or ignore it with .gitignore."
        )
    return target
