"""Control arms: proposers that learn nothing, as a baseline for the agent's gains.

`noop` runs the unchanged code again: its gains are noise. `random` changes one literal at random:
its gains need no agent. Any other proposer may be an arm as well.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random

from autoresearch.errors import ProposerError
from autoresearch.lab import constants
from autoresearch.lab.constants import Choices, Constant, Value
from autoresearch.proposers import (
    Brief,
    Progress,
    Proposal,
    Proposer,
    Renewable,
    Rotating,
    max_seconds,
    pending_cost,
    progress,
)
from autoresearch.proposers.offline.space import from_unit

DRAWS = 100  # tries of `random` to draw a change that was not tried before
FARTHEST = math.log(8.0)  # largest change of a literal without a range, by ratio
_GOLDEN = (5**0.5 - 1) / 2  # its multiples modulo 1 are spread evenly, in any stretch


class Noop:
    """Changes nothing, and requests a run of the parent."""

    name = "noop"

    def propose(self, workspace: Path, brief: Brief) -> Proposal:  # noqa: ARG002
        """A run of the parent, unchanged."""
        return Proposal("control: the code as it is, run again", rerun_parent=True)


class RandomLiteral:
    """Random search: changes one literal at random, and never learns.

    A constant with a range is drawn from it. A file without such constants gets one of its numbers
    multiplied or divided by up to eight.
    """

    name = "random"

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._seen: dict[str, str] = {}  # cache: commit -> hash of its files

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Change one literal; ProposerError when no draw is new."""
        files = {path: _text(workspace / path) for path in brief.editable}
        found = [(path, one) for path, text in files.items() for one in _literals(path, text)]
        rng = Random(f"{self._seed} random {brief.number}")
        tried = self._tried(brief)
        for _ in range(DRAWS if found else 0):
            path, one = rng.choice(found)
            value = _draw(one, rng)
            start, end = one.span
            text = files[path][:start] + one.written(value) + files[path][end:]
            if value != one.value and _hash(files | {path: text}) not in tried:
                (workspace / path).write_bytes(text.encode("utf-8", "surrogateescape"))
                return Proposal(f"control: {one.name} {one.text} -> {one.written(value)} (random)")
        raise ProposerError(
            f"no literal of {', '.join(brief.editable)} is left to change at random: there is no "
            "number in it, or every draw was tried before"
        )

    def _tried(self, brief: Brief) -> set[str]:
        for tried in brief.history:
            if tried.candidate not in self._seen:
                self._seen[tried.candidate] = _hash(tried.files)
        return {self._seen[tried.candidate] for tried in brief.history}


class Controlled:
    """An agent with control arms; each arm gets a fixed share of the trials.

    >>> Controlled(OfflineProposer(), [(Noop(), 0.1), (RandomLiteral(), 0.1)])

    The arm of a trial follows from the seed and the trial's number alone, and in any stretch of a
    study each arm comes close to its share. When an arm fails or its edit is rejected, the agent
    proposes instead. The agent's own failures go to the loop, so arms never go on alone.
    """

    def __init__(
        self, agent: Proposer, arms: Iterable[tuple[Proposer, float]], seed: int = 0
    ) -> None:
        self._agent = agent
        self._arms = list(arms)
        self._seed = seed
        self._number = -1
        self._last = agent

    @property
    def name(self) -> str:
        """Name of the arm or agent that proposed last."""
        return self._last.name

    @property
    def max_seconds(self) -> float:
        """Seconds of the slowest among the agent and its arms."""
        return max(max_seconds(one) for one in (self._agent, *(arm for arm, _ in self._arms)))

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """A proposal of the arm that this trial belongs to, or of the agent."""
        distinct = {tried.candidate for tried in brief.history}  # confirmations reuse one
        number = len(distinct) + brief.under_way
        arm = None if number == self._number else self._arm_of(number)
        self._number = number
        if arm is not None:
            self._last = arm
            try:
                return arm.propose(workspace, brief)
            except ProposerError:
                pass  # an arm with nothing left to try must not end the study
        self._last = self._agent
        return self._agent.propose(workspace, brief)

    @property
    def pending_cost(self) -> float:
        """Dollars that the agent's current call may cost."""
        return pending_cost(self._agent)

    def progress(self) -> Progress | None:
        """What the agent reports of its current call; arms take a moment."""
        return progress(self._agent)

    @property
    def last_proposer(self) -> Proposer:
        """The arm or agent that proposed last; the agent at first."""
        return self._last

    def renew(self) -> bool:
        """Renew the agent; return whether it can be renewed."""
        return isinstance(self._agent, Renewable) and self._agent.renew()

    def rotate(self) -> str | None:
        """Switch to the next agent, if the agent is a team."""
        return self._agent.rotate() if isinstance(self._agent, Rotating) else None

    def _arm_of(self, number: int) -> Proposer | None:
        """The arm that a trial belongs to; None: it is the agent's."""
        place = (Random(f"controls {self._seed}").random() + number * _GOLDEN) % 1.0
        for arm, share in self._arms:
            place -= share
            if place < 0:
                return arm
        return None


def _literals(path: str, text: str) -> list[Constant]:
    """Constants with a range, else every number; none where the file is not valid Python."""
    if not path.endswith(".py"):
        return []
    try:
        ranged = [one for one in constants.read(text, path).values() if one.knob is not None]
        return ranged or constants.numbers(text, path)
    except ProposerError:
        return []


def _draw(one: Constant, rng: Random) -> Value:
    """A random value: from the range, or the old value times a random factor."""
    if isinstance(one.knob, Choices):
        return rng.choice(one.knob.values)
    if one.knob is not None:
        return from_unit(one.knob, rng.random())
    assert isinstance(one.value, int | float)
    moved = (one.value or 1.0) * math.exp(rng.uniform(-FARTHEST, FARTHEST))
    return round(moved) if isinstance(one.value, int) else float(f"{moved:.3g}")


def _hash(files: Mapping[str, str]) -> str:
    whole = hashlib.sha256()
    for path in sorted(files):
        whole.update(f"{path}\0{files[path]}\0".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "surrogateescape") if path.is_file() else ""
