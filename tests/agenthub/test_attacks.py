"""Packs made to harm: each is refused with a reason, and nothing of it stays."""

from __future__ import annotations

import hashlib
import random
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from agenthub.errors import HubError
from agenthub.git.ingest import Pushed
from agenthub.git.policy import Protected, PushLimits
from agenthub.git.repository import Repository
from conftest import Repo
from hub_git import (
    BLOB,
    COMMIT,
    OFS_DELTA,
    TREE,
    Evil,
    World,
    bundle_of,
    delta,
    entry,
    pack,
    run_program,
)

PUSH_PROGRAM = """
import sys
from pathlib import Path
from agenthub.errors import HubError
from agenthub.git.fake import MemoryIndex
from agenthub.git.ingest import receive
from agenthub.git.repository import Repository
folder = Path(sys.argv[1])
repository = Repository.create(folder / "repo.git", folder / "incoming")
try:
    with (folder / "bomb").open("rb") as body:
        receive(body, repository, MemoryIndex())
except HubError as error:
    print(error.status, error)
print(sorted(path.name for path in (folder / "repo.git" / "objects" / "pack").iterdir()))
print(sorted(path.name for path in (folder / "incoming").iterdir()))
repository.close()
"""


# ---- trees -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("40000", ".."),
        ("100644", ".gitmodules"),
        ("120000", ".gitmodules"),
        ("120000", "train.py"),
        ("160000", "module"),
        ("100664", "train.py"),
        ("100644", "-rf"),
        ("100644", "a\\b"),
        ("100644", "a\nb"),
        ("100644", "nepo\u202egnp.py"),
        ("100644", "tra\u200bin.py"),
        ("100644", b"\xff\xfe"),
        ("100644", "x" * 600),
        ("40000", "file-as-folder"),
    ],
)
def test_names_and_modes(hub: World, mode: str, name: str | bytes) -> None:
    """Links, submodules, odd modes and names that hide or do something are refused."""
    hub.refuses(evil_file(name, mode), 413 if name == "x" * 600 else 400)


def evil_file(name: str | bytes, mode: str) -> bytes:
    evil = Evil()
    return evil.bundle(evil.file(name, mode, b"/etc/passwd"))


def test_a_submodule_url_that_is_an_option(hub: World) -> None:
    """A .gitmodules that would run a program is refused by git or by us."""
    text = b'[submodule "x"]\n\tpath = x\n\turl = -u./payload\n'
    evil = Evil()
    hub.refuses(evil.bundle(evil.file(".gitmodules", content=text)), 400)


def test_an_embedded_repository(hub: World) -> None:
    """A folder that git would open as a repository, with a program in its config, is refused."""
    evil = Evil()
    empty = evil.tree(("100644", "keep", evil.blob()))
    inner = evil.tree(
        ("100644", "HEAD", evil.blob(b"ref: refs/heads/main\n")),
        ("100644", "config", evil.blob(b"[core]\n\tfsmonitor = ./payload\n")),
        ("40000", "objects", empty),
        ("40000", "refs", empty),
    )
    bundle = evil.bundle(evil.commit(evil.tree(("40000", "sub", inner))))
    hub.refuses(bundle, 400, "git takes it for a repository")


def bomb(evil: Evil, width: int, depth: int) -> str:
    """A commit of `width ** depth` files in `depth + 2` objects."""
    mode, inner = "100644", evil.blob()
    for _ in range(depth):
        inner = evil.tree(*((mode, f"d{number}", inner) for number in range(width)))
        mode = "40000"
    return evil.commit(inner)


@pytest.mark.parametrize(("width", "depth"), [(10, 9), (1_900, 3), (2, 40), (1, 40), (3_000, 1)])
def test_tree_bombs(hub: World, width: int, depth: int) -> None:
    """A billion files in 11 objects, wide ones and deep ones, are refused while counted."""
    evil = Evil()
    hub.refuses(evil.bundle(bomb(evil, width, depth)), 413, "Commit [0-9a-f]{12}: ")


def test_one_large_file_many_times(hub: World) -> None:
    """A hundred names of one file count a hundred times, as they would on disk."""
    evil = Evil()
    blob = evil.blob(bytes(900_000))
    tree = evil.tree(*(("100644", f"f{number}", blob) for number in range(100)))
    hub.refuses(evil.bundle(evil.commit(tree)), 413, "50,400,000 bytes in all its files or more")


def test_a_bomb_in_parts(hub: World) -> None:
    """Folders that were let in before count again where a later commit multiplies them."""
    evil = Evil()
    hub.push(evil.bundle(bomb(evil, 10, 3)))  # 1,110 entries: allowed
    tree = next(sha for sha, (kind, _) in reversed(evil.objects.items()) if kind == TREE)
    more = Evil()
    twice = more.commit(more.tree(("40000", "a", tree), ("40000", "b", tree)))
    hub.refuses(more.bundle(twice), 413, "files and folders")
    deeper = Evil()
    for _ in range(11):
        tree = deeper.tree(("40000", "d", tree))
    hub.refuses(deeper.bundle(deeper.commit(tree)), 413, "deep|folders in folders")


def test_objects_that_no_commit_needs(hub: World, lab: Repo) -> None:
    """Nothing rides along: an unused symlink tree could be named by a later, thin push."""
    evil = Evil()
    good = evil.file("train.py")
    tree = evil.tree(("120000", "train.py", evil.blob(b"/etc/passwd")))
    hub.refuses(evil.bundle(good), 400, "2 objects that no new commit")
    clean = Evil()
    clean.file("train.py")
    hub.push(clean.bundle(good))
    later = Evil()
    hub.refuses(later.bundle(later.commit(tree, good)), 400, "git refuses the pack")


# ---- bombs of other kinds ----------------------------------------------------------------------


def zeros(count: int) -> tuple[bytes, str]:
    """A pack's entry of `count` MiB of zeros, and the blob's hash."""
    block, press = bytes(1 << 20), zlib.compressobj(6)
    name = hashlib.sha1(b"blob %d\0" % (count << 20))
    packed = []
    for _ in range(count):
        name.update(block)
        packed.append(press.compress(block))
    return _size(BLOB, count << 20) + b"".join(packed) + press.flush(), name.hexdigest()


def _size(kind: int, size: int) -> bytes:
    out, byte = bytearray(), kind << 4 | size & 15
    size >>= 4
    while size:
        out.append(byte | 128)
        byte, size = size & 127, size >> 7
    return bytes([*out, byte])


def commit_of(evil: Evil, blob: str) -> tuple[str, list[bytes]]:
    """A commit of one file, and the entries of it and its tree."""
    commit = evil.commit(evil.tree(("100644", "weights.bin", blob)))
    return commit, [entry(kind, content) for kind, content in evil.objects.values()]


def refused_in_child(folder: Path, bundle: bytes) -> tuple[str, int, int]:
    """Push from a process of its own: what it said, and the MB that it and git held."""
    (folder / "bomb").write_bytes(bundle)
    said, own, children = run_program(PUSH_PROGRAM, str(folder))
    assert said.splitlines()[1:] == ["[]", "[]"]
    return said, own, children


@pytest.mark.slow
def test_a_zip_bomb(tmp_path: Path) -> None:
    """256 MiB of zeros in a quarter of one: refused, and neither we nor git hold them."""
    packed, blob = zeros(256)
    commit, entries = commit_of(Evil(), blob)
    bundle = Evil().bundle(commit)[: -len(Evil().pack())] + pack([*entries, packed])
    assert len(bundle) < 300_000
    said, own, children = refused_in_child(tmp_path, bundle)
    assert said.startswith("413 The push has a file of 268,435,456 bytes")
    assert own < 100
    assert children < 100


@pytest.mark.slow
def test_a_bomb_of_deltas(tmp_path: Path) -> None:
    """A delta that would unpack to 64 GiB meets the limit on memory, not ours."""
    base = bytes(1 << 16)
    copies = bytes([0x80]) * 1_000_000  # each copies all 64 KiB of the base
    first = entry(BLOB, base)
    bomb = delta(len(base), len(base) * 1_000_000, copies)
    second = entry(OFS_DELTA, bomb, between=_distance(len(first)))
    commit, entries = commit_of(Evil(), "1" * 40)
    bundle = Evil().bundle(commit)[: -len(Evil().pack())] + pack([first, second, *entries])
    said, own, children = refused_in_child(tmp_path, bundle)
    assert said.startswith("413 Unpacking the push took more")
    assert own < 100
    assert children < 200


def _distance(back: int) -> bytes:
    """How far back a delta's base begins."""
    out = [back & 127]
    while back := back >> 7:
        back -= 1
        out.insert(0, back & 127 | 128)
    return bytes(out)


def test_too_many_of_anything(hub: World) -> None:
    """Objects, commits, parents and messages are counted, and the error has the count."""
    evil = Evil()
    tree = evil.tree(("100644", "train.py", evil.blob()))
    many = [evil.commit(tree, message=b"%d" % number) for number in range(20)]
    hub.limits = replace(PushLimits(), commits=19)
    hub.refuses(evil.bundle(*many), 413, "20 new commits; at most 19")
    hub.limits = replace(PushLimits(), objects=21)
    hub.refuses(evil.bundle(*many), 413, "22 new objects; at most 21")
    hub.limits = replace(PushLimits(), pack_objects=21)
    hub.refuses(evil.bundle(*many), 413, "says it has 22 objects; at most 21")
    hub.limits = PushLimits()
    merge = evil.commit(tree, *many)
    hub.refuses(evil.bundle(merge), 413, "20 parents; at most 16")
    wordy = Evil()
    tree = wordy.tree(("100644", "train.py", wordy.blob()))
    hub.refuses(wordy.bundle(wordy.commit(tree, message=b"m" * 9_000)), 413, "9,000 bytes")


# ---- lies --------------------------------------------------------------------------------------


def test_wrong_prerequisites(hub: World, lab: Repo) -> None:
    """A thin push upon something unknown is refused, as is one that hides what it builds on."""
    base = lab.git("rev-parse", "HEAD")
    lab.write("train.py", "x = 2\n")
    new = lab.commit()
    thin = bundle_of(lab, "HEAD", f"^{base}")
    hub.refuses(thin, 400, f"builds on {base}")
    line = thin[thin.index(b"-") : thin.index(b"\n", thin.index(b"-")) + 1]
    hub.refuses(thin.replace(line, b""), 400, "git refuses the pack")
    hub.refuses(thin.replace(new.encode(), b"2" * 40), 400)
    hub.push(bundle_of(lab, "HEAD"))
    hub.refuses(thin.replace(new.encode(), b"2" * 40), 400, "does not hold it")


def test_a_parent_that_is_there_but_not_known(hub: World) -> None:
    """Objects alone make no commit: what the index does not know cannot be built on."""
    evil = Evil()
    base = evil.file("train.py")
    hub.push(evil.bundle(base))
    del hub.index.commits[base]
    child = Evil()
    top = child.commit(child.tree(("100644", "b", child.blob())), base)
    hub.refuses(child.bundle(top), 400, f"Parent {base}")
    both = Evil({**evil.objects, **child.objects})
    assert [commit.sha for commit in hub.push(both.bundle(top)).new] == [base, top]


def test_missing_objects(hub: World) -> None:
    """A commit without its tree, a tree without its file, a commit as a folder: refused by git."""
    for lost in (BLOB, TREE):
        evil = Evil()
        commit = evil.file("train.py")
        evil.objects = {s: (k, c) for s, (k, c) in evil.objects.items() if k != lost}
        hub.refuses(evil.bundle(commit), 400, "git refuses the pack")
    evil = Evil()
    twisted = evil.commit(evil.tree(("40000", "d", evil.file("train.py"))))
    hub.refuses(evil.bundle(twisted), 400)


def test_commits_that_git_would_not_write(hub: World) -> None:
    """Broken headers of commits are refused."""
    evil = Evil()
    tree = evil.tree(("100644", "train.py", evil.blob()))
    for text in (b"", b"tree " + tree.encode(), b"tree " + tree.encode() + b"\nauthor x\n\nhi\n"):
        broken = Evil(dict(evil.objects))
        hub.refuses(broken.bundle(broken.add(COMMIT, text)), 400)


def test_what_is_recorded_is_clean(hub: World) -> None:
    """Subjects and authors reach the index without colours, bidi or line ends, and short."""
    evil = Evil()
    tree = evil.tree(("100644", "train.py", evil.blob()))
    text = "\x1b[31mred\u202e \u200bhidden\ttab ".encode() + b"\xff" + b"w" * 900 + b"\nbody\n"
    commit = hub.push(evil.bundle(evil.commit(tree, message=text))).new[0]
    assert commit.subject.startswith("[31mred hidden tab \ufffdwww")
    assert len(commit.subject) == 500
    assert commit.author == "Somebody <somebody@localhost>"
    assert commit.author_time == 1_700_000_000


# ---- damage ------------------------------------------------------------------------------------


def test_truncated_anywhere(hub: World, lab: Repo) -> None:
    """Cut at each byte of the header and many of the pack, a bundle is a 400 and nothing more."""
    hub.push(bundle_of(lab, "HEAD"))
    base = lab.git("rev-parse", "HEAD")
    lab.write("train.py", "".join(f"x = {number * 7919}\n" for number in range(300)))
    lab.commit()
    bundle = bundle_of(lab, "HEAD", f"^{base}")
    start = bundle.index(b"PACK")
    cuts = {*range(start + 12), *range(start + 12, len(bundle), 97), len(bundle) - 1}
    for cut in sorted(cuts):
        hub.refuses(bundle[:cut], 400)
    assert len(hub.push(bundle).new) == 1


def pushed_or_refused(hub: World, bundle: bytes) -> Pushed | HubError:
    """What came of a push."""
    try:
        return hub.push(bundle)
    except HubError as error:
        return error


@pytest.mark.slow
def test_flipped_bits(hub: World, lab: Repo) -> None:
    """A bundle with one bit turned over is refused, or means the same; never half of it."""
    bundle = bundle_of(lab, "HEAD")
    chance = random.Random(6)
    head = lab.git("rev-parse", "HEAD")
    for _ in range(150):
        damaged = bytearray(bundle)
        damaged[chance.randrange(len(bundle))] ^= 1 << chance.randrange(8)
        before = hub.files()
        result = pushed_or_refused(hub, bytes(damaged))
        if isinstance(result, HubError):
            assert result.status in (400, 413), result
            assert hub.files() == before
        else:  # in a ref's name
            assert result.heads == (head,)
        assert list(hub.repository.incoming.iterdir()) == []
    assert set(hub.index.commits) <= {head}
    assert hub.repository.check() == ""


def test_packs_of_noise(hub: World) -> None:
    """A good header before noise, before an empty pack, before a pack that lies of its count."""
    chance = random.Random(7)
    head = "1" * 40
    start = Evil().bundle(head)[: -len(Evil().pack())]
    hub.refuses(start + pack([]), 400, "does not hold it|git refuses")
    hub.refuses(start + b"PACK" + struct.pack(">II", 2, 1 << 31), 413, "2,147,483,648 objects")
    hub.refuses(start + b"PACK" + struct.pack(">II", 9, 1), 400)
    for size in (0, 11, 12, 500, 5_000):
        hub.refuses(start + chance.randbytes(size), 400)
        hub.refuses(start + b"PACK" + struct.pack(">II", 2, 3) + chance.randbytes(size), 400)


# ---- protected paths ---------------------------------------------------------------------------


def test_the_ruler_may_not_be_touched(hub: World, lab: Repo) -> None:
    """A commit that changes, drops or shadows a protected file is refused, also in the middle."""
    base = lab.git("rev-parse", "HEAD")
    hub.push(bundle_of(lab, "HEAD"))
    for root in (base, ""):
        hub.protected = Protected(("prepare.py", "eval/data"), root=root)
        for name in ("prepare.py", "Prepare.py", "eval/data/x", "Eval/data", "EVAL/DATA/y"):
            lab.git("reset", "-q", "--hard", base)
            lab.write(name, "fixed = False\n")
            lab.commit("touch")
            if root:
                lab.git("revert", "--no-edit", "HEAD")
            error = hub.refuses(bundle_of(lab, "HEAD"), 403, "this project protects")
            assert error.details["paths"] in (["prepare.py"], ["eval/data"])
    lab.git("reset", "-q", "--hard", base)
    lab.git("rm", "-q", "prepare.py")
    lab.commit("gone")
    hub.refuses(bundle_of(lab, "HEAD"), 403, "prepare.py")
    lab.git("reset", "-q", "--hard", base)
    lab.write("train.py", "x = 2\n")
    lab.write("evaluation/data", "another\n")
    lab.commit("fine")
    assert hub.push(bundle_of(lab, "HEAD")).new[0].flags == ()


def test_the_ruler_may_be_flagged(hub: World, lab: Repo) -> None:
    """A project may let such commits in, each with the path in its flags, an orphan's too."""
    base = lab.git("rev-parse", "HEAD")
    hub.push(bundle_of(lab, "HEAD"))
    hub.protected = Protected(("prepare.py",), refuse=False, root=base)
    lab.write("prepare.py", "fixed = False\n")
    lab.commit("touch")
    lab.write("train.py", "x = 3\n")
    lab.commit("upon it")
    flags = [commit.flags for commit in hub.push(bundle_of(lab, "HEAD")).new]
    assert flags == [("protected:prepare.py",)] * 2
    lab.git("checkout", "-q", "--orphan", "other")
    lab.commit("orphan")
    assert hub.push(bundle_of(lab, "HEAD")).new[0].flags == ("protected:prepare.py",)


def test_sandbox_or_none_refuse_alike(tmp_path: Path) -> None:
    """What git says of a bad pack is the same in the sandbox and without."""
    said = []
    for sandbox in ("auto", "off"):
        settings = replace(Repository.create(tmp_path, tmp_path / "in").settings, sandbox=sandbox)
        repository = Repository.create(tmp_path / sandbox, tmp_path / "in", settings)
        evil = Evil()
        bundle = evil.bundle(evil.file(".git"))
        said.append(str(World(repository).refuses(bundle, 400, "hasDotgit")))
        repository.close()
    assert said[0] == said[1]
