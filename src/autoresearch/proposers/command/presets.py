"""Coding agents by name. One format for ours (agents.toml), the user's, and a lab's."""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from autoresearch.errors import ProposerError
from autoresearch.proposers.command.rules import ACP_RULES, Rule, read_rules
from autoresearch.registry import nearest
from autoresearch.toml_table import Table

Format = Literal["jsonl", "json", "text", "acp"]
Word = str | tuple[str, ...]  # a tuple is left out when one of its values is unknown
OURS = Path(__file__).with_name("agents.toml")
LAB_MAY_SET = (
    "model",
    "seconds",
    "silence",
    "turns",
    "usd",
    "usd_per_million",
    "disk_mb",
)  # keys that a lab may set for an agent that is known already
LISTS = ("{guard}", "{editable}")  # words that are replaced by several
KNOWN = (
    "prompt",
    "brief",
    "workspace",
    "home",
    "model",
    "usd",
    "turns",
    *(w.strip("{}") for w in LISTS),
)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True)
class Preset:
    """How one agent is started, and how its output is read."""

    name: str
    command: tuple[Word, ...]
    title: str = ""
    install: str = ""  # how to install it
    version: tuple[str, ...] = ()  # a command that prints its version
    format: Format = "jsonl"
    output: str = ""  # a file of the agent's that is read; empty: its log
    rules: tuple[Rule, ...] = ()
    keys: tuple[str, ...] = ()  # variables that hold keys; one must be set, no others are passed
    passes: tuple[str, ...] = ()  # further variables that are passed where they are set
    # "{key}" stands for the first key that is set
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)  # written into its HOME
    sandboxed: tuple[str, ...] = ()  # what {guard} stands for inside a sandbox of ours
    bare: tuple[str, ...] = ()  # and outside of one
    network: bool = True  # false with "offline = true"
    readable: tuple[Path, ...] = ()  # further paths of this machine that its program needs
    model: str = ""
    seconds: float = 1800.0  # of one session at most
    silence: float = 600.0  # without output, after which it is killed
    turns: float = 100  # answers of the model in one session at most, if its output shows them
    usd: float = 2.0  # that a session may cost, as far as its output shows the cost
    # Dollars per million tokens, where its output shows tokens alone; 0: free; None: unknown.
    usd_per_million: float | None = None
    disk_mb: float = 1024.0  # that it may write at most
    origin: str = "built in"

    @property
    def program(self) -> str:
        """Name of the program that must be installed."""
        return str(self.command[0])


def user_file() -> Path:
    """The file with the user's own agents."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
    return Path(base) / "autoresearch" / "agents.toml"


def load_presets(lab: Mapping[str, Any] | None = None) -> dict[str, Preset]:
    """All agents by name: ours, overridden by the user's, and those of a lab's task.toml.

    A lab may add agents. For an agent that is known it may set harmless keys only, because it
    must not send the user's API key to a server of its choice.
    """
    raw = {name: (dict(table), OURS) for name, table in _read(OURS).items()}
    for name, table in _read(user_file()).items():
        raw[name] = (
            {**raw.get(name, ({}, OURS))[0], **_table(name, table, user_file())},
            user_file(),
        )
    for name, table in (lab or {}).items():
        raw[name] = (
            _with_lab(name, table, raw),
            raw[name][1] if name in raw else Path("task.toml"),
        )
    return {name: _preset(name, table, path) for name, (table, path) in raw.items()}


def find_preset(name: str, lab: Mapping[str, Any] | None = None) -> Preset:
    """One agent; ProposerError names the nearest name and all names."""
    known = load_presets(lab)
    if name not in known:
        raise ProposerError(
            f"No agent is named {name!r}{nearest(name, list(known))}. There are: "
            f"{', '.join(known)}; or describe your own in {user_file()} (docs/agents.md)."
        )
    return known[name]


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ProposerError(f"{path} cannot be read: {error}.") from error


def _table(name: str, table: object, path: Path) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ProposerError(f"{path}: {name} is {table!r}; allowed is a table: [{name}].")
    return table


def _with_lab(
    name: str, table: object, known: Mapping[str, tuple[dict[str, Any], Path]]
) -> dict[str, Any]:
    """A known agent with a lab's settings, or a lab's own agent."""
    given = _table(f"agent.{name}", table, Path("task.toml"))
    if name not in known:
        return given
    for key in given:
        if key not in LAB_MAY_SET:
            raise ProposerError(
                f"task.toml: agent.{name}.{key} cannot be set by a lab: {name} is known already. "
                f"Allowed here: {', '.join(LAB_MAY_SET)}; the rest belongs in {user_file()}, "
                "or under another name."
            )
    return {**known[name][0], **given}


def _preset(name: str, values: Mapping[str, Any], path: Path) -> Preset:
    table = Table(values, path, f"{name}.")
    if not _NAME.fullmatch(name):
        raise table.error("name", name, "lower-case letters, digits and dashes")
    style = cast(Format, table.choice("format", get_args(Format), "jsonl"))
    command = _command(table)
    rules = read_rules(table, style)
    preset = Preset(
        name=name,
        command=command,
        title=table.text("title", name) or name,
        install=table.text("install", "see its own documentation") or "",
        version=table.texts("version", required=False) or (str(command[0]), "--version"),
        format=style,
        output=table.text("output") or "",
        rules=ACP_RULES if style == "acp" else rules,
        keys=table.texts("keys", required=False),
        passes=table.texts("passes", required=False),
        env=_strings(table, "env"),
        files=_strings(table, "files"),
        sandboxed=table.texts("sandboxed", required=False),
        bare=table.texts("bare", required=False),
        network=not table.flag("offline"),
        readable=tuple(Path(p).expanduser() for p in table.texts("readable", required=False)),
        model=table.text("model") or "",
        **_numbers(table),
        origin="built in" if path == OURS else str(path),
    )
    table.finish()
    _check_words(preset, table)
    return preset


def _command(table: Table) -> tuple[Word, ...]:
    """A list of words and of groups of words; the first is the program."""
    words = table.words("command")
    if isinstance(words[0], tuple) or "{" in words[0]:
        raise table.error("command", words[0], "a list that begins with the program's name")
    return words


def _numbers(table: Table) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in ("seconds", "silence", "turns", "usd", "disk_mb"):
        number = table.number(key, getattr(Preset, key), positive=True)
        assert number is not None
        found[key] = number
    price = table.number("usd_per_million")
    if price is not None and not 0 <= price < math.inf:
        raise table.error("usd_per_million", price, "0 where it costs nothing, or more")
    return {**found, "usd_per_million": price}


def _strings(table: Table, key: str) -> dict[str, str]:
    inner = table.table(key)
    return inner.strings() if inner else {}


def _check_words(preset: Preset, table: Table) -> None:
    """Every {name} is known, and files are inside HOME."""
    words: list[str] = []
    for word in preset.command:
        words += word if isinstance(word, tuple) else [word]
    for word in words:
        for name in re.findall(r"\{(\w+)\}", word):
            if name not in KNOWN:
                raise table.error("command", word, f"one of {_braced(KNOWN)}{nearest(name, KNOWN)}")
    for name in preset.files:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise table.error("files", name, "a path inside its HOME, such as .config/x.json")


def _braced(names: Sequence[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in names)
