"""The parts of the page: graph layout, axes, labels, steps, templates, cached pages."""

from __future__ import annotations

import math
import random
import re
import threading
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError
from markupsafe import Markup

from agenthub.records.commits import ATTEMPT, FRONTIER, Commit
from agenthub.records.projects import Rules
from agenthub.server.page import graph, reading
from agenthub.server.page.pages import address
from agenthub.server.page.rendering import PAGES, PageCache, about, moment, number, render, visible
from agenthub.server.page.stairs import Box, Wish, placed, shortened, spanned, width_of
from hub_page import World, made_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An empty hub."""
    with made_world(tmp_path) as made:
        yield made


# ---- the graph ---------------------------------------------------------------------------------


def commit(seq: int, *parents: int, role: str = FRONTIER) -> Commit:
    """A commit whose hash is a number."""
    return Commit(
        *(seq, f"{seq:040x}", "t" * 40, tuple(f"{p:040x}" for p in parents), "ada", "s", "a"),
        *(0, "", (), role, 0, 0),
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Commit]:
    """Any commits, parents first; some with two parents, some with a missing one."""
    found = []
    for seq in range(1, draw(st.integers(1, 40))):
        most = max(0, seq - 1)
        parents = draw(st.lists(st.integers(0, most), max_size=2, unique=True))
        role = draw(st.sampled_from([FRONTIER, FRONTIER, ATTEMPT]))
        found.append(commit(seq, *parents, role=role))
    return found


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(histories())
def test_every_commit_has_a_place_of_its_own(history: list[Commit]) -> None:
    """No commit lies on another; children are to the right of parents; every edge joins two
    commits; all are inside the picture."""
    made = graph.laid_out(history, named=[each.sha for each in history[:3]])
    places = {node.commit.sha: (node.x, node.y) for node in made.nodes}
    assert {*places} == {each.sha for each in history}
    for one in made.nodes:
        assert 0 < one.x < made.width and 0 < one.y < made.height
        for other in made.nodes:
            apart = abs(one.x - other.x) >= 8 or abs(one.y - other.y) >= graph.LANE - 1
            assert one is other or apart
        for parent in one.commit.parents:
            assert parent not in places or places[parent][0] < one.x
    ends = {*places.values()}
    for edge in made.edges:
        assert (edge.x0, edge.y0) in ends and (edge.x1, edge.y1) in ends
    drawn = {(edge.x1, edge.y1) for edge in made.edges if edge.kind == "line"}
    rails = sum(node.hangs for node in made.nodes)
    roots = sum(not {*node.commit.parents} & {*places} for node in made.nodes)
    assert len(drawn) + rails + roots == len(history)


def test_the_longest_line_of_descent_is_straight() -> None:
    """Branches lie below it; a commit that ends a branch does not bend it."""
    history = [commit(n, n - 1) for n in range(1, 20)]
    history += [commit(n, n - 15) for n in range(20, 30)]
    made = graph.laid_out(history)
    lines = {node.commit.seq: node.y for node in made.nodes}
    assert {lines[n] for n in range(1, 20)} == {graph.TOP}
    assert all(lines[n] > graph.TOP for n in range(20, 30))


def test_hundreds_of_attempts_on_one_commit_stay_small() -> None:
    """Attempts hang in rows, not one below the other."""
    history = [commit(1)] + [commit(n, 1, role=ATTEMPT) for n in range(2, 200)]
    made = graph.laid_out(history)
    assert made.height < 400 and made.width < 400
    assert sum(edge.kind == "rail" for edge in made.edges) == math.ceil(198 / graph.RAIL)


# ---- axes and labels ---------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=6))
def test_an_axis_holds_any_finite_values(values: list[float]) -> None:
    """Every finite value has a pixel inside; ticks are few, finite and in order."""
    axis = spanned(values, 300.0, 10.0)
    assert all(10.0 <= axis.at(value) <= 300.0 for value in values)
    ticks = list(axis.ticks())
    assert len(ticks) <= 8
    assert all(axis.holds(value) and len(text) < 40 for value, text in ticks)
    assert [value for value, _ in ticks] == sorted(value for value, _ in ticks)


@pytest.mark.parametrize("span", [1, 90, 4000, 90_000, 10**6, 10**8, 2 * 10**9])
def test_times_are_round_and_few(span: int) -> None:
    """For spans from a second to sixty years."""
    axis = spanned([1_700_000_000 - span, 1_700_000_000], 0.0, 500.0)
    ticks = list(axis.times())
    assert 0 <= len(ticks) <= 8
    assert all(value % 60 == 0 for value, _ in ticks)


def test_labels_touch_neither_each_other_nor_walls() -> None:
    """Of many wishes in a small room at least 15 get a label, and no two labels overlap."""
    chance = random.Random(7)
    room, walls = Box(0, 0, 600, 300), [Box(0, 140, 600, 150), Box(300, 0, 306, 300)]
    wishes = [
        Wish(chance.uniform(0, 600), chance.uniform(0, 300), f"idea number {n}") for n in range(40)
    ]
    found = placed(wishes, room, walls, 12)
    assert len(found) >= 15
    boxes = []
    for label in found:
        width = width_of(label.wish.text, 12)
        left = label.x if label.start else label.x - width
        boxes.append(Box(left, label.y - 6, left + width, label.y + 6))
    for index, box in enumerate(boxes):
        assert box.x0 >= room.x0 and box.x1 <= room.x1 and box.y0 >= 0 and box.y1 <= 300
        assert not any(box.meets(other) for other in [*boxes[:index], *walls])


def test_notes_are_cut_at_words() -> None:
    """Between words where there are some."""
    assert shortened("a smaller batch", 38) == "a smaller batch"
    assert (
        shortened("a much smaller batch with a longer warmdown", 30)
        == "a much smaller batch with a…"
    )
    assert len(shortened("z" * 500, 38)) == 38


# ---- steps -------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["lower", "higher"])
def test_steps_equal_the_leaderboards_staircase(world: World, direction: str) -> None:
    """Reading from the best back gives the same steps as reading all results in order."""
    chance, space = random.Random(3), world.hub.space()
    world.hub.projects.change("main", Rules(direction=direction, forest=True))
    shas = [world.commit("ada", f"commit {n}") for n in range(3)]
    for turn in range(120):
        drift = turn / 200 if direction == "higher" else -turn / 200
        value = round(chance.gauss(1 + drift, 0.1), 2)  # some are equal
        status = chance.choice(["keep", "keep", "discard"])
        told = world.result("ada", chance.choice(shas), value, status=status)
        if status == "keep" and turn % 2:
            worse = 0.5 if direction == "lower" else -0.5
            off = chance.choice([0.0, 0.0, worse])
            world.verify("bob", told, value + off, value + off + 1e-4, value + off - 1e-4)
    for replicated in (False, True):
        ours = reading.steps(world.hub.database, 1, "h100", replicated=replicated)
        theirs = space.leaderboard.staircase("h100", replicated=replicated)
        assert ours == theirs and len(ours) > 3


def test_tiers_with_replicated_results_come_first(world: World) -> None:
    """They come first however many other tiers an agent invents."""
    sha = world.commit("ada", "root")
    world.verify("bob", world.result("ada", sha, 1.0), 1.0, 1.0001)
    for each in range(30):
        for _ in range(2):
            world.result("cyd", sha, 0.1, f"a{each}")
    found = reading.tiers(world.hub.database, 1)
    assert found[0] == ("h100", 1) and len(found) == 31


# ---- text --------------------------------------------------------------------------------------


def test_templates_clean_and_escape_all_text() -> None:
    """In text and in attributes; only Markup is left alone; template syntax in text is text."""
    bare = {"slug": "", "projects": (), "live": False, "status": 404}

    def page(heading: object, title: str = "") -> str:
        found = render("trouble.html", title=title, heading=heading, message="", **bare)
        return found.split("<h1>")[1].split("</h1>")[0]

    assert page("<b>&\"'") == "&lt;b&gt;&amp;&#34;&#39;"
    assert page(Markup("<b>")) == "<b>"
    assert page("{{ slug }} {% raw %} {y} {0}") == "{{ slug }} {% raw %} {y} {0}"
    assert (page("a\x00b\u202ec"), page(None), page(3)) == ("abc", "", "3")
    made = render("start.html", **bare | {"slug": '"><b', "live": True}, title="", heading="",
                  cursor=1, address="")  # fmt: skip
    assert 'data-events="/p/&#34;&gt;&lt;b/events"' in made
    with pytest.raises(UndefinedError, match="message"):
        render("trouble.html", title="", heading="", **bare)


def test_no_template_turns_escaping_off() -> None:
    """Neither `safe` nor `autoescape`: what is HTML already comes from Python as Markup."""
    folder = files("agenthub.server.page") / "templates"
    texts = {each.name: each.read_text() for each in folder.iterdir()}
    assert "base.html" in texts
    found = [name for name, text in texts.items() if re.search(r"\|\s*safe\b|autoescape", text)]
    assert found == []


def test_code_shows_invisible_characters() -> None:
    """They are shown by number; the rest is escaped."""
    assert visible("a\u202e<\x1b") == 'a<b class="odd">U+202E</b>&lt;<b class="odd">U+001B</b>'
    assert visible("\tüx < 1") == "\tüx &lt; 1"


def test_times_and_numbers_have_no_limits() -> None:
    """Times beyond the calendar and numbers of any size are formatted."""
    assert ">2023-11-14 22:13</time>" in moment(1_700_000_000)
    assert moment(2**62) == moment(-1) == "<span>no date</span>"
    assert [number(v) for v in (0.9697, -2.0, 1e-9, 12345.67, 1e300, math.nan, None)] == [
        "0.969700", "−2.000000", "1.00000e−09", "12,345.7", "1.00000e+300", "–", "–",
    ]  # fmt: skip
    assert (about(3, 10), about(10, 10), about(2000, 2000)) == ("3", "10+", "2,000+")


@pytest.mark.parametrize(("host", "shown"), [
    ("hub.example:8080", "http://hub.example:8080"), ("[::1]:80", "http://[::1]:80"),
    ("", "http://HUB"), ("a/b", "http://HUB"), ("a b", "http://HUB"), ("a;rm -rf", "http://HUB"),
    ("$(id)", "http://HUB"), ("a" * 300, "http://HUB"),
])  # fmt: skip
def test_only_a_hosts_name_is_put_into_a_command(host: str, shown: str) -> None:
    """A command that people copy holds nothing that a shell would run."""
    assert address(host, "http") == shown


# ---- cached pages ------------------------------------------------------------------------------


def test_a_page_is_made_once_for_many_readers() -> None:
    """Concurrent readers wait for one maker; a new state makes a new page; old pages go."""
    cache, made, lines = PageCache(), [], threading.Barrier(8)

    def make() -> str:
        made.append(1)
        return f"page {len(made)}"

    found: list[str] = []

    def read() -> None:
        lines.wait()
        found.append(cache.get("a", "1", make))

    readers = [threading.Thread(target=read) for _ in range(8)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert found == ["page 1"] * 8
    assert cache.get("a", "2", make) == "page 2"
    for other in range(PAGES):
        cache.get(f"other {other}", "1", lambda: "x")
    assert cache.get("a", "2", make) == "page 3"
