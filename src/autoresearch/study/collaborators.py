"""What a study may be given from outside: edits, vetoes, results of peers, listeners."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from autoresearch.store.heartbeat import Stage
from autoresearch.store.ledger import Trial

if TYPE_CHECKING:
    from autoresearch.study.proposing import ProposedEdit


class EditSource(Protocol):
    """Offers edits that no proposer of the study made."""

    def offer(self, parent: str) -> ProposedEdit | None:
        """An edit of this commit, or None: then the proposer makes one."""


class RunVeto(Protocol):
    """Knows candidates that need not run."""

    def reason(self, trial: Trial, commit: str) -> str:
        """Why this commit is not run; empty: it is run."""


class PeerResults(Protocol):
    """Knows what other studies found."""

    def results(self) -> str:
        """Lines for the brief: numbers and hashes, never text of others; may be empty."""


class Listener(Protocol):
    """Hears what the study does. It is called in the study's thread, and must not raise."""

    def on_stage(self, stage: Stage) -> object:
        """Something begins that takes a while."""

    def on_trial(self, trial: Trial) -> object:
        """A trial is finished."""

    def on_note(self, text: str) -> object:
        """A message for the person."""


def _ignore(_: object) -> None:
    """Default no-op callback."""


@dataclass(frozen=True)
class CallbackListener:
    """A listener made of functions; what is left out does nothing."""

    on_stage: Callable[[Stage], object] = _ignore
    on_trial: Callable[[Trial], object] = _ignore
    on_note: Callable[[str], object] = _ignore


@dataclass
class Collaborators:
    """All that were attached, in that order. Without any: no offers, no vetoes, no peers."""

    sources: list[EditSource] = field(default_factory=list)
    vetoes: list[RunVeto] = field(default_factory=list)
    peers: list[PeerResults] = field(default_factory=list)
    listeners: list[Listener] = field(default_factory=list)

    def attach(
        self,
        *,
        source: EditSource | None = None,
        veto: RunVeto | None = None,
        peers: PeerResults | None = None,
        listener: Listener | None = None,
    ) -> None:
        """Add collaborators after those that are there."""
        self.sources += [source] if source else []
        self.vetoes += [veto] if veto else []
        self.peers += [peers] if peers else []
        self.listeners += [listener] if listener else []

    def detach(self, one: object) -> None:
        """Remove a collaborator from all its parts; nothing happens where it has none."""
        self.sources = [each for each in self.sources if each is not one]
        self.vetoes = [each for each in self.vetoes if each is not one]
        self.peers = [each for each in self.peers if each is not one]
        self.listeners = [each for each in self.listeners if each is not one]

    def offer(self, parent: str) -> ProposedEdit | None:
        """The first edit that a source offers, or None."""
        offers = (source.offer(parent) for source in self.sources)
        return next((edit for edit in offers if edit is not None), None)

    def reason(self, trial: Trial, commit: str) -> str:
        """The first reason not to run a commit, or the empty string."""
        return next(filter(None, (veto.reason(trial, commit) for veto in self.vetoes)), "")

    def results(self) -> str:
        """What all peers found."""
        return "\n".join(filter(None, (each.results() for each in self.peers)))

    def on_stage(self, stage: Stage) -> None:
        """Report a stage to all listeners."""
        for listener in self.listeners:
            listener.on_stage(stage)

    def on_trial(self, trial: Trial) -> None:
        """Report a finished trial to all listeners."""
        for listener in self.listeners:
            listener.on_trial(trial)

    def on_note(self, text: str) -> None:
        """Give all listeners a message for the person."""
        for listener in self.listeners:
            listener.on_note(text)
