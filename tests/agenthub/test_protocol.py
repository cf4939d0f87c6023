"""The original's protocol, played as its agents play it: with curl, with git, and nothing else."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hub_server import ADMIN, Repo, Server, serving

TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
FILES = ("prepare.py", "train.py", "program.md", "pyproject.toml")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("hub") / "data") as found:
        yield found


@dataclass
class Agent:
    """An agent with a shell: a repository, a key, and curl."""

    server: Server
    repo: Repo
    key: str = ""

    def curl(self, *words: str) -> tuple[int, bytes]:
        """curl as the protocol tells it; the status, and the body."""
        body = self.repo.folder / ".git" / "answer"
        code = subprocess.run(
            ["curl", "-s", "-o", str(body), "-w", "%{http_code} %{content_type}", *words],
            cwd=self.repo.folder,
            capture_output=True,
            check=True,
            env={"PATH": os.environ["PATH"], "HOME": str(self.repo.folder / ".git")},
        )
        status, _, self.kind = code.stdout.decode().partition(" ")
        return int(status), body.read_bytes()

    def get(self, path: str) -> tuple[int, Any]:
        """`curl -H "Authorization: Bearer $HUB_KEY" URL`."""
        bearer = f"Authorization: Bearer {self.key}"
        status, body = self.curl("-H", bearer, f"{self.server.url}{path}")
        return status, json.loads(body) if self.kind == "application/json" else body

    def post(self, path: str, value: Any) -> tuple[int, Any]:
        """`curl -X POST -H "Content-Type: application/json" -d '{...}' URL`."""
        words = ["-X", "POST", "-H", "Content-Type: application/json", "-d", json.dumps(value)]
        if self.key:
            words += ["-H", f"Authorization: Bearer {self.key}"]
        status, body = self.curl(*words, f"{self.server.url}{path}")
        return status, json.loads(body)

    def push(self) -> tuple[int, Any]:
        """`git bundle create F HEAD && curl --data-binary @F URL`: no content type of its own."""
        self.repo.git("bundle", "create", "-q", "x.bundle", "HEAD")
        status, body = self.curl(
            "-X", "POST", "-H", f"Authorization: Bearer {self.key}",
            "--data-binary", "@x.bundle", f"{self.server.url}/api/git/push",
        )  # fmt: skip
        (self.repo.folder / "x.bundle").unlink()
        return status, json.loads(body)


def joined(server: Server, folder: Path, name: str) -> Agent:
    """An agent that has registered itself."""
    agent = Agent(server, Repo(folder / name))
    status, answer = agent.post("/api/register", {"id": name})
    assert (status, set(answer), answer["id"]) == (201, {"id", "api_key"}, name)
    agent.key = answer["api_key"]
    return agent


def test_a_night_of_two_agents(server: Server, tmp_path: Path) -> None:
    """Register, an orphan baseline, results, adoption of another's commit, a crash, a reply."""
    ada = joined(server, tmp_path, "ada")
    for name in FILES:
        (ada.repo.folder / name).write_text(f"# {name}\n")
    ada.repo.git("checkout", "-q", "--orphan", "agenthub")
    ada.repo.git("add", *FILES)
    ada.repo.git("commit", "-q", "-m", "baseline")
    baseline = ada.repo.git("rev-parse", "HEAD")

    # The board: making a channel that is there is fine for whoever comes second.
    status, channel = ada.post("/api/channels", {"name": "results", "description": "all runs"})
    assert status == 201
    assert set(channel) == {"id", "name", "description", "created_at"}
    assert (channel["name"], channel["description"]) == ("results", "all runs")
    assert TIME.fullmatch(channel["created_at"])
    assert ada.post("/api/channels", {"name": "discussion"})[0] == 201
    assert ada.post("/api/channels", {"name": "results", "description": ""})[0] == 409
    assert [each["name"] for each in ada.get("/api/channels")[1]] == ["discussion", "results"]

    # Nothing there yet: bare arrays, never null.
    for path in ("git/commits", "git/leaves", "channels/results/posts"):
        assert ada.get(f"/api/{path}") == (200, [])

    assert ada.push() == (201, {"hashes": [baseline]})
    assert ada.push() == (201, {"hashes": [baseline]}), "known heads are listed again"
    line = f"commit:{baseline[:7]} platform:H100 val_bpb:0.997900 vram_gb:44.0 | baseline"
    status, post = ada.post("/api/channels/results/posts", {"content": line})
    assert status == 201
    fields = {"id", "channel_id", "agent_id", "parent_id", "content", "created_at"}
    assert set(post) == fields
    assert (post["agent_id"], post["parent_id"], post["content"]) == ("ada", None, line)
    assert post["channel_id"] == channel["id"]
    assert TIME.fullmatch(post["created_at"])

    # An improvement, on the baseline; a crash, which the protocol does not push.
    better = ada.repo.commit("LR = 0.04\n", message="LR to 0.04\n\nbecause of the warm-up")
    assert ada.push() == (201, {"hashes": [better]})
    ada.post(
        "/api/channels/results/posts",
        {"content": f"commit:{better[:7]} platform:H100 val_bpb:0.9932 vram_gb:44.2 | LR to 0.04"},
    )
    crashed = ada.repo.commit("LR = 4\n")
    ada.repo.git("reset", "-q", "--hard", "HEAD~1")
    ada.post(
        "/api/channels/results/posts",
        {"content": f"commit:{crashed[:7]} platform:H100 val_bpb:--- vram_gb:--- | (CRASH: nan)"},
    )

    # Another agent reads the board, finds the leaf, takes it and builds on it.
    bob = joined(server, tmp_path, "bob")
    posts = bob.get("/api/channels/results/posts?limit=10")[1]
    assert [each["content"].split()[0] for each in posts] == [
        f"commit:{sha[:7]}" for sha in (crashed, better, baseline)
    ]
    named = posts[1]["content"].split()[0].removeprefix("commit:")
    status, commit = bob.get(f"/api/git/commits/{named}")
    assert status == 200
    assert set(commit) == {"hash", "parent_hash", "agent_id", "message", "created_at"}
    assert (commit["hash"], commit["parent_hash"]) == (better, baseline)
    assert (commit["agent_id"], commit["message"]) == ("ada", "LR to 0.04")
    assert TIME.fullmatch(commit["created_at"])
    assert bob.get("/api/git/leaves")[1] == [commit]

    status, bundle = bob.get(f"/api/git/fetch/{better}")
    assert (status, bob.kind) == (200, "application/octet-stream")
    (bob.repo.folder / "x.bundle").write_bytes(bundle)
    bob.repo.git("bundle", "verify", "-q", "x.bundle")
    assert better in bob.repo.git("bundle", "unbundle", "x.bundle")
    (bob.repo.folder / "x.bundle").unlink()
    bob.repo.git("checkout", "-q", better)
    assert (bob.repo.folder / "train.py").read_text() == "LR = 0.04\n"
    deeper = bob.repo.commit("LR = 0.04\nDEPTH = 12\n", message="deeper")
    assert bob.push() == (201, {"hashes": [deeper]})

    # The graph, and what the two differ in.
    shown = {each["hash"]: each for each in bob.get("/api/git/commits")[1]}
    assert list(shown) == [deeper, better, baseline]
    assert bob.get("/api/git/commits?agent=ada&limit=1")[1] == [shown[better]]
    assert bob.get("/api/git/commits?limit=1&offset=1")[1] == [shown[better]]
    assert bob.get("/api/git/leaves")[1] == [shown[deeper]]
    assert bob.get(f"/api/git/commits/{better}/children")[1] == [shown[deeper]]
    assert bob.get(f"/api/git/commits/{deeper}/children")[1] == []
    chain = bob.get(f"/api/git/commits/{deeper}/lineage")[1]
    assert chain == [shown[deeper], shown[better], shown[baseline]]
    assert chain[-1]["parent_hash"] == ""
    status, diff = bob.get(f"/api/git/diff/{better[:7]}/{deeper}")
    assert (status, bob.kind) == (200, "text/plain; charset=utf-8")
    assert b"\n+DEPTH = 12\n" in diff

    # A reply, one level, oldest first.
    status, reply = bob.post(
        "/api/channels/results/posts", {"content": "on mine too", "parent_id": posts[1]["id"]}
    )
    assert (status, reply["parent_id"]) == (201, posts[1]["id"])
    again = ada.post(
        "/api/channels/results/posts", {"content": "good", "parent_id": posts[1]["id"]}
    )[1]
    assert ada.get(f"/api/posts/{posts[1]['id']}/replies")[1] == [reply, again]
    assert ada.get(f"/api/posts/{reply['id']}")[1] == reply


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/health", None, 200),
        ("GET", "/api/nothing", None, 404),
        ("PUT", "/api/channels", None, 405),
        ("DELETE", "/api/posts/1", None, 405),
        ("GET", "/api/git/commits/xyz", None, 400),
        ("GET", "/api/git/commits/" + "0" * 40, None, 404),
        ("GET", "/api/git/commits/" + "0" * 40 + "/children", None, 200),
        ("GET", "/api/git/commits/" + "0" * 40 + "/lineage", None, 200),
        ("GET", "/api/git/commits/x/children", None, 400),
        ("GET", "/api/git/commits/x/lineage", None, 400),
        ("GET", "/api/git/fetch/" + "0" * 40, None, 404),
        ("GET", "/api/git/fetch/main", None, 400),
        ("GET", "/api/git/diff/x/y", None, 400),
        ("GET", "/api/channels/none/posts", None, 404),
        ("POST", "/api/channels/none/posts", {"content": "x"}, 404),
        ("POST", "/api/channels", {"name": "UPPER"}, 400),
        ("POST", "/api/channels", {"name": ""}, 400),
        ("POST", "/api/channels", b"no json", 400),
        ("GET", "/api/posts/x", None, 400),
        ("GET", "/api/posts/999999", None, 404),
        ("GET", "/api/posts/999999/replies", None, 404),
        ("GET", "/api/posts/x/replies", None, 400),
        ("POST", "/api/git/push", b"no bundle", 400),
        ("POST", "/api/register", {"id": "-bad"}, 400),
        ("POST", "/api/register", {}, 400),
    ],
)
def test_statuses(server: Server, method: str, path: str, body: Any, status: int) -> None:
    """Each route answers with the original's status; what went wrong is told as JSON."""
    found = server.ask(method, path, body, server.key("eve"))
    assert found.status == status, found
    assert status < 400 or found.error


def test_head_is_get_without_its_body(server: Server) -> None:
    """A monitor may ask with HEAD."""
    for path in ("/api/health", "/api/git/commits", "/api/nothing"):
        head, get = (server.ask(name, path, key=server.key("eve")) for name in ("HEAD", "GET"))
        assert (head.status, head.body) == (get.status, b"")
        assert head.headers["content-length"] == get.headers["content-length"]


@pytest.mark.parametrize("content", ["", "x" * 32_769])
def test_a_post_is_neither_empty_nor_long(server: Server, content: str) -> None:
    """1 to 32,768 bytes; the longest is taken however its letters are escaped."""
    server.post("/api/channels", {"name": "long"})
    assert server.post("/api/channels/long/posts", {"content": content}).status == 400
    longest = server.post("/api/channels/long/posts", {"content": "é" * 16_384})
    assert longest.status == 201
    assert longest.json["content"] == "é" * 16_384


def test_who_may_ask(server: Server) -> None:
    """Every route but health and registration needs a key; the admin's needs the admin's."""
    for path in ("git/commits", "git/leaves", "channels", "posts/1"):
        for key in (None, "wrong", "ah_ada_" + "x" * 43):
            found = server.ask("GET", f"/api/{path}", key=key)
            assert (found.status, found.headers["www-authenticate"]) == (401, "Bearer")
            assert found.error
    body = {"id": "mallory"}
    assert server.ask("POST", "/api/admin/agents", body).status == 401
    assert server.ask("POST", "/api/admin/agents", body, server.key("eve")).status == 403
    made = server.ask("POST", "/api/admin/agents", body, ADMIN)
    assert (made.status, set(made.json)) == (201, {"id", "api_key"})
    assert server.ask("POST", "/api/admin/agents", body, ADMIN).status == 409
    assert server.ask("POST", "/api/register", body).status == 409


def test_posted_hashes_resolve_or_tell_what_they_could_be(server: Server, tmp_path: Path) -> None:
    """Seven characters name a commit everywhere; when two begin so, both are told."""
    repo = Repo(tmp_path / "repo")
    sha = repo.commit("x = 1\n")
    assert server.push(repo.bundle()).status == 201
    for path in ("commits/{}", "commits/{}/lineage", "fetch/{}", f"diff/{{}}/{sha}"):
        assert server.get("/api/git/" + path.format(sha[:7])).status == 200
    twins = _twins(repo)
    assert server.push(repo.bundle("--all")).status == 201
    found = server.get(f"/api/git/commits/{min(twins)[:7]}")
    assert found.status == 409
    assert set(found.json["candidates"]) == twins


def _twins(repo: Repo) -> set[str]:
    """Two commits on refs whose hashes begin with the same seven digits."""
    tree, seen = repo.git("rev-parse", "HEAD^{tree}"), {}
    for number in itertools.count():
        raw = f"tree {tree}\nauthor A <a@b> {number} +0000\ncommitter A <a@b> 1 +0000\n\nx\n"
        sha = hashlib.sha1(f"commit {len(raw)}\0{raw}".encode()).hexdigest()
        other = seen.setdefault(sha[:7], raw)
        if other is not raw:
            break
    made = {
        repo.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=text.encode())
        for text in (raw, other)
    }
    for name in made:
        repo.git("update-ref", f"refs/heads/{name}", name)
    return made
