"""The holes that running the original showed, each closed: over HTTP, against a real server.

The numbers are those of the list of holes; what lies inside git or the database alone is tested
beside it.
"""

from __future__ import annotations

import random
import select
import socket
import stat
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hub_server import ADMIN, Repo, Server, serving, settings, together

MIB = 2**20
PLENTY = 200 * MIB  # that the server's memory stays under


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("hub") / "data") as found:
        yield found


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "data") as found:
        yield found


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo")


def hashes(server: Server, path: str) -> list[str]:
    """The commits that a route lists."""
    found = server.get(f"/api/git/{path}")
    assert found.status == 200, found
    return [each["hash"] for each in found.json]


def packs(server: Server) -> set[str]:
    """The packs that the hub has stored."""
    folder = server.data / "projects" / "main" / "repo.git" / "objects" / "pack"
    return {path.name for path in folder.glob("*.pack")}


def test_hole_01_a_relative_data_folder_takes_pushes(tmp_path: Path, repo: Repo) -> None:
    """`--data ./data` works as an absolute path does."""
    (tmp_path / "here").mkdir()
    with serving(Path("data"), cwd=tmp_path / "here") as server:
        sha = repo.commit("x = 1\n")
        assert server.push(repo.bundle()).json == {"hashes": [sha]}
        assert server.get(f"/api/git/fetch/{sha}").status == 200
    assert (tmp_path / "here" / "data" / "hub.db").exists()


def test_hole_02_all_commits_of_a_push_are_known(fresh: Server, repo: Repo) -> None:
    """c1, then c1..c5 in one bundle: five commits, one leaf, a lineage of five."""
    shas = [repo.commit("x = 1\n")]
    fresh.push(repo.bundle())
    shas += [repo.commit(f"x = {number}\n") for number in range(2, 6)]
    assert fresh.push(repo.bundle()).json == {"hashes": [shas[-1]]}
    assert hashes(fresh, "commits") == shas[::-1]
    assert hashes(fresh, "leaves") == [shas[-1]]
    assert hashes(fresh, f"commits/{shas[-1]}/lineage") == shas[::-1]


def test_hole_03_a_commit_without_its_parent_is_refused_every_time(
    fresh: Server, repo: Repo
) -> None:
    """An unknown parent is never made up, whichever connection is used."""
    base = repo.commit("x = 1\n")
    repo.commit("x = 2\n")
    bundle = repo.bundle("HEAD", f"^{base}")
    for found in together(4, lambda _: fresh.push(bundle)):
        assert found.status == 400
        assert base in found.error
    assert hashes(fresh, "commits") == []


def test_hole_04_a_merged_commit_is_no_leaf(fresh: Server, repo: Repo) -> None:
    """All parents count, not the first alone."""
    base = repo.commit("x = 1\n")
    one = repo.commit("x = 2\n")
    repo.git("checkout", "-q", base)
    other = repo.commit("y = 1\n", name="other.py")
    repo.git("merge", "-q", "-m", "both", one)
    merge = repo.git("rev-parse", "HEAD")
    fresh.push(repo.bundle("HEAD", "main"))
    assert hashes(fresh, "leaves") == [merge]
    assert hashes(fresh, f"commits/{one}/children") == [merge]
    assert hashes(fresh, f"commits/{other}/children") == [merge]
    assert fresh.get(f"/api/git/commits/{merge}").json["parent_hash"] == other


@pytest.mark.parametrize("kind", ["blob", "tree", "tag"])
def test_hole_05_only_commits_are_commits(fresh: Server, repo: Repo, kind: str) -> None:
    """A bundle whose head is a blob, a tree or an annotated tag is refused, and not stored."""
    repo.commit("x = 1\n")
    repo.git("tag", "-a", "-m", "first", "v1")
    name = {"blob": "HEAD:train.py", "tree": "HEAD^{tree}", "tag": "v1"}[kind]
    repo.git("update-ref", "refs/odd/head", repo.git("rev-parse", name))
    found = fresh.push(repo.bundle("refs/odd/head"))
    assert found.status == 400
    assert kind in found.error
    assert hashes(fresh, "commits") == []
    assert packs(fresh) == set()


def test_hole_06_short_hashes_resolve_or_are_refused(server: Server, repo: Repo) -> None:
    """7 characters are fetched, 4 to 6 are an error that says so: nothing is dropped."""
    sha = repo.commit("x = 6\n")
    server.push(repo.bundle())
    for length in range(1, 7):
        found = server.get(f"/api/git/fetch/{sha[:length]}")
        assert found.status == 400
        assert "7 to 40" in found.error
    for length in (7, 12, 39, 40):
        found = server.get(f"/api/git/fetch/{sha[:length]}")
        assert found.status == 200
        assert found.body.startswith(b"# v2 git bundle\n")
        assert server.get(f"/api/git/commits/{sha[:length]}").json["hash"] == sha


def test_hole_07_many_fetch_one_commit_at_once(server: Server, repo: Repo) -> None:
    """40 at the same moment all get the whole bundle."""
    sha = repo.commit("x = 7\n")
    server.push(repo.bundle())
    server.key("someone")
    found = together(40, lambda _: server.get(f"/api/git/fetch/{sha}"))
    assert Counter(each.status for each in found) == {200: 40}
    path = repo.folder / ".git" / "fetched.bundle"
    for body in {each.body for each in found}:
        path.write_bytes(body)
        repo.git("bundle", "verify", "-q", str(path))


def test_hole_08_sixteen_write_at_once(tmp_path: Path) -> None:
    """Posts from 16 connections: not one error, and all of them are there."""
    with serving(tmp_path / "data", settings(posts_per_hour=1000)) as server:
        server.post("/api/channels", {"name": "results"})
        for number in range(16):
            server.key(f"agent{number}")

        def write(number: int) -> list[int]:
            path, agent = "/api/channels/results/posts", f"agent{number}"
            return [server.post(path, {"content": f"{n}"}, agent).status for n in range(12)]

        statuses = [status for each in together(16, write) for status in each]
        assert Counter(statuses) == {201: 192}
        assert len(server.get("/api/channels/results/posts?limit=200").json) == 192


def test_hole_10_order_within_one_second(server: Server) -> None:
    """The newest post comes first, however many there are in its second."""
    server.post("/api/channels", {"name": "quick"})
    ids = [server.post("/api/channels/quick/posts", {"content": f"{n}"}).json["id"] for n in "123"]
    newest = server.get("/api/channels/quick/posts?limit=2").json
    assert [each["id"] for each in newest] == ids[:0:-1]


def test_hole_11_nobody_uses_up_all_channels(fresh: Server) -> None:
    """One agent makes ten; others still can; one that exists is 409, whatever the caps."""
    made = [fresh.post("/api/channels", {"name": f"c{n}"}, "greedy").status for n in range(12)]
    assert made == [201] * 10 + [403] * 2
    assert fresh.post("/api/channels", {"name": "c1"}, "greedy").status == 409
    assert fresh.post("/api/channels", {"name": "other"}, "modest").status == 201


def test_hole_14_known_history_is_not_unpacked_again(fresh: Server, repo: Repo) -> None:
    """The whole history again changes nothing; what is new alone can be sent."""
    shas = [repo.commit(f"x = {number}\n") for number in range(20)]
    fresh.push(repo.bundle())
    before = packs(fresh)
    assert fresh.push(repo.bundle()).json == {"hashes": [shas[-1]]}
    assert packs(fresh) == before
    new = repo.commit("x = 20\n")
    thin = repo.bundle("HEAD", f"^{shas[-1]}")
    assert len(thin) < 1000
    assert fresh.push(thin).json == {"hashes": [new]}
    assert len(hashes(fresh, "commits")) == 21


@pytest.mark.slow
def test_hole_15_diff_bomb(fresh: Server, repo: Repo) -> None:
    """Neither a huge file nor a huge diff of small ones takes memory; the diff says it is cut."""
    base = repo.commit("x = 1\n")
    (repo.folder / "bomb.txt").write_bytes(b"the same line again\n" * 7_500_000)
    repo.commit("x = 2\n")
    bundle = repo.bundle()
    assert len(bundle) < MIB
    found = fresh.push(bundle)
    assert found.status == 413
    assert found.error
    repo.git("reset", "-q", "--hard", base)
    for number in range(40):
        (repo.folder / f"small{number}.txt").write_bytes(f"line {number}\n".encode() * 90_000)
    many = repo.commit("x = 3\n")
    assert fresh.push(repo.bundle()).status == 201
    for found in together(8, lambda _: fresh.get(f"/api/git/diff/{base}/{many}")):
        assert found.status == 200
        assert len(found.body) < 300_000
        assert b"cut: 262,144 bytes are shown" in found.body
    assert fresh.resident() < PLENTY
    assert fresh.ask("GET", "/api/health").status == 200


def test_hole_16_what_fails_is_counted(tmp_path: Path) -> None:
    """Garbage uses the rate up as honest pushes do, and its bytes count as well."""
    with serving(tmp_path / "data", settings(pushes_per_hour=5)) as server:
        statuses = [server.push(b"garbage").status for _ in range(8)]
        assert statuses == [400] * 5 + [429] * 3
        found = server.push(b"garbage")
        assert int(found.headers["retry-after"]) == found.json["retry_after"] > 0
        assert server.push(b"garbage", "other").status == 400


def test_hole_16_bytes_of_failed_pushes_are_counted(tmp_path: Path) -> None:
    """A day's bytes are used up by what was refused, even by bodies that were too long."""
    words = settings(mb_per_day=1, max_bundle_mb=0.6, pushes_per_hour=1000)
    with serving(tmp_path / "data", words) as server:
        key = server.key("someone")

        def chunks() -> Iterator[bytes]:
            yield from (b"x" * 65_536 for _ in range(10))

        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            head = f"POST /api/git/push HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
            connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
            for chunk in chunks():
                connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
        assert server.push(b"x" * 600_000).status == 429
        assert server.push(b"x" * 100_000).status == 400


def test_hole_16_the_last_ones_are_not_given_away_twice(tmp_path: Path) -> None:
    """64 at the same moment, 5 allowed: five are taken."""
    with serving(tmp_path / "data", settings(posts_per_hour=5)) as server:
        server.post("/api/channels", {"name": "results"})
        path = "/api/channels/results/posts"
        found = together(64, lambda n: server.post(path, {"content": f"{n}"}))
        assert Counter(each.status for each in found) == {201: 5, 429: 59}


def test_hole_17_quotas_hold_and_refused_pushes_leave_nothing(tmp_path: Path, repo: Repo) -> None:
    """Over its quota an agent stores nothing more; what was refused is not kept anywhere."""
    with serving(tmp_path / "data", settings(agent_quota_mb=0.2)) as server:
        base = repo.commit("x = 1\n")
        assert server.push(repo.bundle()).status == 201
        before = packs(server)
        (repo.folder / "noise.bin").write_bytes(random.Random(1).randbytes(300_000))
        sha = repo.commit("x = 2\n")
        found = server.push(repo.bundle())
        assert found.status == 413
        assert found.json["quota"] == int(0.2 * MIB)
        assert packs(server) == before
        assert hashes(server, "commits") == [base]
        assert server.get(f"/api/git/fetch/{sha}").status == 404
        assert [path for path in (server.data / "incoming").rglob("*") if path.is_file()] == []


@pytest.mark.slow
def test_hole_17_uploads_are_not_held_in_memory(tmp_path: Path) -> None:
    """Eight uploads of 40 MB at once go to disk, and are gone from there when they are refused."""
    with serving(tmp_path / "data", settings(mb_per_day=1000)) as server:
        for number in range(8):
            server.key(f"agent{number}")
        body = b"no bundle\n" + b"x" * (40 * MIB)
        found = together(8, lambda n: server.push(body, f"agent{n}"))
        assert Counter(each.status for each in found) == {400: 8}
        assert server.resident() < PLENTY
        assert [path for path in (server.data / "incoming").rglob("*") if path.is_file()] == []


def test_hole_18_a_tree_with_a_git_folder_is_refused(fresh: Server, repo: Repo) -> None:
    """`.git/hooks/post-checkout` is not passed on to those who fetch."""
    blob = repo.git("hash-object", "-w", "--stdin", stdin=b"#!/bin/sh\n")
    tree = f"100755 blob {blob}\tpost-checkout\n"
    for name in ("hooks", ".git"):
        tree = f"040000 tree {repo.git('mktree', stdin=tree.encode())}\t{name}\n"
    top = repo.git("mktree", stdin=tree.encode())
    sha = repo.git("commit-tree", "-m", "evil", top)
    repo.git("update-ref", "refs/heads/evil", sha)
    assert fresh.push(repo.bundle("refs/heads/evil")).status == 400
    assert packs(fresh) == set()


def test_hole_19_addresses_are_told_apart(tmp_path: Path) -> None:
    """Behind a proxy that is named, each client has its own rate; an IPv6 customer has one."""
    words = f"{settings(registrations_per_hour=2)}, proxies=['127.0.0.1']"
    with serving(tmp_path / "data", words) as server:

        def register(name: str, address: str) -> int:
            headers = {"X-Forwarded-For": address}
            return server.ask("POST", "/api/register", {"id": name}, headers=headers).status

        assert [register(f"a{n}", "2001:db8:1::1") for n in range(3)] == [201, 201, 429]
        assert register("b", "2001:db8:1:0:5::77") == 429, "the same customer's network"
        assert register("c", "2001:db8:2::1") == 201, "a stranger in the same /16"
        assert register("d", "192.0.2.1") == 201
        assert register("e", "192.0.2.2, 192.0.2.1") == 201
        assert register("f", "192.0.2.3, 192.0.2.1") == 429, "only the proxy's word counts"


def test_hole_19_nobody_chooses_an_address(tmp_path: Path) -> None:
    """Without a proxy that is named, what a client says of itself is not believed."""
    with serving(tmp_path / "data", settings(registrations_per_hour=2)) as server:
        statuses = [
            server.ask(
                "POST", "/api/register", {"id": f"a{n}"},
                headers={"X-Forwarded-For": f"192.0.2.{n}"},
            ).status
            for n in range(3)
        ]  # fmt: skip
        assert statuses == [201, 201, 429]


@pytest.mark.parametrize(
    "id", ["<script>", "../x", "a\nb", "", ".x", "a" * 64, "a b", "é", "admin"]
)
def test_hole_20_the_admin_makes_no_hostile_ids(server: Server, id: str) -> None:
    """An agent's id is checked whoever makes it."""
    found = server.ask("POST", "/api/admin/agents", {"id": id}, ADMIN)
    assert found.status == (409 if id == "admin" else 400)
    assert found.error


@pytest.mark.parametrize("key", ["", "x", ADMIN[:-1], ADMIN + "x", ADMIN.upper()])
def test_hole_20_only_the_admin_key_is_the_admin_key(server: Server, key: str) -> None:
    """Anything else than the whole key is nobody's."""
    assert server.ask("POST", "/api/admin/agents", {"id": "x"}, key).status == 401


def test_hole_21_no_key_is_stored(server: Server) -> None:
    """What lies on disk opens nothing, and only the hub's owner may read it."""
    key = server.key("someone")
    assert server.get("/api/channels").status == 200
    files = [path for path in server.data.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"hub.db", "pepper"}
    for path in files:
        content = path.read_bytes()
        assert key.encode() not in content, path
        assert key.rpartition("_")[2].encode() not in content, path
    for path in (server.data, server.data / "hub.db", server.data / "pepper"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


# ---- 22: slow clients --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def brisk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    words = settings(head_seconds=0.5, idle_seconds=0.5, body_seconds=1.0, unread_seconds=0.5)
    with serving(tmp_path_factory.mktemp("hub") / "data", words) as found:
        yield found


def told(connection: socket.socket) -> bytes:
    """All that a server says until it hangs up."""
    connection.settimeout(30)
    said = b""
    while chunk := connection.recv(65_536):
        said += chunk
    return said


@pytest.mark.slow
def test_hole_22_slow_heads(brisk: Server) -> None:
    """200 that never finish their request are told so and cut off; others are served meanwhile."""
    slow = [socket.create_connection(("127.0.0.1", brisk.port)) for _ in range(200)]
    for connection in slow:
        connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    assert brisk.ask("GET", "/api/health").status == 200
    for connection in slow:
        with connection:
            assert told(connection).startswith(b"HTTP/1.1 408 ")


@pytest.mark.slow
@pytest.mark.parametrize(
    "begun",
    [
        b"GET /api/health HTTP/1.1\r\nX: ",
        b"",
        b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\nGET /api/hea",
        b"POST /api/register HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n",
        b"POST /api/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n",
    ],
    ids=["head", "nothing", "second head", "body", "body that nobody reads"],
)
def test_hole_22_trickle(brisk: Server, begun: bytes) -> None:
    """A byte now and then prolongs nothing."""
    with socket.create_connection(("127.0.0.1", brisk.port)) as connection:
        connection.sendall(begun)
        connection.setblocking(False)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            ready, _, _ = select.select([connection], [], [], 0.1)
            try:
                if ready and not connection.recv(65_536):
                    return
                connection.send(b"a")
            except BlockingIOError:
                continue
            except OSError:
                return
    pytest.fail("the connection was never ended")


def test_hole_22_a_body_that_stops(brisk: Server) -> None:
    """A body that stops coming is told so as JSON; the push leaves nothing."""
    with socket.create_connection(("127.0.0.1", brisk.port)) as connection:
        head = f"POST /api/git/push HTTP/1.1\r\nAuthorization: Bearer {brisk.key('someone')}\r\n"
        connection.sendall(f"{head}Host: x\r\nContent-Length: 1000\r\n\r\n# v2".encode())
        said = told(connection)
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b'{"error":"The body did not come' in said
    assert [path for path in (brisk.data / "incoming").rglob("*") if path.is_file()] == []


@pytest.mark.slow
def test_hole_22_who_does_not_read(brisk: Server, repo: Repo) -> None:
    """Who fetches and never reads is cut off, and the program that made the bundle ends."""
    for number in range(20):
        noise = random.Random(number).randbytes(900_000)
        (repo.folder / f"noise{number}.bin").write_bytes(noise)
        if number % 4 == 3:
            repo.commit(f"x = {number}\n")
            assert (
                brisk.push(repo.bundle("HEAD", *(["^HEAD~1"] if number > 3 else []))).status == 201
            )
    sha = repo.git("rev-parse", "HEAD")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", brisk.port))
        head = f"GET /api/git/fetch/{sha} HTTP/1.1\r\nAuthorization: Bearer {brisk.key('someone')}"
        connection.sendall(f"{head}\r\nHost: x\r\n\r\n".encode())
        poll = select.poll()
        poll.register(connection, 0)
        assert poll.poll(30_000), "the connection was never ended"
    end = time.monotonic() + 30
    while sends(brisk) and time.monotonic() < end:
        time.sleep(0.05)
    assert not sends(brisk)
    assert brisk.get(f"/api/git/commits/{sha}").status == 200


def sends(server: Server) -> bool:
    """Whether a child of the server still makes a bundle."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    for child in children:
        try:
            if "pack-objects" in child.cmdline():
                return True
        except psutil.NoSuchProcess:
            continue
    return False


def test_hole_23_who_pushed_first(fresh: Server, repo: Repo) -> None:
    """A commit is whose key pushed it, whatever its author says, and stays so."""
    mine = repo.commit("x = 1\n")
    assert fresh.push(repo.bundle(), "ada").status == 201
    repo.git("config", "user.name", "ada")
    theirs = repo.commit("x = 2\n", message="by ada, says git")
    assert fresh.push(repo.bundle(), "mallory").status == 201
    assert fresh.get(f"/api/git/commits/{mine}").json["agent_id"] == "ada"
    assert fresh.get(f"/api/git/commits/{theirs}").json["agent_id"] == "mallory"
    assert hashes(fresh, "commits?agent=ada") == [mine]


@pytest.mark.slow
def test_no_program_is_left(tmp_path: Path, repo: Repo) -> None:
    """When the server ends, so do all programs it started."""
    with serving(tmp_path / "data") as server:
        sha = repo.commit("x = 1\n")
        server.push(repo.bundle())
        server.get(f"/api/git/fetch/{sha}")
        children = psutil.Process(server.process.pid).children(recursive=True)
        assert children
        assert server.end() == 0
    _, alive = psutil.wait_procs(children, 10)
    assert not alive
