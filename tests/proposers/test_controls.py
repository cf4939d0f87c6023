"""Control arms: what they propose, and how often it is their turn."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from autoresearch.errors import ProposerError
from autoresearch.lab.constants import numbers, read
from autoresearch.proposers import Brief, Proposal, ProposalFailed, Tried
from autoresearch.proposers.controls import Controlled, Noop, RandomLiteral
from autoresearch.proposers.fake import ScriptedProposer
from autoresearch.proposers.record import Recorder, Replayer
from autoresearch.proposers.registry import make_proposer, with_controls
from autoresearch.study.loop import StopLimits, research
from tiny_lab import make_lab, opened

RANGED = "LR = 0.04  # rate [log 0.005..0.2]\nKIND = 'a'  # of it [a | b | c]\nDEPTH = 7\n"
BARE = "def f(x):\n    return 3 * x + 0.5, True, f'{1}', -2\n"


def edited(folder: Path, text: str, number: int, proposer: RandomLiteral) -> tuple[str, str]:
    """What a proposal at that number writes, and its note."""
    (folder / "train.py").write_text(text)
    proposal = proposer.propose(folder, brief(number, text))
    return (folder / "train.py").read_text(), proposal.note


def brief(number: int, text: str = "") -> Brief:
    """A brief after so many trials, all of them of this text."""
    files = {"train.py": text}
    tried = tuple(Tried(n, f"c{n}", "c0", files, "discard", 1.0, "", "") for n in range(number))
    return Brief("", ("train.py",), "c0", history=tried)


# ---- random --------------------------------------------------------------------------------------


def test_random_draws_constants_from_their_range(tmp_path: Path) -> None:
    """One constant a time, all of them sooner or later, and only those that declare a range."""
    proposer, moved = RandomLiteral(seed=1), Counter[str]()
    before = read(RANGED)
    for number in range(1, 60):
        text, note = edited(tmp_path, RANGED, number, proposer)
        now = read(text)
        changed = [name for name in now if now[name].value != before[name].value]
        assert len(changed) == 1
        assert note.startswith(f"control: {changed[0]} ")
        moved[changed[0]] += 1
        assert 0.005 <= float(str(now["LR"].value)) <= 0.2
        assert now["KIND"].value in ("a", "b", "c")
    assert set(moved) == {"LR", "KIND"}


def test_random_takes_any_number_where_no_range_is_declared(tmp_path: Path) -> None:
    """The scale is by chance; an integer stays one; booleans and text are left alone."""
    assert [(one.text, one.name) for one in numbers(BARE)][:2] == [
        ("3", "line 2:"),
        ("0.5", "line 2:"),
    ]
    for number in range(1, 40):
        text, _ = edited(tmp_path, BARE, number, RandomLiteral(seed=2))
        values = [one.value for one in numbers(text)]
        assert isinstance(values[0], int)
        assert "True, f'{" in text
        assert text != BARE


def test_random_follows_from_seed_and_history(tmp_path: Path) -> None:
    """It remembers nothing that a resumed study would lack."""
    told = [edited(tmp_path, RANGED, 5, RandomLiteral(seed)) for seed in (1, *range(1, 9))]
    assert told[0] == told[1]
    assert len(set(told)) > 2


@pytest.mark.parametrize("text", ["print('no number')\n", "x = (\n", "A = 'x'  # of two [x | y]\n"])
def test_random_ends_where_nothing_is_left(tmp_path: Path, text: str) -> None:
    """No number, no Python, or every value tried before."""
    other = text.replace("'x'", "'y'")
    tried = tuple(
        Tried(n, f"c{n}", "c0", {"train.py": t}, "discard", 1.0, "", "")
        for n, t in enumerate((text, other))
    )
    (tmp_path / "train.py").write_text(text)
    with pytest.raises(ProposerError, match=r"no literal of train\.py is left"):
        RandomLiteral().propose(tmp_path, Brief("", ("train.py",), "c0", history=tried))


# ---- shares --------------------------------------------------------------------------------------


class Says:
    """Proposes its own name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Its name."""
        return Proposal(self.name)


@pytest.mark.parametrize("seed", range(5))
def test_each_arm_comes_close_to_its_share_in_any_stretch(tmp_path: Path, seed: int) -> None:
    """Of twenty trials in a row, as of two hundred, no arm is off by more than two."""
    shares = {"a": 0.1, "b": 0.25}
    made = Controlled(Says("agent"), [(Says(name), share) for name, share in shares.items()], seed)
    turns = [made.propose(tmp_path, brief(n)).note for n in range(1, 201)]
    for start in range(0, 180, 7):
        seen = Counter(turns[start : start + 20])
        assert all(abs(seen[name] - 20 * share) <= 2 for name, share in shares.items())
    assert abs(turns.count("b") - 50) <= 2
    again = Controlled(Says("agent"), [(Says(name), share) for name, share in shares.items()], seed)
    assert again.propose(tmp_path, brief(77)).note == turns[76]
    assert again.name == turns[76]


def test_a_control_that_fails_or_is_refused_is_the_agents_turn(tmp_path: Path) -> None:
    """A failing control arm does not end the study, and gets each trial once only."""
    made = Controlled(Says("agent"), [(ScriptedProposer([]), 0.99)])
    assert made.propose(tmp_path, brief(1)).note == "agent"
    made = Controlled(Says("agent"), [(Says("arm"), 0.99)])
    notes = [made.propose(tmp_path, brief(1)).note for _ in "ab"]
    assert notes in (["arm", "agent"], ["agent", "agent"])


def test_controls_do_not_go_on_without_the_agent(tmp_path: Path) -> None:
    """Its failure is the loop's, under its own name."""

    def stop(_: Path, __: Brief) -> str:
        raise ProposalFailed("stop", "no key")

    made = Controlled(ScriptedProposer([stop] * 50), [(Noop(), 0.5)])
    told = []
    for number in range(1, 5):
        try:
            told.append(made.propose(tmp_path, brief(number)).note)
        except ProposalFailed as failed:
            told.append(f"{made.name} {failed.kind}")
    assert "scripted stop" in told
    assert made.rotate() is None


def test_a_confirmation_is_no_turn_of_its_own(tmp_path: Path) -> None:
    """Trials of one commit are counted once."""
    made = [Controlled(Says("agent"), [(Says("arm"), 0.5)], 3) for _ in "ab"]
    plain = brief(6)
    confirmation = Tried(6, "c5", "c0", {}, "keep", 1.0, "", "confirm")
    confirmed = Brief("", ("train.py",), "c0", history=(*plain.history, confirmation))
    assert made[0].propose(tmp_path, plain) == made[1].propose(tmp_path, confirmed)


@pytest.mark.parametrize(
    ("controls", "said"),
    [
        ("noop", "'noop' is not a proposer and a weight.*noop=0.1,random=0.1"),
        ("noop=0.6,random=0.5", r"1\.1 of all trials leaves none for the agent"),
        ("nop=0.1", 'did you mean "noop"'),
        ("noop=0", "is not a proposer and a weight"),
    ],
)
def test_controls_that_cannot_be_are_explained(controls: str, said: str) -> None:
    """With what they look like."""
    with pytest.raises(ProposerError, match=said):
        with_controls(make_proposer("offline"), controls)


# ---- in a study ----------------------------------------------------------------------------------


def test_a_noop_is_run_and_measured(tmp_path: Path) -> None:
    """It gets past the refusal of equal code, as a commit of its own, and moves nothing here."""
    with opened(make_lab(tmp_path / "lab")) as study:
        study.baseline()
        trials = [study.step(Noop()) for _ in "ab"]
        assert [(t.word, t.value, t.reason, t.proposer) for t in trials] == [
            ("discard", 10.0, "", "noop")
        ] * 2
        assert len({trial.commit for trial in trials} | {study.base}) == 3
        assert {trial.tree for trial in trials} == {study.git.tree(study.base)}
        assert (trials[0].lines, trials[0].nodes) == (0, 0)
        text = study.workspaces.brief(study.ask()).text
    assert "control: the code as it is" in text.split("## The last experiments")[1]
    assert "control" not in text.partition("## Near misses")[2]


def test_whatever_stands_in_the_workspace_again_means_the_parent(tmp_path: Path) -> None:
    """An edit beside it does not enter; without it nothing has changed, and nothing is run."""

    def step(workspace: Path, _: Brief) -> Proposal:
        (workspace / "train.py").write_text("SCORE = 1\n")
        return Proposal("sly", rerun_parent=True)

    with opened(make_lab(tmp_path / "lab")) as study:
        study.baseline()
        assert study.step(ScriptedProposer([step])).value == 10.0
        same = study.step(ScriptedProposer([lambda *_: "nothing"]))
        assert (same.reason, same.runs) == ("no_change", ())


class SlowNoop(Noop):
    """One that is made ahead."""

    max_seconds = 60.0


def test_a_noop_that_was_made_ahead_is_of_what_it_starts_from(tmp_path: Path) -> None:
    """The trial before was kept meanwhile: the new best is run again, and nothing is taken back."""

    class Turns(SlowNoop):
        """First an edit, then nothing."""

        def propose(self, workspace: Path, brief: Brief) -> Proposal:
            if brief.number > 1:
                return super().propose(workspace, brief)
            (workspace / "train.py").write_text("SCORE = 9.0\n")
            return Proposal("better")

    with opened(make_lab(tmp_path / "lab")) as study:
        assert research(study, Turns(), StopLimits(trials=2)) == "2 of 2 trials are done"
        _, better, again = study.ledger.trials()
        assert (better.word, again.word, again.value) == ("keep", "discard", 9.0)
        assert (again.parent, again.tree) == (better.commit, better.tree)


def test_a_noop_is_recorded_and_played_back(tmp_path: Path) -> None:
    """It is recorded as a run of the parent, not as an edit that changes nothing."""
    recording = tmp_path / "night.jsonl"
    for name, proposer in (("a", Recorder(Noop(), recording)), ("b", None)):
        with opened(make_lab(tmp_path / name)) as study:
            research(study, proposer or Replayer(recording), StopLimits(trials=2))
            trials = study.ledger.trials()[1:]
            assert [(t.word, t.value, t.proposer) for t in trials] == [
                ("discard", 10.0, "noop")
            ] * 2
