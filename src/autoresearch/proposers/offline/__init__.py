"""The default proposer: changes the annotated constants of the editable files, without a network.

It remembers nothing between calls and learns from the brief's history alone, so that a resumed
study gets the same proposals as an uninterrupted one.
"""

from autoresearch.proposers.offline.proposer import OfflineProposer

__all__ = ["OfflineProposer"]
