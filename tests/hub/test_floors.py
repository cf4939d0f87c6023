"""The hub's own floors: imports run down only, and the web framework stays in its rooms."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import autoresearch.hub

ROOT = Path(autoresearch.hub.__file__).parent
DESIGN = Path(__file__).parents[2] / "docs" / "design.md"
FLOORS = (
    "errors children layout judging platforms schema",
    "shapes database",
    "bundle copies objects packets refusals events buckets address result_line lines noise",
    "repository policy audit rates transport config local",
    "ingest agents projects board classic",
    "commits client fake",
    "results checking admin_client sending",
    "anew claims replication leaderboard exporting",
    "hub",
    "plain importing",
    "api keeping",
    "serve",
    "cli",
)
HEIGHT = {name: floor for floor, names in enumerate(FLOORS) for name in names.split()}
WEB = {"fastapi", "starlette", "uvicorn", "h11", "anyio", "pydantic"}
WEB_ROOMS = {"api", "serve"}
SAME = {"page": "api"}  # routes among routes, in a folder of their own
PROCESS_ROOMS = {"children", "objects", "repository", "local"}


def room_of(name: str) -> str:
    """The room that a module or a folder belongs to."""
    return SAME.get(name, name)


def modules() -> Iterator[tuple[str, Path, ast.Module]]:
    """Each module's room, path and tree."""
    for path in sorted(ROOT.rglob("*.py")):
        room = room_of(path.relative_to(ROOT).with_suffix("").parts[0])
        if room != "__init__":
            yield room, path, ast.parse(path.read_text())


def imported(tree: ast.AST) -> Iterator[str]:
    """The dotted names of all that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_imports_run_down() -> None:
    """Every room has a floor, and imports only from lower ones."""
    for room, path, tree in modules():
        assert room in HEIGHT, f"{path} has no floor: give it one here and in docs/design.md"
        for name in imported(tree):
            if name.startswith("autoresearch.hub."):
                other = room_of(name.split(".")[2])
                assert other == room or HEIGHT[other] < HEIGHT[room], f"{path} imports {name}"


def test_the_web_framework_stays_in_its_rooms() -> None:
    """Data, git, client and commands work where FastAPI is not installed."""
    for room, path, tree in modules():
        web = {name for name in imported(tree) if name.split(".")[0] in WEB}
        asked = room == "cli" and web <= {"fastapi", "uvicorn"}  # only whether it is installed
        assert not web or room in WEB_ROOMS or asked, f"{path} imports {web}"


def test_processes_are_the_affair_of_few_rooms() -> None:
    """The server's git with its leash and its reader, and the client's."""
    for room, path, tree in modules():
        if "subprocess" in {name.split(".")[0] for name in imported(tree)}:
            assert room in PROCESS_ROOMS, f"{path} has to do with processes"


def test_the_design_names_every_floor() -> None:
    """The drawing in docs/design.md has the larger rooms."""
    drawn = DESIGN.read_text().split("src/autoresearch/hub/", 1)[1].split("```")[0]
    for name in ("shapes", "database", "repository", "policy", "ingest", "hub", "api/", "cli/"):
        assert name in drawn
