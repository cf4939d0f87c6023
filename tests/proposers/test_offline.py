"""The offline proposer: what it changes, what it learns, and that it finds the optimum."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from autoresearch.errors import ProposerError
from autoresearch.lab import constants
from autoresearch.proposers import Brief, Tried
from autoresearch.proposers.offline import OfflineProposer


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


# The simulated lab that also chose the default mix.
sim: Any = _load("benchmark_offline", Path(__file__).parents[2] / "benchmarks" / "offline.py")

needs_optuna = pytest.mark.skipif(
    importlib.util.find_spec("optuna") is None, reason="optuna is an extra"
)
both = pytest.mark.parametrize("tpe", [False, pytest.param(True, marks=needs_optuna)])

SMALL = """\
LR = 0.04  # learning rate [log 0.001..1]
DEPTH = 4  # layers [int 1..8]
ACT = "relu2"  # of the MLP [relu2 | gelu | silu]
"""


def tried(
    number: int, source: str, value: float | None, parent: int = 0, outcome: str = ""
) -> Tried:
    """One experiment, by default put aside, or crashed when it has no value."""
    guess: Any = outcome or ("crash" if value is None else "discard")
    files = {"train.py": source}
    return Tried(number, f"c{number}", f"c{parent}", files, guess, value, "", "someone")


def start(source: str, value: float = 1.0) -> Tried:
    """The baseline."""
    return tried(0, source, value, outcome="keep")


def proposed(
    folder: Path, source: str, *history: Tried, seed: int = 0, minimize: bool = True
) -> tuple[str, str]:
    """The text and the note after one call, without TPE."""
    (folder / "train.py").write_text(source)
    brief = Brief("", ("train.py",), "c0", minimize, history or (start(source),))
    note = OfflineProposer(seed, tpe=False).propose(folder, brief).note
    return (folder / "train.py").read_text(), note


def values(source: str) -> dict[str, Any]:
    """Constants by name."""
    return {name: constant.value for name, constant in constants.read(source).items()}


def moved(before: str, after: str) -> set[str]:
    """Names of the constants that differ."""
    return {name for name, value in values(before).items() if values(after)[name] != value}


def play(folder: Path, source: str, seeds: int) -> list[dict[str, Any]]:
    """Values of the first proposal of many seeds."""
    return [values(proposed(folder, source, seed=seed)[0]) for seed in range(seeds)]


@both
def test_it_finds_a_real_improvement_in_twenty_noisy_trials(tpe: bool, tmp_path: Path) -> None:
    """In at least 19 of 20 studies the incumbent is truly 1 % better than the baseline."""
    gains = []
    for seed in range(20):
        proposer = OfflineProposer(seed, tpe=tpe)
        gains.append(sim.ratchet(proposer, sim.MEASURED, 20, seed, tmp_path).gain(20))
    assert sum(gain >= 1.0 for gain in gains) >= 19, gains


def test_ten_trials_nearly_always_keep_something(tmp_path: Path) -> None:
    """A demonstration of ten trials shows a keep in at least 19 of 20 studies."""
    kept = 0
    for seed in range(20):
        proposer = OfflineProposer(seed, tpe=False)
        trail = sim.ratchet(proposer, sim.MEASURED, 10, seed, tmp_path)
        kept += any(trial.outcome == "keep" for trial in trail.history[1:])
    assert kept >= 19


@both
def test_it_never_repeats_a_tree(tpe: bool, tmp_path: Path) -> None:
    """Of 200 trials no two have the same files."""
    trail = sim.ratchet(OfflineProposer(5, tpe=tpe), sim.PLAIN, 200, 5, tmp_path)
    assert len({trial.files["train.py"] for trial in trail.history}) == 201


@both
def test_a_resumed_study_proposes_what_an_uninterrupted_one_would(
    tpe: bool, tmp_path: Path
) -> None:
    """A new proposer in the middle of a study continues as the old one would have."""
    whole = sim.ratchet(OfflineProposer(2, tpe=tpe), sim.MEASURED, 50, 2, tmp_path)
    half = sim.ratchet(OfflineProposer(2, tpe=tpe), sim.MEASURED, 25, 2, tmp_path)
    resumed = sim.ratchet(OfflineProposer(2, tpe=tpe), sim.MEASURED, 50, 2, tmp_path, half)
    assert resumed.history == whole.history


def test_seeds_differ(tmp_path: Path) -> None:
    """Two studies of different seeds take different ways."""
    assert len({str(first) for first in play(tmp_path, sim.SOURCE, 8)}) > 1


def test_it_switches_on_what_the_lab_ships_switched_off_first(tmp_path: Path) -> None:
    """With any seed, the first trials test untried choices."""
    features = {"BIGRAM", "SMEAR", "BACKOUT", "TIE_HEAD"}
    for seed in range(8):
        text, note = proposed(tmp_path, sim.SOURCE, seed=seed)
        assert moved(sim.SOURCE, text) < features
        assert note.endswith("(structural)")


def test_every_choice_is_tried(tmp_path: Path) -> None:
    """Sixty trials of a lab leave no value of a named choice untried."""
    trail = sim.ratchet(OfflineProposer(1, tpe=False), sim.PLAIN, 60, 1, tmp_path)
    seen = [values(trial.files["train.py"]) for trial in trail.history]
    for name, options in sim.CHOICES.items():
        if not isinstance(next(iter(options)), int) or set(options) == {False, True}:
            assert {state[name] for state in seen} == set(options), name


def test_a_change_is_one_line_and_the_note_says_it(tmp_path: Path) -> None:
    """The diff is the literal, and the note names the constant, both values and the way."""
    source = "# é\nLR = 0.04  # learning rate [log 0.005..0.2]\n"
    text, note = proposed(tmp_path, source)
    new = constants.read(text)["LR"].text
    assert text == source.replace("0.04", new)
    assert note == f"LR 0.04 -> {new} (local)"
    assert len(new) <= 6


def test_values_stay_within_their_ranges(tmp_path: Path) -> None:
    """No proposal of a long study leaves a declared range."""
    trail = sim.ratchet(OfflineProposer(3, tpe=False), sim.DETUNED, 150, 3, tmp_path)
    for trial in trail.history:
        for constant in constants.read(trial.files["train.py"]).values():
            knob, value = constant.knob, constant.value
            if isinstance(knob, constants.Choices):
                assert value in knob.values
            elif knob is not None:
                assert isinstance(value, int | float)
                assert knob.low <= value <= knob.high


def test_numbers_move_by_no_more_than_eightfold(tmp_path: Path) -> None:
    """A learning rate never jumps far from its parent's, whatever the range allows."""
    source = "LR = 0.04  # [log 1e-6..1e3]\nX = 1.0  # [log 1e-6..1e6]\n"
    for state in play(tmp_path, source, 30):
        assert 0.04 / 8.1 <= state["LR"] <= 0.04 * 8.1
        assert 1 / 8.1 <= state["X"] <= 8.1


def test_what_crashed_alone_is_left_alone(tmp_path: Path) -> None:
    """Neither the value that crashed nor any beyond it is proposed again."""
    history = [
        start(SMALL),
        tried(1, SMALL.replace("0.04", "0.08"), None),
        tried(2, SMALL.replace("relu2", "gelu", 1), None),
        tried(3, SMALL.replace("relu2", "silu", 1), 1.1),
    ]
    for seed in range(30):
        state = values(proposed(tmp_path, SMALL, *history, seed=seed)[0])
        assert state["LR"] < 0.08
        assert state["ACT"] != "gelu"


def test_what_never_ran_is_no_crash(tmp_path: Path) -> None:
    """The values of a duplicate stay open; that very edit is not proposed again."""
    doubled = SMALL.replace("DEPTH = 4", "DEPTH = 5")
    history = [start(SMALL), tried(1, doubled, None, outcome="skip")]
    made = [proposed(tmp_path, SMALL, *history, seed=seed)[0] for seed in range(60)]
    assert doubled not in made
    assert any(values(text)["DEPTH"] > 4 for text in made)
    crash = [start(SMALL), tried(1, doubled, None)]
    avoided = [proposed(tmp_path, SMALL, *crash, seed=seed)[0] for seed in range(60)]
    assert not any(values(text)["DEPTH"] > 4 for text in avoided)


def test_what_got_clearly_worse_is_avoided(tmp_path: Path) -> None:
    """After large losses on one side of a number the search goes elsewhere."""
    history = [start(SMALL)]
    history += [
        tried(i, SMALL.replace("DEPTH = 4", f"DEPTH = {depth}"), 1.0 + loss)
        for i, (depth, loss) in enumerate([(5, 0.2), (6, 0.4), (7, 0.6)], 1)
    ]
    history += [
        tried(4 + i, SMALL.replace("0.04", rate), 1.0 + 0.001 * i)
        for i, rate in enumerate(["0.05", "0.03", "0.06", "0.02"])
    ]
    history += [tried(9, SMALL.replace('"relu2"', '"gelu"'), 1.001)]
    history += [tried(10, SMALL.replace('"relu2"', '"silu"'), 1.001)]
    for seed in range(30):
        assert values(proposed(tmp_path, SMALL, *history, seed=seed)[0])["DEPTH"] <= 4


def test_larger_may_be_better(tmp_path: Path) -> None:
    """A fall that is followed up when the metric is minimized is shunned when it is maximized."""
    source = "DEPTH = 8  # layers [int 1..16]\nX = 1.0  # nothing [0..2]\n"
    history = [start(source), tried(1, source.replace("= 8", "= 7"), 0.8)]
    for i, x in enumerate(("1.2", "0.8", "1.4"), 2):
        history.append(tried(i, source.replace("1.0", x), 1.0))
    down = {
        minimize: sum(
            values(proposed(tmp_path, source, *history, seed=seed, minimize=minimize)[0])["DEPTH"]
            < 8
            for seed in range(30)
        )
        for minimize in (True, False)
    }
    assert down[True] >= 20
    assert down[False] <= 3


def test_experiments_of_others_teach_it_too(tmp_path: Path) -> None:
    """A value that an agent's own edit carried, and that crashed nothing, counts as tried."""
    elsewhere = SMALL.replace('"relu2"', '"gelu"') + "print('an agent was here')\n"
    history = [start(SMALL), tried(1, elsewhere, 1.5)]
    state = values(proposed(tmp_path, SMALL, start(SMALL), *history[1:])[0])
    assert state["ACT"] != "gelu"


def test_the_same_constants_in_other_files_are_another_tree(tmp_path: Path) -> None:
    """Where an agent changed the rest of the file, a combination may be tried again."""
    source = "A = False  # [False | True]\n"
    history = [start(source), tried(1, "A = True  # [False | True]\nprint()\n", 1.1)]
    assert values(proposed(tmp_path, source, *history)[0])["A"] is True


def test_only_constants_of_the_parent_move(tmp_path: Path) -> None:
    """A knob that exists only in somebody's discarded version is not reached for."""
    grown = SMALL + "NEW = 1  # [int 1..9]\n"
    text, _ = proposed(tmp_path, SMALL, start(SMALL), tried(1, grown, 1.2))
    assert "NEW" not in text


def test_a_broken_version_in_the_history_does_no_harm(tmp_path: Path) -> None:
    """Some agent's syntax error is skipped."""
    assert proposed(tmp_path, SMALL, start(SMALL), tried(1, "def (", None))[1]


def test_a_broken_parent_is_an_error_with_file_and_line(tmp_path: Path) -> None:
    """There is nothing to move in a file that does not parse."""
    with pytest.raises(ProposerError, match=r"train\.py:2: not valid Python"):
        proposed(tmp_path, "A = 1  # [int 1..3]\nB = (\n")


def test_a_lab_without_ranges_is_told_how_to_declare_one(tmp_path: Path) -> None:
    """The message shows the comment that is missing."""
    with pytest.raises(ProposerError, match=r"no searchable constant in train\.py.*\[log"):
        proposed(tmp_path, "A = 1\n")


def test_when_everything_is_tried_it_says_so(tmp_path: Path) -> None:
    """A lab of two states has one experiment in it."""
    source = "A = False  # [False | True]\n"
    history = [start(source), tried(1, source.replace("= False", "= True"), 1.0)]
    with pytest.raises(ProposerError, match=r"nothing left to try.*Widen"):
        proposed(tmp_path, source, *history)


def test_several_editable_files_are_one_space(tmp_path: Path) -> None:
    """Constants of equal name in two files are distinguished; other files stay as they are."""
    (tmp_path / "a.py").write_text("X = False  # [False | True]\n")
    (tmp_path / "b.py").write_text("X = False  # [False | True]\n")
    (tmp_path / "notes.txt").write_text("X = False  # [False | True]\n")
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    brief = Brief("", ("a.py", "b.py", "notes.txt"), "c0")
    proposal = OfflineProposer(tpe=False).propose(tmp_path, brief)
    after = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert [name for name in before if before[name] != after[name]] in (["a.py"], ["b.py"])
    assert proposal.note in (
        "a.py:X False -> True (structural)",
        "b.py:X False -> True (structural)",
    )


def test_optuna_is_not_imported_before_it_is_needed() -> None:
    """Importing and making the proposer costs no Optuna."""
    code = (
        "import sys; from autoresearch.proposers.registry import make_proposer; "
        "make_proposer('offline'); print('optuna' in sys.modules)"
    )
    assert _python(code) == "False"


def test_without_optuna_it_works_and_refuses_only_what_was_asked_for() -> None:
    """Without Optuna the default works, and tpe=True says how to install it."""
    code = (
        "import sys; sys.modules['optuna'] = None\n"
        "from autoresearch.errors import ProposerError\n"
        "from autoresearch.proposers.offline import OfflineProposer\n"
        "OfflineProposer()\n"
        "try: OfflineProposer(tpe=True)\n"
        "except ProposerError as error: print(error)"
    )
    assert "autoresearch[optuna]" in _python(code)


def _python(code: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return ran.stdout.strip()
