"""Studies under the confirm rule, with real processes: steps and confirmations, and their words."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoresearch.cli import main
from autoresearch.cli.diagnosis import examine_study
from autoresearch.cli.words import summary_text
from autoresearch.executors.local import LocalExecutor
from autoresearch.lab.task import Task
from autoresearch.proposers.fake import ScriptedProposer
from autoresearch.store.heartbeat import Stage
from autoresearch.store.ledger import CLAIM, CONFIRM, NOISE, STEP, Status
from autoresearch.strategies.confirmation import SequentialConfirmation
from autoresearch.strategies.noise import PooledNoise
from autoresearch.strategies.registry import make_strategy
from autoresearch.study.collaborators import CallbackListener
from autoresearch.study.loop import StopLimits, research
from autoresearch.study.opening import open_study, read_study
from autoresearch.study.study import MEASURING, Study
from tiny_agents import Climber
from tiny_lab import NOISY, TASK, git, make_lab, scores

CLIMB = ("run", "--agent", "tiny_agents:Climber", "--tag", "t")
TIMING = NOISY | {"task_toml": NOISY["task_toml"] + '[keep]\nnoise = "timing"\n'}
Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A tiny lab whose baseline scores 50, give or take one."""
    return make_lab(tmp_path / "lab", **NOISY)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test alone."""
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def call(lab: Path, *words: str) -> int:
    """Run a command in a lab; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([*words, "--lab", str(lab)])
    return int(ended.value.code or 0)


def start(lab: Path, *words: str, **env: str) -> subprocess.Popen[str]:
    """Start a command in a process of its own, on a day that all commits share."""
    date = "@1770000000 +0000"
    more = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date, "SOURCE_DATE_EPOCH": date[1:11]}
    return subprocess.Popen(
        [sys.executable, "-m", "autoresearch", *words],
        cwd=lab,
        env=os.environ | {"PYTHONPATH": _path()} | more | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _path() -> str:
    """Where our agents are, and what this process itself may be told to import."""
    return os.pathsep.join(
        filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH")])
    )


@contextlib.contextmanager
def opened(lab: Path) -> Iterator[Study]:
    """A study of a lab under the rule that its task names."""
    task = Task.load(lab)
    with open_study(task, "t", make_strategy("confirm", task.keep), LocalExecutor()) as study:
        yield study


@pytest.fixture(scope="module")
def climbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A lab after seven trials of the climber, and what the run printed."""
    lab = make_lab(tmp_path_factory.mktemp("climbed") / "lab", **NOISY)
    return lab, start(lab, *CLIMB, "--trials", "7").communicate()[0]


def test_a_run_climbs_confirms_and_says_so_in_words(
    climbed: tuple[Path, str], capsys: Capsys
) -> None:
    """run, log, show, status: a step is called a step, and a confirmation says of what."""
    lab, out = climbed
    assert "#0 runs: baseline (run 1, to measure the noise)\n" in out
    assert "#0 runs: run 2, to measure the noise\n" in out
    assert "#1   step    score" in out
    first = "#8 runs: confirmation of 5 steps: pair 1 of 3, tip: #1 score 40, #2 score 30, #4 "
    assert first in out
    assert "#8 runs: confirmation of 5 steps: pair 2 of 3, tip, gain so far +" in out
    told = "7 experiments, 1 confirmation: 1 keep (5 steps), 2 discarded, 0 crashed.\n"
    assert f"{told}score 49.767759 → " in out
    assert "Confirmed side by side on fresh seeds: better by 48." in out

    call(lab, "log", "--tag", "t")
    lines = capsys.readouterr().out.splitlines()
    words = [line.split()[7] for line in lines[1:]]
    assert words == ["keep", STEP, STEP, "discard", STEP, STEP, "discard", STEP, "keep"]
    assert lines[-1].endswith("confirmation of #1 score 40, #2 score 30, #4 score 20, #5 score 10, "
                              "#7 score 0")  # fmt: skip

    call(lab, "show", "1")
    assert "status:   step" in capsys.readouterr().out
    call(lab, "show", "8")
    shown = capsys.readouterr().out
    assert "proposer: confirm" in shown
    assert "run:      0: confirm, score" in shown
    assert f"run:      1: confirm of {git(lab, 'rev-parse', 'main')[:7]}, score" in shown
    assert "run:      7: claim, score" in shown
    assert "load" not in shown  # noise is not that of time

    call(lab, "status", "--json")
    facts = json.loads(capsys.readouterr().out)
    assert facts["trials"] == 9
    expected = {"experiments": 7, "confirmations": 1, "keeps": 1, "kept_steps": 5, "discarded": 2}
    assert facts | expected | {"open_steps": 0, "best trial": 8} == facts
    assert git(lab, "show", "autoresearch/t:train.py") == "SCORE = 0"


def test_the_record_of_a_confirmation_is_whole(climbed: tuple[Path, str], capsys: Capsys) -> None:
    """JSON lines hold what ran, why, under which seed and load; the doctor finds nothing."""
    lab, _ = climbed
    call(lab, "export")
    trials = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    baseline, confirmation = trials[0]["runs"], trials[8]["runs"]
    assert [a["purpose"] for a in baseline] == [NOISE] * 4
    assert [a["purpose"] for a in confirmation] == [CONFIRM] * 6 + [CLAIM] * 2
    base = git(lab, "rev-parse", "main")
    assert [a["commit"] for a in confirmation] == ["", base, base, "", "", base, base, ""]
    seeds = [a["seed"] for a in confirmation]
    assert len(set(seeds)) == 8  # no run shares its luck with what it is compared with
    assert all(isinstance(a["load"], float) for a in confirmation)
    assert (trials[1]["lines"], trials[1]["nodes"]) == (0, 0)
    table = (lab / "results.tsv").read_text().splitlines()
    written = [str(Status(trial["status"]).public) for trial in trials]
    assert [line.split("\t")[3] for line in table[1:]] == written
    assert {trial["status"] for trial in trials} == {"keep", "tentative", "discard"}
    assert set(written) == {"keep", "discard"}
    with read_study(Task.load(lab)) as (ledger, paths, repository):
        assert all(f.good for f in examine_study(Task.load(lab), ledger, paths, repository))


def test_the_summary_shows_steps_that_are_not_confirmed(lab: Path, capsys: Capsys) -> None:
    """As Ctrl-C leaves them; and the command that it names confirms them."""
    task = Task.load(lab)
    with open_study(task, "t", make_strategy("confirm", task.keep), LocalExecutor()) as study:
        study.baseline()
        proposer = ScriptedProposer(scores(40, 30))
        steps = [study.step(proposer) for _ in "ab"]
        assert summary_text(study).endswith(
            "confirmed yet.\n2 steps look better, the last one measured 30.855304 (#2); not "
            "confirmed yet: that begins at 5 steps, or now, with autoresearch run --trials 0."
        ), [step.word for step in steps]
    assert call(lab, *CLIMB, "--trials", "0") == 0
    assert "not confirmed" not in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("kills", [["0/run-2", "8/run-3"], ["8/run-0", "8/run-7"]])
def test_a_study_killed_within_a_pair_ends_as_a_calm_one(tmp_path: Path, kills: list[str]) -> None:
    """kill -9 in the baseline's runs, in a pair, at its first or last run: the same table."""
    calm, shaken = (make_lab_of_a_day(tmp_path / name) for name in ("calm", "shaken"))
    words = (*CLIMB, "--trials", "1000")
    for place in kills:
        process = start(shaken, *words, CLIMBER_TRIALS="7")
        log = shaken / ".autoresearch" / "t" / "trials" / place / "run.log"
        deadline = time.monotonic() + 60
        while not log.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    for each in (calm, shaken):
        assert "High enough." in start(each, *words, CLIMBER_TRIALS="7").communicate()[0]
    tables = [(each / "results.tsv").read_bytes() for each in (calm, shaken)]
    assert tables[0] == tables[1]
    assert tables[0].count(b"\tkeep\t") == 2
    refs = [git(each, "show-ref").splitlines() for each in (calm, shaken)]
    owners = [[line for line in each if line.endswith("/owner")] for each in refs]
    assert [len(each) for each in owners] == [1, 1]  # it has the study's own id
    assert sorted(set(refs[0]) - set(owners[0])) == sorted(set(refs[1]) - set(owners[1]))


def make_lab_of_a_day(folder: Path) -> Path:
    """The same lab, and the same commit, every time."""
    lab = make_lab(folder, **NOISY)
    day = ("-c", "user.name=T", "-c", "user.email=t@localhost")
    env = os.environ | {f"GIT_{who}_DATE": "@1770000000 +0000" for who in ("AUTHOR", "COMMITTER")}
    words = ["git", *day, "commit", "-q", "--amend", "--no-edit", "--date", "@1770000000 +0000"]
    subprocess.run(words, cwd=lab, env=env, check=True)
    return lab


def test_what_is_open_is_confirmed_when_the_proposer_has_no_more(lab: Path) -> None:
    """A script that is over is an end like another: its steps are not left in the air."""
    with opened(lab) as study:
        assert "script is over" in research(study, ScriptedProposer(scores(30, 10)), StopLimits())
        last = study.ledger.trials()[-1]
        assert (last.proposer, last.note) == ("confirm", "confirmation of #1 score 30, #2 score 10")
        assert last.status is Status.KEEP


def test_a_time_limit_leaves_room_for_the_last_confirmation(lab: Path) -> None:
    """With time for a confirmation alone nothing new is begun, and the climb is confirmed."""
    with opened(lab) as study:
        study.baseline()
        assert study.finish_seconds() == 0.0
        study.step(Climber())
        needed = study.finish_seconds()
        assert needed == pytest.approx(2 * study.ledger.trial(0).seconds)  # 8 runs; there were 4
        limits = StopLimits(until=time.time() + 1000)
        assert limits.reached(1, 0.0) is None
        assert limits.reached(1, 1000.0) == "the time is up"
        why = research(study, Climber(), StopLimits(until=time.time() + needed / 2))
        assert why == "the time is up"
        assert [trial.proposer for trial in study.ledger.trials()][1:] == ["climber", "confirm"]
        assert study.finish_seconds() == 0.0


def test_try_leaves_a_step_in_place_and_puts_the_rest_back_to_it(lab: Path, capsys: Capsys) -> None:
    """The person's edit stands, is called a step and not the best, and is what comes next."""
    (lab / "train.py").write_text("SCORE = 40\n")
    assert call(lab, "try", "-m", "ten less", "--tag", "t") == 0
    assert "A step: it looks better, and is confirmed later." in capsys.readouterr().out
    assert (lab / "train.py").read_text() == "SCORE = 40\n"
    assert git(lab, "rev-parse", "autoresearch/t") == git(lab, "rev-parse", "main")
    assert call(lab, "try", "-m", "nothing") == 2
    assert "train.py: no change from" in capsys.readouterr().err
    (lab / "train.py").write_text("SCORE = 60\n")
    call(lab, "try", "-m", "twenty more")
    assert "Put back train.py to the step since the best, #0" in capsys.readouterr().out
    assert (lab / "train.py").read_text() == "SCORE = 40\n"


@pytest.mark.parametrize("gains", [True, False])
def test_the_steps_of_a_person_are_confirmed_too(
    tmp_path: Path, capsys: Capsys, gains: bool
) -> None:
    """Every second try is confirmed here: kept, or both edits are put back."""
    lab = make_lab(
        tmp_path / "lab",
        **NOISY | {"task_toml": NOISY["task_toml"] + "[keep]\nsteps = 2\n"},
    )
    if not gains:  # the gain is that of the seeds that screen
        text = (lab / "run.py").read_text()
        lucky = "int(os.environ['AUTORESEARCH_SEED']) % 1000 in (42, 43)"
        (lab / "run.py").write_text(f"{text}if not {lucky}:\n    print('score: 50')\n")
        git(lab, "commit", "-qam", "a lucky lab")
    for score in (40, 30):
        (lab / "train.py").write_text(f"SCORE = {score}\n")
        call(lab, "try", "-m", f"score {score}", "--tag", "t")
    said = capsys.readouterr().out
    assert "\ncheck:  " in said
    if gains:
        assert "next:   Kept: the steps up to here are confirmed, the new best is #3" in said
        assert (lab / "train.py").read_text() == "SCORE = 30\n"
        assert git(lab, "show", "autoresearch/t:train.py") == "SCORE = 30"
    else:
        assert "next:   Put back train.py to the best, #0" in said
        assert (lab / "train.py").read_text() == "SCORE = 50\n"


def test_one_study_has_one_rule(lab: Path, capsys: Capsys) -> None:
    """Another --strategy, or other settings under [keep], are refused once something is kept."""
    assert call(lab, *CLIMB, "--trials", "0") == 0
    capsys.readouterr()
    assert call(lab, *CLIMB, "--trials", "1", "--strategy", "greedy") == 2
    assert "begun with the strategy confirm, and greedy is asked for" in capsys.readouterr().err
    (lab / "task.toml").write_text(NOISY["task_toml"] + "[keep]\nconfidence = 0.9\n")
    git(lab, "commit", "-qam", "less sure")
    assert call(lab, *CLIMB, "--trials", "1") == 2
    assert "begun with confidence 0.99, min_delta 0" in capsys.readouterr().err
    (lab / "task.toml").write_text(NOISY["task_toml"] + '[keep]\nstrategy = "greedy"\n')
    git(lab, "commit", "-qam", "another rule")
    assert call(lab, *CLIMB, "--trials", "1") == 2
    assert "Fixed files differ" in capsys.readouterr().err
    assert call(lab, *CLIMB, "--trials", "1", "--tag", "t-2") == 0


def test_a_study_goes_on_with_the_version_of_the_rule_that_it_began_with(
    lab: Path, capsys: Capsys
) -> None:
    """A new study records the newest; a ledger that names none is of the first, a key agrees."""
    assert call(lab, *CLIMB, "--trials", "0") == 0
    with opened(lab) as study:
        assert study.ledger.facts["rule"] == "2"
        study.ledger._db.execute("DELETE FROM study WHERE key IN ('rule', 'scale')")
    assert call(lab, *CLIMB, "--trials", "0") == 0
    with opened(lab) as study:
        assert "rule" not in study.ledger.facts
        rule = study.strategy
        assert isinstance(rule, SequentialConfirmation)
        assert isinstance(rule.standing(study.ledger).noises, PooledNoise)
    capsys.readouterr()
    (lab / "task.toml").write_text(NOISY["task_toml"] + "[keep]\nrule = 2\n")
    git(lab, "commit", "-qam", "the newer rule")
    assert call(lab, *CLIMB, "--trials", "1") == 2
    err = capsys.readouterr().err
    assert "begun with version 1 of the keep rule, and keep.rule in task.toml is now 2" in err
    assert "Take the key out" in err


def test_a_study_of_a_newer_rule_is_refused(lab: Path, capsys: Capsys) -> None:
    """No older version stands in for a rule that this program does not know."""
    assert call(lab, *CLIMB, "--trials", "0") == 0
    with opened(lab) as study:
        study.ledger.remember(rule="3")
    capsys.readouterr()
    assert call(lab, *CLIMB, "--trials", "1") == 2
    err = capsys.readouterr().err
    assert "begun with version 3 of the keep rule, and this AutoResearch knows 1 to 2" in err
    assert "Traceback" not in err


def test_a_study_has_one_scale(lab: Path, capsys: Capsys) -> None:
    """Another scale would compare other numbers: refused, with what was seen."""
    assert call(lab, *CLIMB, "--trials", "0") == 0
    capsys.readouterr()
    changed = NOISY["task_toml"].replace("[metric]\n", '[metric]\nscale = "log"\n')
    (lab / "task.toml").write_text(changed)
    assert call(lab, *CLIMB, "--trials", "1") == 2
    assert "says scale 'log', and this study began with 'linear'" in capsys.readouterr().err


def test_a_log_scale_refuses_a_baseline_below_zero(tmp_path: Path, capsys: Capsys) -> None:
    """The first run says it: the value that was seen, and what is allowed."""
    changed = NOISY["task_toml"].replace("[metric]\n", '[metric]\nscale = "log"\n')
    files = NOISY | {"task_toml": changed, "run_py": "print('score:', -0.5)\n"}
    lab = make_lab(tmp_path / "lab", **files)
    assert call(lab, *CLIMB, "--trials", "1") == 1
    err = capsys.readouterr().err
    assert 'score is -0.5, and metric.scale is "log", which needs a number above 0' in err


def test_noise_that_task_toml_denies_is_an_error_that_can_be_mended(
    tmp_path: Path, capsys: Capsys
) -> None:
    """Two runs that differ are both told; with the setting mended the same study begins anew."""
    denied = NOISY["task_toml"] + '[keep]\nnoise = "none"\n'
    lab = make_lab(tmp_path / "lab", **NOISY | {"task_toml": denied})
    assert call(lab, *CLIMB, "--trials", "1") == 1
    err = capsys.readouterr().err
    assert 'The baseline runs, and is refused: keep.noise is "none", and two runs gave 49' in err
    assert "Traceback" not in err
    (lab / "task.toml").write_text(NOISY["task_toml"])
    git(lab, "commit", "-qam", "there is noise")
    assert call(lab, *CLIMB, "--trials", "1") == 0


def test_without_noise_one_run_decides(tmp_path: Path) -> None:
    """A command that always says the same needs no confirmation: better is kept at once."""
    task = TASK + '[keep]\nnoise = "none"\n'
    with opened(make_lab(tmp_path / "lab", task_toml=task)) as study:
        research(study, ScriptedProposer(scores(9, 9.5, 8)), StopLimits())
        trials = study.ledger.trials()
    assert [len(trial.runs) for trial in trials] == [2, 1, 1, 1]
    assert [trial.word for trial in trials] == ["keep", "keep", "discard", "keep"]


# ---- where time is measured ----------------------------------------------------------------------


@contextlib.contextmanager
def measuring(cache: Path) -> Iterator[object]:
    """Hold the lock as another study does that measures time."""
    cache.mkdir(exist_ok=True)
    with (cache / MEASURING).open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.write("process 1 of somebody")
        stream.flush()
        yield stream


def test_where_time_is_measured_runs_wait_for_each_other(tmp_path: Path, cache: Path) -> None:
    """A run begins when the other study's has ended, and the wait is told with its holder."""
    lab, heard = make_lab(tmp_path / "lab", **TIMING), []
    with opened(lab) as study, measuring(cache) as held:

        def hear(stage: Stage) -> None:
            heard.append((stage.verb, stage.note))
            if stage.verb == "wait":
                fcntl.flock(held, fcntl.LOCK_UN)  # type: ignore[call-overload]

        study.collaborators.attach(listener=CallbackListener(on_stage=hear))
        study.baseline()
    assert heard == [("wait", "process 1 of somebody")] + [("run", "baseline")] * 4


def test_other_studies_do_not_wait(lab: Path, cache: Path) -> None:
    """Only where noise is "timing" there is a lock."""
    with opened(lab) as study, measuring(cache):
        study.baseline()


def test_ctrl_c_ends_the_wait(tmp_path: Path, cache: Path) -> None:
    """A study that waits can be stopped like any other, and goes on later."""
    lab = make_lab(tmp_path / "lab", **TIMING)
    with measuring(cache):
        process = start(lab, *CLIMB, "--trials", "0")
        assert process.stdout is not None
        while "waits" not in (line := process.stdout.readline()):
            assert line, f"it ended without waiting: {process.communicate()}"
        assert line[9:] == (
            "#0 waits: another study measures time on this machine now (process 1 of somebody)\n"
        )
        process.send_signal(signal.SIGINT)
        assert "stopped by Ctrl-C" in process.communicate(timeout=30)[0]
        assert process.returncode == 130
    assert "#0   keep" in start(lab, *CLIMB, "--trials", "0").communicate()[0]


def test_where_time_is_measured_the_load_is_shown(
    tmp_path: Path, cache: Path, capsys: Capsys
) -> None:
    """`log` has a column of it and `show` tells that of every run."""
    lab = make_lab(tmp_path / "lab", **TIMING)
    call(lab, *CLIMB, "--trials", "0")
    capsys.readouterr()
    call(lab, "log")
    heading, line = capsys.readouterr().out.splitlines()
    assert heading.split() == ["trial", "time", "commit", "score", "GiB", "load", "status", "note"]
    assert float(line.split()[7]) >= 0
    call(lab, "show", "0")
    assert capsys.readouterr().out.count(", load ") == 4
