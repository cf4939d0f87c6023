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
            raise BranchMoved(
                f"{name} is at {self.ref(name)}, and the ledger left it at {old}: somebody moved "
                f"it. Put it back with `git update-ref {name} {old}`, or start a new study from "
                "where it is now: autoresearch run --tag NEW"
            ) from error

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
        """Refs below a prefix, and the commits they hold."""
        out = self._run("for-each-ref", "--format=%(refname) %(objectname)", prefix)
        return dict(line.split() for line in out.decode().splitlines())

    def is_ancestor(self, commit: str, of: str) -> bool:
        """Whether a commit is another one, or below it."""
        return self._try("merge-base", "--is-ancestor", commit, of) is not None

    def valid_branch(self, name: str) -> bool:
        """Whether git takes a name as a branch."""
        return self._try("check-ref-format", "--branch", name) is not None

    # ---- the user's own files, read without git ------------------------------------------------

    def changed_files(self, commit: str) -> Iterator[str]:
        """Lab files whose bytes on disk differ from a commit's, as paths from the lab."""
        for entry in self.entries(commit, self.prefix):
            if not self._same_on_disk(entry):
                yield entry.path.removeprefix(self.prefix)

    def _same_on_disk(self, entry: Entry) -> bool:
        path = self.root / entry.path
        try:
            if entry.mode == _LINK:
                content = os.fsencode(path.readlink())
            else:
                content = read_regular(path)
        except OSError:
            return False
        return _hash_object("blob", content, entry.blob) == entry.blob

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
