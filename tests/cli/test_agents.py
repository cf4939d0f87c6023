"""agents: the list, what is installed, and the test of one; and `run --agent`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agent_streams import EDIT, NOTE, PROGRAMS, bad, first_on_path, good, script, stand_in
from autoresearch.cli import cli
from tiny_lab import TASK, make_lab

MINE = '\n[agent.mine]\ncommand = ["mine", "{prompt}"]\nkeys = ["MY_KEY"]\ninstall = "make mine"\n'
FIX = "Path('value.py').write_text('VALUE = 2\\n')"


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs, alone on PATH with the system's; no keys, no configuration."""
    folder = tmp_path / "tools" / "bin"
    folder.mkdir(parents=True)
    monkeypatch.setenv("PATH", first_on_path(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for key in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "CODEX_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"):
        monkeypatch.delenv(key, raising=False)
    return folder


def call(*args: str) -> Result:
    """The command line, in this process."""
    return CliRunner().invoke(cli, args)


def listed(lab: Path | None = None) -> dict[str, dict[str, object]]:
    """The output of `agents --json`, by name."""
    result = call("agents", "--json", *(["-C", str(lab)] if lab else []))
    assert result.exit_code == 0, result.output
    return {row["name"]: row for row in json.loads(result.stdout)}


def test_all_are_listed_with_how_to_get_them(tools: Path, tmp_path: Path) -> None:
    """Also where none is installed and there is no lab."""
    found = listed(tmp_path)
    assert set(PROGRAMS) <= set(found)
    assert found["cursor"]["key"] is None
    assert "cursor.com" in str(found["cursor"]["install"])


def test_version_and_key_are_shown(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version as the program prints it; of a key only its name."""
    stand_in(tools, "codex", "")
    monkeypatch.setenv("CODEX_API_KEY", "sk-test-secret")
    row = listed(tmp_path)["codex"]
    assert (row["installed"], row["version"]) == (True, "stand-in 1.2.3")
    assert row["key"] == "CODEX_API_KEY"
    table = call("agents", "-C", str(tmp_path)).stdout
    head, *rows = table.splitlines()
    codex = next(row for row in rows if row.startswith("codex"))
    assert codex.index("npm install") == head.index("install with")
    assert "stand-in 1.2.3" in table
    assert "sk-test-secret" not in table


def test_a_program_that_only_asks_for_its_version_gets_no_key_and_no_home_of_ours(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listing agents costs nothing and leaves no file behind."""
    monkeypatch.setenv("CODEX_API_KEY", "sk-test-secret")
    monkeypatch.setenv("HOME", str(tmp_path))
    script(tools, "codex", '#!/bin/sh\nprintf "%s" "$CODEX_API_KEY"\ntouch "$HOME/seen"\n')
    assert listed(tmp_path)["codex"]["version"] == ""
    assert not (tmp_path / "seen").exists()


def test_a_labs_own_agents_are_listed(tools: Path, tmp_path: Path) -> None:
    """Agents of task.toml are listed with their origin."""
    lab = make_lab(tmp_path / "lab", task_toml=TASK + MINE)
    row = listed(lab)["mine"]
    assert (row["install"], row["from"], row["installed"]) == ("make mine", "task.toml", False)


@pytest.mark.parametrize("as_json", [True, False])
def test_a_smoke_test_is_one_proposal(
    as_json: bool, tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It edits a line in a temporary folder; note and cost are reported."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    stand_in(tools, "claude", good("claude"), FIX)
    where = ("-C", str(tmp_path))
    words = ("test", "claude", *where, "--json") if as_json else (*where, "test", "claude")
    result = call("agents", *words)
    assert result.exit_code == 0, result.output
    if as_json:
        facts = json.loads(result.stdout)
        assert (facts["works"], facts["note"], facts["usd"]) == (True, NOTE, 0.25)
    else:
        assert NOTE in result.stdout


def test_a_smoke_test_that_fails_says_why(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1 and the agent's own message."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    stand_in(tools, "claude", bad("claude", "401"), "pass")
    result = call("agents", "-C", str(tmp_path), "test", "claude")
    assert result.exit_code == 1
    assert "Invalid API key" in result.stdout


def test_an_agent_that_removes_the_file_does_not_work(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is that it does not work; it is no error of ours."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    stand_in(tools, "claude", good("claude"), "Path('value.py').unlink()")
    result = call("agents", "-C", str(tmp_path), "test", "claude", "--json")
    assert (result.exit_code, json.loads(result.stdout)["works"]) == (1, False), result.output


@pytest.mark.parametrize(
    ("name", "message"), [("cloude", "did you mean"), ("cursor", "is not installed")]
)
def test_an_agent_that_cannot_be_tested_is_an_error(
    name: str, message: str, tools: Path, tmp_path: Path
) -> None:
    """Unknown, or not installed."""
    result = call("agents", "-C", str(tmp_path), "test", name)
    assert message in str(result.exception)


def test_run_takes_an_agent_and_a_budget_and_status_shows_what_it_cost(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of 20 cents allows one proposal of 25 cents."""
    tmp_path.chmod(0o755)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    stand_in(tools, "claude", good("claude"), EDIT)
    lab = make_lab(tmp_path / "lab", task_toml=TASK + '\n[keep]\nstrategy = "greedy"\n')
    ran = call("run", "-C", str(lab), "--tag", "t", "--agent", "claude", "--max-usd", "0.2")
    assert ran.exit_code == 0, ran.output
    assert "Ended: $0.25 of $0.20 are spent" in ran.stdout
    facts = json.loads(call("status", "-C", str(lab), "--json").stdout)
    assert (facts["trials"], facts["best"]) == (2, 5.0)
    assert (facts["dollars"], facts["tokens"], facts["target"]) == ("0.25 of 0.20", "1200", None)
    assert facts["session"] is None
    assert "also_edited" not in call("show", "1", "-C", str(lab)).stdout
    call(
        "run", "-C", str(lab), "--agent", "offline", "--trials", "0", "--until", "2099-03-08T07:30"
    )
    facts = json.loads(call("status", "-C", str(lab), "--json").stdout)
    assert facts["session"] == "0 trials, until 08 Mar 07:30"


@pytest.mark.parametrize(
    ("agent", "message"),
    [
        ("cursor", r"cursor is not installed.*Install it: curl https://cursor.com/install"),
        ("claude", r"claude needs a key: set ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN"),
        ("mini-swe-agent", r"mini-swe-agent needs a model: set `model` under \[mini-swe-agent\]"),
        (
            "cloude",
            r'did you mean "claude".*offline, llm, noop, random, claude, codex, .*cursor',
        ),
    ],
)
def test_run_with_an_agent_that_cannot_propose_writes_nothing(
    agent: str, message: str, tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not installed, without a key, without a model, unknown: the error comes before the study."""
    lab = make_lab(tmp_path / "lab")
    stand_in(tools, "claude", "")
    stand_in(tools, "mini-swe-agent", "")
    if agent == "mini-swe-agent":
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    result = call("run", "-C", str(lab), "--tag", "t", "--agent", agent)
    assert re.search(message, str(result.exception)), result.exception
    assert not (lab / ".autoresearch").exists()
