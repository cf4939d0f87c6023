"""OfflineProposer: reads the parent, learns from the history, chooses a move, writes it."""

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

# Shares of the ways to move, chosen by benchmarks/offline.py. "structural" has turns instead of a
# share, until every choice has been tried.
DEFAULT_MIX: Mapping[str, float] = {
    "structural": 1.0,
    "local": 0.4,
    "pair": 0.2,
    "recombine": 0.2,
    "tpe": 0.1,
}
Files = Mapping[str, str]


class OfflineProposer:
    """Searches the constants that declare a range, without a network or a model."""

    name = "offline"

    def __init__(
        self,
        seed: int = 0,
        tpe: bool | None = None,
        mix: Mapping[str, float] = DEFAULT_MIX,
    ) -> None:
        """`tpe`: whether to use Optuna's sampler; None: if Optuna is installed."""
        self._seed = seed
        self._tpe = available(tpe)
        self._mix = mix
        self._points: dict[str, Point] = {}  # cache, by commit

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Change a few constants to a combination not tried before; ProposerError at the end."""
        files = _editable_files(workspace, brief.editable)
        parent = Point.of(files, strict=True)
        if not parent.knobs:
            raise ProposerError(_no_constants(brief.editable))
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
        """Untried choices on their turns; else a way by the shares of the mix."""
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
        """The ways to move, in the order to try them for this trial."""
        shared = {way: share for way, share in self._mix.items() if way != "structural"}
        drawn = sorted(shared, key=lambda way: -(rng.random() ** (1 / shared[way])))
        return ["structural", *drawn] if "structural" in self._mix else drawn


def _editable_files(workspace: Path, editable: tuple[str, ...]) -> dict[str, str]:
    files: dict[str, str] = {}
    for path in editable:
        if (workspace / path).is_file():
            files[path] = _decode((workspace / path).read_bytes())
    return files


def _decode(content: bytes) -> str:
    """Bytes as text, reversible, with line endings as they are."""
    return content.decode("utf-8", "surrogateescape")


def _apply(workspace: Path, files: Files, move: Move) -> Proposal:
    """Write the move into the workspace, changing no other byte, and describe it."""
    described: dict[str, str] = {}
    for path in sorted({path for path, _ in move.changes}):
        changes = {name: value for (where, name), value in move.changes.items() if where == path}
        before = constants.read(files[path], path)
        after = constants.replace(files[path], changes, path)
        (workspace / path).write_bytes(after.encode("utf-8", "surrogateescape"))
        for name, value in changes.items():
            label = name if len(files) == 1 else f"{path}:{name}"
            described[label] = f"{before[name].text} -> {before[name].written(value)}"
    changed = ", ".join(f"{label} {change}" for label, change in described.items())
    return Proposal(
        " ".join(f"{changed} ({move.why})".split()), details={"why": move.why, **described}
    )


def _no_constants(editable: tuple[str, ...]) -> str:
    return (
        f"no searchable constant in {', '.join(editable)}: the offline proposer changes "
        "module-level constants whose comment declares a range, such as "
        "`LR = 0.04  # learning rate [log 0.005..0.2]`. Add one, or name an agent"
    )
