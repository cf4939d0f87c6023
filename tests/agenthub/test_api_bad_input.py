"""Whatever is sent, the answer says what is wrong with it, nothing is stored, and the hub is up."""

from __future__ import annotations

import http.client
import json
import random
import socket
import string
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_from_bytes

import hypothesis
import pytest
from hypothesis import strategies as st

from hub_server import ADMIN, Answer, Repo, Server, serving, settings

POSTS = "/api/channels/results/posts"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    words = settings(
        requests_per_minute=10**9, posts_per_hour=10**6, pushes_per_hour=10**6,
        diffs_per_hour=10**6, registrations_per_hour=10**6, mb_per_day=10**6, max_bundle_mb=1.0,
    )  # fmt: skip
    with serving(tmp_path_factory.mktemp("hub") / "data", words) as found:
        found.post("/api/channels", {"name": "results"})
        found.post(POSTS, {"content": "the first"})
        yield found


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    repo = Repo(tmp_path_factory.mktemp("repo"))
    for number in range(3):
        repo.commit(f"x = {number}\n")
    return repo.bundle()


def refused(answer: Answer, *statuses: int) -> str:
    """The error of an answer, which must be one of the client's."""
    assert answer.status in (statuses or range(400, 500)), answer
    return answer.error


def stored(server: Server) -> tuple[list[str], list[str]]:
    """All commits, and the files that pushes made."""
    commits = [each["hash"] for each in server.get("/api/git/commits?limit=200").json]
    folders = ("incoming", "projects/main/repo.git/objects")
    files = [path for folder in folders for path in (server.data / folder).rglob("*")]
    return commits, sorted(str(path) for path in files if path.is_file())


# ---- bundles -----------------------------------------------------------------------------------


def test_truncated_bundles(server: Server, bundle: bytes) -> None:
    """Cut anywhere, a bundle is refused whole."""
    before = stored(server)
    lengths = [1, 15, 16, 17, 60, 79, 80, 85, 92, len(bundle) // 2, len(bundle) - 20]
    for length in (*lengths, len(bundle) - 1):
        assert refused(server.push(bundle[:length]), 400)
    assert stored(server) == before


def test_damaged_bundles(server: Server, bundle: bytes) -> None:
    """With a bit of its pack turned, a bundle is refused whole; what comes behind it as well."""
    before, dice = stored(server), random.Random(1)
    start = bundle.index(b"PACK")
    for _ in range(20):
        damaged = bytearray(bundle)
        damaged[dice.randrange(start, len(bundle))] ^= 1 << dice.randrange(8)
        assert refused(server.push(bytes(damaged)), 400, 413)
    assert stored(server) == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0" * 1000,
        b"# v2 git bundle",
        b"# v2 git bundle\n\n",
        b"# v2 git bundle\n" + b"x" * 100_000,
        b"# v9 git bundle\n\nPACK",
        b"# v3 git bundle\n@object-format=sha256\n\nPACK",
        b"# v3 git bundle\n@filter=blob:none\n" + b"0" * 40 + b" HEAD\n\nPACK",
        b"# v2 git bundle\n" + b"0" * 40 + b" HEAD\n\n",
        b"# v2 git bundle\n" + b"0" * 40 + b" HEAD\n\nPACK\0\0\0\2\xff\xff\xff\xff",
        b"# v2 git bundle\n" + b"0" * 40 + b" HEAD\n\nPACK\0\0\0\2\0\0\0\0" + b"\0" * 20,
        b"# v2 git bundle\n-" + b"1" * 40 + b" base\n" + b"0" * 40 + b" HEAD\n\nPACK",
        b"# v2 git bundle\n" + (b"0" * 40 + b" HEAD\n") * 5000 + b"\nPACK",
        b"".join(b"# v2 git bundle\n" if n == 0 else b"%040x r\n" % n for n in range(100)),
        b'{"bundle": "json"}',
    ],
    ids=range(15),
)
def test_odd_bundles(server: Server, body: bytes) -> None:
    """What only resembles a bundle is refused, and leaves nothing."""
    before = stored(server)
    assert refused(server.push(body), 400, 413)
    assert stored(server) == before


def test_oversized_bundles(server: Server) -> None:
    """Over the cap nothing is read when the length is told, and no more than the cap when not."""
    before = stored(server)
    key = server.key("someone")
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.putrequest("POST", "/api/git/push")
        connection.putheader("Authorization", f"Bearer {key}")
        connection.putheader("Content-Length", str(10**15))
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status == 413
        assert "bundle too large" in json.loads(answer.read())["error"]
    with socket.create_connection(("127.0.0.1", server.port), 30) as raw:
        head = f"POST /api/git/push HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        raw.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        with http.client.HTTPResponse(raw) as answer:
            for _ in range(20):
                raw.sendall(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
            answer.begin()
            assert answer.status == 413
    assert stored(server) == before


def test_a_chunked_push(server: Server, tmp_path: Path) -> None:
    """A body without a length is taken as any other."""
    repo = Repo(tmp_path / "repo")
    sha = repo.commit("chunks = 1\n")
    headers = {"Authorization": f"Bearer {server.key('someone')}"}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        pieces = (bytes([byte]) for byte in repo.bundle())
        connection.request("POST", "/api/git/push", pieces, headers, encode_chunked=True)
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())) == (201, {"hashes": [sha]})


def test_lying_lengths(server: Server) -> None:
    """A request whose length is no number, or given twice, is refused before anything else."""
    for lines in (
        "Content-Length: -1", "Content-Length: x", "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 9999999999999999999999999999", "Transfer-Encoding: gzip",
    ):  # fmt: skip
        with socket.create_connection(("127.0.0.1", server.port), 30) as raw:
            raw.sendall(f"POST /api/register HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n{{}}".encode())
            with http.client.HTTPResponse(raw) as answer:
                answer.begin()
                assert answer.status in (400, 413, 501), (lines, answer.status)
                assert json.loads(answer.read())["error"]


# ---- JSON --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b'{"content": "x"} tail',
        b'{"content": NaN}',
        b'{"content": Infinity}',
        b'{"content": 1e999}',
        b'{"content": ' + b"9" * 5000 + b"}",
        b'{"content": "x", "parent_id": 1.5}',
        b'{"content": "x", "parent_id": true}',
        b'{"content": "x", "parent_id": "1"}',
        b'{"content": "x", "parent_id": -1}',
        b'{"content": "x", "parent_id": 0}',
        b'{"content": "x", "parent_id": 99999999999999999999999999}',
        b'{"content": "x", "parent_id": [1]}',
        b'{"content": ["x"]}',
        b'{"content": {"x": 1}}',
        b'{"content": null}',
        b'{"content": 7}',
        b'{"content": "\\ud800"}',
        b'{"content": "\\u0000\\u0000"}',
        b'{"content": "\xe2\x80\x8b"}',
        b'{"content": "\xff"}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe\x00",
        b'{"content": "x", "more": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"content": "x", "more": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
        b"[" * 100_000,
        b'{"content": "' + b"x" * 300_000 + b'"}',
    ],
    ids=range(31),
)
def test_bad_json(server: Server, body: bytes) -> None:
    """What is no post is refused, and not written."""
    before = server.get(f"{POSTS}?limit=200").json
    assert refused(server.post(POSTS, body), 400, 413)
    assert server.get(f"{POSTS}?limit=200").json == before


def test_text_is_kept_without_what_cannot_be_seen(server: Server) -> None:
    """NUL, escape sequences, half characters and signs that turn text round are left out."""
    body = {"content": "a\0b\x1b[31m\ud800c\u202ed\u200b\U000e0041e\tf\ng é 漢 🎉"}
    made = server.post(POSTS, body)
    assert made.status == 201
    assert made.json["content"] == "ab[31mcde\tf\ng é 漢 🎉"
    assert server.get(f"/api/posts/{made.json['id']}").json == made.json


# ---- paths and numbers -------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["-1", "0", "x", "1.5", "", "%00", "1e3", "0x10", "١", "-" * 99])
@pytest.mark.parametrize("path", ["/api/git/commits", "/api/git/leaves", POSTS])
def test_limits_that_are_none(server: Server, path: str, number: str) -> None:
    """A limit is a number from 1 up; anything else is told so."""
    answer = server.get(f"{path}?limit={quote(number, safe='%')}")
    if number == "١":  # a digit, though not one of ours
        assert answer.status in (200, 400)
    else:
        assert "limit" in refused(answer, 400)


@pytest.mark.parametrize("number", [201, 10**6, 2**31, 2**63, 2**64, 10**100])
def test_huge_limits_and_offsets(server: Server, number: int) -> None:
    """A limit over the cap means the cap; an offset behind the end finds nothing."""
    for path in ("/api/git/commits", POSTS):
        assert server.get(f"{path}?limit={number}").status == 200
        found = server.get(f"{path}?offset={number}")
        assert (found.status, found.json) == (200, [])
        assert "offset" in refused(server.get(f"{path}?offset=-{number}"), 400)
    assert refused(server.get(f"/api/posts/{number}"), 404)
    assert refused(server.get(f"/api/posts/-{number}"), 404)
    assert refused(server.get(f"/api/posts/{'9' * 5000}"), 400, 404)


HOSTILE = [
    "../../etc/passwd", "..", ".", "%00", "a\0b", "a\nb", "-rf", "--upload-pack=x", "HEAD", "@{-1}",
    "main", "refs/heads/main", "'; DROP TABLE posts;--", "<script>alert(1)</script>", "é", "🎉",
    "\u202e", "a" * 10_000, "0" * 39 + "g", "0" * 41, "ABCDEF0123", " " * 7, "deadbeef:train.py",
    "deadbeef^", "$(id)", "`id`", "%s%n", "{{7*7}}", "＜", "NaN", "null", "\\..\\..",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names(server: Server, name: str) -> None:
    """A name that is none is refused wherever a name is asked for."""
    part = quote(name, safe="")
    for path in (
        f"git/commits/{part}", f"git/commits/{part}/children", f"git/commits/{part}/lineage",
        f"git/fetch/{part}", f"git/diff/{part}/{part}", f"channels/{part}/posts", f"posts/{part}",
        f"posts/{part}/replies",
    ):  # fmt: skip
        assert refused(server.get(f"/api/{path}"), 400, 404)
    if not name.isalnum() or len(name) > 63 or not name.isascii():
        assert refused(server.ask("POST", "/api/register", {"id": name}), 400, 413)
    if not name.isalnum() or not name.islower() or not name.isascii() or len(name) > 31:
        assert refused(server.post("/api/channels", {"name": name}), 400)
    assert server.get(f"/api/git/commits?agent={part}").json == []


@pytest.mark.parametrize(
    "method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "X-ODD"]
)
def test_wrong_methods(server: Server, method: str) -> None:
    """A method that a route does not have is told so."""
    for path, allowed in (
        ("/api/git/push", "POST"),
        ("/api/git/commits", "GET"),
        ("/api/channels", "GET, POST"),
        ("/api/posts/1", "GET"),
    ):
        answer = server.ask(method, path, b"{}", server.key("someone"))
        assert refused(answer, 405)
        assert answer.headers["allow"] == allowed, "all methods, not the first route's"


@pytest.mark.parametrize(
    "header",
    [
        "Basic eDp5",
        "Bearer",
        "Bearer  ",
        "bearer",
        "Token x",
        "Bearer " + "x" * 9000,
        "Bearer \xff",
    ],
)
def test_odd_keys(server: Server, header: str) -> None:
    """What is no bearer key opens nothing."""
    answer = server.ask("GET", "/api/channels", headers={"Authorization": header})
    assert refused(answer, 401)


# ---- anything at all ---------------------------------------------------------------------------

SEGMENTS = st.one_of(
    st.sampled_from(["results", "1", "0" * 40, "0" * 7, "commits", "someone", *HOSTILE[:12]]),
    st.text(string.hexdigits, min_size=1, max_size=45),
    st.text(max_size=40),
    st.integers().map(str),
).map(lambda text: quote(text, safe="", errors="replace")) | st.binary(max_size=20).map(
    quote_from_bytes
)
PATHS = st.sampled_from(
    [
        "/api/git/push", "/api/git/fetch/{}", "/api/git/commits", "/api/git/commits/{}",
        "/api/git/commits/{}/children", "/api/git/commits/{}/lineage", "/api/git/leaves",
        "/api/git/diff/{}/{}", "/api/channels", "/api/channels/{}/posts", "/api/posts/{}",
        "/api/posts/{}/replies", "/api/admin/agents", "/api/register", "/api/health", "/{}",
        "/api/{}/{}",
    ]
)  # fmt: skip
NAMES = st.sampled_from(["limit", "offset", "agent", "path", "id", "name", "content", "parent_id"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(), inner, max_size=4)
    ),
    max_leaves=8,
)
BODIES = st.one_of(
    st.none(),
    st.binary(max_size=200),
    st.dictionaries(NAMES, JSON, max_size=4).map(lambda value: json.dumps(value).encode()),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=60).map(lambda tail: b"# v2 git bundle\n" + tail),
)


@pytest.mark.slow
@hypothesis.settings(max_examples=600, deadline=None, database=None, derandomize=True)
@hypothesis.given(
    method=st.sampled_from(["GET", "GET", "POST", "POST", "PUT", "HEAD"]),
    path=PATHS,
    parts=st.lists(SEGMENTS, min_size=2, max_size=2),
    query=st.dictionaries(NAMES, st.integers().map(str) | st.text(max_size=20), max_size=3),
    body=BODIES,
    key=st.sampled_from(["someone", "someone", "someone", "admin", "", "no\u00e9"]),
)
def test_no_request_is_too_much(
    server: Server, method: str, path: str, parts: list[str], query: dict[str, str], body: Any,
    key: str,
) -> None:  # fmt: skip
    """No method, path, query, body or key brings the hub into trouble; errors are JSON."""
    target = path.format(*parts)
    if query:
        words = (
            f"{name}={quote(value, safe='', errors='replace')}" for name, value in query.items()
        )
        target = f"{target}?{'&'.join(words)}"
    bearer = {"someone": server.key("someone"), "admin": ADMIN}.get(key, key)
    headers = {"Authorization": f"Bearer {bearer}".encode().decode("latin-1")}
    answer = server.ask(method, target, body, headers=headers)
    assert answer.status < 500, answer
    if answer.status >= 400 and method != "HEAD":
        assert answer.error
    assert server.process.poll() is None


PIECES = [
    b"GET ", b"POST ", b"/api/health", b"/", b" HTTP/1.1", b" HTTP/9.9", b"\r\n", b"\n", b"Host: x",
    b"Content-Length: 5", b"Transfer-Encoding: chunked", b"ffffffffffff", b"5\r\nhello\r\n",
    b"0\r\n\r\n", b"Expect: 100-continue", b"\0", b"\xff", b": ", b"Upgrade: websocket",
    b"Connection: upgrade", b"Connection: close", b"*", b"http://",
]  # fmt: skip


@pytest.mark.slow
@hypothesis.settings(max_examples=300, deadline=None, database=None, derandomize=True)
@hypothesis.given(
    raw=st.binary(min_size=1, max_size=300)
    | st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join)
)
def test_no_bytes_are_too_much(server: Server, raw: bytes) -> None:
    """What is no HTTP at all is refused, or left; the next request is served."""
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        said = b""
        try:
            while chunk := connection.recv(65_536):
                said += chunk
        except ConnectionResetError:
            pass
    for status in (line[9:12] for line in said.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")):
        assert status < b"500", said
    assert server.ask("GET", "/api/health").status == 200
