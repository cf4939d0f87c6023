"""The interactive chart: what the library draws is what was planned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import vl_convert

from autoresearch.report import draw
from autoresearch.report.chart import staircase_chart
from autoresearch.report.plan import Plan
from autoresearch.report.story import Story
from report.made import decades, made_story, mirrored


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


def test_ticks_of_the_library_are_ours() -> None:
    """The axis has the planned ticks, and the domain leaves room for labels on both sides."""
    story = decades()
    axis, scale = _encoding(story, "y")["axis"], _encoding(story, "y")["scale"]
    planned = Plan(story).scale
    assert axis["values"] == [value for value, _ in planned.ticks()]
    assert scale["domain"][0] < planned.low < planned.high < scale["domain"][1]


def test_a_chart_names_no_colour() -> None:
    """Light and dark share one definition: every colour comes from the palette."""
    text = str(draw.spec(staircase_chart(made_story())))
    assert "#" not in text.replace("keep number", "")
    assert "http" not in text


def _encoding(story: Story, channel: str) -> dict[str, Any]:
    """The encoding of the points of a chart."""
    layers = draw.spec(staircase_chart(story))["layer"]
    return next(one for one in layers if one["mark"]["type"] == "point")["encoding"][channel]


def test_a_discarded_trial_is_smaller_than_a_kept_one() -> None:
    """Each kind has its own size: a scale of steps, not one that runs from first to last."""
    how = {"vl_version": draw.vegalite_version(), "config": draw.palette()}
    found = vl_convert.vegalite_to_scenegraph(draw.spec(staircase_chart(made_story())), **how)
    sizes = {item["size"] for item in _symbols(found)}
    assert {46, 20} <= sizes


def _symbols(node: Any) -> Iterator[dict[str, Any]]:
    """The marks of a scene."""
    if isinstance(node, dict):
        if node.get("marktype") == "symbol" and node.get("role") == "mark":
            yield from node["items"]
        for inner in node.values():
            yield from _symbols(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _symbols(inner)
