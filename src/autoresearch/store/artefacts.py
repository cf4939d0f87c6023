"""Artefacts of runs (checkpoints, plots), of the best and the last two trials; proposal details."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from autoresearch.files import remove_tree, write_whole

FOLDER = "artefacts"
DETAILS = "proposal.json"
DEPTH = 16  # folders below the export that are looked into
MOST = 1000  # files that are kept of one run


def keep(export: Path, committed: Collection[str], target: Path) -> int:
    """Move a run's new regular files out of its export; returns how many.

    Links, devices, Python caches, files below DEPTH and files beyond MOST are left behind.
    """
    moved = 0
    for path in itertools.islice(_files(export), MOST):
        relative = path.relative_to(export)
        if str(relative) in committed:
            continue
        place = target / relative
        with contextlib.suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
            moved += 1
    return moved


def _files(root: Path) -> Iterator[Path]:
    """Regular files below a folder; no recursion, which deep folders would break."""
    waiting = [(root, 0)]
    while waiting:
        folder, depth = waiting.pop()
        with contextlib.suppress(OSError):
            for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
                inner = entry.is_dir(follow_symlinks=False)
                if inner and depth < DEPTH and entry.name != "__pycache__":
                    waiting.append((Path(entry.path), depth + 1))
                elif entry.is_file(follow_symlinks=False):
                    yield Path(entry.path)


def prune(trials: Path, wanted: Collection[int]) -> None:
    """Remove the artefacts of all trials but the wanted ones; logs stay."""
    for found in (*trials.glob(f"*/run-*/{FOLDER}"), *trials.glob(f"*/attempt-*/{FOLDER}")):
        number = found.parent.parent.name
        if not number.isdigit() or int(number) not in wanted:
            remove_tree(found)


def write_details(trial: Path, details: Mapping[str, str]) -> None:
    """Write a proposal's details into its trial's folder; disk errors are ignored."""
    with contextlib.suppress(OSError):
        if details:
            trial.mkdir(parents=True, exist_ok=True)
            write_whole(trial / DETAILS, json.dumps(dict(details), indent=1), durable=False)
        else:  # after a power cut a number may be used again
            (trial / DETAILS).unlink(missing_ok=True)


def read_details(trial: Path) -> dict[str, str]:
    """The details of a trial; empty when there are none."""
    try:
        details = json.loads((trial / DETAILS).read_text(encoding="utf-8"))
        return {str(name): str(value) for name, value in details.items()}
    except (OSError, ValueError, AttributeError):
        return {}
