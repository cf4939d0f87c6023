"""What it means that git did not unpack a push."""

from __future__ import annotations

import re

from agenthub.errors import BadInput, HubError, TooLarge, Unavailable
from agenthub.git.subprocesses import Ended
from agenthub.validation import clean_line

_OURS = re.compile(r"(?<![\w./:~-])/[^\s'\":]+")  # a folder of the hub's, which is nobody's affair


def refused(ended: Ended, limit: int) -> HubError:
    """What a failed unpacking means."""
    lines = [line for line in ended.errors.splitlines() if line.startswith(("fatal", "error"))]
    said = _OURS.sub("(a path here)", clean_line(lines[0] if lines else ended.errors, 300))
    said = said or f"it ended with {ended.code}"
    if "No space left" in ended.errors or "unable to create temporary" in ended.errors:
        return Unavailable("The hub's disk is full. Try again later.")
    if "maximum allowed size" in ended.errors:
        return TooLarge(f"The pack has over {limit:,} bytes; push fewer commits at once.")
    if ended.starved:
        return TooLarge(
            "Unpacking the push took more time, memory or disk than any honest one needs. Push "
            "fewer commits at once, and no large files."
        )
    return BadInput(f"git refuses the pack: {said}. Check your repository with `git fsck`.")
