"""What is done when no proposal comes; no test waits for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch.digits import Digits
from autoresearch.errors import ProposerError
from autoresearch.proposers import Brief, Proposal, ProposalFailed
from autoresearch.proposers.fake import Edit, ScriptedProposer, Step
from autoresearch.proposers.retry_policy import LONGEST, Advice, RetryPolicy
from autoresearch.proposers.team import Fallback
from autoresearch.report.attribution import proposer_stats
from autoresearch.report.proposer_stats import stats_line
from autoresearch.store.heartbeat import Heartbeat, last_beat
from autoresearch.study.loop import StopLimits, TroublePauses, research
from tiny_lab import CRASHES, edit, make_lab, opened, scores


def most(low: float, high: float) -> float:
    """Chance at its worst."""
    return high


def fail(kind: str, **more: float) -> ProposalFailed:
    """A failure of that kind."""
    return ProposalFailed(kind, f"it was {kind}", **more)  # type: ignore[arg-type]


def waits(persistence: RetryPolicy, *failures: ProposalFailed) -> list[float]:
    """What is waited after each."""
    return [persistence.after(failed).wait for failed in failures]


def test_a_busy_side_is_waited_for_ever_longer_and_at_random() -> None:
    """The limit doubles up to the longest; the wait is anywhere below it."""
    assert waits(RetryPolicy(chance=most), *[fail("busy")] * 11)[:5] == [5, 10, 20, 40, 80]
    assert waits(RetryPolicy(chance=most), *[fail("busy")] * 2000)[-1] == 1800
    spread = {RetryPolicy().after(fail("busy")).wait for _ in range(20)}
    assert len(spread) > 10
    assert all(0 <= wait <= 5 for wait in spread)


def test_what_the_other_side_asks_for_is_kept_and_bounded() -> None:
    """Never sooner than it says, never more than a day."""
    least = RetryPolicy(chance=lambda low, _: low)
    assert waits(least, fail("busy", retry_after=20), fail("busy", retry_after=1e9)) == [
        20,
        LONGEST,
    ]


def test_what_only_a_person_can_mend_ends_it() -> None:
    """A key, a bill."""
    assert RetryPolicy().after(fail("stop")) == Advice(stop=True)


def test_the_third_begins_anew_the_sixth_gives_way_the_twelfth_pauses() -> None:
    """Refusals, empty hands and silence count together; a proposal forgets them."""
    persistence = RetryPolicy()
    kinds = ["late", "empty", "refusal"] * 5
    advice = [persistence.after(fail(kind)) for kind in kinds]
    assert [n for n, a in enumerate(advice, 1) if a.renew] == [3, 6, 9, 12, 15]
    assert [n for n, a in enumerate(advice, 1) if a.rotate] == [6, 12]
    assert [a.wait for a in advice] == [0.0] * 11 + [600.0, 1200.0, 2400.0, 4800.0]
    persistence.forget()
    assert persistence.after(fail("empty")) == Advice()
    assert persistence.after(fail("refusal")) == Advice(renew=True)


class Troubled(ScriptedProposer):
    """Fails as the script says, then proposes; counts what it is asked to do."""

    name = "troubled"

    def __init__(
        self,
        *failures: ProposalFailed,
        other: str | None = None,
        steps: Sequence[Step] = tuple(scores(9, 8, 7)),
    ) -> None:
        super().__init__(steps)
        self._failures = list(failures)
        self._other = other
        self.asked: list[str] = []

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Fail, or play the next step."""
        if self._failures:
            raise self._failures.pop(0)
        return super().propose(workspace, brief)

    def renew(self) -> bool:
        """Note it."""
        self.asked.append("renew")
        return True

    def rotate(self) -> str | None:
        """Note it."""
        self.asked.append("give way")
        return self._other


class Slow(Troubled):
    """An agent: what it brings costs time."""

    max_seconds = 60.0


@pytest.mark.parametrize(
    ("other", "done", "words"),
    [
        ("codex", ["give way"], ("codex goes on", 0.0)),
        (None, ["give way", "renew"], ("it begins again", 9.0)),
    ],
)
def test_advice_is_followed_as_far_as_a_proposer_can(
    other: str | None, done: list[str], words: tuple[str, float]
) -> None:
    """Where nobody can take over, it begins again; one that can do neither just goes on."""
    proposer = Troubled(other=other)
    advice = Advice(wait=9.0, renew=True, rotate=True)
    assert RetryPolicy().follow(advice, proposer) == words
    assert proposer.asked == done
    assert RetryPolicy().follow(advice, ScriptedProposer([])) == ("", 9.0)


@pytest.fixture
def night(tmp_path: Path) -> Callable[..., tuple[str, list[float], list[str], float]]:
    """A session of two trials; why it ended, what it waited, what it told, what it cost."""

    def run(
        proposer: ScriptedProposer, ahead: bool = True, **limits: float
    ) -> tuple[str, list[float], list[str], float]:
        slept: list[float] = []
        notes: list[str] = []
        with opened(make_lab(tmp_path / "lab")) as study:
            why = research(
                study,
                proposer,
                StopLimits(**{"trials": 2, **limits}),  # type: ignore[arg-type]
                ahead=ahead,
                retry_policy=RetryPolicy(chance=most),
                on_note=notes.append,
                sleep=slept.append,
            )
            return why, slept, notes, study.ledger.spent()[0]

    return run


def test_a_night_goes_on_over_failures_and_their_cost_is_kept(
    night: Callable[..., tuple[str, list[float], list[str], float]],
) -> None:
    """Waits are told in a line each, and no dollar is lost."""
    failures = [fail("busy", cost_usd=0.5, retry_after=20), fail("empty", cost_usd=0.25)]
    why, slept, notes, usd = night(Troubled(*failures))
    assert why == "2 of 2 trials are done"
    assert (slept, usd) == ([25.0], 0.75)
    assert notes == [
        "No proposal (busy): it was busy; trying again in 25 s.",
        "No proposal (empty): it was empty; trying again.",
    ]


def test_twelve_empty_hands_are_a_pause_and_then_it_goes_on(
    night: Callable[..., tuple[str, list[float], list[str], float]],
) -> None:
    """Before that it began anew three times and gave way once."""
    proposer = Troubled(*[fail("empty")] * 12)
    why, slept, _, _ = night(proposer)
    assert (why, slept) == ("2 of 2 trials are done", [600.0])
    assert proposer.asked == ["renew", *["give way", "renew"], "renew", *["give way", "renew"]]


def test_an_agent_that_brings_what_was_tried_is_answered_like_an_empty_hand(
    night: Callable[..., tuple[str, list[float], list[str], float]],
) -> None:
    """Each is a trial and a skip; three in a row begin anew, six give way, a run forgets them."""
    same, other = scores(9)[0], scores(8)[0]
    agent = Slow(other="codex", steps=[same, *[same] * 3, other, *[same] * 7])
    why, slept, notes, _ = night(agent, ahead=False, trials=12)
    assert (why, slept) == ("12 of 12 trials are done", [])
    assert agent.asked == ["renew", "renew", "give way"]
    rejected = "proposals in a row were rejected before running"
    assert notes == [
        f"3 {rejected} (no_change); it begins again; trying again.",
        f"3 {rejected} (duplicate of #1); it begins again; trying again.",
        f"6 {rejected} (duplicate of #1); codex goes on; trying again.",
    ]


def test_who_takes_no_time_may_bring_what_was_tried(
    night: Callable[..., tuple[str, list[float], list[str], float]],
) -> None:
    """A sampler's duplicates cost nothing: nobody pauses for them."""
    sampler = Troubled(steps=[scores(9)[0]] * 14)
    assert night(sampler, trials=14) == ("14 of 14 trials are done", [], [], 0.0)
    assert sampler.asked == []


def test_nobody_waits_when_nothing_follows(
    night: Callable[..., tuple[str, list[float], list[str], float]],
) -> None:
    """The twelfth that brought nothing was the last of the session."""
    agent = Slow(steps=[scores(9)[0]] * 13)
    why, slept, _, _ = night(agent, ahead=False, trials=13)
    assert (why, slept) == ("13 of 13 trials are done", [])


def test_nobody_waits_when_the_money_is_spent(
    night: Callable[..., tuple[str, list[float], list[str], float]],
) -> None:
    """The session is over at once, not after the pause."""
    empty = Troubled(*[fail("empty", cost_usd=1.0)] * 12)
    why, slept, notes, usd = night(empty, usd=12.0, trials=99)
    assert (why, slept, usd) == ("$12.00 of $12.00 are spent", [], 12.0)
    assert notes[-1] == "No proposal (empty): it was empty."


def test_of_a_team_only_who_takes_time_is_answered(
    night: Callable[..., tuple[str, list[float], list[str], float]],
) -> None:
    """The agent is out, a sampler goes on alone: its duplicates cost nothing."""
    agent = Slow(*[fail("stop")] * 99)
    team = Fallback([("agent", agent), ("sampler", ScriptedProposer([scores(9)[0]] * 14))])
    why, slept, _, _ = night(team, ahead=False, trials=14)
    assert (why, slept, agent.asked) == ("14 of 14 trials are done", [], [])


def test_every_proposer_of_a_list_gets_its_turn(
    night: Callable[..., tuple[str, list[float], list[str], float]],
) -> None:
    """Two come with empty hands for ever; the third is asked before anybody pauses."""
    empty = [Troubled(*[fail("empty")] * 99) for _ in range(2)]
    team = Fallback([("a", empty[0]), ("b", empty[1]), ("c", ScriptedProposer(scores(9, 8)))])
    why, slept, notes, _ = night(team)
    assert (why, slept) == ("2 of 2 trials are done", [])
    assert [note for note in notes if "goes on" in note] == [
        "No proposal (empty): it was empty; b goes on; trying again.",
        "No proposal (empty): it was empty; c goes on; trying again.",
    ]


def test_a_wait_is_seen_from_outside(tmp_path: Path) -> None:
    """The heartbeat says how long, so that nobody takes it for a stall."""
    seen: list[Heartbeat | None] = []
    lab = make_lab(tmp_path / "lab")
    with opened(lab) as study:

        def sleep(_: float) -> None:
            seen.append(last_beat(study.paths.heartbeat))

        proposer = Troubled(fail("busy", retry_after=7200))
        research(
            study,
            proposer,
            StopLimits(trials=1),
            sleep=sleep,
            retry_policy=RetryPolicy(chance=most),
        )
    [beat] = seen
    assert beat is not None
    assert (beat.verb, beat.limit, beat.stalled) == ("hold", 7205.0, False)


def test_trouble_with_the_disk_is_waited_out_though_nothing_can_be_written(tmp_path: Path) -> None:
    """The wait is told to status where that works, and kept where it does not."""
    lab = make_lab(tmp_path / "lab")
    slept: list[float] = []
    with opened(lab) as study:

        def full(workspace: Path, brief: Brief) -> str:
            study.paths.heartbeat.unlink()
            study.paths.heartbeat.mkdir()
            raise OSError(28, "No space left on device")

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            study.paths.heartbeat.rmdir()

        steps = [scores(9)[0], *[full] * 5, scores(8)[0]]
        calm = TroublePauses(quick=0, first=60.0)
        why = research(
            study, ScriptedProposer(steps), StopLimits(trials=2), sleep=sleep, pauses=calm
        )
        assert (why, slept) == ("2 of 2 trials are done", [60.0, 120.0, 240.0, 480.0, 960.0])


def test_a_stop_after_some_work_is_an_end_and_not_an_error(tmp_path: Path) -> None:
    """What was done stands, and the reason is the agent's own words."""
    lab = make_lab(tmp_path / "lab")

    def refuse(workspace: Path, brief: Brief) -> str:
        raise fail("stop", cost_usd=1.0)

    with opened(lab) as study:
        why = research(study, ScriptedProposer([*scores(9), refuse]), StopLimits())
        assert (why, len(study.ledger), study.ledger.spent()) == ("it was stop", 2, (1.0, 0))
    with opened(lab) as study, pytest.raises(ProposalFailed):
        research(study, ScriptedProposer([refuse]), StopLimits())


def test_dollars_of_a_study_are_counted_over_its_sessions(tmp_path: Path) -> None:
    """The limit is looked at before each proposal, and what came before counts."""
    steps = [Edit({"train.py": f"SCORE = {n}\n"}, "an edit", cost_usd=1.0) for n in (9, 8, 7)]
    lab = make_lab(tmp_path / "lab")
    for expected in (3, 3):
        with opened(lab) as study:
            why = research(study, ScriptedProposer(steps), StopLimits(usd=2.0))
            assert (why, len(study.ledger)) == ("$2.00 of $2.00 are spent", expected)


def test_tokens_of_a_study_are_counted(tmp_path: Path) -> None:
    """Also where nobody tells a price."""

    def step(workspace: Path, brief: Brief) -> Proposal:
        (workspace / "train.py").write_text("SCORE = 9\n")
        return Proposal("an edit", tokens=1500)

    with opened(make_lab(tmp_path / "lab")) as study:
        why = research(study, ScriptedProposer([step, step]), StopLimits(tokens=1000))
        assert why == "1,500 of 1,000 tokens are spent"


def test_a_target_ends_the_study_when_it_is_reached(tmp_path: Path) -> None:
    """At or beyond it, in the metric's own direction."""
    with opened(make_lab(tmp_path / "lab")) as study:
        why = research(study, ScriptedProposer(scores(9, 8, 7)), StopLimits(target=8))
        assert why == "score 8.000000 reaches the target 8"
        assert research(study, ScriptedProposer([]), StopLimits(target=9)).startswith("score 8.0")


def test_a_wait_does_not_go_beyond_the_sessions_end(tmp_path: Path) -> None:
    """With a deadline that is over, nothing is waited for."""
    import time

    slept: list[float] = []
    with opened(make_lab(tmp_path / "lab")) as study:
        study.baseline()
        limits = StopLimits(until=time.time() + 2)
        failures = [fail("busy", retry_after=3600.0)] * 50

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            time.sleep(seconds)

        assert research(study, Troubled(*failures), limits, sleep=sleep) == "the time is up"
    assert sum(slept) <= 2.1


def refuses(workspace: Path, brief: Brief) -> str:
    """A model that will not read on."""
    raise fail("refusal")


def test_a_refusal_is_answered_without_the_last_log(tmp_path: Path) -> None:
    """The proposer begins anew at once, its next brief lacks the log, and the night goes on."""
    proposer = ScriptedProposer([edit(CRASHES, "boom"), refuses, *scores(9)])
    notes: list[str] = []
    with opened(make_lab(tmp_path / "lab")) as study:
        why = research(study, proposer, StopLimits(trials=2), on_note=notes.append)
        spends = [spend.kind for spend in study.ledger.spends()]
    assert why == "2 of 2 trials are done"
    assert ["last crash's log" in brief.text for brief in proposer.briefs] == [False, True, False]
    assert "it was refusal; the last crash's log is left out; trying again" in notes[-1]
    assert "refusal" in spends


def test_who_tells_no_dollars_is_named_once_beside_a_limit_in_dollars(tmp_path: Path) -> None:
    """A limit that cannot bind is said; one that can is not spoken of."""

    def counts(workspace: Path, brief: Brief) -> Proposal:
        (workspace / "train.py").write_text(f"SCORE = {9 - brief.number}\n")
        return Proposal("tokens alone", tokens=100)

    def costs(workspace: Path, brief: Brief) -> Proposal:
        return replace(counts(workspace, brief), cost_usd=0.1)

    notes: list[str] = []
    with opened(make_lab(tmp_path / "lab")) as study:
        steps = [costs, counts, counts]
        research(study, ScriptedProposer(steps), StopLimits(trials=3, usd=5), on_note=notes.append)
    first = "scripted reports no dollars: --max-usd does not end it, --max-tokens does. "
    price = "For an agent, usd_per_million in agents.toml gives its tokens a price; 0: it is free."
    assert notes == [first + price]


def test_a_session_that_did_not_tell_its_cost_counts_as_its_limit(tmp_path: Path) -> None:
    """--max-usd ends a night of sessions that are killed before they tell, and says so."""
    late = fail("late", unstated_usd=2.0)

    def untold(workspace: Path, brief: Brief) -> Proposal:
        (workspace / "train.py").write_text("SCORE = 9\n")
        return Proposal("no dollars", unstated_usd=2.0)

    def killed(workspace: Path, brief: Brief) -> Proposal:
        raise late

    notes: list[str] = []
    with opened(make_lab(tmp_path / "lab")) as study:
        proposer = ScriptedProposer([untold, *[killed] * 9])
        why = research(study, proposer, StopLimits(usd=5), on_note=notes.append)
        ledger = study.ledger
        assert (ledger.spent()[0], ledger.unstated(), ledger.trial(1).cost_usd) == (6.0, 6.0, 0.0)
        assert [s.kind for s in ledger.spends()] == ["unstated", *["late", "unstated"] * 2]
        stats = proposer_stats(ledger)[-1]
        assert "not told" in stats_line(stats, Digits()) and stats.usd == 0.0
    assert why == "$6.00 of $5.00 are spent ($6.00 of it not told: limits of sessions)"
    assert any("each session counts as its limit, $2.00" in note for note in notes)


@pytest.mark.parametrize("cost", [-1.0, float("nan"), float("inf"), True, "free", None, 1e300])
def test_a_cost_that_is_none_is_refused_from_any_proposer(cost: object) -> None:
    """A proposer of one's own cannot count as nothing by mistake; a text with a number is one."""
    with pytest.raises(ProposerError, match="unstated_usd"):
        Proposal("a note", cost_usd=cost)  # type: ignore[arg-type]
    with pytest.raises(ProposerError, match="unstated_usd"):
        ProposalFailed("late", "killed", cost_usd=cost)  # type: ignore[arg-type]
    assert Proposal("a note", cost_usd="0.9").cost_usd == 0.9  # type: ignore[arg-type]


def test_a_list_says_once_without_whom_it_goes_on(tmp_path: Path) -> None:
    """A key that is wrong is told when it happens, not in the morning."""

    def locked(workspace: Path, brief: Brief) -> str:
        raise fail("stop")

    notes: list[str] = []
    team = Fallback([("one", ScriptedProposer([locked])), ("two", ScriptedProposer(scores(9, 8)))])
    with opened(make_lab(tmp_path / "lab")) as study:
        why = research(study, team, StopLimits(trials=2), on_note=notes.append)
    assert (why, notes) == ("2 of 2 trials are done", ["Goes on without one: it was stop."])
