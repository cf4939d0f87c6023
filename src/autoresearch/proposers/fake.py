"""ScriptedProposer: plays a list of edits, for tests and demonstrations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from autoresearch.errors import ProposerError
from autoresearch.proposers import Brief, Proposal


@dataclass(frozen=True)
class Edit:
    """Texts to write, by path in the workspace, and the proposal's note."""

    files: Mapping[str, str]
    note: str = "scripted edit"
    cost_usd: float = 0.0


# A function edits the workspace itself and returns its note.
Step = Edit | Callable[[Path, Brief], str | Proposal]


class ScriptedProposer:
    """Plays its steps in order, one per call, then raises ProposerError.

    >>> proposer = ScriptedProposer([Edit({"train.py": "LR = 0.1\\n"}, "larger rate")])

    `briefs` holds every brief received. A step that raises counts as played.
    """

    name = "scripted"

    def __init__(self, steps: Iterable[Step]) -> None:
        self._steps = tuple(steps)
        self.briefs: list[Brief] = []

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Play the next step."""
        if len(self.briefs) >= len(self._steps):
            raise ProposerError(
                f"the script is over: all {len(self._steps)} steps have been played"
            )
        step = self._steps[len(self.briefs)]
        self.briefs.append(brief)
        if isinstance(step, Edit):
            return _write(workspace, step)
        proposal = step(workspace, brief)
        return Proposal(proposal) if isinstance(proposal, str) else proposal


def _write(workspace: Path, edit: Edit) -> Proposal:
    for path, text in edit.files.items():
        target = workspace / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode())
    return Proposal(edit.note, edit.cost_usd)
