"""Names: short ones, dotted paths, and the error for unknown ones."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoresearch.errors import ProposerError, StrategyError
from autoresearch.registry import nearest, resolve
from autoresearch.strategies.greedy import Greedy
from autoresearch.strategies.registry import make_strategy

KNOWN = {"greedy": "autoresearch.strategies.greedy:Greedy"}


@pytest.mark.parametrize(
    "name",
    [
        "greedy",
        "autoresearch.strategies.greedy:Greedy",
        "autoresearch.strategies.greedy.Greedy",
    ],
)
def test_short_and_dotted_names_mean_the_same_class(name: str) -> None:
    """A short name and both dotted forms resolve to one class."""
    assert resolve("strategy", name, KNOWN, StrategyError) is Greedy


def test_a_near_miss_is_offered() -> None:
    """A mistyped name is answered with the right one and with all there are."""
    with pytest.raises(StrategyError, match=r'did you mean "greedy".*There are: greedy'):
        resolve("strategy", "gredy", KNOWN, StrategyError)
    assert "greedy" in nearest("gredy", ["greedy"])


@pytest.mark.parametrize("name", ["", "zzz", ".", ":", "..", ".x", "..x", ".x.y", "::", "::y"])
def test_a_name_that_is_no_path_is_our_error(name: str) -> None:
    """Empty, unknown and malformed names are answered in sentences, never with a traceback."""
    with pytest.raises(StrategyError) as caught:
        resolve("strategy", name, KNOWN, StrategyError)
    assert f"{name!r}." in str(caught.value)
    assert "There are: greedy" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_module_here:X", "no_such_module_here"),
        ("json..X", "json"),
        ("json.nothing.X", "json.nothing"),
        ("json:nothing", "has no class nothing"),
        ("json:loads", "has no class loads"),
    ],
)
def test_a_path_that_leads_nowhere_is_our_error(name: str, said: str) -> None:
    """A module or class that is not there is named in an error of the caller's kind."""
    with pytest.raises(ProposerError, match=said):
        resolve("proposer", name, KNOWN, ProposerError)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path that modules can be written to, forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_class_of_the_users_own_is_found(package: Path) -> None:
    """A dotted path to a module outside the package works without registration."""
    (package / "mine_own.py").write_text("class Mine: pass\n")
    assert resolve("strategy", "mine_own:Mine", KNOWN, StrategyError).__name__ == "Mine"


@pytest.mark.parametrize("missing", ["no_such_thing", "mine"])
def test_what_the_users_module_lacks_is_not_blamed_on_its_name(package: Path, missing: str) -> None:
    """A failing import inside the user's own module is raised unchanged."""
    (package / "mine_broken.py").write_text(f"import {missing}\nclass Mine: pass\n")
    with pytest.raises(ModuleNotFoundError, match=missing):
        resolve("strategy", "mine_broken:Mine", KNOWN, StrategyError)


def test_an_error_in_the_users_module_is_its_own(package: Path) -> None:
    """An exception raised while the user's module is imported passes through."""
    (package / "mine_raising.py").write_text("raise RuntimeError('mine')\n")
    with pytest.raises(RuntimeError, match="mine"):
        resolve("strategy", "mine_raising:Mine", KNOWN, StrategyError)


def test_make_strategy_makes_an_instance() -> None:
    """The registry's names are made into objects ready to use."""
    assert isinstance(make_strategy("greedy"), Greedy)
    with pytest.raises(StrategyError, match="greedy"):
        make_strategy("greed")
