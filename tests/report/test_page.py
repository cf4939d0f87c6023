"""The page: it shows the whole study, loads nothing, and no untrusted text becomes markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from jinja2 import UndefinedError

from autoresearch.errors import ReportError
from autoresearch.lab.metric import Metric
from autoresearch.report.net_diff import DiffLine, NetDiff
from autoresearch.report.page import page
from autoresearch.report.picture import staircase_svg
from autoresearch.report.rendering import templates
from autoresearch.report.stacks import Stack, Step
from autoresearch.report.story import Story
from autoresearch.report.write import write_report
from autoresearch.store.ledger import Status
from autoresearch.store.rows import Row
from report.made import MINIMIZE, all_crash, long_study, made_rows, made_story

PAYLOADS = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "<!--",
    "<!--<script>",
    "]]>",
    "</noscript><svg onload=alert(1)>",
    "</style><body onload=alert(1)>",
    "</title><iframe src=//evil.invalid>",
    "</pre></details></table><form action=https://evil.invalid>",
    "<a href='javascript:alert(1)'>x</a>",
    '<link rel=stylesheet href="https://evil.invalid/x.css">',
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;img src=x onerror=alert(1)&#62;",
    "{{constructor.constructor('alert(1)')()}}",
    "${alert(1)}",
    "\u2028alert(1)\u2029",
    "\x00<b>\x1b[31m\u202e",
    "\\u003cscript>",
    "<\ud800script>",
]
LOADING = {
    "src",
    "href",
    "srcset",
    "data",
    "action",
    "poster",
    "background",
    "xlink:href",
    "formaction",
}


@dataclass
class Seen(HTMLParser):
    """The structure of a document: its tags with their attribute names, and its scripts."""

    tags: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    scripts: list[tuple[str, str]] = field(default_factory=list)
    policy: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        found = dict(attrs)
        self.loads += [v or "" for k, v in attrs if k in LOADING]
        if tag == "script":
            self.scripts.append((found.get("type") or "", ""))
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found.get("content") or ""

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script" and self.scripts:
            kind, text = self.scripts[-1]
            self.scripts[-1] = (kind, text + data)


def seen(document: str) -> Seen:
    """A document taken apart."""
    parser = Seen()
    parser.feed(document)
    parser.close()
    return parser


def story_of(text: str) -> Story:
    """A study with this text in every field that may be untrusted."""
    curve = ((0.0, 9.0), (0.5, 4.0), (1.0, 3.0))
    rows = [
        Row(0, text, 2.0, 1.0, Status.KEEP, text, text, 1, 1.0, text, None, curve, "+" + text),
        Row(1, text, 1.0, 1.0, Status.KEEP, text, text, 1, 1.0, "other", 0, curve, "-" + text),
        Row(2, text, None, 1.0, Status.CRASH, text, text, 1, 1.0, text, 0, curve, text,
            created=text, detail=text),
        Row(3, text, None, 1.0, Status.CRASH, text, text, detail=text),
    ]  # fmt: skip
    story = Story.of_rows(text, Metric(text), rows, {text: text})
    steps = (Step(0, text, text), Step(1, text, text))
    net = [NetDiff(text, (DiffLine("@", text), DiffLine("+", text, 1), DiffLine(" ", text)))]
    return replace(story, stacks={1: Stack(1, steps, text)}, net=net)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_untrusted_text_is_no_markup(payload: str) -> None:
    """With a payload in every field the document has the same tags as with a plain word."""
    harmless, hostile = seen(page(story_of("word"))), seen(page(story_of(payload)))
    drawn = {"path", "text"}  # a label may have no room, or need a line
    assert [tag for tag in hostile.tags if tag[0] not in drawn] == [
        tag for tag in harmless.tags if tag[0] not in drawn
    ]
    assert hostile.policy == harmless.policy
    assert [text for kind, text in hostile.scripts if not kind] == [
        text for kind, text in harmless.scripts if not kind
    ]
    assert hostile.loads == harmless.loads


@pytest.mark.parametrize("payload", PAYLOADS)
def test_untrusted_text_is_no_drawing(payload: str) -> None:
    """The SVG stays well-formed, of drawing elements only, without handlers or addresses."""
    root = ElementTree.fromstring(staircase_svg(story_of(payload)))
    names = {node.tag.rpartition("}")[2] for node in root.iter()}
    assert names <= {
        "svg",
        "g",
        "path",
        "text",
        "tspan",
        "rect",
        "line",
        "defs",
        "clipPath",
        "title",
        "style",
    }
    attributes = {name.rpartition("}")[2] for node in root.iter() for name in node.attrib}
    assert not [name for name in attributes if name.startswith("on") or name in LOADING]


def test_templates_escape_every_value_and_refuse_unknown_names() -> None:
    """A template that forgets a filter is still safe; a misspelt name is an error."""
    made = templates()
    assert made.from_string("{{ x }}").render(x="<b>\x1b\u202e\ny") == "&lt;b&gt; y"
    assert "</" not in made.from_string("{{ x|tojson }}").render(x="</script>")
    with pytest.raises(UndefinedError):
        made.from_string("{{ story.titel }}").render(story=made_story())


def test_importing_the_report_does_not_import_jinja2() -> None:
    """The library is loaded when a page is made."""
    program = "import sys, autoresearch.report.page; assert 'jinja2' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_no_payload_stands_raw() -> None:
    """Outside our own scripts the document has no `<` of untrusted text."""
    made = page(story_of("<img src=x onerror=alert(1)>"), interactive=True)
    document = re.sub(r"<script>.*?</script>", "", made, flags=re.DOTALL)
    assert "<img" not in document
    assert "&lt;img src=x onerror=alert(1)&gt;" in document
    assert "\\u003cimg src=x" in document


@pytest.mark.parametrize("interactive", [False, True], ids=["plain", "interactive"])
def test_nothing_is_loaded(interactive: bool) -> None:
    """No address to load from in any tag or style, and a policy that forbids loading."""
    made = page(long_study(), interactive=interactive)
    document = seen(made)
    assert all(load.startswith("#") for load in document.loads)
    assert not {"link", "img", "iframe", "object", "embed", "base"} & {
        tag for tag, _ in document.tags
    }
    style = re.findall(r"<style>(.*?)</style>", made, re.DOTALL)[0]
    assert "url(" not in style
    assert "@import" not in style
    assert document.policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in document.policy


@pytest.mark.parametrize("interactive", [False, True], ids=["plain", "interactive"])
def test_only_our_scripts_may_run(interactive: bool) -> None:
    """The policy lists exactly the scripts of the page by hash; handlers in tags are not used."""
    document = seen(page(made_story(), interactive=interactive))
    hashes = set(re.findall(r"'sha256-([^']+)'", document.policy))
    running = [text for kind, text in document.scripts if not kind]
    assert {
        base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() for t in running
    } == hashes
    assert not [name for _, names in document.tags for name in names if name.startswith("on")]
    for kind, text in document.scripts:
        if kind == "application/json":
            json.loads(text)


def test_the_page_shows_the_whole_study() -> None:
    """Headline, counts, every trial, the keeps with their gains, curves, diffs and facts."""
    curve = ((0.1, 5.0), (0.5, 4.0), (1.0, 3.0))
    rows = [
        replace(row, seconds=300.0, seed=42, curve=curve, diff="+LR = 1") for row in made_rows()
    ]
    document = page(Story.of_rows("a made study", MINIMIZE, rows, {"machine": "1 × GPU"}))
    assert "val_bpb went from 0.997900 to <strong>0.973000</strong> (-2.50 %) in trial" in document
    assert all(f'id="trial-{row.number}"' in document for row in rows)
    assert "+0.011900" in document
    assert document.count("<details") == 11
    assert "<ins>+LR = 1</ins>" in document
    assert 'class="curves"' in document
    assert "<dt>machine</dt><dd>1 × GPU</dd>" in document


def test_sections_without_content_are_left_out() -> None:
    """A bare results file has no curves, diffs, seeds, seconds or facts, and no empty headings."""
    document = page(Story.of_rows("bare", MINIMIZE, made_rows()))
    for word in ("Training curves", "Diffs of what", "How it was run", ">seconds<", ">UTC<"):
        assert word not in document
    for word in ("failed alike", "From the baseline", "untested alone", "Look at this", "dashed"):
        assert word not in re.sub(r"<(style|script)>.*?</\1>", "", document, flags=re.DOTALL)


def test_a_huge_diff_is_cut() -> None:
    """A diff of megabytes does not make a page of megabytes."""
    rows = (made_rows()[0], replace(made_rows()[1], diff="+x\n" * 1_000_000))
    document = page(Story.of_rows("", MINIMIZE, rows))
    assert "2,936,000 characters more" in document
    assert len(document) < 3_000_000


def test_many_diffs_are_cut_together() -> None:
    """Twenty keeps of long diffs do not make a page of megabytes either."""
    rows = [replace(row, diff=("+" + "x" * 90 + "\n") * 500) for row in made_rows()]
    assert len(page(Story.of_rows("", MINIMIZE, rows))) < 300_000


def test_a_night_of_trials_is_a_small_page() -> None:
    """150 trials with curves, steps and a stack: under 300 kB, and no Vega in it."""
    document = page(long_study(150))
    assert len(document.encode()) < 300_000
    assert "vega" not in re.sub(r"<style>.*?</style>", "", document, flags=re.DOTALL)
    assert "vegaEmbed" in page(long_study(20 + 140), interactive=True)


def test_the_verdict_comes_first() -> None:
    """Then the open steps, alarms and counts, before any picture."""
    document = page(long_study())
    words = ["val_bpb went from", "3 steps look better", "Look at this", "148 experiments", "<svg"]
    places = [document.index(word, document.index("<main>")) for word in words]
    assert places == sorted(places)


def test_trials_that_crashed_alike_are_one_line() -> None:
    """Where everything failed, the verdict says so; the section lists the trials."""
    document = page(all_crash())
    words = "12 of 12 crashed alike: ZeroDivisionError: division by zero at line 12"
    assert f'<p class="verdict">{words}; nothing is kept' in document
    assert "What failed alike" in document
    assert '<a href="#trial-7">#7</a>' in document
    assert "12 crashed alike: ZeroDivisionError" in document
    assert "Look at this" not in document


def test_the_table_has_clock_times_reasons_and_deltas() -> None:
    """Each row says when it began, why it ended so, and how far it is from what it started from."""
    document = page(long_study())
    row = next(line for line in document.splitlines() if line.startswith('<tr id="trial-17"'))
    assert '<td class="time">11-30 01:17:00</td>' in row
    assert '<td class="reason">ZeroDivisionError: division by zero</td>' in row
    step = next(line for line in document.splitlines() if line.startswith('<tr id="trial-20"'))
    assert '<td class="n delta">-0.060000</td>' in step
    assert "untested alone" in step
    confirmation = document[document.index('<tr id="trial-51"') :].partition("</tr>")[0]
    assert "untested alone" not in confirmation


def test_the_net_diff_names_the_trial_of_each_line() -> None:
    """A line whose trial is not known has no number."""
    net = NetDiff("train.py", (DiffLine("-", "A = 1", 7), DiffLine("+", "A = 2", 9),
                               DiffLine("+", "B = 3"), DiffLine(" ", "C = 4")))  # fmt: skip
    document = page(replace(made_story(), net=[net]))
    assert '<del><a href="#trial-7">#7</a>-A = 1</del>' in document
    assert '<ins><a href="#trial-9">#9</a>+A = 2</ins>' in document
    assert "<ins>+B = 3</ins>\n C = 4" in document


def test_the_report_is_three_whole_files(tmp_path: Path) -> None:
    """Page and pictures are written, no other file is left, and a second call replaces them."""
    folder = tmp_path / "deep" / "folder"
    paths = write_report(made_story(), folder)
    assert [p.name for p in paths] == ["report.html", "progress.svg", "progress.png"]
    assert sorted(folder.iterdir()) == sorted(paths)
    assert paths[0].read_text().startswith("<!doctype html>")
    assert paths[1].read_text().startswith("<svg")
    assert paths[2].read_bytes().startswith(b"\x89PNG")
    before = [p.read_bytes() for p in paths]
    write_report(made_story(), folder)
    assert [p.read_bytes() for p in paths] == before


def test_a_report_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """A folder that is a file, and a study without trials, are errors of ours."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match="cannot be written"):
        write_report(made_story(), tmp_path / "file")
    with pytest.raises(ReportError, match="no finished trial"):
        write_report(Story.of_rows("", MINIMIZE, ()), tmp_path / "none")
    assert not (tmp_path / "none").exists()
