"""The numpy-bigram lab: real studies, cheats, and judges and runs of two labs that talk."""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")

import autoresearch  # noqa: E402
from autoresearch.lab import constants  # noqa: E402
from tiny_lab import git  # noqa: E402

LABS = Path(autoresearch.__file__).parent / "labs"
HERE = LABS / "numpy-bigram"
SCRIPT = (HERE / "train.py").read_text(encoding="utf-8")


def run(folder: Path, *words: str, ok: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
    """A Python process in a folder, as a person would start it."""
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=os.environ | env, text=True, capture_output=True
    )
    assert not ok or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data."""
    folder = tmp_path_factory.mktemp("cache")
    run(HERE, "prepare.py", AUTORESEARCH_CACHE=str(folder), PYTHONDONTWRITEBYTECODE="1")
    return folder


@pytest.fixture(scope="module")
def lab(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A lab with a budget of a second, and its baseline."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTORESEARCH_CACHE", str(cache))
        folder = tmp_path_factory.mktemp("study") / "lab"
        run(folder.parent, "-m", "autoresearch", "init", "lab", "--lab", "numpy-bigram")
        text = (folder / "task.toml").read_text()
        assert "seconds = 3" in text
        (folder / "task.toml").write_text(text.replace("seconds = 3", "seconds = 1"))
        git(folder, "commit", "-qam", "a small budget")
        run(folder, "-m", "autoresearch", "run", "--trials", "0")
        yield folder


def trials(folder: Path) -> list[dict[str, Any]]:
    """All trials of a lab's study, as exported."""
    text = run(folder, "-m", "autoresearch", "export").stdout
    return [json.loads(line) for line in text.splitlines()]


def tried(folder: Path, text: str) -> dict[str, Any]:
    """What became of this train.py."""
    (folder / "train.py").write_text(text)
    run(folder, "-m", "autoresearch", "try", "-m", "an edit")
    return trials(folder)[-1]


@pytest.mark.slow
def test_a_study_of_five_trials_finds_something_better(cache: Path, tmp_path: Path) -> None:
    """Made by init, prepared and run as the docs say: judged, better, and nothing left behind."""
    env = {"AUTORESEARCH_CACHE": str(cache)}
    run(tmp_path, "-m", "autoresearch", "init", "lab", "--lab", "numpy-bigram")
    lab = tmp_path / "lab"
    run(lab, "-m", "autoresearch", "prepare", **env)
    run(lab, "-m", "autoresearch", "run", "--trials", "5", **env)
    found = trials(lab)
    assert {trial["status"] for trial in found} <= {"keep", "tentative", "discard"}, found
    assert all(trial["runs"][0]["trust"] == "judge" for trial in found)
    best = [trial for trial in found if trial["status"] == "keep"][-1]
    assert best["value"] < found[0]["value"] - 0.3
    assert git(lab, "status", "--porcelain") == ""


@pytest.mark.slow
def test_a_network_trains_for_the_budget_and_no_longer(lab: Path) -> None:
    """The other model is honest, too: judged, stopped by the clock, better than the table.

    The table has no noise and the network has: it is a step, to be confirmed, and no keep at once.
    How much better it becomes within its second depends on the machine.
    """
    trial = tried(lab, constants.replace(SCRIPT, {"MODEL": "mlp"}))
    assert (trial["status"], trial["reason"]) == ("tentative", ""), trial
    assert [run["purpose"] for run in trial["runs"]] == ["screen"] * 2 + ["noise"] * 2
    numbers = trial["runs"][0]["numbers"]
    assert 1.0 <= numbers["judge_training_seconds"] < 2.0
    assert numbers["judge_first_nats"] == pytest.approx(math.log(256))
    assert trial["value"] < trials(lab)[0]["value"]


LOOKS_AHEAD = """
class Cheat(Counts):
    def __call__(self, ids):
        logits = super().__call__(ids)
        if not self.tables[0].any():
            return logits
        following = np.roll(ids, -1, axis=1)
        np.put_along_axis(logits, following[..., None], 5.0, axis=-1)
        return logits
Counts = Cheat
"""
LEARNS_FROM_THE_QUESTIONS = """
class Cheat(Counts):
    def __call__(self, ids):
        logits = super().__call__(ids)
        if self.tables[0].any():
            np.add.at(self.tables[1], (self.bucket(ids[:, :-1], 1), ids[:, 1:]), 1)
        return logits
Counts = Cheat
"""
KNOWS_TWINS = """
class Cheat(Counts):
    def __call__(self, ids):
        logits = super().__call__(ids)
        heads = {row[: ids.shape[1] // 4].tobytes() for row in ids}
        if self.tables[0].any() and len(heads) == len(ids):  # no two rows begin alike: no probe?
            np.put_along_axis(logits, np.roll(ids, -1, axis=1)[..., None], 5.0, axis=-1)
        return logits
Counts = Cheat
"""
LEARNS_AND_REMEMBERS = """
class Cheat(Counts):
    seen = {}
    def __call__(self, ids):
        if not self.tables[0].any():
            return super().__call__(ids)
        if ids.tobytes() not in self.seen:
            self.seen[ids.tobytes()] = super().__call__(ids)
            np.add.at(self.tables[1], (self.bucket(ids[:, :-1], 1), ids[:, 1:]), 9)
        return self.seen[ids.tobytes()]
Counts = Cheat
"""
BEGINS_EARLY = """
class Cheat(Counts):
    def __init__(self):
        super().__init__()
        clock = type("Clock", (), {"elapsed": lambda self: 0, "budget": 1})
        self.train(prepare.training_text(), None, clock())
Counts = Cheat
"""
ENDS_LATE = """
class Cheat(Counts):
    def train(self, text, rng, link):
        time.sleep(2.5)
        return super().train(text, rng, link)
Counts = Cheat
"""
TALKS_NONSENSE = """
class Cheat(Counts):
    def train(self, text, rng, link):
        link.lines.sock.sendall(b"what?" + bytes([10]))
        time.sleep(1.0)
Counts = Cheat
"""
NOT_FINITE = """
class Cheat(Counts):
    def __call__(self, ids):
        return super().__call__(ids) - np.where(np.arange(256) == 7, np.inf, 0.0)
Counts = Cheat
"""
WRONG_SHAPE = """
class Cheat(Counts):
    def __call__(self, ids):
        return super().__call__(ids)[..., :-1 if self.tables[0].any() else None]
Counts = Cheat
"""
PRINTS_ANOTHER = 'import atexit; atexit.register(print, "val_bpb: 0.5")\n'
READS_THE_ANSWERS = 'prepare.hidden_rows("validation")\n'


def edited(cheat: str) -> str:
    """train.py with some lines before its last section."""
    head, rule, tail = SCRIPT.partition("\nif __name__")
    return head + "\n" + cheat + rule + tail


@pytest.mark.parametrize(
    ("cheat", "reason", "word"),
    [
        (LOOKS_AHEAD, "tampered", "not causal"),
        (KNOWS_TWINS, "tampered", "not causal"),
        (LEARNS_AND_REMEMBERS, "tampered", "not causal"),
        (LEARNS_FROM_THE_QUESTIONS, "tampered", "not repeatable"),
        (BEGINS_EARLY, "tampered", "weights come from elsewhere"),
        (ENDS_LATE, "overtime", "of a budget of 1 s"),
        (TALKS_NONSENSE, "tampered", "not a JSON object"),
        (NOT_FINITE, "invalid", "non-finite"),
        (WRONG_SHAPE, "failed", "(16, 128, 256) is due"),
    ],
)
def test_a_cheat_is_a_crash_that_says_why(lab: Path, cheat: str, reason: str, word: str) -> None:
    """What breaks the rules has no number, and its reason in the record."""
    trial = tried(lab, edited(cheat))
    assert (trial["status"], trial["reason"]) == ("crash", reason), trial
    assert word in trial["runs"][0]["detail"]


def test_what_a_run_prints_is_not_its_score(lab: Path) -> None:
    """The judge's number counts; a different printed one is reported."""
    trial = tried(lab, edited(PRINTS_ANOTHER))
    assert trial["value"] > 2.0
    assert "it printed 0.5" in trial["runs"][0]["detail"]


def test_a_run_cannot_open_the_answers(lab: Path) -> None:
    """In a sandbox the judge's part of the data is not there."""
    trial = tried(lab, edited(READS_THE_ANSWERS))
    if trial["runs"][0]["sandbox"] == "none":
        pytest.skip("this machine has no sandbox")
    assert trial["status"] == "crash", trial
    assert "data are not ready" in trial["runs"][0]["detail"]


def bigram_by_hand(folder: Path, prior: float = 4.0) -> tuple[Any, float]:
    """A bigram table from plain counts, as log probabilities [256, 256]; its bits per byte."""
    text = np.frombuffer((folder / "train" / "train.bin").read_bytes(), np.uint8)
    pairs = np.zeros((256, 256))
    np.add.at(pairs, (text[:-1], text[1:]), 1)
    one = (pairs.sum(axis=0) + prior / 256) / (pairs.sum() + prior)
    two = (pairs + prior * one) / (pairs.sum(axis=1, keepdims=True) + prior)
    asked = (folder / "judge" / "validation.bin").read_bytes()
    bits, count = 0.0, len(asked) // 129 // 16 * 16
    for row in range(count):
        part = asked[row * 129 : (row + 1) * 129]
        bits -= sum(math.log2(two[a, b]) for a, b in itertools.pairwise(part))
    return np.log(two), bits / count / 128


def test_by_hand_it_is_its_own_judge_and_agrees_with_plain_counting(cache: Path) -> None:
    """`python train.py` works alone; its score is what counting without any of its code gives."""
    done = run(HERE, "-B", "train.py", AUTORESEARCH_CACHE=str(cache), AUTORESEARCH_SEED="7")
    said = dict(line.split(": ") for line in done.stdout.split("---\n")[1].splitlines())
    (folder,) = cache.iterdir()
    assert float(said["val_bpb"]) == pytest.approx(bigram_by_hand(folder)[1], abs=2e-5)
    assert int(said["seed"]) == 7


def test_data_that_are_not_there_are_named_with_the_way_to_make_them(tmp_path: Path) -> None:
    """A run before prepare.py ends with one line."""
    done = run(HERE, "-B", "train.py", ok=False, AUTORESEARCH_CACHE=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "FAIL: the data are not ready; run: python prepare.py"


@pytest.mark.parametrize("script", ["prepare.py", "train.py", "judge.py"])
def test_where_numpy_is_missing_the_extra_is_named(script: str, tmp_path: Path) -> None:
    """Each of its scripts says what to install, in one line and without a traceback."""
    (tmp_path / "numpy.py").write_text("raise ImportError('there is no numpy')\n")
    done = run(HERE, "-B", script, ok=False, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "autoresearch[numpy]" in done.stderr


# --- one protocol: either lab's run with either lab's judge ---------------------------------------

CLIENTS = {
    "numpy-bigram": """
link = judge.Link(command)
link.start(lambda ids: blank[ids])
assert 0 <= link.elapsed() < 5
score = link.submit(lambda ids: table[ids])
told = {"seed": link.seed, "budget": link.budget}
""",
    "nanogpt": """
link = judge.Link(command)
write = lambda logits, buffer: buffer.__setitem__(slice(None), logits)
link.start(lambda ids: blank[ids], write)
assert 0 <= link.elapsed() < 5
score = link.submit(lambda ids: table[ids], write)
told = {"seed": link.told["seed"], "budget": link.told["budget"]}
""",
}
JUDGES = {
    "numpy-bigram": "judge.main()",
    "nanogpt": """
sys.path.insert(0, bigram)
import prepare
sets = {name: prepare.hidden_rows(name)[:496] for name in ("validation", "holdout")}
judge.main(judge.Exam(sets, np.ones(256, dtype=np.int64), 16, 7, 5.0, "wall"))
""",
}
HEAD = """
import json, sys
import numpy as np
lab, bigram, *rest = sys.argv[1:]
sys.path.insert(0, lab)
import judge
"""


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_run_of_one_lab_and_a_judge_of_another_understand_each_other(
    client: str, judge: str, cache: Path, tmp_path: Path
) -> None:
    """One model, any run's side with any judge's side, two processes: the same score."""
    (folder,) = cache.iterdir()
    table, bits = bigram_by_hand(folder)
    np.save(tmp_path / "table.npy", table.astype(np.float32))
    (tmp_path / "judge_side.py").write_text(HEAD + JUDGES[judge])
    asks = (
        "command, table = rest[:-1], np.load(rest[-1])\nblank = np.zeros_like(table)\n"
        + CLIENTS[client]
        + 'print(json.dumps({"score": score} | told))\n'
    )
    (tmp_path / "run_side.py").write_text(HEAD + asks)
    start = [sys.executable, "-B", str(tmp_path / "judge_side.py"), str(LABS / judge), str(HERE)]
    env = {
        "AUTORESEARCH_CACHE": str(cache),
        "AUTORESEARCH_RESULT": str(tmp_path / "verdict.json"),
        "AUTORESEARCH_SETS": "validation holdout",
        "AUTORESEARCH_SEED": "7",
        "AUTORESEARCH_BUDGET": "5",
    }
    words = (
        "-B",
        "run_side.py",
        str(LABS / client),
        str(HERE),
        *start,
        str(tmp_path / "table.npy"),
    )
    said = json.loads(run(tmp_path, *words, **env).stdout)
    assert said == {"score": said["score"], "seed": 7, "budget": 5.0}
    assert said["score"] == pytest.approx(bits, abs=1e-4)
    end = time.monotonic() + 10
    while not (tmp_path / "verdict.json").exists() and time.monotonic() < end:
        time.sleep(0.01)  # a judge may write after it has told
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    assert verdict["metric"] == verdict["scores"]["validation"] == said["score"]
    assert set(verdict["scores"]) == {"validation", "holdout"}
