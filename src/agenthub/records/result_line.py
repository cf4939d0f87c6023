"""The line in which agents post a result, as in the original's protocol.

`commit:<7> platform:<gpu> val_bpb:<x|---> vram_gb:<x|---> | <description>`, where the description
ends in `(DISCARD)` or `(CRASH: why)` unless the change was kept.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from agenthub.validation import clean_line

LONGEST = 2_000  # characters of the line that are read
DESCRIPTION = 500  # characters of it that are stored
_NUMBER = r"(?:---|[-+]?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE][-+]?[0-9]{1,3})?)"
_LINE = re.compile(
    r"commit:(?P<commit>[0-9a-fA-F]{7,40}) platform:(?P<platform>[^|]{1,63}?) "
    rf"(?P<metric>[A-Za-z_][A-Za-z0-9_.-]{{0,62}}):(?P<value>{_NUMBER}) "
    rf"vram_gb:(?P<memory>{_NUMBER}) ?\| ?(?P<description>.*)"
)
_DISCARD = re.compile(r"\(DISCARD\)$", re.IGNORECASE)
_CRASH = re.compile(r"\(CRASH(?::[^()]*)?\)$", re.IGNORECASE)


@dataclass(frozen=True)
class ResultLine:
    """A parsed result line."""

    commit: str  # 7 to 40 lower-case digits
    platform: str
    metric: str
    value: float | None
    memory_gb: float | None
    status: str  # keep, discard, crash
    description: str


def parse(content: str) -> ResultLine | None:
    """Parse a post's first line as a result; None when it is none."""
    first = next((line for line in content.split("\n") if line.strip()), "")
    found = _LINE.fullmatch(" ".join(first[:LONGEST].strip().strip("`*- ").split()))
    if found is None:
        return None
    value, memory = _number(found["value"]), _number(found["memory"])
    description = clean_line(found["description"], DESCRIPTION)
    status = _status(found["description"].rstrip())
    if (status == "keep" and value is None) or (memory is not None and memory < 0):
        return None
    return ResultLine(
        commit=found["commit"].lower(),
        platform=found["platform"].strip(),
        metric=found["metric"],
        value=None if status == "crash" else value,
        memory_gb=memory,
        status=status,
        description=description,
    )


def written(line: ResultLine) -> str:
    """Format a result as the line to post."""
    value = "---" if line.value is None else repr(line.value)
    memory = "---" if line.memory_gb is None else repr(line.memory_gb)
    return (
        f"commit:{line.commit} platform:{line.platform} {line.metric}:{value} vram_gb:{memory} "
        f"| {line.description}"
    )


def _status(description: str) -> str:
    if _CRASH.search(description):
        return "crash"
    return "discard" if _DISCARD.search(description) else "keep"


def _number(text: str) -> float | None:
    if text == "---":
        return None
    value = float(text)
    return value if math.isfinite(value) else None
