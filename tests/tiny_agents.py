"""Proposers that the command line can name in tests: tiny_agents:Countdown."""

from __future__ import annotations

from pathlib import Path

from autoresearch.errors import ProposerError
from autoresearch.proposers import Brief, Proposal
from tiny_lab import git


class Countdown:
    """Each proposal scores one less than the number of trials so far says; every third is worse."""

    name = "countdown"

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Write the next score."""
        number = len(brief.history)
        value = 50 + number if number % 3 == 0 else 10 - number
        (workspace / "train.py").write_text(f"SCORE = {value}\n")
        return Proposal(f"score {value}")


class Nine(Countdown):
    """The same, until the study has nine trials."""

    name = "nine"

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Write the next score, or give up."""
        if len(brief.history) >= 9:
            raise ProposerError("Nine are enough.")
        return super().propose(workspace, brief)


class Mover(Countdown):
    """The same; while it is at the second proposal somebody moves the study's branch to main."""

    name = "mover"

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Write the next score, after the move."""
        if len(brief.history) == 2:
            git(Path.cwd(), "branch", "-f", "autoresearch/t", "main")
        return super().propose(workspace, brief)


class Sleeper:
    """Proposes a run that never ends."""

    name = "sleeper"

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Write a program that waits."""
        text = "import time\nprint('asleep', flush=True)\ntime.sleep(600)\n"
        (workspace / "train.py").write_text(text)
        return Proposal("sleep")


class Empty:
    """Has nothing to propose."""

    name = "empty"

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Give up at once."""
        raise ProposerError("Nothing is left to try.")
