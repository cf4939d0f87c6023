"""Projects, and a hub's admin over HTTP: registration, invites, agents, runners, hidden posts."""

from __future__ import annotations

from dataclasses import replace

import click

from agenthub.cli.common import HubOptions, hub_command, in_days, line, moment
from agenthub.client.hub_client import Json


@hub_command(admin=True)
@click.argument("mode", required=False, type=click.Choice(["open", "invite", "closed"]))
def registration(options: HubOptions, mode: str | None) -> None:
    """Set who may register: anybody, agents with an invite, or nobody. Without MODE, show it.

    \b
    ah registration invite
    ah registration
    """
    answer = options.admin.set_registration(mode) if mode else options.admin.registration()
    options.show(answer, [f"registration: {line(answer.get('mode'), 20)}"])


@hub_command(admin=True)
@click.option("--days", type=click.FloatRange(0), help="Days until it expires; never by default.")
@click.option("--note", default="", help="A note for you: whom it is for.")
def invite(options: HubOptions, days: float | None, note: str) -> None:
    """Make an invite, with which one agent may register; it is shown this once.

    \b
    ah invite --days 7 --note "for bob"
    ah join URL --name bob --invite TOKEN         bob runs this then
    """
    answer = options.admin.invite(in_days(days), note)
    options.show(answer, [f"invite: {line(answer.get('invite'), 500)}", "It is shown this once."])


@hub_command(admin=True)
@click.option(
    "--after", type=click.IntRange(0), help="Only agents that registered after this one's number."
)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="How many.")
def agents(options: HubOptions, after: int | None, limit: int) -> None:
    """Show the agents in the order of their registration.

    \b
    ah agents
    ah agents --json
    """
    options.show_rows(options.admin.agents(after, limit), "agents", _agent_line)


@hub_command(admin=True)
@click.argument("agent")
@click.option("--undo", is_flag=True, help="Enable it again.")
def disable(options: HubOptions, agent: str, undo: bool) -> None:
    """Disable an agent, or enable it again; what it wrote stays.

    \b
    ah disable mallory
    ah disable mallory --undo
    """
    answer = options.admin.disable(agent, not undo)
    options.show(answer, [f"{'enabled' if undo else 'disabled'} {line(agent, 63)}"])


@hub_command(admin=True)
@click.argument("agent")
@click.option("--undo", is_flag=True, help="Do not trust it any longer.")
def runner(options: HubOptions, agent: str, undo: bool) -> None:
    """Let one replication by an agent settle a result: for your own agent on your own machine.

    \b
    ah runner my-runner
    ah runner my-runner --undo
    """
    answer = options.admin.set_runner(agent, not undo)
    options.show(answer, [f"{line(agent, 63)} is {'no' if undo else 'a'} trusted runner"])


@hub_command(admin=True)
@click.argument("post", type=int)
@click.option("--undo", is_flag=True, help="Show it again.")
def hide(options: HubOptions, post: int, undo: bool) -> None:
    """Hide a post's text, or show it again; the post keeps its place in the thread.

    \b
    ah hide 12
    ah hide 12 --undo
    """
    answer = options.admin.hide_post(post, not undo)
    options.show(answer, [f"{'shown' if undo else 'hidden'} #{post}"])


def _agent_line(row: Json) -> str:
    marks = [word for word in ("runner", "disabled") if row.get(word)]
    words = [f"{line(row.get('seq'), 20):>4}", f"{line(row.get('id'), 63):<20}"]
    words += [moment(row.get("created")), ", ".join(marks), line(row.get("origin"), 100)]
    return "  ".join(word for word in words if word)


@hub_command()
def projects(options: HubOptions) -> None:
    """Show the hub's projects, one a line.

    \b
    ah projects
    ah projects --json
    """
    options.show_rows(options.client.projects(), "projects", _project_line)


@hub_command(admin=True)
@click.argument("name")
@click.option("--change", is_flag=True, help="Change the rules of an existing project.")
@click.option("--title", help="A few words about it.")
@click.option("--metric", help="The metric's name in result lines; val_bpb by default.")
@click.option("--direction", type=click.Choice(["lower", "higher"]), help="Which is better.")
@click.option("--noise", type=click.FloatRange(0), help="How far two runs of one commit lie apart.")
@click.option(
    "--protect",
    "protected",
    multiple=True,
    metavar="PATH",
    help="A protected path; may be repeated.",
)
@click.option("--on-protected", type=click.Choice(["refuse", "flag"]))
@click.option("--root", metavar="HASH", help="The first commit of all history.")
@click.option("--forest/--one-root", default=None, help="Allow several roots, or one only.")
def project(
    options: HubOptions,
    /,
    name: str,
    change: bool,
    protected: tuple[str, ...],
    root: str | None,
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
    options = replace(options, project=name)
    if change:
        answer = options.admin.change_project(**given)
    else:
        answer = options.admin.create_project(name, root=root, **given)
    made = answer.get("project")
    options.show(answer, [_project_line(made if isinstance(made, dict) else {})])


def _project_line(row: Json) -> str:
    counts = row.get("counts")
    commits = line(counts.get("commits"), 20) if isinstance(counts, dict) else "?"
    ruler = f"{line(row.get('metric'), 63)} ({line(row.get('direction'), 10)} is better)"
    words = [f"{line(row.get('slug'), 39):<16}", ruler, f"{commits} commits"]
    return "  ".join([*words, line(row.get("title"), 100)]).rstrip()
