"""Recordings: proposals are replayed byte for byte, or an error says why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from autoresearch.errors import ProposerError
from autoresearch.proposers import Brief, Proposal, ProposalFailed, Tried
from autoresearch.proposers.fake import Edit, ScriptedProposer, Step
from autoresearch.proposers.record import Recorder, Replayer
from llm_server import TRAIN, workspace

EDITABLE = ("train.py", "model.py")


def at(number: int) -> Brief:
    """A brief at this trial."""
    tried = tuple(Tried(n, f"c{n}", "c0", {}, "discard", 1.0, "", "") for n in range(number))
    return Brief("", EDITABLE, "c0", history=tried)


def fresh(folder: Path) -> Path:
    """A workspace with two editable files."""
    folder.mkdir(exist_ok=True)
    (folder / "model.py").write_bytes(b"\xff\r\n")
    return workspace(folder)


def record(path: Path, folder: Path, *steps: Step, first: int = 1) -> list[Proposal]:
    """Record steps, each at a trial of its own."""
    recorder = Recorder(ScriptedProposer(steps), path)
    return [recorder.propose(fresh(folder), at(first + i)) for i in range(len(steps))]


def raises(error: ProposerError) -> Step:
    """A step that fails."""

    def step(_: Path, __: Brief) -> str:
        raise error

    return step


@given(content=st.binary(max_size=200), note=st.text(max_size=50), cost=st.floats(0, 9))
@hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_bytes_come_back(tmp_path: Path, content: bytes, note: str, cost: float) -> None:
    """Text, \\r\\n, bytes that are no text; the note and the cost as they were."""

    def step(folder: Path, _: Brief) -> Proposal:
        (folder / "train.py").write_bytes(content)
        return Proposal(note, cost, 7, {"why": note})

    path = tmp_path / "night.jsonl"
    path.unlink(missing_ok=True)
    (said,) = record(path, tmp_path / "w", step)
    replayer = Replayer(path)
    assert replayer.propose(fresh(tmp_path / "v"), at(1)) == said
    assert (tmp_path / "v" / "train.py").read_bytes() == content
    assert (tmp_path / "v" / "model.py").read_bytes() == b"\xff\r\n"
    assert replayer.name == "scripted"


def test_a_recording_goes_on_in_a_second_session(tmp_path: Path) -> None:
    """Both sessions play back as one."""
    path = tmp_path / "night.jsonl"
    record(path, tmp_path / "w", Edit({"train.py": "one"}))
    record(path, tmp_path / "w", Edit({"train.py": "two"}), first=2)
    replayer = Replayer(path)
    for number, text in [(1, "one"), (2, "two")]:
        replayer.propose(fresh(tmp_path / "v"), at(number))
        assert (tmp_path / "v" / "train.py").read_text() == text
    with pytest.raises(ProposerError, match="the recording is over, at trial 3"):
        replayer.propose(fresh(tmp_path / "v"), at(3))


def test_a_replay_goes_on_where_its_study_stopped(tmp_path: Path) -> None:
    """A new process looks up the trial that it stands at."""
    path = tmp_path / "night.jsonl"
    record(path, tmp_path / "w", *(Edit({"train.py": f"{n}"}) for n in (1, 2, 3)))
    Replayer(path).propose(fresh(tmp_path / "v"), at(3))
    assert (tmp_path / "v" / "train.py").read_text() == "3"


def test_other_files_are_an_error_that_says_so(tmp_path: Path) -> None:
    """Nothing is written over a parent that the proposal was not made for."""
    path = tmp_path / "night.jsonl"
    record(path, tmp_path / "w", Edit({"train.py": "one"}))
    folder = fresh(tmp_path / "v")
    (folder / "model.py").write_text("another")
    with pytest.raises(ProposerError, match=r"proposal 1 \(trial 1\) was made for other files"):
        Replayer(path).propose(folder, at(1))
    assert (folder / "train.py").read_text() == TRAIN


def test_another_trial_is_an_error_that_says_so(tmp_path: Path) -> None:
    """A recording that begins in the middle of a study replays from there only."""
    path = tmp_path / "night.jsonl"
    record(path, tmp_path / "w", Edit({"train.py": "one"}), first=5)
    with pytest.raises(ProposerError, match="goes on at trial 5, and this study is at trial 1"):
        Replayer(path).propose(fresh(tmp_path / "v"), at(1))


def test_failures_fail_again_without_their_wait(tmp_path: Path) -> None:
    """Kind, words, cost and tokens; then the end, in the proposer's words."""
    path = tmp_path / "night.jsonl"
    failed = ProposalFailed("busy", "slow down", retry_after=60, cost_usd=0.1, tokens=3)
    for error in (failed, ProposerError("nothing left")):
        with pytest.raises(ProposerError):
            record(path, tmp_path / "w", raises(error))
    replayer = Replayer(path)
    with pytest.raises(ProposalFailed, match="slow down") as raised:
        replayer.propose(fresh(tmp_path / "v"), at(1))
    told = raised.value
    assert (told.kind, told.retry_after, told.cost_usd, told.tokens) == ("busy", 0.0, 0.1, 3)
    with pytest.raises(ProposerError, match="nothing left"):
        replayer.propose(fresh(tmp_path / "v"), at(1))


def test_a_proposal_that_was_lost_is_not_played(tmp_path: Path) -> None:
    """Killed between proposal and trial: the next session proposed again, and that one counts.

    An edit that changed nothing is different: it was a trial, and leaves the number as it was.
    """
    path = tmp_path / "night.jsonl"
    record(path, tmp_path / "w", Edit({"train.py": "lost"}))
    record(path, tmp_path / "w", Edit({}, "nothing"))
    record(path, tmp_path / "w", Edit({"train.py": "counts"}))
    replayer = Replayer(path)
    assert replayer.propose(fresh(tmp_path / "v"), at(1)).note == "nothing"
    replayer.propose(fresh(tmp_path / "v"), at(1))
    assert (tmp_path / "v" / "train.py").read_text() == "counts"


def test_a_file_that_was_taken_away_is_taken_away(tmp_path: Path) -> None:
    """The harness refuses such an edit, then and now."""

    def step(folder: Path, _: Brief) -> str:
        (folder / "train.py").unlink()
        (folder / "train.py").symlink_to("model.py")
        return "a link"

    path = tmp_path / "night.jsonl"
    record(path, tmp_path / "w", step)
    Replayer(path).propose(fresh(tmp_path / "v"), at(1))
    assert not (tmp_path / "v" / "train.py").exists()


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    """A power cut in the middle of a line costs that line and no other."""
    path = tmp_path / "night.jsonl"
    record(path, tmp_path / "w", Edit({"train.py": "one"}), Edit({"train.py": "two"}))
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) - 40):
        path.write_bytes(whole[:size])
        Replayer(path).propose(fresh(tmp_path / "v"), at(1))
        record(path, tmp_path / "w", Edit({"train.py": "again"}), first=2)
        replayer = Replayer(path)
        replayer.propose(fresh(tmp_path / "v"), at(2))
        assert (tmp_path / "v" / "train.py").read_text() == "again"


def test_a_recording_is_one_object_a_line_that_a_person_can_read(tmp_path: Path) -> None:
    """Trial, parent, files, and the note."""
    path = tmp_path / "night.jsonl"
    record(path, tmp_path / "w", Edit({"train.py": "one"}, "the note", 0.5))
    head, row = [json.loads(line) for line in path.read_text().splitlines()]
    assert head == {"format": "autoresearch proposals 1"}
    assert (row["trial"], row["proposer"]) == (1, "scripted")
    assert row["files"] == {"train.py": {"text": "one"}}
    assert row["proposal"]["note"] == "the note"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a recording of proposals"),
        (b"precious\n", "not a recording of proposals"),
        (
            b'{"format": "autoresearch proposals 1"}\n{}\n',
            "line 2: this is not a recorded proposal",
        ),
        (
            b'{"format": "autoresearch proposals 1"}\n[1]\n',
            "line 2: this is not a recorded proposal",
        ),
        (
            b'{"format": "autoresearch proposals 1"}\n{"trial": 1, "parent": "", "proposer": "",'
            b' "files": {}, "proposal": {"note": "", "evil": 1}}\n',
            "line 2: this is not a recorded proposal",
        ),
    ],
)
def test_a_file_that_is_no_recording_is_neither_played_nor_written_over(
    tmp_path: Path, content: bytes, said: str
) -> None:
    """What was in it stays in it."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ProposerError, match=said):
        Replayer(path)
    if content:
        with pytest.raises(ProposerError, match=said):
            Recorder(ScriptedProposer([]), path)
    assert path.read_bytes() == content


def test_a_recording_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Before the study begins."""
    with pytest.raises(ProposerError, match=r"The recording cannot be read: .*night"):
        Replayer(tmp_path / "night")


def test_a_forged_recording_writes_nothing_but_editable_files(tmp_path: Path) -> None:
    """A recording is somebody's file: its paths are held against the brief."""
    path = tmp_path / "night.jsonl"
    record(path, tmp_path / "w", Edit({"train.py": "one"}))
    path.write_text(path.read_text().replace('"train.py"', '"../evil.py"'))
    with pytest.raises(ProposerError, match=r"edits ../evil.py, which may not be edited"):
        Replayer(path).propose(fresh(tmp_path / "v"), at(1))
    assert not (tmp_path / "evil.py").exists()
