"""Strategies by name."""

from __future__ import annotations

from autoresearch.errors import StrategyError
from autoresearch.lab.task import Keep
from autoresearch.registry import resolve
from autoresearch.strategies import Strategy

STRATEGIES = {
    "confirm": "autoresearch.strategies.confirmation:SequentialConfirmation",
    "greedy": "autoresearch.strategies.greedy:Greedy",
}


def make_strategy(name: str, keep: Keep | None = None) -> Strategy:
    """A strategy by short name or dotted path, with its settings; StrategyError when unknown."""
    made: Strategy = resolve("strategy", name, STRATEGIES, StrategyError)(keep or Keep())
    return made
