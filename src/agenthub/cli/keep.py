"""A hub on this machine: serve, backup, restore, check, export, import."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from agenthub.cli.common import FC, admin_file, echo, json_option, line, project_option
from agenthub.client.config import admin_key
from agenthub.errors import AgentHubError

LISTEN = "127.0.0.1:8080"
this_project = project_option("The project; main by default.")
data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default="data",
    show_default=True,
    help="The hub's folder; it holds everything.",
)
new_folder = click.Path(path_type=Path, file_okay=False)
old_folder = click.Path(path_type=Path, file_okay=False, exists=True)


def _address(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, int] | None:
    """HOST:PORT as host and port; an empty host means every address of this machine."""
    if value is None:
        return None
    host, colon, port = value.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise click.BadParameter(f"{value!r} is not HOST:PORT, like {LISTEN} or [::1]:8080.")
    return host.strip("[]"), int(port)


def _limit(name: str, setting: str, default: float) -> Callable[[FC], FC]:
    """An option for one of HubSettings: a count where the default is one, else a size."""
    type = click.IntRange(1) if isinstance(default, int) else click.FloatRange(0.001)
    return click.option(name, setting, type=type, default=default, show_default=True)


@click.command()
@data_option
@click.option(
    "--listen",
    callback=_address,
    default=LISTEN,
    show_default=True,
    metavar="HOST:PORT",
    help="Port 0 takes a free one.",
)
@click.option(
    "--admin-listen",
    callback=_address,
    metavar="HOST:PORT",
    help="The only address that serves the admin's requests.",
)
@admin_file
@click.option(
    "--proxy", "proxies", multiple=True, help="An address whose X-Forwarded-For is believed."
)
@_limit("--max-bundle-mb", "max_bundle_mb", 50.0)
@_limit("--max-pushes-per-hour", "pushes_per_hour", 600)
@_limit("--max-posts-per-hour", "posts_per_hour", 100)
@_limit("--max-upload-mb-per-day", "mb_per_day", 500.0)
@_limit("--agent-quota-mb", "agent_quota_mb", 1000.0)
@_limit("--project-quota-mb", "project_quota_mb", 20000.0)
@click.option("--no-page", is_flag=True, help="Serve no page to people without a key.")
def serve(
    data: Path,
    listen: tuple[str, int],
    admin_listen: tuple[str, int] | None,
    admin_key_file: Path | None,
    proxies: tuple[str, ...],
    no_page: bool,
    **limits: Any,
) -> None:
    """Run a hub until Ctrl-C; requests under way are finished first.

    The admin's key comes from AUTORESEARCH_HUB_ADMIN_KEY or --admin-key-file, never from the
    command line, where others could see it. The limits are for each agent; the quotas bound what is
    stored of one agent and of one project.

    \b
    ah serve --data hub
    AUTORESEARCH_HUB_ADMIN_KEY=$(openssl rand -hex 32) ah serve --data hub --listen 0.0.0.0:8080
    """
    try:
        import fastapi  # noqa: F401
        import jinja2  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise AgentHubError(
            f"A hub needs FastAPI, Jinja2 and uvicorn ({error}). "
            "Run: pip install 'autoresearch[hub]'"
        ) from error
    from agenthub.records.hub import HubSettings
    from agenthub.server.serve import serve as run

    settings = HubSettings(**limits, public_page=not no_page)
    key = admin_key(admin_key_file) or None
    host, port = listen
    run(data, host, port, settings, key, admin=admin_listen, proxies=proxies)


@click.command()
@click.argument("target", type=new_folder)
@click.option(
    "--keep", type=click.IntRange(1), help="TARGET holds the newest N backups, named by their time."
)
@data_option
@json_option
def backup(target: Path, keep: int | None, data: Path, as_json: bool) -> None:
    """Copy a hub into a new folder, even while it is served.

    A backup holds the keys' pepper: keep it as secret as the hub.

    \b
    ah backup --data hub /backups/today
    ah backup --data hub /backups --keep 14
    """
    from agenthub.ops import backup

    made = backup.backup_into(data, target, keep) if keep else backup.backup(data, target)
    _show(as_json, {"backup": str(made)}, f"backup: {made}")


@click.command()
@click.argument("source", type=old_folder)
@data_option
@json_option
def restore(source: Path, data: Path, as_json: bool) -> None:
    """Make a hub's folder from an intact backup. The folder must be new or empty.

    \b
    ah restore /backups/today --data hub
    ah serve --data hub
    """
    from agenthub.ops import backup

    backup.restore(source, data)
    _show(as_json, {"restored": str(data)}, f"restored: {data}")


@click.command()
@data_option
@json_option
def check(data: Path, as_json: bool) -> None:
    """Check that a hub's folder, or a backup, is intact: objects, counters, audit log.

    The check changes nothing, and the hub may be served meanwhile. Exit code 1 for any finding.

    \b
    ah check --data hub
    ah check --data /backups/today
    """
    from agenthub.ops import backup

    found = backup.check(data)
    lines = [line(finding, 500) for finding in found]
    rows = [{"where": finding.where, "told": finding.message} for finding in found]
    _show(as_json, {"sound": not found, "findings": rows}, *(lines or ["sound"]))
    if found:
        click.get_current_context().exit(1)


@click.command()
@click.argument("target", type=new_folder)
@this_project
@data_option
@json_option
def export(target: Path, project: str, data: Path, as_json: bool) -> None:
    """Write a project into a new folder: a bundle and JSON lines, for another hub to import.

    \b
    ah export --data hub --project main main-export
    """
    from agenthub.ops import backup

    made = backup.export(data, project, target)
    rows = ", ".join(f"{count} {kind}" for kind, count in made.rows.items())
    value = {"folder": str(made.folder), "rows": dict(made.rows), "bytes": made.bytes}
    _show(as_json, value, f"exported: {made.folder} ({rows}; {made.bytes:,} bytes)")


@click.command("import")
@click.argument("source", type=old_folder)
@this_project
@data_option
@json_option
def import_(source: Path, project: str, data: Path, as_json: bool) -> None:
    """Import another hub's export into a project. The hub checks all of it, and decides for itself.

    The hub must not be served meanwhile.

    \b
    ah import main-export --data hub --project theirs
    """
    from agenthub.ops import backup
    from agenthub.records.hub import open_hub

    with open_hub(data) as hub:
        done = vars(backup.import_(hub, source, project))
    counts = ", ".join(f"{count} {kind}" for kind, count in done.items() if count)
    _show(as_json, done, f"imported: {counts or 'nothing new'}")


def _show(as_json: bool, value: dict[str, object], *lines: str) -> None:
    if as_json:
        click.echo(json.dumps(value))
        return
    for text in lines:
        echo(text)
