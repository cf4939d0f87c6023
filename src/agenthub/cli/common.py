"""What the commands share: which hub to use, and how to show its answers."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from agenthub.client.config import ADMIN_KEYS, KEY, PROJECT, administration, membership
from agenthub.client.hub_client import AdminClient, HubClient, Json
from agenthub.errors import BadInput
from agenthub.validation import clean, clean_line

FC = TypeVar("FC", bound=Callable[..., Any] | click.Command)
LINE = 200  # characters of a commit's subject, of a note
DAY = 86_400


@dataclass(frozen=True)
class HubOptions:
    """The options of every command: which hub and project, and in which form to answer."""

    server: str
    project: str
    as_json: bool
    admin_key_file: Path | None = None  # of the admin's commands alone

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

    @functools.cached_property
    def admin(self) -> AdminClient:
        """A client with the admin's key; BadInput when there is no key for the hub."""
        member = administration(self.server, self.admin_key_file)
        if not member.key:
            raise BadInput(
                f"The admin's key is needed: set {ADMIN_KEYS[0]}, or give --admin-key-file FILE."
            )
        return AdminClient(member.url, member.key, self.project)

    def show(self, value: object, lines: Iterable[str]) -> None:
        """Print the value as one line of JSON for machines, or the lines for people."""
        if self.as_json:
            click.echo(json.dumps(value))
            return
        for line in lines:
            echo(line)

    def show_rows(
        self, answer: Json, name: str, line_of: Callable[[Json], str], nothing: str = "(none)"
    ) -> None:
        """Print a list of an answer as JSON, or a line for each row; `nothing` without rows."""
        rows = rows_of(answer, name)
        self.show(rows, [line_of(row) for row in rows] or [nothing])


json_option = click.option("--json", "as_json", is_flag=True, help="JSON, for machines.")
limit_option = click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1), help="How many."
)
admin_file = click.option(
    "--admin-key-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file with the admin's key, instead of AUTORESEARCH_HUB_ADMIN_KEY.",
)


def project_option(help: str) -> Callable[[FC], FC]:
    """Add --project: one of the hub's."""
    return click.option("--project", "-p", default="main", envvar=PROJECT, help=help)


_HUB = (
    click.option(
        "--server", default="", metavar="URL", help="The hub; the one joined last by default."
    ),
    project_option("The hub's project; main by default."),
    json_option,
)


def hub_command(
    group: click.Group | None = None, *, admin: bool = False, **settings: Any
) -> Callable[[Callable[..., None]], click.Command]:
    """Make a command that gets --server, --project and --json (and the admin's) as HubOptions."""

    def made(command: Callable[..., None]) -> click.Command:
        @functools.wraps(command)
        def run(
            server: str,
            project: str,
            as_json: bool,
            admin_key_file: Path | None = None,
            **words: Any,
        ) -> None:
            command(HubOptions(server, project, as_json, admin_key_file), **words)

        found = (group.command if group else click.command)(**settings)(run)
        for option in (*([admin_file] if admin else ()), *_HUB):
            option(found)
        return found

    return made


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


def text_line(value: object) -> str:
    """Foreign text, in an envelope or not, as one short line."""
    return line(text_of(value))


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
