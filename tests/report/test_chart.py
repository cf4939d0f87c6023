"""The chart: what the library draws is what was planned."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
import vl_convert

from autoresearch.report import draw
from autoresearch.report.chart import staircase_chart
from autoresearch.report.curve_chart import chosen, curves_chart
from autoresearch.report.labels import shortened
from autoresearch.report.plan import Plan
from autoresearch.report.story import Story
from autoresearch.store.ledger import Status
from autoresearch.store.rows import Row, plain, read_tsv
from report.made import MAXIMIZE, MINIMIZE, made_rows, made_story, real_results
from report.png import decode

SVG = "{http://www.w3.org/2000/svg}"


def scene(chart: Any) -> Iterator[dict[str, Any]]:
    """Every text that is drawn, with its place on the plot."""
    how = {"vl_version": draw.vegalite_version(), "config": draw.palette()}
    yield from _texts(vl_convert.vegalite_to_scenegraph(draw.spec(chart), **how))


def _texts(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if node.get("marktype") == "text" and node.get("role") == "mark":
            yield from node["items"]
        for inner in node.values():
            yield from _texts(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _texts(inner)


def svg_texts(drawn: str) -> set[str]:
    """All texts of an SVG."""
    return {"".join(node.itertext()) for node in ElementTree.fromstring(drawn).iter(f"{SVG}text")}


def mirrored() -> Story:
    """The made study for a score that grows."""
    rows = [
        Row(r.number, r.commit, None if r.value is None else 2 - r.value, 1.0, r.status, r.note)
        for r in made_rows()
    ]
    return Story.of_rows("mirrored", MAXIMIZE, rows)


def decades() -> Story:
    """A study on a logarithmic axis."""
    rows = [Row(i, "", 10.0 ** (4 - i), 0, Status.KEEP, f"faster {i}") for i in range(5)]
    return Story.of_rows("decades", MINIMIZE, rows)


@pytest.mark.parametrize("story", [made_story(), mirrored(), decades()], ids=lambda s: s.title)
def test_labels_are_drawn_where_they_were_planned(story: Story) -> None:
    """Each label stands within a pixel of its place, so boxes that are apart stay apart."""
    planned = {label.text: label for label in Plan(story).labels}
    drawn = {item["text"]: item for item in scene(staircase_chart(story))}
    assert len(planned) >= 5
    for text, label in planned.items():
        x, y = label.anchor
        assert (drawn[text]["x"], drawn[text]["y"]) == (
            pytest.approx(x, abs=1),
            pytest.approx(y, abs=1),
        )
        assert drawn[text]["align"] == ("left" if label.side == "right" else "right")


def test_the_svg_holds_title_summary_and_labels() -> None:
    """Title, both ends, the counts, every planned label and the value off the scale."""
    story = made_story()
    texts = svg_texts(draw.svg(staircase_chart(story)))
    assert "a made study" in texts
    assert any("0.997900 → 0.973000" in text and "28 discarded" in text for text in texts)
    assert {label.text for label in Plan(story).labels} <= texts
    assert {"3.2158", "kept", "discarded", "crashed", "off the scale"} <= texts


def test_the_svg_of_the_real_file_labels_every_keep() -> None:
    """All 23 notes are there, shortened."""
    rows = read_tsv(real_results())[1]
    texts = svg_texts(draw.svg(staircase_chart(Story.of_rows("mar8", MINIMIZE, rows))))
    assert {shortened(plain(r.note)) for r in rows if r.status is Status.KEEP} <= texts


def test_the_png_is_a_picture() -> None:
    """It decodes, has the planned size, and shows the colours of kept, discarded and crashed."""
    width, height, lines = decode(draw.png(staircase_chart(made_story()), scale=1))
    assert (width, height) > (500, 250)
    pixels = {bytes(line[i : i + 3]).hex() for line in lines for i in range(0, len(line), 4)}
    colours = draw.palette()["range"]["category"]
    assert {colour.lstrip("#") for colour in colours[:3]} <= pixels
    assert len(pixels) > 50


@pytest.mark.parametrize(
    "rows",
    [
        made_rows()[:1],
        made_rows()[15:16],
        (Row(0, "", 1.0, 0, Status.KEEP, ""), Row(1, "", 1.0, 0, Status.DISCARD, "")),
        (Row(0, "", None, 0, Status.DISCARD, "no number"),),
    ],
    ids=["baseline alone", "a crash alone", "all equal", "no value"],
)
def test_poor_studies_are_drawn_too(rows: tuple[Row, ...]) -> None:
    """One trial, crashes only, equal values: a picture with a sentence, not an error."""
    texts = svg_texts(draw.svg(staircase_chart(Story.of_rows("poor", MINIMIZE, rows))))
    assert "poor" in texts
    assert "trial" in texts


def test_a_chart_names_no_colour() -> None:
    """Light and dark share one definition: every colour comes from the palette."""
    curves = [Row(0, "", 1.0, 0, Status.KEEP, "base", curve=((0.0, 9.0), (0.5, 4.0), (1.0, 3.0)))]
    made = curves_chart(chosen(Story.of_rows("", MINIMIZE, curves)))
    for chart in (staircase_chart(made_story(), titled=False), made):
        text = str(draw.spec(chart))
        assert "#" not in text.replace("'#0 ", "").replace("keep number", "")
        assert "http" not in text


def test_curves_show_best_baseline_and_the_last_few() -> None:
    """The best is drawn last, on top; rows without a curve do not count."""
    rows = [
        Row(i, "", 2 - i / 10, 0, Status.KEEP if i < 3 else Status.DISCARD, f"note {i}",
            curve=((0.1, 5.0), (0.5, 4.0), (1.0, 3.0 - i / 50)) if i != 7 else ())
        for i in range(9)
    ]  # fmt: skip
    drawn = chosen(Story.of_rows("", MINIMIZE, rows))
    assert [d.name for d in drawn] == [
        "#4 note 4", "#5 note 5", "#6 note 6", "#8 note 8", "#0 baseline", "#2 best",
    ]  # fmt: skip
    heights = sorted(item["y"] for item in scene(curves_chart(drawn)))
    assert len(heights) == 6
    assert all(b - a > 12 for a, b in pairwise(heights))


@pytest.mark.parametrize("missing", ["altair", "vl_convert", "jinja2"])
def test_without_the_extra_the_error_says_what_to_install(missing: str) -> None:
    """A missing library is one sentence with the pip line."""
    program = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from pathlib import Path\n"
        "from autoresearch.errors import ReportError\n"
        "from autoresearch.store.ledger import Status\n"
        "from autoresearch.lab.metric import Metric\n"
        "from autoresearch.report import Row, Story, write_report\n"
        "row = Row(0, '', 1.0, 0.0, Status.KEEP, '')\n"
        "try: write_report(Story.of_rows('', Metric('loss'), (row,)), Path('nowhere'))\n"
        "except ReportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "pip install 'autoresearch[report]'" in done.stdout, done.stderr
    assert len(done.stdout.splitlines()) == 1
