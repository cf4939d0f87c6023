"""status, log, show, diff, best, export, report of a finished study."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from autoresearch.cli import main
from autoresearch.cli.words import summary_text
from autoresearch.proposers.fake import ScriptedProposer
from autoresearch.store.pause import write_pause
from tiny_lab import CRASHES, TASK, edit, git, make_lab, opened, scores


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of five trials: baseline 10, keep 9, discard 12, crash, keep 8."""
    folder = make_lab(tmp_path_factory.mktemp("looked") / "lab")
    steps = [*scores(9, 12), edit(CRASHES, "boom"), *scores(8)]
    with opened(folder) as study:
        proposer = ScriptedProposer(steps)
        for _ in range(5):
            study.step(proposer)
    return folder


def output(lab: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The output of a command, which must succeed."""
    with pytest.raises(SystemExit) as ended:
        main([*words, "--lab", str(lab)])
    assert not ended.value.code
    return capsys.readouterr().out


def test_status_counts_and_names_the_best(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same facts for people and for machines."""
    facts = json.loads(output(lab, capsys, "status", "--json"))
    expected = {"trials": 5, "experiments": 4, "keeps": 2, "discarded": 1, "crashed": 1}
    expected |= {"baseline": 10.0, "best": 8.0, "best trial": 4, "change": -2.0}
    assert facts | expected == facts
    assert facts["running"] == "no"
    words = output(lab, capsys, "status")
    assert "result:     score 10.000000 → 8.000000 (-20.00 %)" in words
    assert "best:       #4 on branch autoresearch/" in words
    assert "trials:     4 experiments: 2 keeps, 1 discarded, 1 crashed" in words


def test_a_skipped_trial_is_no_crash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A duplicate and an edit of nothing are skipped: counted apart, each with its reason."""
    lab = make_lab(tmp_path / "lab")
    with opened(lab) as study:
        proposer = ScriptedProposer([*scores(9), *scores(9), *[edit(CRASHES, "boom")] * 2])
        for _ in range(5):
            study.step(proposer)
        told = summary_text(study).splitlines()
        assert told[0] == "4 experiments: 1 keep, 0 discarded, 1 crashed, 2 skipped."
    facts = json.loads(output(lab, capsys, "status", "--json"))
    assert (facts["crashed"], facts["skipped"]) == (1, 2)
    lines = output(lab, capsys, "log").splitlines()
    words = [w for line in lines[1:] for w in line.split() if w in ("keep", "crash", "skip")]
    assert words == ["keep", "keep", "skip", "crash", "skip"]
    assert lines[3].endswith("[no_change]")
    assert "skip (no_change)" in output(lab, capsys, "show", "2")
    out = output(lab, capsys, "report")
    assert "2 skipped" in out


def test_status_warns_of_crashes_alike_and_names_the_pause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For people a line, for machines the kind, the text and the trials."""
    lab = make_lab(tmp_path / "lab", task_toml='sandbox = "off"\n' + TASK)
    with opened(lab) as study:
        proposer = ScriptedProposer([edit(f"x = {n}\n{CRASHES}", "boom") for n in range(3)])
        for _ in range(4):
            study.step(proposer)
        write_pause(study.paths, "a reason")
    words = output(lab, capsys, "status")
    assert "\nwarning:    3 of 3 crashed alike: RuntimeError: boom\n" in words
    assert re.search(r"running: +no, and paused since \d\d \w{3} \d\d:\d\d: a reason\n", words)
    (alarm,) = json.loads(output(lab, capsys, "status", "--json"))["alarms"]
    assert (alarm["kind"], alarm["trials"]) == ("crashes", [1, 2, 3])
    assert alarm["text"] == "3 of 3 crashed alike: RuntimeError: boom"


def test_log_lists_all_trials_or_the_kept_ones(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line each, oldest first, with the reason of a discard and a crash."""
    lines = output(lab, capsys, "log").splitlines()
    assert [line.split()[0] for line in lines] == ["trial", "0", "1", "2", "3", "4"]
    assert lines[3].endswith("[worse than #1 by 3]")
    assert lines[4].endswith("boom [failed]")
    assert lines[0].split()[1:3] == ["time", "commit"]
    assert lines[0].index("time") == 7
    assert all(re.match(r" +\d  \d\d \w{3} \d\d:\d\d  [0-9a-f]{7} ", line) for line in lines[1:])
    assert len(output(lab, capsys, "log", "--kept").splitlines()) == 4
    assert output(lab, capsys, "log", "-n", "1").splitlines()[1].split()[0] == "4"


def test_show_tells_how_a_trial_went(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status, reason, run and the end of the log."""
    out = output(lab, capsys, "show", "3")
    assert "crash (failed)" in out
    assert "discard (worse than #1 by 3)" in output(lab, capsys, "show", "2")
    assert "keep (better than #0 by 1)" in output(lab, capsys, "show", "1")
    assert "RuntimeError: boom" in out
    assert "\nTraceback" in out
    assert '\n  File "' in out
    assert re.search(r"\nproposer: \w+, \d\d \w{3} \d\d:\d\d\n", out)
    assert re.search(r", \d+\.\d GiB, ", out)
    assert json.loads(output(lab, capsys, "show", "4", "--json"))["value"] == 8.0


def test_diff_shows_what_changed(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Against the parent, or between two trials."""
    out = output(lab, capsys, "diff", "4")
    assert "-SCORE = 9\n+SCORE = 8\n" in out
    assert "-SCORE = 12\n+SCORE = 8\n" in output(lab, capsys, "diff", "2", "4")
    assert output(lab, capsys, "diff", "0") == ""


def test_best_can_bring_its_files_into_the_lab(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The files that it replaces are saved in another folder."""
    assert "#4 score 8" in output(lab, capsys, "best")
    (lab / "train.py").write_text("SCORE = 1 # not committed anywhere\n")
    output(lab, capsys, "best", "--restore")
    assert (lab / "train.py").read_text() == "SCORE = 8\n"
    replaced = lab / ".autoresearch" / "t" / "replaced" / "train.py"
    assert replaced.read_text() == "SCORE = 1 # not committed anywhere\n"
    git(lab, "checkout", "-q", "train.py")


def test_export_writes_both_forms(
    lab: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """JSON lines hold everything; the table equals results.tsv."""
    trials = [json.loads(line) for line in output(lab, capsys, "export").splitlines()]
    assert [trial["status"] for trial in trials] == ["keep", "keep", "discard", "crash", "keep"]
    assert trials[3]["runs"][0]["reason"] == "failed"
    assert trials[2]["because"] == "worse than #1 by 3"
    assert (trials[2]["explanation"]["against"], trials[2]["explanation"]["gain"]) == (1, -3.0)
    output(lab, capsys, "export", "--format", "tsv", "-o", str(tmp_path / "out.tsv"))
    assert (tmp_path / "out.tsv").read_text() == (lab / "results.tsv").read_text()


def test_an_unknown_trial_is_answered_with_the_known_numbers(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and the range of numbers."""
    with pytest.raises(SystemExit) as ended:
        main(["show", "99", "--lab", str(lab)])
    assert ended.value.code == 2
    assert "No trial 99 in this study (there are: 0 to 4)" in capsys.readouterr().err


def test_report_writes_page_and_pictures_and_draws_the_staircase(
    lab: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The files are there, whole, and show the same numbers as the terminal."""
    out = output(lab, capsys, "report", "-o", str(tmp_path / "out"))
    page = (tmp_path / "out" / "report.html").read_text()
    assert "score 8" in page
    assert "boom" in page
    assert (tmp_path / "out" / "progress.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "out" / "progress.svg").read_text()
    assert "8.0" in out


def test_report_reads_any_results_file(
    lab: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A bare results.tsv is enough; no lab is needed."""
    (tmp_path / "results.tsv").write_text((lab / "results.tsv").read_text())
    output(tmp_path, capsys, "report", "--results", str(tmp_path / "results.tsv"))
    assert (tmp_path / "report.html").exists()
