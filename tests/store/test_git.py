"""Git: commits and refs by plumbing, in every kind of repository, running nothing of anybody's."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.errors import BranchMoved, GitError
from autoresearch.files import read_regular
from autoresearch.store.git import Git, init_repository
from conftest import MakeRepo, Repo

FILES = {"train.py": "x = 1\n", "prepare.py": "fixed = True\n", "data/words.txt": "a\nb\n"}
BRANCH = "refs/heads/autoresearch/t"


def on_disk(folder: Path) -> dict[str, bytes | str]:
    """All files below a folder: their bytes, or a link's target."""
    found: dict[str, bytes | str] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if ".git" in path.relative_to(folder).parts:
            continue
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def exported(git: Git, commit: str, folder: Path) -> dict[str, bytes | str]:
    """What an export of a commit holds."""
    folder.mkdir()
    git.export(commit, folder)
    return on_disk(folder)


# ---- every kind of repository ------------------------------------------------------------------


def plain(make_repo: MakeRepo, tmp_path: Path) -> Path:
    """The lab is the repository."""
    return make_repo(FILES).folder


def subfolder(make_repo: MakeRepo, tmp_path: Path) -> Path:
    """The lab is a folder of a repository, with spaces and signs in its name."""
    inner = "labs/my lab [1] *é"
    repo = make_repo({f"{inner}/{name}": text for name, text in FILES.items()} | {"other": "o"})
    return repo.folder / inner


def sha256(make_repo: MakeRepo, tmp_path: Path) -> Path:
    """A repository of long hashes."""
    return make_repo(FILES, "repo", "--object-format=sha256").folder


def linked_worktree(make_repo: MakeRepo, tmp_path: Path) -> Path:
    """A second work tree of a repository."""
    make_repo(FILES).git("worktree", "add", "-q", "-b", "side", str(tmp_path / "linked"))
    return tmp_path / "linked"


def separate_git_dir(make_repo: MakeRepo, tmp_path: Path) -> Path:
    """A work tree whose .git is a file that points elsewhere."""
    return make_repo(FILES, "repo", f"--separate-git-dir={tmp_path / 'elsewhere'}").folder


def submodule(make_repo: MakeRepo, tmp_path: Path) -> Path:
    """The lab is a submodule of another repository."""
    inner, outer = make_repo(FILES, "inner"), make_repo({"readme": "outer"}, "outer")
    allow = ("-c", "protocol.file.allow=always")
    outer.git(*allow, "submodule", "--quiet", "add", str(inner.folder), "lab")
    return outer.folder / "lab"


def dirty_index(make_repo: MakeRepo, tmp_path: Path) -> Path:
    """Something else is staged, in a split index, with a sparse checkout."""
    repo = make_repo(FILES)
    repo.git("config", "core.splitIndex", "true")
    repo.git("config", "core.sparseCheckout", "true")
    repo.git("config", "i18n.commitEncoding", "ISO-8859-1")
    repo.write("staged", "staged")
    repo.git("add", "staged")
    return repo.folder


KINDS = [plain, subfolder, sha256, linked_worktree, separate_git_dir, submodule, dirty_index]
Kind = Callable[[MakeRepo, Path], Path]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def lab(request: pytest.FixtureRequest, make_repo: MakeRepo, tmp_path: Path) -> Path:
    """A lab's folder, in each kind of repository in turn."""
    kind: Kind = request.param
    return kind(make_repo, tmp_path)


@pytest.fixture
def git(lab: Path) -> Git:
    """The repository around the lab."""
    return Git.discover(lab)


@pytest.fixture
def head(git: Git) -> str:
    """The commit that is checked out."""
    found = git.resolve("HEAD")
    assert found is not None
    return found


def test_discover_finds_the_lab_in_its_repository(lab: Path, git: Git, head: str) -> None:
    """The prefix leads from the root to the lab, and the lab's files are found below it."""
    assert git.root / git.prefix == lab
    assert git.prefix == "" or git.prefix.endswith("/")
    names = {entry.path.removeprefix(git.prefix) for entry in git.entries(head, git.prefix)}
    assert names == set(FILES)


def test_a_commit_replaces_the_named_files_and_nothing_else(
    lab: Path, git: Git, head: str, tmp_path: Path
) -> None:
    """A candidate is its parent's tree plus the edit; message, parent and identity are ours."""
    made = git.commit(head, {f"{git.prefix}train.py": b"x = 2\r\n\x00"}, "wider\n\nTrial: é/1\n")
    before, after = exported(git, head, tmp_path / "a"), exported(git, made, tmp_path / "b")
    assert after == before | {f"{git.prefix}train.py": b"x = 2\r\n\x00"}
    assert git.parents(made) == (head,)
    shown = Repo(git.root).git("log", "-1", "--encoding=UTF-8", "--format=%an <%ae>%n%B", made)
    assert shown == "AutoResearch <autoresearch@localhost>\nwider\n\nTrial: é/1"
    assert "\nencoding " not in Repo(git.root).git("cat-file", "commit", made)


def test_a_commit_leaves_the_users_files_index_and_branches_alone(
    lab: Path, git: Git, head: str
) -> None:
    """Making a candidate shows up nowhere but in the object store."""
    repo = Repo(git.root)
    commands = [("status", "--porcelain"), ("for-each-ref",), ("ls-files", "--stage")]
    before = [repo.git(*command) for command in commands]
    beside = set(git.git_dir.iterdir())
    files = on_disk(lab)
    git.commit(head, {f"{git.prefix}train.py": b"x = 2\n"}, "edit")
    assert set(git.git_dir.iterdir()) == beside
    assert [repo.git(*command) for command in commands] == before
    assert on_disk(lab) == files


def test_an_edit_without_a_change_has_its_parents_tree(git: Git, head: str) -> None:
    """Equal files are an equal tree, whatever the message."""
    same = git.commit(head, {f"{git.prefix}train.py": FILES["train.py"].encode()}, "nothing")
    assert same != head
    assert git.tree(same) == git.tree(head)


def test_a_branch_moves_from_where_it_is_known_to_stand(git: Git, head: str) -> None:
    """Create, move, and a file of a commit read back: the whole life of a keep."""
    made = git.commit(head, {f"{git.prefix}train.py": b"x = 2\n"}, "edit")
    assert git.ref(BRANCH) is None
    git.create_ref(BRANCH, head)
    git.create_ref(BRANCH, head)  # pinning the same commit twice is fine
    git.move_ref(BRANCH, made, head)
    assert git.ref(BRANCH) == made
    assert git.read(made, f"{git.prefix}train.py") == b"x = 2\n"


def test_a_branch_that_somebody_moved_is_not_moved(git: Git, head: str) -> None:
    """Compare-and-swap: the error names where the ref is, where it was left, and the way back."""
    made = git.commit(head, {f"{git.prefix}train.py": b"x = 2\n"}, "edit")
    git.create_ref(BRANCH, made)
    with pytest.raises(BranchMoved, match=f"(?s){made}.*{head}.*git update-ref") as caught:
        git.move_ref(BRANCH, head, head)
    assert "--tag" in str(caught.value)
    with pytest.raises(GitError):
        git.create_ref(BRANCH, head)
    assert git.ref(BRANCH) == made


def changed(git: Git, commit: str) -> dict[str, str]:
    """The lab files that are not as a commit has them, and how they differ."""
    return {found.path: found.how for found in git.changed_files(commit)}


def test_a_clean_lab_has_no_changed_files(lab: Path, git: Git, head: str) -> None:
    """Fresh from a checkout, and touched without a change, nothing differs."""
    (lab / "train.py").touch()
    assert changed(git, head) == {}


def test_changed_files_are_named_from_the_lab(lab: Path, git: Git, head: str) -> None:
    """Edited and deleted files are named, new ones are not a commit's business."""
    (lab / "train.py").write_text("x = 3\n")
    (lab / "data/words.txt").unlink()
    (lab / "new.py").write_text("new")
    assert changed(git, head) == {"data/words.txt": "it is gone", "train.py": "it was edited"}


# ---- exports -----------------------------------------------------------------------------------

ODD = {
    "empty": b"",
    "binary": bytes(range(256)) * 10,
    "crlf.txt": b"a\r\nb\r\n",
    "no newline": b"no newline",
    "sp ace/tab\there": b"1",
    "new\nline/in\nname": b"2",
    "ünï/cödé ☃": b"3",
    "quote\"back\\slash'": b"4",
    "-option": b"5",
    ":(glob)**": b"6",
    "a/b/c/d/e/f": b"7",
    ".hidden/.file": b"8",
    "large": b"0123456789abcdef" * 200_000,
    "looks like a header": b"f00 blob 12\nf00 missing\n",
}


def test_an_export_is_what_was_committed_byte_for_byte(make_repo: MakeRepo, tmp_path: Path) -> None:
    """Odd names, empty, binary and large files all arrive, and nothing else does."""
    repo = make_repo(ODD)
    assert exported(Git.discover(repo.folder), "HEAD", tmp_path / "out") == ODD


def test_names_that_are_not_unicode_are_files_like_others(
    make_repo: MakeRepo, tmp_path: Path
) -> None:
    """A file named in Latin-1 is exported, compared and listed, not a traceback."""
    repo = make_repo({"train.py": "x"})
    name = os.fsdecode(b"caf\xe9.txt")
    try:
        repo.write(name, "coffee")
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    (repo.folder / "link").symlink_to(name)
    head = repo.commit()
    git = Git.discover(repo.folder)
    assert exported(git, head, tmp_path / "out")[name] == b"coffee"
    assert changed(git, head) == {}
    repo.write(name, "tea")
    assert list(changed(git, head)) == [name]


def test_an_export_keeps_executable_bits_and_links(make_repo: MakeRepo, tmp_path: Path) -> None:
    """Scripts stay executable whatever the umask, and links inside the tree stay links."""
    repo = make_repo({"data/words": "a"})
    repo.write("run.sh", "#!/bin/sh\n", executable=True)
    (repo.folder / "data/up").symlink_to("../run.sh")
    (repo.folder / "folder").symlink_to("data")
    head = repo.commit()
    mask = os.umask(0o077)
    try:
        found = exported(Git.discover(repo.folder), head, tmp_path / "out")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "out/run.sh").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "out/data/words").stat().st_mode) == 0o644
    assert (found["data/up"], found["folder"]) == ("../run.sh", "data")


@pytest.mark.parametrize(
    "links",
    [
        {"out": "/etc/passwd"},
        {"out": "../secret"},
        {"a/b/out": "../../../secret"},
        {"out": "a/../../secret"},
        {"d/up": "..", "out": "d/up/.."},  # each step inside, together outside
        {"d/up": "..", "d/out": "up/../secret"},
    ],
    ids=str,
)
def test_a_link_that_leads_out_is_refused(
    make_repo: MakeRepo, tmp_path: Path, links: dict[str, str]
) -> None:
    """No link of an export leads outside it, by itself or through another link."""
    (tmp_path / "secret").write_text("secret")
    repo = make_repo()
    for name, target in links.items():
        path = repo.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
    head = repo.commit()
    (tmp_path / "out").mkdir()
    with pytest.raises(GitError, match=r"out is a link to .*regular file"):
        Git.discover(repo.folder).export(head, tmp_path / "out")


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", ".git/config", ".GIT/x"])
def test_a_forged_tree_cannot_write_outside(make_repo: MakeRepo, tmp_path: Path, name: str) -> None:
    """A tree made by hand, with names that git itself would not check out, is refused."""
    repo = make_repo({"train.py": "x"})
    blob = repo.git("hash-object", "-w", "--stdin", stdin=b"evil")
    parts = name.split("/")
    mode, kind, made = "100644", "blob", blob
    for part in reversed(parts):
        row = f"{mode} ".encode() + part.encode() + b"\0" + bytes.fromhex(made)
        made = repo.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=row)
        mode, kind = "40000", "tree"
    assert kind == "tree"
    commit = repo.git("commit-tree", made, "-m", "forged")
    (tmp_path / "out").mkdir()
    with pytest.raises(GitError):
        Git.discover(repo.folder).export(commit, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    assert not (tmp_path / "evil").exists()


def test_submodules_are_left_out_and_left_in(make_repo: MakeRepo, tmp_path: Path) -> None:
    """An export has no file of a submodule; a candidate's tree still records it."""
    inner, outer = make_repo({"inner.py": "1"}, "inner"), make_repo({"train.py": "1"}, "outer")
    allow = ("-c", "protocol.file.allow=always")
    outer.git(*allow, "submodule", "--quiet", "add", str(inner.folder), "sub")
    head = outer.commit()
    git = Git.discover(outer.folder)
    made = git.commit(head, {"train.py": b"2"}, "edit")
    assert exported(git, made, tmp_path / "out").keys() == {"train.py", ".gitmodules"}
    assert outer.git("ls-tree", made, "sub") == outer.git("ls-tree", head, "sub") != ""


def test_attributes_change_no_byte(make_repo: MakeRepo, tmp_path: Path) -> None:
    """Line-ending conversion, $Id$ expansion and re-encoding do not touch commits or exports."""
    attributes = "*.txt text eol=crlf ident\n*.u16 working-tree-encoding=UTF-16\n"
    repo = make_repo({".gitattributes": attributes})
    git = Git.discover(repo.folder)
    files = {"a.txt": b"$Id$\nb\r\nc\n", "b.u16": b"plain\n"}
    made = git.commit(repo.git("rev-parse", "HEAD"), files, "edit")
    found = exported(git, made, tmp_path / "out")
    assert {name: found[name] for name in files} == files


names = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=20)


@settings(max_examples=15, deadline=None)
@given(
    files=st.dictionaries(
        names.filter(
            lambda n: n.casefold().rstrip(". ") not in ("", ".git", "git~1") and "\u200c" not in n
        ),
        st.binary(max_size=100),
        max_size=8,
    )
)
def test_commit_and_export_round_trip(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    """Whatever is committed, under whatever name a file can have, comes out as it went in."""
    folder = tmp_path_factory.mktemp("any")
    repo = Repo(folder / "repo")
    repo.folder.mkdir()
    repo.git("init", "-q", "-b", "main")
    git, first = Git.discover(repo.folder), repo.commit()
    made = git.commit(first, files, "any")
    assert exported(git, made, folder / "out") == files


# ---- commits -----------------------------------------------------------------------------------


def test_an_edit_keeps_the_executable_bit(make_repo: MakeRepo) -> None:
    """A script stays a script, a plain file stays plain, a new file is plain."""
    repo = make_repo({"plain.py": "1"})
    repo.write("run.sh", "1", executable=True)
    head = repo.commit()
    git = Git.discover(repo.folder)
    made = git.commit(head, {"run.sh": b"2", "plain.py": b"2", "new.py": b"2"}, "edit")
    modes = {entry.path: entry.mode for entry in git.entries(made)}
    assert modes == {"run.sh": "100755", "plain.py": "100644", "new.py": "100644"}


def test_a_link_in_the_way_becomes_a_regular_file(make_repo: MakeRepo) -> None:
    """Content committed over a link is never read as a link's target."""
    repo = make_repo({"real.py": "1"})
    (repo.folder / "train.py").symlink_to("real.py")
    git = Git.discover(repo.folder)
    made = git.commit(repo.commit(), {"train.py": b"/etc/passwd"}, "edit")
    assert [e.mode for e in git.entries(made) if e.path == "train.py"] == ["100644"]


def test_odd_messages_are_kept(make_repo: MakeRepo) -> None:
    """An empty message, one like an option and one with comments are messages."""
    repo = make_repo({"train.py": "1"})
    git, head = Git.discover(repo.folder), repo.git("rev-parse", "HEAD")
    for message in ("", "-m", "# not a comment", "a\n\n\n\nb  \n"):
        made = git.commit(head, {"train.py": b"2"}, message)
        assert repo.git("log", "-1", "--format=%B", made) == message.strip()


def test_a_diff_shows_the_named_paths_only(make_repo: MakeRepo) -> None:
    """A path means that path, even when it looks like a pattern or like git's own syntax."""
    repo = make_repo({"[ab].py": "1\n", "a.py": "1\n", ":(top)x": "1\n", "x": "1\n"})
    git, head = Git.discover(repo.folder), repo.git("rev-parse", "HEAD")
    names = ["[ab].py", "a.py", ":(top)x", "x"]
    made = git.commit(head, dict.fromkeys(names, b"2\n"), "edit")
    for name in names:
        shown = git.diff(head, made, [name])
        assert f"+++ b/{name}\n" in shown
        assert shown.count("+++ ") == 1


def test_a_diff_of_bytes_is_text(make_repo: MakeRepo) -> None:
    """Bytes that are not UTF-8 are shown as replacement characters."""
    repo = make_repo({"train.py": b"# caf\xe9\n"})
    git, head = Git.discover(repo.folder), repo.git("rev-parse", "HEAD")
    made = git.commit(head, {"train.py": b"# th\xe9\n"}, "edit")
    assert "+# th\ufffd" in git.diff(head, made, ["train.py"])


def test_reading_what_is_not_there_is_our_error(make_repo: MakeRepo) -> None:
    """A missing path or commit is a GitError; a revision that means nothing is None."""
    git = Git.discover(make_repo({"train.py": "1"}).folder)
    for commit, path in (("HEAD", "nothing.py"), ("0" * 40, "train.py")):
        with pytest.raises(GitError, match="is not there"):
            git.read(commit, path)
    for revision in ("nothing", "", "HEAD:train.py", "-x", "--all", "HEAD~5", "a b"):
        assert git.resolve(revision) is None


@pytest.mark.parametrize(
    ("name", "valid"),
    [("autoresearch/nov21", True), ("autoresearch/a b", False), ("autoresearch/a..b", False),
     ("autoresearch/x.lock", False), ("autoresearch/é", True), ("autoresearch/", False),
     ("autoresearch/@{-1}", False), ("-x", False), ("autoresearch/a\nb", False)],
)  # fmt: skip
def test_valid_branch_says_what_git_says(make_repo: MakeRepo, name: str, valid: bool) -> None:
    """Names that git would not take as a branch are refused."""
    assert Git.discover(make_repo({"x": "x"}).folder).valid_branch(name) is valid


# ---- refs --------------------------------------------------------------------------------------


def test_a_stale_lock_is_not_taken_for_a_moved_branch(make_repo: MakeRepo) -> None:
    """When git cannot write the ref, the error is git's own, not that somebody moved it."""
    repo = make_repo({"train.py": "1"})
    git, head = Git.discover(repo.folder), repo.git("rev-parse", "HEAD")
    made = git.commit(head, {"train.py": b"2"}, "edit")
    git.create_ref(BRANCH, head)
    (git.git_dir / f"{BRANCH}.lock").touch()
    with pytest.raises(GitError, match=r"\.lock") as caught:
        git.move_ref(BRANCH, made, head)
    assert not isinstance(caught.value, BranchMoved)
    assert git.ref(BRANCH) == head


def test_a_deleted_branch_counts_as_moved(make_repo: MakeRepo) -> None:
    """A branch that is gone is not where it was left."""
    repo = make_repo({"train.py": "1"})
    git, head = Git.discover(repo.folder), repo.git("rev-parse", "HEAD")
    with pytest.raises(BranchMoved, match="None"):
        git.move_ref(BRANCH, head, head)
    assert git.ref(BRANCH) is None


def test_a_branch_that_points_to_another_is_itself_replaced(make_repo: MakeRepo) -> None:
    """A symbolic ref in our place cannot make us move somebody else's branch."""
    repo = make_repo({"train.py": "1"})
    git, head = Git.discover(repo.folder), repo.git("rev-parse", "HEAD")
    made = git.commit(head, {"train.py": b"2"}, "edit")
    repo.git("symbolic-ref", BRANCH, "refs/heads/main")
    git.move_ref(BRANCH, made, head)
    assert (git.ref(BRANCH), repo.git("rev-parse", "main")) == (made, head)


def test_a_branch_that_is_checked_out_can_be_moved(make_repo: MakeRepo) -> None:
    """Moving the branch that somebody stands on leaves his files as they are."""
    repo = make_repo({"train.py": "1"})
    git, head = Git.discover(repo.folder), repo.git("rev-parse", "HEAD")
    made = git.commit(head, {"train.py": b"2"}, "edit")
    repo.git("checkout", "-q", "-b", "autoresearch/t")
    git.move_ref(BRANCH, made, head)
    assert git.resolve("HEAD") == made
    assert (repo.folder / "train.py").read_text() == "1"


# ---- the user's own files ----------------------------------------------------------------------


def test_changes_that_git_status_would_hide_are_seen(make_repo: MakeRepo) -> None:
    """Same-size edits, links, assume-unchanged: no index is asked. Line endings are no change."""
    names = ["crlf.txt", "same", "becomes link", "becomes folder", "assumed", "skipped", "fine"]
    repo = make_repo({".gitattributes": "*.txt text\n", **dict.fromkeys(names, "one\n")})
    (repo.folder / "moved link").symlink_to("same")
    (repo.folder / "becomes file").symlink_to("same")
    head = repo.commit()
    repo.git("update-index", "--assume-unchanged", "assumed")
    repo.git("update-index", "--skip-worktree", "skipped")
    repo.git("config", "core.autocrlf", "true")
    before = (repo.folder / "same").stat()
    repo.write("crlf.txt", "one\r\n")
    repo.write("same", "two\n")
    os.utime(repo.folder / "same", ns=(before.st_atime_ns, before.st_mtime_ns))
    for name in ("becomes link", "becomes folder", "moved link", "becomes file"):
        (repo.folder / name).unlink()
    (repo.folder / "becomes link").symlink_to("fine")
    (repo.folder / "becomes folder").mkdir()
    (repo.folder / "moved link").symlink_to("fine")
    repo.write("becomes file", "same")
    repo.write("assumed", "two\n")
    repo.write("skipped", "two\n")
    found = changed(Git.discover(repo.folder), head)
    assert set(found) == {*names, "moved link", "becomes file"} - {"fine", "crlf.txt"}
    assert "assume-unchanged" in found["assumed"] and "skip-worktree" in found["skipped"]


CONVERSIONS = [
    ("*.txt text eol=crlf", {}, b"one\ntwo\n", b"one\r\ntwo\r\n"),
    ("*.txt text=auto", {"core.autocrlf": "true"}, b"one\n", b"one\r\n"),
    ("", {"core.autocrlf": "true"}, b"one\n", b"one\r\n"),
    ("", {"core.autocrlf": "input"}, b"one\n", b"one\r\n"),
    ("*.txt text", {"core.eol": "crlf"}, b"one\n", b"one\r\n"),
    ("*.txt ident", {}, b"$Id$\n", b"$Id: 5626abf0f72e58d7a153368ba57db4c673c0e171 $\n"),
    ("*.txt working-tree-encoding=UTF-16LE", {}, b"one\n", "one\n".encode("utf-16-le")),
    (
        "*.txt filter=up",
        {"filter.up.clean": "tr A-Z a-z", "filter.up.smudge": "tr a-z A-Z"},
        b"one\n",
        b"ONE\n",
    ),
    ("*.txt filter=up", {"filter.up.smudge": "tr a-z A-Z"}, b"one\n", b"ONE\n"),
    (
        "*.txt filter=up",  # it comes back as nothing that the commit has
        {"filter.up.clean": "sed s/^/x/", "filter.up.smudge": "tr a-z A-Z"},
        b"one\n",
        b"ONE\n",
    ),
    ("*.txt text", {"core.autocrlf": "true", "core.safecrlf": "true"}, b"one\n", b"one\r\n"),
    ("*.txt filter=lfs", {}, b"version https://git-lfs.github.com/spec/v1\n", None),
    (
        "*.txt filter=lfs",
        {"filter.lfs.clean": "sed 's/a lot of data/pointer/'", "filter.lfs.required": "true",
         "filter.lfs.smudge": "sed 's/pointer/a lot of data/'"},
        b"pointer\n",
        b"a lot of data\n",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("attributes", "settings", "kept", "there"), CONVERSIONS)
def test_what_git_converts_is_no_change(
    make_repo: MakeRepo,
    attributes: str,
    settings: dict[str, str],
    kept: bytes,
    there: bytes | None,
) -> None:
    """Line endings, encodings, filters: a file that a checkout wrote is unchanged, an edit seen."""
    repo = make_repo({".gitattributes": "", "data.txt": kept})
    repo.write(".gitattributes", attributes + "\n")
    repo.git("add", ".gitattributes")
    repo.git("commit", "-q", "--allow-empty", "-m", "attributes")
    head = repo.git("rev-parse", "HEAD")
    for name, value in settings.items():
        repo.git("config", name, value)
    there = kept if there is None else there
    repo.write("data.txt", there)
    git = Git.discover(repo.folder)
    assert changed(git, head) == {}
    repo.write("data.txt", there + there)
    assert list(changed(git, head)) == ["data.txt"]
    (repo.folder / "data.txt").unlink()
    assert changed(git, head) == {"data.txt": "it is gone"}


@pytest.mark.parametrize(("attributes", "settings", "kept", "there"), CONVERSIONS[:8])
def test_a_file_goes_in_and_out_as_git_does_it(
    make_repo: MakeRepo, attributes: str, settings: dict[str, str], kept: bytes, there: bytes
) -> None:
    """`as_committed` is what `git add` stores, `as_checked_out` what a checkout writes."""
    repo = make_repo({".gitattributes": attributes + "\n", "data.txt": ""})
    for name, value in settings.items():
        repo.git("config", name, value)
    repo.write("data.txt", there)
    head = repo.commit()
    git = Git.discover(repo.folder)
    assert git.read(head, "data.txt") == kept == git.as_committed("data.txt", there)
    (repo.folder / "data.txt").unlink()
    repo.git("checkout", "--", "data.txt")
    assert git.as_checked_out(head, "data.txt") == (repo.folder / "data.txt").read_bytes()
    assert git.conversion("data.txt")


def test_an_executable_bit_is_a_change_where_git_heeds_it(make_repo: MakeRepo) -> None:
    """A script that lost its bit cannot start; core.fileMode says whether the disk keeps bits."""
    repo = make_repo()
    repo.write("run.sh", "#!/bin/sh\n", executable=True)
    repo.write("data", "1")
    head = repo.commit()
    git = Git.discover(repo.folder)
    (repo.folder / "run.sh").chmod(0o644)
    (repo.folder / "data").chmod(0o755)
    told = {"run.sh": "its mode is no longer 100755", "data": "its mode is no longer 100644"}
    assert changed(git, head) == told
    repo.git("config", "core.fileMode", "false")
    assert changed(git, head) == {}
    repo.write("data", "2", executable=True)
    assert changed(git, head) == {"data": "it was edited"}


def test_files_outside_a_sparse_checkout_are_no_change(make_repo: MakeRepo) -> None:
    """Git left them out on request."""
    repo = make_repo({"train.py": "1", "big/data": "2"})
    repo.git("sparse-checkout", "set", "--no-cone", "/*", "!/big/")
    assert not (repo.folder / "big").exists()
    assert changed(Git.discover(repo.folder), "HEAD") == {}


def test_a_filter_that_fails_is_named_and_not_taken_for_no_change(make_repo: MakeRepo) -> None:
    """What cannot be compared is not the same."""
    repo = make_repo({".gitattributes": "*.bin filter=gone\n", "a.bin": "1", "b.bin": "1"})
    for name, value in {"clean": "false", "smudge": "false", "required": "true"}.items():
        repo.git("config", f"filter.gone.{name}", value)
    repo.write("a.bin", "2")
    git = Git.discover(repo.folder)
    assert changed(git, "HEAD") == {"a.bin": "its filter fails, so git cannot compare it"}
    assert git.conversion("a.bin") == "filter=gone"


def test_comparing_files_takes_no_lock_and_leaves_the_index_alone(make_repo: MakeRepo) -> None:
    """A lock of another program is not in the way."""
    repo = make_repo({".gitattributes": "*.txt text eol=crlf\n", "data.txt": "1\n"})
    repo.write("data.txt", "1\r\n")
    (repo.folder / ".git/index.lock").touch()
    before = (repo.folder / ".git/index").read_bytes()
    assert changed(Git.discover(repo.folder), "HEAD") == {}
    assert (repo.folder / ".git/index").read_bytes() == before


def test_a_pipe_in_place_of_a_file_does_not_hang(make_repo: MakeRepo) -> None:
    """A named pipe is a change, and is not waited for."""
    repo = make_repo({"data": "a"})
    (repo.folder / "data").unlink()
    os.mkfifo(repo.folder / "data")
    assert list(changed(Git.discover(repo.folder), "HEAD")) == ["data"]


# ---- nothing of anybody's is run ---------------------------------------------------------------


@pytest.fixture
def trap(make_repo: MakeRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """A repository with every programme that a configuration can name; each leaves a mark."""
    repo = make_repo({"train.py": "1\n", "data.bin": "1\n"})
    script = repo.write("trap.sh", f"#!/bin/sh\necho $0 >> {tmp_path}/mark\ncat\n", executable=True)
    repo.write(".gitattributes", "* filter=evil diff=evil merge=evil\n")
    repo.commit()
    hooks = "pre-commit post-commit reference-transaction post-index-change pre-auto-gc"
    for hook in [*hooks.split(), "commit-msg", "prepare-commit-msg", "post-checkout"]:
        (repo.folder / ".git/hooks").mkdir(exist_ok=True)
        (repo.folder / ".git/hooks" / hook).symlink_to(script)
    for key in (
        "filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "diff.evil.textconv",
        "diff.evil.command", "diff.external", "core.fsmonitor", "core.pager", "core.editor",
        "core.sshCommand", "core.askPass", "gpg.program", "credential.helper",
        "pager.diff-tree", "alias.rev-parse", "merge.evil.driver", "core.alternateRefsCommand",
    ):  # fmt: skip
        repo.git("config", key, str(script))
    repo.git("config", "filter.evil.required", "true")
    repo.git("config", "commit.gpgSign", "true")
    repo.git("config", "gc.auto", "1")
    repo.git("config", "core.hooksPath", ".git/hooks")
    for name in ("GIT_EXTERNAL_DIFF", "GIT_PAGER", "GIT_SSH", "GIT_EDITOR", "GIT_ASKPASS"):
        monkeypatch.setenv(name, str(script))
    return repo


def test_no_configured_programme_is_run(trap: Repo, tmp_path: Path) -> None:
    """Every verb of ours in a repository full of traps springs none; plain git springs them."""
    (tmp_path / "mark").unlink(missing_ok=True)
    git = Git.discover(trap.folder)
    head = git.resolve("HEAD")
    assert head is not None
    made = git.commit(head, {"train.py": b"2\n", "data.bin": b"\0"}, "edit")
    git.create_ref(BRANCH, head)
    git.move_ref(BRANCH, made, head)
    assert "+2" in git.diff(head, made, ["train.py", "data.bin"])
    exported(git, made, tmp_path / "out")
    assert changed(git, head) == {}
    git.read(made, "train.py")
    git.parents(made)
    assert git.valid_branch("autoresearch/x")
    assert not (tmp_path / "mark").exists()
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    subprocess.run(["git", "diff", head, made], cwd=trap.folder, env=env, capture_output=True)
    assert (tmp_path / "mark").exists(), "the trap itself does not work"
    (tmp_path / "mark").unlink()
    (trap.folder / "train.py").write_text("3\n")
    assert list(changed(git, head)) == ["train.py"]  # by the user's own filter, and it alone
    filters = {trap.git("config", f"filter.evil.{name}") for name in ("clean", "smudge", "process")}
    assert set((tmp_path / "mark").read_text().split()) <= filters


@pytest.mark.parametrize("url", ["ext::{} x", "{}", "ssh://host/x"])
def test_a_missing_object_is_not_fetched(
    trap: Repo, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partial clone's remote is never asked, by any protocol: an absent object is an error."""
    script = str(trap.folder / "trap.sh")
    for key, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "evil",
        "remote.evil.promisor": "true",
        "remote.evil.url": url.format(script),
        "remote.evil.uploadpack": script,
        "protocol.allow": "always",
        "protocol.ext.allow": "always",
    }.items():
        trap.git("config", key, value)
    row = f"100644 blob {'12' * 20}\tgone.py\n".encode()
    commit = trap.git("commit-tree", trap.git("mktree", "--missing", stdin=row), "-m", "partial")
    (tmp_path / "mark").unlink(missing_ok=True)
    (tmp_path / "out").mkdir()
    with pytest.raises(GitError, match="12121212"):
        Git.discover(trap.folder).export(commit, tmp_path / "out")
    assert not (tmp_path / "mark").exists()


def test_the_users_environment_does_not_reach_git(
    make_repo: MakeRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GIT_DIR and its kin, as set inside somebody's hook, do not lead us elsewhere."""
    repo, other = make_repo({"train.py": "1"}), make_repo({"x": "x"}, "other")
    monkeypatch.setenv("GIT_DIR", str(other.folder / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.folder))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path / "objects"))
    monkeypatch.setenv("GIT_AUTHOR_DATE", "not a date")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.bare")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    git = Git.discover(repo.folder)
    assert git.root == repo.folder
    assert git.commit(repo.git("rev-parse", "HEAD"), {"train.py": b"2"}, "edit")
    assert not (tmp_path / "index").exists()


def test_a_repository_of_another_user_can_be_used(make_repo: MakeRepo) -> None:
    """A lab on a shared disk, owned by somebody else, is not refused as of dubious ownership."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    repo = make_repo({"train.py": "1"})
    for path in [repo.folder, *repo.folder.rglob("*")]:
        os.chown(path, 65534, 65534, follow_symlinks=False)
    assert Git.discover(repo.folder).resolve("HEAD") is not None


# ---- what is not a repository for us -----------------------------------------------------------


def test_no_repository_says_how_to_make_one(tmp_path: Path) -> None:
    """Outside a repository the error holds the command that mends it."""
    with pytest.raises(GitError, match=r"not in a git repository.*git init"):
        Git.discover(tmp_path)


def test_a_repository_without_a_commit_has_no_head(make_repo: MakeRepo) -> None:
    """An empty repository is found, and its HEAD is None."""
    assert Git.discover(make_repo().folder).resolve("HEAD") is None


def test_a_bare_repository_is_called_that(make_repo: MakeRepo) -> None:
    """Where there is no work tree the error says so, and does not advise git init."""
    bare = make_repo(None, "bare", "--bare").folder
    with pytest.raises(GitError, match="work tree") as caught:
        Git.discover(bare)
    assert "git init" not in str(caught.value)


def test_a_broken_repository_is_told_in_gits_words(make_repo: MakeRepo) -> None:
    """A damaged configuration is not mistaken for a missing repository."""
    repo = make_repo({"x": "x"})
    repo.write(".git/config", "[core\nbroken")
    with pytest.raises(GitError, match="bad config") as caught:
        Git.discover(repo.folder)
    assert "git init" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing", "a file"])
def test_a_folder_that_is_none_is_our_error(tmp_path: Path, name: str) -> None:
    """A path that does not exist, or is a file, is named; git is not asked to be installed."""
    (tmp_path / "a file").touch()
    with pytest.raises(GitError, match=name) as caught:
        Git.discover(tmp_path / name)
    assert "install" not in str(caught.value)


def test_without_git_the_error_says_so(
    make_repo: MakeRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No git on PATH is our error, with the version to install."""
    repo = make_repo({"x": "x"})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitError, match="not found on PATH; install git"):
        Git.discover(repo.folder)


def test_a_damaged_object_is_our_error(make_repo: MakeRepo, tmp_path: Path) -> None:
    """A corrupt or lost blob stops an export with an error that names it."""
    repo = make_repo({"train.py": "1"})
    blob = repo.git("rev-parse", "HEAD:train.py")
    stored = repo.folder / ".git/objects" / blob[:2] / blob[2:]
    stored.chmod(0o644)
    stored.write_bytes(b"rubbish")
    (tmp_path / "out").mkdir()
    with pytest.raises(GitError, match=blob):
        Git.discover(repo.folder).export("HEAD", tmp_path / "out")
    stored.unlink()
    with pytest.raises(GitError, match=blob):
        Git.discover(repo.folder).export("HEAD", tmp_path / "out")


# ---- init --------------------------------------------------------------------------------------


def test_init_repository_commits_all_there_is(tmp_path: Path) -> None:
    """A folder becomes a repository with one commit of its files, ignored ones left out."""
    for name, text in {"train.py": "1", "sub/x": "2", ".gitignore": "skip\n", "skip": "3"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    made = init_repository(tmp_path, "my lab")
    git = Git.discover(tmp_path)
    assert git.resolve("refs/heads/main") == made
    assert {entry.path for entry in git.entries(made)} == {"train.py", "sub/x", ".gitignore"}
    assert Repo(tmp_path).git("status", "--porcelain") == ""


def test_init_repository_of_nothing_says_so(tmp_path: Path) -> None:
    """An empty folder cannot be committed, and the error says why in git's words."""
    with pytest.raises(GitError, match="nothing to commit"):
        init_repository(tmp_path, "nothing")


def test_what_was_exported_is_read_as_plain_files(make_repo: MakeRepo, tmp_path: Path) -> None:
    """An export holds regular files that our suspicious reader takes."""
    repo = make_repo({"train.py": "1"})
    exported(Git.discover(repo.folder), "HEAD", tmp_path / "out")
    assert read_regular(tmp_path / "out/train.py") == b"1"


def test_what_a_killed_commit_left_is_removed_when_it_is_old(make_repo: MakeRepo) -> None:
    """Of this repository, and not what another study may be using now."""
    git = Git.discover(make_repo(FILES).folder)
    old, new = (git.git_dir / f"autoresearch-scratch-{name}" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir()
        (folder / "index").write_bytes(b"half")
    os.utime(old, (0, 0))
    git.drop_stale_scratch()
    assert (old.exists(), new.exists()) == (False, True)


def test_an_interrupted_read_leaves_no_stale_answer(make_repo: MakeRepo) -> None:
    """Ctrl-C at any instant of a read: the next read gets its own object, not the rest of that."""
    large = b"0123456789abcdef" * 2**20
    git = Git.discover(make_repo({"large": large, "small": "small"}).folder)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for instant in range(1, 25):
            with contextlib.suppress(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, instant * 0.001)
                git.read("HEAD", "large")
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert git.read("HEAD", "small") == b"small"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
