"""Makes untrusted text safe to print: one bounded line without control characters."""

from __future__ import annotations

import re

DETAIL = 200  # characters of a one-line message
FEEDBACK, FEEDBACK_LINES = 2000, 20  # characters and lines of an evaluator's own words
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # titles, links
    r"|\x1b[ -/]*[0-~]?"
)


def clean_line(text: str, limit: int = DETAIL) -> str:
    """Untrusted text as one line of at most `limit` characters, without escape sequences."""
    return _cut(" ".join(_printable(text).split()), limit)


def clean_indented(text: str, limit: int = DETAIL) -> str:
    """The same, with its indentation and inner spaces; tabs become spaces."""
    spaced = "".join(c if c.isprintable() or c == "\t" else " " for c in _printable(text).rstrip())
    return _cut(spaced.expandtabs(), limit)


def _printable(text: str) -> str:
    """Without escape sequences, and control, direction or zero-width characters."""
    text = _ESCAPE.sub("", text)
    if text.isprintable():
        return text
    return "".join(c for c in text if c.isprintable() or c.isspace())


def _cut(line: str, limit: int) -> str:
    return line if len(line) <= limit else line[: limit - 1] + "…"


def clean_feedback(text: str) -> str:
    """Untrusted text as at most FEEDBACK_LINES clean lines, FEEDBACK characters together."""
    lines = [clean_line(line, FEEDBACK) for line in text[: 8 * FEEDBACK].splitlines()]
    whole = "\n".join(list(filter(None, lines))[:FEEDBACK_LINES])
    return whole if len(whole) <= FEEDBACK else whole[: FEEDBACK - 1] + "…"
