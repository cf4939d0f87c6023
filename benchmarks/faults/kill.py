"""kill -9 of the loop at random instants, again and again, until the script is over.

The study must end byte for byte as that of an undisturbed run: results.tsv, refs, ledger.

    python benchmarks/faults/kill.py [--kills 200] [--trials 60] [--seed 0] [--noisy]
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from lab import differences, environment, finish, make_lab, outcome, start, unsound


def shake(lab: Path, kills: int, trials: int, rng: random.Random) -> int:
    """Start and kill until it is done or killed often enough; how many kills hit a live loop."""
    hits = 0
    while hits < kills:
        process = start(lab, environment(trials))
        try:
            process.communicate(timeout=rng.uniform(0.05, 1.2))
            break  # the script is over
        except Exception:
            process.kill()
            process.communicate()
            hits += 1
    return hits


def main() -> None:
    """Compare a shaken study with a calm one; exit code 1 on any difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--noisy", action="store_true", help="steps first, not keeps at once")
    args = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        calm, shaken = (make_lab(Path(root, name), noisy=args.noisy) for name in ("calm", "shaken"))
        finish(calm, args.trials)
        hits = shake(shaken, args.kills, args.trials, random.Random(args.seed))
        finish(shaken, args.trials)
        wrong = differences(outcome(calm), outcome(shaken)) + unsound(shaken)
    print(f"kills {hits}, trials {args.trials}, violations {len(wrong)}, ", end="")
    print(f"{time.monotonic() - began:.0f} s")
    for line in wrong:
        print(f"differs: {line}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
