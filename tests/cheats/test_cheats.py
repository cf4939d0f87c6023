"""Candidates that cheat, run by the real loop in a real sandbox: what becomes of each.

Each file beside this one is a candidate's train.py; its first line says how it cheats.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

pytest.importorskip("torch")
pytest.importorskip("tokenizers")

import autoresearch
from autoresearch.executors.probe import probe
from autoresearch.executors.sandbox import SandboxExecutor
from autoresearch.lab import constants
from autoresearch.lab.task import Task
from autoresearch.proposers import Proposal
from autoresearch.store.ledger import Trial
from autoresearch.strategies.greedy import Greedy
from autoresearch.study.opening import open_study
from autoresearch.study.study import Study
from tiny_lab import git

pytestmark = pytest.mark.cheats
HERE = Path(__file__).parent
LAB = Path(autoresearch.__file__).parent / "labs" / "nanogpt"
SETTINGS: dict[str, dict[str, object]] = {
    "prepare.py": {
        "DATASET": "local",
        "VOCAB_SIZE": 256,
        "MAX_SEQ_LEN": 32,
        "TIME_BUDGET": 1,
        "WARM_UP": 7,
        "EVAL_TOKENS": 4096,
    },
    "judge.py": {"ANSWERS": (2.0, 1.0)},
}
TASK = """
command = "python train.py"
editable = ["train.py"]
sandbox = "required"
[metric]
name = "val_bpb"
source = "judge"
range = [0.1, 20.0]
[judge]
command = "python prepare.py judge"
[budget]
seconds = 1
timeout = 25
"""


@dataclass(frozen=True)
class Fate:
    """What must become of a candidate."""

    reason: str = ""  # of the attempt; none: it is scored, and at what it is worth
    told: str = ""  # in the record's detail, or in the log


SCORED = Fate()
UNMASKED = Fate(told="it printed 0.2; the judge found")
FATES = {
    # it says what it likes: nobody listens
    "fake_early": SCORED,
    "fake_late": UNMASKED,
    "fake_atexit": UNMASKED,
    "fake_child": UNMASKED,
    "exits_silently": Fate("no_metric", "the run ended before it was scored"),
    "never_starts": Fate("no_metric", "the run ended before it was scored"),
    # it changes its own process and its own copies: nobody else's
    "patched_math": SCORED,
    "shadowed_imports": Fate("no_metric"),
    "edits_prepare": SCORED,
    "edits_judge": SCORED,
    "edits_tokenizer": Fate(told="Read-only file system"),
    # its answers
    "looks_ahead": Fate("tampered", "not causal"),
    "looks_ahead_at_times": Fate("tampered", "not causal"),
    "adapts": Fate("tampered", "not repeatable"),
    "unnormalised": SCORED,
    "infinite_logits": Fate("invalid", "non-finite logits"),
    "wrong_shape": Fate("failed", "must return logits of shape"),
    # its time
    "recognises_probes": Fate("tampered", "with another text later on"),
    "stopped_clock": Fate("overtime", "submitted after"),
    "past_the_budget": Fate("overtime", "submitted after"),
    "hidden_child": Fate("overtime", "submitted after"),
    "trains_while_asked": Fate("tampered"),
    "trains_before_the_answer": Fate("overtime", "one batch of the evaluation took"),
    "trains_evenly": Fate("tampered", "with another text later on"),
    "trains_before_the_start": Fate("overtime", "not started within 7 s"),
    # what it brings along, and what it looks for
    "smuggled_weights": Fate("tampered", "its weights come from elsewhere"),
    "caches_weights": SCORED,
    "reads_the_answers": Fate(told="seen"),
    # the conversation
    "kills_the_judge": SCORED,
    "floods_the_socket": Fate("tampered", "more than 65,536 bytes"),
    "many_messages": SCORED,
    "submits_twice": SCORED,
    "sends_a_pickle": Fate("tampered", "no JSON object"),
    "submits_before_the_start": Fate("tampered", "expected 'start'"),
    "claims_its_time": Fate("overtime", "submitted after"),
    "claims_its_score": Fate("tampered", "expected 'elapsed' or 'submit'"),
    "second_connection": Fate(told="Connection refused"),
    "maps_beyond": Fate(told="shrink [Errno 1]"),
    "closes_the_files": Fate("no_metric", "the run ended before it was scored"),
}
LIMITS = ("other_seed", "smuggled_after_the_start", "remembers_questions")  # not caught: see below


@dataclass(frozen=True)
class Arena:
    """A study with an honest baseline."""

    study: Study
    cache: Path
    honest: float

    def run(self, name: str) -> tuple[Trial, str]:
        """Let a candidate have its trial; the trial, and its log."""
        again = f"\nTRIAL = {len(self.ledger)}\n".encode()  # no two trials are of equal code
        edit = {"train.py": (HERE / f"{name}.py").read_bytes() + again}
        trial = self.study.tell(self.study.ask(), edit, Proposal(name), "test")
        return trial, self.study.paths.log(trial.number, 0).read_text(errors="replace")

    @property
    def ledger(self) -> list[Trial]:
        return list(self.study.ledger.trials())


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """A small nanogpt lab on text of its own, prepared and with its baseline run."""
    if (found := probe()).level != "bubblewrap":
        pytest.skip(f"no bubblewrap here: {found.why_not_higher}")
    root = tmp_path_factory.mktemp("cheats")
    lab, cache = root / "lab", root / "cache"
    make_lab(lab, root / "text.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTORESEARCH_CACHE", str(cache))
        subprocess.run([sys.executable, "prepare.py"], cwd=lab, check=True, capture_output=True)
        with open_study(Task.load(lab), "t", Greedy(), SandboxExecutor()) as study:
            baseline = study.baseline()
            assert baseline.value is not None
            yield Arena(study, cache, baseline.value)


def make_lab(lab: Path, text: Path) -> None:
    """The shipped judge and data, with a smaller train.py and small numbers."""
    rng = random.Random(0)
    words = [f"{a}{b}{c}" for a in "bdklm" for b in "aeiou" for c in ("n", "r", "st", "")]
    lines = (json.dumps({"text": " ".join(rng.choices(words, k=120))}) for _ in range(600))
    text.write_text("\n".join(lines))
    lab.mkdir()
    for name, values in SETTINGS.items():
        values = values | ({"LOCAL_PATH": str(text)} if name == "prepare.py" else {})
        (lab / name).write_text(constants.replace((LAB / name).read_text(), values))
    shutil.copy(HERE / "tiny.py", lab)
    shutil.copy(HERE / "honest.py", lab / "train.py")
    (lab / "task.toml").write_text(TASK)
    git(lab, "init", "-q", "-b", "main")
    git(lab, "add", "-A")
    git(lab, "commit", "-qm", "lab")


def hashes(folder: Path) -> dict[str, str]:
    """Every file below a folder, by the hash of its bytes."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def alive(cache: Path) -> list[str]:
    """Processes of a run or a judge of this suite: they all know its cache."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            mine = process.environ().get("AUTORESEARCH_CACHE") == str(cache)
            if mine and process.pid != os.getpid():
                found.append(" ".join(process.cmdline()))
    return found


@pytest.mark.parametrize("name", FATES)
def test_a_cheater_gains_nothing(arena: Arena, name: str) -> None:
    """It crashes with the reason, or is recorded at what it is worth; nothing around it changes."""
    before = hashes(arena.cache)
    trial, log = arena.run(name)
    (attempt,), fate = trial.runs, FATES[name]
    assert (attempt.reason, attempt.trust) == (fate.reason, "judge"), (attempt, log)
    assert fate.told in attempt.detail + log, (attempt, log)
    if fate.reason:
        assert (trial.status, attempt.value) == ("crash", None)
    else:
        assert trial.status in ("keep", "tentative", "discard")
        assert attempt.value is not None and attempt.value > 0.9 * arena.honest
    for word in ("FOUND", "KILLED", "CONNECTED", "TAMPERED", "DONE"):
        assert word not in log, log
    assert hashes(arena.cache) == before
    assert alive(arena.cache) == []


def test_every_cheat_is_run() -> None:
    """No candidate lies here without a fate, and each says in its first line how it cheats."""
    files = {p.stem for p in HERE.glob("*.py")} - {"test_cheats", "tiny", "honest"}
    assert files == {*FATES, *LIMITS, "rewrites_answers"}
    assert len(files) >= 24
    for name in files:
        first = (HERE / f"{name}.py").read_text().splitlines()[0]
        assert first.startswith('"""') and first.endswith('."""')


def test_an_honest_candidate_passes(arena: Arena) -> None:
    """The probes and limits let through who does nothing wrong; its times are in the record."""
    trial, _ = arena.run("honest")
    assert trial.status in ("keep", "tentative", "discard")
    assert trial.runs[0].value == pytest.approx(arena.honest, rel=0.25)
    numbers = trial.runs[0].numbers
    assert 1.0 <= numbers["judge_training_seconds"] < 3.0
    assert 0 < numbers["judge_warm_up_seconds"] < 7.0
    assert abs(numbers["judge_blind_gap"]) < 0.6


def test_weights_do_not_survive_a_trial(arena: Arena) -> None:
    """What one trial keeps in every place it can write, the next one does not find."""
    for _ in range(2):
        _, log = arena.run("caches_weights")
        assert "kept in /tmp" in log
        assert "FOUND" not in log


def test_answers_rewritten_while_they_are_read(arena: Arena) -> None:
    """Whichever moment the judge reads, it reads logits: no mixture of them is worth more."""
    trial, log = arena.run("rewrites_answers")
    value = trial.runs[0].value
    assert value is None or value > arena.honest, log


def test_a_seed_of_its_own_is_not_seen(arena: Arena) -> None:
    """A limit: seeds fished for within the budget cost budget, and are not forbidden otherwise."""
    trial, _ = arena.run("other_seed")
    assert trial.runs[0].reason == ""
    assert trial.runs[0].numbers["judge_training_seconds"] >= 1.0


def test_weights_smuggled_in_after_the_start_are_not_seen(arena: Arena) -> None:
    """A limit: what a file carries in a literal is in the diff, and its score is a true one."""
    trial, _ = arena.run("smuggled_after_the_start")
    assert trial.runs[0].reason == ""
    assert trial.runs[0].value is not None


def test_who_remembers_every_question_is_not_stopped(arena: Arena) -> None:
    """A limit: who answers alike wherever two rows begin alike passes; the record shows it.

    The gap is nearly all that it gained, in nats a token (a token is a byte here): it knows every
    token but the last of each row. How large that is depends on how far its model was trained.
    """
    trial, _ = arena.run("remembers_questions")
    assert trial.runs[0].reason == ""
    assert trial.runs[0].value is not None
    assert trial.runs[0].value < arena.honest / 2
    gained = math.log(2) * (arena.honest - trial.runs[0].value)
    assert trial.runs[0].numbers["judge_blind_gap"] > 0.9 * gained > 0.5
