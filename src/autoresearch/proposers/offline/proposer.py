"""OfflineProposer: read the parent, learn from the history, pick a move, write it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

from autoresearch.errors import ProposerError
from autoresearch.lab import constants
from autoresearch.proposers import Brief, Proposal, Tried
from autoresearch.proposers.offline import moves
from autoresearch.proposers.offline.evidence import Evidence, Past, gather
from autoresearch.proposers.offline.moves import Move
from autoresearch.proposers.offline.space import Point
from autoresearch.proposers.offline.tpe import available, suggest

# Shares of the ways to move, as chosen by benchmarks/offline.py. "structural" has no share but
# turns of its own, until every choice has been tried.
DEFAULT_MIX: Mapping[str, float] = {
    "structural": 1.0,
    "local": 0.4,
    "pair": 0.2,
    "recombine": 0.2,
    "tpe": 0.1,
}
Files = Mapping[str, str]


class OfflineProposer:
    """Searches the constants that declare a range; needs neither a network nor a model."""

    name = "offline"

    def __init__(
        self,
        seed: int = 0,
        tpe: bool | None = None,
        mix: Mapping[str, float] = DEFAULT_MIX,
    ) -> None:
        """`tpe`: whether to use Optuna's sampler; None means when it is installed."""
        self._seed = seed
        self._tpe = available(tpe)
        self._mix = mix
        self._points: dict[str, Point] = {}  # by commit: only a cache

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Change a few constants of the workspace's editable files to values never tried so."""
        files = _editable_files(workspace, brief.editable)
        parent = Point.of(files, strict=True)
        if not parent.knobs:
            raise ProposerError(_nothing_to_move(brief.editable))
        past = [(tried, self._point(tried, brief.editable)) for tried in brief.history]
        evidence = gather(parent, brief.parent, past, brief.minimize)
        move = self._choose(evidence, past, brief)
        if move is None:
            raise ProposerError(
                f"nothing left to try: every combination of the {len(parent.knobs)} searchable "
                f"constants of {', '.join(brief.editable)} has been run or is known to crash. "
                "Widen their ranges, or name an agent that can edit more than constants"
            )
        return _apply(workspace, files, move)

    def _point(self, tried: Tried, editable: tuple[str, ...]) -> Point:
        if tried.candidate not in self._points:
            files = {path: tried.files[path] for path in editable if path in tried.files}
            self._points[tried.candidate] = Point.of(files)
        return self._points[tried.candidate]

    def _choose(self, evidence: Evidence, past: Past, brief: Brief) -> Move | None:
        """Untried choices first, mixed with single steps; then by the shares of the mix."""
        turn = len(brief.history)
        rng = Random(f"{self._seed} {turn}")
        ways: dict[str, Callable[[], Move | None]] = {
            "structural": lambda: moves.structural(evidence, self._seed, turn),
            "local": lambda: moves.local(evidence, rng),
            "pair": lambda: moves.pair(evidence, rng),
            "recombine": lambda: moves.recombine(evidence, rng),
            "tpe": lambda: suggest(evidence, past, brief.minimize, rng) if self._tpe else None,
        }
        for way in self._order(rng):
            if (move := ways[way]()) is not None:
                return move
        return moves.structural(evidence, self._seed) or moves.anything(evidence, rng)

    def _order(self, rng: Random) -> list[str]:
        """Which ways to ask, the favourite first; one that has nothing to say is passed over."""
        shared = {way: share for way, share in self._mix.items() if way != "structural"}
        by_chance = sorted(shared, key=lambda way: -(rng.random() ** (1 / shared[way])))
        return ["structural", *by_chance] if "structural" in self._mix else by_chance


def _editable_files(workspace: Path, editable: tuple[str, ...]) -> dict[str, str]:
    files: dict[str, str] = {}
    for path in editable:
        if (workspace / path).is_file():
            files[path] = _decode((workspace / path).read_bytes())
    return files


def _decode(content: bytes) -> str:
    """Bytes as text and back without loss, line endings included."""
    return content.decode("utf-8", "surrogateescape")


def _apply(workspace: Path, files: Files, move: Move) -> Proposal:
    """Write the move into the workspace, byte-minimally, and say what it was."""
    told: dict[str, str] = {}
    for path in sorted({path for path, _ in move.changes}):
        changes = {name: value for (where, name), value in move.changes.items() if where == path}
        before = constants.read(files[path], path)
        after = constants.replace(files[path], changes, path)
        (workspace / path).write_bytes(after.encode("utf-8", "surrogateescape"))
        for name, value in changes.items():
            label = name if len(files) == 1 else f"{path}:{name}"
            told[label] = f"{before[name].text} -> {before[name].written(value)}"
    changed = ", ".join(f"{label} {change}" for label, change in told.items())
    return Proposal(" ".join(f"{changed} ({move.why})".split()), details={"why": move.why, **told})


def _nothing_to_move(editable: tuple[str, ...]) -> str:
    return (
        f"no searchable constant in {', '.join(editable)}: the offline proposer moves module-level "
        "constants whose comment declares a range, such as "
        "`LR = 0.04  # learning rate [log 0.005..0.2]`. Add one, or name an agent"
    )
