"""What locks a study: only what can change its number. What differs besides is on record."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from autoresearch.cli import main
from autoresearch.errors import TaskError
from autoresearch.proposers.fake import ScriptedProposer
from autoresearch.study.fixed_files import differences, differs_now
from tiny_lab import RUN, TASK, git, make_lab, opened, scores

MORE = {
    "README.md": "A lab.\n",
    "docs/idea.md": "An idea.\n",
    "prompts/system.md": "You are a model.\n",
    "notes.txt": "none yet\n",
    "run.log": "old\n",
    "progress.png": "a picture",
    "analysis.ipynb": "{}",
    "LICENSE": "MIT",
    "data/train.csv": "1,2\n",
    "words.txt": "one two\n",
    "history.csv": "1\n",
    "requirements.txt": "numpy\n",
    "prepare.py": "from pathlib import Path\nPROMPT = Path('prompts') / 'system.md'\n",
    "plot.png": "read by run.py",
}


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A lab with prose, pictures, data and programs, and a study with a keep."""
    folder = make_lab(tmp_path / "lab", run_py=RUN + 'open("plot.png").close()\n')
    for name, text in MORE.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "-Af")
    git(folder, "commit", "-qm", "more")
    with opened(folder) as study:
        proposer = ScriptedProposer(scores(9))
        study.step(proposer)
        study.step(proposer)
    return folder


def changed(lab: Path, name: str, text: str | None) -> None:
    """Edit a file of the lab; None removes it."""
    if text is None:
        (lab / name).unlink()
    else:
        (lab / name).write_text(text)


FOR_PEOPLE = [
    "README.md", "docs/idea.md", "notes.txt", "run.log", "progress.png", "analysis.ipynb",
    "LICENSE", ".gitignore",
]  # fmt: skip


@pytest.mark.parametrize("committed", [False, True], ids=["uncommitted", "committed"])
@pytest.mark.parametrize("name", FOR_PEOPLE)
def test_what_is_written_for_people_does_not_lock_and_is_recorded(
    lab: Path, name: str, committed: bool
) -> None:
    """A README, notes, a log, a picture: the study goes on, says so once, and `status` shows it."""
    changed(lab, name, "other\n")
    if committed:
        git(lab, "commit", "-qam", "other words")
    with opened(lab) as study:
        assert any(name in notice for notice in study.notices)
        assert f"{name}: it was edited" in str(differs_now(study.ledger))
        study.step(ScriptedProposer(scores(9, 8)))
    with opened(lab) as study:
        assert study.notices == ()
        assert [each.trial for each in differences(study.ledger)] == [2]


MEASURES = [
    "prepare.py", "run.py", "data/train.csv", "words.txt", "history.csv", "requirements.txt",
    "prompts/system.md", "plot.png",
]  # fmt: skip


@pytest.mark.parametrize("text", ["other\n", None], ids=["edited", "gone"])
@pytest.mark.parametrize("name", MEASURES)
def test_what_a_run_can_read_locks(lab: Path, name: str, text: str | None) -> None:
    """Programs, data, and documents that a program names; nothing is written, nothing is lost."""
    changed(lab, name, text)
    how = "it was edited" if text else "it is gone"
    with pytest.raises(TaskError) as refused, opened(lab):
        pass
    assert f"{name} ({how})" in str(refused.value)


def test_a_new_study_beside_an_edited_readme_begins(tmp_path: Path) -> None:
    """The rule is the same before the first trial, and for files that were added."""
    folder = make_lab(tmp_path / "lab", README_md="A lab.\n")
    changed(folder, "README.md", "Another.\n")
    changed(folder, "notes.md", "Some.\n")
    with opened(folder) as study:
        assert "README.md" in study.notices[0]
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "words")
    with opened(folder) as study:
        assert differs_now(study.ledger) is None  # before a keep the study begins at HEAD


FREE = {
    "a raised timeout": TASK.replace("timeout = 20", "timeout = 60"),
    "a lowered timeout": TASK.replace("timeout = 20", "timeout = 10"),
    "a name": TASK.replace('"tiny"', '"large"'),
    "limits": TASK + "[limits]\nmemory_gb = 8\nfree_disk_gb = 0.001\n",
    "an agent's table": TASK + "[agent.claude]\nmodel = 'x'\n",
    "a comment": "# words\n" + TASK,
    "layout": TASK.replace('command = "python run.py"', "command   =   'python run.py'"),
    "a default that is written out": TASK.replace("[metric]", 'sandbox = "auto"\n[metric]', 1),
    "CRLF": TASK.replace("\n", "\r\n"),
}
FIXED = {
    "the command": (TASK.replace("run.py", "run.py --fast"), "command"),
    "the training budget": (TASK.replace("timeout = 20", "seconds = 5\ntimeout = 20"), "seconds"),
    "the range": (TASK.replace("100.0]", "200.0]"), "metric.range"),
    "checks": (TASK + "[checks]\ncommand = 'true'\n", "checks.command"),
    "an environment": (TASK + "[env]\nA = '1'\n", "env.A"),
    "a GPU": (TASK + "[access]\ngpu = true\n", "access.gpu"),
    "the sandbox": (TASK.replace("[metric]", 'sandbox = "off"\n[metric]', 1), "sandbox"),
    "a bound": (TASK + "[secondary.ms]\nmax = 1\n", "secondary.ms.max"),
}


@pytest.mark.parametrize("text", FREE.values(), ids=FREE)
def test_what_task_toml_says_of_time_and_room_does_not_lock(lab: Path, text: str) -> None:
    """No number depends on it; it counts at once, and is on record."""
    (lab / "task.toml").write_bytes(text.encode())
    with opened(lab) as study:
        assert study.task.budget.timeout == float(study.ledger.facts["timeout"])
        told = differs_now(study.ledger)
    assert ("task.toml" in str(told)) is ("\r" not in text)


def status(lab: Path, *words: str) -> None:
    """Run `autoresearch status`."""
    with pytest.raises(SystemExit, match="0"):
        main(["status", *words, "--lab", str(lab)])


def test_a_raised_timeout_is_shown_with_both_values(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`status` says what it was and what it is, and since when."""
    (lab / "task.toml").write_text(FREE["a raised timeout"])
    with opened(lab):
        pass
    status(lab)
    told = "differs:    task.toml: budget.timeout 20 -> 60 (since trial 2; "
    assert told in capsys.readouterr().out
    status(lab, "--json")
    assert "budget.timeout 20 -> 60" in json.loads(capsys.readouterr().out)["differs"]


@pytest.mark.parametrize(("text", "key"), FIXED.values(), ids=FIXED)
def test_what_task_toml_says_of_the_measurement_locks(lab: Path, text: str, key: str) -> None:
    """The key is named with both values, and so are the ways out."""
    (lab / "task.toml").write_text(text)
    with pytest.raises(TaskError, match=rf"task\.toml: \S*{key} .* -> .*git stash"), opened(lab):
        pass


def test_a_task_that_git_does_not_know_is_compared_with_what_it_was(tmp_path: Path) -> None:
    """Without a commit of task.toml the ledger remembers it."""
    folder = make_lab(tmp_path / "lab")
    git(folder, "rm", "-q", "--cached", "task.toml")
    git(folder, "commit", "-qm", "without the task")
    with opened(folder) as study:
        study.baseline()
    (folder / "task.toml").write_text(FREE["a raised timeout"])
    with opened(folder):
        pass
    (folder / "task.toml").write_text(FIXED["the command"][0])
    with pytest.raises(TaskError, match=r"task\.toml: command"), opened(folder):
        pass


# ---- the ways out ------------------------------------------------------------------------------


def followed(lab: Path, way: str) -> None:
    """Run the git commands that a message names."""
    identity = "git -c user.name=T -c user.email=t@localhost"
    shell = way.replace("git ", f"{identity} ")
    subprocess.run(shell, shell=True, cwd=lab, check=True, capture_output=True)


def test_the_advice_sets_an_edit_aside_and_loses_nothing(lab: Path) -> None:
    """After it the study goes on, and the edit is in git's stash."""
    changed(lab, "prepare.py", "MINE = 1\n")
    changed(lab, "data/train.csv", None)
    with pytest.raises(TaskError) as refused, opened(lab):
        pass
    followed(lab, str(refused.value).rpartition("keeps them: ")[2])
    with opened(lab):
        pass
    assert git(lab, "show", "stash@{0}:prepare.py") == "MINE = 1"


def test_the_advice_for_committed_files_keeps_their_commit(lab: Path) -> None:
    """Stand on the study's commit, or begin a study: the branch keeps what was committed."""
    changed(lab, "prepare.py", "MINE = 1\n")
    git(lab, "commit", "-qam", "mine")
    with pytest.raises(TaskError, match=r"They are committed.*--tag t-2") as refused, opened(lab):
        pass
    followed(lab, str(refused.value).rpartition("commit: ")[2])
    with opened(lab):
        pass
    assert git(lab, "show", "main:prepare.py") == "MINE = 1"


def test_a_new_study_is_told_to_commit(tmp_path: Path) -> None:
    """There is no older study to go on with."""
    folder = make_lab(tmp_path / "lab")
    changed(folder, "run.py", RUN + "# mine\n")
    with pytest.raises(TaskError) as refused, opened(folder):
        pass
    told = str(refused.value)
    assert "--tag" not in told
    followed(folder, told.partition("commit them: ")[2].partition(". Or")[0])
    with opened(folder) as study:
        assert study.read_bytes("HEAD", "run.py").endswith(b"# mine\n")


# ---- what git converts -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "settings"),
    [
        ("*.txt text eol=crlf\n*.py text eol=crlf\n", {}),
        ("", {"core.autocrlf": "true"}),
        ("*.txt filter=up\n", {"filter.up.clean": "tr A-Z a-z", "filter.up.smudge": "tr a-z A-Z"}),
    ],
    ids=["eol", "autocrlf", "filter"],
)
def test_a_fresh_checkout_with_conversions_is_no_change(
    tmp_path: Path, attributes: str, settings: dict[str, str]
) -> None:
    """The fault that it was: "Fixed files differ", and a checkout changes nothing."""
    origin = make_lab(tmp_path / "origin", words_txt="one\n", _gitattributes=attributes)
    folder = tmp_path / "lab"
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    git(tmp_path, "clone", "-q", *options, str(origin), str(folder))
    for name, value in settings.items():
        git(folder, "config", name, value)
    assert (folder / "words.txt").read_bytes() != b"one\n"
    with opened(folder) as study:
        proposer = ScriptedProposer(scores(9))
        study.step(proposer)
        assert study.step(proposer).value == 9.0
    (folder / "words.txt").write_text("two\n")
    with pytest.raises(TaskError, match=r"words\.txt \(it was edited\)") as refused, opened(folder):
        pass
    assert "Git converts" in str(refused.value)
    assert (attributes.partition(" ")[2].partition("\n")[0] or "core.autocrlf") in str(
        refused.value
    )
    followed(folder, str(refused.value).rpartition("keeps them: ")[2])
    with opened(folder):
        pass
