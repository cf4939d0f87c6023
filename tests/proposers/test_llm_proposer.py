"""The llm proposer: one conversation, one edit that fits, or none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from autoresearch.cli import main
from autoresearch.errors import ProposerError
from autoresearch.proposers import Brief, Proposal, ProposalFailed
from autoresearch.proposers.llm import LLMProposer
from autoresearch.proposers.registry import make_proposer
from autoresearch.study.loop import StopLimits, research
from llm_server import KEY, KEY_ENV, TRAIN, block, brief, loopback, settings, workspace
from model_server import (
    ModelServer,
    Reply,
    cut,
    drops,
    fails,
    filtered,
    garbled,
    hangs,
    huge,
    refuses,
    says,
)
from tiny_lab import make_lab, opened

pytest.importorskip("openai", reason="needs the extra llm: openai is not installed")

GOOD = block("LR = 0.1", "LR = 0.2", "a larger rate")
MISS = block("LR = 0.15", "LR = 0.2", "a miss")
BROKEN = block("LR = 0.1", "LR = (0.2", "a slip")
CAP = 0.25


@pytest.fixture(autouse=True)
def _loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    loopback(monkeypatch)


def propose(folder: Path, *replies: Reply) -> tuple[Proposal, ModelServer]:
    """What a proposer makes of a server's replies in a fresh workspace."""
    with ModelServer(replies) as server:
        proposer = LLMProposer(settings=settings(server.url))
        return proposer.propose(workspace(folder), brief()), server


def told(server: ModelServer, turn: int) -> str:
    """The last message of a request."""
    return str(server.requests[turn].messages[-1]["content"])


# ---- the edit ----------------------------------------------------------------------------------


def test_one_request_gives_a_note_and_an_edit(tmp_path: Path) -> None:
    """The edit is in the workspace, the note says why, the cost is counted."""
    proposal, server = propose(tmp_path, says(GOOD))
    assert (tmp_path / "train.py").read_text() == TRAIN.replace("0.1", "0.2")
    assert (proposal.note, proposal.cost_usd, proposal.tokens) == ("a larger rate", CAP, 150)
    assert proposal.details == {
        "model": "scripted-1",
        "calls": "1",
        "cost": "not told for 1 calls; each counted as its cap",
    }
    assert len(server.requests) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prepare.py", "train.py"]


def test_the_model_is_told_the_brief_the_files_and_the_form(tmp_path: Path) -> None:
    """What may be edited, what may be read, and how to answer."""
    _, server = propose(tmp_path, says(GOOD))
    system, user = (str(message["content"]) for message in server.requests[0].messages)
    assert "<<<<<<< SEARCH" in system
    assert "Make the loss small." in user
    assert f"## train.py (editable)\n\n{TRAIN}" in user
    assert "## prepare.py (read only)\n\nSEED = 'the judge'\n" in user


def test_files_beyond_the_budget_and_hidden_ones_are_not_told(tmp_path: Path) -> None:
    """Small ones first; bytes that are no text are left out; a link is not followed."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("hidden")
    (tmp_path / "big.txt").write_text("big " * 20_000)
    (tmp_path / "data.bin").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "program.md").write_text("told by the brief")
    (tmp_path / "link").symlink_to("/etc/hostname")
    _, server = propose(tmp_path, says(GOOD))
    user = str(server.requests[0].messages[1]["content"])
    headings = [line for line in user.splitlines() if line.startswith("## ")]
    assert headings == ["## prepare.py (read only)", "## train.py (editable)"]


def test_a_file_that_is_not_utf8_is_edited_byte_for_byte(tmp_path: Path) -> None:
    """Bytes outside the edit stay, \\r\\n stays, whatever the model saw of them."""
    with ModelServer([says(GOOD)]) as server:
        proposer = LLMProposer(settings=settings(server.url))
        (tmp_path / "train.py").write_bytes(b"# caf\xe9\r\nLR = 0.1\r\nEND = 1")
        proposer.propose(tmp_path, brief())
    assert (tmp_path / "train.py").read_bytes() == b"# caf\xe9\r\nLR = 0.2\r\nEND = 1"


# ---- corrections -------------------------------------------------------------------------------


def test_a_miss_is_returned_with_the_nearest_lines(tmp_path: Path) -> None:
    """The model corrects itself, in the same conversation, and both calls are paid for."""
    proposal, server = propose(tmp_path, says(MISS), says(GOOD))
    assert (tmp_path / "train.py").read_text() == TRAIN.replace("0.1", "0.2")
    assert (proposal.cost_usd, proposal.tokens) == (2 * CAP, 300)
    assert "does not occur in the file" in told(server, 1)
    assert "LR = 0.1" in told(server, 1)
    roles = [message["role"] for message in server.requests[1].messages]
    assert roles == ["system", "user", "assistant", "user"]
    assert server.requests[1].messages[2]["content"] == MISS


def test_a_syntax_error_is_returned_before_a_run_is_spent(tmp_path: Path) -> None:
    """With the line and the compiler's words."""
    _, server = propose(tmp_path, says(BROKEN), says(GOOD))
    assert "train.py: the edit leaves a syntax error: '(' was never closed (line 1)" in told(
        server, 1
    )
    assert (tmp_path / "train.py").read_text() == TRAIN.replace("0.1", "0.2")


def test_while_a_call_lasts_it_owes_what_that_may_cost(tmp_path: Path) -> None:
    """The calls before it, and the cap of this one; nothing when it is over."""
    with ModelServer([says(MISS), hangs(0.3, GOOD)]) as server:
        proposer = LLMProposer(settings=settings(server.url))
        workspace(tmp_path)
        seen: list[float] = []
        thread = threading.Thread(target=proposer.propose, args=(tmp_path, brief()))
        thread.start()
        while thread.is_alive():
            seen.append(proposer.pending_cost)
            time.sleep(0.01)
    assert max(seen) == 2 * CAP
    assert proposer.pending_cost == 0.0


@pytest.mark.parametrize("reply", [MISS, BROKEN, block("LR = 0.1", "LR = 0.1", "the same")])
def test_after_two_corrections_nothing_is_changed(tmp_path: Path, reply: str) -> None:
    """The workspace is as it was, which the harness calls no_change; three calls, no fourth."""
    proposal, server = propose(tmp_path, says(reply), says(reply), says(reply), says(GOOD))
    assert (tmp_path / "train.py").read_text() == TRAIN
    assert len(server.requests) == 3
    assert proposal.cost_usd == 3 * CAP
    assert proposal.note.startswith("no edit that fits, 3 times")
    assert len(proposal.note.splitlines()) == 1


def test_an_edit_of_a_fixed_file_is_returned(tmp_path: Path) -> None:
    """The judge is not the model's to change."""
    forged = GOOD.replace("train.py", "prepare.py")
    _, server = propose(tmp_path, says(forged), says(GOOD))
    assert "prepare.py may not be edited; only train.py may." in told(server, 1)
    assert (tmp_path / "prepare.py").read_text() == "SEED = 'the judge'\n"


def test_a_reply_that_was_cut_is_told_why(tmp_path: Path) -> None:
    """An unclosed block is not applied."""
    _, server = propose(tmp_path, cut(GOOD[:40]), says(GOOD))
    assert "cut off at the limit of tokens" in told(server, 1)


def test_words_without_an_edit_are_asked_for_one_and_then_empty(tmp_path: Path) -> None:
    """Kind empty, with what all three calls cost."""
    talk = says("I would try a larger rate.")
    with pytest.raises(ProposalFailed, match="sent no edit in 3 replies") as raised:
        propose(tmp_path, talk, talk, talk)
    failed = raised.value
    assert (failed.kind, failed.cost_usd, failed.tokens) == ("empty", 3 * CAP, 450)


@pytest.mark.parametrize(("reply", "kind"), [(fails(500), "busy"), (filtered(), "refusal")])
def test_a_failure_in_the_middle_keeps_the_bill(tmp_path: Path, reply: Reply, kind: str) -> None:
    """The cost includes earlier turns; the files are unchanged."""
    with pytest.raises(ProposalFailed) as raised:
        propose(tmp_path, says(MISS), reply)
    assert raised.value.kind == kind
    assert raised.value.cost_usd >= CAP
    assert raised.value.tokens >= 150
    assert (tmp_path / "train.py").read_text() == TRAIN


# ---- being made --------------------------------------------------------------------------------


def test_it_is_made_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """`llm` takes its model from the environment, `llm:MODEL` from the name, colons included."""
    monkeypatch.setenv("AUTORESEARCH_LLM_BASE_URL", "http://127.0.0.1:1/v1")
    made = make_proposer("llm:qwen3:8b")
    assert isinstance(made, LLMProposer)
    assert made.settings.model == "qwen3:8b"
    with pytest.raises(ProposerError, match="AUTORESEARCH_LLM_MODEL"):
        make_proposer("llm")
    monkeypatch.setenv("AUTORESEARCH_LLM_MODEL", "m")
    assert make_proposer("llm").name == "llm"


def test_a_missing_key_is_said_at_once() -> None:
    """Not at the first proposal."""
    with pytest.raises(ProposerError, match="set OPENAI_API_KEY"):
        make_proposer("llm:gpt-5-mini")


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    """In an interpreter that has our package and no other."""
    program = (
        "import sys\n"
        f"sys.path.insert(0, {str(Path(make_proposer.__code__.co_filename).parents[2])!r})\n"
        "from autoresearch.proposers.registry import make_proposer\n"
        "try:\n    make_proposer('llm:m')\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    env = {"PATH": os.environ["PATH"], "AUTORESEARCH_LLM_BASE_URL": "http://127.0.0.1:1/v1"}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import os\n" + program],
        env=env,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert "pip install 'autoresearch[llm]'" in done.stdout, done.stdout + done.stderr
    assert done.stdout.startswith("ProposerError")


# ---- a study -----------------------------------------------------------------------------------


def run(lab: Path, *words: str) -> int:
    """autoresearch run in a lab; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(["run", *words, "--lab", str(lab)])
    return int(ended.value.code or 0)


def score(value: float, now: float) -> Reply:
    """An edit of the tiny lab."""
    comment = "  # what the run prints [0..20]"
    return says(block(f"SCORE = {now}{comment}", f"SCORE = {value}{comment}", f"try {value}"))


def test_a_study_is_run_by_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three experiments: a keep, a discard, a keep after a correction; costs are on record."""
    lab = make_lab(tmp_path / "lab")
    replies = [score(9.0, 10.0), score(12.0, 9.0), score(1.0, 7.0), score(8.0, 9.0)]
    with ModelServer(replies) as server:
        monkeypatch.setenv("AUTORESEARCH_LLM_BASE_URL", server.url)
        monkeypatch.setenv("AUTORESEARCH_LLM_KEY_ENV", KEY_ENV)
        words = ("--agent", "llm:scripted-1", "--strategy", "greedy", "--trials", "3", "--no-ahead")
        assert run(lab, *words, "--tag", "t", "--json") == 0
    out, err = capsys.readouterr()
    trials = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    told = [(trial["status"], trial["value"], trial["note"]) for trial in trials]
    assert told == [
        ("keep", 10.0, "baseline"),
        ("keep", 9.0, "try 9.0"),
        ("discard", 12.0, "try 12.0"),
        ("keep", 8.0, "try 8.0"),
    ]
    assert "#2 discard" in str(server.requests[-1].messages[1]["content"])
    kept = [path.read_bytes() for path in lab.rglob("*") if path.is_file()]
    assert len(kept) > 10
    assert all(KEY.encode() not in content for content in [*kept, out.encode(), err.encode()])


FAILURES = {
    "busy": [fails(429, retry_after=20), fails(500), fails(529), drops()],
    "refusal": [refuses(), filtered()],
    "empty": [garbled(), huge(5 << 20)],
    "late": [hangs(30)],
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_night_goes_on_over_a_servers_failures(kind: str, tmp_path: Path) -> None:
    """Each is recorded with its kind and possible cost, and then a trial follows."""
    replies, waits = FAILURES[kind], list[float]()
    with (
        opened(make_lab(tmp_path / "lab")) as study,
        ModelServer([*replies, score(9.0, 10.0)]) as server,
    ):
        proposer = LLMProposer(settings=settings(server.url, timeout=2.0))
        why = research(study, proposer, StopLimits(trials=1), sleep=waits.append)
        spends = [spend.kind for spend in study.ledger.spends() if spend.trial is None]
        assert [trial.value for trial in study.ledger.trials()] == [10.0, 9.0]
    assert (why, spends) == ("1 of 1 trials are done", [kind] * len(replies))
    assert len(waits) == (len(replies) if kind == "busy" else 0)
    assert kind != "busy" or waits[0] >= 20


@pytest.mark.parametrize("status", [401, 402])
def test_a_night_ends_where_only_a_person_helps(status: int, tmp_path: Path) -> None:
    """After a good trial: one more call; the reason is printed, and the study can go on."""
    with (
        opened(make_lab(tmp_path / "lab")) as study,
        ModelServer([score(9.0, 10.0), fails(status), score(8.0, 9.0)]) as server,
    ):
        proposer = LLMProposer(settings=settings(server.url))
        why = research(study, proposer, StopLimits(trials=2), ahead=False)
        assert [s.kind for s in study.ledger.spends()] == ["trial", "stop"]
        assert KEY_ENV in why
        assert len(server.requests) == 2
        assert research(study, proposer, StopLimits(trials=1)) == "1 of 1 trials are done"


def test_a_night_is_recorded_and_run_again_without_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--record writes it, --replay gives the same study: table, files and costs."""
    first, second = make_lab(tmp_path / "first"), make_lab(tmp_path / "second")
    night = tmp_path / "night.jsonl"
    words = ("--strategy", "greedy", "--trials", "3", "--tag", "t", "--no-ahead")
    bad = says(block("nowhere", "x"))
    with ModelServer([score(9.0, 10.0), bad, bad, bad, score(8.0, 9.0)]) as server:
        monkeypatch.setenv("AUTORESEARCH_LLM_BASE_URL", server.url)
        assert run(first, "--agent", "llm:scripted-1", "--record", str(night), *words) == 0
    assert run(second, "--replay", str(night), *words) == 0
    rows = [(lab / "results.tsv").read_text().splitlines() for lab in (first, second)]
    assert [row.split("\t")[3:] for row in rows[0]] == [row.split("\t")[3:] for row in rows[1]]
    assert len(rows[0]) == 5


def test_record_and_replay_exclude_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong use is reported, and nothing is started."""
    lab = make_lab(tmp_path / "lab")
    assert run(lab, "--record", str(tmp_path / "a"), "--replay", str(tmp_path / "b")) == 2
    assert "exclude each other" in capsys.readouterr().err
    assert not (lab / ".autoresearch").exists()


def test_an_empty_brief_is_enough(tmp_path: Path) -> None:
    """The first proposal of a study needs no history."""
    with ModelServer([says(GOOD)]) as server:
        proposer = LLMProposer(settings=settings(server.url))
        told = proposer.propose(workspace(tmp_path), Brief("", ("train.py",), "c0"))
    assert told.note == "a larger rate"
