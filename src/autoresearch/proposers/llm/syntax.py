"""Python that does not compile, found before a run is spent on it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping


def syntax_problems(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """One for each edited Python file that no longer compiles, though it did before.

    A lab may be written for a newer Python than ours: then it did not, and nothing is said.
    """
    return [
        f"{path}: the edit leaves a syntax error: {problem}"
        for path, text in after.items()
        if path.endswith(".py") and _error(before[path]) is None and (problem := _error(text))
    ]


def _error(text: str) -> str | None:
    """What the compiler says; nothing is run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text.encode("utf-8", "surrogateescape"), "<edit>", "exec", dont_inherit=True)
    except SyntaxError as error:
        line = (error.text or "").rstrip()
        return f"{error.msg} (line {error.lineno}): {line}"
    except (ValueError, RecursionError, MemoryError) as error:
        return f"{type(error).__name__}: {error}"
    return None
