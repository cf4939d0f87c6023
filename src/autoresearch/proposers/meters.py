"""Reads amounts of money and tokens out of agents' events: one reader for all that count them.

The scripts that run beside an agent in its sandbox load this file by its path, so it imports
nothing of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

MOST = 1e9  # a larger amount is no amount
_TEXT = re.compile(
    r"\$?\s*((?:[1-9]\d{0,2}(?:,\d{3})+|\d+)?(?:\.\d*)?(?:[eE][+-]?\d{1,3})?)\s*([kKmM]?)"
)


def amount(value: object) -> float | None:
    """A number of at least 0, also as a text such as "0.9", "$1,200.50" or "2.1k"; else None.

    None means unknown: for true and false, what is negative, not finite, or not to be believed.
    """
    factor = 1.0
    if isinstance(value, str):
        found = _TEXT.fullmatch(value.strip()) if len(value) < 100 else None
        if found is None:
            return None
        factor = {"k": 1e3, "m": 1e6}.get(found[2].lower(), 1.0)
        value = _float(found[1].replace(",", ""))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= MOST:  # NaN is not, either
        return None
    return float(value) * factor if value * factor <= MOST else None


def values(event: object, path: str) -> Iterator[Any]:
    """All values at a dotted path of an event, None excepted; `*` stands for all members."""
    found = [event]
    for part in path.split("."):
        found = [inner for outer in found for inner in _members(outer, part)]
    yield from (value for value in found if value is not None)


def fits(event: object, path: str, wanted: object) -> bool:
    """Whether an event has a value, or one of several, or any (`*`), at a path."""
    each = wanted if isinstance(wanted, list) else [wanted]
    return any(wanted == "*" or found in each for found in values(event, path))


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _members(outer: object, part: str) -> list[Any]:
    if isinstance(outer, dict):
        return list(outer.values()) if part == "*" else [outer[part]] if part in outer else []
    if isinstance(outer, list):
        if part == "*":
            return list(outer)
        return [outer[int(part)]] if part.isdigit() and int(part) < len(outer) else []
    return []
