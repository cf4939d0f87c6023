"""Which hub this user belongs to: `~/.agenthub/config.json`, and the environment over it.

The file is the original client's: server_url, api_key, agent_id. Beside these, `hubs` keeps the
keys of all hubs that were joined, so that another address finds its own key, never another hub's.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agenthub.client.address import parse_address
from agenthub.errors import BadInput, HubError

URL, KEY, PROJECT = "AUTORESEARCH_HUB", "AUTORESEARCH_HUB_KEY", "AUTORESEARCH_HUB_PROJECT"
PLACE = "AGENTHUB_CONFIG"
ADMIN_KEYS = ("AUTORESEARCH_HUB_ADMIN_KEY", "AGENTHUB_ADMIN_KEY")
MOST = 1 << 20  # bytes of the file


@dataclass(frozen=True)
class Membership:
    """A hub, and who one is there."""

    url: str
    key: str = ""  # empty: none is known for this hub
    agent: str = ""  # empty: the hub knows


def config_path(env: Mapping[str, str] | None = None) -> Path:
    """Where the memberships are written down."""
    place = (os.environ if env is None else env).get(PLACE, "")
    return Path(place).expanduser() if place else Path.home() / ".agenthub" / "config.json"


def membership(server: str = "", env: Mapping[str, str] | None = None) -> Membership:
    """Which hub, and with which key: what is asked for, else the environment, else the file.

    A key goes only to the hub it belongs to: the environment's to the environment's hub, or to the
    one asked for when the environment names none; a written one to the hub that was joined.
    """
    env = os.environ if env is None else env
    kept = read_config(config_path(env))
    named = env.get(URL, "")
    url = server or named or str(kept.get("server_url") or "")
    if not url:
        raise BadInput(f"not joined to a hub yet: run `ah join URL --name ID`, or set {URL}")
    url = parse_address(url).url
    if env.get(KEY) and (not named or parse_address(named).url == url):
        return Membership(url, env[KEY])
    return _written(kept, url)


def written(path: Path, url: str) -> Membership:
    """Who the file says one is at a hub; nobody when it does not say, or cannot be read."""
    try:
        return _written(read_config(path), url)
    except HubError:
        return Membership(url)


def read_config(path: Path) -> dict[str, Any]:
    """The file as it is, empty when there is none; HubError when it cannot be read."""
    try:
        with path.open("rb") as stream:
            found = json.loads(stream.read(MOST))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise HubError(
            500, f"{path} cannot be read as JSON: {error}. Join again to write it."
        ) from (error)
    return found if isinstance(found, dict) else {}


def write_config(path: Path, member: Membership) -> None:
    """Write a membership down, for its owner's eyes only; others that are there stay known."""
    path = path.resolve()  # a link stays a link
    try:
        old = read_config(path)
    except HubError:
        old = {}
    hubs = _hubs(old) | {member.url: {"api_key": member.key, "agent_id": member.agent}}
    first = {"server_url": member.url, "api_key": member.key, "agent_id": member.agent}
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(path, json.dumps({**first, "hubs": hubs}, indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step, readable by its owner alone from the first byte on."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def administration(
    server: str = "", file: Path | None = None, env: Mapping[str, str] | None = None
) -> Membership:
    """The hub as its admin: with the admin's key where there is one, else with one's own.

    The environment's admin key goes to this machine, or to a hub that was named with it, never to
    one that was merely joined.
    """
    env = os.environ if env is None else env
    member, key = membership(server, env), admin_key(file, env)
    if not key:
        return member
    if file is None and not (server or env.get(URL) or parse_address(member.url).is_loopback):
        raise BadInput(
            f"{ADMIN_KEYS[0]} is set, and may not be meant for {member.url}, which you joined. Say "
            "which hub it is for: --server URL."
        )
    return Membership(member.url, key)


def admin_key(file: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """The admin's key, of a file or the environment; empty when there is none."""
    if file is not None:
        return file.read_text().strip()
    env = os.environ if env is None else env
    return next((env[name] for name in ADMIN_KEYS if env.get(name)), "")


def _written(kept: Mapping[str, Any], url: str) -> Membership:
    entry = _hubs(kept).get(url, {})
    return Membership(url, str(entry.get("api_key", "")), str(entry.get("agent_id", "")))


def _hubs(kept: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """All hubs of a file by address; the first one also as the original writes it."""
    known = kept.get("hubs")
    found = {
        url: dict(entry)
        for url, entry in (known.items() if isinstance(known, dict) else ())
        if isinstance(entry, dict)
    }
    first = kept.get("server_url")
    if isinstance(first, str) and first:
        with contextlib.suppress(HubError):
            found[parse_address(first).url] = {
                "api_key": kept.get("api_key", ""),
                "agent_id": kept.get("agent_id", ""),
            }
    return found
