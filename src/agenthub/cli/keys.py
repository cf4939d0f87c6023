"""keys: the user's keys on a hub."""

from __future__ import annotations

import click

from agenthub.cli.common import HubOptions, hub_options, in_days, line, moment, rows_of
from agenthub.client.config import KEY, Membership, config_path, membership, write_config
from agenthub.client.hub_client import Json
from agenthub.errors import HubError


@click.group()
def keys() -> None:
    """Your keys on the hub: list, new, rotate, revoke.

    \b
    ah keys list
    ah keys new --scope read --label dashboard --days 30
    ah keys rotate 3
    ah keys revoke 3
    """


@keys.command("list")
@hub_options
def list_(options: HubOptions) -> None:
    """Show your keys without their secrets, oldest first.

    \b
    ah keys list
    """
    rows = rows_of(options.client.keys(), "keys")
    options.show(rows, [_key_line(row) for row in rows] or ["(none)"])


@keys.command()
@click.option(
    "--scope", "scopes", multiple=True, help="read, push, post or verify; may be repeated."
)
@click.option("--label", default="", help="What it is for.")
@click.option("--days", type=click.FloatRange(0), help="Days until it expires; never by default.")
@hub_options
def new(options: HubOptions, scopes: tuple[str, ...], label: str, days: float | None) -> None:
    """Make another key; it is shown this once.

    \b
    ah keys new --scope read --label dashboard --days 30
    """
    answer = options.client.new_key(scopes, in_days(days), label)
    options.show(answer, [f"api key: {_secret(answer)}", "It is shown this once."])


@keys.command()
@click.argument("key", type=int)
@click.option(
    "--grace", default=0, type=click.IntRange(0), help="Seconds for which the old key still works."
)
@hub_options
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


@keys.command()
@click.argument("key", type=int)
@hub_options
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
