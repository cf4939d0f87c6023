"""From a commit to a number: export it, run it, judge or score it, parse its log."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoresearch.evaluation.evaluator import Evaluator
    from autoresearch.evaluation.parsing import parse_run, run_of
    from autoresearch.evaluation.verdicts import Scored

__all__ = ["Evaluator", "Scored", "parse_run", "run_of"]
_HOMES = {
    "Evaluator": "evaluator",
    "Scored": "verdicts",
    "parse_run": "parsing",
    "run_of": "parsing",
}


def __getattr__(name: str) -> Any:
    """Import a name's module on first use, so that importing the package stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
