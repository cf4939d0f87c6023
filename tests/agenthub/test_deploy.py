"""What is in deploy/ is what the commands take, and what systemd understands."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted(path.name for path in DEPLOY.glob("autoresearch-hub*"))
PROGRAM = "/opt/autoresearch/bin/ah"


def lines() -> list[list[str]]:
    """Every call of `ah` in the units and in the container."""
    units = "".join((DEPLOY / name).read_text() for name in UNITS)
    found = [shlex.split(words) for words in re.findall(rf"^Exec\w+={PROGRAM} (.*)$", units, re.M)]
    container = (DEPLOY / "Containerfile").read_text()
    command = re.search(r"^CMD (\[.*?\])", container, re.M | re.S)
    assert command is not None
    return [*found, re.findall(r'"([^"]*)"', command[1])]


def test_ah_knows_every_option_that_is_given() -> None:
    """A unit that ends at once with a wrong option is no unit."""
    cli = pytest.importorskip("agenthub.cli")
    calls = lines()
    assert [call[0] for call in calls] == ["backup", "check", "serve", "serve"]
    with click.Context(cli.ah) as context:
        for name, *words in calls:
            command = cli.ah.get_command(context, name)
            assert command is not None, name
            known = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    """No unknown setting, no wrong value."""
    assert len(UNITS) == 3
    for name in UNITS:
        (tmp_path / name).write_text((DEPLOY / name).read_text().replace(PROGRAM, "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / name) for name in UNITS)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    ours = [line for line in done.stderr.splitlines() if "autoresearch-hub" in line]
    assert ours == [] and done.returncode == 0, done.stderr


def test_no_key_is_on_a_command_line() -> None:
    """Others see command lines; the admin's key comes from a file that they cannot read."""
    for call in lines():
        assert not any("key=" in word for word in call)
    assert "LoadCredential=admin-key:" in (DEPLOY / "autoresearch-hub.service").read_text()
