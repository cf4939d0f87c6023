"""Keep rules at equal compute, in worlds whose truth is known. Seeded: the same numbers each time.

Bounds, for the default rule: at least 1.4 times greedy's true gain in the mix, claims within 5 %
of the truth in every world, at most one false keep per 100 trials in every world where nothing
works, and no test of a confirmation above its nominal level. Exits 1 when one fails; --quick has
too few studies to tell, and exits 0.

    python benchmarks/policies/simulate.py [--quick | --repetitions 400] [--write]

--write puts the tables into docs/honest-keeps.md and the chart into docs/img/policies.png.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from levels import TAKEN, Level, level_table, measured
from worlds import WORLDS, Machine

from policies import POLICIES, Limit, Outcome

DOCS = Path(__file__).parents[2] / "docs"
OURS = "stacks of 5"
REPETITIONS, QUICK = 1000, 40
SEED = 7


@dataclass(frozen=True)
class Scene:
    """One world and how long a study in it lasts."""

    title: str
    world: str
    limit: Limit


GAINS = (
    Scene("mix, 700 runs", "mix", Limit(runs=700)),
    Scene("mix, 100 runs", "mix", Limit(runs=100)),
    Scene("log, 126 runs", "log", Limit(runs=126)),
    Scene("log, 700 runs", "log", Limit(runs=700)),
    Scene("late, 700 runs", "late", Limit(runs=700)),
    Scene("no-ops, 700 runs", "no-ops", Limit(runs=700)),
    Scene("drift, 700 runs", "drift", Limit(runs=700)),
    Scene("outliers, 700 runs", "outliers", Limit(runs=700)),
    Scene("shrinking noise, 700 runs", "shrinking noise", Limit(runs=700)),
    Scene("relative noise, 700 runs", "relative noise", Limit(runs=700)),
)
NULLS = (
    Scene("null", "null", Limit(trials=100)),
    Scene("null, drift", "null, drift", Limit(trials=100)),
    Scene("null, outliers", "null, outliers", Limit(trials=100)),
    Scene("null, shrinking noise", "null, shrinking noise", Limit(trials=100)),
    Scene("null, growing noise", "null, growing noise", Limit(trials=100)),
    Scene("null, noisier edits", "null, noisier edits", Limit(trials=100)),
    Scene("null, outliers, 5 trials", "null, outliers", Limit(trials=5)),
)


@dataclass(frozen=True)
class Row:
    """One policy in one scene, over all repetitions."""

    scene: Scene
    policy: str
    outcomes: list[Outcome]

    def mean(self, name: str) -> float:
        """Mean of one field of the outcomes."""
        return fmean(float(getattr(outcome, name)) for outcome in self.outcomes)

    def error(self, name: str) -> float:
        """Standard error of that mean."""
        values = [float(getattr(outcome, name)) for outcome in self.outcomes]
        return stdev(values) / len(values) ** 0.5

    def told(self, name: str) -> str:
        """Mean and standard error."""
        return f"{self.mean(name):.2f} ± {self.error(name):.2f}"

    def per_100(self) -> float:
        """False keeps per 100 trials."""
        return 100 * self.mean("false") / self.mean("trials")

    def per_100_error(self) -> float:
        """Standard error of the false keeps per 100 trials."""
        return 100 * self.error("false") / self.mean("trials")


def simulate(scenes: tuple[Scene, ...], repetitions: int) -> list[Row]:
    """Every policy in every scene; a repetition's seed is the same for all policies."""
    rows = []
    for number, scene in enumerate(scenes):
        for name, policy in POLICIES.items():
            machines = (
                Machine(WORLDS[scene.world], (SEED, number, again)) for again in range(repetitions)
            )
            rows.append(Row(scene, name, [policy(machine, scene.limit) for machine in machines]))
    return rows


def gain_table(rows: list[Row]) -> str:
    """Markdown: what is gained and what is claimed."""
    lines = [
        "| world | rule | true gain, sd | × greedy | claimed | claimed / true | keeps "
        "| of these not good | trials |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        true, greedy = row.mean("true"), found(rows, row.scene, "greedy").mean("true")
        lines.append(
            f"| {row.scene.title} | {bold(row.policy)} | {row.told('true')} "
            f"| {true / greedy:.2f} | {row.told('claimed')} | {row.mean('claimed') / true:.2f} "
            f"| {row.mean('keeps'):.1f} | {row.mean('idle'):.1f} | {row.mean('trials'):.0f} |"
        )
    return "\n".join(lines)


def null_table(rows: list[Row]) -> str:
    """Markdown: what is kept and claimed where nothing works."""
    lines = [
        "| world | rule | false keeps per 100 trials | claimed gain, sd | runs |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row.scene.title} | {bold(row.policy)} "
            f"| {row.per_100():.2f} ± {row.per_100_error():.2f} "
            f"| {row.told('claimed')} | {row.mean('runs'):.0f} |"
        )
    return "\n".join(lines)


def bold(policy: str) -> str:
    """The default rule stands out."""
    return f"**{policy}**" if policy == OURS else policy


def found(rows: list[Row], scene: Scene, policy: str) -> Row:
    """The row of this scene and policy."""
    return next(row for row in rows if row.scene == scene and row.policy == policy)


def broken(gains: list[Row], nulls: list[Row], levels: list[Level]) -> list[str]:
    """The bounds that the default rule does not meet."""
    ours = found(gains, GAINS[0], OURS)
    times = ours.mean("true") / found(gains, GAINS[0], "greedy").mean("true")
    bounds = {f"{times:.2f} times greedy, at least 1.4": times >= 1.4}
    for row in gains:
        if row.policy == OURS:
            honest = row.mean("claimed") / row.mean("true")
            title = f"{row.scene.title}: claims {honest:.3f} of the truth, 0.95 to 1.05"
            bounds[title] = abs(honest - 1) <= 0.05
    for row in nulls:
        if row.policy == OURS:
            false = row.per_100()
            bounds[f"{row.scene.title}: {false:.2f} false keeps per 100 trials"] = false <= 1
    for level in levels:
        if level.test == TAKEN:
            kept = level.kept[0]
            bounds[f"{level.title}: keeps a no-op in {kept:.2%}"] = not level.above_nominal
    return [text for text, kept in bounds.items() if not kept]


def write_docs(tables: dict[str, str], page: Path) -> None:
    """Put each table between its markers."""
    text = page.read_text()
    for name, table in tables.items():
        first, last = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
        head, rest = text.split(first)
        text = head + first + table + last + rest.split(last)[1]
    page.write_text(text)


def main() -> int:
    """Print the tables; 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="40 studies a row: seconds, not exact")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="studies a row")
    parser.add_argument("--write", action="store_true", help="tables and chart into docs/")
    arguments = parser.parse_args()
    repetitions = QUICK if arguments.quick else arguments.repetitions
    gains, nulls = simulate(GAINS, repetitions), simulate(NULLS, repetitions)
    levels = measured(40 * repetitions // 10)
    tables = {
        "gains": gain_table(gains),
        "nulls": null_table(nulls),
        "levels": level_table(levels),
    }
    print(*tables.values(), sep="\n\n")
    if arguments.write:
        from picture import draw

        write_docs(tables, DOCS / "honest-keeps.md")
        draw(gains, nulls, DOCS / "img" / "policies.png")
    problems = [] if arguments.quick else broken(gains, nulls, levels)
    for problem in problems:
        print(f"bound broken: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
