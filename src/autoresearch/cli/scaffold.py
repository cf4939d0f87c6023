"""New labs: a copy of a shipped one, or a task.toml around the user's own command."""

from __future__ import annotations

import os
import shlex
import string
import tomllib
from collections.abc import Mapping
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import tomlkit

from autoresearch.errors import TaskError
from autoresearch.files import write_whole
from autoresearch.lab import constants
from autoresearch.lab.metric import Metric
from autoresearch.lab.task import FILE, FOR_AGENTS, PROGRAM
from autoresearch.registry import nearest
from autoresearch.store.git import init_repository

_RENAMED = {"gitignore": ".gitignore"}  # as a dotted file it would act on our repository
_WRITTEN = ("results.tsv", "report.html", "progress.png", "progress.svg")  # by us, in a lab
_NOT_COPIED = ("presets.toml", "__pycache__")
_TEMPLATES = dict(
    zip(FOR_AGENTS, ("agents.md", "pointer.md", "pointer.md", "skill.md", "skill.md"), strict=True)
)


def shipped_labs() -> list[str]:
    """Names of the labs that come with the package."""
    return sorted(lab.name for lab in _labs().iterdir() if lab.joinpath(FILE).is_file())


def presets(lab: str) -> dict[str, dict[str, Any]]:
    """preset -> file -> constant -> value; empty for a lab without presets."""
    source = _lab(lab).joinpath("presets.toml")
    return tomllib.loads(source.read_text(encoding="utf-8")) if source.is_file() else {}


def create_lab(folder: Path, lab: str, preset: str | None = None) -> None:
    """Copy a shipped lab into a new folder, and make the folder a repository with one commit."""
    source, chosen = _lab(lab), _preset(lab, preset)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TaskError(f"{folder} is there already, and not empty. Name a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    with as_file(source) as root:
        for path in sorted(root.rglob("*")):
            inner = path.relative_to(root)
            if path.is_file() and not set(inner.parts) & set(_NOT_COPIED):
                target = folder / inner.with_name(_RENAMED.get(path.name, path.name))
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    for name, values in chosen.items():
        _set_values(folder / name, values)
    write_for_agents(folder)
    init_repository(folder, f"{lab} lab" + (f", preset {preset}" if preset else ""))


def create_blank(
    folder: Path, command: list[str], editable: list[str], metric: Metric, timeout: float
) -> list[Path]:
    """Write the files of a lab around a command; return those that were missing and are written."""
    if (folder / FILE).exists():
        raise TaskError(f"{folder / FILE} is there already: this folder is a lab. Edit it instead.")
    task = tomlkit.document()
    task["name"] = folder.resolve().name
    task["command"] = shlex.join(command) if len(command) > 1 else command[0]
    task["editable"] = editable
    task["metric"] = {"name": metric.name, "direction": metric.direction, "source": "log"}
    task["budget"] = {"timeout": timeout}
    written = [folder / FILE]
    write_whole(folder / FILE, tomlkit.dumps(task))
    if not (folder / PROGRAM).exists():
        write_whole(folder / PROGRAM, _program(task, editable, metric))
        written.append(folder / PROGRAM)
    return [*written, *_ignore(folder), *write_for_agents(folder)]


def _ignore(folder: Path) -> list[Path]:
    """Add the files that studies and reports write to .gitignore; its path, if it was changed."""
    path = folder / ".gitignore"
    if path.is_symlink():  # the user's own; git does not follow it either
        return []
    there = path.read_bytes() if path.exists() else b""
    known = there.decode("utf-8", "surrogateescape").split()
    missing = [name for name in _WRITTEN if name not in known]
    if missing:
        end = b"\r\n" if b"\r\n" in there else b"\n"
        start = there if there.endswith(b"\n") or not there else there + end
        write_whole(path, start + b"".join(name.encode() + end for name in missing))
    return [path] if missing else []


def write_for_agents(folder: Path) -> list[Path]:
    """Write the instruction and skill files for coding agents that are missing; return those."""
    written = []
    for name, template in _TEMPLATES.items():
        if not os.path.lexists(folder / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_whole(folder / name, _template(template))
            written.append(folder / name)
    return written


def _labs() -> Traversable:
    return files("autoresearch").joinpath("labs")


def _lab(name: str) -> Traversable:
    known = shipped_labs()
    if name not in known:
        raise TaskError(
            f"No lab is named {name!r}{nearest(name, [*known, 'blank'])}. There are: "
            f"{', '.join(known)}; and blank, around a command of your own."
        )
    return _labs().joinpath(name)


def _preset(lab: str, name: str | None) -> Mapping[str, Mapping[str, Any]]:
    known = presets(lab)
    if name is None:
        return {}
    if name not in known:
        there = f"There are: {', '.join(known)}." if known else "It has none."
        near = nearest(name, list(known))
        raise TaskError(f"The lab {lab} has no preset {name!r}{near}. {there}")
    return known[name]


def _set_values(path: Path, values: Mapping[str, Any]) -> None:
    """Rewrite only values: of capital constants in a script, of keys in a TOML file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".toml":
        path.write_text(constants.replace(text, values, path.name), encoding="utf-8")
        return
    document = tomlkit.parse(text)
    for key, value in values.items():
        _set_key(document, key, value)
    path.write_text(tomlkit.dumps(document), encoding="utf-8")


def _set_key(table: Any, key: str, value: Any) -> None:
    """Set a key; a table in a preset sets the keys within."""
    if isinstance(value, dict):
        for inner, inner_value in value.items():
            _set_key(table[key], inner, inner_value)
    else:
        table[key] = value


def _template(name: str) -> str:
    return files("autoresearch.lab").joinpath("templates", name).read_text(encoding="utf-8")


def _program(task: Mapping[str, Any], editable: list[str], metric: Metric) -> str:
    lower = metric.direction == "minimize"
    return string.Template(_template("program.md")).substitute(
        goal=f"{'lower' if lower else 'raise'} {metric.name}",
        metric=metric.name,
        better=f"as {'low' if lower else 'high'} as you can",
        direction="Lower" if lower else "Higher",
        editable=", ".join(f"`{name}`" for name in editable),
        command=task["command"],
        timeout=f"{task['budget']['timeout']:g}",
    )
