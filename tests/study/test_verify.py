"""verify, ablate, replay: what is left of a gain on seeds that nothing was chosen by."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from statistics import fmean

import pytest

from autoresearch.cli import main
from autoresearch.errors import VerifyError
from autoresearch.executors.local import LocalExecutor
from autoresearch.lab.metric import Metric
from autoresearch.lab.task import Task
from autoresearch.proposers import Brief, Proposal
from autoresearch.report.findings import findings
from autoresearch.store.extra_runs import ExtraRun, Gain, add_run, read_runs
from autoresearch.store.heartbeat import Stage
from autoresearch.store.ledger import Ledger, Status
from autoresearch.strategies.greedy import Greedy
from autoresearch.strategies.registry import make_strategy
from autoresearch.strategies.summary import claimed_gain, summarize
from autoresearch.study.collaborators import CallbackListener
from autoresearch.study.opening import open_study
from autoresearch.study.study import Study
from autoresearch.study.verify import ablate, repeats, replay, verify
from strategies.confirmed import Lab
from tiny_lab import TASK, git

# The score is what three constants add up to, and noise that the seed decides.
FILES = {
    "task.toml": TASK.replace('name = "tiny"', 'name = "tiny"\nsandbox = "off"'),
    "run.py": "import os, random, train\n"
    "level = train.A + train.B + train.C\n"
    "luck = random.Random(f\"{os.environ['AUTORESEARCH_SEED']} {level}\").gauss(0, train.NOISE)\n"
    "print('score:', level + luck)\n",
    "train.py": "A = 10.0\n\n\nB = 10.0\n\n\nC = 10.0\n\n\nNOISE = 0.1\n",
    "program.md": "Make the score small.\n",
}


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A lab whose baseline scores 30, give or take."""
    folder = tmp_path / "lab"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "lab")
    return folder


def edited(study: Study, old: str, new: str) -> Status | None:
    """A trial that replaces some text in the best's train.py."""
    parent = study.ask()
    text = study.workspaces.read(parent, "train.py")
    assert old in text
    edit = {"train.py": text.replace(old, new).encode()}
    return study.tell(parent, edit, Proposal(f"{old} -> {new}"), "hand").status


def climbed(study: Study) -> Study:
    """Three kept changes: A brings 2, B brings 1, and then A another 3."""
    study.baseline()
    for old, new in (("A = 10.0", "A = 8.0"), ("B = 10.0", "B = 9.0"), ("A = 8.0", "A = 5.0")):
        assert edited(study, old, new) is Status.KEEP
    return study


def test_a_real_gain_is_found_again(lab: Path) -> None:
    """The gain of 6 is there on fresh seeds, with an interval, and about all of it survived."""
    with open_study(Task.load(lab), "t", Greedy(), LocalExecutor()) as study:
        found = verify(climbed(study), 4)
        (compared,) = found.compared
        assert (found.best, found.seeds, compared.name) == (3, 4, "score")
        assert compared.gain.mean == pytest.approx(6.0, abs=0.5)
        assert compared.gain.low is not None
        assert compared.gain.low < 6.0 < (compared.gain.high or 0)
        assert found.survived == pytest.approx(1.0, abs=0.15)
        assert found.noise is not None
        assert 0.01 < found.noise.sd < 0.4
        seeds = {run.seed for run in read_runs(study.paths.extra_runs)}
        used = {a.seed for t in study.ledger.trials() for a in t.runs}
        assert len(seeds) == 4
        assert not seeds & used


def test_asking_again_makes_only_what_is_missing(lab: Path) -> None:
    """Runs are kept: the same question costs nothing, a larger one its difference."""
    with open_study(Task.load(lab), "t", Greedy(), LocalExecutor()) as study:
        climbed(study)
        first = verify(study, 2)
        assert len(read_runs(study.paths.extra_runs)) == 4
        assert verify(study, 2) == first
        assert len(read_runs(study.paths.extra_runs)) == 4
        verify(study, 3)
        assert len(read_runs(study.paths.extra_runs)) == 6


def test_luck_is_called_luck(lab: Path) -> None:
    """A change of nothing that a lucky seed kept has a claim and no gain."""
    with open_study(Task.load(lab), "t", Greedy(), LocalExecutor()) as study:
        study.baseline()
        for attempt in range(20):
            if edited(study, "C = 10.0", f"C = 10.0 + 0 * {attempt}") is Status.KEEP:
                break
        found = verify(study, 3)
        assert found.claimed > 0
        assert found.compared[0].gain.mean == 0.0  # the same on the same seeds
        assert found.survived == 0.0


def test_each_change_is_taken_out_alone(lab: Path) -> None:
    """What comes off is measured, what later changes stand on is named."""
    with open_study(Task.load(lab), "t", Greedy(), LocalExecutor()) as study:
        found = {one.trial: one for one in ablate(climbed(study), 2)}
        assert found[2].gain is not None
        assert found[2].gain.mean == pytest.approx(1.0, abs=0.5)
        assert found[3].gain is not None
        assert found[3].gain.mean == pytest.approx(3.0, abs=0.5)
        assert found[1].gain is None
        assert found[1].why_not == "later changes stand on it"
        told = {
            one.about: one.figure
            for one in findings(study.ledger, study.paths.extra_runs, summarize(study.ledger))
        }
        assert told["without #1 it loses"] == "?"
        assert told["on fresh seeds"] == "not checked yet"


def test_a_replay_agrees_with_what_was_recorded(lab: Path) -> None:
    """The same commit on the same seed gives the same number; nothing enters the ledger."""
    with open_study(Task.load(lab), "t", Greedy(), LocalExecutor()) as study:
        before = climbed(study).ledger.trials()
        heard: list[Stage] = []
        study.collaborators.attach(listener=CallbackListener(on_stage=heard.append))
        found = replay(study, 2)
        assert [(stage.verb, stage.who) for stage in heard] == [("run", "An earlier commit")]
        assert found.recorded == found.replayed
        assert found.agrees
        assert study.ledger.trials() == before


def test_a_replay_knows_all_runs_of_one_commit(tmp_path: Path) -> None:
    """A machine that grew busy after the baseline is noise as well: confirmations show it."""
    with contextlib.closing(Ledger(tmp_path / "a.db", Metric("score"))) as ledger:
        study = Lab(ledger)
        study.baseline(0.0, 0.1, 0.0, 0.1)
        calm = repeats(ledger)
        assert calm is not None
        assert (calm.df, calm.sd) == (3, pytest.approx(0.0577, abs=1e-4))
        study.edit(2.0, 4.0)
        busy = repeats(ledger)
        assert busy is not None
        assert busy.df == 4
        assert busy.sd == pytest.approx(((3 * calm.sd**2 + 2.0) / 4) ** 0.5)


def test_a_trial_that_never_ran_cannot_be_replayed(lab: Path) -> None:
    """The error has its reason."""
    with open_study(Task.load(lab), "t", Greedy(), LocalExecutor()) as study:
        study.baseline()
        study.tell(study.ask(), {"train.py": FILES["train.py"].encode()}, Proposal("same"), "me")
        with pytest.raises(VerifyError, match=r"never ran .no_change"):
            replay(study, 1)


def test_without_a_keep_there_is_nothing_to_verify(lab: Path) -> None:
    """A baseline alone has no gain."""
    with open_study(Task.load(lab), "t", Greedy(), LocalExecutor()) as study:
        study.baseline()
        with pytest.raises(VerifyError, match="no gain to check"):
            verify(study, 1)


def test_the_commands_tell_it(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """verify, ablate and replay print tables for people and JSON for machines; report has both."""
    with open_study(Task.load(lab), "t", Greedy(), LocalExecutor()) as study:
        climbed(study)
    at = ("--lab", str(lab))
    assert "95 % interval" in said(capsys, "verify", "--seeds", "2", *at)
    told = json.loads(said(capsys, "verify", "--seeds", "2", "--json", *at))
    assert told["compared"][0]["gain"]["mean"] == pytest.approx(6.0, abs=0.5)
    assert "later changes stand on it" in said(capsys, "ablate", *at)
    assert "agrees" in said(capsys, "replay", "1", *at)
    assert json.loads(said(capsys, "replay", "1", "--json", *at))["agrees"] is True
    report = said(capsys, "report", "-o", str(lab / "out"), *at)
    assert "of the claimed gain" in report
    assert "Is it real?" in (lab / "out" / "report.html").read_text()


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command prints."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert not ended.value.code, capsys.readouterr().err
    return capsys.readouterr().out


def test_a_study_that_is_not_there_is_named(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No study, no check: exit code 2 and what to do."""
    with pytest.raises(SystemExit) as ended:
        main(["verify", "--lab", str(lab)])
    assert ended.value.code == 2
    assert "autoresearch run" in capsys.readouterr().err


def test_a_line_that_was_cut_off_is_no_run(tmp_path: Path) -> None:
    """After a crash in mid-write the next run stands on a line of its own."""
    one, two = ExtraRun("t1", 1, 2.0, {"validation": 2.0}), ExtraRun("t2", 2, None, reason="oom")
    add_run(tmp_path, one)
    with (tmp_path / "runs.jsonl").open("a") as stream:
        stream.write('{"tree": "half')
    add_run(tmp_path, two)
    assert read_runs(tmp_path) == [one, two]


def test_an_interval_of_pairs() -> None:
    """Student's: mean ± t · sd / √n; a single pair has none."""
    gain = Gain.of([1.0, 2.0, 3.0])
    assert gain.mean == 2.0
    assert gain.high == pytest.approx(2.0 + 4.302653 / 3**0.5, rel=1e-5)
    assert Gain.of([1.0]) == Gain(1.0)


def test_a_keep_is_shown_at_what_its_confirmation_measured(lab: Path) -> None:
    """The confirmed gain stands beside it with its interval, and is added to nothing."""
    task = Task.load(lab)
    with open_study(task, "c", make_strategy("confirm", task.keep), LocalExecutor()) as study:
        study.baseline()
        for number in range(5):
            now = study.workspaces.read(study.ask(), "train.py")
            edit = {"train.py": now.replace(f"A = {10.0 - number}", f"A = {9.0 - number}").encode()}
            study.tell(study.ask(), edit, Proposal("one less"), "hand")
        kept = study.confirm(study.ask())
        assert kept.status is Status.KEEP
        summary = summarize(study.ledger)
        fresh = [run.value for run in kept.own]  # three pairs, and one more for the claim
        assert len(fresh) == 4
        assert summary.best is not None
        assert summary.best.value == pytest.approx(fmean(fresh))
        assert summary.gain is not None
        assert summary.gain.estimate == claimed_gain(study.ledger) == pytest.approx(5.0, abs=0.5)
        assert summary.gain.low < summary.gain.estimate < summary.gain.high


@pytest.mark.parametrize("noise", ["", "noise = 'none'", "runs = 2", "steps = 1"])
def test_a_study_is_told_by_the_rule_it_was_begun_with(
    lab: Path, capsys: pytest.CaptureFixture[str], noise: str
) -> None:
    """Whatever stands under [keep], and after a first baseline that failed: run, report, replay."""
    text = (lab / "task.toml").read_text()
    (lab / "task.toml").write_text(f"{text}[keep]\n{noise}\n")
    good = (lab / "train.py").read_text().replace("NOISE = 0.1", "NOISE = 0.0")
    (lab / "train.py").write_text("boom\n")
    git(lab, "commit", "-qam", "broken")
    with pytest.raises(SystemExit) as ended:
        main(["run", "--trials", "1", "--tag", "t", "--lab", str(lab)])
    assert ended.value.code == 1
    (lab / "train.py").write_text(good)
    git(lab, "commit", "-qam", "mended")
    agent = ("--agent", "study.test_verify:Lower")
    assert "Ended: 2 of 2" in said(capsys, "run", *agent, "--trials", "2", "--lab", str(lab))
    assert "better by 2.0" in said(capsys, "report", "-o", str(lab / "out"), "--lab", str(lab))
    assert "agrees" in said(capsys, "replay", "2", "--lab", str(lab))


class Lower:
    """Takes one from A, again and again."""

    name = "lower"

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """One less."""
        first, _, rest = (workspace / "train.py").read_text().partition("\n")
        value = float(first.removeprefix("A = ")) - 1
        (workspace / "train.py").write_text(f"A = {value}\n{rest}")
        return Proposal("one less")
