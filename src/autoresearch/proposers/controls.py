"""Controls: arms beside an agent that learn nothing, so that its gains have something to beat.

`noop` runs the code as it is once more: whatever it seems to gain is noise. `random` changes one
literal by chance: whatever it gains needs no agent. Any other proposer may be an arm as well.
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
from autoresearch.proposers import Brief, Proposal, Proposer, Renewable, Yielding, max_seconds, owed
from autoresearch.proposers.offline.space import from_unit

DRAWS = 100  # of a change that was never tried, before `random` gives up
FARTHEST = math.log(8.0)  # that a literal without a range is moved, by ratio
_GOLDEN = (5**0.5 - 1) / 2  # its multiples fall evenly, however few are taken in a row


class Noop:
    """Changes nothing, and asks for a run all the same."""

    name = "noop"

    def propose(self, workspace: Path, brief: Brief) -> Proposal:  # noqa: ARG002
        """The parent as it is, once more."""
        return Proposal("control: the code as it is, run again", rerun_parent=True)


class RandomLiteral:
    """Changes one literal by chance, and never learns: random search.

    Constants with a range are drawn from their range; where there is none, any number of the code
    is multiplied by up to eight, or divided.
    """

    name = "random"

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._seen: dict[str, str] = {}  # by commit, a hash of its files: only a cache

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """One literal, one value; ProposerError when no draw is new."""
        files = {path: _text(workspace / path) for path in brief.editable}
        found = [(path, one) for path, text in files.items() for one in _literals(path, text)]
        rng = Random(f"{self._seed} random {brief.number}")
        tried = self._tried(brief)
        for _ in range(DRAWS if found else 0):
            path, one = rng.choice(found)
            value = _drawn(one, rng)
            start, end = one.span
            text = files[path][:start] + one.written(value) + files[path][end:]
            if value != one.value and _hash(files | {path: text}) not in tried:
                (workspace / path).write_bytes(text.encode("utf-8", "surrogateescape"))
                return Proposal(f"control: {one.name} {one.text} -> {one.written(value)} (random)")
        raise ProposerError(
            f"no literal of {', '.join(brief.editable)} is left to change by chance: there is no "
            "number in it, or every draw was tried before"
        )

    def _tried(self, brief: Brief) -> set[str]:
        for tried in brief.history:
            if tried.candidate not in self._seen:
                self._seen[tried.candidate] = _hash(tried.files)
        return {self._seen[tried.candidate] for tried in brief.history}


class Controlled:
    """An agent with control arms, each of which has a fixed share of the trials.

    >>> Controlled(OfflineProposer(), [(Noop(), 0.1), (RandomLiteral(), 0.1)])

    Which arm has a trial follows from the seed and the number of experiments alone, and in any
    stretch of a study each comes close to its share. What fails of a control, or is refused, is
    the agent's turn; what fails of the agent is the loop's, so that controls never go on alone.
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
        """Who spoke last; the agent before anybody did."""
        return self._last.name

    @property
    def max_seconds(self) -> float:
        """Of the one that takes longest."""
        return max(max_seconds(one) for one in (self._agent, *(arm for arm, _ in self._arms)))

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """The edit of the arm whose turn it is."""
        distinct = {tried.candidate for tried in brief.history}  # proofs have none of their own
        number = len(distinct) + brief.under_way
        arm = None if number == self._number else self._turn(number)
        self._number = number
        if arm is not None:
            self._last = arm
            try:
                return arm.propose(workspace, brief)
            except ProposerError:
                pass  # a control that has nothing to say is no reason to end a night
        self._last = self._agent
        return self._agent.propose(workspace, brief)

    @property
    def owed(self) -> float:
        """The agent's."""
        return owed(self._agent)

    @property
    def spoke(self) -> Proposer:
        """Who spoke last; the agent before anybody did."""
        return self._last

    def renew(self) -> bool:
        """The agent begins anew, if it can."""
        return isinstance(self._agent, Renewable) and self._agent.renew()

    def rotate(self) -> str | None:
        """The next of the agents, where there are several."""
        return self._agent.rotate() if isinstance(self._agent, Yielding) else None

    def _turn(self, number: int) -> Proposer | None:
        """Whose trial this is; None is the agent's."""
        place = (Random(f"controls {self._seed}").random() + number * _GOLDEN) % 1.0
        for arm, share in self._arms:
            place -= share
            if place < 0:
                return arm
        return None


def _literals(path: str, text: str) -> list[Constant]:
    """Constants with a range, else every number of the code; none of what is no Python."""
    if not path.endswith(".py"):
        return []
    try:
        ranged = [one for one in constants.read(text, path).values() if one.knob is not None]
        return ranged or constants.numbers(text, path)
    except ProposerError:
        return []


def _drawn(one: Constant, rng: Random) -> Value:
    """A value by chance: of the range, or so many times what stood there."""
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
