"""A study of 40 trials with real noise, killed on the way, and written out without its clocks.

The study has keeps, discards, crashes, skips, confirmations that succeed, fail and stay open, and
four `kill -9` of the loop in the middle of a run. Its dump must be the same, byte for byte,
whichever version wrote it: states, statuses and purposes are written in the words of schema 3.

    python benchmarks/faults/record.py > tests/fixtures/study-40.dump
    python benchmarks/faults/record.py --fixture tests/fixtures/schema3  (old version only)
    python benchmarks/faults/record.py --from tests/fixtures/schema3     (goes on from there)
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoresearch.errors import ProposerError
from autoresearch.proposers import Proposal

HERE = Path(__file__).parent
EPOCH = "1770000000"  # commits of equal content get equal hashes
TAG = "r"
TRIALS = 40
FILES = {
    "task.toml": """\
name = "record"
command = "python run.py"
editable = ["train.py"]
sandbox = "off"
[metric]
name = "score"
[budget]
timeout = 60
[limits]
free_disk_gb = 0.000001
[keep]
steps = 3
""",
    "run.py": """\
import os
import pathlib
import random
import time
import train
seed = int(os.environ["AUTORESEARCH_SEED"])
if os.environ.get("RECORD_HANG") == str(seed):
    pathlib.Path(os.environ["RECORD_HUNG"]).touch()
    time.sleep(600)
print("score:", train.SCORE + random.Random(seed).gauss(0, 1))
""",
    "train.py": "SCORE = 50.0\nPAD_0 = 0\n",
    "program.md": "Make the score small.\n",
    ".gitignore": "__pycache__/\n",
}
# What each trial does to its parent's train.py: a number is added to its score.
PLAN: tuple[float | str, ...] = (
    -1.5, 2.0, -0.4, "crash", -0.4, "longer", -0.4, "same", -2.0, "duplicate",
    -0.3, -0.3, "simpler", "link", -0.3, -0.3, "silent", -0.3, 3.0, -0.3,
    -2.5, -1.0, "duplicate", -1.0, "longer", "crash", 0.1, -0.2, "same", -0.2,
    -0.2, 1.0, 1.0, 1.0, 1.0, -0.2, "simpler", 1.0, -3.0, -0.5,
)  # fmt: skip
KILLS = (2042, 9044, 24044, 35070)  # seeds of the runs in which the loop is killed
OPEN = 2  # of them, the one while a stack is open: there the fixture is taken

# ---- the study -----------------------------------------------------------------------------------


def edited(text: str, what: float | str, number: int) -> str:
    """The next train.py, made of its parent's."""
    lines = text.splitlines()
    if isinstance(what, float):
        lines[0] = f"SCORE = {float(lines[0].partition('=')[2]) + what + number / 1000:.6f}"
    elif what in ("crash", "silent"):
        lines.append(f"raise SystemExit({number if what == 'crash' else 0})")
    elif what == "longer":
        lines.append(f"PAD_{number} = [{number}, {number}]")
    elif what == "simpler":
        lines = lines[:1]
    elif what == "duplicate":
        lines = [*FILES["train.py"].splitlines(), f"# comment {number}"]
    return "\n".join(lines) + "\n"


class Script:
    """Plays the plan; which entry is next follows from the ledger alone."""

    name = "script"

    def __init__(self, ledger: Any) -> None:
        self.ledger = ledger

    def propose(self, workspace: Path, brief: Any) -> Proposal:  # noqa: ARG002
        """Write what the plan says for this trial."""
        trials = self.ledger.trials()
        number = sum(trial.proposer == self.name for trial in trials)
        if number >= TRIALS:
            raise ProposerError("The script is over.")
        what, path = PLAN[number], workspace / "train.py"
        text = edited(path.read_text(), what, number)
        if what == "link":
            path.unlink()
            path.symlink_to("run.py")
        else:
            path.write_text(text)
        return Proposal(f"{number}: {what}", cost_usd=0.25, tokens=number)


def ours(name: str, *modules: str) -> Any:
    """A name of AutoResearch, from the first of these modules that this version has."""
    for module in modules:
        with contextlib.suppress(ImportError, AttributeError):
            return getattr(importlib.import_module(f"autoresearch.{module}"), name)
    raise SystemExit(f"This version has no {name}.")


def play(lab: Path) -> None:
    """The loop, until the script is over."""
    open_study = ours("open_study", "study.opening", "opening")
    research = ours("research", "study.loop", "loop")
    limits = ours("StopLimits", "study.loop") if _is_new() else ours("Limits", "loop")
    executor = ours("LocalExecutor", "executors.local")()
    task, strategy = task_and_strategy(lab)
    with open_study(task, TAG, strategy, executor) as study:
        print(research(study, Script(study.ledger), limits()))


def task_and_strategy(lab: Path) -> tuple[Any, Any]:
    """The lab's task, and the rule of its study."""
    task = ours("Task", "lab.task", "task").load(lab)
    if hasattr(task.keep, "rule"):  # the recorded study is one of the first version of the rule
        task = replace(task, keep=replace(task.keep, rule=1))
    return task, ours("make_strategy", "strategies.registry")("confirm", task.keep)


def _is_new() -> bool:
    return importlib.util.find_spec("autoresearch.lab") is not None


# ---- starting and killing it ---------------------------------------------------------------------


def environment(**more: str) -> dict[str, str]:
    """What all processes share: dates and people of commits are always the same."""
    dates = {f"GIT_{who}_DATE": f"@{EPOCH} +0000" for who in ("AUTHOR", "COMMITTER")}
    nobody = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    return {**os.environ, **dates, **nobody, "SOURCE_DATE_EPOCH": EPOCH, **more}


def git(lab: Path, *words: str, stdin: bytes = b"") -> bytes:
    """Plain git in the lab."""
    identity = ("-c", "user.name=r", "-c", "user.email=r@localhost")
    command = ["git", *identity, *words]
    return subprocess.run(
        command, cwd=lab, env=environment(), input=stdin, check=True, capture_output=True
    ).stdout


def make_lab(lab: Path) -> None:
    """A committed lab, the same commit every time."""
    lab.mkdir(parents=True)
    for name, text in FILES.items():
        (lab / name).write_text(text)
    git(lab, "init", "-q", "-b", "main")
    git(lab, "add", "-A")
    git(lab, "commit", "-qm", "lab")


def start(lab: Path, **more: str) -> subprocess.Popen[bytes]:
    """The loop in a process of its own."""
    words = [sys.executable, str(Path(__file__).resolve()), "--play", str(lab)]
    return subprocess.Popen(
        words, env=environment(**more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def kill_at(lab: Path, seed: int) -> None:
    """Kill the loop in the middle of the run that has this seed."""
    hung = lab.parent / f"hung-{seed}"
    process = start(lab, RECORD_HANG=str(seed), RECORD_HUNG=str(hung))
    while not hung.exists():
        if process.poll() is not None:
            raise SystemExit(f"no run has the seed {seed}:\n{process.communicate()[0].decode()}")
        time.sleep(0.01)
    process.kill()
    process.communicate()


def finish(lab: Path) -> None:
    """To the end of the script."""
    printed = start(lab).communicate()[0].decode()
    if "script is over" not in printed:
        raise SystemExit(f"the study did not come to its end:\n{printed}")


# ---- what is left of it --------------------------------------------------------------------------

NEWER = {"explanation"}  # columns that schema 3 does not have
CLOCKS = {"created", "seconds", "load", "memory_gb", "at"}
OLD_WORDS = {
    "state": {"executed": "ran", "measured": "judged"},
    "purpose": {"confirm": "proof"},
    "reason": {"unconfirmed": "unproven"},
}
OLD_NAMES = {"purpose": "role"}


def dump(lab: Path) -> str:
    """The whole study as text: trials, runs, costs, verdicts, refs, results.tsv."""
    with contextlib.closing(sqlite3.connect(lab / f".autoresearch/{TAG}/ledger.db")) as db:
        db.row_factory = sqlite3.Row
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        run = "run" if "run" in tables else "attempt"
        parts = {
            "trials": _rows(db, "SELECT * FROM trial ORDER BY number"),
            "runs": _rows(db, f"SELECT * FROM {run} ORDER BY trial, number"),
            "spend": _rows(db, "SELECT * FROM spend ORDER BY rowid"),
        }
    refs = git(lab, "for-each-ref", "--format=%(refname) %(objectname) %(tree)").decode()
    parts |= {
        "verdicts": [json.dumps(each) for each in verdicts(lab)],
        "refs": [line for line in refs.splitlines() if f"/{TAG}/owner " not in line],  # an id
        "results.tsv": _old_table((lab / "results.tsv").read_text()),
    }
    return "".join(f"# {name}\n" + "\n".join(lines) + "\n\n" for name, lines in parts.items())


def _old_table(text: str) -> list[str]:
    """The table as schema 3 wrote it: values with six decimals."""
    heading, *lines = _old_note(text).splitlines()
    rows = [line.split("\t", 2) for line in lines]
    return [heading, *(f"{commit}\t{float(value):.6f}\t{rest}" for commit, value, rest in rows)]


def _rows(db: sqlite3.Connection, query: str) -> list[str]:
    return [json.dumps(_old_row(dict(row)), sort_keys=True) for row in db.execute(query)]


def _old_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row in the words of schema 3, without clocks."""
    if row.get("status") == "tentative":
        row |= {"status": "discard", "reason": row["reason"] or "step"}
    row |= {
        name: words.get(row[name], row[name]) for name, words in OLD_WORDS.items() if name in row
    }
    if "note" in row:
        row["note"] = _old_note(row["note"])
    return {
        OLD_NAMES.get(name, name): value
        for name, value in row.items()
        if name not in CLOCKS | NEWER
    }


def _old_note(text: str) -> str:
    return re.sub(r"(^|\t)confirmation of (?=#)", r"\1proof of ", text, flags=re.M)


def verdicts(lab: Path) -> list[list[Any]]:
    """What the strategy decides of each trial that ran, recomputed from the record."""
    task, rule = task_and_strategy(lab)
    ledger_class = ours("Ledger", "store.ledger", "ledger")
    found: list[list[Any]] = []
    path = lab / f".autoresearch/{TAG}/ledger.db"
    with contextlib.closing(ledger_class(path, task.metric)) as ledger:
        decide = getattr(rule, "decide", None) or rule.judge
        for trial in ledger.trials():
            if getattr(trial, "runs", None) or getattr(trial, "attempts", None):
                decided = decide(trial, ledger)
                row = {"status": decided.status and str(decided.status), "reason": decided.reason}
                found.append([trial.number, *_old_row(row).values()])
        at = rule.standing(ledger)
        kept = at.confirmed if hasattr(at, "confirmed") else at.proven
        claims = [
            [k.trial, k.claim.estimate, k.claim.low, k.claim.high, k.steps, k.shown] for k in kept
        ]
        incumbent = at.incumbent if hasattr(at, "incumbent") else at.anchor
        found.append([incumbent, at.tip, at.steps, at.noise.sd, at.level.value, claims])
    return found


# ---- the fixture: a study that an old version left, with an open stack and an unfinished run -----


def write_fixture(lab: Path, folder: Path) -> None:
    """The ledger as SQL, and all commits and refs, as text."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(lab / f".autoresearch/{TAG}/ledger.db")) as db:
        db.execute("UPDATE study SET value = 'a machine' WHERE key = 'machine'")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        lines = [*db.iterdump(), f"PRAGMA user_version = {version};"]
    (folder / "ledger.sql").write_text("\n".join(lines) + "\n")
    (folder / "commits.txt").write_bytes(git(lab, "fast-export", "--all"))


def read_fixture(folder: Path, lab: Path) -> None:
    """The lab and the study again, as they were written."""
    home = lab / ".autoresearch" / TAG
    home.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(home / "ledger.db")) as db:
        db.executescript((folder / "ledger.sql").read_text())
    git(lab, "init", "-q", "-b", "main")
    git(lab, "fast-import", "--quiet", stdin=(folder / "commits.txt").read_bytes())
    git(lab, "reset", "-q", "--hard", "main")


def record(lab: Path, kills: Sequence[int]) -> str:
    """The whole study, killed at these runs; its dump."""
    for seed in kills:
        kill_at(lab, seed)
    finish(lab)
    return dump(lab)


def main() -> None:
    """Play, or write the dump."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--play", type=Path, help="be the loop of this lab")
    parser.add_argument("--fixture", type=Path, help="write what the third kill leaves")
    parser.add_argument("--from", dest="start", type=Path, help="go on from a fixture")
    args = parser.parse_args()
    if args.play:
        return play(args.play)
    with tempfile.TemporaryDirectory() as root:
        lab = Path(root, "lab")
        if args.start:
            read_fixture(args.start, lab)
            kills = KILLS[OPEN + 1 :]
        else:
            make_lab(lab)
            kills = KILLS
        if args.fixture:
            for seed in KILLS[: OPEN + 1]:
                kill_at(lab, seed)
            return write_fixture(lab, args.fixture)
        print(record(lab, kills), end="")
    return None


if __name__ == "__main__":
    main()
