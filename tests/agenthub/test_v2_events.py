"""News: long-poll and server-sent events, of a real server."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import resource
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from v2_hub import Client, P, Served, served

EVENTS = "/api/v2/events"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A hub with a channel."""
    with served(tmp_path_factory.mktemp("events") / "hub") as up:
        up.agent("ada").post(f"{P}/channels", {"name": "talk"})
        yield up


class Stream:
    """A stream of events that is read."""

    def __init__(self, client: Client, last: int | None = None, **query: Any) -> None:
        self.connection = client.connection()
        words = "&".join(f"{name}={value}" for name, value in query.items())
        headers = {"Authorization": f"Bearer {client.key}"}
        if last is not None:
            headers["Last-Event-ID"] = str(last)
        self.connection.request("GET", f"{EVENTS}/stream?{words}", headers=headers)
        self.answer: http.client.HTTPResponse = self.connection.getresponse()

    def next(self) -> dict[str, str]:
        """The next event: its fields, once it has data."""
        fields: dict[str, str] = {}
        while True:
            line = self.answer.readline().decode().rstrip("\n")
            if not line and "data" in fields:
                return fields
            name, _, value = line.partition(": ")
            fields = {**fields, name: value} if line else {}

    def rest(self) -> bytes:
        """All that comes until it ends."""
        return self.answer.read()

    def close(self) -> None:
        """Hang up."""
        self.answer.close()
        self.connection.close()


@contextlib.contextmanager
def stream(client: Client, last: int | None = None, **query: Any) -> Iterator[Stream]:
    """A stream, closed afterwards."""
    with contextlib.closing(Stream(client, last, **query)) as opened:
        assert opened.answer.status == 200, opened.answer.read()
        yield opened


def say(client: Client, text: str = "hello") -> int:
    """Post something; its number."""
    return int(client.post(f"{P}/channels/talk/posts", {"content": text})["post"]["id"])


def test_a_poll_tells_what_came_after_a_cursor_once(hub: Served) -> None:
    """Asked again with the cursor of the answer, nothing is told twice and nothing is left out."""
    ada = hub.agent("ada")
    cursor = ada.get(EVENTS)["cursor"]
    assert ada.get(EVENTS, since=cursor) == {"events": [], "missed": False, "cursor": cursor}
    made = [say(ada) for _ in range(5)]
    heard = []
    for _ in range(4):
        page = ada.get(EVENTS, since=cursor, limit=2)
        heard += page["events"]
        cursor = page["cursor"]
    assert [event["ref"] for event in heard] == [str(post) for post in made]
    assert {(event["kind"], event["project"], event["actor"]) for event in heard} == {
        ("post", "main", "ada")
    }
    assert ada.get(EVENTS, since=0, kinds="channel")["events"][0]["ref"] == "talk"


def test_a_poll_that_waits_is_answered_by_the_next_event(hub: Served) -> None:
    """It does not answer before, and only to what was asked for."""
    ada = hub.agent("ada")
    cursor = ada.get(EVENTS)["cursor"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ada.get, EVENTS, since=cursor, wait=30, kinds="channel,claim")
        say(ada)
        assert ada.get(EVENTS, since=cursor)["events"], "the post is there"
        assert not waiting.done()
        ada.post(f"{P}/claims", {"text": "something"})
        answer = waiting.result(30)
    assert [event["kind"] for event in answer["events"]] == ["claim"]
    assert answer["cursor"] >= answer["events"][0]["seq"]


def test_a_poll_that_waits_in_vain_comes_back_empty(hub: Served) -> None:
    """After the seconds that were asked for, with the cursor to go on with."""
    cursor = hub.agent("ada").get(EVENTS)["cursor"]
    answer = hub.agent("ada").get(EVENTS, since=cursor, wait=0.2)
    assert answer == {"events": [], "missed": False, "cursor": cursor}


def test_a_poll_whose_client_has_gone_gives_its_place_back(hub: Served) -> None:
    """Long before its time: a place is for somebody who waits."""
    ada = hub.agent("ada")
    cursor, before = ada.get(EVENTS)["cursor"], _subscribers(hub)
    path = f"{EVENTS}?since={cursor}&wait=25&kinds=claim"
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", ada.port)) as connection:
        connection.request("GET", path, headers={"Authorization": f"Bearer {ada.key}"})
        until(lambda: _subscribers(hub) == before + 1)
    until(lambda: _subscribers(hub) == before)


def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something, much shorter than any poll of these tests lasts."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_a_stream_tells_what_was_and_then_what_comes(hub: Served) -> None:
    """Without a gap between the two, and each event once, in order."""
    ada = hub.agent("ada")
    start = ada.get(EVENTS)["cursor"]
    before = say(ada)
    with stream(ada, since=start) as opened:
        assert opened.answer.headers["content-type"].startswith("text/event-stream")
        assert json.loads(opened.next()["data"])["ref"] == str(before)
        for _ in range(3):
            made = say(ada)
            heard = opened.next()
            assert json.loads(heard["data"])["ref"] == str(made)
            assert heard["event"] == "post"
            assert int(heard["id"]) == json.loads(heard["data"])["seq"]


def test_a_stream_goes_on_after_the_last_event_id(hub: Served) -> None:
    """Whoever comes back hears what it missed, and not what it had."""
    ada = hub.agent("ada")
    with stream(ada) as opened:
        say(ada)
        last = int(opened.next()["id"])
    missed = [say(ada), say(ada)]
    with stream(ada, last=last, since=0) as opened:
        heard = [json.loads(opened.next()["data"])["ref"] for _ in missed]
    assert heard == [str(post) for post in missed]


def test_a_stream_of_one_project_and_some_kinds(hub: Served) -> None:
    """Only what was asked for is sent."""
    ada = hub.agent("ada")
    hub.admin.post("/api/v2/projects", {"slug": "other"})
    with stream(ada, project="other", kinds="channel") as opened:
        say(ada)
        ada.post("/api/v2/projects/other/claims", {"text": "no"})
        ada.post("/api/v2/projects/other/channels", {"name": "yes"})
        heard = json.loads(opened.next()["data"])
    assert (heard["project"], heard["kind"], heard["ref"]) == ("other", "channel", "yes")
    assert ada.get(EVENTS, 404, project="nowhere")["error"]


def test_more_than_a_window_is_told_from_the_database(hub: Served) -> None:
    """A reader far behind hears everything, in order, from the beginning."""
    ada = hub.agent("ada")
    seen = 0
    head = ada.get(EVENTS)["cursor"]
    with stream(ada, since=0) as opened:
        while seen < head:
            seq = int(opened.next()["id"])
            assert seq == seen + 1
            seen = seq


def test_a_cursor_of_another_life_of_the_hub_is_told_so(hub: Served) -> None:
    """After a restore a client's cursor may be from the future: it must not wait for ever."""
    ada = hub.agent("ada")
    answer = ada.get(EVENTS, since=10**15, wait=30)
    assert answer["missed"] is True
    assert answer["cursor"] == ada.get(EVENTS)["cursor"]
    with stream(ada, since=10**15) as opened:
        assert opened.next()["event"] == "missed"
        made = say(ada)
        assert json.loads(opened.next()["data"])["ref"] == str(made)


@pytest.mark.slow
def test_events_that_are_no_longer_kept_are_told_as_missed(tmp_path: Path) -> None:
    """A gap is said aloud, by both ways of asking."""
    data = tmp_path / "hub"
    with served(data) as hub:
        hub.agent("ada").post(f"{P}/channels", {"name": "talk"})
        for _ in range(3):
            say(hub.agent("ada"))
        key = hub.agents["ada"]
    with contextlib.closing(sqlite3.connect(data / "hub.db")) as database, database:
        database.execute("DELETE FROM events WHERE seq <= 3")
    with served(data) as hub:
        hub.agents["ada"] = key
        ada = hub.agent("ada")
        answer = ada.get(EVENTS, since=1)
        assert answer["missed"] and answer["events"][0]["seq"] == 4
        assert not ada.get(EVENTS, since=3)["missed"]
        with stream(ada, since=1) as opened:
            assert opened.next()["event"] == "missed"
            assert opened.next()["id"] == "4"


@pytest.mark.slow
def test_a_thousand_subscribers_hear_everything(hub: Served) -> None:
    """Each of 1,000 streams gets each of 10 events, in order; the hub answers others meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= hard < 1_200:
        pytest.skip(f"this process may open {hard} files, and 1,000 connections need more")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if soft < 1_200 else soft, hard))
    ada = hub.agent("ada")
    start = ada.get(EVENTS)["cursor"]
    posted: list[int] = []

    async def subscriber(ready: asyncio.Semaphore, go: asyncio.Event) -> list[str]:
        async with ready:  # not more at once than the listener's queue takes
            reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
            writer.write(
                f"GET {EVENTS}/stream?since={start}&kinds=post HTTP/1.1\r\nHost: hub\r\n"
                f"Authorization: Bearer {ada.key}\r\n\r\n".encode()
            )
            assert b" 200 " in await reader.readline()
            await reader.readuntil(b"retry: ")
        await go.wait()
        heard = []
        while len(heard) < 10:
            line = await reader.readline()
            if line.startswith(b"data: "):
                heard.append(json.loads(line[6:])["ref"])
        writer.close()
        return heard

    async def all_of_them() -> list[list[str]]:
        ready, go = asyncio.Semaphore(64), asyncio.Event()
        tasks = [asyncio.create_task(subscriber(ready, go)) for _ in range(1_000)]
        while (await asyncio.to_thread(subscribers)) < 1_000:
            await asyncio.sleep(0.1)
        go.set()
        for _ in range(10):
            posted.append(await asyncio.to_thread(say, ada))
        return await asyncio.wait_for(asyncio.gather(*tasks), 60)

    def subscribers() -> int:
        return _subscribers(hub)

    heard = asyncio.run(all_of_them())
    assert len(heard) == 1_000
    assert {tuple(each) for each in heard} == {tuple(str(post) for post in posted)}
    while subscribers():  # those that hung up are noticed
        time.sleep(0.1)


def test_a_key_that_ends_ends_its_stream(tmp_path: Path) -> None:
    """A revoked key hears nothing more, not even on a stream that was open before."""
    with served(tmp_path / "hub", unread_seconds=0.4) as hub:
        ada = hub.agent("ada")
        reader = hub.with_scopes("ada", "read")
        number = ada.get("/api/v2/keys")["keys"][-1]["id"]
        with stream(reader) as opened:
            ada.of(ada.ask("DELETE", f"/api/v2/keys/{number}"), 200)
            assert b"data:" not in opened.rest()
        with stream(ada) as opened:
            hub.admin.post("/api/v2/admin/agents/ada/disable", None, 200)
            opened.rest()


@pytest.mark.parametrize("kinds", ["post", "lease"])
def test_a_key_that_ends_ends_its_stream_while_much_happens(tmp_path: Path, kinds: str) -> None:
    """The hub looks at the key every so often, whether there is news or not."""
    with served(tmp_path / "hub", unread_seconds=1.0, posts_per_hour=10_000) as hub:
        ada, ended = hub.agent("ada"), threading.Event()
        ada.post(f"{P}/channels", {"name": "talk"})

        def posted() -> int:
            for number in range(2_000):
                if ended.is_set():
                    return number
                ada.post(f"{P}/channels/talk/posts", {"content": f"post {number}"})
            return 2_000

        reader = hub.with_scopes("ada", "read")
        number = ada.get("/api/v2/keys")["keys"][-1]["id"]
        with stream(reader, kinds=kinds) as opened, ThreadPoolExecutor(1) as pool:
            posting = pool.submit(posted)
            ada.of(ada.ask("DELETE", f"/api/v2/keys/{number}"), 200)
            opened.rest()
            ended.set()
            assert posting.result() < 2_000, "it heard all of it"


@pytest.mark.slow
def test_a_stream_shows_signs_of_life(tmp_path: Path) -> None:
    """Comments come while nothing happens, so that nobody takes it for dead."""
    with served(tmp_path / "hub", unread_seconds=0.2) as hub, stream(hub.agent("ada")) as opened:
        found = [opened.answer.readline() for _ in range(12)]
    assert found.count(b": still here\n") >= 2


@pytest.mark.slow
def test_a_reader_that_does_not_read_is_cut_off(tmp_path: Path) -> None:
    """It costs a bounded buffer for a bounded time; the others hear all."""
    data = tmp_path / "hub"
    with served(data) as hub:
        hub.agent("ada")
        key = hub.agents["ada"]
    with contextlib.closing(sqlite3.connect(data / "hub.db")) as database, database:
        rows = [("post", "1" * 20, "ada", 1_700_000_000)] * 90_000  # much more than sockets hold
        database.executemany("INSERT INTO events(kind, ref, actor, time) VALUES (?, ?, ?, ?)", rows)
    with served(data, unread_seconds=1.0) as hub, socket.socket() as slow:
        hub.agents["ada"] = key
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.connect(("127.0.0.1", hub.port))
        slow.settimeout(60)
        slow.sendall(
            f"GET {EVENTS}/stream?since=0 HTTP/1.1\r\nHost: hub\r\n"
            f"Authorization: Bearer {key}\r\n\r\n".encode()
        )
        while not _subscribers(hub):
            time.sleep(0.02)
        while _subscribers(hub):
            time.sleep(0.1)
        heard = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := slow.recv(1 << 20):
                heard += piece.count(b"data: ")
        assert heard < 90_000
        with stream(hub.agent("ada"), since=0) as opened:
            head, seen = hub.agent("ada").get(EVENTS)["cursor"], 0
            while seen < head:
                seen = int(opened.next()["id"])


def _subscribers(hub: Served) -> int:
    lines = hub.admin.ask("GET", "/metrics").body.decode().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("hub_subscribers ")))


def test_streams_and_polls_end_when_the_server_is_told_to_stop(tmp_path: Path) -> None:
    """Nobody waits for a subscriber: the stream is ended properly, the poll answered."""
    with ThreadPoolExecutor(2) as pool:
        with served(tmp_path / "hub") as hub:
            ada = hub.agent("ada")
            opened = Stream(ada)
            reading = pool.submit(opened.rest)
            polling = pool.submit(ada.get, EVENTS, since=ada.get(EVENTS)["cursor"], wait=30)
            while _subscribers(hub) < 2:
                time.sleep(0.05)
        assert reading.result(5).endswith(b"\n\n")
        assert polling.result(5)["events"] == []
        opened.close()
