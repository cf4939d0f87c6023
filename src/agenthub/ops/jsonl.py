"""Read JSON lines that a stranger wrote; an error names the file and the line."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agenthub.errors import BadInput
from agenthub.validation import shown

LINE = 1 << 20  # bytes


@dataclass(frozen=True)
class JsonLine:
    """One JSON object, with its file and line."""

    where: str
    values: dict[str, Any]

    def take(self, name: str, *types: type) -> Any:
        """A value of one of these types, else BadInput. A bool is no int."""
        found = self.values.get(name)
        if isinstance(found, types) and not (isinstance(found, bool) and bool not in types):
            return found
        allowed = " or ".join(kind.__name__ for kind in types)
        raise BadInput(f"{self.where}: `{name}` must be {allowed}. Export the project again.")

    def text(self, name: str) -> str:
        """A string, else BadInput."""
        found = self.take(name, str)
        assert isinstance(found, str)
        return found

    def number(self, name: str) -> float | None:
        """A number or None, else BadInput."""
        found = self.values.get(name)
        return None if found is None else self._number(found)

    def numbers(self, name: str) -> list[float]:
        """A list of numbers, else BadInput."""
        return [self._number(value) for value in self.take(name, list)]

    def _number(self, value: Any) -> float:
        with contextlib.suppress(OverflowError):
            if isinstance(value, int | float) and not isinstance(value, bool):
                return float(value)
        raise BadInput(f"{self.where}: a number is needed, not {shown(str(value))}.")


def lines_of(path: Path) -> Iterator[JsonLine]:
    """The lines of a file; BadInput for a line that is no JSON object or is over 1 MiB."""
    with path.open("rb") as file:
        for number in itertools.count(1):
            raw = file.readline(LINE + 1)
            if not raw:
                return
            yield JsonLine(f"{path.name} line {number}", _object(raw, f"{path.name} line {number}"))


def _object(raw: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(raw) if len(raw) <= LINE else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadInput(f"{where} is not one JSON object of at most {LINE:,} bytes.")
    return found
