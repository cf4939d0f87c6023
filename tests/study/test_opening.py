"""Opening a study: bad ground is named before anything is written."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from autoresearch.errors import BranchMoved, GitError, LedgerError, TaskError
from autoresearch.lab.task import Task
from autoresearch.proposers.fake import ScriptedProposer
from autoresearch.store.paths import StudyPaths
from autoresearch.store.simplicity import FINGERPRINT
from autoresearch.study.loop import StopLimits, research
from autoresearch.study.opening import default_tag, read_study, running
from tiny_lab import TASK, edit, git, make_lab, opened, scores

HOLD = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from tiny_lab import opened
with opened(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A tiny lab whose baseline scores 10."""
    return make_lab(tmp_path / "lab")


def refused(lab: Path, error: type[Exception], says: str, tag: str = "t") -> None:
    """Opening fails with these words."""
    with pytest.raises(error, match=says), opened(lab, tag):
        pass


def test_a_folder_outside_git_is_refused_with_the_commands_that_help(tmp_path: Path) -> None:
    """Without a repository there is nowhere to keep candidates."""
    lab = make_lab(tmp_path / "lab")
    (lab / ".git").rename(tmp_path / "elsewhere")
    refused(lab, GitError, "not in a git repository.*git init")
    assert not (lab / ".autoresearch").exists()


def test_a_repository_without_a_commit_is_refused(tmp_path: Path) -> None:
    """A study needs a commit to start from."""
    lab = make_lab(tmp_path / "lab")
    (lab / ".git").rename(tmp_path / "elsewhere")
    git(lab, "init", "-q")
    refused(lab, GitError, "no commit yet.*git add")


def test_uncommitted_changes_in_fixed_files_are_refused_by_name(lab: Path) -> None:
    """What measures must be what is committed; the editable file and program.md may differ."""
    (lab / "train.py").write_text("SCORE = 1\n")
    (lab / "program.md").write_text("Other words.\n")
    with opened(lab):
        pass
    (lab / "run.py").write_text("print('score: 0')\n")
    refused(lab, TaskError, r"Fixed files differ.*run\.py.*git stash push -- run\.py")


def test_a_fixed_file_that_is_gone_is_named(lab: Path) -> None:
    """A deleted fixed file is a difference too."""
    (lab / "run.py").unlink()
    refused(lab, TaskError, r"Fixed files differ.*run\.py")


def test_an_editable_file_that_git_does_not_know_is_refused(tmp_path: Path) -> None:
    """The baseline is a commit, so the file must be in it."""
    lab = make_lab(tmp_path / "lab", task_toml=TASK.replace('"train.py"', '"train.py", "new.py"'))
    (lab / "new.py").write_text("")
    refused(lab, TaskError, r"new\.py, and git does not know it.*git add new\.py")


@pytest.mark.parametrize("tag", ["a/b", "..", "a b", "-x", "x.lock", ""])
def test_a_tag_that_is_no_branch_name_is_refused(lab: Path, tag: str) -> None:
    """The tag names a branch and a folder."""
    refused(lab, TaskError, "--tag is", tag)


def test_a_branch_that_was_moved_meanwhile_is_refused(lab: Path) -> None:
    """The error names both commits and the two ways out, and what is there gets a name first."""
    with opened(lab) as study:
        study.step(ScriptedProposer([]))
    git(lab, "commit", "-q", "--allow-empty", "-m", "mine")
    git(lab, "branch", "-f", "autoresearch/t", "main")
    refused(lab, BranchMoved, "somebody moved it.*git branch t-.*git update-ref.*another --tag")


def test_a_branch_that_was_deleted_is_made_again(lab: Path) -> None:
    """The commits are pinned, so the branch can be put back where the ledger left it."""
    with opened(lab) as study:
        proposer = ScriptedProposer(scores(9))
        study.step(proposer)
        best = study.step(proposer)
    git(lab, "branch", "-D", "autoresearch/t")
    with opened(lab):
        assert git(lab, "rev-parse", "autoresearch/t") == best.commit


def test_a_metric_that_changed_is_refused(lab: Path) -> None:
    """Numbers of two metrics do not compare, so a study keeps its own."""
    with opened(lab):
        pass
    (lab / "task.toml").write_text(TASK.replace("minimize", "maximize"))
    git(lab, "commit", "-qam", "turn")
    refused(lab, TaskError, "direction 'maximize'.*'minimize'")


def test_a_study_is_held_by_one_process(lab: Path) -> None:
    """A second loop is turned away with the holder's pid; a killed holder holds nothing."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lab), str(Path(__file__).parent.parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        refused(lab, LedgerError, f"already running, in process {holder.pid}")
        assert f"process {holder.pid}" in str(running(StudyPaths(lab, "t")))
    finally:
        holder.kill()
        holder.communicate()
    with opened(lab):
        pass
    assert running(StudyPaths(lab, "t")) is None


def test_a_table_that_was_not_written_is_written_at_the_next_opening(lab: Path) -> None:
    """results.tsv is a view: a process that ended just before writing it leaves nothing wrong."""
    with opened(lab) as study:
        study.baseline()
    whole = (lab / "results.tsv").read_text()
    (lab / "results.tsv").write_text("half a line")
    with opened(lab):
        assert (lab / "results.tsv").read_text() == whole


def test_two_studies_of_one_lab_do_not_meet(lab: Path) -> None:
    """Each tag has its own branch, ledger and best."""
    for tag, value in (("a", 9), ("b", 8)):
        with opened(lab, tag) as study:
            proposer = ScriptedProposer(scores(value))
            study.step(proposer)
            study.step(proposer)
    assert git(lab, "show", "autoresearch/a:train.py") == "SCORE = 9"
    assert git(lab, "show", "autoresearch/b:train.py") == "SCORE = 8"
    assert default_tag(lab) == "b"


def test_looking_needs_no_lock(lab: Path) -> None:
    """A study can be read while it is held."""
    with opened(lab) as study:
        study.step(ScriptedProposer([edit("SCORE = 1\n")]))
        with read_study(Task.load(lab)) as (ledger, paths, _):
            assert (len(ledger), paths.tag) == (1, "t")


def test_looking_at_a_study_that_is_not_there_names_those_that_are(lab: Path) -> None:
    """An unknown tag is answered with the known ones."""
    with pytest.raises(LedgerError, match=r"No study here yet.*autoresearch run"):
        read_study(Task.load(lab)).__enter__()
    with opened(lab, "real"):
        pass
    with pytest.raises(LedgerError, match=r"No study 'other' here \(there are: real\)"):
        read_study(Task.load(lab), "other").__enter__()


def test_a_table_that_no_study_wrote_is_not_overwritten(lab: Path) -> None:
    """Somebody's own results.tsv: named before anything is made, and moved away by its owner."""
    (lab / "results.tsv").write_text("mine\n")
    refused(lab, TaskError, "mv results.tsv results.old.tsv")
    assert (lab / "results.tsv").read_text() == "mine\n"
    assert not (lab / ".autoresearch").exists()
    (lab / "results.tsv").rename(lab / "results.old.tsv")
    with opened(lab) as study:
        study.baseline()
    with opened(lab, "another"):  # that table is a study's, and the next takes its place
        pass
    assert (lab / "results.old.tsv").read_text() == "mine\n"


def test_a_table_in_the_commit_is_refused_with_the_way_out(lab: Path) -> None:
    """It would be a fixed file that every trial changes."""
    (lab / "results.tsv").write_text("mine\n")
    git(lab, "add", "-f", "results.tsv")
    git(lab, "commit", "-qm", "with a table")
    refused(lab, TaskError, "git mv results.tsv results.old.tsv")
    assert (lab / "results.tsv").read_text() == "mine\n"


@pytest.mark.parametrize("name", ["program.md", "task.toml"])
def test_instructions_that_are_no_text_stop_a_study_before_it_begins(lab: Path, name: str) -> None:
    """Each with its byte; nothing was written."""
    with (lab / name).open("ab") as stream:
        stream.write(b"# caf\xe9\n")
    refused(lab, TaskError, rf"{name} is not UTF-8 text: byte \d+ is 0xe9")
    assert not (lab / ".autoresearch").exists()


def older_fingerprints(lab: Path) -> None:
    """Make a study's ledger one whose fingerprints an older version computed."""
    with contextlib.closing(sqlite3.connect(lab / ".autoresearch" / "t" / "ledger.db")) as db, db:
        db.execute("UPDATE trial SET code = 'old' || number")
        db.execute("DELETE FROM study WHERE key = 'fingerprint'")


def codes(lab: Path) -> list[str]:
    """The fingerprints in a study's ledger, read without opening the study."""
    with contextlib.closing(sqlite3.connect(lab / ".autoresearch" / "t" / "ledger.db")) as db:
        return [code for (code,) in db.execute("SELECT code FROM trial ORDER BY number")]


def test_fingerprints_of_an_older_version_are_computed_again(tmp_path: Path) -> None:
    """From the commits, so that what was tried before is still known."""
    lab = make_lab(tmp_path / "lab")
    with opened(lab) as study:
        research(study, ScriptedProposer(scores(9, 8)), StopLimits(trials=2))
    before = codes(lab)
    older_fingerprints(lab)
    with opened(lab) as study:
        assert codes(lab) == before
        assert study.ledger.facts["fingerprint"] == FINGERPRINT
        same = edit("SCORE  =  9  # the first again\n")
        trial = study.step(ScriptedProposer([same]))
    assert trial.reason == "duplicate of #1"


def test_fingerprints_are_renewed_all_or_none(tmp_path: Path) -> None:
    """What ends the process in the middle leaves the old ones and their version."""
    lab = make_lab(tmp_path / "lab")
    with opened(lab) as study:
        research(study, ScriptedProposer(scores(9)), StopLimits(trials=1))
    before = codes(lab)
    older_fingerprints(lab)
    with contextlib.closing(sqlite3.connect(lab / ".autoresearch" / "t" / "ledger.db")) as db, db:
        db.execute(
            "CREATE TRIGGER stop BEFORE INSERT ON study WHEN new.key = 'fingerprint' "
            "BEGIN SELECT raise(ABORT, 'stopped'); END"
        )
    with pytest.raises(LedgerError, match="stopped"), opened(lab):
        pass
    assert codes(lab) == ["old0", "old1"]
    with contextlib.closing(sqlite3.connect(lab / ".autoresearch" / "t" / "ledger.db")) as db, db:
        db.execute("DROP TRIGGER stop")
    with opened(lab):
        assert codes(lab) == before


def test_a_docstring_that_the_program_prints_is_another_program(tmp_path: Path) -> None:
    """It is run, and not skipped as a duplicate."""
    run = "import train\nprint('score:', train.__doc__)\n"
    lab = make_lab(tmp_path / "lab", run_py=run, train_py='"""10"""\nA = 1\n')
    with opened(lab) as study:
        proposer = ScriptedProposer([edit('"""9"""\nA = 1\n'), edit('"""9"""\nA  = 1\n')])
        research(study, proposer, StopLimits(trials=2))
        outcomes = [(trial.word, trial.reason, trial.value) for trial in study.ledger.trials()]
    assert outcomes[1:] == [("keep", "", 9.0), ("skip", "duplicate of #1", None)]
