"""Proposals by coding agents: any command-line agent, described by a few lines of data."""

from autoresearch.proposers.command.presets import Preset, load_presets
from autoresearch.proposers.command.proposer import CommandProposer

__all__ = ["CommandProposer", "Preset", "load_presets"]
