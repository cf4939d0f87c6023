"""Coding agents by name: data of ours, of the user, and of a lab; one form for all."""

from __future__ import annotations

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
Word = str | tuple[str, ...]  # a tuple stands only where all its words are known
OURS = Path(__file__).with_name("agents.toml")
MILD = (
    "model",
    "seconds",
    "silence",
    "turns",
    "usd",
    "usd_per_million",
    "disk_mb",
)  # what a lab may set of others' agents
LISTS = ("{guard}", "{editable}")  # words that become several
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
    """How one agent is started, and how what it prints is read."""

    name: str
    command: tuple[Word, ...]
    title: str = ""
    install: str = ""  # what to do when it is not there
    version: tuple[str, ...] = ()  # a command that prints it
    format: Format = "jsonl"
    output: str = ""  # a file that it leaves and that is read; empty: what it prints
    rules: tuple[Rule, ...] = ()
    keys: tuple[str, ...] = ()  # variables with keys: one must be set; only these enter
    passes: tuple[str, ...] = ()  # further variables of ours that it sees, where they are set
    env: Mapping[str, str] = field(default_factory=dict)  # "{key}": the first key that is set
    files: Mapping[str, str] = field(default_factory=dict)  # written into its HOME
    sandboxed: tuple[str, ...] = ()  # what {guard} means where a sandbox of ours stands
    bare: tuple[str, ...] = ()  # and where none does
    network: bool = True  # false with "offline = true"
    readable: tuple[Path, ...] = ()  # of this machine, where its program needs more than itself
    model: str = ""
    seconds: float = 1800.0  # of one proposal
    silence: float = 600.0  # without a word
    turns: float = 100  # answers of the model in one proposal, where they are told
    usd: float = 2.0  # that a proposal may cost, as far as it tells before its end
    usd_per_million: float = 0.0  # dollars of a million tokens, where it tells these alone
    disk_mb: float = 1024.0  # that it may write
    origin: str = "built in"

    @property
    def program(self) -> str:
        """What must be installed."""
        return str(self.command[0])


def user_file() -> Path:
    """The user's own agents."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
    return Path(base) / "autoresearch" / "agents.toml"


def load_presets(lab: Mapping[str, Any] | None = None) -> dict[str, Preset]:
    """All agents by name: ours, the user's over them, and those that a lab's task.toml adds.

    A lab may add agents. Of an agent that is known it may only set harmless things: it must not
    send somebody's key where it likes.
    """
    raw = {name: (dict(table), OURS) for name, table in _read(OURS).items()}
    for name, table in _read(user_file()).items():
        raw[name] = (
            {**raw.get(name, ({}, OURS))[0], **_table(name, table, user_file())},
            user_file(),
        )
    for name, table in (lab or {}).items():
        raw[name] = (_of_lab(name, table, raw), raw[name][1] if name in raw else Path("task.toml"))
    return {name: _preset(name, table, path) for name, (table, path) in raw.items()}


def find_preset(name: str, lab: Mapping[str, Any] | None = None) -> Preset:
    """One agent; ProposerError names the nearest and all."""
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


def _of_lab(
    name: str, table: object, known: Mapping[str, tuple[dict[str, Any], Path]]
) -> dict[str, Any]:
    """What a lab says of an agent, over what is known of it."""
    given = _table(f"agent.{name}", table, Path("task.toml"))
    if name not in known:
        return given
    for key in given:
        if key not in MILD:
            raise ProposerError(
                f"task.toml: agent.{name}.{key} is not for a lab to set, {name} is known already. "
                f"Allowed here: {', '.join(MILD)}; the rest belongs in {user_file()}, or under "
                "another name."
            )
    return {**known[name][0], **given}


def _preset(name: str, values: Mapping[str, Any], path: Path) -> Preset:
    table = Table(values, path, f"{name}.")
    if not _NAME.fullmatch(name):
        raise table.error("name", name, "lower-case letters, digits and dashes")
    style = cast(Format, table.choice("format", get_args(Format), "jsonl"))
    command = _command(table)
    rules = read_rules(table, style)
    made = Preset(
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
    _check_words(made, table)
    return made


def _command(table: Table) -> tuple[Word, ...]:
    """A list of words; a list within it is left out where one of its words is unknown."""
    words = table.words("command")
    if isinstance(words[0], tuple) or "{" in words[0]:
        raise table.error("command", words[0], "a list that begins with the program's name")
    return words


def _numbers(table: Table) -> dict[str, float]:
    found = {}
    for key in ("seconds", "silence", "turns", "usd", "disk_mb"):
        number = table.number(key, getattr(Preset, key), positive=True)
        assert number is not None
        found[key] = number
    price = table.number("usd_per_million", positive=True)
    return {**found, "usd_per_million": price or 0.0}


def _strings(table: Table, key: str) -> dict[str, str]:
    inner = table.table(key)
    return inner.strings() if inner else {}


def _check_words(preset: Preset, table: Table) -> None:
    """Every {word} is one that is filled in; files stay inside HOME."""
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
