"""The house: imports run down from package to package, and importing does nothing."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import agenthub
import autoresearch

SRC = Path(autoresearch.__file__).parent.parent
ROOTS = ("autoresearch", "agenthub")

# package -> the packages it may import from, besides itself and the root modules.
# `docs/design.md` draws the same arrows. A package that is not named here has no place yet.
ARROWS = {
    "autoresearch": {
        "cli": {
            "report", "swarm", "study", "proposers", "strategies", "evaluation", "executors",
            "store", "lab",
        },
        "swarm": {"study", "proposers", "strategies", "evaluation", "executors", "store", "lab"},
        "study": {"proposers", "strategies", "evaluation", "executors", "store", "lab"},
        "report": {"strategies", "store", "lab"},
        "evaluation": {"executors", "store", "lab"},
        "strategies": {"store", "lab"},
        "proposers": {"executors", "lab"},
        "store": {"executors", "lab"},
        "lab": {"executors"},
        "executors": set(),
    },
    "agenthub": {
        "cli": {"ops", "server", "client", "records", "git"},
        "ops": {"records", "git"},
        "server": {"records", "git"},
        "client": {"git"},
        "records": {"git"},
        "git": set(),
    },
}  # fmt: skip
# Of some packages another one needs a single thing: (from, to) -> the modules it may import.
ONLY = {
    ("proposers", "lab"): {"constants", "source"},
    ("lab", "executors"): {"__init__"},
    ("store", "executors"): {"__init__"},
}
WEB = {"fastapi", "starlette", "uvicorn", "h11", "anyio", "pydantic", "jinja2"}


def modules(root: str) -> list[Path]:
    """All modules below a root package; labs are data, not modules."""
    return [path for path in sorted((SRC / root).rglob("*.py")) if "labs" not in path.parts]


ALL = [path for root in ROOTS for path in modules(root)]


def name(path: Path) -> str:
    """A module by its path below src/."""
    return str(path.relative_to(SRC))


def package(path: Path) -> str:
    """The package below the root that a module is in; empty for the root's own modules."""
    parts = path.relative_to(SRC).parts
    return parts[1] if len(parts) > 2 else ""


def imported(path: Path) -> set[str]:
    """Dotted names of all that a file imports, at the top or later."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def module_of(dotted: str) -> Path:
    """The file behind a dotted name: a module, or the one that holds the name."""
    parts = dotted.split(".")
    while parts:
        path = SRC.joinpath(*parts)
        if path.with_suffix(".py").is_file():
            return path.with_suffix(".py")
        if (path / "__init__.py").is_file():
            return path / "__init__.py"
        parts.pop()
    raise AssertionError(f"{dotted} is imported and is not there")


@pytest.mark.parametrize("path", ALL, ids=name)
def test_imports_run_down(path: Path) -> None:
    """Each import of ours follows an arrow; root modules import root modules alone."""
    root, here = path.relative_to(SRC).parts[0], package(path)
    if path.name == "__main__.py":
        return
    assert here == "" or here in ARROWS[root], f"{here} has no arrows yet: draw them"
    for dotted in imported(path):
        if dotted.split(".")[0] not in ROOTS:
            continue
        target = module_of(dotted)
        there = package(target)
        if target.relative_to(SRC).parts[0] != root:
            allowed = here in ("swarm", "cli") and dotted.startswith("agenthub.client")
            assert allowed, f"{name(path)} imports {dotted}"
            continue
        if there in ("", here):
            continue
        assert here, f"{name(path)} is a root module and imports {dotted}"
        assert there in ARROWS[root][here], f"{name(path)} imports {dotted}"
        allowed_modules = ONLY.get((here, there))
        assert allowed_modules is None or target.stem in allowed_modules, (
            f"{name(path)} imports {dotted}; of {there} it may import {allowed_modules}"
        )


@pytest.mark.parametrize("root", ROOTS)
def test_the_arrows_are_acyclic(root: str) -> None:
    """No package reaches itself, whichever arrows one follows."""
    arrows = ARROWS[root]
    left = dict(arrows)
    while left:
        free = {one for one, below in left.items() if not below & set(left)}
        assert free, f"a circle among {sorted(left)}"
        left = {one: below for one, below in left.items() if one not in free}


@pytest.mark.parametrize("root", ROOTS)
def test_every_package_has_a_sentence(root: str) -> None:
    """Each `__init__` opens with one sentence that says what the package is for."""
    for one in ARROWS[root]:
        tree = ast.parse((SRC / root / one / "__init__.py").read_text())
        said = (ast.get_docstring(tree) or "").splitlines()
        assert said and said[0].endswith("."), f"{root}/{one} does not say what it is for"


def test_the_web_framework_stays_in_its_rooms() -> None:
    """The hub's data, git, client and commands work where FastAPI is not installed."""
    for path in modules("agenthub"):
        web = {dotted for dotted in imported(path) if dotted.split(".")[0] in WEB}
        checks = package(path) == "cli" and web <= {"fastapi", "jinja2", "uvicorn"}
        assert not web or package(path) == "server" or checks, f"{name(path)} imports {web}"


def test_labs_and_package_do_not_know_each_other() -> None:
    """A lab imports nothing of ours, and nothing of ours imports a lab."""
    for path in (SRC / "autoresearch" / "labs").rglob("*.py"):
        assert not {dotted for dotted in imported(path) if dotted.split(".")[0] in ROOTS}, path
    for path in ALL:
        assert "autoresearch.labs" not in path.read_text(), path


def test_importing_does_nothing(tmp_path: Path) -> None:
    """Importing every module prints nothing, makes no file, and loads nothing heavy."""
    names = [
        ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")
        for path in ALL
        if path.name not in ("__main__.py", "supervisor.py", "mcp_server.py")
        and not path.is_relative_to(SRC / "agenthub" / "server")  # FastAPI loads pydantic
    ]
    program = (
        "import importlib, os, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "heavy = {'torch', 'numpy', 'altair', 'vl_convert', 'optuna', 'rich', 'pyarrow'}\n"
        "heavy |= {'openai', 'genai_prices', 'httpx', 'httpx2', 'pydantic', 'mcp', 'jinja2'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert os.listdir() == []\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_each_effect_has_one_address() -> None:
    """git is started in one place for a lab's repository, and in one for all of the hub's."""
    addresses = {"autoresearch/store/git.py", "agenthub/git/subprocesses.py"}
    starts = {
        name(path)
        for path in ALL
        if re.search(r"""\[\s*["']git["'],|^GIT = |which\(["']git""", path.read_text(), re.M)
    }
    assert starts == addresses


def test_processes_are_the_affair_of_few_rooms() -> None:
    """In the hub: one module starts every git; the client names the type that it gets back."""
    rooms = {
        "agenthub/files.py",
        "agenthub/git/subprocesses.py",
        "agenthub/client/local.py",
    }
    for path in modules("agenthub"):
        if "subprocess" in {dotted.split(".")[0] for dotted in imported(path)}:
            assert name(path) in rooms, f"{name(path)} has to do with processes"


def test_both_packages_have_one_version() -> None:
    """One wheel ships both."""
    assert agenthub.__version__ == autoresearch.__version__


@pytest.mark.parametrize("path", ALL, ids=name)
def test_functions_stay_small(path: Path) -> None:
    """No function passes 60 lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, f"{name(path)}: {node.name}"
