"""The house: imports run down its floors, and importing does nothing."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import autoresearch

ROOT = Path(autoresearch.__file__).parent

# A module may import from its own room and from lower floors only.
FLOORS = {
    "errors": 0,
    "names": 1,
    "files": 1,
    "disks": 1,
    "student": 1,
    "hub": 3,
    "executors": 1,
    "metric": 2,
    "git": 2,
    "simplicity": 2,
    "constants": 2,
    "tables": 2,
    "lazy": 2,
    "proposers": 2,
    "task": 3,
    "ledger": 3,
    "paths": 3,
    "heartbeat": 3,
    "artefacts": 3,
    "verdicts": 3,
    "background": 3,
    "room": 3,
    "persistence": 3,
    "measure": 4,
    "scoring": 4,
    "strategies": 4,
    "brief": 4,
    "echoes": 4,
    "runs": 5,
    "earnings": 5,
    "report": 4,
    "scaffold": 4,
    "bench": 5,
    "desk": 6,
    "study": 7,
    "verify": 8,
    "opening": 8,
    "loop": 8,
    "swarm": 9,
    "doctor": 9,
    "overview": 9,
    "mcp_server": 9,
    "cli": 10,
    "__main__": 11,
}
# Within a floor only these may look at each other.
NEIGHBOURS = {
    ("brief", "strategies"),
    ("scoring", "measure"),
    ("git", "files"),
    ("proposers", "constants"),
    ("proposers", "tables"),
    ("paths", "files"),
    ("mcp_server", "overview"),
    ("cli", "cli"),
}
NEVER = {
    "executors": {"task", "ledger", "study"},
    "proposers": {"task", "ledger", "study"},
}


def modules() -> list[Path]:
    """All modules of the package; labs are data, not modules."""
    return [path for path in sorted(ROOT.rglob("*.py")) if "labs" not in path.parts]


def room(path: Path) -> str:
    """The top-level module or folder that a file belongs to; empty for the package itself."""
    inner = path.relative_to(ROOT)
    return (
        ""
        if inner.name == "__init__.py" and len(inner.parts) == 1
        else inner.parts[0].removesuffix(".py")
    )


def imported_rooms(path: Path) -> set[str]:
    """Rooms of ours that a file imports, at the top or later."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "autoresearch" and len(parts) > 1 and parts[1] in FLOORS:
                found.add(parts[1])
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_down(path: Path) -> None:
    """Every import of ours is from a lower floor, from the own room, or from a named neighbour."""
    here = room(path)
    if not here:
        assert imported_rooms(path) == set()
        return
    assert here in FLOORS, f"{here} has no floor yet: give it one here and in docs/design.md"
    for other in imported_rooms(path) - {here}:
        lower = FLOORS[other] < FLOORS[here] or (here, other) in NEIGHBOURS
        assert lower, f"{path.name} (floor {FLOORS[here]}) imports {other} (floor {FLOORS[other]})"
        assert other not in NEVER.get(here, set())


def test_labs_and_package_do_not_know_each_other() -> None:
    """A lab imports nothing of ours, and nothing of ours imports a lab."""
    for path in (ROOT / "labs").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "autoresearch" for name in named), path
    for path in modules():
        assert "autoresearch.labs" not in path.read_text(), path


def test_importing_does_nothing(tmp_path: Path) -> None:
    """Importing every module prints nothing, makes no file, and loads nothing heavy."""
    names = [
        ".".join(["autoresearch", *path.relative_to(ROOT).with_suffix("").parts])
        for path in modules()
        if path.name not in ("__main__.py", "supervisor.py", "mcp_server.py")
        and not {"api", "page"} & set(path.parts)  # FastAPI loads pydantic
    ]
    program = (
        "import importlib, os, sys\n"
        f"for name in {[name.removesuffix('.__init__') for name in names]!r}:\n"
        "    importlib.import_module(name)\n"
        "heavy = {'torch', 'numpy', 'altair', 'vl_convert', 'optuna', 'rich', 'pyarrow'}\n"
        "heavy |= {'openai', 'genai_prices', 'httpx', 'httpx2', 'pydantic', 'mcp'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert os.listdir() == []\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_only_git_py_calls_git() -> None:
    """Each effect has one address: of a lab's repository, the hub's own, and a hub user's."""
    addresses = {"git.py", "hub/repository.py", "hub/local.py"}
    starts = {
        str(path.relative_to(ROOT))
        for path in modules()
        if re.search(r"""\[\s*["']git["'],|^GIT = |which\(["']git""", path.read_text(), re.M)
    }
    assert starts == addresses


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_stay_small(path: Path) -> None:
    """No module passes 420 lines and no function 60."""
    source = path.read_text()
    assert len(source.splitlines()) <= 420
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, f"{path.name}: {node.name}"
