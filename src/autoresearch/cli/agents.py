"""agents: which coding agents there are, which are installed, and whether one works."""

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

PATIENCE = 20.0  # seconds for a program to tell its version
LARGEST = 1 << 16  # bytes of what the agent leaves
SECONDS = 180.0  # of a smoke test
BEFORE, AFTER = "VALUE = 1\n", "VALUE = 2\n"
SMOKE = "Change the number in value.py from 1 to 2. That is all: the line becomes `VALUE = 2`."


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="A JSON list, for scripts.")
@lab_option
@click.pass_context
def agents(context: click.Context, as_json: bool, lab: Path) -> None:
    """The coding agents that can propose, and whether they work here.

    Asks each that is installed for its version, in a HOME of its own and without any key. `test`
    has one of them edit a small file: that is a real call, and costs what your agent costs.

    \b
    autoresearch agents
    autoresearch agents --json
    autoresearch agents test codex
    """
    if context.invoked_subcommand is not None:
        context.obj = lab
        return
    rows = _rows(list(load_presets(_of_lab(lab)).values()))
    click.echo(json.dumps(rows, indent=1) if as_json else _table(rows))


@agents.command("test")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for scripts.")
@lab_option
@click.pass_context
def test(context: click.Context, name: str, as_json: bool, lab: Path) -> None:
    """Have an agent edit one line, as it would in a study.

    Exit code 1 when it did not.

    \b
    autoresearch agents test codex
    """
    if context.get_parameter_source("lab") is ParameterSource.DEFAULT:
        lab = context.obj  # as the group was told
    result = _smoke(find_preset(name, _of_lab(lab)), _policy(lab))
    if as_json:
        click.echo(json.dumps(result))
    else:
        click.echo("\n".join(f"{key + ':':<9}{value}" for key, value in result.items()))
    if not result["works"]:
        raise click.exceptions.Exit(1)


def _of_lab(lab: Path) -> dict[str, Any]:
    """The agents of a lab's task.toml, where there is one."""
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
    """The first line of what its version command prints; empty when it prints none in time."""
    program = shutil.which(preset.version[0])
    if program is None:
        return ""
    with tempfile.TemporaryDirectory(prefix="autoresearch-agent-") as home:
        env = {"HOME": home, "PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
        try:
            told = subprocess.run(
                [program, *preset.version[1:]],
                env=env,
                cwd=home,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=PATIENCE,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
    lines = told.stdout.decode(errors="replace").split("\n")
    return lines[0].strip()[:60]


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'name':<16}{'installed':<22}{'key':<32}install with"]
    for row in rows:
        here = (row["version"] or "yes")[:20] if row["installed"] else "no"
        key = row["key"] or (f"{row['keys'][0]}: not set" if row["keys"] else "none needed")
        lines.append(f"{row['name']:<16}{here:<22}{key:<32}{row['install']}")
    return "\n".join(lines)


def _smoke(preset: Preset, policy: Any) -> dict[str, Any]:
    """One proposal in a folder of two files; what came of it."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="autoresearch-agent-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        workspace = root / "workspace"
        workspace.mkdir()
        (workspace / "value.py").write_text(BEFORE)
        ground = AgentContext(root / "agent", policy)
        proposer = CommandProposer(_bounded(preset), ground)
        try:
            said = proposer.propose(workspace, Brief(SMOKE, ("value.py",), ""))
        except ProposerError as error:
            return {"works": False, "agent": preset.name, "why": str(error), **_took(began)}
        edited = _read(workspace / "value.py")
    return {
        "works": edited == AFTER.strip(),
        "agent": preset.name,
        "note": said.note,
        "sandbox": said.details["sandbox"],
        "usd": said.cost_usd,
        "tokens": said.tokens,
        **_took(began),
    }


def _read(path: Path) -> str | None:
    """What the agent left: it may have removed the file, or put a link in its place."""
    try:
        return read_regular(path, LARGEST).decode(errors="replace").strip()
    except OSError:
        return None


def _bounded(preset: Preset) -> Preset:
    from dataclasses import replace

    return replace(preset, seconds=min(preset.seconds, SECONDS), usd=min(preset.usd, 0.5))


def _took(began: float) -> dict[str, float]:
    return {"seconds": round(time.monotonic() - began, 1)}
