"""init and prepare: make a lab that runs."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from autoresearch.cli import COMMANDS, main
from autoresearch.cli.scaffold import presets, shipped_labs
from autoresearch.lab.task import FOR_AGENTS, Task
from tiny_lab import TASK, git, make_lab


def call(*words: str) -> int:
    """Run a command; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([*words])
    return int(ended.value.code or 0)


@pytest.mark.parametrize("lab", ["nanogpt", "numpy-bigram", "speed"])
def test_init_makes_a_committed_lab_whose_task_loads(tmp_path: Path, lab: str) -> None:
    """The new folder is a clean repository."""
    assert call("init", str(tmp_path / "my-lab"), "--lab", lab) == 0
    folder = tmp_path / "my-lab"
    assert Task.load(folder).name == lab
    assert git(folder, "status", "--porcelain") == ""
    assert {".gitignore", "program.md", "task.toml"} <= {path.name for path in folder.iterdir()}
    assert not (folder / "presets.toml").exists()


@pytest.mark.parametrize("preset", ["cpu", "mac", "rtx", "h100"])
def test_a_preset_changes_constants_and_nothing_else(tmp_path: Path, preset: str) -> None:
    """Line for line, only values before the comment differ from the shipped lab."""
    call("init", str(tmp_path / "plain"))
    call("init", str(tmp_path / "set"), "--preset", preset)
    for name in ("train.py", "prepare.py", "task.toml"):
        plain = (tmp_path / "plain" / name).read_text().splitlines()
        changed = (tmp_path / "set" / name).read_text().splitlines()
        assert len(plain) == len(changed)
        for before, after in zip(plain, changed, strict=True):
            assert before.split("=")[0].strip() == after.split("=")[0].strip()
            assert before.partition("#")[2] == after.partition("#")[2]
    task = Task.load(tmp_path / "set")
    assert task.budget.seconds == (20.0 if preset == "cpu" else 300.0)


def test_every_preset_names_files_and_constants_that_exist() -> None:
    """Presets of all labs can be applied: their files are shipped."""
    assert set(presets("nanogpt")) == {"cpu", "demo", "mac", "rtx", "h100"}
    for lab in shipped_labs():
        for changed in presets(lab).values():
            assert set(changed) <= {"train.py", "prepare.py", "task.toml"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--lab", "nanogtp"), 'did you mean "nanogpt"'),
        (("--preset", "h1000"), 'did you mean "h100"'),
        (("--lab", "speed", "--preset", "cpu"), "has no preset"),
        (("--lab", "blank"), "needs a command"),
        (("--", "python", "x.py"), "--lab blank"),
    ],
)
def test_wrong_words_leave_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    """Exit code 2 and a message that names what is there; no folder was made."""
    assert call("init", str(tmp_path / "new"), *words) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_folder_with_something_in_it_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """init only ever writes into a new or empty folder."""
    (tmp_path / "train.py").write_text("mine")
    assert call("init", str(tmp_path)) == 2
    assert "not empty" in capsys.readouterr().err
    assert (tmp_path / "train.py").read_text() == "mine"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A repository with a program that prints two numbers."""
    git(tmp_path, "init", "-q")
    (tmp_path / "solve.py").write_text("print('seconds: 0.5')\nprint('error: 0.25')\n")
    return tmp_path


def test_blank_writes_a_task_around_a_command(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command is run once as a trial would, and the last number it prints is the metric."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # where Debian has no `python`
    assert call("init", str(script), "--lab", "blank", "--", "python", "solve.py") == 0
    task = Task.load(script)
    assert (task.command, task.editable) == ("python solve.py", ("solve.py",))
    assert (task.metric.name, task.metric.direction) == ("error", "minimize")
    assert "solve.py" in task.program


def test_blank_takes_the_named_options(script: Path) -> None:
    """Named options are used as they are, and the command is not run."""
    (script / "a.py").write_text("raise SystemExit('must not run')")
    words = ("--edit", "a.py", "--metric", "acc", "--maximize", "--timeout", "5")
    assert call("init", str(script), "--lab", "blank", *words, "--", "python a.py | tail -1") == 0
    written = tomllib.loads((script / "task.toml").read_text())
    assert written["command"] == "python a.py | tail -1"
    assert written["metric"] == {"name": "acc", "direction": "maximize", "source": "log"}
    assert written["budget"] == {"timeout": 5.0}


def test_blank_on_a_command_without_a_number_says_what_it_printed(
    script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written when nothing can be measured."""
    (script / "solve.py").write_text("print('hello')")
    assert call("init", str(script), "--lab", "blank", "--", "python", "solve.py") == 1
    assert "hello" in capsys.readouterr().err
    assert not (script / "task.toml").exists()


def test_blank_never_overwrites_a_task(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is a lab already stays as it is."""
    words = ("init", str(script), "--lab", "blank", "--metric", "error", "--", "python", "solve.py")
    assert call(*words) == 0
    assert call(*words) == 2
    assert "is there already" in capsys.readouterr().err


def test_every_lab_has_instructions_for_agents(tmp_path: Path) -> None:
    """The files that coding agents look for are committed, and lead to program.md."""
    call("init", str(tmp_path / "lab"), "--lab", "speed")
    lab = tmp_path / "lab"
    assert set(FOR_AGENTS) <= set(git(lab, "ls-files").splitlines())
    for name in FOR_AGENTS:
        text = (lab / name).read_text()
        assert "program.md" in text
        assert "$" not in text
    assert (lab / FOR_AGENTS[3]).read_bytes() == (lab / FOR_AGENTS[4]).read_bytes()


def test_the_skill_has_the_form_that_agents_require() -> None:
    """A name equal to its folder, and a description of at most 1024 characters."""
    text = files("autoresearch.lab").joinpath("templates", "skill.md").read_text()
    head = dict(line.split(": ", 1) for line in text.split("---\n")[1].splitlines())
    assert head["name"] == Path(FOR_AGENTS[3]).parent.name
    assert 100 < len(head["description"]) <= 1024
    assert ": " not in head["description"]


@pytest.mark.parametrize("template", ["agents.md", "skill.md", "program.md"])
def test_commands_in_the_templates_exist(template: str) -> None:
    """Every `autoresearch COMMAND` of a template is a command."""
    text = files("autoresearch.lab").joinpath("templates", template).read_text()
    commands = set(re.findall(r"`autoresearch ([a-z]+)", text))
    assert "try" in commands
    assert commands <= set(COMMANDS)


@pytest.mark.parametrize("lab", ["nanogpt", "numpy-bigram", "speed"])
def test_every_program_describes_the_loop(tmp_path: Path, lab: str) -> None:
    """Setup, loop, steps and keeps, trouble, no end: in each lab's own words."""
    call("init", str(tmp_path / "lab"), "--lab", lab)
    text = (tmp_path / "lab" / "program.md").read_text()
    for word in ("## Setup", "autoresearch try -m", "step", "keep", "timeout", "Never stop"):
        assert word.lower() in text.lower(), word
    commands = set(re.findall(r"`autoresearch ([a-z]+)", text))
    assert commands <= set(COMMANDS)


def test_blank_writes_missing_instructions_and_no_others(
    script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing files are written and named; existing ones stay, links included."""
    (script / "AGENTS.md").write_text("mine")
    (script / "CLAUDE.md").symlink_to("AGENTS.md")
    (script / "GEMINI.md").symlink_to("nowhere")
    words = ("--metric", "error", "--", "python", "solve.py")
    assert call("init", str(script), "--lab", "blank", *words) == 0
    out = capsys.readouterr().out
    assert (script / "AGENTS.md").read_text() == "mine"
    assert (script / "GEMINI.md").is_symlink()
    assert "AGENTS.md" not in out
    for name in FOR_AGENTS[3:]:
        assert f"Wrote {script / name}" in out
        assert (script / name).is_file()
    program = (script / "program.md").read_text()
    assert "Make `error` as low as you can by editing `solve.py`" in program
    assert "$" not in program


def test_blank_ignores_the_files_that_studies_write(
    script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Existing lines of .gitignore stay, and none is written twice."""
    (script / ".gitignore").write_text("data/\nreport.html")
    words = ("--metric", "error", "--", "python", "solve.py")
    assert call("init", str(script), "--lab", "blank", *words) == 0
    assert f"Wrote {script / '.gitignore'}" in capsys.readouterr().out
    lines = (script / ".gitignore").read_text().splitlines()
    assert lines == ["data/", "report.html", "results.tsv", "progress.png", "progress.svg"]


def test_blank_adds_to_a_gitignore_in_its_own_line_endings(script: Path) -> None:
    """The lines that are there keep every byte."""
    (script / ".gitignore").write_bytes(b"data/\r\ncaf\xe9\r\n")
    words = ("--metric", "error", "--", "python", "solve.py")
    assert call("init", str(script), "--lab", "blank", *words) == 0
    text = (script / ".gitignore").read_bytes()
    assert text.startswith(b"data/\r\ncaf\xe9\r\nresults.tsv\r\n")
    assert text.count(b"\n") == text.count(b"\r\n")


def test_blank_leaves_a_linked_gitignore_alone(script: Path) -> None:
    """The link stays, and its target is unchanged."""
    (script / "shared").write_text("data/\n")
    (script / ".gitignore").symlink_to("shared")
    words = ("--metric", "error", "--", "python", "solve.py")
    assert call("init", str(script), "--lab", "blank", *words) == 0
    assert (script / ".gitignore").is_symlink()
    assert (script / "shared").read_text() == "data/\n"


def test_instructions_may_change_during_a_study(script: Path) -> None:
    """Instructions are no fixed files: a study goes on after an edit of them."""
    words = ("--metric", "error", "--", "python", "solve.py")
    call("init", str(script), "--lab", "blank", *words)
    git(script, "add", "-A")
    git(script, "commit", "-qm", "lab")
    (script / "AGENTS.md").write_text("in other words")
    assert call("run", "--trials", "0", "--lab", str(script)) == 0


def test_prepare_runs_the_labs_own_command(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Options after -- reach it, and its failure is a failure."""
    task = 'prepare = "python get.py"\n' + TASK
    get = "import sys\nprint('got', sys.argv[1:])\n"
    get += "sys.exit(2 if '--typo' in sys.argv else '--fail' in sys.argv)\n"
    lab = make_lab(tmp_path / "lab", task_toml=task, get_py=get)
    assert call("prepare", "--lab", str(lab), "--", "--check", "a b") == 0
    assert "got ['--check', 'a b']" in capfd.readouterr().out
    assert call("prepare", "--lab", str(lab), "--", "--fail") == 1
    assert call("prepare", "--lab", str(lab), "--", "--typo") == 2


def test_prepare_of_a_lab_without_preparation_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing to do is not an error."""
    assert call("prepare", "--lab", str(make_lab(tmp_path / "lab"))) == 0
    assert "needs no preparation" in capsys.readouterr().out
