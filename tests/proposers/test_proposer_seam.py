"""What every proposer promises, checked for each of them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent_streams import good, stand_in
from autoresearch.errors import ProposerError
from autoresearch.executors.local import LocalExecutor
from autoresearch.proposers import AgentContext, Brief, Proposal, Proposer, Tried
from autoresearch.proposers.command import CommandProposer, load_presets
from autoresearch.proposers.fake import Edit, ScriptedProposer
from autoresearch.proposers.llm import LLMProposer
from autoresearch.proposers.llm.settings import LLMSettings
from autoresearch.proposers.offline import OfflineProposer
from autoresearch.proposers.record import Recorder
from autoresearch.proposers.team import Fallback, Mix
from model_server import ModelServer, fails, says

# Two constants, four combinations: small enough for every proposer to come to its end.
TRAIN = b"A = False  # a feature [False | True]\r\nB = 'x'  # \xc3\xa9 [x | y]\r\n"
OTHER = "print('fixed')\n"
STATES = [("True", "x"), ("False", "y"), ("True", "y")]


@dataclass(frozen=True)
class Place:
    """A folder for a proposer under test, and a stack that ends what it starts."""

    stack: contextlib.ExitStack
    folder: Path


def edits() -> list[Edit]:
    """The three edits that are possible at all."""
    text = TRAIN.decode()
    texts = [text.replace("False ", f"{a} ", 1).replace("'x'", f"'{b}'") for a, b in STATES]
    return [Edit({"train.py": text}) for text in texts]


def scripted() -> Proposer:
    """The fake, with these edits."""
    return ScriptedProposer(edits())


def llm(place: Place) -> Proposer:
    """A model that sends the same three edits, as whole files, and then is busy."""
    texts = [edit.files["train.py"] for edit in edits()]
    replies = [says(f"NOTE: all\n<<<<<<< WHOLE train.py\n{text}>>>>>>> END") for text in texts]
    server = place.stack.enter_context(ModelServer([*replies, fails(500)]))
    return LLMProposer(settings=LLMSettings("m", server.url, "", timeout=20))


def command(place: Place) -> Proposer:
    """An agent's program that makes the same three edits, and then none."""
    root = place.folder / "command"
    (root / "left.json").parent.mkdir(exist_ok=True)
    (root / "left.json").write_text(json.dumps([edit.files["train.py"] for edit in edits()]))
    act = (
        f"path = Path({str(root / 'left.json')!r})\n"
        "text, *left = json.loads(path.read_text()) or [None]\n"
        "path.write_text(json.dumps(left))\n"
        "if text: Path('train.py').write_bytes(text.encode())"
    )
    program = stand_in(root / "bin", "codex", good("codex"), act)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("CODEX_API_KEY", "sk-test")
        context = AgentContext(home=root / "agent", executor=LocalExecutor())
        return CommandProposer(load_presets()["codex"], context)


def recorded(place: Place) -> Proposer:
    """The fake, written down."""
    return Recorder(scripted(), place.folder / "recording")


MAKERS: dict[str, Callable[[Place], Proposer]] = {
    "offline": lambda _: OfflineProposer(seed=1, tpe=False),
    "offline with TPE": lambda _: OfflineProposer(seed=1, tpe=True),
    "scripted": lambda _: scripted(),
    "llm": llm,
    "command": command,
    "fallback": lambda _: Fallback([("one", scripted())]),
    "mix": lambda _: Mix([("one", scripted(), 1.0)], seed=1),
    "recorder": recorded,
}


@pytest.fixture(params=MAKERS)
def make(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Proposer]]:
    """How to make one of the proposers."""
    for word, needed in {"TPE": "optuna", "llm": "openai"}.items():
        if word in request.param:
            pytest.importorskip(needed)
    with contextlib.ExitStack() as stack:
        place = Place(stack, tmp_path_factory.mktemp("place"))
        yield lambda: MAKERS[request.param](place)


def workspace(folder: Path) -> Path:
    """A workspace at the baseline."""
    (folder / "train.py").write_bytes(TRAIN)
    (folder / "prepare.py").write_text(OTHER)
    return folder


def baseline() -> Tried:
    """Trial 0."""
    return Tried(0, "c0", "c0", {"train.py": TRAIN.decode()}, "keep", 1.0, "baseline", "-")


def brief(*history: Tried) -> Brief:
    """A brief whose parent is the baseline."""
    return Brief("Improve it.", ("train.py",), "c0", history=history or (baseline(),))


def play(proposer: Proposer, folder: Path) -> tuple[list[str], list[Proposal]]:
    """Discard every proposal until there is none left; texts and proposals, in order."""
    history, proposals = [baseline()], []
    for number in range(1, 9):
        try:
            proposals.append(proposer.propose(workspace(folder), brief(*history)))
        except ProposerError:
            return [tried.files["train.py"] for tried in history], proposals
        text = (folder / "train.py").read_bytes().decode()
        tried = Tried(number, f"c{number}", "c0", {"train.py": text}, "discard", 1.1, "", "")
        history.append(tried)
    pytest.fail(f"still proposing after {len(proposals)} trials")


def test_it_has_a_short_name(make: Callable[[], Proposer]) -> None:
    """The ledger can record who proposed."""
    name = make().name
    assert name
    assert name == name.strip().lower()
    assert " " not in name


def test_it_edits_the_editable_file_and_no_other(
    make: Callable[[], Proposer], tmp_path: Path
) -> None:
    """After a proposal train.py differs, prepare.py does not, and no file has appeared."""
    make().propose(workspace(tmp_path), brief())
    assert (tmp_path / "train.py").read_bytes() != TRAIN
    assert (tmp_path / "prepare.py").read_text() == OTHER
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prepare.py", "train.py"]


def test_it_says_what_it_did_in_one_line(make: Callable[[], Proposer], tmp_path: Path) -> None:
    """A note is one printable line, and a cost is no less than nothing."""
    proposal = make().propose(workspace(tmp_path), brief())
    assert isinstance(proposal, Proposal)
    assert proposal.note.strip()
    assert len(proposal.note.splitlines()) == 1
    assert proposal.cost_usd >= 0


def test_it_works_with_no_history(make: Callable[[], Proposer], tmp_path: Path) -> None:
    """The first proposal of a study needs no earlier one."""
    empty = Brief("Improve it.", ("train.py",), "c0", history=())
    assert make().propose(workspace(tmp_path), empty).note


def test_it_repeats_nothing_and_comes_to_an_end(
    make: Callable[[], Proposer], tmp_path: Path
) -> None:
    """Three trees are possible beside the baseline: three proposals, then ProposerError."""
    texts, proposals = play(make(), tmp_path)
    assert len(proposals) == 3
    assert len(set(texts)) == 4


def test_it_proposes_the_same_again(make: Callable[[], Proposer], tmp_path: Path) -> None:
    """Equal proposers with equal histories propose equal edits."""
    assert play(make(), tmp_path) == play(make(), tmp_path)


def test_it_keeps_line_endings(make: Callable[[], Proposer], tmp_path: Path) -> None:
    """A file written with \\r\\n stays so."""
    make().propose(workspace(tmp_path), brief())
    assert (tmp_path / "train.py").read_bytes().count(b"\r\n") == 2


def test_a_scripted_step_may_be_a_function(tmp_path: Path) -> None:
    """The fake also calls functions, hands them the brief, and remembers the briefs it got."""

    def step(folder: Path, told: Brief) -> str:
        (folder / "train.py").write_text(told.text)
        return "wrote the brief down"

    def nothing(folder: Path, told: Brief) -> Proposal:
        return Proposal("nothing", cost_usd=0.5)

    proposer = ScriptedProposer([step, nothing])
    assert proposer.propose(workspace(tmp_path), brief()).note == "wrote the brief down"
    assert (tmp_path / "train.py").read_text() == "Improve it."
    assert proposer.propose(tmp_path, brief()).cost_usd == 0.5
    assert len(proposer.briefs) == 2
    with pytest.raises(ProposerError, match="the script is over"):
        proposer.propose(tmp_path, brief())


def test_a_scripted_edit_makes_its_folders(tmp_path: Path) -> None:
    """An edit may name a file in a folder that is not there yet."""
    ScriptedProposer([Edit({"a/b.txt": "hello"})]).propose(tmp_path, brief())
    assert (tmp_path / "a" / "b.txt").read_text() == "hello"
