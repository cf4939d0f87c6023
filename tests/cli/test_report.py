"""report and export write over nothing of the person's that was not named."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.cli import main
from autoresearch.proposers.fake import ScriptedProposer
from tiny_lab import git, make_lab, opened, scores


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A study of two trials: baseline 10, keep 9."""
    folder = make_lab(tmp_path / "lab")
    with opened(folder) as study:
        study.baseline()
        study.step(ScriptedProposer(scores(9)))
    return folder


def output(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The output of a command, which must succeed."""
    with pytest.raises(SystemExit) as ended:
        main([*words])
    assert not ended.value.code
    return capsys.readouterr().out


def test_a_second_restore_does_not_write_over_what_the_first_set_aside(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of the person's own versions is still there."""
    for text in ("mine = 1\n", "mine = 2\n", "mine = 1\n"):
        (lab / "train.py").write_text(text)
        output(capsys, "best", "--restore", "--lab", str(lab))
    aside = lab / ".autoresearch" / "t" / "replaced"
    kept = {path.name: path.read_text() for path in aside.iterdir()}
    assert kept == {"train.py": "mine = 1\n", "train.py.2": "mine = 2\n"}


def test_restore_and_try_keep_the_line_endings_of_a_checkout(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With eol=crlf the files on disk have CRLF, the commits LF, and neither is a change."""
    (lab / ".git" / "info" / "attributes").write_text("*.py text eol=crlf\n")
    (lab / "train.py").write_bytes(b"SCORE = 7.0\r\n")
    output(capsys, "try", "-m", "seven", "--tag", "t", "--strategy", "greedy", "--lab", str(lab))
    assert git(lab, "cat-file", "blob", "autoresearch/t:train.py") == "SCORE = 7.0"
    assert (lab / "train.py").read_bytes() == b"SCORE = 7.0\r\n"
    (lab / "train.py").write_bytes(b"SCORE = 20.0\r\n")
    output(capsys, "try", "-m", "twenty", "--tag", "t", "--strategy", "greedy", "--lab", str(lab))
    assert (lab / "train.py").read_bytes() == b"SCORE = 7.0\r\n"


def tracked(lab: Path, *names: str) -> None:
    """Commit files of these names, as the original's repository has them."""
    for name in names:
        (lab / name).write_text("mine")
    git(lab, "add", "-f", *names)
    git(lab, "commit", "-qm", "pictures")


def test_report_leaves_the_labs_own_files_alone(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fault that it was: it wrote over progress.png, and locked its own study."""
    tracked(lab, "progress.png", "report.html")
    out = output(capsys, "report", "--lab", str(lab))
    folder = lab / ".autoresearch" / "t" / "report"
    assert f"Wrote {folder / 'report.html'}\n" in out
    assert sorted(path.name for path in folder.iterdir()) == [
        "progress.png",
        "progress.svg",
        "report.html",
    ]
    assert git(lab, "status", "--porcelain", "-uno") == ""
    with opened(lab):
        pass


def test_report_writes_over_tracked_files_where_out_names_their_folder_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A picture in the repository is what some labs want; the study goes on after it."""
    lab = make_lab(tmp_path / "lab", progress_png="mine")
    with opened(lab) as study:
        study.baseline()
    out = output(capsys, "report", "--out", str(lab), "--lab", str(lab))
    assert f"Wrote {lab / 'progress.png'}, over a file that git tracks" in out
    assert f"Wrote {lab / 'report.html'}\n" in out
    assert git(lab, "status", "--porcelain", "-uno") == "M progress.png"
    with opened(lab) as study:
        assert "progress.png" in study.notices[0]


def test_report_of_a_results_file_leaves_tracked_files_beside_it_alone(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder is not named, so nothing of git's is written over there."""
    tracked(lab, "progress.svg")
    words = ["report", "--results", str(lab / "results.tsv")]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "progress.svg: git tracks that" in capsys.readouterr().err
    assert (lab / "progress.svg").read_text() == "mine"
    output(capsys, *words, "--out", str(lab))
    assert "<svg" in (lab / "progress.svg").read_text()


def test_export_says_when_it_wrote_over_a_tracked_file(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The person named it."""
    tracked(lab, "trials.jsonl")
    main_words = ["export", "-o", str(lab / "trials.jsonl"), "--lab", str(lab)]
    with pytest.raises(SystemExit, match="0"):
        main(main_words)
    assert "over a file that git tracks" in capsys.readouterr().err
