"""One proposal ahead: made while a trial runs, used, carried over or put aside."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch.executors import Job
from autoresearch.executors.local import LocalExecutor
from autoresearch.proposers import Brief, Proposal, ProposalFailed
from autoresearch.proposers.record import Recorder, Replayer
from autoresearch.proposers.retry_policy import RetryPolicy
from autoresearch.store.ledger import Status
from autoresearch.study import proposing
from autoresearch.study.loop import StopLimits, research
from autoresearch.study.study import Study
from tiny_lab import RUN, make_lab, opened

# A score that is the sum of two constants, far enough apart for two edits to fit together.
TWO = "A = 5.0\n\n\n\n\n\nB = 5.0\nSCORE = A + B\n"


class Deliberate:
    """A proposer that takes its time: one that is made ahead. Each step edits train.py."""

    name = "deliberate"
    max_seconds = 60.0
    pending_cost = 0.0

    def __init__(self, *steps: Callable[[str], str] | Exception) -> None:
        self.briefs: list[Brief] = []
        self._steps = steps

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """The next step."""
        step = self._steps[len(self.briefs)]
        self.briefs.append(brief)
        if isinstance(step, Exception):
            raise step
        path = workspace / "train.py"
        path.write_text(step(path.read_text()))
        return Proposal(f"step {len(self.briefs)}", 0.25, 100)


def to(old: str, new: str) -> Callable[[str], str]:
    """A step that replaces a text."""

    def step(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return step


def trained(study: Study, number: int) -> str:
    """train.py as a trial had it."""
    return study.workspaces.read(study.ledger.trial(number).commit, "train.py")


def silent() -> tuple[Deliberate, threading.Event]:
    """One that owes three dollars and says nothing before it is allowed to."""
    heard = threading.Event()

    def waits(text: str) -> str:
        assert heard.wait(30)
        return text

    slow = Deliberate(waits)
    slow.pending_cost = 3.0
    return slow, heard


def test_the_next_proposal_is_made_while_a_trial_runs(tmp_path: Path) -> None:
    """Its brief names the trial that runs, and does not know its result."""
    slow = Deliberate(to("10.0", "11.0"), to("10.0", "12.0"), to("10.0", "13.0"))
    with opened(make_lab(tmp_path / "lab")) as study:
        assert research(study, slow, StopLimits(trials=3)) == "3 of 3 trials are done"
        assert [brief.under_way for brief in slow.briefs] == [0, 1, 1]
        assert [brief.number for brief in slow.briefs] == [1, 2, 3]
        assert "Runs now, its result is not known yet" in slow.briefs[1].text
        assert "#1 " in slow.briefs[1].text.split("Runs now")[1]
        assert [len(brief.history) for brief in slow.briefs] == [1, 1, 2]
        assert [t.status for t in study.ledger.trials()[1:]] == [Status.DISCARD] * 3
        assert [trained(study, n)[8:12] for n in (1, 2, 3)] == ["11.0", "12.0", "13.0"]
        assert study.ledger.spent() == (0.75, 300)
        assert not study.paths.workspace.exists()


def test_none_is_begun_that_no_trial_will_run(tmp_path: Path) -> None:
    """The session's last trial has nothing ahead of it, and money that is spent begins nothing."""
    steps = [to("10.0", f"{n}.0") for n in range(11, 20)]
    with opened(make_lab(tmp_path / "lab")) as study:
        one = Deliberate(*steps)
        research(study, one, StopLimits(trials=1))
        assert len(one.briefs) == 1
        dear = Deliberate(*steps[1:])
        assert "are spent" in research(study, dear, StopLimits(usd=0.6))
        assert len(dear.briefs) == 2  # 0.25 before, 0.25 for the first, 0.25 for the one ahead


def test_without_ahead_each_waits_for_the_last(tmp_path: Path) -> None:
    """And a proposer that takes a moment is never made ahead."""
    for folder, quick, ahead in (("a", False, False), ("b", True, True)):
        slow = Deliberate(to("10.0", "11.0"), to("10.0", "12.0"))
        slow.max_seconds = 0.0 if quick else 60.0
        with opened(make_lab(tmp_path / folder)) as study:
            research(study, slow, StopLimits(trials=2), ahead=ahead)
        assert [brief.under_way for brief in slow.briefs] == [0, 0]


def test_an_edit_is_carried_over_to_a_new_best(tmp_path: Path) -> None:
    """The trial before was kept: the edit that was made beside it is made in the new best."""
    slow = Deliberate(to("A = 5.0", "A = 4.0"), to("B = 5.0", "B = 3.0"))
    with opened(make_lab(tmp_path / "lab", train_py=TWO)) as study:
        research(study, slow, StopLimits(trials=2))
        first, second = study.ledger.trials()[1:]
        assert (first.status, second.status) == (Status.KEEP, Status.KEEP)
        assert second.parent == first.commit
        assert trained(study, 2) == TWO.replace("A = 5.0", "A = 4.0").replace("B = 5.0", "B = 3.0")
        assert second.value == 7.0


def test_an_edit_of_the_same_lines_is_put_aside_and_paid(tmp_path: Path) -> None:
    """Where both changed a line another proposal is asked for, from the new best."""
    slow = Deliberate(to("5.0", "4.0"), to("5.0", "3.0"), to("4.0", "2.0"))
    with opened(make_lab(tmp_path / "lab", train_py=TWO)) as study:
        research(study, slow, StopLimits(trials=2))
        assert [brief.under_way for brief in slow.briefs] == [0, 1, 0]
        assert [trial.value for trial in study.ledger.trials()] == [10.0, 8.0, 4.0]
        assert [(s.kind, s.usd) for s in study.ledger.spends() if s.trial is None] == [
            ("overtaken", 0.25)
        ]
        assert study.ledger.spent() == (0.75, 300)


def test_the_same_edit_twice_is_not_run_twice(tmp_path: Path) -> None:
    """What was proposed ahead stands in the new best already: another one is asked for."""
    slow = Deliberate(*[to("A = 5.0", "A = 4.0")] * 2, to("B = 5.0", "B = 4.0"))
    with opened(make_lab(tmp_path / "lab", train_py=TWO)) as study:
        research(study, slow, StopLimits(trials=2))
        assert [trial.value for trial in study.ledger.trials()] == [10.0, 9.0, 8.0]


def test_a_failure_ahead_is_answered_when_its_turn_comes(tmp_path: Path) -> None:
    """It is in the spend table, it is waited out, and the study goes on."""
    busy = ProposalFailed("busy", "come back", cost_usd=0.5, tokens=7)
    slow = Deliberate(to("10.0", "11.0"), busy, to("10.0", "12.0"))
    waits: list[float] = []
    with opened(make_lab(tmp_path / "lab")) as study:
        calm = RetryPolicy(chance=lambda _, high: high)
        research(study, slow, StopLimits(trials=2), retry_policy=calm, sleep=waits.append)
        assert [brief.under_way for brief in slow.briefs] == [0, 1, 0]
        [wait] = waits
        assert 0.0 < wait < 5.0  # the trial's time, in which nobody asked, counts
        assert study.ledger.spent() == (1.0, 207)
        assert len(study.ledger) == 3


def nights(
    folder: Path, script: Deliberate, *, trials: int, seconds: float = 0.0
) -> list[tuple[list[float | None], tuple[float, int], list[float]]]:
    """A recorded night and its replay: values, what was spent, and what was waited."""
    lab = make_lab(folder / "lab", run_py=f"import time\ntime.sleep({seconds})\n{RUN}")
    tape, told = folder / "night.jsonl", []
    for tag in ("t", "again"):
        waits: list[float] = []
        with opened(lab, tag) as study:
            proposer = Replayer(tape) if tag == "again" else Recorder(script, tape)
            research(study, proposer, StopLimits(trials=trials), sleep=waits.append)
            values = [trial.value for trial in study.ledger.trials()]
            told.append((values, study.ledger.spent(), waits))
    return told


def busy(text: str) -> str:
    """A step that finds the other side busy, at no cost."""
    raise ProposalFailed("busy", "come back", retry_after=0.1)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy side is asked again soon."""
    monkeypatch.setattr(proposing, "SHORTEST", 0.05)
    monkeypatch.setattr(proposing, "FIRST", 0.2)


@pytest.mark.usefixtures("quick")
def test_a_busy_side_is_asked_again_while_a_trial_runs(tmp_path: Path) -> None:
    """Nobody waits for it afterwards: the next trial begins at once, in a replay as well."""
    slow = Deliberate(to("10.0", "11.0"), busy, to("10.0", "12.0"))
    told = nights(tmp_path, slow, trials=2, seconds=1.2)
    assert [brief.under_way for brief in slow.briefs] == [0, 1, 1]
    assert told == [([10.0, 11.0, 12.0], (0.5, 200), [])] * 2


@pytest.mark.parametrize(
    "failed",
    [
        ProposalFailed("busy", "later", retry_after=50),
        ProposalFailed("busy", "paid", retry_after=0.1, cost_usd=0.5),
    ],
)
def test_what_cannot_be_asked_again_meanwhile_is_the_loops(
    tmp_path: Path, failed: ProposalFailed
) -> None:
    """A long wait, and what costs money: after the trial, from the new best; a replay as well."""
    slow = Deliberate(to("10.0", "9.0"), failed, to("9.0", "8.0"))
    (values, spent, waits), again = nights(tmp_path, slow, trials=2, seconds=0.3)
    assert [brief.under_way for brief in slow.briefs] == [0, 1, 0]
    assert values == [10.0, 9.0, 8.0]
    assert len(waits) == 1
    assert again[:2] == (values, spent)


@pytest.mark.usefixtures("quick")
def test_a_pause_holds_for_a_busy_side_as_well(tmp_path: Path) -> None:
    """The proposal ends with its failure: no other try is made before the person resumes."""
    slow = Deliberate(busy, to("10.0", "9.0"))
    with opened(make_lab(tmp_path / "lab")) as study:
        study.baseline()
        study.paths.pause.write_text("now")
        study.workspaces.begin(slow, study.ask())
        for thread in threading.enumerate():
            if thread.name == "ahead":
                thread.join(20)  # it has given up, after the wait before another try
        assert len(slow.briefs) == 1
        with pytest.raises(ProposalFailed):
            study.workspaces.take(study.ask())


def test_a_second_ctrl_c_loses_no_account(tmp_path: Path) -> None:
    """What is on its way is paid as it may cost, and its workspace is gone."""
    slow, heard = silent()
    with opened(make_lab(tmp_path / "lab")) as study:
        study.baseline()
        study.workspaces.begin(slow, study.ask())
        main = threading.main_thread().ident
        timer = threading.Timer(0.5, signal.pthread_kill, [main, signal.SIGINT])
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            study.workspaces.drop(within=20)
        timer.join()
        heard.set()
        assert study.ledger.spent() == (3.0, 0)
        assert not study.paths.workspace.exists()


def test_what_nobody_waits_for_is_ended_and_paid(tmp_path: Path) -> None:
    """The target is reached while the next proposal is made: it is told so, and its cost counts."""

    def waits(text: str) -> str:
        assert slow.briefs[-1].cancelled.wait(30)
        return text

    slow = Deliberate(to("10.0", "1.0"), waits)
    with opened(make_lab(tmp_path / "lab")) as study:
        assert "reaches the target" in research(study, slow, StopLimits(target=2.0))
        assert [s.kind for s in study.ledger.spends()] == ["trial", "overtaken"]
        assert study.ledger.spent() == (0.5, 200)
        assert not study.workspaces.busy
        assert not study.paths.workspace.exists()


def test_a_call_that_is_not_heard_of_again_counts_as_what_it_may_cost(tmp_path: Path) -> None:
    """Its end cannot be waited for: an unknown price is never none."""
    slow, heard = silent()
    with opened(make_lab(tmp_path / "lab")) as study:
        study.baseline()
        study.workspaces.begin(slow, study.ask())
        study.workspaces.drop(within=0.05)
        heard.set()
        assert study.ledger.spent() == (3.0, 0)


def test_a_link_that_was_left_ahead_is_an_invalid_edit(tmp_path: Path) -> None:
    """As it is for any other proposal, also when the best has moved meanwhile."""

    class Linker(Deliberate):
        def propose(self, workspace: Path, brief: Brief) -> Proposal:
            told = super().propose(workspace, brief)
            if brief.under_way:
                (workspace / "train.py").unlink()
                (workspace / "train.py").symlink_to("/etc/passwd")
            return told

    with opened(make_lab(tmp_path / "lab")) as study:
        research(study, Linker(to("10.0", "9.0"), to("10.0", "8.0")), StopLimits(trials=2))
        assert study.ledger.trial(2).reason == "invalid_edit"


def test_a_night_with_proposals_ahead_is_replayed(tmp_path: Path) -> None:
    """Byte for byte: the same edits at the same places, carried over and put aside alike."""
    steps = [
        to("A = 5.0", "A = 4.0"),
        to("B = 5.0", "B = 4.0"),  # carried over
        to("A = 4.0", "A = 6.0"),
        to("B = 4.0", "B = 3.0"),
        to("A = 4.0", "A = 2.0"),  # carried over as well
    ]
    lab = make_lab(tmp_path / "lab", train_py=TWO)
    script = Deliberate(*steps)
    tables = []
    for tag in ("t", "again"):
        with opened(lab, tag) as study:
            tape = tmp_path / "night.jsonl"
            again = tag == "again"
            research(
                study, Replayer(tape) if again else Recorder(script, tape), StopLimits(trials=5)
            )
            trials = study.ledger.trials()
            tables.append([(t.status, t.value, t.note, trained(study, t.number)) for t in trials])
    assert [brief.under_way for brief in script.briefs] == [0, 1, 1, 1, 1]
    assert tables[0] == tables[1]
    assert len(tables[0]) == 6


def test_what_was_overtaken_or_must_not_run_is_replayed_as_well(tmp_path: Path) -> None:
    """Each where it was, with what it cost: the limit in dollars ends both nights alike."""

    class Greedy(Deliberate):
        def propose(self, workspace: Path, brief: Brief) -> Proposal:
            told = super().propose(workspace, brief)
            return replace(told, fault="disk" if len(self.briefs) == 3 else "")

    steps = [("5.0", "4.0"), ("5.0", "3.0"), ("4.0", "9.0"), ("4.0", "2.0"), ("2.0", "7.0")]
    script, tape = Greedy(*[to(*step) for step in steps]), tmp_path / "night.jsonl"
    lab = make_lab(tmp_path / "lab", train_py=TWO)
    nights = []
    for tag in ("t", "again"):
        with opened(lab, tag) as study:
            again = tag == "again"
            proposer = Replayer(tape) if again else Recorder(script, tape)
            research(study, proposer, StopLimits(trials=3))
            told = [(t.status, t.reason, t.value) for t in study.ledger.trials()]
            kinds = sorted((s.kind, s.usd) for s in study.ledger.spends())
            nights.append((told, kinds, study.ledger.spent()))
    assert nights[0] == nights[1]
    assert ("overtaken", 0.25) in nights[0][1]
    assert "disk" in [reason for _, reason, _ in nights[0][0]]


@pytest.mark.parametrize("command", ["sleep 600", "trap '' TERM INT; sleep 600 & wait"])
def test_a_job_that_is_not_wanted_any_more_is_killed(tmp_path: Path, command: str) -> None:
    """Soon, all of it, and its end is data like any other."""
    cancelled = threading.Event()
    timer = threading.Timer(0.5, cancelled.set)
    timer.start()
    log = tmp_path / "log"
    job = Job(command, tmp_path, log, 600.0, {"PATH": "/usr/bin:/bin"}, cancelled=cancelled)
    ended = LocalExecutor().run(job)
    timer.join()
    assert ended.ending == "signal"
    assert ended.seconds < 60
