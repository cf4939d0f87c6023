"""Fit the `log` world to a results.tsv: what edits truly gained, behind single runs and luck.

Model: a run is truth plus normal noise; an edit is good (exponential gain), without effect, or bad
(exponential loss), with one mix for the first trials and one for the others. The hidden state is
the luck of the best so far; a filter on a grid carries its distribution from row to row, so that
the winner's curse is part of the likelihood. Rows without a number or far off are left out.

    python benchmarks/policies/fit.py --data results.tsv [--early 15] [--unit 0.001]
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WIDE, LUMP = 20.0, 0.08  # reach of the grid of effects, and the width of "no effect", in units
GRID = np.linspace(-WIDE, WIDE, 2001)


@dataclass(frozen=True)
class Mix:
    """Share and mean gain of good edits, share without effect, mean loss of the bad; in units."""

    good: float
    good_mean: float
    null: float
    bad_mean: float

    def sides(self) -> np.ndarray:
        """Density of good and bad effects on the grid."""
        bad = (1 - self.good - self.null) * np.exp(np.minimum(GRID, 0) / self.bad_mean)
        good = self.good * np.exp(-np.maximum(GRID, 0) / self.good_mean)
        return np.where(GRID > 0, good / self.good_mean, bad / self.bad_mean)


def normal(x: np.ndarray, sd: float) -> np.ndarray:
    """Density of a normal."""
    return np.exp(-0.5 * (x / sd) ** 2) / (sd * np.sqrt(2 * np.pi))


def loss(rows: list[tuple[float, bool]], sd: float, early: Mix, late: Mix, turn: int) -> float:
    """Minus log likelihood of (value, kept) rows, the first being the baseline."""
    luck = np.linspace(-5 * sd, 5 * sd, 81)
    step, prior = luck[1] - luck[0], normal(luck, sd)
    density, total, best = prior.copy(), 0.0, rows[0][0]
    dx = GRID[1] - GRID[0]
    seen = []
    for mix in (early, late):
        sides = mix.sides()
        blurred = np.convolve(sides, normal(GRID, sd), "same") * dx
        seen.append((sides, blurred + mix.null * normal(GRID, sd), mix.null))
    for number, (value, kept) in enumerate(rows[1:], 1):
        sides, blurred, null = seen[number > turn]
        gain = best - value
        if kept:
            effect = gain + luck[:, None] - luck[None, :]
            shape = np.interp(effect, GRID, sides) + null * normal(effect, LUMP)
            after, best = prior * (shape @ density) * step, value
        else:
            after = density * np.interp(gain - luck, GRID, blurred, left=1e-12, right=1e-12)
        mass = max(after.sum() * step, 1e-300)
        total, density = total - np.log(mass), after / mass
    return float(total)


def read(path: Path, unit: float) -> list[tuple[float, bool]]:
    """Rows with a number not absurdly far from the first, in units."""
    with path.open(newline="") as file:
        table = list(csv.reader(file, delimiter="\t"))[1:]
    rows = [(float(row[1]) / unit, row[3] == "keep") for row in table]
    return [row for row in rows if row[0] and abs(row[0] - rows[0][0]) < 2 * WIDE]


def drawn(rng: np.random.Generator) -> np.ndarray:
    """Somewhere to start: shares and means of one mix."""
    shares = (rng.uniform(0.02, 0.4), rng.uniform(0.1, 0.7))
    means = np.exp(rng.uniform(-1.5, 1.5, 2))
    return np.array([shares[0], means[0], shares[1], means[1]])


def search(rows: list[tuple[float, bool]], turn: int, tries: int) -> tuple[float, np.ndarray]:
    """Best of a seeded random search that narrows around the best so far."""
    rng = np.random.default_rng(0)
    best, at = np.inf, np.zeros(9)
    for number in range(tries):
        if number < tries // 4:
            point = np.r_[np.exp(rng.uniform(-1.6, 0.3)), drawn(rng), drawn(rng)]
        else:
            point = at * np.exp(rng.normal(size=9) * (0.25 if number % 2 else 0.06))
        early, late = Mix(*point[1:5]), Mix(*point[5:])
        if early.good + early.null > 0.98 or late.good + late.null > 0.98:
            continue
        if (value := loss(rows, float(point[0]), early, late, turn)) < best:
            best, at = value, point
    return best, at


def main() -> None:
    """Print the fit, in sds of one run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--early", type=int, default=15)
    parser.add_argument("--unit", type=float, default=0.001)
    parser.add_argument("--tries", type=int, default=4000)
    arguments = parser.parse_args()
    rows = read(arguments.data, arguments.unit)
    value, best = search(rows, arguments.early, arguments.tries)
    print(f"{len(rows)} rows, -log likelihood {value:.2f}, sd {best[0] * arguments.unit:.5f}")
    for name, part in (("early", best[1:5]), ("late", best[5:])):
        good, good_mean, null, bad_mean = part
        print(
            f"{name:<6} good {good:.3f} of mean {good_mean / best[0]:.2f} sd, null {null:.3f}, "
            f"bad {1 - good - null:.3f} of mean {bad_mean / best[0]:.2f} sd"
        )


if __name__ == "__main__":
    main()
