"""Mixes and lists of proposers: their order, who is skipped, and the cost."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch.errors import ProposerError
from autoresearch.proposers import Brief, Kind, Proposal, ProposalFailed, Rotating, Tried
from autoresearch.proposers.controls import Controlled
from autoresearch.proposers.fake import ScriptedProposer, Step
from autoresearch.proposers.record import Recorder
from autoresearch.proposers.registry import make_proposer
from autoresearch.proposers.retry_policy import Advice, RetryPolicy
from autoresearch.proposers.team import ROTATED_PAUSE, Fallback, Mix, weighted_order
from llm_server import TRAIN, brief, workspace

ALWAYS = 1000


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def fails(kind: Kind, retry_after: float | None = None, cost: float = 0.0) -> Step:
    """A step that leaves half an edit and fails."""

    def step(folder: Path, _: Brief) -> str:
        (folder / "train.py").write_text("half an edit")
        raise ProposalFailed(kind, f"it is {kind}", retry_after=retry_after, cost_usd=cost)

    return step


def works(note: str = "done") -> Step:
    """A step that adds a line to whatever it finds."""

    def step(folder: Path, _: Brief) -> Proposal:
        path = folder / "train.py"
        path.write_text(f"{path.read_text()}# {note}\n")
        return Proposal(note, cost_usd=0.5, tokens=5)

    return step


def over(_: Path, __: Brief) -> str:
    """A step of a proposer with nothing left to try."""
    raise ProposerError("nothing left")


def history(length: int) -> Brief:
    """A brief at this number of a trial."""
    tried = tuple(Tried(n, f"c{n}", "c0", {}, "discard", 1.0, "", "") for n in range(length))
    return Brief("", ("train.py",), "c0", history=tried)


def test_the_first_that_can_proposes(tmp_path: Path) -> None:
    """In the order of the list; the ledger records the member."""
    team = Fallback([("a", ScriptedProposer([works("one")])), ("b", ScriptedProposer([]))])
    assert team.name == "fallback"
    proposal = team.propose(workspace(tmp_path), brief())
    assert (proposal.note, proposal.details["proposer"], team.name) == ("one", "a", "scripted")


def test_stop_is_out_for_the_session_and_its_half_edit_is_gone(tmp_path: Path) -> None:
    """The next proposes from clean files; its proposal has the cost of the first and names it."""
    first = ScriptedProposer([fails("stop", cost=0.25)] * ALWAYS)
    clock = Clock()
    team = Fallback([("a", first), ("b", ScriptedProposer([works()] * 2))], clock)
    proposal = team.propose(workspace(tmp_path), brief())
    assert (tmp_path / "train.py").read_text() == f"{TRAIN}# done\n"
    assert proposal.cost_usd == 0.75
    assert proposal.details["without a"] == "it is stop"
    clock.now += 1e6
    assert team.propose(workspace(tmp_path), brief()).cost_usd == 0.5
    assert len(first.briefs) == 1


def test_what_failed_ones_cost_is_owed_while_the_next_is_asked(tmp_path: Path) -> None:
    """A caller that ends the call meanwhile can count the cost."""
    owed: list[float] = []

    def looks(folder: Path, _: Brief) -> str:
        owed.append(team.pending_cost)
        return "done"

    team = Fallback(
        [("a", ScriptedProposer([fails("busy", cost=2.0)])), ("b", ScriptedProposer([looks]))]
    )
    assert team.propose(workspace(tmp_path), brief()).cost_usd == 2.0
    assert (owed, team.pending_cost) == ([2.0], 0.0)


def test_what_a_failed_one_leaves_in_the_way_is_removed(tmp_path: Path) -> None:
    """A link out of the workspace: neither the parent's text nor the next edit follows it."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "train.py").write_text("mine")
    folder = tmp_path / "workspace"
    (folder / "pkg").mkdir(parents=True)
    (folder / "pkg" / "train.py").write_text(TRAIN)

    def leaves(folder: Path, _: Brief) -> str:
        (folder / "pkg" / "train.py").unlink()
        (folder / "pkg").rmdir()
        (folder / "pkg").symlink_to(mine)
        raise ProposalFailed("busy", "it is busy")

    def edits(folder: Path, _: Brief) -> str:
        (folder / "pkg" / "train.py").write_text("an edit")
        return "done"

    team = Fallback([("a", ScriptedProposer([leaves])), ("b", ScriptedProposer([edits]))])
    team.propose(folder, replace(brief(), editable=("pkg/train.py",)))
    assert (mine / "train.py").read_text() == "mine"
    assert (folder / "pkg" / "train.py").read_text() == "an edit"
    assert not (folder / "pkg").is_symlink()


@pytest.mark.parametrize(("asked", "pause"), [(7.0, 7.0), (None, 60.0), (0.0, 0.0)])
def test_busy_is_passed_over_for_as_long_as_it_asked(
    tmp_path: Path, asked: float | None, pause: float
) -> None:
    """And is the first again afterwards."""
    first = ScriptedProposer([fails("busy", asked), works("back")])
    clock = Clock()
    team = Fallback([("a", first), ("b", ScriptedProposer([works()] * ALWAYS))], clock)
    assert team.propose(workspace(tmp_path), brief()).note == "done"
    if pause:
        clock.now += pause - 0.01
        assert team.propose(workspace(tmp_path), brief()).note == "done"
    clock.now += 0.02
    assert team.propose(workspace(tmp_path), brief()).note == "back"


@pytest.mark.parametrize("kind", ["refusal", "empty", "late"])
def test_other_failures_are_the_loops(tmp_path: Path, kind: Kind) -> None:
    """Another beginning or another try helps them, not another proposer."""
    team = Fallback([("a", ScriptedProposer([fails(kind, cost=0.1)])), ("b", ScriptedProposer([]))])
    with pytest.raises(ProposalFailed) as raised:
        team.propose(workspace(tmp_path), brief())
    assert (raised.value.kind, raised.value.cost_usd) == (kind, 0.1)


@pytest.mark.parametrize("kind", [Fallback, lambda m, c: Mix([(n, p, 1.0) for n, p in m], 1, c)])
def test_who_gives_way_is_passed_over_for_half_an_hour(
    tmp_path: Path, kind: Callable[[list[tuple[str, ScriptedProposer]], Clock], Fallback | Mix]
) -> None:
    """A member without usable proposals is rotated out, until there is no other."""
    empty, clock = ScriptedProposer([fails("empty")] * ALWAYS), Clock()
    team = kind([("a", empty), ("b", ScriptedProposer([works()] * ALWAYS))], clock)
    assert team.rotate() is None  # nobody spoke yet
    while not empty.briefs:
        with contextlib.suppress(ProposalFailed):
            team.propose(workspace(tmp_path), brief())
    assert isinstance(team, Rotating)
    advice = Advice(wait=600.0, renew=True, rotate=True)
    assert RetryPolicy().follow(advice, team) == ("b goes on", 0.0)
    assert [team.propose(workspace(tmp_path), brief()).note for _ in range(9)] == ["done"] * 9
    assert team.rotate() is None  # that would leave nobody
    clock.now += ROTATED_PAUSE
    tried = len(empty.briefs)
    while len(empty.briefs) == tried:
        with contextlib.suppress(ProposalFailed):
            team.propose(workspace(tmp_path), brief())


def test_a_member_that_can_begin_anew_is_told_to(tmp_path: Path) -> None:
    """The one that spoke last, through the list, through controls and through a recorder."""

    class Renewed(ScriptedProposer):
        asked = 0

        def renew(self) -> bool:
            """Count."""
            self.asked += 1
            return True

    first = Renewed([fails("empty")])
    team = Controlled(Fallback([("a", first), ("b", ScriptedProposer([]))]), [])
    whole = Recorder(team, tmp_path / "recording")
    with pytest.raises(ProposalFailed):
        whole.propose(workspace(tmp_path), brief())
    assert whole.renew()
    assert first.asked == 1
    assert whole.rotate() == "b"
    assert not Recorder(ScriptedProposer([]), tmp_path / "other").renew()  # and that is all


def test_who_has_nothing_left_is_asked_again_next_time(tmp_path: Path) -> None:
    """From other files it may have an idea."""
    team = Fallback(
        [("a", ScriptedProposer([over, works("idea")])), ("b", ScriptedProposer([works()]))]
    )
    assert team.propose(workspace(tmp_path), brief()).note == "done"
    assert team.propose(workspace(tmp_path), brief()).note == "idea"


@pytest.mark.parametrize(
    ("steps", "kind", "wait"),
    [
        ([fails("stop"), fails("stop")], "stop", None),
        ([fails("busy", 9), fails("busy", 5)], "busy", 5.0),
        ([fails("stop"), fails("busy", 5)], "busy", 5.0),
        ([over, fails("stop")], "stop", None),
        ([fails("busy", 0.0), over], "busy", 0.0),
        ([fails("busy", 0.0), fails("busy", 0.0)], "busy", 0.0),
        ([fails("busy", 0.0), fails("stop")], "busy", 0.0),
    ],
)
def test_when_nobody_can_the_failure_says_what_helps(
    tmp_path: Path, steps: list[Step], kind: str, wait: float | None
) -> None:
    """Waiting for the first that is busy; else a person."""
    team = Fallback([(f"p{i}", ScriptedProposer([s])) for i, s in enumerate(steps)], Clock())
    with pytest.raises(ProposalFailed, match=r"No proposer can go on\..*p\d: it is") as raised:
        team.propose(workspace(tmp_path), brief())
    assert (raised.value.kind, raised.value.retry_after) == (kind, wait)
    assert (tmp_path / "train.py").read_text() == TRAIN


def test_when_all_have_nothing_left_it_is_over(tmp_path: Path) -> None:
    """The study ends as with a single proposer."""
    team = Fallback([("a", ScriptedProposer([over])), ("b", ScriptedProposer([over]))])
    with pytest.raises(ProposerError, match="a: nothing left b: nothing left") as raised:
        team.propose(workspace(tmp_path), brief())
    assert not isinstance(raised.value, ProposalFailed)


# ---- mix ---------------------------------------------------------------------------------------


def mix(seed: int = 0, *, first: Step | None = None) -> Mix:
    """Three parts of `a` to one of `b`."""
    a = ScriptedProposer([first or works("a")] * ALWAYS)
    return Mix([("a", a, 3.0), ("b", ScriptedProposer([works("b")] * ALWAYS), 1.0)], seed, Clock())


def notes(made: Mix, folder: Path, lengths: range) -> list[str]:
    """The members that proposed at these trials."""
    return [made.propose(workspace(folder), history(n)).note for n in lengths]


def test_a_mix_draws_by_weight_the_same_for_the_same_trial(tmp_path: Path) -> None:
    """A restart at trial 150 draws the same members; another seed draws others."""
    whole = notes(mix(), tmp_path, range(100))
    assert 60 < Counter(whole)["a"] < 90
    assert notes(mix(), tmp_path, range(50, 100)) == whole[50:]
    assert notes(mix(1), tmp_path, range(100)) != whole


def test_the_draw_is_the_same_on_every_machine() -> None:
    """A seed's order is part of what a recorded study means."""
    first = [weighted_order([0.7, 0.3], f"42:{n}:0")[0] for n in range(12)]
    assert first == [0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 1]


def test_a_trial_that_was_none_is_drawn_anew(tmp_path: Path) -> None:
    """An edit that changes nothing leaves the number as it is: not the same one for ever."""
    made = mix()
    said = {made.propose(workspace(tmp_path), history(5)).note for _ in range(40)}
    assert said == {"a", "b"}


def test_a_mix_goes_on_without_one_that_stops(tmp_path: Path) -> None:
    """The others take its share."""
    made = mix(first=fails("stop"))
    assert set(notes(made, tmp_path, range(20))) == {"b"}
    assert made.name == "scripted"


# ---- by name -----------------------------------------------------------------------------------


def test_a_mix_and_a_list_are_made_by_name(tmp_path: Path) -> None:
    """Spaces do no harm; members are named as alone."""
    assert make_proposer("mix:offline=0.7, tiny_agents:Empty = 0.3", seed=3).name == "mix"
    made = make_proposer("tiny_agents:Empty,tiny_agents:Countdown")
    assert made.propose(workspace(tmp_path), brief()).note == "score 50"
    assert made.name == "countdown"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mix:offline", r"'offline' is not a proposer and a weight.*mix:offline=0\.7,llm=0\.3"),
        ("mix:", "is not a proposer and a weight"),
        ("mix:offline=0", "is not a proposer and a weight"),
        ("mix:offline=-1", "is not a proposer and a weight"),
        ("mix:offline=nan", "is not a proposer and a weight"),
        ("mix:offline=inf", "is not a proposer and a weight"),
        ("mix:=1", "is not a proposer and a weight"),
        ("mix:ofline=1", 'did you mean "offline"'),
        ("offline,", "a name is missing"),
        ("offline,ofline", 'did you mean "offline"'),
        ("lm:gpt", "No proposer is named 'lm' .did you mean \"llm\""),
        ("mx:offline=1", 'did you mean "mix"'),
        ("offline:fast", "takes nothing after a colon: 'fast'"),
        ("llm:", "The name of a model is missing after llm:"),
    ],
)
def test_a_name_that_is_none_is_explained(name: str, said: str) -> None:
    """With the nearest name, or an example."""
    with pytest.raises(ProposerError, match=said):
        make_proposer(name)


@pytest.mark.parametrize("make", [lambda: mix(), lambda: Fallback([("a", ScriptedProposer([]))])])
def test_a_team_has_a_name_before_it_speaks(make: Callable[[], Mix | Fallback]) -> None:
    """The loop shows it while the first proposal is made."""
    assert make().name in ("mix", "fallback")
