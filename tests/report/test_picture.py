"""The picture: an SVG of our own that shows what was measured, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from autoresearch.lab.metric import Metric
from autoresearch.report import draw
from autoresearch.report.curve_chart import CurvesDrawing, chosen, curves_svg
from autoresearch.report.labels import shortened, text_width
from autoresearch.report.picture import Drawing, page_svg, staircase_svg
from autoresearch.report.plan import LABEL_SIZE, LARGE, SMALL, Plan
from autoresearch.report.rendering import asset
from autoresearch.report.story import Story
from autoresearch.store.ledger import Status
from autoresearch.store.rows import Row, plain, read_tsv
from autoresearch.strategies.screening_test import Claim
from autoresearch.strategies.summary import OpenSteps
from report.made import (
    MINIMIZE,
    decades,
    long_study,
    made_rows,
    made_story,
    mirrored,
    real_results,
)
from report.png import decode

SVG = "{http://www.w3.org/2000/svg}"
SMALLEST = 12.0  # pixels of a text


def texts(drawn: str) -> set[str]:
    """All texts of an SVG."""
    return {"".join(node.itertext()) for node in ElementTree.fromstring(drawn).iter(f"{SVG}text")}


def paths(drawn: str, kind: str) -> list[str]:
    """The outlines of all paths of a class."""
    found = ElementTree.fromstring(drawn).iter(f"{SVG}path")
    return [node.attrib["d"] for node in found if node.attrib["class"] == kind]


def ticks(story: Story) -> list[float]:
    """The values at the grid lines."""
    return [float(text.replace(",", "")) for _, text in Drawing(story, LARGE).ticks()]


def test_the_file_holds_title_summary_and_labels() -> None:
    """Title, both ends, the counts, every planned label and the value off the scale."""
    story = made_story()
    found = texts(staircase_svg(story))
    assert "a made study" in found
    assert any("0.997900 → 0.973000" in text and "28 discarded" in text for text in found)
    assert {label.text for label in Plan(story).labels} <= found
    assert {"3.2158", "kept", "discarded", "crashed", "off the scale"} <= found


def test_the_real_file_has_a_label_for_every_keep() -> None:
    """All 23 notes are there, shortened."""
    rows = read_tsv(real_results())[1]
    found = texts(staircase_svg(Story.of_rows("mar8", MINIMIZE, rows)))
    assert {shortened(plain(r.note)) for r in rows if r.status is Status.KEEP} <= found


def test_the_png_is_the_same_picture() -> None:
    """It decodes, has the planned size, and shows the colours of kept, discarded and crashed."""
    width, height, lines = decode(draw.png(staircase_svg(made_story()), scale=1))
    assert (width, height) > (900, 500)
    pixels = {bytes(line[i : i + 3]).hex() for line in lines for i in range(0, len(line), 4)}
    for kind in ("kept", "discarded", "crashed"):
        assert draw.LIGHT[draw.KINDS[kind]].lstrip("#") in pixels
    assert draw.LIGHT["paper"].lstrip("#") in pixels


@pytest.mark.parametrize(
    "rows",
    [
        made_rows()[:1],
        made_rows()[15:16],
        (Row(0, "", 1.0, 0, Status.KEEP, ""), Row(1, "", 1.0, 0, Status.DISCARD, "")),
        (Row(0, "", None, 0, Status.DISCARD, "no number"),),
        (Row(0, "", None, 0, Status.CRASH, "", "duplicate", skipped=True),),
    ],
    ids=["baseline alone", "a crash alone", "all equal", "no value", "nothing ran"],
)
@pytest.mark.parametrize("size", [LARGE, SMALL], ids=["large", "small"])
def test_poor_studies_are_drawn_too(rows: tuple[Row, ...], size: object) -> None:
    """One trial, crashes only, equal values: a picture, not an error."""
    story = Story.of_rows("poor", MINIMIZE, rows)
    assert "poor" in texts(staircase_svg(story))
    assert "trial" in texts(page_svg(story, size))  # type: ignore[arg-type]


@pytest.mark.parametrize("odd", ["\ufffe", "\uffff", "\x0b", "\ud800", "\u202e"])
def test_a_picture_is_always_a_document(odd: str) -> None:
    """Characters that no XML document may hold are left out of it."""
    rows = (Row(0, "", 1.0, 0, Status.KEEP, f"one{odd} two"),)
    drawn = staircase_svg(Story.of_rows(f"a{odd}b", Metric("loss"), rows))
    assert odd not in drawn.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    assert "one two" in texts(drawn)


# ---- what is drawn -------------------------------------------------------------------------------


def test_the_dashed_line_leads_from_the_last_keep_to_the_tip() -> None:
    """Open steps are diamonds below a dashed line; the solid line stays at the last keep."""
    story = long_study()
    plan, drawn = Plan(story), staircase_svg(story)
    assert plan.stairs()[-1] == (149, story.rows[51].value)
    assert [trial for trial, _ in plan.tip_line()] == [51, 100, 120, 148, 149]
    assert plan.tip_line()[0][1] == story.rows[51].value
    assert plan.tip_line()[-1][1] == story.rows[148].value
    (dashed,) = paths(drawn, "tip")
    assert dashed.startswith(f"M{plan.x(51):.1f} {plan.height(story.rows[51].value or 0):.1f}")
    assert "stroke-dasharray" in re.findall(r"\.tip \{(.*?)\}", drawn)[0]
    assert len(paths(drawn, "step")) == 8 + 1  # and the legend
    assert "3 steps, not confirmed" in texts(drawn)


def test_without_open_steps_no_line_is_dashed() -> None:
    """Steps that were given up, or confirmed, lead nowhere."""
    story = long_study()
    closed = replace(story, summary=replace(story.summary, open=None))
    assert not paths(staircase_svg(closed), "tip")
    assert closed.open_steps == ()


def test_steps_on_the_baseline_are_shown() -> None:
    """Three steps before any keep: the line stays at the baseline, the tip stands below it."""
    rows = [Row(0, "b", 3.305, 0, Status.KEEP, "baseline")]
    rows += [
        Row(k, f"{k}", 2.3 + k / 1000, 0, Status.TENTATIVE, "s", parent=k - 1) for k in (1, 2, 3)
    ]
    story = Story.of_rows("", MINIMIZE, tuple(rows))
    story = replace(story, summary=replace(story.summary, open=OpenSteps(3, 2.303, 3, 5)))
    assert Plan(story).stairs() == [(0, 3.305), (3, 3.305)]
    assert Plan(story).tip_line()[-1] == (3, 2.303)


def test_a_confirmation_that_failed_has_a_mark_of_its_own() -> None:
    """It is no experiment that was discarded."""
    rows = [
        Row(0, "b", 3.3, 0, Status.KEEP, "baseline"),
        Row(1, "c", 3.1, 0, Status.TENTATIVE, "step"),
        Row(
            2, "c", 3.2, 0, Status.DISCARD, "confirmation of #1", "unconfirmed", proposer="confirm"
        ),
    ]
    assert "not confirmed" in texts(staircase_svg(Story.of_rows("", MINIMIZE, rows)))


def test_the_label_of_a_confirmation_names_one_step_and_counts_the_others() -> None:
    """It does not list five notes."""
    assert "EMBED_LR 0.2 -> 0.35 (local) +4 more" in {
        label.text for label in Plan(long_study()).labels
    }


def test_nothing_beyond_what_was_measured_is_drawn() -> None:
    """Ticks, lines and marks lie between the best and the worst measured value."""
    for story in (made_story(), mirrored(), decades(), long_study()):
        known = [row.value for row in story.rows if row.value is not None]
        assert ticks(story)
        assert min(known) <= min(ticks(story)) <= max(ticks(story)) <= max(known)
        corners = Plan(story).stairs() + Plan(story).tip_line()
        assert {value for _, value in corners} <= set(known)


@pytest.mark.parametrize(
    ("direction", "limits", "values"),
    [
        ("minimize", (0.0, 1e9), [0.5, 0.2, 0.01]),
        ("minimize", (0.0, 1e9), [0.0, 0.0]),
        ("minimize", (0.0, 1e9), [0.03, 0.02, 0.02]),
        ("maximize", (0.0, 1.0), [0.5, 0.97, 1.0]),
        ("maximize", (0.0, 1.0), [1.0, 1.0]),
        ("minimize", (-5.0, 0.0), [-1.0, -4.99]),
    ],
)
def test_the_metrics_range_bounds_the_axis(
    direction: str, limits: tuple[float, float], values: list[float]
) -> None:
    """No negative loss, no accuracy above one: not as a tick, not as the end of a longer axis."""
    metric = Metric("m", direction, limits)  # type: ignore[arg-type]
    rows = [Row(i, "", value, 0, Status.KEEP, "") for i, value in enumerate(values)]
    story = Story.of_rows("", metric, rows)
    assert all(limits[0] <= tick <= limits[1] for tick in ticks(story))
    longer = Plan(story).scale.padded(best=0.1, worst=0.1)
    assert limits[0] <= longer.low < longer.high <= limits[1]


def test_values_over_decades_have_round_ticks_of_powers() -> None:
    """From 988 to 0.0147 the axis is logarithmic, though only the baseline is kept."""
    rows = [Row(0, "", 988.39, 0, Status.KEEP, "baseline")]
    rows += [Row(k, "", 988 / 8.0**k, 0, Status.TENTATIVE, "") for k in range(1, 6)]
    story = Story.of_rows("", MINIMIZE, rows)
    assert Plan(story).scale.log
    assert ticks(story) == [0.1, 1.0, 10.0, 100.0]


@pytest.mark.parametrize("values", [[3e-9, 2e-9, 1.5e-9], [2e12, 1.9e12], [1e-9, 1e-12]])
def test_ticks_of_very_small_and_large_values_differ(values: list[float]) -> None:
    """No two grid lines have the same text."""
    rows = [Row(i, "", value, 0, Status.KEEP, "") for i, value in enumerate(values)]
    drawn = [text for _, text in Drawing(Story.of_rows("", MINIMIZE, rows), LARGE).ticks()]
    assert len(drawn) >= 2
    assert len(set(drawn)) == len(drawn)


def test_long_ticks_have_room() -> None:
    """Values that differ in the fifth decimal of a million are written whole, with room."""
    rows = [Row(i, "", 1e6 + i / 1e5, 0, Status.KEEP, "") for i in range(5)]
    for size in (LARGE, SMALL):
        drawing = Drawing(Story.of_rows("", MINIMIZE, rows), size)
        widest = max(text_width(text, LABEL_SIZE) for _, text in drawing.ticks())
        assert drawing.frame.left >= widest + 8


@pytest.mark.parametrize("values", [[5e-324, 0.0], [1e307, -1e307], [0.0, 1e-320]])
def test_extreme_values_are_drawn(values: list[float]) -> None:
    """A span that a float cannot divide is no error."""
    rows = [Row(i, "", value, 0, Status.KEEP, "") for i, value in enumerate(values)]
    assert "nan" not in staircase_svg(Story.of_rows("", MINIMIZE, rows))


# ---- who can read it -----------------------------------------------------------------------------


@pytest.mark.parametrize("colours", [draw.LIGHT, draw.DARK], ids=["light", "dark"])
def test_every_mark_stands_out(colours: dict[str, str]) -> None:
    """Marks and lines have a contrast of 3:1 to the paper, texts of 4.5:1, also on washes."""
    for name in (*draw.KINDS.values(), "leader"):
        assert contrast(colours[name], colours["paper"]) >= 3, name
    for name in ("ink", "quiet", "keep", "step", "crash", "off"):
        assert contrast(colours[name], colours["paper"]) >= 4.5, name
    for behind in ("wash", "ins", "del"):
        assert contrast(colours["ink"], colours[behind]) >= 4.5, behind
        assert contrast(colours["quiet"], colours[behind]) >= 4.5, behind


def contrast(one: str, other: str) -> float:
    """As WCAG 2 defines it."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_style_sheets_name_no_colour() -> None:
    """All come from the two palettes, whose contrast is measured."""
    for name in ("page.css", "chart.css"):
        assert not re.search(r"#[0-9a-f]{3,8}\b|\brgb|\bhsl", asset(name)), name


def test_no_text_is_small() -> None:
    """Texts of picture and page have 12 pixels or more."""
    sizes = re.findall(r"font(?:-size)?:[^;]*?([\d.]+)px", asset("page.css") + asset("chart.css"))
    for drawn in (staircase_svg(long_study()), page_svg(long_study(), SMALL)):
        sizes += re.findall(r'font-size="([\d.]+)"', drawn)
    assert len(sizes) > 10
    assert min(map(float, sizes)) >= SMALLEST


def test_the_picture_has_a_sentence_as_its_name() -> None:
    """A screen reader finds the verdict, in the file and in the page."""
    story = long_study()
    root = ElementTree.fromstring(staircase_svg(story))
    assert root.attrib["role"] == "img"
    assert "val_bpb went from 3.305000 to" in root.attrib["aria-label"]
    assert root.find(f"{SVG}title") is not None
    images = [
        node for node in ElementTree.fromstring(page_svg(story, LARGE)).iter()
        if node.attrib.get("role") == "img"
    ]  # fmt: skip
    assert [image.attrib["aria-label"] for image in images] == [root.attrib["aria-label"]]


def test_marks_of_the_page_are_links_with_words() -> None:
    """Each mark leads to its row, is outside the image that hides its parts, and has a title."""
    story = long_study()
    for size in (LARGE, SMALL):
        root = ElementTree.fromstring(page_svg(story, size))
        links = list(root.iter(f"{SVG}a"))
        ran = {f"#trial-{row.number}" for row in story.rows if not row.skipped}
        assert {link.attrib["href"] for link in links} == ran
        assert len(links) == len(ran)
        assert all(link.findtext(f"{SVG}title") for link in links)
        image = next(node for node in root.iter() if node.attrib.get("role") == "img")
        assert not list(image.iter(f"{SVG}a"))
    assert "<a" not in staircase_svg(story)


# ---- curves --------------------------------------------------------------------------------------


def test_curves_show_best_baseline_and_the_last_few() -> None:
    """The best is drawn last, on top; rows without a curve do not count; names do not touch."""
    rows = [
        Row(i, "", 2 - i / 10, 0, Status.KEEP if i < 3 else Status.DISCARD, f"note {i}",
            curve=((0.1, 5.0), (0.5, 4.0), (1.0, 3.0 - i / 50)) if i != 7 else ())
        for i in range(9)
    ]  # fmt: skip
    drawn = chosen(Story.of_rows("", MINIMIZE, rows))
    assert [d.name for d in drawn] == [
        "#4 note 4", "#5 note 5", "#6 note 6", "#8 note 8", "#0 baseline", "#2 best",
    ]  # fmt: skip
    heights = sorted(end for _, _, end in CurvesDrawing(drawn).lines())
    assert all(b - a > 12 for a, b in pairwise(heights))
    assert {d.name for d in drawn} <= texts(curves_svg(drawn))


# ---- what is installed ---------------------------------------------------------------------------


def report_without(missing: str, **options: bool) -> list[str]:
    """What a report writes, or says, where a library is missing."""
    program = (
        f"import sys, tempfile; sys.modules[{missing!r}] = None\n"
        "from pathlib import Path\n"
        "from autoresearch.errors import ReportError\n"
        "from autoresearch.store.ledger import Status\n"
        "from autoresearch.lab.metric import Metric\n"
        "from autoresearch.report import Row, Story, write_report\n"
        "row = Row(0, '', 1.0, 0.0, Status.KEEP, '')\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    try:\n"
        "        story = Story.of_rows('', Metric('loss'), (row,))\n"
        f"        for path in write_report(story, Path(folder), **{options!r}): print(path.name)\n"
        "    except ReportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert not done.stderr
    return done.stdout.splitlines()


def test_without_the_extra_the_error_says_what_to_install() -> None:
    """A missing library that is needed is one sentence with the pip line."""
    for missing, options in (("jinja2", {}), ("altair", {"interactive": True})):
        (line,) = report_without(missing, **options)
        assert "pip install 'autoresearch[report]'" in line


def test_only_the_png_needs_vl_convert_and_only_vega_needs_altair() -> None:
    """The page and the SVG are written without them."""
    assert report_without("vl_convert") == ["report.html", "progress.svg"]
    assert report_without("altair") == ["report.html", "progress.svg", "progress.png"]


def test_a_gain_that_is_not_sure_is_not_called_confirmed_in_the_name() -> None:
    """The sentence of the picture is the verdict, with the interval."""
    story = long_study()
    unsure = replace(story, summary=replace(story.summary, gain=Claim(0.01, -0.067, 0.176)))
    name = Drawing(unsure, LARGE).sentence
    assert "confirmed side" not in name
    assert "-0.067000 to +0.176000" in name
