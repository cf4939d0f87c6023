"""Proposers by name: ours, a user's, and the error for an unknown name."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.errors import ProposerError
from autoresearch.proposers import AgentContext
from autoresearch.proposers.offline import OfflineProposer
from autoresearch.proposers.registry import make_proposer

MODULE = """\
class Seeded:
    name = "seeded"

    def __init__(self, seed=0):
        self.seed = seed

    def propose(self, workspace, brief):
        raise NotImplementedError


class Seedless:
    name = "seedless"

    def propose(self, workspace, brief):
        raise NotImplementedError


class Demanding(Seedless):
    def __init__(self, key):
        self.key = key


class WithContext(Seedless):
    def __init__(self, context):
        self.context = context


class NoProposer:
    pass
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of the user's own, importable, unlike any other test's."""
    name = f"users_{tmp_path.name}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "mine.py").write_text(MODULE)
    (folder / "needs.py").write_text(f"import no_such_dependency\n{MODULE}")
    (folder / "broken.py").write_text("x = 1 / 0\n")
    (folder / "mangled.py").write_text("class (\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_the_short_name_gives_ours() -> None:
    """`offline` is the offline proposer."""
    assert isinstance(make_proposer("offline", seed=3), OfflineProposer)


@pytest.mark.parametrize("separator", [":", "."])
def test_a_dotted_path_gives_the_users_class(package: str, separator: str) -> None:
    """Both spellings of a path work, and the seed arrives."""
    made = make_proposer(f"{package}.mine{separator}Seeded", seed=7)
    assert made.name == "seeded"
    assert vars(made) == {"seed": 7}


def test_a_class_may_take_the_context(package: str, tmp_path: Path) -> None:
    """Its constructor gets the context; an empty one when the caller gives none."""
    context = AgentContext(home=tmp_path)
    assert vars(make_proposer(f"{package}.mine:WithContext", context=context)) == {
        "context": context
    }
    assert vars(make_proposer(f"{package}.mine:WithContext")) == {"context": AgentContext()}


def test_a_class_without_a_seed_is_made_without_one(package: str) -> None:
    """A constructor gets only the arguments that it has parameters for."""
    assert make_proposer(f"{package}.mine:Seedless", seed=7).name == "seedless"


def test_an_unknown_name_is_answered_with_the_nearest_and_all() -> None:
    """A misspelling is an error that shows the way."""
    with pytest.raises(ProposerError, match=r"'ofline'.*did you mean .offline.*package\.module"):
        make_proposer("ofline")


@pytest.mark.parametrize("name", ["", ".", ":", "no_such_module:Class", "no_such.module.Class"])
def test_a_path_that_leads_nowhere_is_an_error(name: str) -> None:
    """Nothing but ProposerError comes of a wrong name."""
    with pytest.raises(ProposerError):
        make_proposer(name)


def test_a_missing_class_is_named(package: str) -> None:
    """The module exists, the class does not, and the message says which."""
    with pytest.raises(ProposerError, match=r"mine has no class Sedeed"):
        make_proposer(f"{package}.mine:Sedeed")


def test_an_import_error_of_the_users_own_is_reported_as_itself(package: str) -> None:
    """A dependency that the user's module lacks is not an unknown proposer."""
    with pytest.raises(
        ProposerError,
        match=r"could not be imported: ModuleNotFoundError: .*'no_such_dependency'.*needs\.py:1",
    ):
        make_proposer(f"{package}.needs:Seeded")


@pytest.mark.parametrize(
    ("module", "said"), [("broken", "ZeroDivisionError: .*broken.py:1"), ("mangled", "SyntaxError")]
)
def test_a_module_that_breaks_is_reported_as_itself(package: str, module: str, said: str) -> None:
    """An error of the user's module is reported in its own words."""
    with pytest.raises(ProposerError, match=said):
        make_proposer(f"{package}.{module}:Seeded")


def test_a_constructor_that_wants_more_is_explained(package: str) -> None:
    """Required arguments that are not passed are named."""
    with pytest.raises(ProposerError, match=r"missing a required argument: 'key'.*`seed`"):
        make_proposer(f"{package}.mine:Demanding")


def test_a_class_that_proposes_nothing_is_no_proposer(package: str) -> None:
    """A missing `name` or `propose` is reported at once, not in the middle of the night."""
    with pytest.raises(ProposerError, match=r"needs a `name` and a method"):
        make_proposer(f"{package}.mine:NoProposer")
