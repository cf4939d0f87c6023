"""Strategies by name."""

from __future__ import annotations

from autoresearch.errors import StrategyError
from autoresearch.names import resolve
from autoresearch.strategies import Strategy

STRATEGIES = {"greedy": "autoresearch.strategies.greedy:Greedy"}


def make_strategy(name: str) -> Strategy:
    """A strategy by short name or dotted path; StrategyError when there is none of that name."""
    made: Strategy = resolve("strategy", name, STRATEGIES, StrategyError)()
    return made
