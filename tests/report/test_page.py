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
from autoresearch.report.chart import staircase_chart
from autoresearch.report.draw import svg
from autoresearch.report.page import _templates, page
from autoresearch.report.story import Story
from autoresearch.report.write import write_report
from autoresearch.store.ledger import Status
from autoresearch.store.rows import Row
from report.made import MINIMIZE, made_rows, made_story

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
        Row(2, text, None, 1.0, Status.CRASH, text, text, 1, 1.0, text, 0, curve, text),
    ]
    return Story.of_rows(text, Metric(text), rows, {text: text})


@pytest.mark.parametrize("payload", PAYLOADS)
def test_untrusted_text_is_no_markup(payload: str) -> None:
    """With a payload in every field the document has the same tags as with a plain word."""
    harmless, hostile = seen(page(story_of("word"))), seen(page(story_of(payload)))
    assert hostile.tags == harmless.tags
    assert hostile.policy == harmless.policy
    assert [text for kind, text in hostile.scripts if not kind] == [
        text for kind, text in harmless.scripts if not kind
    ]
    assert hostile.loads == harmless.loads


@pytest.mark.parametrize("payload", PAYLOADS)
def test_untrusted_text_is_no_drawing(payload: str) -> None:
    """The SVG stays well-formed, of drawing elements only, without handlers or addresses."""
    root = ElementTree.fromstring(svg(staircase_chart(story_of(payload))))
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
    }
    attributes = {name.rpartition("}")[2] for node in root.iter() for name in node.attrib}
    assert not [name for name in attributes if name.startswith("on") or name in LOADING]


def test_templates_escape_every_value_and_refuse_unknown_names() -> None:
    """A template that forgets a filter is still safe; a misspelt name is an error."""
    templates = _templates()
    assert templates.from_string("{{ x }}").render(x="<b>\x1b\u202e\ny") == "&lt;b&gt; y"
    assert "</" not in templates.from_string("{{ x|tojson }}").render(x="</script>")
    with pytest.raises(UndefinedError):
        templates.from_string("{{ story.titel }}").render(story=made_story())


def test_importing_the_report_does_not_import_jinja2() -> None:
    """The library is loaded when a page is made."""
    program = "import sys, autoresearch.report.page; assert 'jinja2' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_no_payload_stands_raw() -> None:
    """Outside our own scripts the document has no `<` of untrusted text."""
    document = re.sub(
        r"<script>.*?</script>", "", page(story_of("<img src=x onerror=alert(1)>")), flags=re.DOTALL
    )
    assert "<img" not in document
    assert "&lt;img src=x onerror=alert(1)&gt;" in document
    assert "\\u003cimg src=x" in document


def test_nothing_is_loaded() -> None:
    """No address to load from in any tag or style, and a policy that forbids loading."""
    picture = svg(staircase_chart(made_story()))
    document = seen(page(made_story(), picture))
    assert all(load.startswith("#") for load in document.loads)
    assert not {"link", "img", "iframe", "object", "embed", "base"} & {
        tag for tag, _ in document.tags
    }
    style = re.findall(r"<style>(.*?)</style>", page(made_story()), re.DOTALL)[0]
    assert "url(" not in style
    assert "@import" not in style
    assert document.policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in document.policy


def test_only_our_scripts_may_run() -> None:
    """The policy lists exactly the scripts of the page by hash; handlers in tags are not used."""
    document = seen(page(made_story()))
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
    assert "<strong>0.973000</strong>" in document
    assert "-2.50 %" in document
    assert all(f'id="trial-{row.number}"' in document for row in rows)
    assert "+0.011900" in document
    assert document.count("<details") == 11
    assert "<ins>+LR = 1</ins>" in document
    assert 'id="curves"' in document
    assert "<dt>machine</dt><dd>1 × GPU</dd>" in document


def test_sections_without_content_are_left_out() -> None:
    """A bare results file has no curves, diffs, seeds, seconds or facts, and no empty headings."""
    document = page(Story.of_rows("bare", MINIMIZE, made_rows()))
    for word in ("Training curves", "Diffs of what", "How it was run", ">seconds<", ">seed<"):
        assert word not in document


def test_a_huge_diff_is_cut() -> None:
    """A diff of megabytes does not make a page of megabytes."""
    rows = (made_rows()[0], replace(made_rows()[1], diff="+x\n" * 1_000_000))
    document = page(Story.of_rows("", MINIMIZE, rows))
    assert "2,936,000 characters more" in document
    assert len(document) < 3_000_000


def test_the_report_is_three_whole_files(tmp_path: Path) -> None:
    """Page and pictures are written, no other file is left, and a second call replaces them."""
    folder = tmp_path / "deep" / "folder"
    paths = write_report(made_story(), folder)
    assert [p.name for p in paths] == ["report.html", "progress.png", "progress.svg"]
    assert sorted(folder.iterdir()) == sorted(paths)
    assert paths[0].read_text().startswith("<!doctype html>")
    assert paths[1].read_bytes().startswith(b"\x89PNG")
    assert paths[2].read_text().startswith("<svg")
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
