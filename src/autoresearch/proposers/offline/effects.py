"""An additive model of scores, shrunk towards no effect: ridge regression, one row per trial."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

F = TypeVar("F", bound=Hashable)

_DOUBT = 0.25  # variance of the noise over variance of true effects
_SWEEPS = 25


def fit(rows: Sequence[tuple[Sequence[F], float]]) -> dict[F, float]:
    """The effect of each feature, in the unit of the scores, by coordinate descent."""
    members: dict[F, list[int]] = {}
    for index, (features, _) in enumerate(rows):
        for feature in features:
            members.setdefault(feature, []).append(index)
    effects = dict.fromkeys(members, 0.0)
    rest = [score for _, score in rows]  # what the model leaves unexplained
    for _ in range(_SWEEPS if rows else 0):
        level = sum(rest) / len(rest)
        rest = [score - level for score in rest]
        for feature, where in members.items():
            change = sum(rest[i] for i in where) - _DOUBT * effects[feature]
            change /= len(where) + _DOUBT
            effects[feature] += change
            for i in where:
                rest[i] -= change
    return effects
