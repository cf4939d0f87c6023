"""A lab of a few lines whose score is a constant: tests know what a trial will be worth."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from autoresearch.executors.local import LocalExecutor
from autoresearch.lab.task import Task
from autoresearch.proposers.fake import Edit
from autoresearch.strategies.greedy import Greedy
from autoresearch.study.opening import open_study
from autoresearch.study.study import Study

TASK = """
name = "tiny"
command = "python run.py"
editable = ["train.py"]
[metric]
name = "score"
direction = "minimize"
range = [0.0, 100.0]
[budget]
timeout = 20
"""
RUN = """
import train
print("step 1 | progress 50% | loss 2.0")
print("---")
print("score:", train.SCORE)
"""
# The same lab with noise: a score that differs by about one from seed to seed.
NOISY = {
    "task_toml": TASK.replace("[0.0, 100.0]", "[-100.0, 1000.0]").replace(
        "[metric]", 'sandbox = "off"\n[metric]'
    ),
    "run_py": """
import os
import random
import train
print("score:", train.SCORE + random.Random(int(os.environ["AUTORESEARCH_SEED"])).gauss(0, 1))
""",
    "train_py": "SCORE = 50\n",
}
FILES = {
    "task.toml": TASK,
    "run.py": RUN,
    "train.py": "SCORE = 10.0  # what the run prints [0..20]\n",
    "program.md": "Make the score small.\n",
    ".gitignore": "__pycache__/\n",
}
# Edits by what they lead to; each is the whole of train.py.
CRASHES = "raise RuntimeError('boom')\n"
HANGS = "import time\nprint('waiting')\ntime.sleep(600)\n"
SILENT = "import sys\nprint('nothing to see')\nsys.exit(0)\n"
NAN = "SCORE = float('nan')\n"
OUTSIDE = "SCORE = -1.0\n"
OOM = "raise MemoryError('cannot allocate 80 GiB')\n"


def git(folder: Path, *args: str) -> str:
    """Plain git, as a person would use it."""
    done = subprocess.run(
        ["git", "-c", "user.name=T", "-c", "user.email=t@localhost", *args],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def make_lab(folder: Path, **changed: str) -> Path:
    """A committed lab; keyword arguments replace files (task_toml=... for task.toml)."""
    folder.mkdir(parents=True)
    files = FILES | {_file_name(key): text for key, text in changed.items()}
    for name, text in files.items():
        (folder / name).write_text(text)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "lab")
    return folder


@contextlib.contextmanager
def opened(lab: Path, tag: str = "t") -> Iterator[Study]:
    """A study of a lab, held, with real processes."""
    with open_study(Task.load(lab), tag, Greedy(), LocalExecutor()) as study:
        yield study


def scores(*values: float) -> list[Edit]:
    """Edits whose runs print these scores."""
    return [Edit({"train.py": f"SCORE = {value}\n"}, f"score {value}") for value in values]


def edit(text: str, note: str = "an edit") -> Edit:
    """An edit that writes this as train.py."""
    return Edit({"train.py": text}, note)


def files_of(folder: Path) -> dict[str, bytes]:
    """All of a lab's own files but the harness's state, by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
        and not {".git", ".autoresearch", "__pycache__"} & set(path.relative_to(folder).parts)
    }


def _file_name(key: str) -> str:
    stem, _, ending = key.rpartition("_")
    return f"{stem}.{ending}"
