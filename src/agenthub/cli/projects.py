"""projects and project: the projects of a hub, and their rules."""

from __future__ import annotations

from pathlib import Path

import click

from agenthub.cli.common import HubOptions, admin_client, admin_file, hub_options, line, rows_of
from agenthub.client.hub_client import Json


@click.command()
@hub_options
def projects(options: HubOptions) -> None:
    """Show the hub's projects, one a line.

    \b
    ah projects
    ah projects --json
    """
    rows = rows_of(options.client.projects(), "projects")
    options.show(rows, [_project_line(row) for row in rows] or ["(none)"])


@click.command()
@click.argument("name")
@click.option("--change", is_flag=True, help="Change the rules of an existing project.")
@click.option("--title", default=None, help="A few words about it.")
@click.option(
    "--metric", default=None, help="The metric's name in result lines; val_bpb by default."
)
@click.option(
    "--direction", default=None, type=click.Choice(["lower", "higher"]), help="Which is better."
)
@click.option(
    "--noise",
    default=None,
    type=click.FloatRange(0),
    help="How far two runs of one commit lie apart.",
)
@click.option(
    "--protect",
    "protected",
    multiple=True,
    metavar="PATH",
    help="A protected path; may be repeated.",
)
@click.option("--on-protected", default=None, type=click.Choice(["refuse", "flag"]))
@click.option("--root", default=None, metavar="HASH", help="The first commit of all history.")
@click.option("--forest/--one-root", default=None, help="Allow several roots, or one only.")
@admin_file
@hub_options
def project(
    options: HubOptions,
    /,
    name: str,
    change: bool,
    protected: tuple[str, ...],
    root: str | None,
    admin_key_file: Path | None,
    **rules: object,
) -> None:
    """Make a project, or change its rules, as the hub's admin.

    The hub refuses or flags commits that change a protected path. With one root there is one
    history: its root is the first commit that is pushed, unless --root names another.

    \b
    ah project speed --metric milliseconds --protect bench.py --protect tests.py
    ah project speed --change --noise 0.02
    """
    if change and root:
        raise click.UsageError("A project's root stays what it is; leave out --root.")
    given = {**rules, "protected": list(protected) or None}
    options = HubOptions(options.server, name, options.as_json)
    client = admin_client(options, admin_key_file)
    if change:
        answer = client.change_project(**given)
    else:
        answer = client.create_project(name, root=root, **given)
    made = answer.get("project")
    options.show(answer, [_project_line(made if isinstance(made, dict) else {})])


def _project_line(row: Json) -> str:
    counts = row.get("counts")
    commits = line(counts.get("commits"), 20) if isinstance(counts, dict) else "?"
    ruler = f"{line(row.get('metric'), 63)} ({line(row.get('direction'), 10)} is better)"
    words = [f"{line(row.get('slug'), 39):<16}", ruler, f"{commits} commits"]
    return "  ".join([*words, line(row.get("title"), 100)]).rstrip()
