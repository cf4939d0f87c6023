"""Scoring: a command after the run, a judge beside it; with real git and real processes."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from autoresearch.errors import RunFailed
from autoresearch.executors import Executor
from autoresearch.executors.landlock import abi
from autoresearch.executors.local import LocalExecutor
from autoresearch.executors.probe import probe
from autoresearch.executors.sandbox import LandlockExecutor, SandboxExecutor
from autoresearch.lab.task import Task
from autoresearch.proposers import Proposal
from autoresearch.store.ledger import Trial
from autoresearch.strategies.greedy import Greedy
from autoresearch.study.opening import open_study
from autoresearch.study.study import Study
from executors.place import PLAIN_PYTHON
from tiny_lab import make_lab

SCORE = """
command = "python run.py"
editable = ["train.py"]
[metric]
name = "loss"
source = "score"
range = [0.0, 100.0]
[score]
command = "python score.py"
artefacts = ["model.json"]
timeout = 5
max_gb = 1e-5
[budget]
timeout = 20
"""
RUN = "import train\ntrain.main()\n"
SCORER = """
import os
model = open(os.path.join(os.environ["AUTORESEARCH_ARTEFACTS"], "model.json"), "rb").read()
os.write(3, model)  # here the model is its own verdict
print("loss: 0.001")
"""
LEAVES = "def main():\n    open('model.json', 'w').write({text!r})\n"
JUDGED = """
command = "python run.py"
editable = ["train.py"]
[metric]
name = "loss"
source = "judge"
range = [0.0, 100.0]
[judge]
command = "python judge.py"
[budget]
timeout = 20
"""
JUDGE = """
import json, os, socket, sys, time
server = socket.socket(socket.AF_UNIX)
server.bind(os.path.relpath(os.environ["AUTORESEARCH_SOCKET"]))
server.listen()
said = server.accept()[0].makefile().readline().strip()
if said == "die":
    os._exit(3)
if said == "hang":
    time.sleep(600)
if said == "fork":
    if os.fork() == 0:
        os.setsid()
        time.sleep(600)
verdict = {"metric": float(said)} if said.isdigit() else {"reason": "silence"}
open(os.environ["AUTORESEARCH_RESULT"], "w").write(json.dumps(verdict))
"""
SAYS = """
import os, socket, time
def main():
    sock = socket.socket(socket.AF_UNIX)
    while True:
        try:
            sock.connect(os.path.relpath(os.environ["AUTORESEARCH_SOCKET"]))
            break
        except OSError:
            time.sleep(0.02)
    sock.sendall(b"{word}\\n")
    time.sleep({wait})
"""


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A word that every process of the test has in its environment: afterwards none is alive."""
    word = uuid.uuid4().hex
    monkeypatch.setenv("AUTORESEARCH_MARK", word)
    yield word
    assert marked(word) == []


def marked(word: str) -> list[str]:
    """Command lines of the processes with a mark, but for our own."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get("AUTORESEARCH_MARK") == word:
                found.append(" ".join(process.cmdline()))
    return found


@pytest.fixture
def scored(tmp_path: Path, mark: str) -> Path:
    """A lab whose score command takes the model's word for it; the baseline is worth 10."""
    first = LEAVES.format(text='{"metric": 10}')
    return make_lab(tmp_path / "lab", task_toml=SCORE, run_py=RUN, train_py=first, score_py=SCORER)


@pytest.fixture
def judged(tmp_path: Path, mark: str) -> Path:
    """A lab with a judge of a few lines; the baseline is worth 10."""
    first = said("10")
    return make_lab(tmp_path / "lab", task_toml=JUDGED, run_py=RUN, train_py=first, judge_py=JUDGE)


def said(word: str, wait: float = 0.0) -> str:
    """A train.py that tells the judge one word."""
    return SAYS.replace("{word}", word).replace("{wait}", str(wait))


@contextlib.contextmanager
def study_of(lab: Path, executor: Executor | None = None) -> Iterator[Study]:
    """A study of a lab."""
    with open_study(Task.load(lab), "t", Greedy(), executor or LocalExecutor()) as study:
        yield study


def tried(lab: Path, text: str) -> Trial:
    """The trial of a train.py, after the baseline."""
    with study_of(lab) as study:
        if not len(study.ledger):
            study.baseline()
        return study.tell(study.ask(), {"train.py": text.encode()}, Proposal("an edit"), "test")


def outcome(trial: Trial) -> tuple[str, str, float | None]:
    """Status, the run's reason, and its number."""
    return str(trial.status), trial.runs[0].reason, trial.runs[0].value


# --- a command after the run -------------------------------------------------------------------


def test_the_score_commands_number_counts(scored: Path) -> None:
    """It is said on descriptor 3; what it prints, and what the run printed, is for people."""
    text = LEAVES.format(text='{"metric": 9, "numbers": {"n": 3}}') + "    print('loss: 0.5')\n"
    trial = tried(scored, text)
    (run,) = trial.runs
    assert outcome(trial) == ("keep", "", 9.0)
    assert run.trust == "log"  # the score command copies what the run wrote
    assert run.numbers["n"] == 3.0
    assert run.detail == "it printed 0.5; the score found 9"


def test_a_verdict_in_the_named_file(tmp_path: Path, mark: str) -> None:
    """$AUTORESEARCH_RESULT names the same place, for commands that write files."""
    task = SCORE.replace(
        '"python score.py"', "'cp $AUTORESEARCH_ARTEFACTS/model.json $AUTORESEARCH_RESULT'"
    )
    lab = make_lab(
        tmp_path / "lab", task_toml=task, run_py=RUN, train_py=LEAVES.format(text='{"metric": 7}')
    )
    with study_of(lab) as study:
        assert study.baseline().runs[0].value == 7.0


@pytest.mark.parametrize(
    "text",
    ["", "true", '{"metric": true}', '{"metric": NaN}', '{"metric": -Infinity}',
     '{"metric": 1e999}', '{"metric": 101}', '{"metric": "1"}', '{"metric": 1} {"metric": 2}',
     "loss: 1", "\x00"],
)  # fmt: skip
def test_a_verdict_that_breaks_a_rule(scored: Path, text: str) -> None:
    """What is no finite number in range is a crash, never a record."""
    assert outcome(tried(scored, LEAVES.format(text=text))) == ("crash", "invalid", None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def main():\n    pass\n", "no regular file model.json was left"),
        ("import os\ndef main():\n    os.mkdir('model.json')\n", "no regular file"),
        (
            "import os\ndef main():\n    os.symlink('/etc/hostname', 'model.json')\n",
            "no regular file",
        ),
        (LEAVES.format(text="x" * 20_000), "model.json has 20,000 bytes; at most 10,737"),
    ],
    ids=["missing", "folder", "link", "oversized"],
)
def test_an_artefact_that_cannot_be_scored(scored: Path, text: str, said: str) -> None:
    """Missing, a link (left behind), or too large: the score command is not even started."""
    trial = tried(scored, text)
    assert outcome(trial) == ("crash", "no_artefact", None)
    assert said in trial.runs[0].detail


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("exit 3", "no_score"),
        ("kill -9 $$", "no_score"),
        ("sleep 60", "no_score"),
        ("true", "invalid"),
        ("rm $AUTORESEARCH_RESULT", "no_metric"),
        ("ln -sf /etc/hostname $AUTORESEARCH_RESULT", "no_metric"),
        ("head -c 100000 /dev/zero >&3", "invalid"),
        ("sleep 600 & setsid sleep 600 & echo '{' >&3", "invalid"),
    ],
)
def test_a_score_command_without_a_verdict(
    tmp_path: Path, mark: str, command: str, reason: str
) -> None:
    """It fails, hangs, says nothing, or too much: no number, and nothing of it stays alive."""
    task = SCORE.replace('"python score.py"', f'"{command}"').replace("timeout = 5", "timeout = 1")
    lab = make_lab(tmp_path / "lab", task_toml=task, run_py=RUN, train_py=LEAVES.format(text="1"))
    with study_of(lab) as study:
        with pytest.raises(RunFailed, match=reason):
            study.baseline()
        (trial,) = study.ledger.trials()
    assert trial.runs[0].value is None


def test_a_run_that_failed_is_not_scored(scored: Path) -> None:
    """A good artefact of a run that ends with 1 counts for nothing."""
    text = LEAVES.format(text='{"metric": 1}') + "    raise SystemExit(1)\n"
    assert outcome(tried(scored, text)) == ("crash", "failed", None)


def test_the_score_command_is_the_studys_own(scored: Path) -> None:
    """A run that rewrites score.py in its own folder, or leaves one, changes no score."""
    text = LEAVES.format(text='{"metric": 9}')
    text += "    open('score.py', 'w').write('import os; os.write(3, b\\'{\"metric\": 0}\\')')\n"
    text += "    open('sitecustomize.py', 'w').write('raise SystemExit(1)')\n"
    assert outcome(tried(scored, text)) == ("keep", "", 9.0)


def test_scored_again_after_a_crash_of_the_loop(scored: Path) -> None:
    """A verdict is read once: the next trial starts without the last one's."""
    assert outcome(tried(scored, LEAVES.format(text='{"metric": 9}')))[2] == 9.0
    assert outcome(tried(scored, "def main():\n    pass\n"))[2] is None


# --- a judge beside the run --------------------------------------------------------------------


def test_the_judges_number_counts(judged: Path) -> None:
    """What it wrote is the number; what the run printed is told beside it."""
    trial = tried(judged, said("8") + "    print('loss: 0.25')\n")
    assert outcome(trial) == ("keep", "", 8.0)
    assert trial.runs[0].trust == "judge"
    assert trial.runs[0].detail == "it printed 0.25; the judge found 8"


def test_a_judge_that_dies(judged: Path) -> None:
    """Without a verdict there is no number, and the log of the judge is named."""
    trial = tried(judged, said("die", 0.5))
    assert outcome(trial) == ("crash", "no_verdict", None)
    assert "judge/run.log" in trial.runs[0].detail


def test_a_judge_that_leaves_something_behind(judged: Path) -> None:
    """A process that a judge detached ends with it."""
    trial = tried(judged, said("fork"))
    assert trial.runs[0].reason == "silence"


def test_a_judge_whose_client_never_connected_is_woken(judged: Path) -> None:
    """It accepts a connection and says so; a judge left waiting is killed, which is no_verdict."""
    trial = tried(judged, "def main():\n    print('loss: 0.1')\n")
    assert outcome(trial) == ("crash", "silence", None)


def test_a_run_that_fails_after_its_score(judged: Path) -> None:
    """A number does not make up for an exit code."""
    trial = tried(judged, said("8") + "    raise SystemExit(1)\n")
    assert outcome(trial) == ("crash", "failed", None)


@pytest.mark.slow
def test_a_judge_that_never_answers(judged: Path) -> None:
    """Half a minute after the run's end it is killed, and there is no number."""
    trial = tried(judged, said("hang"))
    assert outcome(trial) == ("crash", "no_verdict", None)


# --- what a run can see ------------------------------------------------------------------------

SEES = """
import os
from pathlib import Path
def main():
    cache, study = Path(os.environ["AUTORESEARCH_CACHE"]), Path.cwd().parent
    for path in (
        cache / "toy/data/train/text",
        cache / "toy/data/judge/answers",
        cache / "toy/raw/shard",
        study / "ledger.db",
    ):
        try:
            print(path.name, "is", path.read_bytes()[:2].decode())
        except OSError as error:
            print(path.name, "is", type(error).__name__)
    for path in (study, study / "trials", study / "pristine", cache / "toy/data/judge"):
        try:
            print(path.name, "holds", *sorted(set(os.listdir(path)) - {"export"}))
        except OSError as error:
            print(path.name, "is", type(error).__name__)
    open("model.json", "w").write('{"metric": 1}')
"""


@contextlib.contextmanager
def open_place() -> Iterator[Path]:
    """A folder that every user can reach."""
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o755)
        yield Path(home)


@pytest.mark.parametrize("level", ["bubblewrap", "landlock"])
def test_a_run_sees_training_data_and_no_answers(
    level: str, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a sandbox a run whose number is not its own reads train/ of the cache, and no more."""
    executor: Executor = SandboxExecutor() if level == "bubblewrap" else LandlockExecutor()
    if level == "bubblewrap" and probe().level != "bubblewrap":
        pytest.skip("no bubblewrap here")
    if level == "landlock" and (sys.platform != "linux" or not abi() or PLAIN_PYTHON is None):
        pytest.skip("no Landlock here")
    with open_place() as home:
        data = home / "cache" / "toy" / "data"
        for name in ("train/text", "judge/answers", "../raw/shard"):
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            (data / name).write_text("42")
        monkeypatch.setenv("AUTORESEARCH_CACHE", str(home / "cache"))
        task = SCORE.replace("python ", f"{PLAIN_PYTHON or 'python3'} ")
        lab = make_lab(home / "lab", task_toml=task, run_py=RUN, train_py=SEES, score_py=SCORER)
        with study_of(lab, executor) as study:
            trial = study.baseline()
            log = study.paths.log(0, 0).read_text().splitlines()
    assert outcome(trial) == ("keep", "", 1.0)
    assert trial.runs[0].sandbox == level
    assert log[0] == "text is 42"
    for line in log[1:]:
        assert line.endswith((" holds", "FileNotFoundError", "PermissionError")), line


def test_numbers_of_the_verdict_go_before_the_runs(scored: Path) -> None:
    """A number that both name is the score command's."""
    text = LEAVES.format(text=json.dumps({"metric": 9, "numbers": {"tokens": 5}}))
    trial = tried(scored, text + "    print('tokens: 999')\n")
    assert trial.runs[0].numbers["tokens"] == 5.0


def test_a_score_command_that_says_why_may_fail(tmp_path: Path, mark: str) -> None:
    """Its reason is kept when it ends with another code than 0; a number is not."""
    first = LEAVES.format(text='{"metric": 10}')
    failing = SCORER + "import sys\nsys.exit(0 if b'10' in model else 3)\n"
    lab = make_lab(tmp_path / "lab", task_toml=SCORE, run_py=RUN, train_py=first, score_py=failing)
    words = json.dumps({"invalid": "not a model", "feedback": "layers are missing"})
    invalid, bare = (tried(lab, LEAVES.format(text=text)) for text in (words, '{"metric": 5}'))
    assert (outcome(invalid), invalid.detail) == (("crash", "invalid", None), "not a model")
    assert invalid.feedback == "layers are missing"
    assert outcome(bare) == ("crash", "no_score", None)


COMPUTES = """
import json, os
left = json.load(open(os.path.join(os.environ["AUTORESEARCH_ARTEFACTS"], "model.json")))
{lines}
os.write(3, json.dumps({{"metric": metric}}).encode())
"""


@pytest.mark.parametrize(
    ("lines", "trust"),
    [
        ("metric = left['loss']", "log"),
        ("metric = round(left['loss'], 4)", "log"),
        ("metric = left['loss'] if len(left['radii']) == 2 else 99", "log"),
        ("metric = sum(left['radii'])", "score"),
        ("metric = sum(left['radii']) if left['loss'] > 0 else 99", "score"),
        ("metric = abs(left['loss'] - sum(left['radii']))", "score"),
    ],
)
def test_a_score_that_is_copied_has_the_trust_of_a_log(
    tmp_path: Path, mark: str, lines: str, trust: str
) -> None:
    """Whoever wrote the number gave it; a command that computes it is believed for what it is."""
    text = json.dumps({"loss": 3.14159, "radii": [1.0, 2.14159]})
    lab = make_lab(
        tmp_path / "lab",
        task_toml=SCORE,
        run_py=RUN,
        train_py=LEAVES.format(text=text),
        score_py=COMPUTES.format(lines=lines),
    )
    trial = tried(lab, LEAVES.format(text=text.replace("3.14159", "3.0")) + "# an edit\n")
    with study_of(lab) as study:
        runs = [run for one in study.ledger.trials() for run in one.runs]
    assert trial.runs and [run.trust for run in runs] == [trust] * 2
    assert not list(lab.rglob("forged"))
