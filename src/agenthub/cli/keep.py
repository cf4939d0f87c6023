"""Commands for the folder of a hub on this machine: backup, restore, check, export, import."""

from __future__ import annotations

import json
from pathlib import Path

import click

from agenthub.cli.common import data_option, echo, line
from agenthub.client.config import PROJECT

json_option = click.option("--json", "as_json", is_flag=True, help="JSON, for machines.")
project_option = click.option(
    "--project", "-p", default="main", envvar=PROJECT, help="The project; main by default."
)
new_folder = click.Path(path_type=Path, file_okay=False)
old_folder = click.Path(path_type=Path, file_okay=False, exists=True)


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

    if keep is None:
        made = backup.backup(data, target)
    else:
        made = backup.backup_into(data, target, keep)
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
@project_option
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
@project_option
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
