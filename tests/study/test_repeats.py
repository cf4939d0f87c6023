"""Lines that come back after a discard are pointed out, and not refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoresearch.cli import main
from autoresearch.proposers.fake import ScriptedProposer
from autoresearch.study.repeats import written
from autoresearch.study.study import NOTE
from tiny_lab import CRASHES, edit, make_lab, opened, scores

BACK = "(brings back a line of #1, which was worse)"


def test_a_line_of_a_discard_that_comes_back_is_in_the_note_and_the_next_brief(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Comments and white space aside; it runs all the same, and log and show print it."""
    lab = make_lab(tmp_path / "lab")
    with opened(lab) as study:
        study.baseline()
        study.step(ScriptedProposer([edit("SCORE = 10.0\nEXTRA = 50\nSCORE += EXTRA\n", "more")]))
        back = edit("EXTRA  =  50 # again\nSCORE = 9.0\n", "better with it")
        trial = study.step(ScriptedProposer([back]))
        assert (trial.word, trial.value) == ("keep", 9.0)
        assert trial.note == f"better with it {BACK}"
        assert study.ledger.trial(2) == trial
        assert BACK in study.workspaces.brief(study.ask()).text
    for words in (["log"], ["show", "2"]):
        with pytest.raises(SystemExit):
            main([*words, "--lab", str(lab)])
        assert BACK in capsys.readouterr().out


def test_what_did_not_lose_by_its_number_is_no_echo(tmp_path: Path) -> None:
    """Lines of a crash, of an equal, of a keep, and those of the parent: nobody lost by these."""
    steps = [
        edit(CRASHES + "SHARED = 1\n"),
        edit("SCORE = 10.0\nEQUAL_LINE = 1\n"),
        edit("SCORE = 9.0\nKEPT_LINE = 1\n"),
        edit("KEPT_LINE = 1\nSCORE = 8.5\nSHARED = 1\nEQUAL_LINE = 1\n"),
    ]
    with opened(make_lab(tmp_path / "lab")) as study:
        study.baseline()
        notes = [study.step(ScriptedProposer([step])).note for step in steps]
    assert notes == ["an edit"] * 4


def test_of_several_discards_the_one_that_shares_most_is_named(tmp_path: Path) -> None:
    """And of equals the last; a study that was opened again knows them too."""
    lab = make_lab(tmp_path / "lab")
    two = "SCORE = 30\nFIRST_LINE = 1\nSECOND_LINE = 2\n"
    with opened(lab) as study:
        study.baseline()
        for step in (edit(two), edit("SCORE = 31\nFIRST_LINE = 1\n"), *scores(32)):
            study.step(ScriptedProposer([step]))
    with opened(lab) as study:
        both = edit(two.replace("30", "9"), "x" * NOTE)
        trial = study.step(ScriptedProposer([both]))
        assert trial.note.endswith("xxx (brings back 2 lines of #1, which was worse)")
        assert len(trial.note) == NOTE
        one = edit("SCORE = 8\nFIRST_LINE = 1\nTHIRD_LINE = 3\n")
        assert "brings back" not in study.step(ScriptedProposer([one])).note  # the best has it


def test_lines_are_compared_as_code() -> None:
    """A `#` within quotes is no comment; what says next to nothing does not count."""
    before = {"a.py": b"x = 1\n"}
    after = b"x = 1  # one\ncolour = '#fff'  # grey\n)\nelse:\n\n    y=  22222\n"
    assert written(before, {"a.py": after}) == {
        ("a.py", "colour='#fff'"),
        ("a.py", "y=22222"),
        ("a.py", "else:"),
    }
    assert written({}, {"b.txt": b"# a heading\n"}) == {("b.txt", "#aheading")}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("part", ["\"'", '"\\"', "'" * 3, '"\\', "# '"])
def test_hostile_lines_are_read_in_no_time(part: str) -> None:
    """A megabyte of quotes holds nothing up: the timeout is far away."""
    long = (part * 500_000)[: 1 << 20]
    lines = "\n".join([(part * 400)[:999]] * 100)
    written({}, {"a.py": f"{long}\n{lines}".encode()})


def test_what_a_proposer_says_beside_its_note_is_on_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the trial's folder, and shown; terminal control characters are not."""
    from autoresearch.proposers import Proposal

    lab = make_lab(tmp_path / "lab")
    said = {"why": "local\x1b[31m", "SCORE": "10.0 -> 9"}
    with opened(lab) as study:
        study.baseline()
        study.tell(study.ask(), {"train.py": b"SCORE = 9\n"}, Proposal("a", details=said), "hand")
        study.tell(study.ask(), {"train.py": b"SCORE = 8\n"}, Proposal("b"), "hand")
        assert json.loads((study.paths.trial(1) / "proposal.json").read_text()) == said
        assert not (study.paths.trial(2) / "proposal.json").exists()
    with pytest.raises(SystemExit):
        main(["show", "1", "--lab", str(lab)])
    out = capsys.readouterr().out
    assert "          why: local\n          SCORE: 10.0 -> 9\n" in out
    assert "\x1b" not in out
