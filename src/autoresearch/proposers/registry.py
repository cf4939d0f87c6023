"""Proposers by name: a short name, the dotted path of a class, a list, or a mix."""

from __future__ import annotations

import inspect
import math
import traceback
from typing import Any

from autoresearch.errors import AutoResearchError, ProposerError
from autoresearch.proposers import AgentContext, Proposer
from autoresearch.proposers.command import CommandProposer, load_presets
from autoresearch.registry import nearest, resolve

PROPOSERS = {
    "offline": "autoresearch.proposers.offline:OfflineProposer",
    "llm": "autoresearch.proposers.llm:LLMProposer",
    "noop": "autoresearch.proposers.controls:Noop",
    "random": "autoresearch.proposers.controls:RandomLiteral",
}
# Short name -> the constructor argument that the text after a colon becomes.
ARGUMENT = {"llm": "model"}
MIX = "mix"


def make_proposer(name: str, seed: int = 0, context: AgentContext | None = None) -> Proposer:
    """The proposer of a name; its constructor gets `seed` and `context` if it has such parameters.

    `offline`, `llm:gpt-5-mini`, `package.module:Class`; in the list `codex,llm,offline` the first
    that is available proposes; `mix:offline=0.7,llm=0.3` draws by weight. ProposerError names
    what was wrong and what is allowed.
    """
    if name.startswith(f"{MIX}:"):
        return _mix(name, seed, context)
    if "," in name:
        return _fallback(name, seed, context)
    return _one(name, seed, context)


def with_controls(
    agent: Proposer, controls: str, seed: int = 0, context: AgentContext | None = None
) -> Proposer:
    """An agent with control arms and their shares of the trials: `noop=0.1,random=0.1`."""
    from autoresearch.proposers.controls import Controlled

    example = "noop=0.1,random=0.1; shares are parts of all trials, and the agent gets the rest."
    arms = [(_one(name, seed, context), share) for name, share in _shares(controls, example)]
    if (total := sum(share for _, share in arms)) >= 1:
        raise ProposerError(
            f"{controls!r}: {total:g} of all trials leaves none for the agent. "
            f"Controls look like {example}"
        )
    return Controlled(agent, arms, seed)


def _mix(name: str, seed: int, context: AgentContext | None) -> Proposer:
    """`mix:A=WEIGHT,B=WEIGHT`; a weight is any number above 0."""
    from autoresearch.proposers.team import Mix

    example = "mix:offline=0.7,llm=0.3; weights are numbers above 0 and need not add up to 1."
    given = _shares(name.removeprefix(f"{MIX}:"), example)
    return Mix([(label, _one(label, seed, context), weight) for label, weight in given], seed)


def _shares(text: str, example: str) -> list[tuple[str, float]]:
    """`A=NUMBER,B=NUMBER`, each number above 0."""
    found = []
    for part in text.split(","):
        label, _, number = (word.strip() for word in part.rpartition("="))
        if not label or not 0 < _number(number) < math.inf:
            raise ProposerError(
                f"{text!r}: {part.strip()!r} is not a proposer and a weight. "
                f"It looks like {example}"
            )
        found.append((label, _number(number)))
    return found


def _fallback(name: str, seed: int, context: AgentContext | None) -> Proposer:
    """`A,B,C`, in this order."""
    from autoresearch.proposers.team import Fallback

    labels = [label.strip() for label in name.split(",")]
    if not all(labels):
        raise ProposerError(f"{name!r}: a name is missing. A list looks like llm,offline.")
    return Fallback([(label, _one(label, seed, context)) for label in labels])


def _one(name: str, seed: int, context: AgentContext | None) -> Proposer:
    """One proposer: ours, a coding agent of a preset, or a class by its dotted path."""
    short, colon, argument = name.partition(":")
    if colon and short in PROPOSERS:
        return _build(short, seed, context, _colon_argument(short, argument))
    if colon and "." not in short and (hint := nearest(short, [*ARGUMENT, MIX])):
        raise ProposerError(f"No proposer is named {short!r}{hint}.")
    if name not in PROPOSERS and "." not in name and not colon:
        agents = load_presets(context.agents if context else None)
        if name in agents:
            return CommandProposer(agents[name], context)
        resolve("proposer", name, dict.fromkeys((*PROPOSERS, *agents), ""), ProposerError)
    return _build(name, seed, context, {})


def _colon_argument(short: str, argument: str) -> dict[str, Any]:
    """The text after the colon, as a constructor argument."""
    if short not in ARGUMENT:
        raise ProposerError(f"The proposer {short!r} takes nothing after a colon: {argument!r}.")
    if not argument.strip():
        raise ProposerError(
            f"The name of a {ARGUMENT[short]} is missing after {short}:, as in {short}:NAME."
        )
    return {ARGUMENT[short]: argument.strip()}


def _build(name: str, seed: int, context: AgentContext | None, given: dict[str, Any]) -> Proposer:
    found = _find_class(name)
    proposer: Proposer = found(**_arguments(name, found, seed, context), **given)
    if not callable(getattr(proposer, "propose", None)) or not hasattr(proposer, "name"):
        raise ProposerError(
            f"{name!r} is not a proposer: {found.__name__} needs a `name` and a method "
            "`propose(workspace, brief)`"
        )
    return proposer


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _find_class(name: str) -> type[Any]:
    """The class, or ProposerError; an error of the user's module is reported in its own words."""
    try:
        return resolve("proposer", name, PROPOSERS, ProposerError)
    except AutoResearchError:
        raise
    except Exception as error:
        raise ProposerError(
            f"the proposer {name!r} could not be imported: "
            f"{type(error).__name__}: {error}{_source_line(error)}"
        ) from error


def _source_line(error: Exception) -> str:
    """Where in the user's module an import failed, or nothing."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames[1:] if "importlib" not in frame.filename]
    return f" ({theirs[-1].filename}:{theirs[-1].lineno})" if len(theirs) > 1 else ""


def _arguments(
    name: str, found: type[Any], seed: int, context: AgentContext | None
) -> dict[str, Any]:
    """Those of `seed` and `context` that the constructor accepts."""
    signature = inspect.signature(found)
    ours = {"seed": seed, "context": context or AgentContext()}
    given = {key: value for key, value in ours.items() if key in signature.parameters}
    try:
        signature.bind(**given)
    except TypeError as error:
        raise ProposerError(
            f"the proposer {name!r} cannot be made by name: {error}. Only `seed` and "
            "`context` are passed; give the other arguments a default, or name a class that sets "
            "them"
        ) from error
    return given
