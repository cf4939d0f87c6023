"""Short names and dotted paths, turned into the classes they mean."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from autoresearch.errors import AutoResearchError


def nearest(word: str, known: Sequence[str]) -> str:
    """` (did you mean "x"?)`, or nothing when nothing is near."""
    near = difflib.get_close_matches(word, known, n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""


def resolve(
    kind: str, name: str, known: Mapping[str, str], error: type[AutoResearchError]
) -> type[Any]:
    """The class behind a short name, `package.module:Class` or `package.module.Class`."""
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
            raise  # something that the user's own module imports is missing: say that
        raise error(
            f"The {kind} {name!r} is in module {missing.name}, which cannot be found. "
            "Is it installed, or on PYTHONPATH?"
        ) from missing
    found = getattr(module, attribute, None)
    if not isinstance(found, type):
        raise error(f"The {kind} {name!r}: module {module_name} has no class {attribute}.")
    return found
