"""The templates of the page and of the pictures: every value is cleaned, then escaped."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from autoresearch.report import draw
from autoresearch.store.rows import plain

if TYPE_CHECKING:
    from jinja2 import Environment

_UNWRITABLE = dict.fromkeys((0xFFFE, 0xFFFF))  # no XML document may hold them


@cache
def templates() -> Environment:
    """The templates. Values are cleaned, then escaped; an unknown name is an error.

    ReportError when Jinja2 is missing.
    """
    jinja2 = draw.jinja2()
    made: Environment = jinja2.Environment(
        loader=jinja2.PackageLoader("autoresearch.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=clean,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    made.filters |= {"px": _pixels}
    return made


def asset(name: str) -> str:
    """A style sheet or script of ours."""
    return files("autoresearch.report").joinpath("assets", name).read_text(encoding="utf-8")


def clean(value: Any) -> Any:
    """A value as one line without control characters; markup of ours stays as it is."""
    return value if hasattr(value, "__html__") else plain(str(value).translate(_UNWRITABLE))


def _pixels(value: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")
