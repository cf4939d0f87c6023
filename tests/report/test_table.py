"""The terminal: the staircase and the table, with and without UTF-8, colours or room."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
from rich.console import Console

from autoresearch.lab.metric import Metric
from autoresearch.report.story import Story
from autoresearch.report.table import Staircase, TrialsTable, staircase, trials_table
from autoresearch.store.ledger import Status
from autoresearch.store.rows import Row, read_tsv
from report.made import MAXIMIZE, MINIMIZE, made_rows, real_results


def printed(what: object, width: int = 100, encoding: str = "utf-8", colour: bool = False) -> str:
    """What a terminal of this width and encoding shows."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, errors="strict", newline="")
    Console(file=file, width=width, force_terminal=colour, legacy_windows=False).print(what)
    file.flush()
    return raw.getvalue().decode(encoding)


def of(rows: tuple[Row, ...], metric: Metric = MINIMIZE) -> Story:
    """The story of bare rows."""
    return Story.of_rows("", metric, rows)


def both(rows: tuple[Row, ...]) -> tuple[Staircase, TrialsTable]:
    """The picture and the table of the same rows."""
    return staircase(of(rows, MINIMIZE)), trials_table(of(rows))


def test_every_kind_of_trial_has_its_own_mark() -> None:
    """Kept, discarded, crashed and off the scale are told apart without colour."""
    picture = printed(staircase(of(made_rows(), MINIMIZE)))
    assert "val_bpb 0.997900 → 0.973000 (-2.50 %)" in picture
    assert "● kept   ∙ discarded   × crashed   ▴ off the scale" in picture
    plot = picture.split("off the scale", 1)[1]
    assert all(mark in plot for mark in "●∙×▴─│╮")
    assert plot.count("×") == 1


def test_a_mark_for_every_trial_that_has_room() -> None:
    """Nine trials in a wide terminal are nine marks."""
    plot = printed(staircase(of(made_rows()[3:12], MINIMIZE))).split("\n", 1)[1]
    assert plot.count("●") + plot.count("∙") == 9


def test_the_staircase_goes_the_way_of_the_metric() -> None:
    """For a score that grows it climbs: the last kept mark stands above the first."""
    rows = tuple(Row(i, "", 0.5 + i / 10, 0, Status.KEEP, "") for i in range(4))
    lines = printed(staircase(of(rows, MAXIMIZE))).splitlines()[1:]
    marked = [line.index("●") for line in lines if "●" in line]
    assert marked == sorted(marked, reverse=True)
    assert any("╯" in line for line in lines)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_without_utf8_all_is_ascii(encoding: str) -> None:
    """Picture and table of any note print in ASCII, strictly encoded."""
    rows = (*made_rows(), Row(40, "é", 0.97, 0, Status.KEEP, "naïve → ☃ [red]…"))
    for what in both(rows):
        assert printed(what, encoding=encoding).isascii()
    assert "O kept   . discarded   x crashed" in printed(both(rows)[0], encoding=encoding)


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("rows", [made_rows(), made_rows()[:1], made_rows()[15:16], ()], ids=len)
def test_no_line_is_wider_than_the_terminal(width: int, rows: tuple[Row, ...]) -> None:
    """From 20 columns to 200, with many rows, one, a crash alone and none."""
    for what in both(rows):
        assert max(map(len, printed(what, width).splitlines()), default=0) <= max(width, 24)


def test_a_note_cannot_touch_the_terminal() -> None:
    """Escape sequences and markup in a note are text."""
    row = Row(0, "\x1b[2J", 1.0, 0, Status.KEEP, "\x1b]0;title\x07[bold]x[/bold]\x9b1m\nsecond")
    shown = printed(trials_table(of((row,))))
    assert not {"\x1b", "\x07", "\x9b"} & set(shown)
    assert "[bold]x[/bold]1m second" in shown


def test_colours_are_used_where_there_are_any() -> None:
    """On a colour terminal kept marks are green; without one there is no escape sequence."""
    picture = staircase(of(made_rows(), MINIMIZE))
    assert "\x1b[1;32m●" in printed(picture, colour=True)
    assert "\x1b" not in printed(picture)


def test_the_table_shows_every_row() -> None:
    """Number, status, value, change against the best before, commit, note and reason."""
    lines = printed(trials_table(of(made_rows())), 120).splitlines()
    assert len(lines) == 41
    assert lines[2].split()[:4] == ["1", "keep", "0.986000", "-0.011900"]
    assert lines[16].split()[:3] == ["15", "crash", "-"]
    assert "too large (oom)" in lines[16]


def test_the_real_file_in_a_terminal() -> None:
    """Its picture names both ends and all counts."""
    picture = printed(staircase(of(read_tsv(real_results())[1], MINIMIZE)))
    assert "val_bpb 0.997900 → 0.969686 (-2.83 %)" in picture
    assert "● kept   ∙ discarded   × crashed" in picture


@pytest.mark.parametrize(("encoding", "mark"), [("utf-8", "●"), ("ascii", "O")])
def test_as_text_it_suits_the_standard_output(encoding: str, mark: str) -> None:
    """`str` of it is plain text in the characters that this process can print."""
    program = (
        "from autoresearch.store.ledger import Status\n"
        "from autoresearch.lab.metric import Metric\n"
        "from autoresearch.report import Row, Story, staircase\n"
        "rows = (Row(0, '', 1.0, 0.0, Status.KEEP, ''),)\n"
        "print(staircase(Story.of_rows('', Metric('loss'), rows)))\n"
    )
    env = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "60", "FORCE_COLOR": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=env, check=True)
    text = done.stdout.decode(encoding)
    assert f"{mark} kept" in text
    assert "\x1b" not in text
