"""Which hub a user belongs to: the environment's, else that of `~/.agenthub/config.json`.

The file has the original client's fields (server_url, api_key, agent_id). A further field, `hubs`,
holds the keys of all hubs that were joined, so that each hub gets its own key and no other.
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
    """A hub, and the user's agent there."""

    url: str
    key: str = ""  # empty: none is known for this hub
    agent: str = ""  # empty: only the hub knows


def config_path(env: Mapping[str, str] | None = None) -> Path:
    """The file with the memberships."""
    place = (os.environ if env is None else env).get(PLACE, "")
    return Path(place).expanduser() if place else Path.home() / ".agenthub" / "config.json"


def membership(server: str = "", env: Mapping[str, str] | None = None) -> Membership:
    """The hub to use and the key for it: `server`, else the environment's hub, else the file's.

    A key goes only to the hub it belongs to. The environment's key is for the environment's hub, or
    for `server` when the environment names no hub; a key of the file is for the hub it was made by.
    BadInput when no hub is known.
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
    """The membership of a hub in a file; one without a key if the file has none or is broken."""
    try:
        return _written(read_config(path), url)
    except HubError:
        return Membership(url)


def read_config(path: Path) -> dict[str, Any]:
    """The content of the file, empty when there is none; HubError when it cannot be read."""
    try:
        with path.open("rb") as stream:
            found = json.loads(stream.read(MOST))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        message = f"{path} cannot be read as JSON: {error}. Join again to write it."
        raise HubError(500, message) from error
    return found if isinstance(found, dict) else {}


def write_config(path: Path, member: Membership) -> None:
    """Add a membership to the file, readable by its owner only; the other hubs' stay in it."""
    path = path.resolve()  # a link stays a link
    try:
        old = read_config(path)
    except HubError:
        old = {}
    entry = {"api_key": member.key, "agent_id": member.agent}
    content = {"server_url": member.url, **entry, "hubs": _hubs(old) | {member.url: entry}}
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(path, json.dumps(content, indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step; only its owner can read it, from the first byte on."""
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
    """The hub to administrate, with the admin's key if there is one, else with the user's own.

    The environment's admin key is sent to a hub on this machine, or to a hub that is named with it
    (BadInput otherwise): never to one that was merely joined.
    """
    env = os.environ if env is None else env
    member, key = membership(server, env), admin_key(file, env)
    if not key:
        return member
    if file is None and not (server or env.get(URL) or parse_address(member.url).is_loopback):
        raise BadInput(
            f"{ADMIN_KEYS[0]} is set, and may not be meant for {member.url}, which you joined. "
            "Name the hub that it is for: --server URL."
        )
    return Membership(member.url, key)


def admin_key(file: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """The admin's key, from a file or the environment; empty when there is none."""
    if file is not None:
        return file.read_text().strip()
    env = os.environ if env is None else env
    return next((env[name] for name in ADMIN_KEYS if env.get(name)), "")


def _written(kept: Mapping[str, Any], url: str) -> Membership:
    entry = _hubs(kept).get(url, {})
    return Membership(url, str(entry.get("api_key", "")), str(entry.get("agent_id", "")))


def _hubs(kept: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """All hubs of a file by address, also the one that the original client wrote."""
    known = kept.get("hubs")
    pairs = known.items() if isinstance(known, dict) else ()
    found = {url: dict(entry) for url, entry in pairs if isinstance(entry, dict)}
    first = kept.get("server_url")
    if isinstance(first, str) and first:
        with contextlib.suppress(HubError):
            own = {name: kept.get(name, "") for name in ("api_key", "agent_id")}
            found[parse_address(first).url] = own
    return found
