"""run and try, with output for people and for machines."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from autoresearch.cli import main
from autoresearch.lab.task import Task
from autoresearch.proposers import Brief, ProposalFailed
from autoresearch.proposers.fake import ScriptedProposer
from autoresearch.proposers.record import Recorder
from autoresearch.study.loop import StopLimits, research
from autoresearch.study.opening import read_study
from tiny_lab import CRASHES, TASK, git, make_lab, opened, scores

COUNTDOWN = ("--agent", "tiny_agents:Countdown")


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A tiny lab whose baseline scores 10."""
    return make_lab(tmp_path / "lab")


def call(lab: Path, *words: str) -> int:
    """Run a command in a lab; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([*words, "--lab", str(lab)])
    return int(ended.value.code or 0)


def start(lab: Path, *words: str) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    return subprocess.Popen(
        [sys.executable, "-m", "autoresearch", *words],
        cwd=lab,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def descriptions(lab: Path) -> list[list[str]]:
    """results.tsv without commits and memory, which differ from run to run."""
    rows = [line.split("\t") for line in (lab / "results.tsv").read_text().splitlines()[1:]]
    return [[row[1], row[3], row[4]] for row in rows]


def test_run_prints_a_line_a_trial_and_a_summary(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The baseline comes first, --trials counts the others, and the last line has the gain."""
    assert call(lab, "run", *COUNTDOWN, "--trials", "3", "--tag", "t") == 0
    out = capsys.readouterr().out
    ends = [line.split()[1:3] for line in out.splitlines() if re.match(r"[\d:]{8} #\d   ", line)]
    assert ends == [["#0", "keep"], ["#1", "keep"], ["#2", "keep"], ["#3", "discard"]]
    told = out.splitlines()[-3:]
    assert told[0] == "3 experiments: 2 keeps, 1 discarded, 0 crashed."
    assert told[1].startswith("score 10.000000 → 8.000000 (-20.00 %), #2 on branch autoresearch/t")
    assert told[2] == "Better by 2.000000, exactly: runs of one commit are equal."


def test_run_goes_on_where_it_stopped(lab: Path) -> None:
    """A second run adds trials to the same study, and does not run the baseline again."""
    call(lab, "run", *COUNTDOWN, "--trials", "1")
    call(lab, "run", *COUNTDOWN, "--trials", "1")
    assert [row[2] for row in descriptions(lab)] == ["baseline", "score 9", "score 8"]


def test_run_json_prints_one_object_a_trial(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """stdout holds JSON lines and nothing else."""
    call(lab, "run", *COUNTDOWN, "--trials", "2", "--json")
    trials = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(trial["number"], trial["status"], trial["value"]) for trial in trials] == [
        (0, "keep", 10.0),
        (1, "keep", 9.0),
        (2, "keep", 8.0),
    ]


def test_run_uses_the_offline_proposer_when_no_agent_is_named(lab: Path) -> None:
    """It changes the lab's annotated constant."""
    assert call(lab, "run", "--trials", "3") == 0
    notes = [row[2] for row in descriptions(lab)]
    assert len(notes) == 4
    assert all(note.startswith("SCORE 10.0 -> ") or "SCORE" in note for note in notes[1:])


@pytest.mark.slow
def test_a_run_killed_at_any_instant_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """After kill -9 of the loop, repeated, the table equals that of an undisturbed run."""
    calm, shaken = make_lab(tmp_path / "calm"), make_lab(tmp_path / "shaken")
    words = ("run", "--agent", "tiny_agents:Nine", "--tag", "t")
    assert call(calm, *words) == 0
    for pause in (0.4, 0.47, 0.55, 0.63, 0.7, 0.78):
        process = start(shaken, *words)
        time.sleep(pause)
        process.kill()
        process.communicate()
    out, err = start(shaken, *words).communicate(timeout=60)
    assert "Nine are enough" in out + err
    assert descriptions(shaken) == descriptions(calm)
    best = [git(lab, "show", "autoresearch/t:train.py") for lab in (calm, shaken)]
    assert best[0] == best[1]


def asleep(lab: Path, *words: str) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A run whose first trial sleeps, and all processes below it."""
    process = start(lab, "run", "--agent", "tiny_agents:Sleeper", "--tag", "t", *words)
    log = lab / ".autoresearch" / "t" / "trials" / "1" / "run-0" / "run.log"
    wait_for(lambda: log.exists() and "asleep" in log.read_text())
    return process, psutil.Process(process.pid).children(recursive=True)


def test_ctrl_c_twice_ends_the_run_at_once(lab: Path) -> None:
    """The second one kills the trial, reports how to go on, and leaves no process behind."""
    process, below = asleep(lab)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    wait_for(lambda: "Ctrl-C: ends after" in process.stderr.readline())
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "stopped by Ctrl-C" in out
    assert "Traceback" not in err
    assert below
    wait_for(lambda: not any(child.is_running() for child in below))
    assert git(lab, "status", "--porcelain", "--untracked-files=no") == ""


def test_ctrl_c_once_lets_the_run_end(lab: Path) -> None:
    """The trial is finished and in the table; nothing new begins."""
    process, _ = asleep(lab)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    wait_for(lambda: "Ctrl-C: ends after" in process.stderr.readline())
    (lab / ".autoresearch" / "t" / "export" / "wake").touch()
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "#1   discard" in out
    assert "stopped by Ctrl-C; run again to go on" in out
    assert "Traceback" not in out + err
    assert len(descriptions(lab)) == 2


def test_a_replay_does_not_wait_again(lab: Path, tmp_path: Path) -> None:
    """Neither for a busy provider nor after a dozen empty proposals."""
    tape = tmp_path / "night.jsonl"
    failures = [ProposalFailed("busy", "slow down", retry_after=3600.0)] * 6
    failures += [ProposalFailed("empty", "nothing")] * 13

    def fails(workspace: Path, brief: Brief) -> str:
        raise failures.pop()

    script = Recorder(ScriptedProposer([*[fails] * len(failures), *scores(9)]), tape)
    with opened(lab) as study:
        assert "1 of 1" in research(study, script, StopLimits(trials=1), sleep=lambda _: None)
    process = start(lab, "run", "--replay", str(tape), "--tag", "again", "--trials", "1")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.count("No proposal (") == 19
    assert "score 10.000000 → 9.000000" in out


SLOW_AGENT = """#!{python}
import json, time, pathlib
print(json.dumps({{"type": "cost", "usd": 0.5, "tokens": 7000}}), flush=True)
pathlib.Path("train.py").write_text("SCORE = 9.5\\n")
count = pathlib.Path("{count}")
before = len(count.read_text()) if count.exists() else 0
count.write_text("x" * (before + 1))
time.sleep(0 if before < {quick} else 300)
"""
MINE = """
[agent.mine]
command = ["{agent}", "{{prompt}}"]
[[agent.mine.events]]
where = {{ type = "cost" }}
usd = "usd"
tokens = ["tokens"]
"""


@pytest.mark.parametrize("quick", [0, 1])
def test_ctrl_c_while_an_agent_works_records_its_cost(tmp_path: Path, quick: int) -> None:
    """The cost of the first proposal, or of one ahead, counts for --max-usd and status."""
    agent, count = tmp_path / "agent.py", tmp_path / "count"
    agent.write_text(SLOW_AGENT.format(python=sys.executable, count=count, quick=quick))
    agent.chmod(0o755)
    task = TASK.replace("[metric]", 'sandbox = "off"\n[metric]', 1) + MINE.format(agent=agent)
    lab = make_lab(tmp_path / "lab", task_toml=task)
    process = start(lab, "run", "--agent", "mine", "--tag", "t", "--trials", "2")
    wait_for(lambda: count.exists() and len(count.read_text()) > quick)
    if quick:  # the trial beside it is over: what remains is the agent
        wait_for(lambda: len(descriptions(lab)) == 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    with read_study(Task.load(lab), "t") as (ledger, _, _):
        assert ledger.spent() == (0.5 * (quick + 1), 7000 * (quick + 1))


def test_ctrl_c_while_nothing_runs_ends_at_once(lab: Path) -> None:
    """There is nothing to wait for while a study is paused."""
    call(lab, "run", "--trials", "0", "--tag", "t")
    call(lab, "pause")
    process = start(lab, "run", "--agent", "tiny_agents:Countdown", "--tag", "t")
    assert process.stdout is not None
    wait_for(lambda: "Paused" in process.stdout.readline())
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "stopped by Ctrl-C at once" in out


def test_a_paused_study_refuses_a_try(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is run or put back; after `resume` the same edit is tried."""
    call(lab, "run", "--trials", "0", "--tag", "t")
    call(lab, "pause")
    (lab / "train.py").write_text("SCORE = 7\n")
    assert call(lab, "try", "-m", "mine") == 2
    assert "is paused since" in capsys.readouterr().err
    assert (lab / "train.py").read_text() == "SCORE = 7\n"
    call(lab, "resume")
    assert call(lab, "try", "-m", "mine") == 0
    assert len(descriptions(lab)) == 2


def test_a_paused_study_waits_and_goes_on(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`pause` holds across restarts, `status` shows it, and `resume` ends it."""
    call(lab, "run", "--trials", "0", "--tag", "t")
    capsys.readouterr()
    assert call(lab, "pause") == 0
    assert capsys.readouterr().out == "Study t pauses. `autoresearch resume` goes on.\n"
    call(lab, "status")
    assert "no, and paused" in capsys.readouterr().out
    words = ("run", "--agent", "tiny_agents:Countdown", "--tag", "t", "--trials", "2")
    process = start(lab, *words)
    assert process.stdout is not None
    wait_for(lambda: "Paused" in process.stdout.readline())
    wait_for(lambda: "paused for" in status(lab, capsys))
    assert len(descriptions(lab)) == 1
    assert call(lab, "resume") == 0
    assert capsys.readouterr().out == "Study t goes on.\n"
    out, _ = process.communicate(timeout=60)
    assert "Resumed." in out
    assert len(descriptions(lab)) == 3
    call(lab, "resume")
    assert capsys.readouterr().out == "Study t was not paused.\n"


def status(lab: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The output of `status`."""
    call(lab, "status")
    return capsys.readouterr().out


def wait_for(condition: object) -> None:
    """Poll, for at most 20 seconds."""
    deadline = time.monotonic() + 20
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_run_stops_when_the_time_is_up(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--hours 0 runs the baseline and no more."""
    assert call(lab, "run", *COUNTDOWN, "--hours", "0") == 0
    assert "the time is up" in capsys.readouterr().out
    assert len(descriptions(lab)) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("run", "--until", "25:00"), "allowed is 07:30"),
        (("run", "--until", "2020-01-01T00:00"), "that time is over"),
        (("run", "--agent", "ofline"), "offline"),
        (("run", "--strategy", "gredy"), "greedy"),
        (("run", "--agent", "tiny_agents:Empty"), "Nothing is left to try"),
        (("run", "--tag", "a/b"), "--tag is 'a/b'"),
        (("run", "--trials", "-1"), "--trials"),
        (("show", "7"), "No study here yet"),
        (("runn",), "did you mean"),
    ],
)
def test_a_wrong_word_is_answered_with_the_right_one(
    lab: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    """Exit code 2, one message, no traceback."""
    assert call(lab, *words) == 2
    err = capsys.readouterr().err
    assert says in err
    assert "Traceback" not in err


def test_a_lab_that_does_not_run_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failed baseline is the lab's trouble: exit code 1 and the log's last line."""
    lab = make_lab(tmp_path / "lab", train_py=CRASHES)
    assert call(lab, "run", *COUNTDOWN) == 1
    assert "RuntimeError: boom" in capsys.readouterr().err


def test_a_command_that_cannot_start_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the missing program."""
    lab = make_lab(tmp_path / "lab", task_toml=TASK.replace("python run.py", "no-such-program x"))
    assert call(lab, "run", *COUNTDOWN) == 1
    err = capsys.readouterr().err
    assert "cannot_start" in err
    assert "no-such-program" in err


def test_no_lab_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For a folder without task.toml the message says how to make a lab."""
    assert call(tmp_path, "run") == 2
    assert "autoresearch init" in capsys.readouterr().err


def test_try_keeps_a_better_edit(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The person's edit becomes the best, and stays in the folder."""
    (lab / "train.py").write_text("SCORE = 7\n")
    assert call(lab, "try", "-m", "by hand", "--tag", "t") == 0
    assert "Kept" in capsys.readouterr().out
    assert (lab / "train.py").read_text() == "SCORE = 7\n"
    assert git(lab, "show", "autoresearch/t:train.py") == "SCORE = 7"
    assert descriptions(lab)[1:] == [["7.000000", "keep", "by hand"]]


@pytest.mark.parametrize("text", ["SCORE = 12\n", CRASHES])
def test_try_puts_back_the_best_after_a_discard_or_a_crash(
    lab: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    """The folder holds the best again, other files are untouched, and the edit is not lost."""
    (lab / "train.py").write_text("SCORE = 7\n")
    call(lab, "try", "-m", "good", "--tag", "t")
    (lab / "train.py").write_text(text)
    (lab / "notes.txt").write_text("mine")
    assert call(lab, "try", "-m", "worse") == 0
    assert "Put back train.py to the best, #1" in capsys.readouterr().out
    assert (lab / "train.py").read_text() == "SCORE = 7\n"
    assert (lab / "notes.txt").read_text() == "mine"
    assert git(lab, "show", "refs/autoresearch/t/2:train.py") == text.strip()


def test_try_without_an_edit_says_so(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first time the baseline runs; after that there must be an edit."""
    assert call(lab, "try", "-m", "baseline") == 0
    assert descriptions(lab) == [["10.000000", "keep", "baseline"]]
    assert call(lab, "try", "-m", "nothing") == 2
    assert "no change from the best" in capsys.readouterr().err


def test_try_reports_its_outcome_in_a_few_lines(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status, value, difference, why, what next: few lines, even when the run prints many."""
    flood = "for _ in range(5000):\n    print('noise')\n"
    (lab / "train.py").write_text(flood + "SCORE = 7\n")
    call(lab, "try", "-m", "good", "--tag", "t")
    first = capsys.readouterr().out.splitlines()
    assert first[0].split()[:4] == ["#0", "keep", "score", "10.000000"]
    assert first[1:4] == [
        "trial:  #1 good",
        "status: keep",
        "score:  7.000000 (-3.000000 to #0, its start)",
    ]
    assert first[4] == "next:   Kept: this is the new best, #1 (score 7.000000). Go on from here."
    (lab / "train.py").write_text(flood + CRASHES)
    call(lab, "try", "-m", "long " * 90)
    second = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in second] == ["trial", "status", "score", "why", "next"]
    assert second[3] == "why:    failed: RuntimeError: boom (exit code 1)"
    assert second[4].startswith("next:   Put back train.py to the best, #1 (score 7.000000).")
    assert all(len(line) < 330 for line in second)


def test_try_json_is_one_object(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The trial as `export` prints it, with the further facts of the text output."""
    (lab / "train.py").write_text("SCORE = 12\n")
    call(lab, "try", "-m", "worse", "--json")
    record = json.loads(capsys.readouterr().out)
    assert (record["number"], record["status"], record["value"]) == (1, "discard", 12.0)
    assert (record["word"], record["delta"], record["best"], record["best_trial"]) == (
        "discard",
        2,
        10,
        0,
    )
    assert record["why"] == "worse than #0 by 2"
    assert "Put back train.py" in record["next"]


NOISY = """
import os, random
import train
print("score:", train.SCORE + random.Random(os.environ["AUTORESEARCH_SEED"]).gauss(0, 0.01))
"""


def test_steps_made_by_try_are_confirmed_when_there_are_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Steps stay in place; after the last of the stack they are confirmed and kept together."""
    lab = make_lab(tmp_path / "lab", task_toml=TASK + "[keep]\nsteps = 2\n", run_py=NOISY)
    outputs = []
    for score in (9.0, 8.0):
        (lab / "train.py").write_text(f"SCORE = {score}\n")
        call(lab, "try", "-m", f"score {score}", "--tag", "t")
        outputs.append(capsys.readouterr().out)
    assert "status: step" in outputs[0]
    assert "A step: it looks better, and is confirmed later" in outputs[0]
    assert "check:  #3 keep score" in outputs[1]
    assert "the new best is #3" in outputs[1]
    assert max(len(text.splitlines()) for text in outputs) <= 12
    assert (lab / "train.py").read_text() == "SCORE = 8.0\n"
    assert git(lab, "show", "autoresearch/t:train.py") == "SCORE = 8.0"


def test_an_edit_made_while_a_trial_runs_is_not_lost(lab: Path) -> None:
    """A discard puts the files back; the later edit is saved in another folder."""
    later = "import pathlib\npathlib.Path({!r}).write_text('SCORE = 3  # next idea')\nSCORE = 12\n"
    text = later.format(str(lab / "train.py"))
    task = 'sandbox = "off"\n' + (lab / "task.toml").read_text()
    (lab / "task.toml").write_text(task)
    git(lab, "commit", "-qam", "no sandbox")
    (lab / "train.py").write_text(text)
    call(lab, "try", "-m", "edits the lab while it runs", "--tag", "t")
    assert (lab / "train.py").read_text().startswith("SCORE = 10.0")
    aside = lab / ".autoresearch" / "t" / "replaced" / "train.py"
    assert aside.read_text() == "SCORE = 3  # next idea"
