"""A quick lab and a proposer that always proposes the same: faults are compared with calm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from autoresearch.errors import ProposerError
from autoresearch.proposers import Brief, Proposal

HERE = Path(__file__).parent
EPOCH = "1770000000"  # commits of equal content get equal hashes
TASK = """
name = "faults"
command = "cat score.txt"
editable = ["score.txt"]
sandbox = "off"
[metric]
name = "score"
[budget]
timeout = 20
[limits]
free_disk_gb = 0.000001
"""
NOISY = """awk -v s="$AUTORESEARCH_SEED" '{ srand(s); print $1, $2 + 2 * rand() }' score.txt"""


class Script:
    """Trial n is better, worse or without a number, by n; over when there are enough."""

    name = "script"

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Write what follows from how many trials there are."""
        number = len(brief.history)
        if number > int(os.environ["FAULTS_TRIALS"]):
            raise ProposerError("The script is over.")
        texts = (f"score: {1000 - number}", f"score: {2000 + number}", f"no number: {number}?")
        (workspace / "score.txt").write_text(texts[number % 3] + "\n")
        return Proposal(f"step {number}")


def environment(trials: int, **more: str) -> dict[str, str]:
    """What all processes of a fault run share."""
    dates = {f"GIT_{who}_DATE": f"@{EPOCH} +0000" for who in ("AUTHOR", "COMMITTER")}
    return {
        **os.environ,
        **dates,
        "SOURCE_DATE_EPOCH": EPOCH,
        "PYTHONPATH": str(HERE),
        "FAULTS_TRIALS": str(trials),
        **more,
    }


def make_lab(folder: Path, *, noisy: bool = False) -> Path:
    """A committed lab, the same commit every time; with noise a keep takes a confirmation."""
    folder.mkdir(parents=True)
    command = f"'''{NOISY}'''" if noisy else '"cat score.txt"'
    (folder / "task.toml").write_text(TASK.replace('"cat score.txt"', command))
    (folder / "score.txt").write_text("score: 1000\n")
    identity = ("-c", "user.name=f", "-c", "user.email=f@localhost")
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-qm", "lab")):
        subprocess.run(["git", *identity, *words], cwd=folder, env=environment(0), check=True)
    return folder


def start(lab: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    """The loop in a process of its own."""
    words = [sys.executable, "-m", "autoresearch", "run", "--tag", "f", "--agent", "lab:Script"]
    return subprocess.Popen(
        words, cwd=lab, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(lab: Path, trials: int) -> None:
    """Run to the end without any fault."""
    process = start(lab, environment(trials))
    said = process.communicate(timeout=600)[0].decode()
    if "script is over" not in said:
        raise SystemExit(f"a run without faults did not come to its end:\n{said}")


def outcome(lab: Path) -> dict[str, str]:
    """All that must be the same in the end: table, branch, refs, ledger without its clocks."""
    export = [sys.executable, "-m", "autoresearch", "export", "--tag", "f"]
    said = subprocess.run(export, cwd=lab, capture_output=True, check=True).stdout.decode()
    trials = [json.loads(line) for line in said.splitlines()]
    clocks = ("created", "seconds", "memory_gb", "load")
    for trial in trials:
        for record in (trial, *trial["runs"]):
            for clock in clocks:
                record.pop(clock, None)
    refs = subprocess.run(["git", "show-ref"], cwd=lab, capture_output=True, check=True).stdout
    return {
        "results.tsv": (lab / "results.tsv").read_text(),
        "refs": "".join(line for line in refs.decode().splitlines(True) if "/owner" not in line),
        "ledger": json.dumps(trials, indent=1),
    }


def differences(calm: dict[str, str], shaken: dict[str, str]) -> list[str]:
    """Names of what differs."""
    return [name for name in calm if calm[name] != shaken[name]]


def unsound(lab: Path) -> list[str]:
    """What the doctor has to mend in the study."""
    words = [sys.executable, "-m", "autoresearch", "doctor", "--json", "--tag", "f"]
    found = json.loads(subprocess.run(words, cwd=lab, capture_output=True).stdout)
    study = ("ledger", "unfinished", "commits", "branch", "pins", "results.tsv")
    return [f"{f['name']}: {f['seen']}" for f in found if f["name"] in study and not f["good"]]
