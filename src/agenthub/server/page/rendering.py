"""The page's templates: one environment, which cleans and escapes all text that it is given.

Rendered pages are kept until what they show changes.

Filters in Python return `Markup` only where every part of it was escaped or is ours.
"""

from __future__ import annotations

import hashlib
import math
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from agenthub.server.page import reading
from agenthub.validation import clean, clean_line

ASSETS = {  # name -> media type
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
CONTENT = {
    name: files("agenthub.server.page").joinpath("assets", name).read_bytes() for name in ASSETS
}
STAMP = hashlib.sha256(b"".join(CONTENT.values())).hexdigest()[:12]
PAGES = 48  # that are kept
LARGEST = 640 << 10  # characters; larger pages are made for each reader
_LAST_SECOND = 253_402_300_799  # of the year 9999, the last that datetime can name


def render(template: str, /, **values: object) -> Markup:
    """A template of this package as HTML. A name that has no value raises UndefinedError."""
    return Markup(_ENVIRONMENT.get_template(template).render(values))


def _cleaned(value: object) -> object:
    """Text as a template may print it; the environment escapes it next."""
    if value is None:
        return ""
    return value if isinstance(value, Markup) else clean(str(value))


# ---- rendered pages ----------------------------------------------------------------------------


@dataclass
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    state: str = ""
    page: str = ""


class PageCache:
    """The pages that were read last; each is made once for all readers of a state."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str, state: str, make: Callable[[], str]) -> str:
        """The page of a name, made unless it was made in this state. Readers wait for one maker."""
        with self._lock:
            entry = self._entries.setdefault(name, _Entry())
            self._entries.move_to_end(name)
            while len(self._entries) > PAGES:
                self._entries.popitem(last=False)
        with entry.lock:
            if entry.state == state:
                return entry.page
            page = make()
            if len(page) <= LARGEST:
                entry.state, entry.page = state, page
            return page


# ---- filters -----------------------------------------------------------------------------------


def visible(text: str) -> Markup:
    """Code as it is, with characters that are invisible or turn lines around shown as U+XXXX."""
    shown = escape(text)
    if text.isascii() and text.isprintable():
        return shown
    for character in sorted(set(text)):
        if character != "\t" and unicodedata.category(character)[0] == "C":
            code = Markup('<b class="odd">U+{:04X}</b>').format(ord(character))
            shown = shown.replace(character, code)
    return shown


def moment(seconds: int) -> Markup:
    """A time, UTC, to the minute; the page's script makes `5 minutes ago` of it."""
    if not 0 <= seconds <= _LAST_SECOND:
        return Markup("<span>no date</span>")
    when = datetime.fromtimestamp(seconds, UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        f"{when:%Y-%m-%dT%H:%M:%SZ}", f"{when:%Y-%m-%d %H:%M}"
    )


def number(value: float | None) -> str:
    """Six decimals up to 1,000, six digits beyond; a dash for no value."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0 or 5e-6 <= abs(value) < 1000:
        return f"{value:.6f}".replace("-", "−")
    return (f"{value:,.1f}" if 1000 <= abs(value) < 1e9 else f"{value:.5e}").replace("-", "−")


def spread(value: float | None) -> str:
    """A standard deviation, `±0.00014`; empty for none."""
    return "" if value is None else f"±{value:.2g}"


def counted(count: int, one: str) -> str:
    """`1 commit`, `1,200 commits`."""
    return f"{count:,} {one if count == 1 else one + 's'}"


def about(count: int, cap: int) -> str:
    """A count that was counted up to `cap` and no further."""
    return f"{cap:,}+" if count >= cap else f"{count:,}"


_ENVIRONMENT = Environment(
    loader=PackageLoader("agenthub.server.page"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_cleaned,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_ENVIRONMENT.filters |= {
    "clean": clean, "line": clean_line, "visible": visible, "moment": moment, "number": number,
    "spread": spread, "counted": counted, "about": about, "px": "{:.1f}".format,
    "thousands": "{:,}".format,
}  # fmt: skip
_ENVIRONMENT.globals |= {
    "STAMP": STAMP, "COMMITS": reading.COMMITS, "COUNT": reading.COUNT, "RECENT": reading.RECENT,
    "TIER_COUNT": reading.TIER_COUNT,
}  # fmt: skip
