"""The gains and costs of each proposer, from the ledger alone."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoresearch.cli import main
from autoresearch.digits import Digits
from autoresearch.lab.metric import Metric
from autoresearch.lab.task import Task
from autoresearch.report.attribution import gains_by_trial, proposer_stats
from autoresearch.report.proposer_stats import ProposerStats, stats_line, stats_lines
from autoresearch.store.ledger import Ledger, Run, Spend, State, Status, Trial
from autoresearch.study.opening import read_study
from strategies.confirmed import Lab
from tiny_lab import NOISY, TASK, git, make_lab

METRICS = {"minimize": Metric("val_bpb"), "maximize": Metric("accuracy", "maximize")}


@pytest.fixture(params=METRICS)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger, of either direction."""
    with contextlib.closing(Ledger(tmp_path / "a.db", METRICS[request.param])) as made:
        yield made


def trial(ledger: Ledger, by: str, worth: float | None, usd: float = 0.0, tokens: int = 0) -> Trial:
    """A finished trial under the greedy rule; `worth` is better the larger it is."""
    before = ledger.best()
    sign = -1.0 if ledger.metric.direction == "minimize" else 1.0
    added = ledger.add(Trial(0, before.commit if before else "c0", "", by, cost_usd=usd), tokens)
    if worth is None:
        added = ledger.advance(added, State.DECIDED, status=Status.CRASH, reason="no_change")
        return ledger.advance(added, State.APPLIED)
    added = ledger.advance(added, State.COMMITTED, commit=f"c{added.number}")
    added = ledger.advance(added, State.RUNNING)
    attempt = Run(0, 1, 1.0, 0, sign * worth, 0.0)
    added = ledger.measure_run(ledger.add_run(added, attempt), attempt)
    better = ledger.metric.better(sign * worth, before.value if before else None)
    status = Status.KEEP if better else Status.DISCARD
    return ledger.advance(ledger.advance(added, State.DECIDED, status=status), State.APPLIED)


def test_each_proposer_has_its_gains_and_costs(ledger: Ledger) -> None:
    """Skipped trials count, failed proposals cost, and the baseline belongs to no proposer."""
    ledger.remember(strategy="greedy", controls="llm:gpt-x=0.2")
    trial(ledger, "baseline", 1.0)
    trial(ledger, "offline", 3.0)
    trial(ledger, "llm", 2.5, usd=0.5, tokens=100)
    trial(ledger, "llm", 4.0, usd=0.25, tokens=10)
    trial(ledger, "offline", None)
    trial(ledger, "noop", 3.5)
    ledger.spend(Spend("now", "llm", 1.25, 5, None, "busy"))
    ledger.spend(Spend("now", "codex", 2.0, 0, None, "stop"))
    assert proposer_stats(ledger) == (
        ProposerStats("offline", trials=2, kept=1, gain=2.0),
        ProposerStats("llm", trials=2, kept=1, gain=1.0, usd=2.0, tokens=115, control=True),
        ProposerStats("noop", trials=1, control=True),
        ProposerStats("codex", usd=2.0),
    )
    offline, llm, _, codex = proposer_stats(ledger)
    assert (offline.per_trial, offline.per_usd) == (1.0, None)
    assert (llm.per_trial, llm.per_usd) == (0.5, 0.5)
    assert (codex.per_trial, codex.per_usd) == (None, 0.0)


def test_a_keep_that_changed_nothing_is_called_false(ledger: Ledger) -> None:
    """A sentence has the gain of the noise control."""
    trial(ledger, "baseline", 1.0)
    trial(ledger, "noop", 1.5)
    trial(ledger, "offline", 1.25)
    trial(ledger, "noop", 1.25)
    lines = stats_lines(proposer_stats(ledger), Digits())
    assert lines[-1] == (
        "noop leaves the code as it is; 1 of its 2 trials was kept, falsely: noise earns +0.250000 "
        "a trial here."
    )


def test_steps_share_the_gain_of_their_confirmation_by_what_each_had_shown(ledger: Ledger) -> None:
    """They share the confirmed gain, not the lucky screening runs; other trials have none."""
    ledger.remember(strategy="confirm")
    lab = Lab(ledger)
    lab.baseline()
    lab.edit(1.0, 1.0)
    lab.edit(-9.0)
    for gain in (3.0, 1.0, 2.0, 1.0):
        lab.edit(gain, gain)
    confirmation = lab.confirmation(8.0, 8.0, 8.0, 6.0)
    (confirmed,) = lab.at.confirmed
    assert (confirmation.status, confirmed.steps) == (Status.KEEP, (1, 3, 4, 5, 6))
    claimed = confirmed.claim.estimate
    shares = gains_by_trial(ledger)
    assert sum(shares.values()) == pytest.approx(claimed)
    assert [shares[n] / claimed for n in confirmed.steps] == pytest.approx(
        [0.125, 0.375, 0.125, 0.25, 0.125]
    )
    (stats,) = proposer_stats(ledger)
    assert (stats.trials, stats.steps, stats.kept) == (6, 5, 5)
    assert stats.gain == pytest.approx(claimed)


def test_steps_that_are_not_confirmed_gain_nothing(ledger: Ledger) -> None:
    """They count as steps only."""
    ledger.remember(strategy="confirm")
    lab = Lab(ledger)
    lab.baseline()
    lab.steps(2)
    (stats,) = proposer_stats(ledger)
    assert (stats.trials, stats.steps, stats.kept, stats.gain) == (2, 2, 0, 0.0)


def test_without_noise_a_keep_needs_no_confirmation(ledger: Ledger) -> None:
    """One gain, seen on a second seed as well."""
    ledger.remember(strategy="confirm")
    lab = Lab(ledger)
    lab.baseline(0.0, 0.0, 0.0, 0.0)
    lab.edit(2.0, 2.0)
    (stats,) = proposer_stats(ledger)
    assert (stats.kept, stats.steps) == (1, 0)
    assert stats.gain == pytest.approx(2.0)


def test_a_study_without_a_trial_has_no_proposers(ledger: Ledger) -> None:
    """A proposal that failed before the baseline shows its cost only."""
    assert proposer_stats(ledger) == ()
    ledger.spend(Spend("now", "llm", 1.0, 5, None, "stop"))
    assert stats_lines(proposer_stats(ledger), Digits()) == [
        "llm: 0 trials, 0 kept, gain +0.000000, $1.00 (+0.000000 a dollar), 5 tokens"
    ]


def test_one_proposer_is_a_line_and_several_a_table() -> None:
    """Columns stand below each other; where nothing was spent there is a dash."""
    one = ProposerStats("offline", 12, 3, 2, 0.012)
    assert (
        stats_line(one, Digits())
        == "offline: 12 trials, 2 kept, gain +0.012000 (+0.001000 a trial)"
    )
    assert stats_lines([one], Digits()) == [stats_line(one, Digits())]
    head, *rows = stats_lines(
        [one, ProposerStats("llm", 3, 0, 1, 0.03, 1.5, 12_000, control=True)], Digits()
    )
    assert head.split("  ")[0] == "proposer"
    assert len({len(row) for row in (head, *rows)}) == 1
    assert rows[0].split() == [
        "offline", "12", "2", "of", "3", "steps", "+0.012000", "+0.001000", "—", "—", "—"
    ]  # fmt: skip
    assert rows[1].endswith("+0.030000  +0.010000     1.50  12,000  +0.020000")
    assert rows[1].startswith("llm (control)")


def test_controls_are_reported_beside_the_agent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """run --control, report, its page and status show each proposer's trials and gain."""
    lab = make_lab(tmp_path / "lab", task_toml=TASK + '[keep]\nnoise = "none"\n')
    words = ["run", "--trials", "12", "--control", "noop=0.25,random=0.25", "--strategy", "greedy"]
    call(lab, *words, "--agent", "tiny_agents:Countdown")
    capsys.readouterr()
    call(lab, "report", "-o", str(tmp_path / "out"))
    out = capsys.readouterr().out
    assert "noop leaves the code as it is; none of its 3 trials was kept." in out
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Which proposer earned what" in page
    assert '<td class="note">random (control)</td>' in page
    call(lab, "status", "--json")
    found = {one["proposer"]: one for one in json.loads(capsys.readouterr().out)["proposers"]}
    counted = {name: one["trials"] for name, one in found.items()}
    assert counted == {"countdown": 5, "noop": 3, "random": 4}  # of twelve, by the seed
    assert found["noop"]["gain"] == 0.0
    call(lab, "status")
    assert "\n            noop: 3 trials, 0 kept" in capsys.readouterr().out
    call(lab, "doctor")
    assert git(lab, "rev-list", "--count", "autoresearch/" + tag(lab))


def test_a_noop_step_shares_a_confirmation_and_is_called_false(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under confirm, with noise: its commit has the tree of its parent, and is kept in a stack."""
    lab = make_lab(tmp_path / "lab", **NOISY)
    call(lab, "run", "--trials", "8", "--control", "noop=0.5", "--agent", "tiny_agents:Climber")
    with read_study(Task.load(lab)) as (ledger, _, repository):
        found = {one.proposer: one for one in proposer_stats(ledger)}
        steps = [t for t in ledger.trials() if t.proposer == "noop" and t.word == "step"]
        assert steps
        for step in steps:
            assert step.commit != step.parent
            assert repository.tree(step.commit) == repository.tree(step.parent) == step.tree
        claimed = sum(gains_by_trial(ledger).values())
    assert found["noop"].kept == len(steps)
    assert 0 < found["noop"].gain < found["climber"].gain / 2
    assert found["noop"].gain + found["climber"].gain == pytest.approx(claimed)
    capsys.readouterr()
    call(lab, "report", "-o", str(tmp_path / "out"))
    assert "kept, falsely: noise earns +" in capsys.readouterr().out


def call(lab: Path, *words: str) -> None:
    """Run a command in a lab; it must succeed."""
    with pytest.raises(SystemExit) as ended:
        main([*words, "--lab", str(lab)])
    assert not ended.value.code


def tag(lab: Path) -> str:
    """The tag of its study."""
    return (lab / ".autoresearch" / "current").read_text().strip()
