"""The default proposer: moves the annotated constants of the editable files, with no network.

It remembers nothing between calls: all it knows is the brief's history, so a resumed study
gets the proposals that an uninterrupted one would.
"""

from autoresearch.proposers.offline.proposer import OfflineProposer

__all__ = ["OfflineProposer"]
