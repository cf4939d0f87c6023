"""How fast the hub is, and what it holds: the real server, real git, loopback, bounds in a table.

The server and its git have one core, the load has the others. Linux only (/proc).

    python benchmarks/hub.py [--only push,read,post,bomb,news] [--commits 100000]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hub_load import (
    Commits,
    Server,
    Wire,
    allow_files,
    bomb,
    cores,
    hash_of,
    make_commits,
    seconds,
    serving,
)

CORE, OTHERS = cores()
PUSHERS, WINDOW = 4, 300
EARLIER = (0, 300, 1_100)
MAX_SECONDS = 180.0  # seconds for all one-commit pushes


@dataclass(frozen=True)
class Row:
    """One line of the table; `good` is None where there is no bound."""

    what: str
    bound: str
    measured: str
    good: bool | None
    original: str = ""

    def __str__(self) -> str:
        held = {True: "yes", False: "NO", None: ""}[self.good]
        return f"| {self.what} | {self.bound} | {self.measured} | {held} | {self.original} |"


# ---- pushes -------------------------------------------------------------------------------------


def push_rows(root: Path) -> Iterator[Row]:
    """A history of 1,000 commits, that again, and one-commit pushes of four clients upon it."""
    whole = EARLIER[-1] + WINDOW
    made = make_commits(root / "lab", 1_000, PUSHERS, -(-whole // PUSHERS))
    first = made.bundle(made.base[-1])
    steps = [made.steps(chain) for chain in range(PUSHERS)]
    with serving(root / "data", CORE) as server:
        wires = [server.wire(f"agent{number}") for number in range(PUSHERS)]
        took = seconds(pushed, wires[0], first)
        yield Row(
            f"first push of 1,000 commits ({len(first) / 1024:,.0f} KB)", "",
            f"{took * 1000:,.0f} ms", None, "106-139 ms, 1 commit indexed",
        )  # fmt: skip
        took = statistics.median(seconds(pushed, wires[0], first) for _ in range(20))
        yield Row(
            "the same again", "< 20 ms", f"{took * 1000:.1f} ms", took < 0.02, "232-632 ms"
        )  # fmt: skip
        yield from one_commit_pushes(wires, steps)
        check_graph(server, made)


def one_commit_pushes(wires: Sequence[Wire], steps: Sequence[Sequence[bytes]]) -> Iterator[Row]:
    """All clients at once, each its chain; the rate in windows of pushes."""
    done: list[float] = []  # when
    began = time.perf_counter()

    def push_all(wire: Wire, bundles: Sequence[bytes]) -> None:
        for bundle in bundles:
            if time.perf_counter() - began > MAX_SECONDS:
                raise RuntimeError(f"{len(done)} pushes in {MAX_SECONDS:g} s: too slow to go on")
            pushed(wire, bundle)
            done.append(time.perf_counter() - began)

    together([lambda w=w, s=s: push_all(w, s) for w, s in zip(wires, steps, strict=True)])
    told = {0: "37-48/s (1 client)", 300: "11-23/s", 1_100: "4-9/s"}
    times = [0.0, *sorted(done)]
    rates = []
    for earlier in EARLIER:
        rates.append(WINDOW / (times[earlier + WINDOW] - times[earlier]))
        yield Row(
            f"one-commit pushes, {PUSHERS} clients, after {earlier:,}", ">= 30/s",
            f"{rates[-1]:.0f}/s", rates[-1] >= 30, told[earlier],
        )  # fmt: skip
    ratio = rates[-1] / rates[0]
    yield Row("the last of these to the first", ">= 0.8", f"{ratio:.2f}", ratio >= 0.8, "0.1-0.2")


def pushed(wire: Wire, bundle: bytes) -> None:
    """One push that must go well."""
    status, answer = wire.ask("POST", "/api/git/push", bundle)
    if status != 201:
        raise RuntimeError(f"a push was answered {status}: {answer[:300]!r}")


def check_graph(server: Server, made: Commits) -> None:
    """The leaves are the ends of the chains: what was acknowledged is there."""
    leaves = server.wire().json("GET", "/api/git/leaves?limit=200")
    if {leaf["hash"] for leaf in leaves} != {chain[-1] for chain in made.chains}:
        raise RuntimeError(f"the leaves are wrong: {leaves}")


# ---- reads --------------------------------------------------------------------------------------


def read_rows(root: Path, commits: int) -> Iterator[Row]:
    """The newest 50 of many commits, in the database and over HTTP."""
    from agenthub.records.hub import open_hub

    with open_hub(root / "data") as hub:
        fill(hub, commits)
        index = hub.space().commits
        told = {
            "leaves": "26 ms CPU a request at 10,000",
            "commits": "5.4 ms CPU a request at 10,000",
        }
        for name, verb in (("leaves", index.leaves), ("commits", index.page)):
            took = statistics.median(seconds(verb, 50) for _ in range(300)) * 1000
            yield Row(
                f"newest 50 {name} of {commits:,}, in the database", "< 1 ms",
                f"{took:.2f} ms", took < 1, told[name],
            )  # fmt: skip
    with serving(root / "data", CORE) as server:
        told = {"leaves": "1.3/s at 50,000", "commits": "5.6/s at 50,000"}
        wires = [server.wire(f"reader{number}") for number in range(8)]
        for name in ("leaves", "commits"):
            path = f"/api/git/{name}?limit=50"
            rate, each = read_rate(server, wires, path)
            yield Row(
                f"the same {name} over HTTP, 8 connections, each with a key", ">= 500/s",
                f"{rate:,.0f}/s ({each:.2f} ms CPU each)", rate >= 500, told[name],
            )  # fmt: skip
        rate, each = read_rate(server, wires, f"/api/git/commits/{hash_of(str(commits // 2))}")
        yield Row(
            "one commit over HTTP", "", f"{rate:,.0f}/s ({each:.2f} ms CPU each)", None,
            "3,923/s at 50,000",
        )  # fmt: skip


def fill(hub: object, commits: int) -> None:
    """Commits in the index without their objects: about two in five are leaves."""
    import random

    from agenthub.git.ingest import NewCommit
    from agenthub.records.hub import Hub

    assert isinstance(hub, Hub)
    hub.accounts.add("filler")
    caller = hub.accounts.authenticate(hub.accounts.add("filler2"))
    index, rng = hub.index(caller, hub.space()), random.Random(2)
    for start in range(0, commits, 2_000):
        rows = []
        for number in range(start, min(start + 2_000, commits)):
            above = rng.randrange(max(0, number - 2_000), number) if number else None
            rows.append(
                NewCommit(
                    sha=hash_of(str(number)),
                    tree=hash_of(f"tree {number}"),
                    parents=() if above is None else (hash_of(str(above)),),
                    subject=f"step {number}: halve the rate, double the width",
                    author="Ada <ada@localhost>",
                    author_time=1_770_000_000 + number,
                    patch_id=hash_of(f"patch {number}"),
                )
            )
        index.record(rows, lambda: None)


def read_rate(
    server: Server, wires: Sequence[Wire], path: str, span: float = 4.0
) -> tuple[float, float]:
    """Requests a second over all wires, and the server's CPU milliseconds of each."""
    counts = [0] * len(wires)
    for wire in wires:
        wire.json("GET", path)
    end = time.perf_counter() + span

    def read(number: int) -> None:
        while time.perf_counter() < end:
            status, _ = wires[number].ask("GET", path)
            if status != 200:
                raise RuntimeError(f"GET {path}: {status}")
            counts[number] += 1

    began, cpu = time.perf_counter(), server.cpu()
    together([lambda n=n: read(n) for n in range(len(wires))])
    took, cpu = time.perf_counter() - began, server.cpu() - cpu
    return sum(counts) / took, cpu / sum(counts) * 1000


# ---- posts --------------------------------------------------------------------------------------


def post_rows(root: Path, writers: int = 16, each: int = 60) -> Iterator[Row]:
    """Posts of many at once: each is written to disk before it is answered."""
    with serving(root / "data", CORE) as server:
        wires = [server.wire(f"writer{number}") for number in range(writers)]
        wires[0].json("POST", "/api/channels", {"name": "talk", "description": ""})
        failed: list[int] = []

        def post(wire: Wire) -> None:
            for number in range(each):
                body = b'{"content": "post %d"}' % number
                status, _ = wire.ask("POST", "/api/channels/talk/posts", body)
                if status != 201:
                    failed.append(status)

        took = seconds(together, [lambda w=w: post(w) for w in wires])
        rate = writers * each / took
        yield Row(
            f"posts of {writers} writers: errors of {writers * each:,}", "0",
            f"{len(failed)} ({rate:,.0f}/s)", not failed, "28 % errors (2,795/s)",
        )  # fmt: skip


# ---- bombs --------------------------------------------------------------------------------------


def bomb_rows(root: Path) -> Iterator[Row]:
    """Memory through a diff of 150 MB of text, and a pack that unpacks to 512 MB."""
    line = b"the same line of a text again and again\n"
    diff = bomb(root / "diff", {"big.txt": (line * 25_000, 150)})
    zeros = bomb(root / "zip", {"big.bin": (bytes(2**20), 512)})
    wide = bomb(root / "wide", {f"{n}.txt": (line * 24_000 + b"%d" % n, 1) for n in range(49)})
    with serving(root / "shipped", CORE) as server:
        wire = server.wire("mallory")
        for name, made in (("diff bomb", diff), ("zip bomb", zeros)):
            bundle = whole(made)
            with server.watched() as peak:
                status, _ = wire.ask("POST", "/api/git/push", bundle)
            yield Row(
                f"{name} ({len(bundle) / 1024:,.0f} KB): pushed", "413, < 200 MB",
                f"{status}, {memory(server, peak)}", status == 413 and server.resident() < 200,
                "taken",
            )  # fmt: skip
        yield diff_row("the largest diff that the caps allow, 47 MB", server, wire, wide)
    raised = {"blob_bytes": 2**30, "tree_bytes": 2**31}
    with serving(root / "raised", CORE, limits=raised) as server:
        wire = server.wire("mallory")
        for name, made in (("diff bomb", diff), ("zip bomb", zeros)):
            yield diff_row(f"{name}, caps raised to let it in", server, wire, made)


def diff_row(name: str, server: Server, wire: Wire, made: Commits) -> Row:
    """Push two commits and ask for what they differ in."""
    with server.watched() as peak:
        pushed(wire, whole(made))
        path = f"/api/git/diff/{made.base[0]}/{made.chains[0][0]}"
        status, text = wire.ask("GET", path)
    return Row(
        f"{name}: pushed, its diff read", "< 200 MB",
        f"{memory(server, peak)}, {len(text):,} bytes of diff",
        status == 200 and server.resident() < 200 and len(text) < 2**19,
        "979 MB, 225 MB of diff" if name.startswith("diff") else "",
    )  # fmt: skip


def whole(made: Commits) -> bytes:
    """Both commits of a bomb in a bundle."""
    return made.bundle(made.chains[0][0])


def memory(server: Server, peak: Sequence[float]) -> str:
    """The server's peak, and that with its children."""
    return f"{server.resident():.0f} MB ({peak[0]:.0f} with its git)"


# ---- news ---------------------------------------------------------------------------------------


def news_rows(root: Path, subscribers: int = 1_000, events: int = 20) -> Iterator[Row]:
    """Server-sent events to many at once: how many arrive, and after how long."""
    allow_files(subscribers + 200)
    with serving(root / "data", CORE) as server:
        keys = [server.wire(f"listener{number}") for number in range(50)]
        writer = server.wire("writer")
        writer.json("POST", "/api/channels", {"name": "news", "description": ""})
        waits = asyncio.run(broadcast(server, keys, writer, subscribers, events))
        whole = subscribers * events
        spread = statistics.quantiles(waits, n=100) if len(waits) > 1 else [0.0] * 99
        yield Row(
            f"events delivered to {subscribers:,} subscribers", f"{whole:,}", f"{len(waits):,}",
            len(waits) == whole, "no events",
        )  # fmt: skip
        yield Row(
            "from the post to the subscriber, p50; p99", "",
            f"{spread[49] * 1000:.0f} ms; {spread[98] * 1000:.0f} ms", None,
        )  # fmt: skip
        yield Row("memory with them", "< 200 MB", f"{server.resident():.0f} MB",
                  server.resident() < 200)  # fmt: skip


async def broadcast(
    server: Server, keys: Sequence[Wire], writer: Wire, subscribers: int, events: int
) -> list[float]:
    """Subscribe all, post, and wait for every event everywhere; seconds of each."""
    sent: dict[str, float] = {}
    streams = []
    for start in range(0, subscribers, len(keys)):
        few = keys[: subscribers - start]
        streams += await asyncio.gather(*(subscribe(server.port, wire) for wire in few))
    heard = [asyncio.create_task(hear(reader, sent, events)) for reader, _ in streams]
    for number in range(events):
        sent[str(number + 1)] = time.perf_counter()
        body = b'{"content": "event %d"}' % number
        await asyncio.to_thread(writer.ask, "POST", "/api/channels/news/posts", body)
        await asyncio.sleep(0.2)
    await asyncio.wait(heard, timeout=30)
    for _, stream in streams:
        stream.transport.abort()
    return [wait for waits in await asyncio.gather(*heard) for wait in waits]


async def subscribe(port: int, wire: Wire) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A stream of events from now on."""
    reader, stream = await asyncio.open_connection("127.0.0.1", port)
    stream.write(wire.head("GET", "/api/v2/events/stream?kinds=post"))
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise RuntimeError(f"a subscriber was answered {(head + await reader.read(2000)).decode()}")
    return reader, stream


async def hear(reader: asyncio.StreamReader, sent: Mapping[str, float], events: int) -> list[float]:
    """Seconds from the sending of each event to its arrival, until all came or the stream ends."""
    waits: list[float] = []
    while len(waits) < events and (line := await reader.readline()):
        if line.startswith(b"data:"):
            post = str(json.loads(line.partition(b":")[2]).get("ref", ""))
            if post in sent:
                waits.append(time.perf_counter() - sent[post])
    return waits


# ---- the table ----------------------------------------------------------------------------------


def together(verbs: Sequence[Callable[[], None]]) -> None:
    """Run all at once, each in a thread; the first error is raised."""
    errors: list[BaseException] = []

    def run(verb: Callable[[], None]) -> None:
        try:
            verb()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(verb,)) for verb in verbs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def main() -> None:
    """Print the table as it grows; exit code 1 when a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = ("push", "read", "post", "bomb", "news")
    parser.add_argument("--only", default=",".join(names))
    parser.add_argument("--commits", type=int, default=100_000)
    args = parser.parse_args()
    if OTHERS:
        os.sched_setaffinity(0, OTHERS)
    parts: dict[str, Callable[[Path], Iterator[Row]]] = {
        "push": push_rows,
        "read": lambda root: read_rows(root, args.commits),
        "post": post_rows,
        "bomb": bomb_rows,
        "news": news_rows,
    }
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, "
          f"load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}\n")  # fmt: skip
    print("| what | bound | measured | holds | the original |\n|---|---|---|---|---|", flush=True)
    bad = False
    for name in args.only.split(","):
        with tempfile.TemporaryDirectory() as root:
            for row in parts[name](Path(root)):
                print(row, flush=True)
                bad |= row.good is False
    sys.exit(bad)


if __name__ == "__main__":
    main()
