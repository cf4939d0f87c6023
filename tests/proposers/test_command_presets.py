"""Agents by name: ours, the user's, a lab's; and the error for a wrong line."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_streams import PROGRAMS, first_on_path, script
from autoresearch.errors import AutoResearchError, ProposerError
from autoresearch.proposers import AgentContext
from autoresearch.proposers.command import CommandProposer, load_presets
from autoresearch.proposers.registry import make_proposer

MINE = {"command": ["mine", "-p", "{prompt}"]}


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's file, empty so far."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "autoresearch" / "agents.toml"
    path.parent.mkdir()
    path.write_text("")
    return path


def test_ours_are_all_there() -> None:
    """Each has a command, an install line, a key, and rules or a protocol."""
    presets = load_presets()
    assert set(PROGRAMS) <= set(presets)
    for preset in presets.values():
        assert preset.install
        assert preset.keys
        assert preset.rules


def test_a_user_adds_an_agent_with_a_few_lines(config: Path) -> None:
    """The same keys as ours."""
    config.write_text('[mine]\ncommand = ["mine", "{prompt}"]\nkeys = ["MY_KEY"]\n')
    preset = load_presets()["mine"]
    assert (preset.keys, preset.origin) == (("MY_KEY",), str(config))


def test_a_user_changes_ours(config: Path) -> None:
    """Only what is named changes."""
    config.write_text('[codex]\nmodel = "small"\nkeys = ["MY_KEY"]\n')
    preset = load_presets()["codex"]
    assert (preset.model, preset.keys, preset.program) == ("small", ("MY_KEY",), "codex")
    assert preset.rules


def test_a_lab_adds_agents_and_sets_harmless_things_of_others() -> None:
    """A model and limits, yes."""
    presets = load_presets({"mine": MINE, "codex": {"model": "small", "usd": 3}})
    assert presets["mine"].program == "mine"
    assert (presets["codex"].model, presets["codex"].usd) == ("small", 3.0)


@pytest.mark.parametrize("key", ["env", "command", "passes", "keys", "install"])
def test_a_lab_cannot_turn_a_known_agent_to_its_own_ends(key: str) -> None:
    """It could send somebody's key where it likes."""
    with pytest.raises(ProposerError, match=rf"codex\.{key} cannot be set by a lab"):
        load_presets({"codex": {key: {}}})


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('comand = ["x"]', r"command is missing"),
        ('command = ["x"]\nsilense = 3', r"unknown key mine\.silense .*did you mean .silence."),
        ('command = "x"', r"mine\.command is 'x'; allowed is a list of words"),
        ("command = []", r"a list of words"),
        ('command = [["x"]]', r"begins with the program"),
        ('command = ["x", "{promt}"]', r"\{promt\}.*did you mean .prompt."),
        ('command = ["x"]\nformat = "xml"', r"mine\.format is 'xml'"),
        ('command = ["x"]\nseconds = -1', r"mine\.seconds is -1"),
        ('command = ["x"]\nfiles = {"/etc/x" = ""}', r"a path inside its HOME"),
        ('command = ["x"]\nfiles = {"../x" = ""}', r"a path inside its HOME"),
        (
            'command = ["x"]\n[[mine.events]]\nnotes = "a"',
            r"events\.0\.notes .*did you mean .note.",
        ),
        ('command = ["x"]\nformat = "text"\n[[mine.events]]\nmatch = "("', r"a regular expression"),
        ('command = ["x"]\nformat = "text"\n[[mine.events]]\nok = true', r"match is missing"),
        ('command = ["x"]\nevents = 3', r"a list of tables"),
    ],
)
def test_a_wrong_line_is_named(lines: str, said: str, config: Path) -> None:
    """With the file, the key, what was seen and what is allowed."""
    config.write_text(f"[mine]\n{lines}\n")
    with pytest.raises(AutoResearchError, match=said) as caught:
        load_presets()
    assert str(config) in str(caught.value)


@pytest.mark.parametrize("text", ["[", "mine = 3", "\0"])
def test_a_file_that_is_no_table_of_agents_is_an_error(text: str, config: Path) -> None:
    """TOML that is none, or something else than tables."""
    config.write_text(text)
    with pytest.raises(ProposerError, match=r"agents\.toml"):
        load_presets()


@pytest.mark.parametrize("name", ["Mine", "a b", "a.b", "-x", ""])
def test_a_name_that_nobody_could_type_is_an_error(name: str) -> None:
    """Lower case, digits and dashes."""
    with pytest.raises(AutoResearchError, match="lower-case letters"):
        load_presets({name: MINE})


def test_an_unknown_agent_is_answered_with_the_nearest_and_all() -> None:
    """Proposers and agents are one list."""
    with pytest.raises(
        ProposerError, match=r"'cloude'.*did you mean .claude.*llm, noop, random, claude, codex"
    ):
        make_proposer("cloude")


def test_an_agent_is_made_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the lab's own agents, from the context that the study passes."""
    tools = tmp_path / "tools" / "bin"
    script(tools, "mine", "#!/bin/sh\n")
    monkeypatch.setenv("PATH", first_on_path(tools))
    made = make_proposer("mine", context=AgentContext(agents={"mine": MINE}))
    assert isinstance(made, CommandProposer)
    assert made.name == "mine"
