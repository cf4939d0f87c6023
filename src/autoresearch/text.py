"""Makes untrusted text safe to print: one bounded line without control characters."""

from __future__ import annotations

import re

DETAIL = 200  # characters of a one-line message
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # titles, links
    r"|\x1b[ -/]*[0-~]?"
)


def clean_line(text: str, limit: int = DETAIL) -> str:
    """Untrusted text as one line of at most `limit` characters, without escape sequences."""
    text = _ESCAPE.sub("", text)
    if not text.isprintable():  # control, direction and zero-width characters, lone surrogates
        text = "".join(c for c in text if c.isprintable() or c.isspace())
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
