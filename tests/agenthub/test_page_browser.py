"""The page in a real browser: its looks, hostile text, live updates."""

from __future__ import annotations

import base64
import contextlib
import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import chromium
from agenthub.records.commits import ATTEMPT
from agenthub.records.hub import HubSettings
from chromium import Browser, Tab
from hub_page import World, infested, made_world, served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.path() is None, reason=chromium.WITHOUT),
]

MANY = HubSettings(pushes_per_hour=10_000, posts_per_hour=10_000, requests_per_minute=100_000)
LIVE = "document.getElementById('pulse').className === 'live'"
LOOKS = """(async () => {
  const image = new Image();
  image.src = 'data:image/png;base64,%s';
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height), paper = canvas.getContext('2d');
  paper.drawImage(image, 0, 0);
  const data = new Uint32Array(paper.getImageData(0, 0, image.width, image.height).data.buffer);
  const corner = data[0] & 0xff;
  return { width: image.width, height: image.height, corner, colours: new Set(data).size,
           other: data.reduce((sum, each) => sum + (each !== data[0]), 0) / data.length };
})()"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all; each test has windows of its own."""
    with chromium.browser() as started:
        yield started


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An empty hub."""
    with made_world(tmp_path, MANY) as made:
        yield made


def lively(world: World) -> dict[str, str]:
    """Make a history that fills every section; hashes by name."""
    root = world.commit("ada", "the baseline")
    world.verify("bob", world.result("ada", root, 1.0, description="baseline"), 1.0001, 0.9999)
    line, made = root, {"root": root}
    for number in range(8):
        agent = ("ada", "bob", "cyd")[number % 3]
        tried = world.commit(agent, f"attempt {number}", line, role=ATTEMPT)
        world.result(agent, tried, 1.01, status="discard", description=f"attempt {number}")
        line = world.commit(agent, f"step {number}", line)
        value = 1.0 - number / 100
        told = world.result(agent, line, value, description=f"idea number {number}")
        if number % 2:
            world.verify("dan", told, value + 0.0001, value - 0.0001)
        made[f"step {number}"] = line
    world.result("cyd", root, 1.4, "M4-Max", description="a laptop")
    world.channel("ideas", "what to try")
    world.post("bob", "ideas", "Yes.", world.post("ada", "ideas", "Is it real?"))
    return made


def looks(browser: Browser, png: bytes) -> Any:
    """Size, corner, colours and share of other pixels of a PNG, measured by the browser."""
    with browser.tab() as tab:
        return tab.run(LOOKS % base64.b64encode(png).decode())


def saved(name: str, png: bytes) -> bytes:
    """Save a screenshot into the folder AUTORESEARCH_TEST_SHOTS, if it is set."""
    if folder := os.environ.get("AUTORESEARCH_TEST_SHOTS"):
        (Path(folder) / f"{name}.png").write_bytes(png)
    return png


def only_from(tab: Tab, url: str) -> bool:
    """Whether all requests of the page went to its own server."""
    return all(each.startswith((url, "data:image/png")) for each in tab.asked_for())


# ---- looks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "how"), [
    ("light", {"width": 1200, "height": 1900}),
    ("dark", {"width": 1200, "height": 1900, "dark": True}),
    ("phone", {"width": 360, "height": 1500, "phone": True}),
    ("wide", {"width": 2200, "height": 1200}),
])  # fmt: skip
def test_it_can_be_looked_at(world: World, browser: Browser, name: str, how: Any) -> None:
    """The page is drawn on a light or dark ground, no wider than the window, without errors."""
    lively(world)
    with served(world.hub) as url, browser.tab(**how) as tab:
        tab.go(url)
        tab.until(LIVE)
        found = looks(browser, saved(name, tab.shot()))
        assert tab.run("document.documentElement.scrollWidth") == how["width"]
        assert tab.complaints() == [] and only_from(tab, url)
    assert (found["width"], found["height"]) == (how["width"], how["height"])
    assert (found["corner"] < 64) == ("dark" in how)
    assert found["colours"] > 200 and found["other"] > 0.02


def test_every_page_is_readable_on_a_phone(world: World, browser: Browser) -> None:
    """No page is wider than 360 pixels, has an error, or has text that is too small."""
    made = lively(world)
    paths = [f"/p/main/commit/{made['step 3']}", "/p/main/channel/ideas", "/p/main/agent/ada"]
    small = """[...document.querySelectorAll('body *')].filter((each) => {
      const own = [...each.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
      return own && !each.closest('svg') && parseFloat(getComputedStyle(each).fontSize) < 11;
    }).map((each) => each.outerHTML.slice(0, 80))"""
    with served(world.hub) as url, browser.tab(360, 740, phone=True) as tab:
        for path in [*paths, "/p/none"]:
            tab.go(url + path)
            assert tab.run("document.documentElement.scrollWidth") == 360, path
            assert tab.run(small) == [], path
            missing = [each for each in tab.complaints() if "404" not in each]
            assert missing == [] and only_from(tab, url)


def test_text_has_contrast(world: World, browser: Browser) -> None:
    """Every text has a contrast of 4.5 to 1 or more with its background, light and dark."""
    lively(world)
    weak = """(() => {
      const light = (colour) => {
        const parts = colour.match(/[\\d.]+/g).map(Number).slice(0, 3).map((v) => {
          v /= 255;
          return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
      };
      const behind = (each) => {
        for (let at = each; at; at = at.parentElement) {
          const colour = getComputedStyle(at).backgroundColor;
          if (colour !== 'rgba(0, 0, 0, 0)') return colour;
        }
      };
      const found = [];
      for (const each of document.querySelectorAll('body *')) {
        const own = [...each.childNodes].filter((n) => n.nodeType === 3);
        const text = own.map((n) => n.data).join('').trim();
        if (!/\\w/.test(text) || each.tagName === 'title') continue;
        const style = getComputedStyle(each);
        const ink = light(each instanceof SVGElement ? style.fill : style.color);
        const paper = light(behind(each));
        const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
        if (ratio < 4.5) found.push(ratio.toFixed(2) + ' ' + each.outerHTML.slice(0, 80));
      }
      return found;
    })()"""
    with served(world.hub) as url:
        for dark in (False, True):
            with browser.tab(dark=dark) as tab:
                tab.go(url)
                assert tab.run("document.querySelectorAll('td, text').length") > 50
                assert tab.run(weak) == []


def test_headings_and_names_are_accessible(world: World, browser: Browser) -> None:
    """One first heading, no level skipped; tables, pictures and scrolling boxes have names."""
    lively(world)
    with served(world.hub) as url, browser.tab() as tab:
        tab.go(url)
        levels = tab.run("[...document.querySelectorAll('h1,h2,h3,h4')].map((h) => +h.tagName[1])")
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        bare = (
            "[...document.querySelectorAll('table')].filter((t) => !t.caption?.textContent).length"
        )
        assert tab.run(bare) == 0
        unnamed = """[...document.querySelectorAll('svg')].filter(
          (s) => !s.querySelector('title') && s.getAttribute('aria-hidden') !== 'true').length"""
        assert tab.run(unnamed) == 0
        assert tab.run("document.querySelector('.ends').getAttribute('aria-label')")
        assert tab.run("document.documentElement.lang") == "en"


# ---- hostile text ------------------------------------------------------------------------------


def test_hostile_text_never_runs(world: World, browser: Browser) -> None:
    """With the corpus in every field no script sets the mark, nothing is loaded from elsewhere, and
    the policy has nothing to stop."""
    paths = infested(world)
    with served(world.hub) as url, browser.tab() as tab:
        for path in paths:
            tab.go(url + path)
            assert tab.run("window.broken") is None, path
            assert tab.run("getComputedStyle(document.querySelector('main')).display") == "block"
            assert tab.run("document.baseURI") == url + path
            assert tab.run("document.scripts.length") == 1
            assert tab.complaints() == [] and only_from(tab, url), path
        tab.go(url)
        tab.until(LIVE)
        world.post("ada", "c1", "<img src=x onerror='window.broken=1'> at last")
        tab.until("document.body.textContent.includes('at last')")
        assert tab.run("window.broken") is None
        assert tab.complaints() == [] and only_from(tab, url)


def test_the_policy_stops_injected_markup(world: World, browser: Browser) -> None:
    """Markup that is injected into the page neither runs nor loads: the policy stops it."""
    world.commit("ada", "root")
    with served(world.hub) as url, browser.tab() as tab:
        tab.go(url)
        tab.run("""document.body.insertAdjacentHTML('beforeend',
          '<img src="x" onerror="window.broken=1"><img src="http://127.0.0.1:9/x.png">' +
          '<b id="styled" style="color: rgb(1, 2, 3)" onclick="window.broken=2">b</b>' +
          '<iframe srcdoc="&lt;script>parent.broken=3&lt;/script>"></iframe>')""")
        tab.run("document.getElementById('styled').click()")
        tab.run("document.body.append(Object.assign(document.createElement('script'), "
                "{ textContent: 'window.broken = 4' }))")  # fmt: skip
        tab.run("new Promise((done) => setTimeout(done, 200))")
        assert tab.run("window.broken") is None
        colour = "getComputedStyle(document.getElementById('styled')).color"
        assert tab.run(colour) != "rgb(1, 2, 3)"
        assert len([each for each in tab.complaints() if "Content Security Policy" in each]) >= 3


# ---- keeping up --------------------------------------------------------------------------------


def test_an_open_page_updates_without_a_reload(world: World, browser: Browser) -> None:
    """A push, a result and a post appear in the open page; the reader's scroll position and focus
    stay."""
    made = lively(world)
    with served(world.hub) as url, browser.tab(600, 800) as tab:
        tab.go(url)
        tab.until(LIVE)
        tab.run("window.same = true; document.querySelector('.ends').scrollLeft = -40;"
                "document.querySelector('#board h3 a').focus({ preventScroll: true })")  # fmt: skip
        there = tab.run("document.querySelector('.ends').scrollLeft")
        assert there < 0
        sha = world.commit("bob", "something new", made["root"])
        tab.until(f"document.querySelector('#graph .dag a[href$=\"{sha}\"]') !== null")
        told = world.result("bob", sha, 0.5, description="wonderful")
        tab.until("document.querySelector('#queue').textContent.includes('wonderful')")
        world.verify("ada", told, 0.5, 0.50001)
        tab.until("document.querySelector('#top').textContent.includes('0.500005')")
        world.post("cyd", "ideas", "a word that is new")
        tab.until("document.querySelector('#board').textContent.includes('that is new')")
        assert tab.run("window.same") is True
        assert tab.run("document.querySelector('.ends').scrollLeft") == there
        assert tab.run("document.activeElement.textContent") == "#ideas"
        assert tab.complaints() == [] and only_from(tab, url)


def test_hidden_windows_hold_no_connection(world: World, browser: Browser) -> None:
    """A browser has six connections to a server. Hidden pages hold none of them, and update when
    they become visible."""
    world.commit("ada", "root")
    with served(world.hub) as url, browser.tab() as first, contextlib.ExitStack() as stack:
        others = [stack.enter_context(browser.tab(beside=first)) for _ in range(8)]
        for tab in (first, *others):
            tab.ask("Page.bringToFront")
            tab.go(url)
            tab.until(LIVE)
        assert first.run("document.hidden")
        sha = world.commit("ada", "while nobody looked")
        others[-1].until(f"document.body.innerHTML.includes('{sha}')")
        assert not first.run(f"document.body.innerHTML.includes('{sha}')")
        first.ask("Page.bringToFront")
        first.until(f"document.body.innerHTML.includes('{sha}')")


def test_an_empty_page_fills(world: World, browser: Browser) -> None:
    """The start page turns into the project's page after the first push."""
    with served(world.hub) as url, browser.tab() as tab:
        tab.go(url)
        tab.until(LIVE)
        assert "Nothing has been pushed" in tab.run("document.body.textContent")
        sha = world.commit("ada", "the first")
        tab.until(f"document.querySelector('#graph a[href$=\"{sha}\"]') !== null")


def test_a_page_shows_when_the_hub_is_away(world: World, browser: Browser) -> None:
    """A page whose hub stopped keeps its content and shows that it is connecting."""
    world.commit("ada", "root")
    with browser.tab() as tab:
        with served(world.hub) as url:
            tab.go(url)
            tab.until(LIVE)
        tab.until("document.getElementById('pulse').textContent === 'connecting …'")
        assert tab.run("document.querySelectorAll('.dag a').length") == 1


def test_it_needs_no_scripts(world: World, browser: Browser) -> None:
    """Without scripts the page is complete, pictures too, and shows exact times."""
    made = lively(world)
    with served(world.hub) as url, browser.tab(1200, 1900, scripts=False) as tab:
        tab.go(url)
        root = tab.ask("DOM.getDocument")["root"]["nodeId"]
        text = tab.ask("DOM.getOuterHTML", nodeId=root)["outerHTML"]
        found = looks(browser, tab.shot())
        asked = tab.asked_for()
    assert all(f"/p/main/commit/{sha}" in text for sha in made.values())
    assert re.search(r">\d{4}-\d\d-\d\d \d\d:\d\d</time>", text) and " ago<" not in text
    assert found["colours"] > 200
    assert not any(each.endswith("/events") or "/events?" in each for each in asked)
    assert "replicated on h100" in text
