"""Drives trials: opens a study, proposes, runs, decides, and checks what it found."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoresearch.study.collaborators import (
        CallbackListener,
        Collaborators,
        EditSource,
        Listener,
        PeerResults,
        RunVeto,
    )
    from autoresearch.study.loop import StopLimits, research
    from autoresearch.study.opening import open_study, read_study
    from autoresearch.study.study import Study

__all__ = [
    "CallbackListener",
    "Collaborators",
    "EditSource",
    "Listener",
    "PeerResults",
    "RunVeto",
    "StopLimits",
    "Study",
    "open_study",
    "read_study",
    "research",
]
_HOMES = {
    "CallbackListener": "collaborators",
    "Collaborators": "collaborators",
    "EditSource": "collaborators",
    "Listener": "collaborators",
    "PeerResults": "collaborators",
    "RunVeto": "collaborators",
    "StopLimits": "loop",
    "Study": "study",
    "open_study": "opening",
    "read_study": "opening",
    "research": "loop",
}


def __getattr__(name: str) -> Any:
    """Import a name's module on first use, so that importing the package stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
