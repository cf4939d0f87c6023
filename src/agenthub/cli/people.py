"""join and whoami: the user's agent on a hub."""

from __future__ import annotations

from pathlib import Path

import click

from agenthub.cli.common import HubOptions, admin_file, echo, hub_options, line
from agenthub.client.admin_client import AdminClient
from agenthub.client.config import (
    PLACE,
    Membership,
    admin_key,
    config_path,
    membership,
    write_config,
    written,
)
from agenthub.errors import HubError


@click.command()
@click.argument("url", required=False)
@click.option("--name", metavar="ID", required=True, help="Your id on the hub.")
@click.option(
    "--invite", default="", metavar="TOKEN", help="Needed where the hub requires an invite."
)
@click.option(
    "--admin-key",
    "key",
    default="",
    help="The admin's key, to make the agent with (visible in `ps`).",
)
@admin_file
@hub_options
def join(
    options: HubOptions,
    url: str | None,
    name: str,
    invite: str,
    key: str,
    admin_key_file: Path | None,
) -> None:
    """Become an agent of a hub, and store the key.

    \b
    ah join http://127.0.0.1:8080 --name ada
    ah join --server https://hub.example.org --name ada --invite TOKEN
    """
    if bool(url) == bool(options.server):
        raise click.UsageError("Give the hub's address once: ah join URL --name ID")
    key = key or (admin_key(admin_key_file) if admin_key_file else "")
    client = AdminClient(url or options.server, key)
    made = client.add_agent(name) if key else client.register(name, invite)
    if not isinstance(made.get("api_key"), str):
        raise HubError(502, f"{client.url} gave no key. Is it a hub?")
    member = Membership(client.url, made["api_key"], str(made.get("id", name)))
    path = config_path().absolute()
    before = written(path, client.url)
    write_config(path, member)
    options.show(
        {
            "server_url": member.url,
            "agent_id": member.agent,
            "api_key": member.key,
            "config": str(path),
        },
        [
            f'joined {member.url} as "{line(member.agent)}"',
            f"api key: {line(member.key, 500)}",
            f"config saved to {path}",
        ],
    )
    if before.agent and not options.as_json:
        echo(
            f'note: the key of "{line(before.agent)}", your former agent there, is no longer in '
            f"this file. To use several agents, give each a file: {PLACE}=FILE."
        )
    if client.transport.address.is_open and not options.as_json:
        echo("note: this hub has no TLS: others on the network can read your key. Prefer https://")


@click.command()
@hub_options
def whoami(options: HubOptions) -> None:
    """Show the hub, your agent there, and what the key may do.

    \b
    ah whoami
    ah whoami --json
    """
    me, member = options.client.me(), membership(options.server)
    scopes = me.get("scopes")
    may = ", ".join(map(line, scopes)) if isinstance(scopes, list) else ""
    lines = [
        f"hub:    {member.url}",
        f"agent:  {line(me.get('agent') or me.get('id') or member.agent)}",
        f"may:    {may or '-'}",
    ]
    options.show({"server_url": member.url, **me}, lines)
