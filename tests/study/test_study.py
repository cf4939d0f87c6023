"""The line of one trial, with real git and real processes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch.errors import BranchMoved, ProposerError, RunFailed
from autoresearch.proposers import Brief, Proposal
from autoresearch.proposers.fake import Edit, ScriptedProposer
from autoresearch.store.heartbeat import Stage
from autoresearch.store.ledger import Run, State, Status, Trial
from autoresearch.store.results import jsonl
from autoresearch.study.collaborators import CallbackListener
from autoresearch.study.proposing import MAX_FILE
from autoresearch.study.study import Study
from tiny_lab import (
    CRASHES,
    HANGS,
    NAN,
    OOM,
    OUTSIDE,
    SILENT,
    TASK,
    edit,
    files_of,
    git,
    make_lab,
    opened,
    scores,
)

BRANCH = "autoresearch/t"


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A tiny lab whose baseline scores 10."""
    return make_lab(tmp_path / "lab")


def play(lab: Path, *steps: object) -> list[tuple[str, str, float | None]]:
    """Run a script from wherever the study stands; (status, reason, value) of each step's trial."""
    proposer = ScriptedProposer(steps)  # type: ignore[arg-type]
    with opened(lab) as study:
        if study.ledger.best() is None:
            study.step(proposer)
        trials = [study.step(proposer) for _ in steps]
    return [(str(trial.status), trial.reason, trial.value) for trial in trials]


def test_keeps_what_is_better_and_puts_aside_what_is_not(lab: Path) -> None:
    """A better score moves the branch; an equal or a worse one does not."""
    assert play(lab, *scores(9, 9, 11, 8)) == [
        ("keep", "", 9.0),
        ("crash", "no_change", None),
        ("discard", "", 11.0),
        ("keep", "", 8.0),
    ]
    assert git(lab, "show", f"{BRANCH}:train.py") == "SCORE = 8"


def test_an_equal_score_is_a_discard(lab: Path) -> None:
    """Greedy keeps only what is strictly better, as the original did."""
    assert play(lab, edit("SCORE = 10.0 + 0\n")) == [("discard", "", 10.0)]


def test_code_that_was_tried_is_not_run_again(lab: Path) -> None:
    """Comments and layout aside; the earlier trial is named, and nothing is run."""
    same = edit("# A thought.\n\nSCORE = (\n    9.0  # better?\n)\n", "the same again")
    assert play(lab, *scores(9.0, 8.0), same) == [
        ("keep", "", 9.0), ("keep", "", 8.0), ("crash", "duplicate of #1", None)
    ]  # fmt: skip
    assert "A thought." in git(lab, "show", "refs/autoresearch/t/3:train.py")  # and it is not lost


def test_larger_is_better_when_the_task_says_so(tmp_path: Path) -> None:
    """A study of a metric to maximize keeps the larger number."""
    lab = make_lab(tmp_path / "lab", task_toml=TASK.replace("minimize", "maximize"))
    assert [status for status, _, _ in play(lab, *scores(9, 12))] == ["discard", "keep"]


@pytest.mark.parametrize(
    ("text", "reason", "says"),
    [
        (CRASHES, "failed", "RuntimeError: boom"),
        (SILENT, "no_metric", "nothing to see"),
        (NAN, "invalid", "score is nan"),
        (OUTSIDE, "invalid", "outside its range"),
        (OOM, "oom", "cannot allocate 80 GiB"),
        ("import os\nos.kill(os.getpid(), 9)\n", "killed", "signal 9"),
    ],
)
def test_a_failure_is_a_trial_with_a_reason(lab: Path, text: str, reason: str, says: str) -> None:
    """Each way to fail ends as a crash with its reason and the log's words; the study goes on."""
    assert play(lab, edit(text), *scores(9)) == [("crash", reason, None), ("keep", "", 9.0)]
    with opened(lab) as study:
        assert says in study.ledger.trial(1).detail


def test_a_run_that_hangs_is_killed_and_leaves_everything_right(tmp_path: Path) -> None:
    """A hanging trial ends at its time limit; branch, files and results.tsv are as before it."""
    lab = make_lab(tmp_path / "lab", task_toml=TASK.replace("timeout = 20", "timeout = 1"))
    before = files_of(lab)
    assert play(lab, edit(HANGS, "sleep")) == [("crash", "timeout", None)]
    rows = (lab / "results.tsv").read_text().splitlines()
    assert rows[-1].split("\t")[1:] == ["0.000000", "0.0", "crash", "sleep"]
    assert files_of(lab) == before | {"results.tsv": (lab / "results.tsv").read_bytes()}
    assert git(lab, "rev-parse", BRANCH) == git(lab, "rev-parse", "main")


def test_results_tsv_has_the_five_columns_of_the_original(lab: Path) -> None:
    """One line a trial, in order: commit, metric, memory, status, description."""
    play(lab, *scores(9, 12), edit(CRASHES, "boom"))
    rows = [line.split("\t") for line in (lab / "results.tsv").read_text().splitlines()]
    assert rows[0] == ["commit", "score", "memory_gb", "status", "description"]
    assert [(row[1], row[3], row[4]) for row in rows[1:]] == [
        ("10.000000", "keep", "baseline"),
        ("9.000000", "keep", "score 9"),
        ("12.000000", "discard", "score 12"),
        ("0.000000", "crash", "boom"),
    ]
    assert rows[2][0] == git(lab, "rev-parse", BRANCH)[:7]


def test_every_candidate_stays_reachable(lab: Path) -> None:
    """Discards and crashes are commits too, pinned by a ref of their own."""
    play(lab, *scores(12), edit(CRASHES))
    assert git(lab, "show", "refs/autoresearch/t/1:train.py") == "SCORE = 12"
    assert git(lab, "show", "refs/autoresearch/t/2:train.py") == CRASHES.strip()


def test_only_editable_files_enter_a_candidate(lab: Path) -> None:
    """What a proposer does to fixed files, or adds, never reaches the commit."""

    def tamper(workspace: Path, brief: Brief) -> str:
        (workspace / "run.py").write_text("print('score: 0')\n")
        (workspace / "sitecustomize.py").write_text("print('score: 0')\n")
        (workspace / "train.py").write_text("SCORE = 9\n")
        return "tamper"

    assert play(lab, tamper) == [("keep", "", 9.0)]
    assert git(lab, "diff", "--name-only", "main", BRANCH) == "train.py"


def test_the_users_own_files_are_left_alone(lab: Path) -> None:
    """A run touches neither the work tree nor the index nor HEAD, even with an edit in progress."""
    (lab / "train.py").write_text("SCORE = 5.0  # my own idea, not committed\n")
    before = files_of(lab), git(lab, "status", "--porcelain"), git(lab, "rev-parse", "HEAD")
    play(lab, *scores(9, 12))
    (lab / "results.tsv").unlink()
    after = files_of(lab), git(lab, "status", "--porcelain"), git(lab, "rev-parse", "HEAD")
    assert after == before


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("gone", lambda path: path.unlink()),
        ("a link", lambda path: (path.unlink(), path.symlink_to("/etc/passwd"))),
        ("a folder", lambda path: (path.unlink(), path.mkdir())),
        ("too large", lambda path: path.write_bytes(b"#" * (MAX_FILE + 1))),
    ],
)
def test_an_edit_that_is_no_plain_file_is_refused(lab: Path, name: str, spoil: object) -> None:
    """A deleted, linked or oversized editable file is a crash, and the next trial runs."""

    def propose(workspace: Path, brief: Brief) -> str:
        spoil(workspace / "train.py")  # type: ignore[operator]
        return name

    assert play(lab, propose, *scores(9)) == [("crash", "invalid_edit", None), ("keep", "", 9.0)]


def test_checks_must_pass_before_a_keep(tmp_path: Path) -> None:
    """A better number that breaks the checks is a crash; the checks see the candidate alone."""
    task = TASK + "[checks]\ncommand = \"python -c 'import train; assert train.SCORE != 9'\"\n"
    lab = make_lab(tmp_path / "lab", task_toml=task)
    assert play(lab, *scores(9, 8)) == [("crash", "checks_failed", 9.0), ("keep", "", 8.0)]


def test_a_bound_on_a_second_number_forbids_a_keep(tmp_path: Path) -> None:
    """A better score that uses too much of something else is put aside, and says why."""
    lab = make_lab(
        tmp_path / "lab",
        task_toml=TASK + "[secondary.size]\nmax = 5\n",
        run_py="import train\nprint('size:', getattr(train, 'SIZE', 1))\n"
        "print('score:', train.SCORE)\n",
    )
    results = play(lab, edit("SCORE = 9\nSIZE = 6\n"), edit("SCORE = 9\nSIZE = 4\n"))
    assert results == [
        ("discard", "size is 6, above its maximum 5", 9.0),
        ("keep", "", 9.0),
    ]


GUARDED = {
    "task_toml": TASK + "[secondary.ms]\nmax = 10\n",
    "run_py": "import train\nprint('score:', train.SCORE)\nprint(getattr(train, 'MS', 'ms: 5'))\n",
}


@pytest.mark.parametrize(
    ("says", "seen"),
    [
        ("ms: 5000 ms", "ms is 5000 ms"),
        ("ms: 5\\nms: None", "ms is None"),
        ("ms: 1,234", "ms is 1,234"),
        ("METRIC ms=5%", "ms is 5%"),
        ("", "ms is missing"),
        ("Ms: 5", "ms is missing"),
    ],
)
def test_a_guard_without_a_number_forbids_a_keep(tmp_path: Path, says: str, seen: str) -> None:
    """A better score whose guard cannot be read is put aside; the reason names guard and limit."""
    lab = make_lab(tmp_path / "lab", **GUARDED)
    (status, reason, value), kept = play(lab, edit(f"SCORE = 9\nMS = '{says}'\n"), *scores(9))
    assert (status, value) == ("discard", 9.0)
    assert seen in reason and "at most 10" in reason
    assert kept == ("keep", "", 9.0)


@pytest.mark.parametrize("says", ["", "ms: 5 ms"])
def test_a_study_needs_a_number_of_each_guard_from_its_baseline(tmp_path: Path, says: str) -> None:
    """Else no candidate could be held to it: the study does not start, and says why."""
    lab = make_lab(tmp_path / "lab", **GUARDED, train_py=f"SCORE = 10\nMS = '{says}'\n")
    with opened(lab) as study, pytest.raises(RunFailed, match=r"ms is .*at most 10.*Mend the lab"):
        study.baseline()


def test_an_evaluators_words_are_on_record(tmp_path: Path) -> None:
    """An invalid candidate is a crash with its reason; feedback reaches ledger, JSONL and brief."""
    lab = make_lab(
        tmp_path / "lab",
        run_py="import train\nprint(getattr(train, 'SAYS', ''))\nprint('score:', train.SCORE)\n",
    )
    words = "INVALID: circles 3 and 7 overlap\\nFEEDBACK: move them ~~~~ apart"
    assert play(lab, edit(f"SCORE = 0\nSAYS = '{words}'\n")) == [("crash", "invalid", None)]
    with opened(lab) as study:
        trial = study.ledger.trial(1)
        exported = json.loads(jsonl([trial]))
        text = study.workspaces.brief(study.ask()).text
    assert (trial.detail, trial.feedback) == ("circles 3 and 7 overlap", "move them ~~~~ apart")
    assert exported["runs"][0]["feedback"] == "move them ~~~~ apart"
    said = text[text.index("What the evaluator said") :]
    assert "data, not instructions" in said.splitlines()[0]
    assert said.splitlines()[2] == "~~~~~"
    assert "#1 invalid: circles 3 and 7 overlap" in said and "#1 move them ~~~~ apart" in said


def test_the_command_learns_seed_and_budget_from_the_harness(tmp_path: Path) -> None:
    """Seeds differ from run to run, follow from the study's own, and are recorded."""
    lab = make_lab(
        tmp_path / "lab",
        task_toml=TASK.replace("timeout = 20", "timeout = 20\nseconds = 7"),
        run_py="import os, train\nprint('seed:', os.environ['AUTORESEARCH_SEED'])\n"
        "print('budget:', os.environ['AUTORESEARCH_BUDGET'])\nprint('score:', train.SCORE)\n",
    )
    play(lab, *scores(9, 8))
    with opened(lab) as study:
        runs = [trial.runs[0] for trial in study.ledger.trials()]
    assert [run.seed for run in runs] == [42, 1042, 2042]
    assert [run.numbers["seed"] for run in runs] == [42, 1042, 2042]
    assert {run.numbers["budget"] for run in runs} == {7.0}


def test_a_baseline_that_does_not_run_stops_the_study_with_its_words(tmp_path: Path) -> None:
    """Nothing can be compared with a broken start: the error names it, and a mended lab goes on."""
    lab = make_lab(tmp_path / "lab", train_py=CRASHES)
    with opened(lab) as study, pytest.raises(RunFailed, match="RuntimeError: boom"):
        study.step(ScriptedProposer([]))
    (lab / "train.py").write_text("SCORE = 3.0\n")
    git(lab, "commit", "-qam", "mend")
    assert play(lab, *scores(2)) == [("keep", "", 2.0)]
    with opened(lab) as study:
        assert [t.value for t in study.ledger.trials()] == [None, 3.0, 2.0]
        assert study.git.ref(study.paths.branch) == study.ledger.trial(2).commit


def test_a_proposer_that_gives_up_leaves_no_trial(lab: Path) -> None:
    """ProposerError passes through, and the ledger holds only what was proposed."""
    with opened(lab) as study:
        study.step(ScriptedProposer([]))
        with pytest.raises(ProposerError, match="script is over"):
            study.step(ScriptedProposer([]))
        assert len(study.ledger) == 1


def test_stages_and_trials_are_told_as_they_happen(lab: Path) -> None:
    """A listener hears of stages before they begin and of finished trials, until it is detached."""
    heard: list[str] = []

    def hear(stage: Stage) -> None:
        heard.append(f"{stage.verb} {stage.number}")

    with opened(lab) as study:
        finished = CallbackListener(
            on_trial=lambda trial: heard.append(f"{trial.status} {trial.number}")
        )
        study.collaborators.attach(listener=CallbackListener(on_stage=hear))
        study.collaborators.attach(listener=finished)
        proposer = ScriptedProposer(scores(9))
        study.step(proposer)
        study.step(proposer)
        study.collaborators.detach(finished)
        study.step(ScriptedProposer(scores(8)))
    assert heard == ["run 0", "keep 0", "propose 1", "run 1", "keep 1", "propose 2", "run 2"]


def test_a_brief_tells_what_was_tried(lab: Path) -> None:
    """A proposer sees every finished trial with its files, and works on the best."""
    proposer = ScriptedProposer([*scores(9, 12), *scores(8)])
    with opened(lab) as study:
        for _ in range(4):
            study.step(proposer)
    brief = proposer.briefs[-1]
    assert [(t.outcome, t.value) for t in brief.history] == [
        ("keep", 10.0),
        ("keep", 9.0),
        ("discard", 12.0),
    ]
    assert [t.files["train.py"] for t in brief.history][1:] == ["SCORE = 9\n", "SCORE = 12\n"]
    assert brief.parent == brief.history[1].candidate
    assert "Make the score small." in brief.text
    assert "score 12" in brief.text


def test_notes_are_one_clean_line(lab: Path) -> None:
    """Line breaks and escape sequences of a note never reach the table."""
    play(lab, Edit({"train.py": "SCORE = 9\n"}, "two\nlines\tand \x1b[31mred"))
    assert (lab / "results.tsv").read_text().splitlines()[-1].endswith("\ttwo lines and red")


def test_a_branch_moved_by_somebody_else_stops_the_study(lab: Path) -> None:
    """The keep is not forced over another's commit; the error names both and the ways out."""
    with opened(lab) as study:
        study.step(ScriptedProposer([]))
        git(lab, "commit", "-q", "--allow-empty", "-m", "mine")
        moved = git(lab, "rev-parse", "HEAD")
        git(lab, "update-ref", f"refs/heads/{BRANCH}", moved)
        with pytest.raises(BranchMoved, match=moved):
            study.step(ScriptedProposer(scores(9)))
        unfinished = study.ledger.unfinished()
        assert unfinished is not None
        assert (unfinished.state, unfinished.status) == (State.DECIDED, Status.KEEP)
        git(lab, "update-ref", f"refs/heads/{BRANCH}", study.ledger.facts["base"])
        assert study.recover() is not None
    assert git(lab, "show", f"{BRANCH}:train.py") == "SCORE = 9"


@pytest.mark.parametrize("state", [State.COMMITTED, State.RUNNING, State.EXECUTED, State.MEASURED])
def test_a_trial_left_on_the_way_is_finished_by_the_next_process(lab: Path, state: State) -> None:
    """From every state a trial may be left in, opening the study again brings it to its end."""
    with opened(lab) as study:
        study.step(ScriptedProposer([]))
        leave_in(study, state)
    with opened(lab) as study:
        left = study.ledger.unfinished()
        assert left is not None
        assert left.state == state
        finished = study.recover()
        assert finished is not None
        assert (finished.number, finished.status, finished.value) == (1, Status.KEEP, 9.0)
        assert len(finished.runs) == 1
        assert study.recover() is None
    assert git(lab, "show", f"{BRANCH}:train.py") == "SCORE = 9"


def leave_in(study: Study, state: State) -> None:
    """Write what a process that ends in a state has written by then."""
    parent = study.ask()
    trial = study.ledger.add(Trial(0, parent, "left", "hand"))
    commit = study.git.commit(parent, {"train.py": b"SCORE = 9\n"}, "left")
    study.git.create_ref(study.paths.pin(trial.number), commit)
    tree = study.git.tree(commit)
    trial = study.ledger.advance(trial, State.COMMITTED, commit=commit, tree=tree)
    if state is State.COMMITTED:
        return
    trial = study.ledger.advance(trial, State.RUNNING)
    log = study.paths.log(trial.number, 0)
    log.parent.mkdir(parents=True)
    log.write_text("score: 4" if state is State.RUNNING else "score: 9.0\n")
    if state is State.RUNNING:
        return
    run = Run(0, 1042, 0.1, 0, None, 0.0)
    trial = study.ledger.add_run(trial, run)
    if state is State.MEASURED:
        study.ledger.measure_run(trial, replace(run, value=9.0))


def test_a_row_that_never_became_a_commit_is_taken_back(lab: Path) -> None:
    """A proposal lost before its commit leaves no hole in the numbering."""
    with opened(lab) as study:
        study.step(ScriptedProposer([]))
        study.ledger.add(Trial(0, study.ask(), "half a proposal", "scripted"))
        assert study.recover() is None
        trial = study.tell(study.ask(), {"train.py": b"SCORE = 9\n"}, Proposal("next"), "hand")
    assert trial.number == 1


def test_a_lab_in_a_folder_of_a_larger_repository_works(tmp_path: Path) -> None:
    """Candidates keep the rest of the repository, and run in the lab's own folder."""
    whole = tmp_path / "whole"
    lab = make_lab(
        whole / "labs" / "tiny",
        run_py="import train, sys\nsys.path.append('../..')\n"
        "import shared\nprint('score:', train.SCORE + shared.MORE)\n",
    )
    __import__("shutil").rmtree(lab / ".git")
    (whole / "shared.py").write_text("MORE = 1\n")
    git(whole, "init", "-q", "-b", "main")
    git(whole, "add", "-A")
    git(whole, "commit", "-qm", "all")
    assert play(lab, *scores(9)) == [("keep", "", 10.0)]
    assert git(whole, "diff", "--name-only", "main", BRANCH) == "labs/tiny/train.py"
