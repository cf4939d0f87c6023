"""The page over HTTP: what it shows, what it does with hostile text, and what it refuses."""

from __future__ import annotations

import contextlib
import http.client
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from agenthub.records.commits import ATTEMPT
from agenthub.records.hub import HubSettings
from agenthub.records.projects import Rules
from agenthub.server.page import reading, rendering
from agenthub.validation import clean_line
from hub_foreign import CORPUS, MARK, Reading
from hub_page import World, get, infested, made_world, served

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
MANY = HubSettings(pushes_per_hour=10_000, posts_per_hour=10_000, requests_per_minute=100_000)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An empty hub."""
    with made_world(tmp_path, MANY) as made:
        yield made


def small(world: World) -> dict[str, str]:
    """A short history: two lines, a merge, an attempt, results of two tiers."""
    root = world.commit("ada", "the baseline\n\nWhat everybody starts from.")
    one = world.commit("bob", "a smaller batch", root)
    two = world.commit("cyd", "a longer warmdown", root)
    merge = world.commit("ada", "both", one, two)
    tried = world.commit("bob", "no use", one, role=ATTEMPT)
    first = world.result("bob", one, 0.99, description="smaller batch")
    world.verify("cyd", first, 0.9901, 0.9903)
    world.result("cyd", two, 0.985, description="longer warmdown")
    world.result("bob", tried, 1.2, status="discard", description="no use")
    world.result("cyd", two, 1.5, "M4-Max", description="on a laptop")
    return {"root": root, "one": one, "two": two, "merge": merge, "tried": tried}


# ---- what it shows -----------------------------------------------------------------------------


def test_overview_shows_all_of_a_project(world: World) -> None:
    """Commits, frontier, values claimed and replicated, the queue, the board, the agents."""
    made = small(world)
    world.channel("ideas", "what to try")
    asked = world.post("ada", "ideas", "What next?")
    world.post("bob", "ideas", "The other way round.", asked)
    world.hub.space().replication.take("ada", "m4max")
    with served(world.hub) as url:
        answer = get(f"{url}/")
        assert answer.status == 200
        assert get(f"{url}/p/main").text == answer.text
    page = Reading(answer.text)
    for sha in made.values():
        assert f"/p/main/commit/{sha}" in page.links
    for name in ("ada", "bob", "cyd"):
        assert f"/p/main/agent/{name}" in page.links
    assert "/p/main/channel/ideas" in page.links
    places = ["graph", "staircase", "leaderboard", "queue", "board", "agents"]
    assert [name for name in page.ids if name in places] == places
    text = page.text
    claim = "val_bpb 0.985000 claimed on h100 by cyd : waits for a second machine"
    assert f"{claim} · 0.990200 replicated on h100, by bob" in text
    assert "5 commits · 1 on the frontier · 1 attempt" in text
    assert "0.985000 claimed cyd" in text
    assert "0.990200 ±0.00014 2 bob" in text
    assert "1.500000 m4max cyd" in text and "ada runs it, the lease ends" in text
    assert "What next?" in text and "↳ to #1 The other way round." in text
    assert "bob 2 2 1 0 1 decided, too few" in text


def test_graph_marks_the_frontier_alone(world: World) -> None:
    """Each commit is a mark; what nobody has built on has a ring, and nothing else."""
    made = small(world)
    with served(world.hub) as url:
        text = get(f"{url}/").text
    graph = text[text.index('<svg class="dag"') : text.index("</svg>", text.index('"dag"'))]
    marks = graph.split("<a href=")[1:]
    classes = {
        mark.split("/commit/")[1][:40]: mark.split('class="')[1].split('"')[0] for mark in marks
    }
    assert classes == {
        made["root"]: "node frontier",
        made["one"]: "node frontier",
        made["two"]: "node frontier",
        made["merge"]: "node frontier leaf",
        made["tried"]: "node attempt",
    }
    assert graph.count('class="ring"') == 1
    assert graph.count('class="merge"') == 1 and graph.count('class="rail"') == 1


def test_commit_page_shows_message_change_and_results(world: World) -> None:
    """The whole message, parents, children, every result with its runs by others, the diff."""
    made = small(world)
    with served(world.hub) as url:
        page = Reading(get(f"{url}/p/main/commit/{made['one'][:8]}").text)
        root = Reading(get(f"{url}/p/main/commit/{made['root']}").text)
    assert f"/p/main/commit/{made['root']}" in page.links
    assert {f"/p/main/commit/{made[name]}" for name in ("merge", "tried")} <= {*page.links}
    assert "-RATE = 1" in page.text and "+RATE = 2" in page.text
    assert "0.990000 0.990200 (2) confirmed keep" in page.text
    assert "0.990000 0.990200 ±0.00014 2 H100 cyd" in page.text
    assert "the baseline" in root.text and "What everybody starts from." in root.text
    assert "none: a root" in root.text and "train.py" in root.text


def test_diff_is_capped_and_shows_what_hides(world: World) -> None:
    """A long diff ends with the count of missing lines; bidi characters are shown by number."""
    root = world.commit("ada", "root", files={"train.py": "x = 1\n"})
    lines = "".join(f"value = {n}\n" for n in range(5000))
    files = {"train.py": "x = 1 # \u202e esrever\n" + lines, "wide.py": "y" * 5000 + "\n"}
    sha = world.commit("ada", "much", root, files=files)
    with served(world.hub) as url:
        answer = get(f"{url}/p/main/commit/{sha}")
    page = Reading(answer.text)
    assert "U+202E" in page.text and "\u202e" not in answer.text
    assert "lines more" in page.text
    assert len(answer.text) < 300_000


def test_channel_page_has_threads_and_older_pages(world: World) -> None:
    """Answers follow their posts; a link leads to older posts; no post is lost."""
    world.commit("ada", "root")
    world.channel("ideas", "what to try")
    first = world.post("ada", "ideas", "the first question")
    for number in range(60):
        world.post("bob", "ideas", f"post number {number:02d}")
    asked = world.post("ada", "ideas", "the last question")
    world.post("cyd", "ideas", "the answer", asked)
    world.post("cyd", "ideas", "a late answer", first)
    long = world.post("ada", "ideas", "z" * 9000)
    with served(world.hub) as url:
        newest = Reading(get(f"{url}/p/main/channel/ideas").text)
        older = next(link for link in newest.links if link.startswith("?before="))
        oldest = Reading(get(f"{url}/p/main/channel/ideas{older}").text)
    assert newest.text.index("the last question") < newest.text.index("the answer")
    assert f"↳ to #{asked}" in newest.text and f"#post-{asked}" in newest.links
    assert f"↳ to #{first} a late answer" in newest.text  # that post is on the other page
    assert f"post-{long}" in newest.ids and "… 5,000 characters more" in newest.text
    shown = newest.text + oldest.text
    assert all(f"post number {number:02d}" in shown for number in range(60))
    assert "the first question" in oldest.text


def test_hidden_posts_stay_hidden(world: World) -> None:
    """No page shows a post that the admin hid."""
    world.commit("ada", "root")
    world.channel("ideas")
    bad = world.post("bob", "ideas", "a rude word")
    with served(world.hub) as url:
        assert "a rude word" in get(f"{url}/").text
        world.hub.space().board.hide(bad, "admin", "rude")
        for path in ("/", "/p/main/channel/ideas", "/p/main/agent/bob"):
            assert "a rude word" not in get(url + path).text


def test_an_agents_page_and_an_unknown_one(world: World) -> None:
    """Counts, trust, the newest commits and results."""
    made = small(world)
    world.hub.accounts.set_runner("bob")
    with served(world.hub) as url:
        page = Reading(get(f"{url}/p/main/agent/bob").text)
        missing = get(f"{url}/p/main/agent/nobody-here")
    assert "runner" in page.text and "1 decided, too few" in page.text
    assert f"/p/main/commit/{made['one']}" in page.links
    assert f"/p/main/commit/{made['two']}" not in page.links
    assert missing.status == 404 and "nobody-here" in Reading(missing.text).text


def test_an_empty_hub_says_how_to_start(world: World) -> None:
    """Three commands with the address that the reader used; an odd Host header is not copied."""
    with served(world.hub) as url:
        page = Reading(get(f"{url}/").text)
        assert f"ah join {url} --name NAME" in page.text
        assert "ah push" in page.text and f"autoresearch run --hub {url}" in page.text
        for host in ("evil.example/x", "<script>", 'a"b', "a b"):
            answer = get(f"{url}/", Host=host)
            if answer.status == 200:  # a server may refuse such a host itself
                assert "http://HUB" in Reading(answer.text).text
        assert url in get(f"{url}/").text


def test_other_projects_are_a_link_away(world: World) -> None:
    """The bar names all projects; the first page is a project with commits."""
    world.hub.projects.create("speed", Rules(title="How fast", forest=True, metric="seconds"))
    world.slug = "speed"
    sha = world.commit("ada", "fast")
    with served(world.hub) as url:
        page = Reading(get(f"{url}/").text)
        assert {"/p/main", "/p/speed", f"/p/speed/commit/{sha}"} <= {*page.links}
        assert "How fast" in page.text
        assert "Nothing has been pushed" in Reading(get(f"{url}/p/main").text).text
        assert get(f"{url}/p/main/commit/{sha}").status == 404


@pytest.mark.parametrize("path", [
    "/p/none", "/p/UPPER", "/p/main/commit/abcdef1", "/p/main/commit/zz", "/p/main/channel/none",
    "/p/main/channel/..%2f..%2fetc", "/p/main/agent/%3Cscript%3E", "/p/%3Cscript%3E",
    "/p/main/agent/" + "a" * 500, "/page/none.css", "/page/..%2froutes.py", "/p/main/commit/%00",
])  # fmt: skip
def test_unknown_paths_are_answered_4xx(world: World, path: str) -> None:
    """A page of our own markup, or JSON; nothing of the path becomes markup."""
    world.commit("ada", "root")
    with served(world.hub) as url:
        answer = get(url + path)
    assert 400 <= answer.status < 500
    if answer.headers["content-type"].startswith("text/html"):
        Reading(answer.text)


def test_a_bad_page_number_is_refused(world: World) -> None:
    """A number beyond any post gives an empty page; no number gives 400."""
    world.commit("ada", "root")
    world.channel("ideas")
    with served(world.hub) as url:
        for before in ("-1", "0", "9" * 30):
            assert get(f"{url}/p/main/channel/ideas?before={before}").status == 200
        assert get(f"{url}/p/main/channel/ideas?before=x").status == 400


# ---- hostile text ------------------------------------------------------------------------------


def test_hostile_text_never_becomes_markup(world: World) -> None:
    """With the corpus in every field, every page has our own elements and attributes only, and
    shows the corpus as text."""
    paths = infested(world)
    said = []
    with served(world.hub) as url:
        for path in paths:
            answer = get(url + path)
            assert answer.status == 200, path
            assert answer.headers["content-security-policy"] == POLICY
            said.append(Reading(answer.text).text)
            for hidden in "\u202e\u200b\u2066\x1b\x00":
                assert hidden not in answer.text, path
    everything = " ".join(said)
    for text in CORPUS[:17]:
        assert clean_line(text, 60) in everything, text
    assert MARK in said[0] and "protected:<img" in everything


def test_extreme_values_are_drawn_without_harm(world: World) -> None:
    """The largest and smallest numbers that a result may have break no picture."""
    root = world.commit("ada", "root")
    for value in (1.7e308, -1.7e308, 5e-324, 0.0, -0.0, 1e-9, 123456789.125, 1.0, 1.0 + 2e-16):
        for tier in ("H100", "cpu", f"box {abs(hash(value)) % 97}"):
            world.result("ada", root, value, tier)
            world.result("ada", root, value, tier, status="discard")
    with served(world.hub) as url:
        text = get(f"{url}/").text
    Reading(text)
    assert "nan" not in text.lower() and "inf" not in text.lower().replace("info", "")


# ---- caching, headers, switches ----------------------------------------------------------------


def test_headers_hold_on_every_answer(world: World) -> None:
    """The policy, no framing, no guessing of types; assets may be cached for ever."""
    made = small(world)
    paths = ["/", f"/p/main/commit/{made['one']}", "/p/none", "/p/main/agent/ada"]
    with served(world.hub) as url:
        for path in paths:
            headers = get(url + path).headers
            assert headers["content-security-policy"] == POLICY
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["cache-control"] == "no-cache"
        for name, kind in rendering.ASSETS.items():
            answer = get(f"{url}/page/{name}?{rendering.STAMP}")
            assert (answer.status, answer.headers["content-type"]) == (200, kind)
            assert "immutable" in answer.headers["cache-control"]


def test_unchanged_pages_are_not_sent_again(world: World) -> None:
    """304 while nothing changed; a new page after a push, a post, or an act of the admin."""
    made = small(world)
    world.channel("ideas")
    changes = [
        lambda: world.commit("bob", "one more", made["merge"]),
        lambda: world.post("bob", "ideas", "one more"),
        lambda: world.hub.accounts.set_runner("bob"),
        lambda: world.hub.space().board.hide(1, "admin", ""),
        lambda: world.hub.projects.change("main", Rules(title="Another", forest=True)),
    ]
    with served(world.hub) as url:
        for change in changes:
            before = get(f"{url}/")
            tag = before.headers["etag"]
            again = get(f"{url}/", If_None_Match=f'"other", {tag}')
            assert (again.status, again.text, again.headers["etag"]) == (304, "", tag)
            change()
            after = get(f"{url}/", If_None_Match=tag)
            assert after.status == 200 and after.text != before.text


def test_head_answers_without_a_body(world: World) -> None:
    """HEAD has the status and headers of GET, and no body."""
    small(world)
    with served(world.hub) as url:
        parts = urlsplit(url)
        with contextlib.closing(http.client.HTTPConnection(parts.netloc, timeout=30)) as link:
            link.request("HEAD", "/")
            answer = link.getresponse()
            assert (answer.status, answer.read()) == (200, b"")
            assert answer.headers["etag"] == get(f"{url}/").headers["etag"]


def test_a_hub_that_is_not_public_says_how_to_get_a_key(tmp_path: Path) -> None:
    """It shows how to register, and nothing of the project."""
    with made_world(tmp_path, replace(MANY, public_page=False)) as world:
        sha = world.commit("ada", "a secret plan")
        world.hub.projects.change("main", Rules(title="Secret", forest=True))
        with served(world.hub) as url:
            first = get(f"{url}/")
            assert first.status == 200
            assert f"ah join {url} --name NAME" in Reading(first.text).text
            paths = ["/p/main", f"/p/main/commit/{sha}", "/p/main/agent/ada", "/p/none"]
            for path in paths:
                answer = get(url + path)
                assert answer.status == 403, path
                assert "ecret" not in answer.text and "ada" not in answer.text
            assert get(f"{url}/p/main/events").status == 404
            assert get(f"{url}/page/page.css").status == 200
            world.hub.accounts.set_registration("invite")
            assert "--invite INVITE" in get(f"{url}/").text


# ---- events ------------------------------------------------------------------------------------


def test_events_send_numbers_and_nothing_else(world: World) -> None:
    """The stream sends the newest number at once, and again after each event."""
    sha = world.commit("ada", "root")
    with served(world.hub) as url:
        parts = urlsplit(url)
        with contextlib.closing(http.client.HTTPConnection(parts.netloc, timeout=30)) as link:
            link.request("GET", "/p/main/events?since=0")
            answer = link.getresponse()
            assert answer.status == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            head = reading.head(world.hub.database, 1)
            assert _next(answer) == head
            world.commit("ada", "secret words", sha)
            assert _next(answer) > head
        with contextlib.closing(http.client.HTTPConnection(parts.netloc, timeout=30)) as link:
            newest = reading.head(world.hub.database, 1)
            link.request("GET", "/p/main/events", headers={"Last-Event-ID": str(newest - 1)})
            assert _next(link.getresponse()) == newest
        assert get(f"{url}/p/none/events").status == 404


def _next(answer: http.client.HTTPResponse) -> int:
    """The number of the next event; every line is a retry, an id, data, or a comment."""
    seen = -1
    while line := answer.readline().decode().rstrip("\n"):
        word, _, value = line.partition(": ")
        assert word in ("retry", "id", "data", ""), line
        seen = int(value) if word == "data" else seen
    return seen if seen >= 0 else _next(answer)


# ---- bounded work ------------------------------------------------------------------------------


def steps_of(world: World) -> int:
    """The work of SQLite for a project's first page, in hundreds of instructions."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    connection = world.hub.database.read()
    connection.set_progress_handler(count, 100)
    try:
        view = reading.overview(world.hub, "main")
    finally:
        connection.set_progress_handler(None, 100)
    assert len(view.commits) == reading.COMMITS and view.tiers
    return counted


def grow(connection: sqlite3.Connection, start: int, end: int) -> None:
    """Insert many commits, results and posts at once."""
    commits = [
        (
            *(n, 1, f"{n:040x}", "0" * 40, f"{n - 1 - n % 50:040x}", "ada" if n % 2 else "bob"),
            *("s", "a", n, "", "[]", "frontier", n % 3, n),
        )
        for n in range(start, end)
    ]
    connection.executemany(f"INSERT INTO commits VALUES ({', '.join('?' * 14)})", commits)
    results = [
        (
            n,
            f"{n:040x}",
            "ada" if n % 2 else "bob",
            2 - n / 1e6,
            2 - n / 1e6,
            f"t{n % 2}",
            n % 7 // 6,
        )
        for n in range(start, end)
    ]
    connection.executemany(
        'INSERT INTO results(project, "commit", named, agent, metric, direction, value, cost, '
        "platform, tier, status, description, source, created, verdict, waiting) VALUES "
        "(1, ?, ?, ?, 'val_bpb', 'lower', ?, ?, 'H100', ?, 'keep', '', 'api', 1, 'claimed', ?)",
        results,
    )
    connection.execute("UPDATE results SET verdict = 'confirmed', mean = value, mean_cost = cost "
                       "WHERE seq % 3 = 0")  # fmt: skip
    posts = [(1, "ada", "x", 1, "") for n in range(start, end)]
    connection.executemany(
        "INSERT INTO posts(channel, agent, content, created, alike) VALUES (?, ?, ?, ?, ?)", posts
    )


@pytest.mark.slow
def test_the_first_page_costs_the_same_however_much_there_is(world: World) -> None:
    """The database does the same work with 20,000 commits, results and posts and with 80,000."""
    world.commit("ada", "root")
    world.agent("bob")
    world.channel("ideas")
    with world.hub.database.write() as connection:
        grow(connection, 100, 20_000)
    before = steps_of(world)
    with world.hub.database.write() as connection:
        grow(connection, 20_000, 80_000)
    assert steps_of(world) < 1.3 * before


def test_a_short_hash_gives_the_same_page(world: World) -> None:
    """A commit's page is the same under any unambiguous beginning of its hash."""
    made = small(world)
    with served(world.hub) as url:
        whole = get(f"{url}/p/main/commit/{made['one']}")
        short = get(f"{url}/p/main/commit/{quote(made['one'][:7])}")
    assert short.text == whole.text
