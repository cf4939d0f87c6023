"""What is durable: the ledger, the git repository, and the paths of a study."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoresearch.store.git import Git
    from autoresearch.store.ledger import Ledger, Run, Spend, State, Status, Trial
    from autoresearch.store.paths import StudyPaths

__all__ = ["Git", "Ledger", "Run", "Spend", "State", "Status", "StudyPaths", "Trial"]
_HOMES = {
    "Git": "git",
    "Ledger": "ledger",
    "Run": "ledger",
    "Spend": "ledger",
    "State": "ledger",
    "Status": "ledger",
    "StudyPaths": "paths",
    "Trial": "ledger",
}


def __getattr__(name: str) -> Any:
    """Import a name's module on first use, so that importing the package stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
