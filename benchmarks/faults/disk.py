"""A disk that is full again and again: a tmpfs of a few MB, filled to a few KB before each start.

After each hit a little room is made and the loop goes on; in the end the study must be that of an
undisturbed run. Needs root (or a user namespace) to mount the tmpfs.

    python benchmarks/faults/disk.py [--hits 36] [--trials 12]
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lab import differences, environment, finish, make_lab, outcome, start, unsound

SIZE = 24 * 2**20  # bytes of the tmpfs


def fill(folder: Path, left: int) -> Path:
    """Take all but `left` bytes of a file system."""
    ballast = folder / "ballast"
    free = os.statvfs(folder)
    size = max(0, free.f_bavail * free.f_frsize - left)
    with ballast.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, max(1, size))
    return ballast


def mounted(folder: Path) -> bool:
    """Whether a small tmpfs could be mounted there."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(folder)]
    return subprocess.run(words, capture_output=True).returncode == 0


def main() -> None:
    """Hit a full disk again and again; exit code 1 on a violation, 77 where no mount is allowed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hits", type=int, default=36)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    began, rng = time.monotonic(), random.Random(args.seed)
    with tempfile.TemporaryDirectory() as root:
        small = Path(root, "small")
        if not mounted(small):
            print("skipped: a tmpfs cannot be mounted here (root or a user namespace is needed)")
            sys.exit(77)
        try:
            calm, full = make_lab(Path(root, "calm")), make_lab(small / "lab")
            finish(calm, args.trials)
            hits = 0
            for _ in range(args.hits):
                ballast = fill(small, rng.randrange(20, 400) * 1024)
                process = start(full, environment(args.trials))
                try:
                    said = process.communicate(timeout=20)[0].decode()
                    hits += "script is over" not in said
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
                    hits += 1
                ballast.unlink()
            finish(full, args.trials)
            wrong = differences(outcome(calm), outcome(full)) + unsound(full)
        finally:
            subprocess.run(["umount", str(small)], check=False)
    print(f"full disks {hits} of {args.hits} starts, violations {len(wrong)}, ", end="")
    print(f"{time.monotonic() - began:.0f} s")
    for line in wrong:
        print(f"differs: {line}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
