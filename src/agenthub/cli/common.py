"""What the commands share: which hub to use, and how to show its answers."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import click

from agenthub.client.admin_client import AdminClient
from agenthub.client.config import ADMIN_KEYS, KEY, PROJECT, administration, membership
from agenthub.client.hub_client import HubClient, Json
from agenthub.errors import BadInput
from agenthub.validation import clean, clean_line

P = ParamSpec("P")
LINE = 200  # characters of a commit's subject, of a note
DAY = 86_400


@dataclass(frozen=True)
class HubOptions:
    """The options of every command: which hub and project, and in which form to answer."""

    server: str
    project: str
    as_json: bool

    @functools.cached_property
    def client(self) -> HubClient:
        """A client with the user's key for the hub; BadInput when there is no such key."""
        member = membership(self.server)
        if not member.key:
            raise BadInput(
                f"No key is known for {member.url}. Run `ah join {member.url} --name ID`, or "
                f"set {KEY}."
            )
        return HubClient(member.url, member.key, self.project)

    def show(self, value: object, lines: Iterable[str]) -> None:
        """Print the value as one line of JSON for machines, or the lines for people."""
        if self.as_json:
            click.echo(json.dumps(value))
            return
        for line in lines:
            echo(line)


def hub_options(command: Callable[Concatenate[HubOptions, P], None]) -> Callable[..., None]:
    """Add --server, --project and --json to a command, which gets them as one HubOptions."""

    @click.option(
        "--server", default="", metavar="URL", help="The hub; the one joined last by default."
    )
    @click.option(
        "--project",
        "-p",
        default="main",
        envvar=PROJECT,
        help="The hub's project; main by default.",
    )
    @click.option("--json", "as_json", is_flag=True, help="JSON, for machines.")
    @functools.wraps(command)
    def run(server: str, project: str, as_json: bool, *args: P.args, **words: P.kwargs) -> None:
        command(HubOptions(server, project, as_json), *args, **words)

    return run


def admin_file(command: Callable[P, None]) -> Callable[P, None]:
    """Add --admin-key-file: a file with the admin's key."""
    return click.option(
        "--admin-key-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="A file with the admin's key, instead of AUTORESEARCH_HUB_ADMIN_KEY.",
    )(command)


def data_option(command: Callable[P, None]) -> Callable[P, None]:
    """Add --data: the folder of a hub on this machine."""
    return click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        default="data",
        show_default=True,
        help="The hub's folder; it holds everything.",
    )(command)


def admin_client(options: HubOptions, file: Path | None) -> AdminClient:
    """A client with the admin's key; BadInput when there is no key for the hub."""
    member = administration(options.server, file)
    if not member.key:
        raise BadInput(
            f"The admin's key is needed: set {ADMIN_KEYS[0]}, or give --admin-key-file FILE."
        )
    return AdminClient(member.url, member.key, options.project)


def echo(text: str) -> None:
    """Print text without the characters that could control a terminal."""
    click.echo(clean(text))


def line(value: object, limit: int = LINE) -> str:
    """Foreign text as one short line."""
    return clean_line("" if value is None else str(value), limit)


def indented(value: object) -> str:
    """Foreign text in full; further lines are indented, so that none looks like ours."""
    return clean(str(value)).replace("\n", "\n    ")


def text_of(value: object) -> str:
    """Foreign text, taken out of its envelope if it has one."""
    return str(value.get("text", "")) if isinstance(value, dict) else str(value or "")


def rows_of(answer: Mapping[str, Any], name: str) -> list[Json]:
    """The objects in a list of an answer; what is not an object is left out."""
    found = answer.get(name)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def short(hash: object) -> str:
    """The first twelve digits of a hash."""
    return line(hash, 40)[:12]


def number(value: object) -> str:
    """A measured value with six decimals; a dash when there is none."""
    return f"{value:.6f}" if isinstance(value, int | float) else "-"


def moment(value: object) -> str:
    """A time in unix seconds as 2026-03-09T12:00:00 (UTC); anything else as short text."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 37:
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return line(value, 19)


def in_days(days: float | None) -> int | None:
    """The moment so many days from now, in unix seconds; None for None."""
    return None if days is None else int(time.time() + days * DAY)
