"""Proposers by name: a short one of ours, the path of anybody's class, a list, or a mix."""

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
# Short names that take more after a colon, and the argument of the constructor that it becomes.
ARGUMENT = {"llm": "model"}
MIX = "mix"


def make_proposer(name: str, seed: int = 0, ground: AgentContext | None = None) -> Proposer:
    """The proposer of that name; one whose constructor takes a `seed` or a `ground` is given ours.

    `offline`, `llm:gpt-5-mini`, `package.module:Class`; `codex,llm,offline` is a list where the
    first that can go on proposes; `mix:offline=0.7,llm=0.3` draws by weight.
    """
    if name.startswith(f"{MIX}:"):
        return _mix(name, seed, ground)
    if "," in name:
        return _fallback(name, seed, ground)
    return _one(name, seed, ground)


def with_controls(
    agent: Proposer, controls: str, seed: int = 0, ground: AgentContext | None = None
) -> Proposer:
    """An agent, and beside it arms of a fixed share of the trials: `noop=0.1,random=0.1`."""
    from autoresearch.proposers.controls import Controlled

    example = "noop=0.1,random=0.1; shares are parts of all trials, and the rest is the agent's."
    arms = [(_one(name, seed, ground), share) for name, share in _shares(controls, example)]
    if (whole := sum(share for _, share in arms)) >= 1:
        raise ProposerError(
            f"{controls!r}: {whole:g} of all trials leave none to the agent. "
            f"Controls look like {example}"
        )
    return Controlled(agent, arms, seed)


def _mix(name: str, seed: int, ground: AgentContext | None) -> Proposer:
    """`mix:A=WEIGHT,B=WEIGHT`; a weight is any number above nothing."""
    from autoresearch.proposers.mix import Mix

    example = "mix:offline=0.7,llm=0.3; weights are numbers above 0 and need not add up to 1."
    given = _shares(name.removeprefix(f"{MIX}:"), example)
    return Mix([(label, _one(label, seed, ground), weight) for label, weight in given], seed)


def _shares(text: str, example: str) -> list[tuple[str, float]]:
    """`A=NUMBER,B=NUMBER`, each number above nothing."""
    found = []
    for part in text.split(","):
        label, _, number = (word.strip() for word in part.rpartition("="))
        if not label or not 0 < _number(number) < math.inf:
            raise ProposerError(
                f"{text!r}: {part.strip()!r} is no proposer and weight. It looks like {example}"
            )
        found.append((label, _number(number)))
    return found


def _fallback(name: str, seed: int, ground: AgentContext | None) -> Proposer:
    """`A,B,C`: in this order."""
    from autoresearch.proposers.fallback import Fallback

    labels = [label.strip() for label in name.split(",")]
    if not all(labels):
        raise ProposerError(f"{name!r}: a name is missing. A list looks like llm,offline.")
    return Fallback([(label, _one(label, seed, ground)) for label in labels])


def _one(name: str, seed: int, ground: AgentContext | None) -> Proposer:
    """A single proposer."""
    short, colon, argument = name.partition(":")
    if colon and short in PROPOSERS:
        return _made(short, seed, ground, _taken(short, argument))
    if colon and "." not in short and (hint := nearest(short, [*ARGUMENT, MIX])):
        raise ProposerError(f"No proposer is named {short!r}{hint}.")
    if name not in PROPOSERS and "." not in name and not colon:
        agents = load_presets(ground.agents if ground else None)
        if name in agents:
            return CommandProposer(agents[name], ground)
        resolve("proposer", name, dict.fromkeys((*PROPOSERS, *agents), ""), ProposerError)
    return _made(name, seed, ground, {})


def _taken(short: str, argument: str) -> dict[str, Any]:
    """What stands after the colon, as an argument."""
    if short not in ARGUMENT:
        raise ProposerError(f"The proposer {short!r} takes nothing after a colon: {argument!r}.")
    if not argument.strip():
        raise ProposerError(f"After {short!r} and a colon stands its {ARGUMENT[short]}.")
    return {ARGUMENT[short]: argument.strip()}


def _made(name: str, seed: int, ground: AgentContext | None, given: dict[str, Any]) -> Proposer:
    made = _find(name)
    proposer: Proposer = made(**_arguments(name, made, seed, ground), **given)
    if not callable(getattr(proposer, "propose", None)) or not hasattr(proposer, "name"):
        raise ProposerError(
            f"{name!r} is no proposer: {made.__name__} needs a `name` and a method "
            "`propose(workspace, brief)`"
        )
    return proposer


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


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


def _arguments(
    name: str, made: type[Any], seed: int, ground: AgentContext | None
) -> dict[str, Any]:
    """What the constructor is called with, as far as it asks for it."""
    signature = inspect.signature(made)
    ours = {"seed": seed, "ground": ground or AgentContext()}
    given = {key: value for key, value in ours.items() if key in signature.parameters}
    try:
        signature.bind(**given)
    except TypeError as error:
        raise ProposerError(
            f"the proposer {name!r} cannot be made by name: {error}. Only arguments called "
            "`seed` and `ground` are given; give the others a default, or name a class that fills "
            "them in"
        ) from error
    return given
