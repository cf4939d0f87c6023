"""Proposers that the command line can name in tests: tiny_agents:Countdown."""

from __future__ import annotations

import os
from pathlib import Path

from autoresearch.errors import ProposerError
from autoresearch.proposers import Brief, Proposal
from tiny_lab import CRASHES, git


class Countdown:
    """Each proposal scores one less than the last; every third is worse."""

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


class Climber:
    """Each proposal is ten better than what it starts from; every third is far worse."""

    name = "climber"

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Write the next score; give up when there are enough trials."""
        number, last = len(brief.history), int(os.environ.get("CLIMBER_TRIALS", "1000"))
        if number > last:
            raise ProposerError("High enough.")
        score = int((workspace / "train.py").read_text().split("=")[1])
        score += 100 + number if number % 3 == 0 else -10
        (workspace / "train.py").write_text(f"SCORE = {score}\n")
        return Proposal(f"score {score}")


AWAKE = """
import os, time
print('asleep', flush=True)
for _ in range(6000):
    if os.path.exists('wake'):
        break
    time.sleep(0.1)
SCORE = 12
"""


class Sleeper:
    """Proposes a run that ends when somebody makes the file `wake` in its folder."""

    name = "sleeper"

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Write a program that waits."""
        (workspace / "train.py").write_text(AWAKE)
        return Proposal("sleep")


class Empty:
    """Has nothing to propose."""

    name = "empty"

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Give up at once."""
        raise ProposerError("Nothing is left to try.")


class Crasher:
    """Each proposal fails with the same error."""

    name = "crasher"

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Write a program that fails."""
        (workspace / "train.py").write_text(f"x = {len(brief.history)}\n{CRASHES}")
        return Proposal("crash")
