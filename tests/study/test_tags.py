"""Refs belong to one study: a tag that another study has is left alone, and the next one taken."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from pathlib import Path

import pytest

from autoresearch.cli import main
from autoresearch.errors import BranchMoved, LedgerError
from autoresearch.executors.local import LocalExecutor
from autoresearch.lab.task import Task
from autoresearch.proposers.fake import ScriptedProposer
from autoresearch.store.git import Git
from autoresearch.store.owner import read_owner
from autoresearch.store.paths import StudyPaths, current_tag
from autoresearch.strategies.greedy import Greedy
from autoresearch.study.opening import open_study, read_study
from autoresearch.study.study import Study
from autoresearch.study.tags import ID
from tiny_lab import FILES, git, make_lab, opened, scores


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A lab with a study `t`: a baseline and a keep of 9."""
    folder = make_lab(tmp_path / "lab")
    kept(folder)
    return folder


def kept(lab: Path, value: float = 9, tag: str = "t") -> str:
    """A study with a baseline and a keep; its name."""
    with opened(lab, tag) as study:
        if study.ledger.best() is None:
            study.baseline()
        study.step(ScriptedProposer(scores(value)))
        return study.paths.tag


def refs(lab: Path) -> dict[str, str]:
    """All refs of the repository."""
    lines = git(lab, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    return dict(line.split() for line in lines)


def second(lab: Path) -> Path:
    """A second work tree of the lab's repository."""
    git(lab, "worktree", "add", "-q", "--detach", str(lab.parent / "second"), "main")
    return lab.parent / "second"


def notices(study: Study) -> str:
    """What the opening had to say."""
    return "\n".join(study.notices)


def test_a_second_work_tree_takes_the_next_tag_and_touches_nothing(lab: Path) -> None:
    """The default tag is the day, so this is the usual case; the first study's refs stay."""
    before, other = refs(lab), second(lab)
    with opened(other) as study:
        assert study.paths.tag == "t-2"
        assert notices(study) == (
            f"The tag t is in use: it belongs to the study of {lab}. This study is t-2."
        )
    assert kept(other, 7) == "t-2"  # asked for `t` again: its own study goes on
    assert refs(lab).items() >= before.items()
    assert git(other, "show", "autoresearch/t:train.py") == "SCORE = 9"
    assert git(other, "show", "autoresearch/t-2:train.py") == "SCORE = 7"
    assert current_tag(other) == "t-2"
    with read_study(Task.load(other), "t") as (_, paths, _):
        assert paths.tag == "t-2"
    with opened(lab) as study:
        assert (study.paths.tag, study.notices) == ("t", ())


def test_a_third_study_takes_the_tag_after_that(lab: Path) -> None:
    """Two are in use."""
    assert kept(second(lab)) == "t-2"
    git(lab, "worktree", "add", "-q", "--detach", str(lab.parent / "third"), "main")
    assert kept(lab.parent / "third") == "t-3"


def test_two_labs_of_one_repository_have_studies_of_their_own(tmp_path: Path) -> None:
    """Another folder of the repository is another lab, with another ledger."""
    root = make_lab(tmp_path / "repo")
    for name in ("a", "b"):
        (root / name).mkdir()
        for file, text in FILES.items():
            (root / name / file).write_text(text)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "two labs")
    assert [kept(root / name, 9) for name in ("a", "b")] == ["t", "t-2"]
    assert [kept(root / name, 8) for name in ("a", "b")] == ["t", "t-2"]


def test_a_clone_leaves_the_branch_of_its_origin_alone(lab: Path) -> None:
    """A push of the clone's branch would meet the origin's."""
    clone = lab.parent / "clone"
    git(lab, "clone", "-q", str(lab), str(clone))
    with opened(clone) as study:
        assert study.paths.tag == "t-2"
        assert "origin/autoresearch/t exists" in notices(study)


@pytest.mark.parametrize("ref", ["refs/heads/autoresearch/t", "refs/autoresearch/t/3"])
def test_a_ref_that_no_study_made_is_somebodys(tmp_path: Path, ref: str) -> None:
    """A branch made by hand, a commit pinned by a study whose ledger is gone."""
    folder = make_lab(tmp_path / "lab")
    git(folder, "update-ref", ref, "main")
    with opened(folder) as study:
        assert study.paths.tag == "t-2"
        assert "no study of this lab made it" in notices(study)
    assert git(folder, "rev-parse", ref) == git(folder, "rev-parse", "main")


def test_a_study_whose_ledger_is_gone_keeps_its_refs(lab: Path) -> None:
    """Its commits are all that is left of it."""
    before = refs(lab)
    (lab / ".autoresearch").rename(lab.parent / "aside")
    (lab / "results.tsv").rename(lab.parent / "results.tsv")
    assert kept(lab, 8) == "t-2"
    assert refs(lab).items() >= before.items()


def test_a_study_that_was_killed_before_it_had_a_ledger_begins_again(tmp_path: Path) -> None:
    """The claim alone takes no tag from its own lab."""
    folder = make_lab(tmp_path / "lab")
    with opened(folder):
        pass
    git(folder, "update-ref", "-d", "refs/heads/autoresearch/t")
    shutil.rmtree(folder / ".autoresearch")
    assert kept(folder) == "t"


def test_of_two_that_begin_at_once_one_has_the_tag(lab: Path) -> None:
    """Claims are compared and swapped: two work trees never share refs."""
    folders = [second(lab)]
    for number in range(3):
        folders.append(lab.parent / f"more-{number}")
        git(lab, "worktree", "add", "-q", "--detach", str(folders[-1]), "main")
    found, start = list[str](), threading.Barrier(len(folders))

    def begin(folder: Path) -> None:
        task = Task.load(folder)
        start.wait()
        with open_study(task, "new", Greedy(), LocalExecutor()) as study:
            found.append(study.paths.tag)

    threads = [threading.Thread(target=begin, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["new", "new-2", "new-3", "new-4"]


# ---- whose it is -------------------------------------------------------------------------------


def forget_owner(lab: Path) -> None:
    """Make a study one of an older version, which recorded no owner."""
    git(lab, "update-ref", "-d", "refs/autoresearch/t/owner")
    with sqlite3.connect(lab / ".autoresearch/t/ledger.db") as db:
        db.execute("DELETE FROM study WHERE key = ?", (ID,))
    db.close()


def test_a_study_of_an_older_version_adopts_its_branch(lab: Path) -> None:
    """The branch's head is a commit of its ledger; from then on the record says so."""
    forget_owner(lab)
    other = second(lab)
    with opened(other) as study:
        assert study.paths.tag == "t-2"
    with opened(lab) as study:
        assert (study.paths.tag, study.notices) == ("t", ())
        owner = read_owner(study.git, study.paths)
        assert owner is not None and owner.study == study.ledger.facts[ID]


def test_an_older_study_whose_branch_is_elsewhere_adopts_nothing(lab: Path) -> None:
    """The branch is at a commit that its ledger does not know."""
    forget_owner(lab)
    git(lab, "commit", "-q", "--allow-empty", "-m", "of somebody")
    git(lab, "branch", "-f", "autoresearch/t", "main")
    before = refs(lab)
    with pytest.raises(BranchMoved), opened(lab):
        pass
    assert refs(lab) == before


def test_a_moved_lab_and_a_moved_repository_keep_their_study(lab: Path) -> None:
    """The record is seen from the repository, and follows the ledger."""
    lab = lab.rename(lab.parent / "moved")
    assert kept(lab, 8) == "t"
    inner = lab / "inner"
    inner.mkdir()
    git(lab, "mv", *FILES, "inner")
    git(lab, "commit", "-qm", "move the lab")
    (lab / ".autoresearch").rename(inner / ".autoresearch")
    with pytest.raises(Exception, match="editable names train"), opened(inner):
        pass  # of the study's own commit; but not because of the tag
    owner = read_owner(Git.discover(inner), StudyPaths(inner, "t"))
    assert owner is not None and owner.lab.endswith("inner")


def test_a_copied_ledger_does_not_move_the_branch_of_the_original(lab: Path) -> None:
    """Two ledgers of one study would take keeps back from each other."""
    other = second(lab)
    shutil.copytree(lab / ".autoresearch", other / ".autoresearch")
    before = refs(lab)
    with pytest.raises(LedgerError, match=f"is a copy: the study t is in {lab}"), opened(other):
        pass
    assert refs(lab) == before
    assert kept(lab, 8) == "t"


def test_a_tag_that_another_study_took_meanwhile_is_not_taken_back(lab: Path) -> None:
    """The ledger came back from a backup, and its tag has another owner now."""
    (lab / ".autoresearch").rename(lab.parent / "aside")
    for ref in refs(lab):
        if "autoresearch" in ref:
            git(lab, "update-ref", "-d", ref)
    other = second(lab)
    assert kept(other, 7) == "t"
    (lab.parent / "aside").rename(lab / ".autoresearch")
    before = refs(lab)
    with pytest.raises(LedgerError, match=f"belong to the study of {other}"), opened(lab):
        pass
    assert refs(lab) == before


def test_the_commands_say_which_tag_they_took(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`run`, `try` and `status` of the second work tree."""
    other = second(lab)
    words = ["--lab", str(other), "--tag", "t"]
    with pytest.raises(SystemExit, match="0"):
        main(["run", "--trials", "0", "--strategy", "greedy", *words])
    told = capsys.readouterr().out
    assert f"The tag t is in use: it belongs to the study of {lab}. This study is t-2." in told
    assert "git branch -D" not in told
    (other / "train.py").write_text("SCORE = 5\n")
    with pytest.raises(SystemExit, match="0"):
        main(["try", "-m", "five", *words])
    capsys.readouterr()
    with pytest.raises(SystemExit, match="0"):
        main(["status", *words])
    assert "study:      t-2" in capsys.readouterr().out
    assert git(lab, "show", "autoresearch/t:train.py") == "SCORE = 9"
