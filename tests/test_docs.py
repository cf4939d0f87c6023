"""Docs are executed: links lead somewhere, commands are documented, documented commands run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agenthub import cli as hub
from autoresearch.cli import COMMANDS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^>]*?) -->\n)?```sh\n(?P<code>.*?)```", re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")


def name(path: Path) -> str:
    """A page by its path in the repository."""
    return str(path.relative_to(ROOT))


def blocks(page: Path, mark: str) -> str:
    """All shell blocks of a page with a mark before them, as one script."""
    found = BLOCK.finditer(page.read_text())
    return "\n".join(match["code"] for match in found if (match["mark"] or "") == mark)


def run(script: str, folder: Path) -> None:
    """Run a script as the reader of a page would, with this interpreter's commands on PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = os.environ | {"PATH": path, "HOME": str(folder)}
    for who in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{who}_NAME": "reader", f"GIT_{who}_EMAIL": "reader@localhost"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link and picture of a page exists in the repository."""
    for link in LINK.finditer(page.read_text()):
        target = (link[1] or link[2]).partition("#")[0]
        if target and not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{name(page)} links to {target}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented_with_an_example(command: str) -> None:
    """Each stands in docs/cli.md, and its help shows how it is called."""
    text = (ROOT / "docs" / "cli.md").read_text()
    section = text.split(f"\n## autoresearch {command}\n")[1].split("\n## ")[0]
    assert f"\n  autoresearch {command}" in section


@pytest.mark.parametrize("command", hub.COMMANDS)
def test_every_hub_command_is_documented_with_an_example(command: str) -> None:
    """Each stands in docs/cli.md below the hub, and its help shows how it is called."""
    text = (ROOT / "docs" / "cli.md").read_text()
    section = text.split(f"\n## ah {command}\n")[1].split("\n## ")[0]
    assert f"\n  ah {command}" in section


def test_the_command_page_is_up_to_date() -> None:
    """docs/cli.md is what `make docs` writes."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "make_cli.py"), "--check"], capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "")], ids=name)
def test_documented_commands_run(page: Path, tmp_path: Path) -> None:
    """All unmarked shell blocks of a page, one after the other, in an empty folder."""
    run(blocks(page, ""), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "slow")], ids=name)
def test_documented_commands_that_take_minutes_run(page: Path, tmp_path: Path) -> None:
    """The blocks marked slow as well, those that prepare data and train."""
    run(blocks(page, "slow"), tmp_path)


def test_every_block_is_run_or_says_why_not() -> None:
    """A mark is `slow`, or `not run:` and a reason."""
    for page in PAGES:
        for match in BLOCK.finditer(page.read_text()):
            mark = match["mark"] or ""
            assert mark in ("", "slow") or re.match(r"not run: \w", mark), (name(page), mark)


def test_version_and_changelog_agree() -> None:
    """The changelog has a section for what is being made, or for the version that is out."""
    import autoresearch

    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## Unreleased" in text or f"## {autoresearch.__version__}" in text
