"""The only file that calls git: plumbing on objects and refs, never a command on a work tree."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from autoresearch.errors import BranchMoved, GitError
from autoresearch.files import read_regular, remove_tree

OLDEST = (2, 34)  # version that is asked for
_REGULAR = ("100644", "100755")
_LINK = "120000"
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

    @classmethod
    def discover(cls, folder: Path) -> Git:
        """The repository around a folder; GitError when there is none."""
        asked = ("--absolute-git-dir", "--show-toplevel", "--show-prefix")
        ended = _spawn(["rev-parse", *asked], folder, b"", {})
        if ended.returncode != 0:
            raise GitError(_no_repository(folder, _said(ended)))
        git_dir, root, prefix = os.fsdecode(ended.stdout).split("\n")[:3]
        return cls(Path(git_dir), Path(root), prefix)

    # ---- objects -------------------------------------------------------------------------------

    def resolve(self, revision: str) -> str | None:
        """The full commit hash of a revision, or None."""
        out = self._try("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        return out.decode().strip() if out else None

    def tree(self, commit: str) -> str:
        """The tree hash of a commit: equal trees are equal files."""
        return self._run("rev-parse", "--verify", f"{commit}^{{tree}}").decode().strip()

    def lab_tree(self, commit: str) -> str:
        """The tree hash of the lab's own folder in a commit."""
        name = f"{commit}:{self.prefix.rstrip('/')}"
        return self._run("rev-parse", "--verify", name).decode().strip()

    def parents(self, commit: str) -> tuple[str, ...]:
        """The parent hashes of a commit."""
        return tuple(self._run("rev-parse", f"{commit}^@").decode().split())

    def entries(self, commit: str, prefix: str = "") -> tuple[Entry, ...]:
        """All files of a commit below a prefix; submodules are left out."""
        paths = ["--", prefix] if prefix else []
        out = self._run("ls-tree", "-r", "-z", "--full-tree", commit, *paths)
        lines = os.fsdecode(out).split("\0")  # names are bytes: Latin-1 ones come through as well
        rows = (re.split(r"[ \t]", line, maxsplit=3) for line in lines if line)
        return tuple(Entry(path, mode, blob) for mode, kind, blob, path in rows if kind == "blob")

    def listed(self, commit: str, paths: Sequence[str]) -> dict[str, tuple[str, int]]:
        """The mode and size in bytes of some files of a commit; nothing else of it is looked at."""
        out = self._run("ls-tree", "-l", "-z", "--full-tree", commit, "--", *paths)
        rows = (line.partition("\t") for line in os.fsdecode(out).split("\0") if line)
        found = ((path, words.split()) for words, _, path in rows)
        return {path: (mode, int(size)) for path, (mode, kind, _, size) in found if kind == "blob"}

    def read(self, commit: str, path: str) -> bytes:
        """One file of a commit, path from the repository's root."""
        return self._run("cat-file", "blob", f"{commit}:{path}")

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
        """A commit of the parent's tree with some files' contents replaced, and nothing else."""
        modes = {entry.path: entry.mode for entry in self.entries(parent)}
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=self.git_dir) as scratch:
            index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
            self._run("read-tree", parent, env=index)
            for path, content in files.items():
                blob = self._run("hash-object", "-w", "--no-filters", "--stdin", stdin=content)
                mode = modes.get(path, "100644")
                cached = f"{mode if mode in _REGULAR else '100644'},{blob.decode().strip()},{path}"
                self._run("update-index", "--add", "--cacheinfo", cached, env=index)
            tree = self._run("write-tree", env=index).decode().strip()
        made = self._run("commit-tree", tree, "-p", parent, "-F", "-", stdin=message.encode())
        return made.decode().strip()

    def diff(self, old: str, new: str, paths: Sequence[str]) -> str:
        """The unified diff of some paths between two commits, as plain text."""
        options = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-renames")
        out = self._run("diff-tree", "-p", *options, old, new, "--", *paths)
        return out.decode(errors="replace")

    def without(self, change: str, now: str, path: str) -> bytes | None:
        """A file of the commit `now` less what the commit `change` did to it.

        None where the two cannot be told apart any more, or the file is no text.
        """
        return self._merged(*(self.read(commit, path) for commit in (now, change, f"{change}^")))

    def carried(self, content: bytes, base: str, onto: str, path: str) -> bytes | None:
        """A file that was edited from the commit `base`, with the same edit made in `onto`.

        None where the two touch the same lines, or the file is no text.
        """
        return self._merged(self.read(onto, path), self.read(base, path), content)

    # ---- exchange with others ------------------------------------------------------------------

    def plant(self, tree: str, parents: Sequence[str], message: str, at: int) -> str:
        """A commit of a tree; the same arguments give the same hash, whoever makes it."""
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
        digest = hashlib.sha1 if len(entry.blob) == 40 else hashlib.sha256
        return digest(b"blob %d\0" % len(content) + content).hexdigest() == entry.blob

    # ---- inside --------------------------------------------------------------------------------

    def _merged(self, *contents: bytes) -> bytes | None:
        """The first, with what the third did to the second; None where that does not fit."""
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=self.git_dir) as scratch:
            files = [Path(scratch) / str(number) for number in range(3)]
            for file, content in zip(files, contents, strict=True):
                file.write_bytes(content)
            return self._try("merge-file", "-p", "-q", *map(str, files))

    def _blobs(self, entries: Sequence[Entry]) -> Iterator[bytes]:
        asked = "".join(f"{entry.blob}\n" for entry in entries).encode()
        out = memoryview(self._run("cat-file", "--batch", stdin=asked))
        at = 0
        for entry in entries:
            header, at = _line(out, at)
            if header.endswith(" missing"):
                raise GitError(
                    f"The repository at {self.root} lacks {entry.blob}, which is {entry.path}: "
                    "it is damaged, or a partial clone. See git fsck, or clone it in full."
                )
            size = int(header.split()[2])
            yield bytes(out[at : at + size])
            at += size + 1

    def _run(self, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> bytes:
        ended = _spawn(args, self.root, stdin, {"GIT_DIR": str(self.git_dir), **(env or {})})
        if ended.returncode != 0:
            raise GitError(f"git {args[0]} failed in {self.root}: {_said(ended)}")
        return ended.stdout

    def _try(self, *args: str) -> bytes | None:
        ended = _spawn(args, self.root, b"", {"GIT_DIR": str(self.git_dir)})
        return ended.stdout if ended.returncode == 0 else None


def init_repository(folder: Path, message: str) -> str:
    """Make a folder its own repository, with all its files in a first commit."""
    for args in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", message]):
        ended = _spawn(args, folder, b"", {})
        if ended.returncode != 0:
            raise GitError(f"git {args[0]} failed in {folder}: {_said(ended)}")
    found = Git.discover(folder).resolve("HEAD")
    assert found is not None
    return found


def _spawn(
    args: Sequence[str], cwd: Path, stdin: bytes, env: Mapping[str, str]
) -> subprocess.CompletedProcess[bytes]:
    settings = [word for setting in _CONFIG for word in ("-c", setting)]
    clean = {
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
    if not cwd.is_dir():
        raise GitError(f"{cwd} is not a folder that exists.")
    try:
        return subprocess.run(
            ["git", *settings, *args],
            cwd=cwd,
            input=stdin,
            env=clean,
            capture_output=True,
            start_new_session=True,  # a Ctrl-C on the terminal is for us
        )
    except FileNotFoundError as error:
        needed = ".".join(map(str, OLDEST))
        raise GitError(f"git was not found on PATH; install git {needed} or newer.") from error


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


def _said(ended: subprocess.CompletedProcess[bytes]) -> str:
    words = ended.stderr.strip() or ended.stdout.strip()
    return words.decode(errors="replace") or f"exit {ended.returncode}"


def _no_repository(folder: Path, said: str) -> str:
    if "not a git repository (or any" not in said:
        return f"git cannot use the repository around {folder}: {said}"
    return (
        f"{folder} is not in a git repository, and a study keeps its candidates in one. "
        f"Make it one: cd {folder} && git init && git add -A && git commit -m 'my lab'"
    )


def _line(data: memoryview, at: int) -> tuple[str, int]:
    end = at
    while data[end] != 0x0A:
        end += 1
    return bytes(data[at:end]).decode(), end + 1


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
