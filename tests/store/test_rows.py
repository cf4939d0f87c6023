"""Rows: read from any results.tsv of the five-column form, or made from trials."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.errors import ReportError
from autoresearch.store.ledger import Run, State, Status, Trial
from autoresearch.store.results import results_tsv
from autoresearch.store.rows import from_trials, plain, read_tsv
from report.made import MINIMIZE, TSV, real_results


def written(folder: Path, text: str | bytes) -> Path:
    """A results file with this content."""
    path = folder / "results.tsv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_five_columns_are_read(tmp_path: Path) -> None:
    """The metric's name comes from the heading, a crash has no value, numbers count from 0."""
    name, rows = read_tsv(written(tmp_path, TSV))
    assert name == "val_bpb"
    assert [row.number for row in rows] == [0, 1, 2, 3, 4, 5]
    assert [row.value for row in rows] == [1.864, 1.8505, 1.8712, None, 7.215849, 1.849]
    assert rows[3].status is Status.CRASH
    assert (rows[0].commit, rows[0].note, rows[0].memory_gb) == ("baseline", "baseline", 0.4)


@pytest.mark.parametrize(
    "text",
    [
        TSV.replace("\n", "\r\n"),
        "\n\n" + TSV.replace("\n", "\n\n"),
        "\ufeff" + TSV,
        TSV.replace("\tkeep\t", "\t KEEP \t"),
        TSV.removesuffix("\n"),
    ],
    ids=["crlf", "blank lines", "byte order mark", "case and spaces", "no last newline"],
)
def test_harmless_differences_change_nothing(tmp_path: Path, text: str) -> None:
    """Line ends, blank lines, a byte order mark and the case of a status do not matter."""
    assert read_tsv(written(tmp_path, text)) == read_tsv(written(tmp_path, TSV))


def test_trailing_columns_may_be_missing_or_more(tmp_path: Path) -> None:
    """No description is an empty note, further columns are left alone, a stray tab is a space."""
    _, rows = read_tsv(written(tmp_path, "commit\tloss\tmemory_gb\tstatus\na\t1\t2\tkeep\n"))
    assert rows[0].note == ""
    more = "commit\tloss\tmemory_gb\tstatus\tdescription\textra\na\t1\t2\tkeep\tnote\tx\ty\n"
    assert read_tsv(written(tmp_path, more))[1][0].note == "note"
    stray = (
        "commit\tloss\tmemory_gb\tstatus\tdescription\na\t1\t\tkeep\tone\ttwo\nb\t2\t1\tdiscard\n"
    )
    rows = read_tsv(written(tmp_path, stray))[1]
    assert [row.note for row in rows] == ["one two", ""]
    assert rows[0].memory_gb == 0.0


def test_a_crash_never_has_a_value(tmp_path: Path) -> None:
    """Whatever number stands in a crash's row, it can never be a record."""
    text = (
        "commit\tloss\tmemory_gb\tstatus\tdescription\na\t-5.0\t2\tcrash\tx\nb\tnan\t2\tdiscard\t\n"
    )
    assert [row.value for row in read_tsv(written(tmp_path, text))[1]] == [None, None]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("", "line 1 is empty"),
        ("hello world\n", "line 1 is 'hello world'"),
        ("commit,val_bpb,memory_gb,status\n", "line 1 is 'commit,val_bpb"),
        (TSV.replace("status", "verdict"), "line 1 is"),
        (TSV.replace("\tdiscard\tadd", "\tmaybe\tadd"), "line 4: status is 'maybe'. Allowed: keep"),
        (TSV.replace("1.871200", "better"), "line 4: metric is 'better'. Allowed: a number"),
        (TSV.replace("1.871200\t0.4", "1.8712\tlots"), "line 4: memory_gb is 'lots'"),
        (TSV.replace("1.850500", "nan"), "line 3: a kept trial whose metric is 'nan'"),
        (TSV.encode() + b"\xff\xfe", "is not UTF-8 text"),
        (b"\x00" * 300, "line 1 is"),
    ],
)
def test_another_file_is_refused_by_name(tmp_path: Path, text: str | bytes, seen: str) -> None:
    """What is not of this form is one error with the file, the line, what was seen and allowed."""
    path = written(tmp_path, text)
    with pytest.raises(ReportError) as caught:
        read_tsv(path)
    assert str(path) in str(caught.value)
    assert seen in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    """No file and no regular file are errors of ours, not tracebacks."""
    for path in (tmp_path / "none.tsv", tmp_path):
        with pytest.raises(ReportError, match="cannot be read"):
            read_tsv(path)


def test_the_real_file_is_read_right() -> None:
    """126 rows from 0.997900 to 0.969686: 23 kept, 102 discarded, 1 crashed."""
    name, rows = read_tsv(real_results())
    kept = [row.value for row in rows if row.status is Status.KEEP and row.value is not None]
    assert (name, len(rows)) == ("val_bpb", 126)
    assert (kept[0], min(kept), kept[-1]) == (0.9979, 0.969686, 0.969686)
    counts = {status.value: sum(row.status is status for row in rows) for status in Status}
    assert counts == {"keep": 23, "tentative": 0, "discard": 102, "crash": 1}


def test_the_real_file_goes_through_unchanged() -> None:
    """Read and written again it is the same file, byte for byte."""
    path = real_results()
    assert results_tsv(read_tsv(path)[1], MINIMIZE) == path.read_text()


def test_trials_become_rows() -> None:
    """Only decided trials count; parents become numbers; a crash's number is dropped."""
    run = Run(0, 42, 20.5, 0, 1.5, 0.4)
    base = Trial(0, "aa", "baseline", "", State.APPLIED, "aa", status=Status.KEEP, runs=(run,))
    child = Trial(1, "aa", "LR up", "offline", State.APPLIED, "bb", status=Status.CRASH,
                  reason="checks_failed", runs=(run, run))  # fmt: skip
    running = Trial(2, "aa", "not yet", "offline", State.RUNNING, "cc")
    rows = from_trials([base, child, running], {0: ((0.5, 3.0),)}, {1: "+x"})
    assert [(r.number, r.parent, r.value, r.seed) for r in rows] == [
        (0, None, 1.5, 42),
        (1, 0, None, 42),
    ]
    assert (rows[0].curve, rows[1].diff, rows[1].seconds) == (((0.5, 3.0),), "+x", 41.0)
    assert (rows[1].reason, rows[1].proposer) == ("checks_failed", "offline")


def test_plain_is_one_harmless_line() -> None:
    """Control, escape and direction-changing characters go, whitespace folds."""
    assert plain("a\tb\n\nc\x1b[31m \u202edcba\x00\ud800") == "a b c[31m dcba"
