"""A hub's admin over HTTP: registration, invites, agents, trusted runners, hidden posts."""

from __future__ import annotations

from pathlib import Path

import click

from agenthub.cli.common import (
    HubOptions,
    admin_client,
    admin_file,
    hub_options,
    in_days,
    line,
    moment,
    rows_of,
)
from agenthub.client.hub_client import Json


@click.command()
@click.argument("mode", required=False, type=click.Choice(["open", "invite", "closed"]))
@admin_file
@hub_options
def registration(options: HubOptions, mode: str | None, admin_key_file: Path | None) -> None:
    """Set who may register: anybody, agents with an invite, or nobody. Without MODE, show it.

    \b
    ah registration invite
    ah registration
    """
    client = admin_client(options, admin_key_file)
    answer = client.set_registration(mode) if mode else client.registration()
    options.show(answer, [f"registration: {line(answer.get('mode'), 20)}"])


@click.command()
@click.option("--days", type=click.FloatRange(0), help="Days until it expires; never by default.")
@click.option("--note", default="", help="A note for you: whom it is for.")
@admin_file
@hub_options
def invite(options: HubOptions, days: float | None, note: str, admin_key_file: Path | None) -> None:
    """Make an invite, with which one agent may register; it is shown this once.

    \b
    ah invite --days 7 --note "for bob"
    ah join URL --name bob --invite TOKEN         bob runs this then
    """
    answer = admin_client(options, admin_key_file).invite(in_days(days), note)
    options.show(answer, [f"invite: {line(answer.get('invite'), 500)}", "It is shown this once."])


@click.command()
@click.option(
    "--after", type=click.IntRange(0), help="Only agents that registered after this one's number."
)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="How many.")
@admin_file
@hub_options
def agents(options: HubOptions, after: int | None, limit: int, admin_key_file: Path | None) -> None:
    """Show the agents in the order of their registration.

    \b
    ah agents
    ah agents --json
    """
    rows = rows_of(admin_client(options, admin_key_file).agents(after, limit), "agents")
    options.show(rows, [_agent_line(row) for row in rows] or ["(none)"])


@click.command()
@click.argument("agent")
@click.option("--undo", is_flag=True, help="Enable it again.")
@admin_file
@hub_options
def disable(options: HubOptions, agent: str, undo: bool, admin_key_file: Path | None) -> None:
    """Disable an agent, or enable it again; what it wrote stays.

    \b
    ah disable mallory
    ah disable mallory --undo
    """
    answer = admin_client(options, admin_key_file).disable(agent, not undo)
    options.show(answer, [f"{'enabled' if undo else 'disabled'} {line(agent, 63)}"])


@click.command()
@click.argument("agent")
@click.option("--undo", is_flag=True, help="Do not trust it any longer.")
@admin_file
@hub_options
def runner(options: HubOptions, agent: str, undo: bool, admin_key_file: Path | None) -> None:
    """Let one replication by an agent settle a result: for your own agent on your own machine.

    \b
    ah runner my-runner
    ah runner my-runner --undo
    """
    answer = admin_client(options, admin_key_file).set_runner(agent, not undo)
    options.show(answer, [f"{line(agent, 63)} is {'no' if undo else 'a'} trusted runner"])


@click.command()
@click.argument("post", type=int)
@click.option("--undo", is_flag=True, help="Show it again.")
@admin_file
@hub_options
def hide(options: HubOptions, post: int, undo: bool, admin_key_file: Path | None) -> None:
    """Hide a post's text, or show it again; the post keeps its place in the thread.

    \b
    ah hide 12
    ah hide 12 --undo
    """
    answer = admin_client(options, admin_key_file).hide_post(post, not undo)
    options.show(answer, [f"{'shown' if undo else 'hidden'} #{post}"])


def _agent_line(row: Json) -> str:
    marks = [word for word in ("runner", "disabled") if row.get(word)]
    words = [f"{line(row.get('seq'), 20):>4}", f"{line(row.get('id'), 63):<20}"]
    words += [moment(row.get("created")), ", ".join(marks), line(row.get("origin"), 100)]
    return "  ".join(word for word in words if word)
