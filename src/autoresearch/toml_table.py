"""Reads TOML tables strictly: an unknown key or a wrong value is an error that names it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoresearch.errors import TaskError
from autoresearch.registry import nearest


class Table:
    """One TOML table. Take each key once, by its type; `finish` rejects keys that are left."""

    def __init__(self, values: Mapping[str, Any], path: Path, prefix: str = "") -> None:
        self._values = dict(values)
        self._known: list[str] = []
        self.path = path
        self.prefix = prefix

    def text(self, key: str, default: str | None = None, *, required: bool = False) -> str | None:
        """A non-empty string."""
        value = self._take(key, default, required)
        if value is None or (isinstance(value, str) and value.strip() and "\0" not in value):
            return value
        raise self.error(key, value, 'a non-empty string without NUL, such as "python train.py"')

    def number(
        self, key: str, default: float | None = None, *, positive: bool = False
    ) -> float | None:
        """A number; true and false are not."""
        value = self._take(key, default, required=False)
        if value is None:
            return None
        number = _float(value)
        if number is None:
            raise self.error(key, value, "a number")
        if positive and not 0 < number < math.inf:
            raise self.error(key, value, "a number above 0")
        return number

    def whole(self, key: str, default: int, allowed: tuple[int, int]) -> int:
        """A whole number within limits."""
        value = self._take(key, default, required=False)
        low, high = allowed
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise self.error(key, value, f"a whole number, {low} to {high}")

    def choice(self, key: str, allowed: Sequence[str], default: str) -> str:
        """One of the allowed words."""
        value = self._take(key, default, required=False)
        if value in allowed:
            return str(value)
        words = " or ".join(f'"{word}"' for word in allowed)
        raise self.error(key, value, words + nearest(str(value), allowed))

    def flag(self, key: str) -> bool:
        """true or false; false when it is missing."""
        value = self._take(key, False, required=False)
        if not isinstance(value, bool):
            raise self.error(key, value, "true or false")
        return value

    def texts(self, key: str, *, required: bool = True) -> tuple[str, ...]:
        """A list of non-empty strings; it may be missing, not empty."""
        value = self._take(key, None, required)
        if value is None:
            return ()
        good = isinstance(value, list) and value and all(isinstance(v, str) and v for v in value)
        if not good:
            raise self.error(key, value, 'a list of file names, such as ["train.py"]')
        return tuple(value)

    def pair(self, key: str) -> tuple[float, float] | None:
        """Two numbers, the smaller first."""
        value = self._take(key, None, required=False)
        if value is None:
            return None
        two = value if isinstance(value, list) and len(value) == 2 else (None, None)
        low, high = map(_float, two)
        if low is None or high is None or not low < high:
            raise self.error(key, value, "two numbers, the smaller first, such as [0.1, 20.0]")
        return low, high

    def table(self, key: str, *, required: bool = False) -> Table | None:
        """A sub-table."""
        value = self._take(key, None, required)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.error(key, value, f"a table: [{self.prefix}{key}]")
        return Table(value, self.path, f"{self.prefix}{key}.")

    def tables(self) -> list[tuple[str, Table]]:
        """All keys that are left, each a sub-table."""
        names = list(self._values)
        return [(name, table) for name in names if (table := self.table(name)) is not None]

    def words(self, key: str) -> tuple[str | tuple[str, ...], ...]:
        """A non-empty list of strings and of lists of strings."""
        value = self._take(key, None, required=True)
        found = [tuple(v) if isinstance(v, list) else v for v in value] if _is_list(value) else []
        inner = [word for v in found for word in (v if isinstance(v, tuple) else (v,))]
        if not found or not all(isinstance(word, str) and word for word in inner):
            raise self.error(key, value, 'a list of words, such as ["agent", "-p", "{prompt}"]')
        return tuple(found)

    def list_of_tables(self, key: str) -> list[Table]:
        """A list of tables: [[key]]."""
        value = self._take(key, [], required=False)
        if not _is_list(value) or not all(isinstance(inner, dict) for inner in value):
            raise self.error(key, value, f"a list of tables: [[{self.prefix}{key}]]")
        return [
            Table(inner, self.path, f"{self.prefix}{key}.{number}.")
            for number, inner in enumerate(value)
        ]

    def strings(self) -> dict[str, str]:
        """All keys that are left, each a string."""
        for key, value in self._values.items():
            if not isinstance(value, str) or "\0" in value:
                raise self.error(key, value, "a string without NUL")
        return dict(self._values)

    def anything(self) -> dict[str, Any]:
        """All keys that are left, unchecked."""
        return dict(self._values)

    def variables(self) -> dict[str, str]:
        """All keys that are left, as environment variables."""
        for key, value in self._values.items():
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
                raise self.error(key, key, "a variable's name, such as OMP_NUM_THREADS")
            if not isinstance(value, str) or "\0" in value:
                raise self.error(key, value, 'a string without NUL, such as "2"')
        return dict(self._values)

    def finish(self) -> None:
        """TaskError if a key is left."""
        for key in self._values:
            known = ", ".join(self._known)
            raise TaskError(
                f"{self.path}: unknown key {self.prefix}{key}{nearest(key, self._known)}. "
                f"Allowed here: {known}."
            )

    def error(self, key: str, seen: object, allowed: str) -> TaskError:
        """The error for a wrong value: the key, its value, and what is allowed."""
        return TaskError(f"{self.path}: {self.prefix}{key} is {seen!r}; allowed is {allowed}.")

    def _take(self, key: str, default: Any, required: bool) -> Any:
        self._known.append(key)
        if required and key not in self._values:
            raise TaskError(f"{self.path}: {self.prefix}{key} is missing, and it is required.")
        return self._values.pop(key, default)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _float(value: object) -> float | None:
    """A TOML number as a float; None for anything else: bool, NaN, an int too large for a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return None if math.isnan(value) else float(value)
    except OverflowError:
        return None
