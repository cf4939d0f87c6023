"""Moves by Optuna's TPE sampler. Optuna is optional and imported on first use."""

from __future__ import annotations

import importlib.util
import math
from random import Random
from typing import Any

from autoresearch.errors import ProposerError
from autoresearch.lab.constants import Choices, Value
from autoresearch.proposers.offline.evidence import Evidence, Past
from autoresearch.proposers.offline.moves import Move, is_new
from autoresearch.proposers.offline.space import Key, Point, from_unit, is_ordered, to_unit

_ENOUGH = 10  # measured trials before the model is used
_LOCAL = 0.25  # share of a range that a suggestion may be away from the parent
_RECENT = 200  # trials that the model is built from


def available(wanted: bool | None) -> bool:
    """Whether to use Optuna; None: if it is installed. ProposerError if wanted and missing."""
    installed = importlib.util.find_spec("optuna") is not None
    if wanted and not installed:
        raise ProposerError(
            "the offline proposer needs Optuna for TPE, and it is not installed. "
            "Install it (pip install 'autoresearch[optuna]') or leave TPE out"
        )
    return installed if wanted is None else wanted


def suggest(evidence: Evidence, past: Past, minimize: bool, rng: Random) -> Move | None:
    """A few coordinates of TPE's suggestion, limited to the parent's neighbourhood."""
    study = _study(evidence.parent, past, minimize, rng)
    if len(study.trials) < _ENOUGH:
        return None
    for _ in range(4):
        changes = _near(evidence, study.ask(_distributions(evidence.parent)).params)
        keys = rng.sample(sorted(changes), min(len(changes), rng.choice((1, 1, 2, 3))))
        if keys and is_new(evidence, chosen := {key: changes[key] for key in keys}):
            return Move(chosen, "tpe")
    return None


def _study(parent: Point, past: Past, minimize: bool, rng: Random) -> Any:
    """An Optuna study in memory with the history; a crash counts as the worst value seen."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=rng.getrandbits(31), n_startup_trials=0)
    study = optuna.create_study(direction="minimize" if minimize else "maximize", sampler=sampler)
    distributions = _distributions(parent)
    values = [tried.value for tried, _ in past if tried.value is not None]
    measured = [value for value in values if math.isfinite(value)]
    worst = (max if minimize else min)(measured, default=0.0)
    for tried, point in past[-_RECENT:]:
        params = _params(parent, point)
        value = worst if tried.outcome == "crash" else tried.value
        if value is not None and math.isfinite(value):
            known = {label: distributions[label] for label in params}
            trial = optuna.trial.create_trial(params=params, distributions=known, value=value)
            study.add_trial(trial)
    return study


def _distributions(parent: Point) -> dict[str, Any]:
    """Optuna's distributions: ordered knobs by position, 0 to 1, other choices by index."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    found: dict[str, Any] = {}
    for key, knob in parent.knobs.items():
        options = _options(parent, key)
        found[_label(key)] = (
            FloatDistribution(0.0, 1.0)
            if is_ordered(knob)
            else CategoricalDistribution(range(len(options)))
        )
    return found


def _params(parent: Point, point: Point) -> dict[str, float | int]:
    """A tried point as Optuna's parameters, without knobs that it lacks."""
    params: dict[str, float | int] = {}
    for key, knob in parent.knobs.items():
        value = point.values.get(key)
        if is_ordered(knob):
            place = to_unit(knob, value)
            if place is not None:
                params[_label(key)] = place
        elif key in point.values and value in _options(parent, key):
            params[_label(key)] = _options(parent, key).index(value)
    return params


def _near(evidence: Evidence, suggested: dict[str, float | int]) -> dict[Key, Value]:
    """A suggestion as changes of the parent, each nearby and none known to be bad."""
    changes: dict[Key, Value] = {}
    for key, knob in evidence.parent.knobs.items():
        here, there = evidence.parent.values[key], suggested[_label(key)]
        if is_ordered(knob):
            place = to_unit(knob, here)
            place = 0.5 if place is None else place
            value = from_unit(knob, min(max(there, place - _LOCAL), place + _LOCAL))
        else:
            value = _options(evidence.parent, key)[int(there)]
        if value != here and not evidence.hopeless(key, value):
            changes[key] = value
    return changes


def _options(parent: Point, key: Key) -> list[Value]:
    """The choices of a knob, with the parent's value if it is not among them."""
    knob = parent.knobs[key]
    listed = knob.values if isinstance(knob, Choices) else ()
    return list(dict.fromkeys([*listed, parent.values[key]]))


def _label(key: Key) -> str:
    return "::".join(key)
