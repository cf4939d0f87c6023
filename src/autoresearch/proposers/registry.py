"""Proposers by name: a short one of ours, or the path of anybody's class."""

from __future__ import annotations

import inspect
import traceback
from typing import Any

from autoresearch.errors import AutoResearchError, ProposerError
from autoresearch.names import resolve
from autoresearch.proposers import Proposer

PROPOSERS = {"offline": "autoresearch.proposers.offline:OfflineProposer"}


def make_proposer(name: str, seed: int = 0) -> Proposer:
    """The proposer of that name; one whose constructor takes a `seed` is given ours."""
    made = _find(name)
    proposer: Proposer = made(**_arguments(name, made, seed))
    if not callable(getattr(proposer, "propose", None)) or not hasattr(proposer, "name"):
        raise ProposerError(
            f"{name!r} is no proposer: {made.__name__} needs a `name` and a method "
            "`propose(workspace, brief)`"
        )
    return proposer


def _find(name: str) -> type[Any]:
    """The class, or ProposerError; the failure of somebody's module is told in its own words."""
    try:
        return resolve("proposer", name, PROPOSERS, ProposerError)
    except AutoResearchError:
        raise
    except Exception as error:
        raise ProposerError(
            f"the proposer {name!r} could not be imported: "
            f"{type(error).__name__}: {error}{_place(error)}"
        ) from error


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames[1:] if "importlib" not in frame.filename]
    return f" ({theirs[-1].filename}:{theirs[-1].lineno})" if len(theirs) > 1 else ""


def _arguments(name: str, made: type[Any], seed: int) -> dict[str, int]:
    """What the constructor is called with: the seed, or nothing."""
    signature = inspect.signature(made)
    given = {"seed": seed} if "seed" in signature.parameters else {}
    try:
        signature.bind(**given)
    except TypeError as error:
        raise ProposerError(
            f"the proposer {name!r} cannot be made by name: {error}. Only an argument called "
            "`seed` is given; give the others a default, or name a class that fills them in"
        ) from error
    return given
