"""Results for other tools: five columns, and JSON lines."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from autoresearch.store.ledger import Run, State, Status, Trial
from autoresearch.store.results import jsonl, results_tsv
from autoresearch.store.rows import Row, read_tsv
from report.made import MINIMIZE, TSV, made_rows


def row(note: str, commit: str = "a" * 40) -> Row:
    """A kept row with this note."""
    return Row(1, commit, 1.5, 0.4, Status.KEEP, note)


def test_written_and_read_again_it_is_the_same(tmp_path: Path) -> None:
    """A file of the five-column form survives the round trip byte for byte."""
    path = tmp_path / "results.tsv"
    path.write_text(TSV)
    name, rows = read_tsv(path)
    assert (name, results_tsv(rows, MINIMIZE)) == ("val_bpb", TSV)


def test_a_row_without_value_has_zeros() -> None:
    """A crash is 0.000000 and 0.0, as the ecosystem's tools expect; a commit has 7 characters."""
    lines = results_tsv(made_rows(), MINIMIZE).splitlines()
    assert lines[0] == "commit\tval_bpb\tmemory_gb\tstatus\tdescription"
    assert lines[16] == "ccccccc\t0.000000\t0.0\tcrash\ttoo large"
    assert all(len(line.split("\t")) == 5 for line in lines)


def test_a_note_cannot_break_the_form() -> None:
    """Tabs, line ends and control characters in a note become spaces or nothing."""
    text = results_tsv([row("a\tb\r\nc\x0bd\u2028e\x00f")], MINIMIZE)
    assert text.splitlines()[1].split("\t")[4] == "a b c d ef"


@pytest.mark.parametrize(
    ("note", "cell"),
    [
        ('=HYPERLINK("x")', '\'=HYPERLINK("x")'),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+SUM(A1)", "'-2+SUM(A1)"),
        ("+5% warmup", "+5% warmup"),
        ("-0.1 lr", "-0.1 lr"),
        ("lr = 0.1 (better)", "lr = 0.1 (better)"),
    ],
)
def test_only_what_a_spreadsheet_would_run_is_quoted(tmp_path: Path, note: str, cell: str) -> None:
    """A formula is preceded by an apostrophe, other notes stay as they are; both read back."""
    path = tmp_path / "results.tsv"
    path.write_text(results_tsv([row(note)], MINIMIZE))
    assert path.read_text().splitlines()[1].split("\t")[4] == cell
    assert read_tsv(path)[1][0].note == note


def test_jsonl_holds_everything_in_a_fixed_order() -> None:
    """One object a line, all fields of trial and its runs, keys always in the same order."""
    runs = (
        Run(0, 42, 20.0, 0, 1.5, 0.4, numbers={"val_bpb": 1.5, "a": math.inf}),
        Run(1, 43, 21.0, None, None, 0.4, reason="timeout", detail="took </too> long"),
    )
    trial = Trial(3, "aa", "note ☃ \ud800", "offline", State.APPLIED, "bb", "tt", Status.CRASH,
                  "timeout", "2026-01-01T00:00:00Z", 0.25, runs)  # fmt: skip
    lines = jsonl([trial, Trial(4, "bb", "", "offline")]).splitlines()
    first, second = map(json.loads, lines)
    assert list(first) == list(second)
    assert list(first)[:4] == ["number", "parent", "note", "proposer"]
    assert (first["state"], first["status"], first["cost_usd"]) == ("applied", "crash", 0.25)
    assert (first["value"], first["seconds"]) == (None, 41.0)
    assert first["runs"][0]["numbers"] == {"a": "inf", "val_bpb": 1.5}
    assert first["runs"][1]["detail"] == "took </too> long"
    assert second["runs"] == []
    assert all(line.isascii() for line in lines)
