"""The HTTP client: bounded in time and size, careful with its key, exact about errors."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agenthub.client.address import parse_address
from agenthub.client.config import Membership, administration, membership, read_config, write_config
from agenthub.client.hub_client import AdminClient, HubClient
from agenthub.client.local import Local
from agenthub.client.transport import Request, Timeouts, Transport, Unreachable
from agenthub.errors import (
    BadInput,
    Conflict,
    HubError,
    Missing,
    TooLarge,
    TooMany,
    Unauthorized,
    Unavailable,
)
from hub_server import ADMIN, Repo, Server, serving
from stand_in_hub import answering, raw_server

# ---- answers ------------------------------------------------------------------------------------


def answer(value: object, status: int = 200, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """An answer in JSON."""
    return status, {name.replace("_", "-"): text for name, text in headers.items()}, jsoned(value)


def jsoned(value: object) -> bytes:
    """A value as JSON."""
    return json.dumps(value).encode()


def patient(url: str, slept: list[float], **words: Any) -> HubClient:
    """A client that records how long it would have slept."""
    client = HubClient(url, "a-key", timeouts=Timeouts(**words))
    client.transport._sleep = slept.append
    return client


# ---- timeouts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
def test_a_call_is_repeated_when_a_busy_hub_allows(status: int) -> None:
    """A repeatable call waits for Retry-After, and then gets its answer."""
    slept: list[float] = []
    busy = answer({"error": "later"}, status, Retry_After="7")
    with answering(busy, busy, answer({"agent": "ada"})) as script:
        assert patient(script.url, slept).me() == {"agent": "ada"}
    assert len(script.asked) == 3
    assert [int(seconds) for seconds in slept] == [7, 7]


def test_a_hub_that_stays_busy_is_an_error_with_its_retry_after() -> None:
    """Tries and waiting are bounded; then the hub's own error is raised."""
    slept: list[float] = []
    with answering(answer({"error": "slow down"}, 429, Retry_After="2")) as script:
        with pytest.raises(TooMany, match="slow down") as caught:
            patient(script.url, slept, tries=3).me()
        assert (caught.value.retry_after, len(script.asked)) == (2, 3)
        with pytest.raises(TooMany):
            patient(script.url, slept, tries=9, waiting=5.0).me()
    assert len(script.asked) == 3 + 3
    assert sum(slept[2:]) <= 5.0
    with answering(answer({"error": "in an hour", "retry_after": 3600}, 503)) as script:
        with pytest.raises(Unavailable, match="in an hour") as late:
            patient(script.url, []).me()
        assert (late.value.retry_after, len(script.asked)) == (3600, 1)


def test_a_call_that_is_not_repeatable_is_made_once() -> None:
    """A post, a result, a lease: a busy hub may have recorded it all the same."""
    with answering(answer({"error": "busy"}, 503)) as script:
        client = patient(script.url, [])
        calls: list[Callable[[], object]] = [
            lambda: client.send("results", "x"),
            lambda: client.publish("abcdef0", "H100", "keep", 1.0),
            lambda: client.take("H100"),
            lambda: client.finish(1, [1.0], "H100"),
            lambda: client.new_key(),
        ]
        for call in calls:
            with pytest.raises(Unavailable):
                call()
    assert len(script.asked) == len(calls)


def test_a_hub_that_is_away_is_an_error_at_once() -> None:
    """Nothing listens at the address: one try, and an error of its own class."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    slept: list[float] = []
    with pytest.raises(Unreachable, match="cannot be reached: Connection refused"):
        patient(url, slept).me()
    assert slept == []


HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 2", b"SSH-2.0-x\r\n\r\n", HALF, CHUNKED])
def test_half_an_answer_is_unreachable(sent: bytes, tmp_path: Path) -> None:
    """A connection that ends early or does not speak HTTP: Unreachable, never half the data."""

    def play(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(sent)

    with raw_server(play) as url:
        client = HubClient(url, "a-key")
        with pytest.raises(Unreachable):
            client.me()
        with pytest.raises(Unreachable):
            client.fetch("a" * 40, tmp_path / "bundle")


def test_a_silent_or_trickling_hub_ends_at_the_deadline() -> None:
    """No byte at all, or a byte now and then for ever: the call ends all the same."""

    def silent(connection: socket.socket) -> None:
        while connection.recv(65_536):
            pass

    def trickling(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not connection.sendall(b" "):
            threading.Event().wait(0.01)

    for play in (silent, trickling):
        with raw_server(play) as url:
            timeouts = Timeouts(silence=0.2, whole=0.2)
            with pytest.raises(Unreachable):
                HubClient(url, "a-key", timeouts=timeouts).me()


def test_an_early_refusal_of_an_upload_is_raised_with_its_reason(tmp_path: Path) -> None:
    """The hub answers before it has read all of the upload: its reason is raised."""
    body = jsoned({"error": "the bundle is too large"})
    head = f"HTTP/1.1 413 X\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    def play(connection: socket.socket) -> None:
        connection.recv(1024)
        connection.sendall(head + body)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass

    path = tmp_path / "bundle"
    path.write_bytes(bytes(30_000_000))
    with raw_server(play) as url, pytest.raises(TooLarge, match="the bundle is too large"):
        HubClient(url, "a-key").push(path)


# ---- what is believed ---------------------------------------------------------------------------


def test_no_redirect_is_followed() -> None:
    """The error names the other address, which gets no request, not even one without the key."""
    with answering(answer({"agent": "eve"})) as other:
        for status in (301, 302, 303, 307, 308):
            with answering(answer({}, status, Location=f"{other.url}/x\x1b[2J")) as script:
                with pytest.raises(HubError, match="redirects to") as caught:
                    HubClient(script.url, "a-key").me()
                assert other.url in str(caught.value)
                assert "\x1b" not in str(caught.value)
    assert other.asked == []


def test_answers_are_capped(tmp_path: Path) -> None:
    """An endless answer ends at the cap."""

    def play(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not connection.sendall(bytes(65_536)):
            pass

    with raw_server(play) as url:
        client = HubClient(url, "a-key")
        with pytest.raises(TooLarge):
            client.me()
        with pytest.raises(TooLarge):
            client.transport.content(Request("GET", "/"), most=1000)
        with pytest.raises(TooLarge):
            client.fetch("a" * 40, tmp_path / "bundle", most=1_000_000)
    assert (tmp_path / "bundle").stat().st_size <= 1_000_000


DEEP = b"[" * 100_000
STRANGE = [b"[]", b'"x"', b"<html>", b"\xff\xfe", DEEP, b'{"a": NaN}', b"1" * 5_000]


@pytest.mark.parametrize("body", STRANGE, ids=lambda body: repr(body[:8]))
def test_an_answer_that_is_not_a_hubs_is_an_error(body: bytes) -> None:
    """Another web server, or a broken one: a HubError with the beginning of the answer."""
    with answering((200, {}, body)) as script:
        client = HubClient(script.url, "a-key")
        with pytest.raises(HubError, match="Is it a hub"):
            client.me()


def test_a_refusal_raises_the_error_of_its_status() -> None:
    """Status, message and details; the original's text/plain errors, and pages of proxies."""
    table: list[tuple[tuple[int, dict[str, str], bytes], type[HubError], str]] = [
        (answer({"error": "no"}, 401), Unauthorized, "^no$"),
        (
            (401, {"Content-Type": "text/plain"}, b'{"error":"invalid api key"}'),
            Unauthorized,
            "api",
        ),
        (answer({"error": "which?", "candidates": ["aa", "ab"]}, 409), Conflict, "which"),
        ((404, {}, b"404 page not found\n"), Missing, "answers 404 .*page not found"),
        ((502, {}, b"<h1>Bad\x1b[31m gateway</h1>"), HubError, "answers 502"),
        (answer({"error": {"deep": 1}}, 400), BadInput, "answers 400"),
        (answer(["x"], 418), HubError, "answers 418"),
        (answer({"error": "a\x1b[2J\u202eb\nc"}, 400), BadInput, r"^a\[2Jb c$"),
    ]
    for given, kind, words in table:
        with answering(given) as script:
            with pytest.raises(HubError, match=words) as caught:
                HubClient(script.url, "a-key").me()
            assert type(caught.value) is kind
            assert "\x1b" not in str(caught.value)
            if "which" in words:
                assert caught.value.details == {"candidates": ["aa", "ab"]}


# ---- addresses and keys -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("https://Hub.example.org:443", "https://hub.example.org"),
        (" http://[::1]:80/a/b// ", "http://[::1]/a/b"),
    ],
)
def test_addresses_have_one_canonical_form(text: str, url: str) -> None:
    """The same hub has the same text, so that its key is found."""
    assert parse_address(text).url == url
    assert parse_address(url).url == url


@pytest.mark.parametrize(
    "text",
    ["", "hub", "hub:80", "ftp://x", "file:///etc", "http://", "http://a b", "http://x:y", "http://x?q",
     "http://x#f", "http://a@b", "http://a:key@b", "http://x\r\nHost: y", "http://x:99999", "http://[::1",
     "http://a..b", f"http://{'a' * 64}.org"],
)  # fmt: skip
def test_an_invalid_address_is_rejected(text: str) -> None:
    """Nothing is guessed, and nothing can be smuggled into a request's header."""
    with pytest.raises(BadInput):
        Transport(text)


@pytest.mark.parametrize("key", ["a b", "a\r\nX: y", "ключ", "a" * 600, "\x00"])
def test_an_invalid_key_is_rejected(key: str) -> None:
    """A key is one word of ASCII, so that it cannot break a header."""
    with pytest.raises(BadInput, match="key"):
        Transport("http://127.0.0.1:1", key)


def test_names_are_quoted_in_paths() -> None:
    """A name stays one segment of the path; dots that would climb are rejected."""
    with answering(answer({"posts": []})) as script:
        client = HubClient(script.url, "a-key", project="a/../b?c#d")
        client.posts("x/../../admin?limit=9&\r\n", limit=2)
        with pytest.raises(BadInput):
            client.posts("..")
        with pytest.raises(BadInput):
            HubClient(script.url, "k", project="..").tiers()
    (_, path, _, _) = script.asked[0]
    assert path == (
        "/api/v2/projects/a%2F..%2Fb%3Fc%23d/channels/"
        "x%2F..%2F..%2Fadmin%3Flimit%3D9%26%0D%0A/posts?limit=2"
    )


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY serves hubs elsewhere, with its own password; never a hub on this machine."""
    for name in ("no_proxy", "NO_PROXY", "https_proxy", "HTTPS_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    with answering(answer({"agent": "ada"})) as proxy, answering(answer({"agent": "bob"})) as here:
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//us%65r:pass@"))
        assert HubClient("http://hub.test:81/x", "a-key").me() == {"agent": "ada"}
        assert HubClient(here.url, "a-key").me() == {"agent": "bob"}
    ((_, path, headers, _),) = proxy.asked
    assert path == "http://hub.test:81/x/api/v2/me"
    assert headers["Proxy-Authorization"] == "Basic dXNlcjpwYXNz"
    assert headers["Authorization"] == "Bearer a-key"
    assert len(here.asked) == 1


def test_a_proxy_of_another_kind_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SOCKS proxy or a wrong port is an error that names the variable."""
    for name in ("no_proxy", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    for proxy in ("socks5://127.0.0.1:1080", "http://127.0.0.1:x", "http://"):
        monkeypatch.setenv("http_proxy", proxy)
        with pytest.raises(BadInput, match="HTTP_PROXY"):
            HubClient("http://hub.test", "a-key").me()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_certificate_must_be_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of an unknown authority is rejected; SSL_CERT_FILE adds the authority. Deadlines hold."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    trickles = False

    def play(connection: socket.socket) -> None:
        with server.wrap_socket(connection, server_side=True) as secure:
            secure.recv(65_536)
            secure.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + (b"" if trickles else jsoned({"id": 1})))
            while trickles:
                secure.sendall(b" ")
                threading.Event().wait(0.01)

    with raw_server(play) as url:
        url = url.replace("http://127.0.0.1", "https://localhost")
        with pytest.raises(HubError, match="cannot be trusted: self-signed certificate"):
            HubClient(url, "a-key").me()
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        assert HubClient(url, "a-key").me() == {"id": 1}
        with pytest.raises(HubError, match="cannot be trusted: IP address mismatch"):
            HubClient(url.replace("localhost", "127.0.0.1"), "a-key").me()
        trickles = True
        with pytest.raises(Unreachable, match="took too long"):
            HubClient(url, "a-key", timeouts=Timeouts(silence=0.3, whole=0.3)).me()


# ---- whose key goes where -----------------------------------------------------------------------

A, B = "http://127.0.0.1:1", "https://hub.example.org"


def test_a_key_goes_only_to_its_own_hub(tmp_path: Path) -> None:
    """Of the file by address; of the environment to its hub, or, without one, to the one asked."""
    path = tmp_path / "place" / "config.json"
    place = {"AGENTHUB_CONFIG": str(path)}
    write_config(path, Membership(B, "key-b", "bob"))
    write_config(path, Membership(A, "key-a", "ada"))
    assert membership("", place) == Membership(A, "key-a", "ada")
    assert membership(f"{B}/", place) == Membership(B, "key-b", "bob")
    assert membership("http://127.0.0.1:2", place).key == ""
    named = {**place, "AUTORESEARCH_HUB": B, "AUTORESEARCH_HUB_KEY": "key-e"}
    assert membership("", named) == Membership(B, "key-e")
    assert membership(A, named) == Membership(A, "key-a", "ada")
    assert membership("http://127.0.0.1:2", named).key == ""
    only_key = {**place, "AUTORESEARCH_HUB_KEY": "key-e"}
    assert membership("http://127.0.0.1:2", only_key).key == "key-e"
    with pytest.raises(BadInput, match="ah join"):
        membership("", {"AGENTHUB_CONFIG": str(tmp_path / "none")})


def test_an_admins_key_goes_only_to_a_hub_named_with_it(tmp_path: Path) -> None:
    """To this machine, or to a hub that is named beside it; not to one that was merely joined."""
    path = tmp_path / "config.json"
    env = {"AGENTHUB_CONFIG": str(path), "AGENTHUB_ADMIN_KEY": "the-admins"}
    write_config(path, Membership(B, "key-b", "bob"))
    with pytest.raises(BadInput, match="--server"):
        administration("", None, env)
    assert administration(B, None, env) == Membership(B, "the-admins")
    assert administration("", None, {**env, "AUTORESEARCH_HUB": B}).key == "the-admins"
    secret = tmp_path / "secret"
    secret.write_text("of-the-file\n")
    assert administration("", secret, env).key == "of-the-file"
    assert administration("", None, {"AGENTHUB_CONFIG": str(path)}).key == "key-b"
    write_config(path, Membership(A, "key-a", "ada"))
    assert administration("", None, env) == Membership(A, "the-admins")


def test_the_originals_file_is_read_and_kept_compatible(tmp_path: Path) -> None:
    """server_url, api_key, agent_id stay where the original has them; only the owner reads it."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"server_url": f"{A}/", "api_key": "old", "agent_id": "ada"}))
    place = {"AGENTHUB_CONFIG": str(path)}
    assert membership("", place) == Membership(A, "old", "ada")
    write_config(path, Membership(B, "key-b", "bob"))
    assert {**read_config(path), "hubs": 0} == {
        "server_url": B,
        "api_key": "key-b",
        "agent_id": "bob",
        "hubs": 0,
    }
    assert membership(A, place).key == "old"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["config.json"]


def test_a_linked_file_stays_a_link_and_a_broken_one_is_replaced(tmp_path: Path) -> None:
    """A link stays a link; what is no JSON is told, and joining again mends it."""
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_text("{")
    link.symlink_to(real)
    with pytest.raises(HubError, match="Join again"):
        membership("", {"AGENTHUB_CONFIG": str(link)})
    write_config(link, Membership(A, "key-a", "ada"))
    assert link.is_symlink()
    assert read_config(real)["api_key"] == "key-a"


# ---- a real hub ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A hub that listens."""
    with serving(tmp_path_factory.mktemp("hub")) as server:
        yield server


def client_of(hub: Server, agent: str, project: str = "main") -> HubClient:
    """An agent's client."""
    return HubClient(hub.url, hub.key(agent), project)


def pushed(client: HubClient, repo: Repo, tmp_path: Path, role: str = "frontier") -> str:
    """Push a repository's HEAD, negotiated; its hash."""
    here, path = Local.discover(repo.folder), tmp_path / "pushed.bundle"
    tip = here.resolve("HEAD")
    here.write_bundle(tip, here.known(tip, client.haves), path)
    assert client.push(path, role)["heads"] == [tip]
    return tip


def test_history_goes_there_and_comes_back(hub: Server, tmp_path: Path) -> None:
    """Pushed thin, fetched thin, shown, listed and compared; attempts stay off the frontier."""
    ada, bob = client_of(hub, "ada"), client_of(hub, "bob")
    repo, other = Repo(tmp_path / "a"), Repo(tmp_path / "b")
    first = repo.commit("x = 1\n")
    assert pushed(ada, repo, tmp_path) == first
    here = Local.discover(other.folder)
    assert bob.fetch(first, tmp_path / "one", here.haves()) == (tmp_path / "one").stat().st_size
    here.take(tmp_path / "one", first)
    other.git("checkout", "-q", "-b", "work", first)
    second = other.commit("x = 2\n")
    assert pushed(bob, other, tmp_path) == second
    assert (
        (tmp_path / "pushed.bundle").read_bytes().startswith(f"# v2 git bundle\n-{first}".encode())
    )
    aside = other.commit("x = 3\n")
    pushed(bob, other, tmp_path, "attempt")
    assert ada.haves([first, second, "0" * 40]) == {first, second}
    assert [row["hash"] for row in ada.leaves()["commits"]] == [second]
    assert {row["hash"] for row in ada.children(second)["commits"]} == {aside}
    assert [row["hash"] for row in ada.lineage(second[:9])["commits"]] == [second, first]
    assert ada.commit(aside)["commit"]["role"] == "attempt"
    assert ada.show(second, "train.py") == b"x = 2\n"
    assert [entry["name"] for entry in ada.tree(second)["entries"]] == ["train.py"]
    assert b"+x = 2\n" in ada.diff(first, second)
    assert ada.commits(agent="ada")["commits"][0]["hash"] == first
    with pytest.raises(Missing):
        ada.commit("0" * 40)
    with pytest.raises(Missing):
        client_of(hub, "ada", "nowhere").tiers()


def test_claims_results_and_replications(hub: Server, tmp_path: Path) -> None:
    """Claimed once, published, replicated under a lease by another, and then on the board."""
    ada, bob = client_of(hub, "ada"), client_of(hub, "bob")
    repo = Repo(tmp_path / "r")
    repo.commit("y = 1\n", message="another")
    here = Local.discover(repo.folder)
    tree = here.tree(here.resolve("HEAD"))
    held = ada.claim("y", tree=tree, seconds=60)
    assert held["claim"]["agent"] == "ada"
    assert ada.claim("y", tree=tree, seconds=60)["claim"]["id"] == held["claim"]["id"]
    taken = bob.claim("y", tree=tree)
    assert (taken["claim"], taken["prior"][0]["agent"]) == (None, "ada")
    assert [row["id"] for row in bob.claims()["claims"]] == [held["claim"]["id"]]
    tip = pushed(ada, repo, tmp_path)
    ada.finish_claim(held["claim"]["id"])
    seq = ada.publish(tip, "CPU", "keep", 0.5, seconds=1.0, seed=3, description="y")["result"][
        "seq"
    ]
    assert ada.take("CPU") is None
    lease = bob.take("CPU", seconds=60)
    assert lease is not None
    assert (lease["result"], lease["commit"], lease["tree"]) == (seq, tip, tree)
    bob.give_back(lease["id"])
    assert [row["seq"] for row in bob.queue(tier="cpu")["results"]] == [seq]
    again = client_of(hub, "cleo").take("CPU")
    assert again is not None
    client_of(hub, "cleo").finish(again["id"], [0.5, 0.5001, 0.4999], "CPU")
    assert [row["seq"] for row in ada.leaderboard(replicated=False)["results"]] == [seq]
    assert len(ada.result(seq)["verifications"]) == 1
    assert ada.staircase("cpu", replicated=False)["results"][0]["seq"] == seq
    assert ada.results(status="keep", agent="ada")["results"][0]["seq"] == seq
    assert ada.tiers()["tiers"][0]["tier"] == "cpu"


def test_the_board_and_its_news(hub: Server) -> None:
    """Posts, answers, mentions, what is unread, words; a waiting poll hears of the next post."""
    ada, bob = client_of(hub, "ada"), client_of(hub, "bob")
    ada.create_channel("talk", "all of it")
    with pytest.raises(Conflict):
        bob.create_channel("talk")
    since = ada.events(None)["cursor"]
    heard: list[Any] = []
    thread = threading.Thread(
        target=lambda: heard.extend(bob.events(since, wait=20, kinds=["post"])["events"])
    )
    thread.start()
    made = ada.send("talk", "hello @bob, ключ\x1b[2J")["post"]
    thread.join(30)
    assert [(row["kind"], row["ref"]) for row in heard] == [("post", str(made["id"]))]
    assert ada.post(made["id"])["post"]["content"]["text"] == "hello @bob, ключ[2J"
    bob.send("talk", "so be it", made["id"])
    assert [row["agent"] for row in ada.replies(made["id"])["posts"]] == ["bob"]
    assert [row["id"] for row in bob.mentions()["posts"]] == [made["id"]]
    assert bob.unread()["unread"][0]["channel"] == "talk"
    bob.mark_read("talk", made["id"])
    assert bob.unread()["unread"] == []
    assert [row["agent"] for row in ada.search("so be")["posts"]] == ["bob"]
    assert ada.channels()["channels"][0]["name"] == "talk"
    assert len(ada.posts("talk", limit=1)["posts"]) == 1


def test_people_and_keys(hub: Server) -> None:
    """Registered by oneself; keys made, rotated and revoked; an admin disables and invites."""
    anybody, admin = HubClient(hub.url), AdminClient(hub.url, ADMIN)
    key = anybody.register("dora")["api_key"]
    dora = HubClient(hub.url, key)
    assert dora.me()["agent"] == "dora"
    extra = dora.new_key(["read"], label="page")
    reader = HubClient(hub.url, extra["api_key"])
    assert reader.me()["scopes"] == ["read"]
    newer = HubClient(hub.url, dora.rotate_key(dora.me()["key"])["api_key"])
    with pytest.raises(Unauthorized):
        dora.me()
    newer.revoke_key(extra["key"]["id"])
    with pytest.raises(Unauthorized):
        reader.me()
    assert [key["label"] for key in newer.keys()["keys"]] == ["", "page", ""]
    admin.set_runner("dora")
    assert newer.me()["runner"] is True
    admin.disable("dora")
    with pytest.raises(Unauthorized):
        newer.me()
    admin.disable("dora", False)
    assert "dora" in {row["id"] for row in admin.agents(limit=200)["agents"]}
    admin.set_registration("invite")
    try:
        with pytest.raises(HubError, match="invite"):
            anybody.register("emma")
        assert anybody.register("emma", admin.invite()["invite"])["id"] == "emma"
    finally:
        admin.set_registration("open")
    assert admin.create_project("speed", metric="seconds")["project"]["slug"] == "speed"
    assert {row["slug"] for row in newer.projects()["projects"]} >= {"main", "speed"}
    assert HubClient(hub.url, newer_key(newer), "speed").about()["project"]["metric"] == "seconds"
    assert admin.verify_audit()["sound"] is True
    assert admin.audit()["entries"]
    assert admin.suspects()["posts"] == []


def newer_key(client: HubClient) -> str:
    """Another key of the same agent."""
    made = client.new_key()["api_key"]
    assert isinstance(made, str)
    return made
