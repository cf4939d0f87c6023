"""HTML that foreign text cannot break out of: what is not `Html` is cleaned and escaped."""

from __future__ import annotations

import html as _html
import math
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime

from agenthub.validation import clean, clean_line

_LAST = 253_402_300_799  # the last second that a calendar here can name


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


NOTHING = Html("")


def html(template: str, /, **values: object) -> Html:
    """A template of ours, with values in its `{places}`. In attributes these stand in quotes."""
    return Html(template.format_map({name: safe(value) for name, value in values.items()}))


def joined(pieces: Iterable[object], between: Html = NOTHING) -> Html:
    """Pieces one after the other."""
    return Html(between.join(map(safe, pieces)))


def safe(value: object) -> Html:
    """A value as HTML; None is nothing."""
    if isinstance(value, Html):
        return value
    if value is None:
        return NOTHING
    return Html(_html.escape(clean(str(value)), quote=True))


def line(text: str, limit: int) -> Html:
    """Foreign text as one line of at most `limit` characters."""
    return safe(clean_line(text, limit))


def visible(text: str) -> Html:
    """Code as it is, with what cannot be seen, or turns lines around, shown by its number."""
    if text.isascii() and text.isprintable():
        return Html(_html.escape(text, quote=True))
    return Html("".join(map(_shown, text)))


def _shown(character: str) -> str:
    kind = unicodedata.category(character)
    if character == "\t" or kind[0] != "C":
        return _html.escape(character, quote=True)
    return f'<b class="odd">U+{ord(character):04X}</b>'


# ---- times and numbers -------------------------------------------------------------------------


def moment(seconds: int) -> Html:
    """A time, UTC, to the minute; a script may make it `5 minutes ago`."""
    if not 0 <= seconds <= _LAST:
        return Html("<span>no date</span>")
    when = datetime.fromtimestamp(seconds, UTC)
    text = f"{when:%Y-%m-%d %H:%M}"
    return html(
        '<time datetime="{exact}">{text}</time>', exact=f"{when:%Y-%m-%dT%H:%M:%SZ}", text=text
    )


def number(value: float) -> str:
    """Six decimals where they mean something, six digits otherwise."""
    if not math.isfinite(value):
        return "–"
    if value == 0 or 5e-6 <= abs(value) < 1000:
        return f"{value:.6f}".replace("-", "−")
    return (f"{value:,.1f}" if 1000 <= abs(value) < 1e9 else f"{value:.5e}").replace("-", "−")


def counted(count: int, one: str, many: str = "") -> str:
    """`1 commit`, `1,200 commits`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def about(count: int, cap: int) -> str:
    """A count that went no further than `cap`."""
    return f"{cap:,}+" if count >= cap else f"{count:,}"
