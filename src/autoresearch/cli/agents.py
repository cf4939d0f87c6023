"""agents: list the coding agents, which are installed, and test one."""

from __future__ import annotations

import concurrent.futures
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from autoresearch.cli.common import lab_option
from autoresearch.errors import ProposerError, TaskError
from autoresearch.files import read_regular
from autoresearch.lab.task import FILE, Task
from autoresearch.proposers import AgentContext, Brief
from autoresearch.proposers.command import CommandProposer, Preset, load_presets
from autoresearch.proposers.command.presets import find_preset

VERSION_SECONDS = 20.0  # for a program to print its version
MAX_BYTES = 1 << 16  # of a file that the agent edited
TEST_SECONDS = 180.0
BEFORE, AFTER = "VALUE = 1\n", "VALUE = 2\n"
SMOKE = "Change the number in value.py from 1 to 2. That is all: the line becomes `VALUE = 2`."


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="A JSON list, for scripts.")
@lab_option
@click.pass_context
def agents(context: click.Context, as_json: bool, lab: Path) -> None:
    """The coding agents that can propose, and whether they work here.

    Runs the version command of each installed agent, in an empty HOME and without any key. `test`
    lets one agent edit a small file: that is a real call, and costs what the agent costs.

    \b
    autoresearch agents
    autoresearch agents --json
    autoresearch agents test codex
    """
    if context.invoked_subcommand is not None:
        context.obj = lab
        return
    rows = _rows(list(load_presets(_lab_agents(lab)).values()))
    click.echo(json.dumps(rows, indent=1) if as_json else _table(rows))


@agents.command("test")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for scripts.")
@lab_option
@click.pass_context
def test(context: click.Context, name: str, as_json: bool, lab: Path) -> None:
    """Let an agent edit one line, as it would in a study.

    Exit code 1 when the line is not as requested.

    \b
    autoresearch agents test codex
    """
    if context.get_parameter_source("lab") is ParameterSource.DEFAULT:
        lab = context.obj  # the group's own --lab
    result = _test_agent(find_preset(name, _lab_agents(lab)), _policy(lab))
    if as_json:
        click.echo(json.dumps(result))
    else:
        click.echo("\n".join(f"{key + ':':<9}{value}" for key, value in result.items()))
    if not result["works"]:
        raise click.exceptions.Exit(1)


def _lab_agents(lab: Path) -> dict[str, Any]:
    """The agents of a lab's task.toml; empty where there is no lab."""
    return dict(Task.load(lab).agents) if (lab / FILE).is_file() else {}


def _policy(lab: Path) -> Any:
    try:
        return Task.load(lab).sandbox if (lab / FILE).is_file() else "auto"
    except TaskError:
        return "auto"


def _rows(presets: list[Preset]) -> list[dict[str, Any]]:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        versions = list(pool.map(_version, presets))
    return [_row(preset, version) for preset, version in zip(presets, versions, strict=True)]


def _row(preset: Preset, version: str) -> dict[str, Any]:
    return {
        "name": preset.name,
        "title": preset.title,
        "installed": shutil.which(preset.program) is not None,
        "version": version,
        "key": next((key for key in preset.keys if os.environ.get(key)), None),
        "keys": list(preset.keys),
        "install": preset.install,
        "from": preset.origin,
    }


def _version(preset: Preset) -> str:
    """The first line that its version command prints; empty when there is none in time."""
    program = shutil.which(preset.version[0])
    if program is None:
        return ""
    with tempfile.TemporaryDirectory(prefix="autoresearch-agent-") as home:
        env = {"HOME": home, "PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
        try:
            done = subprocess.run(
                [program, *preset.version[1:]],
                env=env,
                cwd=home,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=VERSION_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
    lines = done.stdout.decode(errors="replace").split("\n")
    return lines[0].strip()[:60]


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'name':<16}{'installed':<22}{'key':<32}install with"]
    for row in rows:
        here = (row["version"] or "yes")[:20] if row["installed"] else "no"
        key = row["key"] or (f"{row['keys'][0]}: not set" if row["keys"] else "none needed")
        lines.append(f"{row['name']:<16}{here:<22}{key:<32}{row['install']}")
    return "\n".join(lines)


def _test_agent(preset: Preset, policy: Any) -> dict[str, Any]:
    """One proposal in a temporary folder, and its outcome."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="autoresearch-agent-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        workspace = root / "workspace"
        workspace.mkdir()
        (workspace / "value.py").write_text(BEFORE)
        agent_context = AgentContext(root / "agent", policy)
        proposer = CommandProposer(_bounded(preset), agent_context)
        try:
            proposal = proposer.propose(workspace, Brief(SMOKE, ("value.py",), ""))
        except ProposerError as error:
            failed = {"works": False, "agent": preset.name, "why": str(error)}
            return failed | _seconds_since(began)
        edited = _read(workspace / "value.py")
    return {
        "works": edited == AFTER.strip(),
        "agent": preset.name,
        "note": proposal.note,
        "sandbox": proposal.details["sandbox"],
        "usd": proposal.cost_usd if not proposal.unstated_usd else None,  # not told
        "tokens": proposal.tokens,
        **_seconds_since(began),
    }


def _read(path: Path) -> str | None:
    """The edited file; None when the agent removed it or put a link in its place."""
    try:
        return read_regular(path, MAX_BYTES).decode(errors="replace").strip()
    except OSError:
        return None


def _bounded(preset: Preset) -> Preset:
    from dataclasses import replace

    return replace(preset, seconds=min(preset.seconds, TEST_SECONDS), usd=min(preset.usd, 0.5))


def _seconds_since(began: float) -> dict[str, float]:
    return {"seconds": round(time.monotonic() - began, 1)}
