"""How long does it take to prepare the standard library? Bound: 60 s on two cores.

    python benchmarks/prepare.py

Runs `prepare.py --dataset stdlib` of the nanogpt lab in an empty cache, then a second time, then
`--check`, and prints the seconds of each. Exit code 1 over the bound.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import autoresearch

LAB = Path(autoresearch.__file__).parent / "labs" / "nanogpt"
BOUNDS = {"first run": 60.0, "second run": 1.0, "--check": 5.0}


def seconds(cache: str, *args: str) -> float:
    """Wall-clock seconds of one run of prepare.py."""
    command = [sys.executable, str(LAB / "prepare.py"), "--dataset", "stdlib", *args]
    began = time.perf_counter()
    subprocess.run(
        command,
        env=os.environ | {"AUTORESEARCH_CACHE": cache},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - began


def main() -> int:
    """Print the table; 1 when a bound is broken."""
    with tempfile.TemporaryDirectory() as cache:
        seen = {
            "first run": seconds(cache),
            "second run": seconds(cache),
            "--check": seconds(cache, "--check"),
        }
    print(f"prepare.py --dataset stdlib, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    for name, took in seen.items():
        print(f"{name:12} {took:7.2f} s   (bound {BOUNDS[name]:.0f} s)")
    return int(any(took > BOUNDS[name] for name, took in seen.items()))


if __name__ == "__main__":
    sys.exit(main())
