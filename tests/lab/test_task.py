"""Task: task.toml read strictly; whatever is wrong is named, with what is allowed instead."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autoresearch.errors import TaskError
from autoresearch.lab.metric import Metric
from autoresearch.lab.task import Alarms, Bound, Budget, Checks, Task

LEAST = """
command = "python train.py"
editable = ["train.py"]
[metric]
name = "val_bpb"
"""

FULL = """
name = "nanogpt"
prepare = "python prepare.py"
command = "python train.py"
editable = ["train.py", "model/layers.py"]
[metric]
name = "val_bpb"
direction = "maximize"
source = "log"
range = [0.1, 20]
[budget]
seconds = 300
timeout = 600
[checks]
command = "python -m pytest"
timeout = 30
[secondary]
peak_vram_mb = { max = 80000 }
accuracy = { min = 0.5, max = 1.0 }
[alarms]
same_crashes = 4
no_keep = 30
[env]
OMP_NUM_THREADS = "2"
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A lab's files, without a task."""
    folder = tmp_path / "lab"
    (folder / "model").mkdir(parents=True)
    for name in ("train.py", "model/layers.py", "program.md"):
        (folder / name).write_text("# here\n")
    return folder


def load(lab: Path, text: str) -> Task:
    """The task of a lab whose task.toml has this text."""
    (lab / "task.toml").write_text(text)
    return Task.load(lab)


def refusal(lab: Path, text: str) -> str:
    """The error for a task.toml that cannot be used."""
    with pytest.raises(TaskError) as caught:
        load(lab, text)
    assert str(lab / "task.toml") in str(caught.value)
    return str(caught.value)


def test_a_full_task_says_everything(lab: Path) -> None:
    """Every key of the contract arrives where it belongs."""
    assert load(lab, FULL) == Task(
        name="nanogpt",
        folder=lab,
        command="python train.py",
        editable=("train.py", "model/layers.py"),
        metric=Metric("val_bpb", "maximize", (0.1, 20.0)),
        budget=Budget(timeout=600.0, seconds=300.0),
        prepare="python prepare.py",
        source="log",
        checks=Checks("python -m pytest", 30.0),
        secondary=(Bound("peak_vram_mb", None, 80000.0), Bound("accuracy", 0.5, 1.0)),
        env={"OMP_NUM_THREADS": "2"},
        alarms=Alarms(same_crashes=4, no_keep=30),
    )


def test_the_least_task_has_defaults(lab: Path) -> None:
    """A command, a file and a metric are enough; the name is the folder's."""
    task = load(lab, LEAST)
    assert (task.name, task.metric) == ("lab", Metric("val_bpb", "minimize", None))
    assert (task.budget, task.checks, task.prepare) == (Budget(600.0), None, None)
    assert (task.secondary, dict(task.env)) == ((), {})
    assert (task.alarms.same_crashes, task.alarms.no_keep) == (0, 50)


def test_scale_and_rule_are_chosen_or_left_open(lab: Path) -> None:
    """Without the keys a scale is linear, and the version of the rule is the study's own."""
    task = load(lab, LEAST)
    assert (task.metric.scale, task.keep.rule) == ("linear", None)
    task = load(lab, LEAST + 'scale = "log"\n[keep]\nrule = 1\n')
    assert (task.metric.scale, task.keep.rule) == ("log", 1)
    assert load(lab, LEAST + "[keep]\nrule = 0\n").keep.rule is None
    assert task.keep.settings == load(lab, LEAST).keep.settings


def test_an_environment_variable_may_be_empty(lab: Path) -> None:
    """Setting a variable to nothing is something else than not setting it."""
    assert load(lab, LEAST + '[env]\nCUDA_VISIBLE_DEVICES = ""').env == {"CUDA_VISIBLE_DEVICES": ""}


def test_the_timeout_leaves_room_around_the_budget(lab: Path) -> None:
    """With seconds alone, the whole attempt may take twice that and a minute."""
    assert load(lab, LEAST + "[budget]\nseconds = 20").budget == Budget(100.0, 20.0)


def test_the_program_is_read_as_it_stands_now(lab: Path) -> None:
    """Instructions may change while a study runs, and may be missing; a guess is not read."""
    task = load(lab, LEAST)
    (lab / "program.md").write_bytes(b"\xef\xbb\xbfGo f\xc3\xa4r\n")
    assert task.program == "Go fär\n"
    (lab / "program.md").write_bytes(b"Go f\xe4r\n")
    with pytest.raises(TaskError, match=r"program\.md is not UTF-8 text: byte 4 is 0xe4"):
        task.program  # noqa: B018
    (lab / "program.md").unlink()
    assert task.program == ""


def edited(old: str, new: str) -> str:
    """The full task with one piece replaced."""
    assert FULL.count(old) == 1, old
    return FULL.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "key", "seen", "allowed"),
    [
        ('"python train.py"', '""', "command", "''", "a non-empty string"),
        ('"python train.py"', '" "', "command", "' '", "a non-empty string"),
        ('"python train.py"', "3", "command", "3", "a non-empty string"),
        ('"python train.py"', '["a", "b"]', "command", "['a', 'b']", "a non-empty string"),
        ('"python train.py"', r'"a\u0000b"', "command", r"'a\x00b'", "without NUL"),
        ('name = "nanogpt"', "name = true", "name", "True", "a non-empty string"),
        ('"val_bpb"', '"val bpb"', "metric.name", "'val bpb'", "val_bpb"),
        ('"val_bpb"', '"1st"', "metric.name", "'1st'", "val_bpb"),
        ('"maximize"', '"maximise"', "metric.direction", "'maximise'", '"maximize"'),
        ('"maximize"', "1", "metric.direction", "1", '"minimize" or "maximize"'),
        ('"log"', '"scores"', "metric.source", "'scores'", '"score"'),
        ("[0.1, 20]", "[20, 0.1]", "metric.range", "[20, 0.1]", "the smaller first"),
        ("[0.1, 20]", "[0.1, 20]\nscale = 'logs'", "metric.scale", "'logs'", 'mean "log"'),
        ("[0.1, 20]", "[-9, 0]\nscale = 'log'", "metric.range", "[-9.0, 0.0]", "above 0"),
        ("timeout = 600", "timeout = 600\n[keep]\nrule = 3", "keep.rule", "3", "0 to 2"),
        ("timeout = 600", "timeout = 600\n[keep]\nrule = 1.5", "keep.rule", "1.5", "whole number"),
        ("[0.1, 20]", "[1]", "metric.range", "[1]", "two numbers"),
        ("[0.1, 20]", "[1, 1]", "metric.range", "[1, 1]", "the smaller first"),
        ("[0.1, 20]", "[nan, 1]", "metric.range", "[nan, 1]", "two numbers"),
        ("[0.1, 20]", "[true, 5]", "metric.range", "[True, 5]", "two numbers"),
        ("[0.1, 20]", '["a", "b"]', "metric.range", "['a', 'b']", "two numbers"),
        ("seconds = 300", "seconds = 0", "budget.seconds", "0", "a number above 0"),
        ("seconds = 300", "seconds = -1.5", "budget.seconds", "-1.5", "a number above 0"),
        ("seconds = 300", "seconds = inf", "budget.seconds", "inf", "a number above 0"),
        ("seconds = 300", "seconds = nan", "budget.seconds", "nan", "a number"),
        ("seconds = 300", "seconds = true", "budget.seconds", "True", "a number"),
        ("seconds = 300", 'seconds = "300"', "budget.seconds", "'300'", "a number"),
        ("timeout = 600", "timeout = 300", "budget.timeout", "300.0", "more than budget.seconds"),
        ("timeout = 30\n", "timeout = 0\n", "checks.timeout", "0", "a number above 0"),
        ('"python -m pytest"', "[]", "checks.command", "[]", "a non-empty string"),
        ("{ max = 80000 }", "5", "secondary.peak_vram_mb", "5", "[secondary.peak_vram_mb]"),
        ("max = 80000", 'max = "x"', "secondary.peak_vram_mb.max", "'x'", "a number"),
        ("min = 0.5", "min = 2", "secondary.accuracy.min", "2.0", "at most"),
        ("accuracy", '"a b"', "secondary.a b", "'a b'", "val_bpb"),
        ("same_crashes = 4", "same_crashes = -1", "alarms.same_crashes", "-1", "a whole number, 0"),
        ("no_keep = 30", "no_keep = 2.5", "alarms.no_keep", "2.5", "a whole number, 0"),
        ("no_keep = 30", "no_keep = true", "alarms.no_keep", "True", "a whole number, 0"),
        ('"2"', "2", "env.OMP_NUM_THREADS", "2", "a string"),
        ('"2"', r'"\u0000"', "env.OMP_NUM_THREADS", r"'\x00'", "without NUL"),
        ("OMP_NUM_THREADS", '"A=B"', "env.A=B", "'A=B'", "OMP_NUM_THREADS"),
        ("OMP_NUM_THREADS", '""', "env.", "''", "OMP_NUM_THREADS"),
    ],
)  # fmt: skip
def test_a_wrong_value_names_key_seen_and_allowed(
    lab: Path, old: str, new: str, key: str, seen: str, allowed: str
) -> None:
    """One message has the file, the key, the value that stands there and one that could."""
    said = refusal(lab, edited(old, new))
    before, _, after = said.partition("; allowed is ")
    assert before.endswith(f"{key} is {seen}")
    assert allowed in after


HUGE = "9" * 400


@pytest.mark.parametrize(
    ("old", "new"),
    [("seconds = 300", f"seconds = {HUGE}"), ("max = 80000", f"max = {HUGE}"),
     ("[0.1, 20]", f"[0.1, {HUGE}]"), ("seconds = 300", f"seconds = {'9' * 5000}")],
    ids=["seconds", "max", "range", "beyond int"],
)  # fmt: skip
def test_a_number_beyond_floats_is_refused(lab: Path, old: str, new: str) -> None:
    """A number too large for a float is a message, not a traceback."""
    assert "task.toml" in refusal(lab, edited(old, new))


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('command = "python train.py"', "", "command"),
        ('editable = ["train.py", "model/layers.py"]', "", "editable"),
        ('name = "val_bpb"', "", "metric.name"),
        ('command = "python -m pytest"', "", "checks.command"),
    ],
)
def test_a_missing_key_is_named(lab: Path, old: str, new: str, key: str) -> None:
    """A missing required key is named in full."""
    assert f"{key} is missing" in refusal(lab, edited(old, new))


@pytest.mark.parametrize("source", ["score", "judge"])
def test_a_source_needs_its_table(lab: Path, source: str) -> None:
    """A source other than the log needs its command."""
    assert f"{source} is missing" in refusal(lab, edited('"log"', f'"{source}"'))
    text = edited('"log"', f'"{source}"') + f"[{source}]\ncommand = 'python {source}.py'\n"
    task = load(lab, text)
    assert task.source == source
    assert getattr(task, source).command == f"python {source}.py"


@pytest.mark.parametrize("name", ["/etc/passwd", "../model.npz", "a//b"])
def test_an_artefact_lies_inside_the_lab(lab: Path, name: str) -> None:
    """What a score command is given is named from the lab's folder, and cannot lead out of it."""
    text = edited('"log"', '"score"') + f"[score]\ncommand = 'x'\nartefacts = ['{name}']\n"
    assert "score.artefacts" in refusal(lab, text)


def test_a_missing_metric_is_named(lab: Path) -> None:
    """A missing [metric] is an error, and so is one that is not a table."""
    least = 'command = "c"\neditable = ["train.py"]\n'
    assert "metric is missing" in refusal(lab, least)
    assert "metric is 'val_bpb'; allowed is a table: [metric]" in refusal(
        lab, least + 'metric = "val_bpb"'
    )


@pytest.mark.parametrize(
    ("old", "new", "key", "near"),
    [
        ("prepare =", "prepar =", "prepar", "prepare"),
        ("direction =", "directoin =", "metric.directoin", "direction"),
        ("timeout = 600", "time_out = 600", "budget.time_out", "timeout"),
        ("max = 80000", "maximum = 80000", "secondary.peak_vram_mb.maximum", ""),
        ("[checks]", "[check]", "check", "checks"),
        ("[env]", "[environment]", "environment", ""),
        ("prepare =", "zzz =", "zzz", ""),
    ],
)
def test_an_unknown_key_is_never_ignored(
    lab: Path, old: str, new: str, key: str, near: str
) -> None:
    """A key that means nothing is named, with the nearest that does and all there are."""
    said = refusal(lab, edited(old, new))
    assert f"unknown key {key}" in said
    assert "Allowed here: " in said
    assert f'did you mean "{near}"?' in said if near else "." in said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing.py", "no such file"),
        ("model", "no such file"),
        (".", "no such file"),
        ("../outside.py", "inside the lab"),
        ("model/../train.py", "inside the lab"),
        ("./train.py", "inside the lab"),
        ("/etc/passwd", "inside the lab"),
        ("model//layers.py", "inside the lab"),
        ("task.toml", "any file but"),
        ("program.md", "any file but"),
        ("link.py", "not a link"),
        ("linked/layers.py", "not a link"),
        ("dangling.py", "not a link"),
        ("nul\\u0000.py", "inside the lab"),
    ],
)
def test_editable_files_are_plain_files_of_the_lab(lab: Path, name: str, said: str) -> None:
    """Links, folders, files outside, the contract itself: each is refused by its name."""
    (lab.parent / "outside.py").write_text("")
    (lab / "link.py").symlink_to("train.py")
    (lab / "dangling.py").symlink_to("nowhere")
    (lab / "linked").symlink_to("model")
    assert said in refusal(lab, edited('["train.py", "model/layers.py"]', f'["{name}"]'))


@pytest.mark.parametrize("value", ["[]", '""', '"train.py"', "[1]", '[""]', "{}"])
def test_editable_is_a_list_of_names(lab: Path, value: str) -> None:
    """Anything but a non-empty list of file names is refused."""
    said = refusal(lab, edited('["train.py", "model/layers.py"]', value))
    assert "editable is" in said and 'a list of file names, such as ["train.py"]' in said


def test_a_lab_reached_through_a_link_is_a_lab(lab: Path) -> None:
    """The folder itself may be a link; only what is below it may not."""
    load(lab, LEAST)
    (lab.parent / "shortcut").symlink_to(lab)
    assert Task.load(lab.parent / "shortcut").editable == ("train.py",)


def test_a_lab_without_a_task_says_how_to_make_one(tmp_path: Path) -> None:
    """No task.toml is answered with the command that makes a lab."""
    with pytest.raises(TaskError, match=r"No task\.toml in .*autoresearch init"):
        Task.load(tmp_path)


@pytest.mark.parametrize("kind", ["folder", "loop", "lab is a file", "unreadable"])
def test_a_task_that_cannot_be_read_is_our_error(lab: Path, kind: str) -> None:
    """Whatever stands where task.toml should be, the message names it."""
    path = lab / "task.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "lab is a file":
        lab = lab / "train.py"
    elif os.geteuid() == 0:
        pytest.skip("root can read everything")
    else:
        path.write_text(LEAST)
        path.chmod(0)
    with pytest.raises(TaskError, match=str(lab)):
        Task.load(lab)


@pytest.mark.parametrize(
    "text", [b"command = ", b"\xff\xfe", b"a = 1\na = 2", b"<html>", b"\0", b"a = " + b"[" * 9999]
)
def test_what_is_not_toml_is_our_error(lab: Path, text: bytes) -> None:
    """Broken syntax and bytes that are no text are refused with the parser's own words."""
    (lab / "task.toml").write_bytes(text)
    with pytest.raises(TaskError, match=r"not valid TOML|not UTF-8 text"):
        Task.load(lab)


def test_windows_line_ends_and_a_byte_order_mark_are_fine(lab: Path) -> None:
    """A task saved by any editor is the same task."""
    plain = load(lab, LEAST)
    (lab / "task.toml").write_bytes(b"\xef\xbb\xbf" + LEAST.replace("\n", "\r\n").encode())
    assert Task.load(lab) == plain


@pytest.mark.parametrize(
    ("value", "problem"),
    [(0.5, None), (1.0, None), (0.25, "below its minimum 0.5"),
     (1.5, "above its maximum 1"), (float("nan"), "nan"), (float("inf"), "inf")],
)  # fmt: skip
def test_a_bound_says_what_is_wrong(value: float, problem: str | None) -> None:
    """Outside either limit is a problem with words; a NaN is never within bounds."""
    said = Bound("accuracy", 0.5, 1.0).problem(value)
    assert (said is None) if problem is None else (problem in (said or ""))


def test_a_task_that_is_no_text_names_the_byte(lab: Path) -> None:
    """Latin-1 is not guessed."""
    (lab / "task.toml").write_bytes(b'name = "caf\xe9"\n')
    with pytest.raises(TaskError, match=r"task\.toml is not UTF-8 text: byte 11 is 0xe9"):
        Task.load(lab)
