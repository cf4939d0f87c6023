"""Check ids, and clean foreign text before it reaches a person or an agent."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agenthub.errors import BadInput, TooLarge

_HASH = re.compile(r"[0-9a-f]{40}")

# Characters that show as nothing and belong to no text: words can hide in them. The format
# characters (bidi, zero-width, tags) are found by their category, Cf.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_STACKED = re.compile(
    r"([\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]{4})"
    r"[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]+"
)
_BREAKS = re.compile("\r\n|[\r\u0085\u2028\u2029]")


# ---- ids ---------------------------------------------------------------------------------------


def _checker(shape: str, what: str, allowed: str) -> Callable[[str], str]:
    """A function that returns an id of a shape unchanged; BadInput for what cannot be one."""

    def check(text: str) -> str:
        if re.fullmatch(shape, text):
            return text
        end = "" if text[:1] not in ".-_" else ", and a letter or digit comes first"
        raise BadInput(f"{shown(text)} is not {what}: it is {allowed}{end}.")

    return check


check_agent = _checker(
    r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}", "an agent id", "1 to 63 letters, digits, `.`, `_`, `-`"
)
check_channel = _checker(
    r"[a-z0-9][a-z0-9_-]{0,30}", "a channel name", "1 to 31 of a-z, 0-9, `_`, `-`"
)
check_project = _checker(  # safe as a folder's name
    r"[a-z0-9][a-z0-9-]{0,38}", "a project's name", "1 to 39 of a-z, 0-9, `-`"
)
check_platform = _checker(  # `H100`, `M4-Max`
    r"[a-zA-Z0-9][a-zA-Z0-9 ._+/()@:-]{0,62}",
    "a platform",
    "1 to 63 letters, digits, spaces, `._+/()@:-`",
)
check_hash = _checker(_HASH.pattern, "a whole hash", "40 of 0-9 and a-f")
check_abbreviation = _checker(r"[0-9a-f]{7,40}", "a hash", "7 to 40 of 0-9 and a-f")


def is_hash(text: str) -> bool:
    """Whether a text is a whole commit hash."""
    return _HASH.fullmatch(text) is not None


# ---- text --------------------------------------------------------------------------------------


def clean(text: str, limit: int | None = None) -> str:
    """Text without control, bidi and invisible characters; newlines and tabs stay.

    Line ends become newlines, towers of accents are cut to four, and what is longer than `limit`
    characters ends in an ellipsis.
    """
    if limit is not None:
        text = text[: 4 * limit + 16]  # the rest is cut off anyway
    if not (text.isascii() and text.isprintable()):
        text = _UNSEEN.sub("", _BREAKS.sub("\n", text))
        odd = [ord(character) for character in set(text) if not _kept(character)]
        text = _STACKED.sub(r"\1", text.translate(dict.fromkeys(odd)) if odd else text)
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…" if limit > 0 else ""
    return text


def clean_line(text: str, limit: int) -> str:
    """`clean` text on one line, with every run of white space as one space."""
    return clean(" ".join(clean(text, 4 * limit).split()), limit)


def shown(text: str, limit: int = 60) -> str:
    """Foreign text for use inside our messages: quoted, on one line, short."""
    return f'"{clean_line(text, limit)}"'


def check_text(text: str, what: str, limit: int) -> str:
    """Clean text for storing; BadInput when nothing is left, TooLarge over `limit` bytes."""
    size = len(text.encode(errors="replace"))
    if size > limit:
        raise TooLarge(f"{what} has {size:,} bytes; at most {limit:,} are allowed. Shorten it.")
    kept = clean(text)
    if not kept.strip():
        raise BadInput(f"{what} is empty; write something in it.")
    return kept


def _kept(character: str) -> bool:
    return character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Cn")


@dataclass(frozen=True)
class Envelope:
    """Foreign text with its author, our trust in it, and its size and digest."""

    author: str
    trust: str  # one word of ours, e.g. "unverified"
    length: int  # characters of the whole text, cleaned
    sha256: str  # of the whole text as given, in UTF-8
    truncated: bool
    text: str

    def as_json(self) -> dict[str, Any]:
        """The envelope as a JSON object."""
        return dict(self.__dict__)


def enveloped(author: str, trust: str, text: str, limit: int) -> Envelope:
    """Text cleaned and cut to `limit` characters, in an envelope."""
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()
    whole = clean(text)
    return Envelope(author, trust, len(whole), digest, len(whole) > limit, clean(whole, limit))
