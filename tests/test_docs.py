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
from test_architecture import ARROWS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^>]*?) -->\n)?```sh\n(?P<code>.*?)```", re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")

# After `init`: runs of three seconds instead of ten or twenty. What they find is not looked at.
SHORT = """\
sed -i.orig "s/^TIME_BUDGET = [0-9]*/TIME_BUDGET = 3/" my-lab/prepare.py
sed -i.orig "s/^seconds = [0-9]*/seconds = 3/" my-lab/task.toml
rm my-lab/prepare.py.orig my-lab/task.toml.orig
git -C my-lab commit -qam "short runs"
"""


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
    """The blocks marked slow as well, those that prepare data and train: here with short runs."""
    run(
        re.sub(r"(?m)^autoresearch init my-lab.*\n", rf"\g<0>{SHORT}", blocks(page, "slow")),
        tmp_path,
    )


def test_every_block_is_run_or_says_why_not() -> None:
    """A mark is `slow`, or `not run:` and a reason."""
    for page in PAGES:
        for match in BLOCK.finditer(page.read_text()):
            mark = match["mark"] or ""
            assert mark in ("", "slow") or re.match(r"not run: \w", mark), (name(page), mark)


def rows(page: str, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, as cells; without its head."""
    below = (ROOT / page).read_text().split(f"\n{heading}\n", 1)[1]
    table = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert table, f"{page} has no table below {heading!r}"
    lines = table[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines]


def quoted(cell: str) -> list[str]:
    """What a cell has in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def test_the_design_page_has_a_row_for_each_package() -> None:
    """Each package of src is there, and only these; the last column is what it may import."""
    below = {}
    for package, _, imports in rows("docs/design.md", "## The house"):
        root, _, name = quoted(package)[0].rstrip("/").partition("/")
        below[root, name] = set(re.findall(r"\w+", imports))
    arrows = {(root, name): to for root in ARROWS for name, to in ARROWS[root].items()}
    folders = {
        (root, path.name)
        for root in ARROWS
        for path in (ROOT / "src" / root).iterdir()
        if path.is_dir() and path.name != "__pycache__"
    }
    assert set(below) == folders
    for (root, name), allowed in arrows.items():
        named = below[root, name]
        assert named == ({"all", "below"} if name == "cli" else allowed), f"{root}/{name}"


@pytest.mark.parametrize("row", rows("docs/design.md", "## Where does it go?"), ids=lambda r: r[0])
def test_the_places_for_new_things_exist(row: list[str]) -> None:
    """Each package, each file to start from and each test that the table names is there."""
    _, packages, start, joins = row
    folders = [
        next((base / name for base in (ROOT / "src", ROOT) if (base / name).is_dir()), ROOT / name)
        for name in quoted(packages)
    ]
    for folder in folders:
        assert folder.is_dir(), folder
    places = [*folders, ROOT / "src" / "autoresearch", ROOT]
    for file in (word for word in quoted(start) if re.search(r"\.(py|toml|md)$", word)):
        assert any((place / file).is_file() for place in places), file
    for test in (word for word in quoted(joins) if re.search(r"(\.py|/)$", word)):
        assert (ROOT / test).exists() or list(ROOT.glob(f"tests/**/{test}")), test


def test_readme_leads_to_the_glossary() -> None:
    """A newcomer who meets a word finds what it means."""
    assert "](docs/glossary.md)" in (ROOT / "README.md").read_text()


def test_version_and_changelog_agree() -> None:
    """The changelog has a section for what is being made, or for the version that is out."""
    import autoresearch

    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## Unreleased" in text or f"## {autoresearch.__version__}" in text
