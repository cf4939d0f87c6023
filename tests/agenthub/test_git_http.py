"""Plain git against a hub that is served: clone, fetch by hash, push, and all that is refused."""

from __future__ import annotations

import base64
import gzip
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agenthub.git.packets import COMMANDS, packet
from agenthub.git.policy import PushLimits
from agenthub.ops.backup import check
from conftest import MakeRepo, Repo
from hub_git import Evil
from hub_server import ADMIN, Server, serving, settings, together
from hub_server import Repo as Lab

SMALL = settings(
    max_bundle_mb=1.0, pushes_per_hour=10_000, limits=PushLimits(blob_bytes=100_000, objects=2_000)
)


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for tests that each have a project of their own."""
    with serving(tmp_path_factory.mktemp("served") / "data", SMALL) as server:
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that nothing was pushed to."""
    with serving(tmp_path / "data", SMALL) as server:
        yield server


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """An agent's repository with one commit."""
    made = Lab(tmp_path / "lab")
    made.commit("x = 0\n", message="first")
    return made


def url(server: Server, agent: str = "ada", key: str = "") -> str:
    """The project's address, with a key as the password."""
    return f"http://any:{key or server.key(agent)}@127.0.0.1:{server.port}/git/main.git"


def git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run git; how it ended, and all it said."""
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }
    command = ["git", "-c", "gc.auto=0", *words]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)


def refused(folder: Path, *words: str) -> str:
    """What git says when it fails."""
    ended = git(folder, *words)
    assert ended.returncode != 0, ended
    return ended.stderr


def push(server: Server, lab: Lab, *refs: str, agent: str = "ada") -> str:
    """Push as an agent; what git says."""
    ended = git(lab.folder, "push", url(server, agent), *refs)
    assert ended.returncode == 0, ended
    return ended.stderr


def hashes(server: Server, path: str) -> list[str]:
    """The hashes of a list of commits."""
    answer = server.get(f"/api/git/{path}", "ada")
    assert answer.status == 200, answer
    return [row["hash"] for row in answer.json]


def packs(server: Server) -> list[str]:
    """All packs that were let in."""
    return sorted(path.name for path in (server.data / "projects").rglob("*.pack"))


def nothing_left(server: Server) -> None:
    """No quarantine and no upload is left, and all is whole."""
    incoming, ends = server.data / "incoming", time.monotonic() + 30
    while any(path.is_file() for path in incoming.rglob("*")) and time.monotonic() < ends:
        time.sleep(0.02)  # git has its answer a moment before the server has tidied up
    assert [path for path in incoming.rglob("*") if path.is_file()] == []
    assert check(server.data) == ()


# ---- fetching ----------------------------------------------------------------------------------


def test_an_empty_project_is_cloned_and_pushed_to(server: Server, tmp_path: Path) -> None:
    """The first commit of all comes by plain git, too."""
    ended = git(tmp_path, "clone", "-q", url(server), "clone")
    assert ended.returncode == 0 and "empty repository" in ended.stderr
    clone = Lab(tmp_path / "clone")
    sha = clone.commit("x = 1\n")
    said = push(server, clone, "HEAD:refs/agents/ada/first")
    assert "main: 1 new, as ada" in said
    assert hashes(server, "leaves") == [sha]
    nothing_left(server)


@pytest.mark.parametrize("version", ["0", "1", "2"])
def test_a_clone_gets_the_newest_leaf_and_any_commit_by_its_hash(
    server: Server, lab: Lab, tmp_path: Path, version: str
) -> None:
    """main is the newest leaf; what is no leaf, and what is an attempt, is fetched by its hash."""
    first = lab.git("rev-parse", "HEAD")
    second = lab.commit("x = 1\n")
    push(server, lab, "HEAD:refs/agents/ada/a")
    tried = lab.commit("x = 2\n")
    push(server, lab, "HEAD:refs/agents/ada/attempts/b")
    config = f"protocol.version={version}"
    ended = git(tmp_path, "-c", config, "clone", "-q", url(server), "clone")
    assert ended.returncode == 0, ended
    clone = Lab(tmp_path / "clone")
    assert clone.git("rev-parse", "HEAD", "origin/main", "origin/root") == "\n".join(
        [second, second, first]
    )
    ended = git(clone.folder, "-c", config, "fetch", "-q", "origin", tried)
    assert ended.returncode == 0, ended
    assert clone.git("rev-parse", "FETCH_HEAD") == tried
    assert clone.git("show", "FETCH_HEAD:train.py") == "x = 2"
    lone = Lab(tmp_path / "lone")
    ended = git(lone.folder, "-c", config, "fetch", "-q", url(server), first)
    assert ended.returncode == 0 and lone.git("rev-list", "--count", "FETCH_HEAD") == "1"
    nothing_left(server)


def test_leaves_are_shown_and_the_list_stays_short(
    server: Server, lab: Lab, tmp_path: Path
) -> None:
    """However many commits there are: the newest 200 leaves, main and root."""
    base = lab.git("rev-parse", "HEAD")
    tree = lab.git("write-tree")
    tips = [lab.git("commit-tree", "-p", base, "-m", str(n), tree) for n in range(230)]
    for start in range(0, 230, 50):
        some = enumerate(tips[start : start + 50], start)
        push(server, lab, *(f"{sha}:refs/agents/ada/n{number}" for number, sha in some))
    shown = git(tmp_path, "ls-remote", url(server)).stdout.split()
    assert len(shown[1::2]) == 203  # with HEAD, main and root
    assert shown[1] == "HEAD" and set(shown[::2]) == {base, *tips[30:]}
    assert hashes(server, "leaves") == list(reversed(tips[30:]))
    ended = git(lab.folder, "fetch", url(server), "refs/leaves/*:refs/remotes/hub/leaves/*")
    assert ended.returncode == 0
    assert len(lab.git("for-each-ref", "refs/remotes/hub/leaves").splitlines()) == 200


def test_shallow_and_partial_clones(server: Server, lab: Lab, tmp_path: Path) -> None:
    """One commit deep, and without files, which come when they are looked at."""
    for number in range(5):
        tip = lab.commit(f"x = {number + 1}\n")
    push(server, lab, "HEAD:refs/agents/ada/a")
    assert git(tmp_path, "clone", "-q", "--depth=1", url(server), "one").returncode == 0
    one = Lab(tmp_path / "one")
    assert one.git("rev-list", "--count", "HEAD") == "1"
    on_top = one.commit("x = 99\n")
    assert "1 new" in push(server, one, "HEAD:refs/agents/ada/b")
    assert hashes(server, "leaves") == [on_top]
    ended = git(tmp_path, "clone", "-q", "--filter=blob:none", url(server), "part")
    assert ended.returncode == 0, ended
    part = Lab(tmp_path / "part")
    ended = git(part.folder, "show", f"{tip}~3:train.py")
    assert ended.stdout == "x = 2\n", ended
    nothing_left(server)


def test_main_is_the_best_replicated_commit(server: Server, lab: Lab, tmp_path: Path) -> None:
    """Not the newest leaf, once somebody else has measured one."""
    best = lab.commit("x = 1\n")
    push(server, lab, "HEAD:refs/agents/ada/a")
    lab.commit("x = 2\n")
    push(server, lab, "HEAD:refs/agents/ada/b")
    assert server.post("/api/channels", {"name": "results", "description": ""}).status == 201
    line = f"commit:{best[:7]} platform:H100 val_bpb:0.9 vram_gb:1 | good"
    assert server.post("/api/channels/results/posts", {"content": line}, "ada").status == 201
    server.key("bob")
    assert server.end() == 0
    from hub_world import hub_in

    with hub_in(server.data) as hub:
        space = hub.space()
        result = space.results.page()[0]
        tree = space.repository.commit_tree(best)
        values = [0.8999, 0.9, 0.9001]
        found = space.results.verify(result.seq, "bob", tree=tree, platform="H100", values=values)
        assert found.verdict == "confirmed"
    with serving(server.data, SMALL) as again:
        again.keys.update(server.keys)
        assert git(tmp_path, "ls-remote", url(again), "HEAD").stdout.split()[0] == best


def test_only_what_was_pushed_is_fetched(server: Server, lab: Lab, tmp_path: Path) -> None:
    """A hash that is not indexed is refused by name, in every version of the protocol."""
    push(server, lab, "HEAD:refs/agents/ada/a")
    unknown = lab.commit("x = 1\n")
    empty = Lab(tmp_path / "empty")
    for version in ("0", "2"):
        config = f"protocol.version={version}"
        said = refused(empty.folder, "-c", config, "fetch", url(server), unknown)
        assert f"There is no commit {unknown} in project main" in said, said
    path = "/git/main.git/git-upload-pack"
    key = server.key("ada")
    for body in (b"zzzz", b"0009want", packet("want nothing")):
        answer = server.ask("POST", path, body, key)
        assert b"ERR " in answer.body and answer.status == 200
    large = gzip.compress(b"0" * (5 << 20))
    assert server.ask("POST", path, large, key, {"Content-Encoding": "gzip"}).status == 413
    assert server.ask("POST", path, b"no", key, {"Content-Encoding": "gzip"}).status == 400
    assert server.ask("POST", path, b"no", key, {"Content-Encoding": "br"}).status == 400


@pytest.mark.slow
def test_a_fetch_sends_only_what_is_new_and_may_be_packed(
    server: Server, lab: Lab, tmp_path: Path
) -> None:
    """A long list of haves comes as gzip; nothing is sent twice."""
    for number in range(120):
        lab.git("commit", "-q", "--allow-empty", "-m", str(number))
    push(server, lab, "HEAD:refs/agents/ada/a")
    assert git(tmp_path, "clone", "-q", url(server), "clone").returncode == 0
    clone = Lab(tmp_path / "clone")
    for number in range(200):
        clone.git("commit", "-q", "--allow-empty", "-m", f"own {number}")
    sha = lab.commit("x = 1\n")
    push(server, lab, "HEAD:refs/agents/ada/b")
    ended = git(clone.folder, "fetch", "--progress", "origin", sha)
    assert ended.returncode == 0 and "Total 3" in ended.stderr, ended


# ---- pushing -----------------------------------------------------------------------------------


def test_everything_pushed_is_indexed(server: Server, lab: Lab) -> None:
    """Many commits and a merge at once: the frontier and the lineage are right."""
    root = lab.git("rev-parse", "HEAD")
    chain = [lab.commit(f"x = {number}\n") for number in range(1, 6)]
    lab.git("checkout", "-q", "-b", "side", root)
    side = lab.commit("y = 1\n", "other.py")
    push(server, lab, "main:refs/agents/ada/main", "side:refs/agents/ada/side")
    assert hashes(server, f"commits/{chain[-1]}/lineage") == [*reversed(chain), root]
    assert set(hashes(server, "leaves")) == {side, chain[-1]}
    lab.git("merge", "-q", "--no-ff", "-m", "both", "main")
    merge = lab.git("rev-parse", "HEAD")
    assert "1 new" in push(server, lab, "HEAD:refs/agents/bob/both", agent="bob")
    assert hashes(server, "leaves") == [merge]
    assert set(hashes(server, f"commits/{chain[-1]}/children")) == {merge}
    rows = server.get("/api/git/commits").json
    assert {row["hash"]: row["agent_id"] for row in rows}[merge] == "bob"
    assert len(rows) == 8
    nothing_left(server)


def test_attempts_are_no_leaves_until_they_are_built_on(server: Server, lab: Lab) -> None:
    """One push may have both; pushing an attempt to the frontier makes it one of it."""
    base = lab.git("rev-parse", "HEAD")
    kept = lab.commit("x = 1\n")
    tried = lab.commit("x = 2\n")
    push(server, lab, f"{kept}:refs/agents/ada/kept", f"{tried}:refs/agents/ada/attempts/tried")
    assert hashes(server, "leaves") == [kept]
    assert set(hashes(server, "commits")) == {base, kept, tried}
    said = push(server, lab, f"{tried}:refs/agents/ada/after-all")
    assert "known already" in said
    assert hashes(server, "leaves") == [tried]
    nothing_left(server)


def test_pushing_again_and_forced_changes_nothing(server: Server, lab: Lab) -> None:
    """A name is no branch: a rewritten history stands beside the first one."""
    first = lab.commit("x = 1\n")
    push(server, lab, "HEAD:refs/agents/ada/a")
    before = packs(server)
    assert "known already" in push(server, lab, "HEAD:refs/agents/ada/a")
    assert packs(server) == before
    lab.git("reset", "-q", "--hard", "HEAD~1")
    second = lab.commit("x = 2\n")
    push(server, lab, "--force", "HEAD:refs/agents/ada/a")
    assert set(hashes(server, "leaves")) == {first, second}
    said = refused(lab.folder, "push", url(server), ":refs/agents/ada/a")
    assert "(Nothing is ever deleted here. What was pushed stays.)" in said
    assert set(hashes(server, "leaves")) == {first, second}


def commands(*rows: tuple[str, str, str], more: bytes = b"") -> bytes:
    """The body of a push, made by hand."""
    lines = [" ".join(row) for row in rows]
    lines[0] += "\0report-status"
    return b"".join(packet(line) for line in lines) + b"0000" + more


def test_a_deletion_is_refused_in_words(server: Server, lab: Lab) -> None:
    """By the server too, when a client asks for it all the same."""
    sha = lab.git("rev-parse", "HEAD")
    push(server, lab, "HEAD:refs/agents/ada/a")
    body = commands((sha, "0" * 40, "refs/agents/ada/a"))
    answer = server.ask("POST", "/git/main.git/git-receive-pack", body, server.key("ada"))
    assert b"ng refs/agents/ada/a Nothing is ever deleted here." in answer.body
    assert hashes(server, "leaves") == [sha]


@pytest.mark.slow
@pytest.mark.parametrize(
    "ref",
    ["refs/agents/bob/x", "refs/heads/main", "refs/leaves/x", "refs/agents/Ada/x", "refs/tags/v1"],
)
def test_a_foreign_ref_is_refused_with_all_that_came_along(
    server: Server, lab: Lab, ref: str
) -> None:
    """All of a push or nothing; the message says where to push."""
    said = refused(lab.folder, "push", url(server), f"HEAD:{ref}", "HEAD:refs/agents/ada/fine")
    assert "[remote rejected]" in said and "ada pushes to refs/agents/ada/NAME" in said
    assert said.count("[remote rejected]") == 2
    assert hashes(server, "commits") == [] and packs(server) == []
    nothing_left(server)


EVIL = {
    "git folder": (("40000", ".git"), "git"),
    "a link": (("120000", "link"), "symbolic link"),
    "a submodule": (("160000", "module"), "submodule"),
    "a hidden name": (("100644", "a\u202eb"), "invisible"),
}


@pytest.mark.parametrize("name", EVIL)
def test_evil_trees_are_refused(roomy: Server, tmp_path: Path, name: str) -> None:
    """The same objects that a bundle may not have."""
    (mode, path), said = EVIL[name]
    evil = Evil()
    blob = evil.blob(b"x\n")
    inner = {"40000": evil.tree(("100644", "config", blob)), "160000": "1" * 40}
    head = evil.commit(evil.tree((mode, path, inner.get(mode, blob))))
    if mode == "160000":
        evil.objects.pop("1" * 40, None)
    body = commands(("0" * 40, head, "refs/agents/ada/x"), more=evil.pack())
    before = packs(roomy)
    answer = roomy.ask("POST", "/git/main.git/git-receive-pack", body, roomy.key("ada"))
    assert answer.status == 200
    assert b"ng refs/agents/ada/x " in answer.body and said.encode() in answer.body.lower()
    assert packs(roomy) == before
    assert roomy.get(f"/api/git/commits/{head}", "ada").status == 404
    nothing_left(roomy)


def test_a_link_pushed_by_git_is_refused(server: Server, lab: Lab) -> None:
    """git itself would send it."""
    (lab.folder / "link").symlink_to("/etc/passwd")
    lab.git("add", "-A")
    lab.git("commit", "-q", "-m", "a link")
    said = refused(lab.folder, "push", url(server), "HEAD:refs/agents/ada/x")
    assert "symbolic link" in said and "[remote rejected]" in said
    assert packs(server) == []
    nothing_left(server)


def test_protected_files_caps_and_one_root(tmp_path: Path, lab: Lab) -> None:
    """A project's rules hold for plain git as for a bundle."""
    from agenthub.records.projects import Rules
    from hub_world import hub_in, join

    lab.git("rm", "-q", "--cached", "train.py")
    (lab.folder / "prepare.py").write_text("fixed = True\n")
    root = lab.commit("x = 0\n", message="with a ruler")
    lab.git("checkout", "-q", "--orphan", "alone")
    root = lab.commit("x = 0\n", message="the one root")
    with hub_in(tmp_path / "data") as hub:
        hub.projects.create("strict", Rules(protected=("prepare.py",)), root)
        _, key = join(hub, "ada")
    with serving(tmp_path / "data", SMALL) as server:
        there = f"http://x:{key}@127.0.0.1:{server.port}/git/strict.git"
        assert git(lab.folder, "push", there, "HEAD:refs/agents/ada/r").returncode == 0
        before = packs(server)
        lab.git("checkout", "-q", "-b", "bent")
        (lab.folder / "prepare.py").write_text("fixed = False\n")
        lab.commit("x = 1\n")
        said = refused(lab.folder, "push", there, "HEAD:refs/agents/ada/b")
        assert "changes prepare.py, which this project protects" in said, said
        lab.git("checkout", "-q", "--orphan", "other")
        (lab.folder / "prepare.py").write_text("fixed = True\n")
        lab.commit("x = 3\n")
        said = refused(lab.folder, "push", there, "HEAD:refs/agents/ada/o")
        assert "keeps one history" in said, said
        lab.git("checkout", "-q", "-b", "big", root)
        (lab.folder / "data.bin").write_bytes(os.urandom(150_000))
        lab.commit("x = 4\n")
        said = refused(lab.folder, "push", there, "HEAD:refs/agents/ada/big")
        assert "a file of 150,000 bytes; at most 100,000" in said, said
        assert packs(server) == before
        nothing_left(server)


def test_too_much_is_refused(server: Server, lab: Lab) -> None:
    """Over the cap of bytes by its length or as it comes, over the cap of objects by its header."""
    for number in range(14):
        (lab.folder / f"noise{number}").write_bytes(os.urandom(90_000))
    lab.commit("x = 1\n")
    for buffer in ("100000", "100000000"):
        config = f"http.postBuffer={buffer}"
        said = refused(lab.folder, "-c", config, "push", url(server), "HEAD:refs/agents/ada/x")
        assert "bundle too large: over 1,048,576 bytes" in said, said
    evil = Evil()
    for number in range(2_001):
        evil.blob(b"%d\n" % number)
    head = evil.file("a.py")
    body = commands(("0" * 40, head, "refs/agents/ada/x"), more=evil.pack())
    answer = server.ask("POST", "/git/main.git/git-receive-pack", body, server.key("ada"))
    assert b"objects; at most 2,000 are allowed" in answer.body
    assert packs(server) == [] and hashes(server, "commits") == []
    nothing_left(server)


def test_a_push_larger_than_gits_buffer_comes_in_pieces(server: Server, lab: Lab) -> None:
    """git first tries its key with an empty push, which is not counted, then sends in chunks."""
    for number in range(5):
        (lab.folder / f"noise{number}").write_bytes(os.urandom(90_000))
    sha = lab.commit("x = 1\n")
    ended = git(
        lab.folder, "-c", "http.postBuffer=65536", "push", url(server), "HEAD:refs/agents/ada/x"
    )
    assert ended.returncode == 0, ended
    assert hashes(server, "leaves") == [sha]


# ---- keys, rates and garbage -------------------------------------------------------------------


def test_who_may_do_what(server: Server, lab: Lab, tmp_path: Path) -> None:
    """No key, a wrong one, one that may only read, the admin's, a project that is not there."""
    push(server, lab, "HEAD:refs/agents/ada/a")
    bare = f"http://127.0.0.1:{server.port}/git/main.git"
    assert "could not read Username" in refused(tmp_path, "ls-remote", bare)
    assert "Authentication failed" in refused(tmp_path, "ls-remote", url(server, key="wrong"))
    answer = server.ask("GET", "/git/main.git/info/refs?service=git-upload-pack")
    assert answer.status == 401 and answer.headers["www-authenticate"].startswith("Basic ")
    for bad in ("Basic !!!", "Basic " + base64.b64encode(b"no colon").decode(), "Digest x"):
        path = "/git/main.git/info/refs?service=git-upload-pack"
        assert server.ask("GET", path, headers={"Authorization": bad}).status == 401
    assert git(tmp_path, "ls-remote", url(server, key=ADMIN)).returncode == 0
    said = refused(lab.folder, "push", url(server, key=ADMIN), "HEAD:refs/agents/admin/x")
    assert "403" in said and "scope push" in said
    key = server.key("ada")
    header = f"http.extraHeader=Authorization: Bearer {key}"
    assert git(tmp_path, "-c", header, "ls-remote", bare).returncode == 0
    for service in ("", "?service=git-upload-archive"):
        assert server.ask("GET", f"/git/main.git/info/refs{service}", key=key).status == 403
    nowhere = url(server).replace("main.git", "nowhere.git")
    assert 'There is no project "nowhere"' in refused(tmp_path, "clone", nowhere, "clone")
    said = refused(lab.folder, "push", nowhere, "HEAD:refs/agents/ada/x")
    assert 'There is no project "nowhere"' in said
    assert not (server.data / "projects" / "nowhere").exists()


def test_pushes_are_counted(tmp_path: Path, lab: Lab) -> None:
    """The same rate as for bundles, told in words; nothing is stored over it."""
    with serving(tmp_path / "data", settings(pushes_per_hour=2)) as server:
        push(server, lab, "HEAD:refs/agents/ada/a")
        refused(lab.folder, "push", url(server), "HEAD:refs/agents/bob/a")  # counted as well
        lab.commit("x = 1\n")
        said = refused(lab.folder, "push", url(server), "HEAD:refs/agents/ada/b")
        assert "push is limited to 2" in said and "Try again in" in said
        assert len(hashes(server, "commits")) == 1


def test_stored_bytes_have_a_quota(tmp_path: Path, lab: Lab) -> None:
    """What would go over it is refused after all other checks, and nothing of it stays."""
    (lab.folder / "noise").write_bytes(os.urandom(20_000))
    lab.commit("x = 1\n")
    with serving(tmp_path / "data", settings(agent_quota_mb=0.03)) as server:
        push(server, lab, "HEAD:refs/agents/ada/a")
        before = packs(server)
        (lab.folder / "noise").write_bytes(os.urandom(20_000))
        sha = lab.commit("x = 2\n")
        said = refused(lab.folder, "push", url(server), "HEAD:refs/agents/ada/b")
        assert "[remote rejected]" in said and "its quota" in said
        assert packs(server) == before
        nothing_left(server)
        push(server, lab, "HEAD:refs/agents/bob/b", agent="bob")
        assert hashes(server, "leaves") == [sha]


GARBAGE = {
    b"": 400,
    b"0000": 200,
    b"garbage!": 400,
    b"ffff" + b"x" * 100: 400,
    packet("x" * 40 + " refs/agents/ada/x"): 400,
    packet("push-cert\0report-status") + b"0000": 400,
    packet(f"{'0' * 40} {'1' * 40} refs/agents/ada/x\0report-status"): 400,
    commands(("0" * 40, "1" * 40, "refs/agents/ada/\x07")): 400,
    commands(*[("0" * 40, "1" * 40, "refs/agents/ada/x")] * 2): 400,
    commands(*[("0" * 40, "1" * 40, f"refs/agents/ada/{n}") for n in range(COMMANDS + 1)]): 413,
}
UNPACKED = {
    b"": b"ends before its pack",
    b"PACK\0\0\0\2\0\0\0\1": b"git refuses the pack",
    b"PACK\0\0\0\2\0\0\0\1" + b"\xff" * 500: b"git refuses the pack",
    Evil().pack(): b"git refuses the pack",
}


@pytest.mark.parametrize("body", GARBAGE)
def test_garbage_is_no_push(roomy: Server, body: bytes) -> None:
    """It is refused in words, never with a 500."""
    path, key = "/git/main.git/git-receive-pack", roomy.key("ada")
    before = packs(roomy)
    assert roomy.ask("POST", path, body, key).status == GARBAGE[body]
    assert roomy.ask("POST", path, body, key, {"Content-Encoding": "gzip"}).status in (200, 400)
    assert packs(roomy) == before
    nothing_left(roomy)


@pytest.mark.parametrize("more", UNPACKED)
def test_a_damaged_pack_is_refused(roomy: Server, more: bytes) -> None:
    """As a status of the ref, so that git shows it."""
    body = commands(("0" * 40, "1" * 40, "refs/agents/ada/x"), more=more)
    before = packs(roomy)
    answer = roomy.ask("POST", "/git/main.git/git-receive-pack", body, roomy.key("ada"))
    assert answer.status == 200 and b"ng refs/agents/ada/x " in answer.body
    assert UNPACKED[more] in answer.body or b"does not hold it" in answer.body, answer
    assert packs(roomy) == before
    nothing_left(roomy)


@pytest.mark.slow
def test_pushes_at_once(server: Server, lab: Lab, make_repo: MakeRepo) -> None:
    """Agents on one base, each with its own commits, and all with one same commit."""
    push(server, lab, "HEAD:refs/agents/ada/a")
    base = lab.git("rev-parse", "HEAD")
    tree = lab.git("write-tree")
    same = lab.git("commit-tree", "-p", base, "-m", "the same one", tree)
    own = [lab.git("commit-tree", "-p", same, "-m", f"own {n}", tree) for n in range(8)]
    agents = [f"agent{number}" for number in range(8)]
    for agent in agents:
        server.key(agent)

    def one(number: int) -> int:
        agent = agents[number]
        ref = f"{own[number]}:refs/agents/{agent}/x"
        return git(lab.folder, "push", "-q", url(server, agent), ref).returncode

    assert together(8, one) == [0] * 8
    assert set(hashes(server, "leaves")) == set(own)
    assert set(hashes(server, f"commits/{same}/children")) == set(own)
    assert len(hashes(server, "commits")) == 10
    nothing_left(server)


def test_a_push_sends_only_what_the_hub_lacks(server: Server, lab: Lab, tmp_path: Path) -> None:
    """The newest commits are named to whoever pushes, leaf or not; for others git can ask."""
    for number in range(30):
        lab.git("commit", "-q", "--allow-empty", "-m", str(number))
    push(server, lab, "HEAD:refs/agents/ada/a")
    lab.git("checkout", "-q", "-b", "early", "HEAD~20")
    lab.commit("x = 1\n")
    said = git(lab.folder, "push", "--progress", url(server, "bob"), "HEAD:refs/agents/bob/b")
    assert said.returncode == 0 and "Writing objects: 100% (3/3)" in said.stderr, said
    lab.commit("x = 2\n")
    ended = git(
        lab.folder, "-c", "push.negotiate=true", "push", "--progress", url(server, "bob"),
        "HEAD:refs/agents/bob/c",
    )  # fmt: skip
    assert ended.returncode == 0 and "(3/3)" in ended.stderr, ended


def test_the_hubs_own_repository_keeps_no_refs(server: Server, lab: Lab) -> None:
    """Refs are made for each request; none is stored, and nothing of a request stays."""
    push(server, lab, "HEAD:refs/agents/ada/a")
    git(lab.folder, "fetch", url(server))
    bare = Repo(server.data / "projects" / "main" / "repo.git")
    assert bare.git("for-each-ref") == ""
    assert not (bare.folder / "packed-refs").exists()
    nothing_left(server)


# ---- what goes away in the middle --------------------------------------------------------------


@pytest.mark.slow
def test_a_fetch_that_is_left_ends_git(tmp_path: Path, lab: Lab) -> None:
    """Whoever hangs up leaves no program and no folder behind."""
    for number in range(16):
        (lab.folder / f"noise{number}").write_bytes(os.urandom(900_000))
    sha = lab.commit("x = 1\n")
    with serving(tmp_path / "data", settings()) as server:
        push(server, lab, "HEAD:refs/agents/ada/a")
        body = packet(f"want {sha} side-band-64k ofs-delta") + b"0000" + packet("done")
        head = (
            "POST /git/main.git/git-upload-pack HTTP/1.1\r\nHost: hub\r\n"
            f"Authorization: Bearer {server.key('ada')}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        views = server.data / "incoming" / "main"
        with socket.socket() as left:
            left.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            left.settimeout(60)
            left.connect(("127.0.0.1", server.port))
            left.sendall(head.encode() + body)
            assert left.recv(15) == b"HTTP/1.1 200 OK"
            assert len(list(views.iterdir())) == 1
        ends = time.monotonic() + 60
        while list(views.iterdir()) and time.monotonic() < ends:
            time.sleep(0.05)
        assert list(views.iterdir()) == []
        assert hashes(server, "leaves") == [sha]


@pytest.mark.slow
def test_a_killed_server_keeps_what_it_said_it_has(tmp_path: Path, lab: Lab) -> None:
    """Killed while pushes come: every push that git was told of is there, and all is whole."""
    push_many: list[str] = []
    base = lab.git("rev-parse", "HEAD")
    tree = lab.git("write-tree")
    tips = [lab.git("commit-tree", "-p", base, "-m", str(n), tree) for n in range(200)]
    enough = threading.Event()
    with serving(tmp_path / "data", SMALL) as server:
        push(server, lab, "HEAD:refs/agents/ada/a")
        there = url(server)

        def work() -> None:
            for sha in tips:
                if git(lab.folder, "push", "-q", there, f"{sha}:refs/agents/ada/x").returncode:
                    break
                push_many.append(sha)
                if len(push_many) >= 3:
                    enough.set()

        worker = threading.Thread(target=work)
        worker.start()
        assert enough.wait(60)
        server.process.kill()
        worker.join(120)
        assert not worker.is_alive() and len(push_many) < len(tips)
    with serving(tmp_path / "data", SMALL) as again:
        again.keys.update(server.keys)
        found = set(hashes(again, "leaves"))
        assert found >= set(push_many)
        nothing_left(again)
