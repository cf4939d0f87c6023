"""The optional libraries, imported when a picture or page is made, and the colours of charts."""

from __future__ import annotations

import importlib
from typing import Any

from autoresearch.errors import ReportError

FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"


def altair() -> Any:
    """The module; ReportError names the extra when it is missing."""
    return _optional("altair", "altair")


def vl_convert() -> Any:
    """The module; ReportError names the extra when it is missing."""
    return _optional("vl_convert", "vl-convert-python")


def jinja2() -> Any:
    """The module; ReportError names the extra when it is missing."""
    return _optional("jinja2", "jinja2")


def _optional(module: str, distribution: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ReportError(
            f"A report needs {distribution}, which is not installed here. "
            "Run: pip install 'autoresearch[report]' (tables in the terminal need nothing)."
        ) from error


def vegalite_version() -> str:
    """The Vega-Lite version that Altair writes, as vl-convert names it: `6.4`."""
    return ".".join(str(altair().SCHEMA_VERSION).lstrip("v").split(".")[:2])


def spec(chart: Any) -> dict[str, Any]:
    """The chart as Vega-Lite, without colours and without an address to load from."""
    made: dict[str, Any] = chart.to_dict(validate=False)
    made.pop("$schema", None)
    made.pop("config", None)
    return made


def png(chart: Any, scale: float = 2.0) -> bytes:
    """The chart as a PNG in the light palette, `scale` pixels to the point."""
    how = {"vl_version": vegalite_version(), "config": palette()}
    return bytes(vl_convert().vegalite_to_png(spec(chart), scale=scale, **how))


def svg(chart: Any) -> str:
    """The chart as an SVG in the light palette."""
    how = {"vl_version": vegalite_version(), "config": palette()}
    return str(vl_convert().vegalite_to_svg(spec(chart), **how))


def palette(dark: bool = False) -> dict[str, Any]:
    """The light or dark colours, as a Vega-Lite config; a chart names styles only."""
    ink, quiet, faint, grid = (
        ("#e9e6df", "#a29e95", "#6b6862", "#2a2927")
        if dark
        else ("#262421", "#716d66", "#bcb8ae", "#efede7")
    )
    keep, crash = ("#58c08a", "#f08a63") if dark else ("#1b7f4f", "#c8502b")
    axis = {"labelColor": quiet, "titleColor": quiet, "gridColor": grid, "domainColor": faint}
    return {
        "background": "transparent" if dark else "#ffffff",
        "font": FONT,
        "view": {"stroke": None},
        "axis": {**axis, "labelFontSize": 11, "titleFontSize": 11.5, "titleFontWeight": "normal"}
        | {"titlePadding": 12, "labelPadding": 6, "ticks": False},
        "legend": {"labelColor": quiet, "labelFontSize": 11.5},
        "title": {"color": ink, "subtitleColor": quiet, "fontSize": 17, "subtitleFontSize": 12.5}
        | {"anchor": "start", "offset": 14, "subtitlePadding": 6},
        "range": {"category": [keep, keep, faint, crash, quiet, crash]},
        "style": {
            "best": {"color": keep},
            "leader": {"color": faint},
            "label": {"color": ink},
            "aside": {"color": quiet},
            "plain": {"color": quiet},
            "recent": {"color": faint},
        },
    }
