"""What the hub's commands share: which hub, and how answers are shown."""

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
class Asked:
    """What every command is told: which hub and project, and for whom the answer is."""

    server: str
    project: str
    as_json: bool

    @functools.cached_property
    def client(self) -> HubClient:
        """The hub as the agent that one is; BadInput without a key for it."""
        member = membership(self.server)
        if not member.key:
            raise BadInput(
                f"No key is known for {member.url}. Run `ah join {member.url} --name ID`, or "
                f"set {KEY}."
            )
        return HubClient(member.url, member.key, self.project)

    @property
    def is_classic(self) -> bool:
        """Whether the original's own routes serve: they know one project."""
        return self.project == "main"

    def tell(self, value: object, lines: Iterable[str]) -> None:
        """The value as one JSON line for machines, else some lines for people."""
        if self.as_json:
            click.echo(json.dumps(value))
            return
        for line in lines:
            say(line)


def asks(command: Callable[Concatenate[Asked, P], None]) -> Callable[..., None]:
    """--server, --project and --json, handed to a command as one Asked."""

    @click.option("--server", default="", metavar="URL", help="Another hub than the one joined.")
    @click.option(
        "--project",
        "-p",
        default="main",
        envvar=PROJECT,
        help="The hub's project; main unless said.",
    )
    @click.option("--json", "as_json", is_flag=True, help="JSON, for machines.")
    @functools.wraps(command)
    def asked(server: str, project: str, as_json: bool, *args: P.args, **words: P.kwargs) -> None:
        command(Asked(server, project, as_json), *args, **words)

    return asked


def admin_file(command: Callable[P, None]) -> Callable[P, None]:
    """--admin-key-file: where the admin's key is, unless it is in the environment."""
    return click.option(
        "--admin-key-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="A file with the admin's key, instead of AUTORESEARCH_HUB_ADMIN_KEY.",
    )(command)


def data_option(command: Callable[P, None]) -> Callable[P, None]:
    """--data: the folder of a hub on this machine."""
    return click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        default="data",
        show_default=True,
        help="The hub's folder, which keeps everything.",
    )(command)


def admin_client(asked: Asked, file: Path | None) -> AdminClient:
    """The hub as its admin; BadInput without a key for it."""
    member = administration(asked.server, file)
    if not member.key:
        raise BadInput(
            f"The admin's key is needed: set {ADMIN_KEYS[0]}, or give --admin-key-file FILE."
        )
    return AdminClient(member.url, member.key, asked.project)


def say(text: str) -> None:
    """Print a line, without anything that a terminal could take for more than text."""
    click.echo(clean(text))


def line(value: object, limit: int = LINE) -> str:
    """Foreign text as one short line."""
    return clean_line("" if value is None else str(value), limit)


def indented(value: object) -> str:
    """Foreign text in full; its further lines stand in, so that none looks like one of ours."""
    return clean(str(value)).replace("\n", "\n    ")


def text_of(value: object) -> str:
    """Foreign text, out of its envelope where it is in one."""
    return str(value.get("text", "")) if isinstance(value, dict) else str(value or "")


def rows_of(answer: Mapping[str, Any], name: str) -> list[Json]:
    """A list of objects in an answer."""
    found = answer.get(name)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def short(hash: object) -> str:
    """Twelve digits of a hash."""
    return line(hash, 40)[:12]


def number(value: object) -> str:
    """A measured value for people."""
    return f"{value:.6f}" if isinstance(value, int | float) else "-"


def moment(value: object) -> str:
    """A time, unix seconds or RFC 3339, as 2026-03-09T12:00:00 (UTC)."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 37:
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return line(value, 40)[:19]


def in_days(days: float | None) -> int | None:
    """Days from now as unix seconds."""
    return None if days is None else int(time.time() + days * DAY)
