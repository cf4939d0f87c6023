"""Finds classes by short name or dotted path."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from autoresearch.errors import AutoResearchError


def nearest(word: str, known: Sequence[str]) -> str:
    """The hint ` (did you mean "x"?)`, or an empty string when no known word is similar."""
    near = difflib.get_close_matches(word, known, n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""


def resolve(
    kind: str, name: str, known: Mapping[str, str], error: type[AutoResearchError]
) -> type[Any]:
    """The class of a short name, of `package.module:Class` or of `package.module.Class`.

    Raises `error` when there is none.
    """
    parts = known.get(name, name).replace(":", ".").split(".")
    module_name, attribute = ".".join(parts[:-1]), parts[-1]
    if len(parts) < 2 or not all(parts):
        raise error(
            f"No {kind} is named {name!r}{nearest(name, list(known))}. There are: "
            f"{', '.join(known)}; or a class of your own: package.module:Class."
        )
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as missing:
        if not f"{module_name}.".startswith(f"{missing.name}."):
            raise  # the user's own module imports something that is missing
        raise error(
            f"The {kind} {name!r} is in module {missing.name}, which cannot be found. "
            "Is it installed, or on PYTHONPATH?"
        ) from missing
    found = getattr(module, attribute, None)
    if not isinstance(found, type):
        raise error(f"The {kind} {name!r}: module {module_name} has no class {attribute}.")
    return found
