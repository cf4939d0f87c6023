"""The chart of docs/honest-keeps.md: what is gained against what is claimed, and false keeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import altair as alt

if TYPE_CHECKING:
    from simulate import Row

TRUE, CLAIMED, FALSE = "#2a6f97", "#b8c4ce", "#c8553d"
INK, SOFT = "#22303c", "#5b6873"


def draw(gains: list[Row], nulls: list[Row], path: Path) -> None:
    """Three panels: a long study, a night's length from a real log, and a world without effects."""
    long, _, night, *_ = dict.fromkeys(row.scene for row in gains)
    empty = nulls[0].scene
    panels = [
        bars([r for r in gains if r.scene == long], "Mixed proposals, 700 runs", True),
        bars([r for r in gains if r.scene == night], "As in a real log, 126 runs", False),
        false([r for r in nulls if r.scene == empty], "Nothing works: false keeps"),
    ]
    chart = alt.hconcat(*panels, spacing=26).configure_view(stroke=None)
    chart = chart.configure_axis(
        labelColor=INK,
        labelFontSize=13,
        titleColor=SOFT,
        titleFontSize=12,
        titleFontWeight="normal",
        gridColor="#eceff2",
        domain=False,
        ticks=False,
    )
    chart = chart.configure_legend(labelFontSize=13, labelColor=INK, symbolType="square")
    chart = chart.configure_title(color=INK, fontSize=15, anchor="start", offset=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    chart.properties(background="#ffffff", padding=18).save(str(path), scale_factor=2)


def bars(rows: list[Row], title: str, named: bool) -> Any:
    """Claimed and true gain of every rule, side by side."""
    data = [
        {"rule": row.policy, "what": what, "gain": round(row.mean(field), 2)}
        for row in rows
        for what, field in (("claimed", "claimed"), ("true", "true"))
    ]
    base = alt.Chart(alt.Data(values=data)).encode(
        y=rules(rows, named), yOffset=alt.YOffset("what:N", sort=["true", "claimed"])
    )
    color = alt.Color(
        "what:N",
        scale=alt.Scale(domain=["true", "claimed"], range=[TRUE, CLAIMED]),
        legend=alt.Legend(title=None, orient="bottom", direction="horizontal") if named else None,
    )
    most = max(row["gain"] for row in data) * 1.15
    gain = alt.X("gain:Q", title="gain, in sds of one run", scale=alt.Scale(domain=[0, most]))
    shown = base.mark_bar(cornerRadiusEnd=2).encode(x=gain, color=color)
    return (shown + numbers(base, "gain:Q", ".1f")).properties(width=270, height=230, title=title)


def false(rows: list[Row], title: str) -> Any:
    """False keeps per 100 trials of every rule, and the bound."""
    data = [{"rule": row.policy, "false": round(row.per_100(), 2)} for row in rows]
    base = alt.Chart(alt.Data(values=data)).encode(y=rules(rows, False))
    most = max(row["false"] for row in data) * 1.15
    share = alt.X("false:Q", title="per 100 trials", scale=alt.Scale(domain=[0, most]))
    shown = base.mark_bar(cornerRadiusEnd=2, color=FALSE, height=16).encode(x=share)
    limit = alt.Chart(alt.Data(values=[{"at": 1}])).mark_rule(strokeDash=[4, 3], color=INK)
    beside = numbers(base.transform_calculate(at="max(datum.false, 1)"), "false:Q", ".2f", "at:Q")
    panel = shown + limit.encode(x="at:Q") + beside
    return panel.properties(width=230, height=230, title=title)


def rules(rows: list[Row], named: bool) -> Any:
    """The rules down the side, in the order of the table."""
    axis = alt.Axis(title=None, ticks=False, labelPadding=8) if named else None
    return alt.Y("rule:N", sort=[row.policy for row in rows], axis=axis)


def numbers(base: Any, field: str, form: str, at: str = "") -> Any:
    """The number at the end of each bar, or at another place."""
    text = base.mark_text(align="left", dx=4, color=SOFT, fontSize=11)
    return text.encode(x=at or field, text=alt.Text(field, format=form))
