"""The n-th write, fsync, rename, truncate or unlink of the loop fails, for every n there is.

After each fault the loop is started again without one and must end as an undisturbed study does.
The faults are made by a small preloaded library (failing.c, needs gcc), in the loop's own process:
Python's files and SQLite's alike. git has processes of its own; for those see kill.py and disk.py.

    python benchmarks/faults/nth.py [--step 1] [--trials 2] [--errno 5]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lab import HERE, differences, environment, finish, make_lab, outcome, start, unsound


def compile_shim(folder: Path) -> Path:
    """failing.c as a library."""
    library = folder / "failing.so"
    words = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(HERE / "failing.c"), "-ldl"]
    subprocess.run(words, check=True)
    return library


def fault(lab: Path, library: Path, at: int, errno: int, trials: int) -> int:
    """Run with the fault; how many calls there were."""
    count = lab.parent / "count"
    env = environment(
        trials,
        LD_PRELOAD=str(library),
        FAULT_ROOT=str(lab),
        FAULT_AT=str(at),
        FAULT_ERRNO=str(errno),
        FAULT_COUNT=str(count),
    )
    process = start(lab, env)
    said = process.communicate(timeout=300)[0].decode()
    if "Traceback" in said:
        print(f"call {at}: a traceback\n{said}")
    return int(count.read_text())


def main() -> None:
    """Try every n; exit code 1 when any study does not end as the calm one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", type=int, default=1, help="every so many calls")
    parser.add_argument("--trials", type=int, default=2)
    parser.add_argument("--errno", type=int, default=5, help="5 is EIO, 28 is ENOSPC")
    args = parser.parse_args()
    began, wrong, at = time.monotonic(), [], 1
    with tempfile.TemporaryDirectory() as root:
        library = compile_shim(Path(root))
        calm = make_lab(Path(root, "calm"))
        finish(calm, args.trials)
        expected, tried = outcome(calm), 0
        calls = fault(make_lab(Path(root, "counted")), library, 0, args.errno, args.trials)
        while at <= calls:
            lab = make_lab(Path(root, f"lab-{at}"))
            fault(lab, library, at, args.errno, args.trials)
            finish(lab, args.trials)
            wrong += [f"call {at}: {w}" for w in differences(expected, outcome(lab)) + unsound(lab)]
            shutil.rmtree(lab)
            at, tried = at + args.step, tried + 1
    print(f"faults {tried} of {calls} calls, violations {len(wrong)}, ", end="")
    print(f"{time.monotonic() - began:.0f} s")
    for line in wrong:
        print(line)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
