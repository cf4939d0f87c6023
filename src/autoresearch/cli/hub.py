"""hub: the commands of `ah`, by another name."""

from autoresearch.hub.cli import ah as hub

__all__ = ["hub"]
