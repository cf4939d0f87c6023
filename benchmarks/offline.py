"""Which mix of moves should the offline proposer have? A simulated lab answers in seconds.

    python benchmarks/offline.py [--seeds 4] [--trials 120] [--only full]

The lab is simulated: a train.py of 28 constants, an objective whose effects and noise were measured
on the real cpu preset (bigram -0.050, smear -0.015, learning rates x2 +0.021, x0.5 +0.006, no value
embeddings +0.051, depth 3 +0.048, AdamW +0.174, sd of one seed 0.006), the rest made up at the same
size, mostly useless, as such things are. "plain" is the same lab with no bigram to be found, and
"detuned" has no feature worth a thing but starts from wrong numbers, as a user's own lab may.
The study is the greedy ratchet. Printed: the TRUE gain of the incumbent, in % of the baseline.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import log2
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

from autoresearch.lab import constants
from autoresearch.proposers import Brief, Outcome, Proposal, Proposer, Tried
from autoresearch.proposers.offline import OfflineProposer
from autoresearch.proposers.offline.proposer import DEFAULT_MIX

NOISE = 0.006
BASELINE = 1.864

SOURCE = """\
# A made-up lab.
DEPTH = 2                  # layers [int 1..8]
WIDTH = 64                 # channels [32 | 64 | 96 | 128]
HEAD_DIM = 32              # channels of a head [16 | 32 | 64]
MLP_RATIO = 4              # of the MLP's width to the model's [int 1..8]
ACTIVATION = "relu2"       # of the MLP [relu2 | gelu | silu]
NORM = "pre"               # placement of the norm [pre | post | both]
WINDOW_PATTERN = "L"       # short and long attention windows [L | SL | SSL]
QK_NORM = True             # normalise queries and keys [False | True]
VALUE_EMBEDS = True        # on alternate layers [False | True]
BIGRAM = 0                 # hashed embedding of token pairs, times the vocabulary [0 | 1 | 5]
SMEAR = False              # add the previous token's embedding [False | True]
BACKOUT = False            # subtract the middle of the residual stream [False | True]
TIE_HEAD = False           # head and embedding share weights [False | True]
SOFTCAP = 15.0             # of the logits [log 5..60]
ROPE_BASE = 10_000         # of the rotary angles [log 500..500_000]
BATCH_TOKENS = 2**11       # tokens a step [1024 | 2048 | 4096 | 8192]
OPTIMIZER = "muon"         # of the matrices [muon | adamw]
MATRIX_LR = 0.04           # matrices [log 0.005..0.2]
EMBED_LR = 0.6             # embeddings [log 0.06..3]
HEAD_LR = 4e-3             # head [log 4e-4..4e-2]
SCALAR_LR = 0.5            # scalars [log 0.05..5]
WEIGHT_DECAY = 0.1         # cautious, of the matrices [0..0.5]
CAUTIOUS = True            # decay only where the update agrees [False | True]
ADAM_BETA1 = 0.8           # AdamW [0.5..0.95]
MOMENTUM = 0.95            # Muon [0.8..0.99]
WARMUP = 0.0               # share of the budget [0..0.3]
WARMDOWN = 0.5             # share of the budget [0..1]
SCHEDULE = "linear"        # shape of the warm-down [linear | cosine | sqrt]
"""

CHOICES: dict[str, dict[Any, float]] = {
    "DEPTH": {1: 0.030, 2: 0.0, 3: 0.048, 4: 0.09, 5: 0.13, 6: 0.18, 7: 0.23, 8: 0.28},
    "WIDTH": {32: 0.12, 64: 0.0, 96: 0.01, 128: 0.06},
    "HEAD_DIM": {16: 0.004, 32: 0.0, 64: 0.002},
    "MLP_RATIO": {1: 0.04, 2: 0.01, 3: 0.0, 4: 0.0, 5: 0.004, 6: 0.01, 7: 0.02, 8: 0.03},
    "ACTIVATION": {"relu2": 0.0, "gelu": 0.001, "silu": 0.004},
    "NORM": {"pre": 0.0, "post": 0.05, "both": 0.003},
    "WINDOW_PATTERN": {"L": 0.0, "SL": 0.001, "SSL": 0.004},
    "QK_NORM": {True: 0.0, False: 0.02},
    "VALUE_EMBEDS": {True: 0.0, False: 0.051},
    "BIGRAM": {0: 0.0, 1: -0.045, 5: -0.050},
    "SMEAR": {False: 0.0, True: -0.015},
    "BACKOUT": {False: 0.0, True: 0.001},
    "TIE_HEAD": {False: 0.0, True: 0.3},
    "BATCH_TOKENS": {1024: -0.002, 2048: 0.0, 4096: 0.001, 8192: 0.03},
    "OPTIMIZER": {"muon": 0.0, "adamw": 0.174},
    "CAUTIOUS": {True: 0.0, False: 0.003},
    "SCHEDULE": {"linear": 0.0, "cosine": 0.002, "sqrt": -0.002},
}
# Doublings from the baseline: curvature, and where the optimum lies.
RATIOS = {
    "MATRIX_LR": (0.0135, -0.28),
    "EMBED_LR": (0.004, 0.9),
    "HEAD_LR": (0.003, -0.8),
    "SCALAR_LR": (0.001, 0.5),
    "SOFTCAP": (0.002, -0.5),
    "ROPE_BASE": (0.0003, -2.0),
}
# Differences from the baseline: curvature, and where the optimum lies.
DIFFERENCES = {
    "WEIGHT_DECAY": (0.3, 0.05),
    "ADAM_BETA1": (0.2, 0.03),
    "MOMENTUM": (4.0, -0.03),
    "WARMUP": (0.6, 0.02),
    "WARMDOWN": (0.12, 0.15),
}


@dataclass
class Lab:
    """A simulated lab: what a train.py is truly worth, and what one look at it says."""

    name: str = "measured"
    without: tuple[str, ...] = ()  # choices whose effect is taken away
    optima: Mapping[str, float] = field(default_factory=dict)  # other than the measured ones
    start: dict[str, Any] = field(init=False)
    _known: dict[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.start = {name: c.value for name, c in constants.read(SOURCE).items()}

    def true(self, source: str) -> float | None:
        """The value without noise; None when the training diverges."""
        if source not in self._known:
            self._known[source] = self._true(source)
        return self._known[source]

    def _true(self, source: str) -> float | None:
        values: dict[str, Any] = {n: c.value for n, c in constants.read(source).items()}
        if values["MATRIX_LR"] > 0.15 or (values["DEPTH"] >= 7 and values["WIDTH"] >= 128):
            return None
        total = BASELINE
        for name, value in values.items():
            total += self._effect(name, value)
        return total

    def _effect(self, name: str, value: Any) -> float:
        if name in CHOICES:
            return 0.0 if name in self.without else CHOICES[name][value]
        if name in RATIOS:
            (bend, best), away = RATIOS[name], log2(value / self.start[name])
        else:
            (bend, best), away = DIFFERENCES[name], value - self.start[name]
        best = self.optima.get(name, best)
        return bend * ((away - best) ** 2 - best**2)


MEASURED = Lab()
PLAIN = Lab("plain", without=("BIGRAM",))
DETUNED = Lab(
    "detuned",
    without=("BIGRAM", "SMEAR"),
    optima={"MATRIX_LR": 1.5, "EMBED_LR": -2.0, "HEAD_LR": 2.0, "SOFTCAP": 1.0, "WARMDOWN": 0.4},
)


@dataclass
class Trail:
    """A finished study: its history, and the true value of the incumbent after each trial."""

    history: list[Tried] = field(default_factory=list)
    best: list[float] = field(default_factory=list)

    def gain(self, trials: int) -> float:
        """True gain over the baseline after so many trials, in %."""
        return 100 * (BASELINE - self.best[min(trials, len(self.best) - 1)]) / BASELINE


def ratchet(
    proposer: Proposer, lab: Lab, trials: int, seed: int, folder: Path, trail: Trail | None = None
) -> Trail:
    """The greedy rule: keep what measured better than the incumbent did. Continues a trail."""
    trail = trail or _with_baseline(seed)
    kept = [tried for tried in trail.history if tried.outcome == "keep"][-1]
    while len(trail.history) <= trials:
        (folder / "train.py").write_text(kept.files["train.py"])
        brief = Brief("", ("train.py",), kept.candidate, True, tuple(trail.history))
        proposal = proposer.propose(folder, brief)
        tried = _measure(lab, (folder / "train.py").read_text(), trail, kept, proposal, seed)
        trail.history.append(tried)
        kept = tried if tried.outcome == "keep" else kept
        trail.best.append(lab.true(kept.files["train.py"]) or 0.0)
    return trail


def _with_baseline(seed: int) -> Trail:
    value = BASELINE + NOISE * Random(f"{seed} 0").gauss(0, 1)
    files = {"train.py": SOURCE}
    return Trail([Tried(0, "c0", "c0", files, "keep", value, "baseline", "-")], [BASELINE])


def _measure(
    lab: Lab, source: str, trail: Trail, kept: Tried, proposal: Proposal, seed: int
) -> Tried:
    number = len(trail.history)
    true = lab.true(source)
    value = None if true is None else true + NOISE * Random(f"{seed} {number}").gauss(0, 1)
    better = value is not None and kept.value is not None and value < kept.value
    outcome: Outcome = "crash" if value is None else "keep" if better else "discard"
    files = {"train.py": source}
    return Tried(
        number, f"c{number}", kept.candidate, files, outcome, value, proposal.note, "offline"
    )


class RandomProposer:
    """Every knob uniformly over its whole range: what the others have to beat."""

    name = "random"

    def __init__(self, seed: int) -> None:
        self._rng = Random(seed)

    def propose(self, workspace: Path, brief: Brief) -> Proposal:  # noqa: ARG002
        """Blind, and unashamed."""
        source = (workspace / "train.py").read_text()
        values = {
            name: self._draw(constant.knob)
            for name, constant in constants.read(source).items()
            if constant.knob is not None
        }
        (workspace / "train.py").write_text(constants.replace(source, values))
        return Proposal("random")

    def _draw(self, knob: constants.Knob) -> Any:
        if isinstance(knob, constants.Choices):
            return self._rng.choice(knob.values)
        if isinstance(knob, constants.Int):
            return self._rng.randint(knob.low, knob.high)
        if isinstance(knob, constants.Log):
            return float(f"{knob.low * (knob.high / knob.low) ** self._rng.random():.3g}")
        return round(self._rng.uniform(knob.low, knob.high), 3)


def without(*ways: str) -> Mapping[str, float]:
    """The default mix, less some ways to move."""
    return {way: share for way, share in DEFAULT_MIX.items() if way not in ways}


VARIANTS: dict[str, Callable[[int], Proposer]] = {
    "random uniform": RandomProposer,
    "local only": lambda seed: OfflineProposer(seed, tpe=False, mix={"local": 1.0}),
    "no structural turns": lambda seed: OfflineProposer(seed, tpe=False, mix=without("structural")),
    "structural, local": lambda seed: OfflineProposer(
        seed, tpe=False, mix={"structural": 1.0, "local": 1.0}
    ),
    "full, no TPE": lambda seed: OfflineProposer(seed, tpe=False),
    "full, with TPE": lambda seed: OfflineProposer(seed, tpe=True),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--trials", type=int, default=120)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    looks = [n for n in (20, 60, 120) if n <= max(options.trials, 20)]
    for lab in (MEASURED, PLAIN, DETUNED):
        print(f"\n{lab.name} lab, true gain in %, mean of {options.seeds} seeds (worst)\n")
        columns = "".join(f"{f'{n} trials':>16}" for n in looks)
        print(f"{'':<24}{columns}{'>= 1 % at 20':>14}{'keep in 10':>12}{'ms/trial':>10}")
        for name, make in VARIANTS.items():
            if options.only in name:
                row(name, make, lab, options, looks)


def row(
    name: str,
    make: Callable[[int], Proposer],
    lab: Lab,
    options: argparse.Namespace,
    looks: list[int],
) -> None:
    """One variant's line."""
    trails = []
    began = time.perf_counter()
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            trails.append(ratchet(make(seed), lab, options.trials, seed, Path(folder)))
    milliseconds = 1000 * (time.perf_counter() - began) / options.seeds / options.trials
    gains = {n: [trail.gain(n) for trail in trails] for n in looks}
    cells = "".join(f"{f'{fmean(g):.2f} ({min(g):.2f})':>16}" for g in gains.values())
    reached = fmean(gain >= 1.0 for gain in gains[20])
    early = fmean(any(t.outcome == "keep" for t in trail.history[1:11]) for trail in trails)
    print(f"{name:<24}{cells}{reached:>14.0%}{early:>12.0%}{milliseconds:>10.1f}")


if __name__ == "__main__":
    main()
