"""The optional libraries, imported when a picture or page is made, and the colours of both."""

from __future__ import annotations

import importlib
import re
from typing import Any

from autoresearch.errors import ReportError

FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"

# Every colour of the page and of the pictures. Marks and lines have a contrast of at least 3:1 to
# `paper`, texts of at least 4.5:1; `rule`, `grid`, `wash`, `ins` and `del` lie behind text.
LIGHT = {
    "paper": "#fdfcfa", "ink": "#262421", "quiet": "#6b675f", "rule": "#e2dfd7", "grid": "#e9e6df",
    "wash": "#f5f3ee", "keep": "#1b7f4f", "step": "#2a6db3", "discard": "#8a857b",
    "crash": "#b8441f", "off": "#93650a", "leader": "#8f8a80", "ins": "#e4f3ea", "del": "#fbe9e3",
}  # fmt: skip
DARK = {
    "paper": "#191816", "ink": "#e9e6df", "quiet": "#a8a49b", "rule": "#38352f", "grid": "#2c2a27",
    "wash": "#22211e", "keep": "#58c08a", "step": "#74b2ee", "discard": "#858076",
    "crash": "#f08a63", "off": "#d8a441", "leader": "#7d786e", "ins": "#17301f", "del": "#3a1f17",
}  # fmt: skip
KINDS = {  # kind of a mark, as the legend names it -> its colour
    "kept": "keep",
    "step": "step",
    "discarded": "discard",
    "not confirmed": "discard",
    "crashed": "crash",
    "off the scale": "off",
    "no value": "discard",
}


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


def css_variables(colours: dict[str, str]) -> str:
    """The colours as CSS variables: `--paper: #fdfcfa; ...`."""
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


def in_light(style: str) -> str:
    """A style sheet with the light colours written out, for readers without CSS variables."""
    return re.sub(r"var\(--(\w+)\)", lambda found: LIGHT[found[1]], style)


def png(svg: str, scale: float = 2.0) -> bytes:
    """An SVG as a PNG, `scale` pixels to the point."""
    return bytes(vl_convert().svg_to_png(svg, scale=scale))


# ---- for the interactive page --------------------------------------------------------------------


def vegalite_version() -> str:
    """The Vega-Lite version that Altair writes, as vl-convert names it: `6.4`."""
    return ".".join(str(altair().SCHEMA_VERSION).lstrip("v").split(".")[:2])


def spec(chart: Any) -> dict[str, Any]:
    """The chart as Vega-Lite, without colours and without an address to load from."""
    made: dict[str, Any] = chart.to_dict(validate=False)
    made.pop("$schema", None)
    made.pop("config", None)
    return made


def palette(dark: bool = False) -> dict[str, Any]:
    """The light or dark colours, as a Vega-Lite config; a chart names styles only."""
    colour = DARK if dark else LIGHT
    quiet = colour["quiet"]
    axis = {"labelColor": quiet, "titleColor": quiet, "gridColor": colour["grid"]}
    return {
        "background": "transparent",
        "font": FONT,
        "view": {"stroke": None},
        "axis": {**axis, "domainColor": colour["leader"], "labelFontSize": 12, "titleFontSize": 12}
        | {"titleFontWeight": "normal", "titlePadding": 12, "labelPadding": 6, "ticks": False},
        "legend": {"labelColor": quiet, "labelFontSize": 12},
        "range": {"category": [colour[name] for name in KINDS.values()]},
        "style": {
            "best": {"color": colour["keep"]},
            "tip": {"color": colour["step"]},
            "leader": {"color": colour["leader"]},
            "label": {"color": colour["ink"]},
            "aside": {"color": quiet},
        },
    }
