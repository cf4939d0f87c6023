"""The page in a real browser: on a telephone, by keyboard, on paper, without scripts."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import chromium
from autoresearch.report.page import page
from chromium import Browser, Tab
from report.made import long_study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.path() is None, reason=chromium.WITHOUT),
]

TRIALS = 150


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A long study's page in a file; one note is a single word of 300 characters."""
    story = long_study(TRIALS)
    rows = list(story.rows)
    rows[7] = replace(rows[7], note="x" * 300)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(replace(story, rows=tuple(rows))), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    with chromium.browser() as found:
        yield found


@pytest.mark.parametrize("width", [360, 400, 768, 1400])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_and_complains_of_nothing(
    browser: Browser, address: str, width: int, dark: bool
) -> None:
    """The page is no wider than the window, no text is below 12 pixels, and nothing is loaded."""
    with browser.tab(width=width, dark=dark, phone=width < 700) as tab:
        tab.go(address)
        assert tab.run("document.documentElement.scrollWidth") <= width
        assert tab.run(SMALLEST_TEXT) >= 12
        assert tab.run(f"Math.min(...{WORDS}.map((one) => one.getBoundingClientRect().left))") >= 0
        assert tab.complaints() == []
        assert tab.asked_for() == [address]


WORDS = "[...document.querySelectorAll('#trials tbody .status span')]"
SMALLEST_TEXT = """Math.min(...[...document.querySelectorAll('main *')].filter(
    (node) => [...node.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim())
        && node.getClientRects().length && node.tagName !== 'style').map((node) => {
    const size = parseFloat(getComputedStyle(node).fontSize), svg = node.closest('svg');
    return svg ? size * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : size;
}))"""


@pytest.mark.parametrize("width", [360, 400])
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_telephone_shows_cards_not_a_column_of_characters(
    browser: Browser, address: str, width: int, scripts: bool
) -> None:
    """A trial takes a few lines, its note the whole width; the whole page is some screens long."""
    with browser.tab(width=width, phone=True, scripts=scripts) as tab:
        tab.go(address)
        assert tab.run("document.documentElement.scrollHeight") < TRIALS * 160
        note = "document.querySelector('#trial-8 .note').getBoundingClientRect()"
        assert tab.run(f"{note}.width") > width * 0.8
        assert tab.run(f"{note}.height") < 60
        shown = (
            "[...document.querySelectorAll('svg.staircase')].filter(s => s.getClientRects().length)"
        )
        assert tab.run(f"{shown}.length") == 1
        assert tab.run(f"{shown}[0].getBoundingClientRect().right") <= width


def test_marks_are_reached_by_keyboard(browser: Browser, address: str) -> None:
    """Tab goes past a link that skips the chart to the first mark, whose words appear; Enter leads
    to its row."""
    with browser.tab(width=1400) as tab:
        tab.go(address)
        _press(tab, "Tab")
        assert tab.run("document.activeElement.textContent") == "Skip the marks of the chart"
        tab.run("document.querySelector('a.mark[href=\"#trial-48\"]').focus()")
        assert tab.run("document.activeElement.getAttribute('href')") == "#trial-48"
        words = tab.run("document.querySelector('.tip-box').textContent")
        assert words.startswith("#48 discard")
        assert tab.run("document.querySelector('.tip-box').hidden") is False
        _press(tab, "Enter")
        tab.until("location.hash === '#trial-48'")
        assert tab.run("document.querySelector('#trial-48:target') !== null")


def _press(tab: Tab, key: str) -> None:
    """Press a key and let it go."""
    more = {
        "Tab": {"windowsVirtualKeyCode": 9},
        "Enter": {"windowsVirtualKeyCode": 13, "text": "\r"},
    }
    tab.ask("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, **more[key])
    tab.ask("Input.dispatchKeyEvent", type="keyUp", key=key, code=key)


def test_the_chart_has_a_name_for_those_who_do_not_see_it(browser: Browser, address: str) -> None:
    """The browser's own tree of names has the verdict as an image, and the marks as links."""
    with browser.tab(width=1400) as tab:
        tab.go(address)
        nodes = tab.ask("Accessibility.getFullAXTree")["nodes"]
        named = [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node.get("ignored") and "role" in node
        ]
        assert any(role == "image" and "val_bpb went from" in name for role, name in named)
        assert sum(role == "link" and name.startswith("#") and "discard" in name
                   for role, name in named) > 100  # fmt: skip


def test_headings_sort_the_table(browser: Browser, address: str) -> None:
    """Numbers as numbers, missing ones last either way; words and times as words."""
    with browser.tab(width=1400) as tab:
        tab.go(address)
        values = _sorted_by(tab, "val_bpb", "ascending")
        known = [float(value) for value in values if value != "-"]
        assert known == sorted(known)
        assert values[len(known) :] == ["-"] * (TRIALS - len(known))
        values = _sorted_by(tab, "val_bpb", "descending")
        assert [float(value) for value in values if value != "-"] == known[::-1]
        assert values[-1] == "-"
        times = [time for time in _sorted_by(tab, "UTC", "ascending") if time]
        assert times == sorted(times)
        assert len(times) == TRIALS - 1


def _sorted_by(tab: Tab, heading: str, order: str) -> list[str]:
    """Press a heading; the texts of its column from then on."""
    tab.run(
        "window.head = [...document.querySelectorAll('#trials th')]"
        f".find((one) => one.textContent === {heading!r}); head.querySelector('button').click()"
    )
    assert tab.run("head.getAttribute('aria-sort')") == order
    rows = "[...document.querySelectorAll('#trials tbody tr')]"
    found: list[str] = tab.run(f"{rows}.map((row) => row.cells[head.cellIndex].textContent)")
    return found


def test_the_filter_hides_and_a_mark_shows_again(browser: Browser, address: str) -> None:
    """Words and ticks hide rows; a mark's link brings its own row back."""
    with browser.tab(width=1400) as tab:
        tab.go(address)
        tab.run("const s = document.querySelector('[type=search]'); s.value = 'relu';"
                "s.dispatchEvent(new Event('input', {bubbles: true}))")  # fmt: skip
        shown = "[...document.querySelectorAll('#trials tbody tr')].filter(r => !r.hidden).length"
        assert 0 < tab.run(shown) < TRIALS
        assert tab.run("document.getElementById('trial-2').hidden")
        tab.run("location.hash = 'trial-2'")
        tab.until("!document.getElementById('trial-2').hidden")


def test_on_paper_the_chart_is_whole_and_on_the_first_page(browser: Browser, address: str) -> None:
    """A4 across: the chart is as wide as the sheet and ends on it; the table follows on more."""
    with browser.tab(width=1032, height=703, dark=True) as tab:
        tab.ask("Emulation.setEmulatedMedia", media="print")
        tab.go(address)
        box = "document.querySelector('figure svg').getBoundingClientRect()"
        assert tab.run(f"{box}.right") <= 1032
        assert tab.run(f"{box}.bottom") <= 703
        assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(253, 252, 250)"
        assert tab.run("getComputedStyle(document.getElementById('filter')).display") == "none"
        tab.ask("Emulation.setEmulatedMedia", media="")
        made = tab.ask("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        pdf = base64.b64decode(made["data"])
        sheets = len(re.findall(rb"/Type\s*/Page\b", pdf))
        assert 3 <= sheets <= 14
        boxes = re.findall(rb"/MediaBox\s*\[([\d. ]+)\]", pdf)
        assert boxes
        left, top, right, bottom = map(float, boxes[0].split())
        assert right - left > bottom - top


def test_the_interactive_page_draws_with_vega(browser: Browser, tmp_path: Path) -> None:
    """The marks are Vega's, and still nothing is loaded."""
    path = tmp_path / "report.html"
    path.write_text(page(long_study(60 + 90), interactive=True), encoding="utf-8")
    with browser.tab(width=1400) as tab:
        tab.go(path.as_uri())
        tab.until("document.querySelector('#staircase .mark-group') !== null")
        assert tab.complaints() == []
        assert tab.asked_for() == [path.as_uri()]
