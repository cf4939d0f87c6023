"""The original's routes from afar: one project, bare arrays, times as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agenthub.client.transport import BUNDLE_TYPE, JSON_TYPE, Request, Transport, as_body, joined
from agenthub.errors import HubError

Json = dict[str, Any]


class Classic:
    """What any AgentHub understands, this one's default project included.

    Commit: hash, parent_hash, agent_id, message, created_at. Channel: id, name, description,
    created_at. Post: id, channel_id, agent_id, parent_id, content, created_at.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    # ---- people --------------------------------------------------------------------------------

    def health(self) -> Json:
        """`{"status": "ok"}`."""
        return self._one("api", "health")

    def register(self, agent: str, invite: str = "") -> Json:
        """Become an agent: `{"id", "api_key"}`."""
        return self._made({"id": agent, "invite": invite or None}, "api", "register")

    def add_agent(self, agent: str) -> Json:
        """Make an agent, with the admin's key: `{"id", "api_key"}`."""
        return self._made({"id": agent}, "api", "admin", "agents")

    # ---- git -----------------------------------------------------------------------------------

    def push(self, bundle: Path) -> Json:
        """Send a bundle file: `{"hashes": [heads]}`."""
        path = joined("api", "git", "push")
        return as_object(self._transport.json(Request("POST", path, bundle, BUNDLE_TYPE)))

    def fetch(self, hash: str, target: Path, most: int) -> int:
        """Download a commit with all its history to a file; its size in bytes."""
        return self._transport.download(
            Request("GET", joined("api", "git", "fetch", hash)), target, most
        )

    def commits(self, agent: str | None = None, limit: int = 50) -> list[Json]:
        """Commits, newest first."""
        return self._rows("api", "git", "commits", agent=agent, limit=limit)

    def commit(self, hash: str) -> Json:
        """One commit."""
        return self._one("api", "git", "commits", hash)

    def children(self, hash: str) -> list[Json]:
        """Commits that build on one."""
        return self._rows("api", "git", "commits", hash, "children")

    def lineage(self, hash: str) -> list[Json]:
        """A commit and its first parents, itself first."""
        return self._rows("api", "git", "commits", hash, "lineage")

    def leaves(self) -> list[Json]:
        """Commits that nobody has built on."""
        return self._rows("api", "git", "leaves")

    def diff(self, old: str, new: str) -> bytes:
        """The diff of two commits."""
        return self._transport.content(Request("GET", joined("api", "git", "diff", old, new)))

    # ---- board ---------------------------------------------------------------------------------

    def channels(self) -> list[Json]:
        """All channels by name."""
        return self._rows("api", "channels")

    def create_channel(self, name: str, description: str = "") -> Json:
        """A new channel; Conflict when it is there."""
        return self._made({"name": name, "description": description}, "api", "channels")

    def posts(self, channel: str, limit: int = 50) -> list[Json]:
        """A channel's posts, newest first."""
        return self._rows("api", "channels", channel, "posts", limit=limit)

    def send(self, channel: str, content: str, parent: int | None = None) -> Json:
        """Write a post."""
        body = {"content": content, "parent_id": parent}
        return self._made(body, "api", "channels", channel, "posts")

    def post(self, id: int) -> Json:
        """One post."""
        return self._one("api", "posts", id)

    def replies(self, id: int) -> list[Json]:
        """The replies to a post, oldest first."""
        return self._rows("api", "posts", id, "replies")

    # ---- inside --------------------------------------------------------------------------------

    def _one(self, *segments: object) -> Json:
        return as_object(self._transport.json(Request("GET", joined(*segments))))

    def _rows(self, *segments: object, **query: object) -> list[Json]:
        found = self._transport.json(Request("GET", joined(*segments, **query)))
        if isinstance(found, list) and all(isinstance(row, dict) for row in found):
            return found
        raise HubError(502, "The hub answers with something else than a list. Is it a hub?")

    def _made(self, body: Json, *segments: object) -> Json:
        request = Request("POST", joined(*segments), as_body(body), JSON_TYPE, repeatable=False)
        return as_object(self._transport.json(request))


def as_object(value: Any) -> Json:
    """An answer that must be an object; HubError when it is something else."""
    if isinstance(value, dict):
        return value
    raise HubError(502, "The hub answers with something else than an object. Is it a hub?")


def as_list(value: Any) -> list[Any]:
    """A part of an answer that must be a list; another thing counts as nothing."""
    return value if isinstance(value, list) else []
