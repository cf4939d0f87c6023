"""The user's agent on a hub, and its keys: join, whoami, keys."""

from __future__ import annotations

import click

from agenthub.cli.common import HubOptions, echo, hub_command, in_days, line, moment
from agenthub.client.config import (
    KEY,
    PLACE,
    Membership,
    admin_key,
    config_path,
    membership,
    write_config,
    written,
)
from agenthub.client.hub_client import AdminClient, Json
from agenthub.errors import HubError


@hub_command(admin=True)
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
def join(options: HubOptions, url: str | None, name: str, invite: str, key: str) -> None:
    """Become an agent of a hub, and store the key.

    \b
    ah join http://127.0.0.1:8080 --name ada
    ah join --server https://hub.example.org --name ada --invite TOKEN
    """
    if bool(url) == bool(options.server):
        raise click.UsageError("Give the hub's address once: ah join URL --name ID")
    key = key or (admin_key(options.admin_key_file) if options.admin_key_file else "")
    client = AdminClient(url or options.server, key)
    made = client.add_agent(name) if key else client.register(name, invite)
    if not isinstance(made.get("api_key"), str):
        raise HubError(502, f"{client.url} gave no key. Is it a hub?")
    member = Membership(client.url, made["api_key"], str(made.get("id", name)))
    path = config_path().absolute()
    before = written(path, client.url)
    write_config(path, member)
    value = {"server_url": member.url, "agent_id": member.agent, "api_key": member.key}
    joined = f'joined {member.url} as "{line(member.agent)}"'
    lines = [joined, f"api key: {line(member.key, 500)}", f"config saved to {path}"]
    options.show({**value, "config": str(path)}, lines)
    if before.agent and not options.as_json:
        echo(
            f'note: the key of "{line(before.agent)}", your former agent there, is no longer in '
            f"this file. To use several agents, give each a file: {PLACE}=FILE."
        )
    if client.transport.address.is_open and not options.as_json:
        echo("note: this hub has no TLS: others on the network can read your key. Prefer https://")


@hub_command()
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


@click.group()
def keys() -> None:
    """Your keys on the hub: list, new, rotate, revoke.

    \b
    ah keys list
    ah keys new --scope read --label dashboard --days 30
    ah keys rotate 3
    ah keys revoke 3
    """


@hub_command(keys, name="list")
def list_(options: HubOptions) -> None:
    """Show your keys without their secrets, oldest first.

    \b
    ah keys list
    """
    options.show_rows(options.client.keys(), "keys", _key_line)


@hub_command(keys)
@click.option(
    "--scope", "scopes", multiple=True, help="read, push, post or verify; may be repeated."
)
@click.option("--label", default="", help="What it is for.")
@click.option("--days", type=click.FloatRange(0), help="Days until it expires; never by default.")
def new(options: HubOptions, scopes: tuple[str, ...], label: str, days: float | None) -> None:
    """Make another key; it is shown this once.

    \b
    ah keys new --scope read --label dashboard --days 30
    """
    answer = options.client.new_key(scopes, in_days(days), label)
    options.show(answer, [f"api key: {_secret(answer)}", "It is shown this once."])


@hub_command(keys)
@click.argument("key", type=int)
@click.option(
    "--grace", default=0, type=click.IntRange(0), help="Seconds for which the old key still works."
)
def rotate(options: HubOptions, key: int, grace: int) -> None:
    """Replace a key by a new one; if it is the stored key, the new one is stored at once.

    \b
    ah keys rotate 3 --grace 600
    """
    client, member = options.client, membership(options.server)
    own = client.me().get("key") == key
    answer = client.rotate_key(key, grace)
    secret, path = _secret(answer), config_path()
    lines = [f"api key: {secret}", "It is shown this once."]
    if own and membership(options.server, {}).key == member.key:
        write_config(path, Membership(member.url, secret, member.agent))
        lines[-1] = f"config saved to {path}"
    elif own:
        lines[-1] = f"It is shown this once. Set {KEY} to it."
    options.show(answer, lines)


@hub_command(keys)
@click.argument("key", type=int)
def revoke(options: HubOptions, key: int) -> None:
    """Revoke a key; it ends now.

    \b
    ah keys revoke 3
    """
    options.show(options.client.revoke_key(key), [f"revoked #{key}"])


def _secret(answer: Json) -> str:
    found = answer.get("api_key")
    if not isinstance(found, str):
        raise HubError(502, "The hub gave no key. Look with `ah keys list`.")
    return line(found, 500)


def _key_line(row: Json) -> str:
    scopes = row.get("scopes")
    may = ",".join(map(line, scopes)) if isinstance(scopes, list) else ""
    ends = [f"{word} {moment(row[word])}" for word in ("expires", "revoked") if row.get(word)]
    words = [f"#{line(row.get('id'), 20)}", may, f"made {moment(row.get('created'))}", *ends]
    return "  ".join([*words, line(row.get("label"))]).rstrip()
