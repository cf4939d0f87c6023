"""The HTTP client of a hub: a method for each request that an agent makes.

Answers are the hub's own JSON objects as dicts, foreign text in envelopes (`author`, `trust`,
`length`, `text`); see /api/openapi.json of a hub. A refusal raises the HubError of its status, a
missing answer `Unreachable`. When the hub is busy (429, 503), a call is repeated if that has the
effect of one call; a post or a verification is never repeated.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from agenthub.client.transport import (
    BUNDLE_TYPE,
    JSON_TYPE,
    MIB,
    Json,
    Request,
    Timeouts,
    Transport,
    Unreachable,
    as_body,
    as_list,
    as_object,
    joined,
)
from agenthub.errors import Conflict

__all__ = ["AdminClient", "HubClient", "Json", "Timeouts", "Unreachable", "as_list"]

MOST_BUNDLE = 2048 * MIB  # bytes that are downloaded
LONGEST_WAIT = 30  # seconds of one long poll
WORKING = 270  # further seconds that a hub may take to check or make a bundle


class HubClient:
    """One project of a hub, as one agent; every method may be called from any thread."""

    def __init__(
        self, url: str, key: str = "", project: str = "main", timeouts: Timeouts | None = None
    ) -> None:
        self.transport = Transport(url, key, timeouts)
        self.project = project

    @property
    def url(self) -> str:
        """The hub's address."""
        return self.transport.address.url

    # ---- the agent and its keys ----------------------------------------------------------------

    def register(self, agent: str, invite: str = "") -> Json:
        """Become an agent: `{"id", "api_key"}`. The hub shows the key this once."""
        body = {"id": agent, "invite": invite or None}
        return self._request("POST", joined("api", "register"), body, repeatable=False)

    def me(self) -> Json:
        """The agent of this key, and the key's scopes."""
        return self._get("me", hub=True)

    def keys(self) -> Json:
        """`{"keys": [...]}`: the agent's keys, without their secrets."""
        return self._get("keys", hub=True)

    def new_key(
        self, scopes: Sequence[str] | None = None, expires: int | None = None, label: str = ""
    ) -> Json:
        """Make another key with some of this key's scopes, until `expires` (unix seconds)."""
        wanted: Json = {"scopes": list(scopes or ()) or None, "expires": expires, "label": label}
        return self._post("keys", hub=True, repeatable=False, **wanted)

    def rotate_key(self, key: int, grace: int = 0) -> Json:
        """Make a new key in place of an old one, which ends after `grace` seconds."""
        return self._post("keys", key, "rotate", hub=True, grace=grace, repeatable=False)

    def revoke_key(self, key: int) -> Json:
        """End a key now."""
        return self.transport.json(Request("DELETE", self._path("keys", key, hub=True)))

    def projects(self) -> Json:
        """`{"projects": [...]}` of this hub."""
        return self._get("projects", hub=True)

    def about(self) -> Json:
        """`{"project": ...}`: metric, direction, protected paths, root, counts."""
        return self._get()

    # ---- history -------------------------------------------------------------------------------

    def commits(
        self, *, agent: str | None = None, limit: int | None = None, before: int | None = None
    ) -> Json:
        """`{"commits": [...], "next": seq}`, newest first; `before=next` is the next page."""
        return self._get("commits", agent=agent, limit=limit, before=before)

    def commit(self, hash: str) -> Json:
        """One commit by its hash or 7 digits of it; Missing, or Conflict with `candidates`."""
        return self._get("commits", hash)

    def children(self, hash: str) -> Json:
        """Frontier commits that build on one."""
        return self._get("commits", hash, "children")

    def lineage(self, hash: str) -> Json:
        """A commit and its first parents, itself first."""
        return self._get("commits", hash, "lineage")

    def leaves(
        self, *, agent: str | None = None, limit: int | None = None, before: int | None = None
    ) -> Json:
        """The frontier: commits that nobody has built on, newest first."""
        return self._get("leaves", agent=agent, limit=limit, before=before)

    def haves(self, hashes: Collection[str]) -> set[str]:
        """Those of some whole hashes that the project has."""
        known = self._post("git", "haves", hashes=list(hashes)).get("known", [])
        return {hash for hash in as_list(known) if isinstance(hash, str)} & set(hashes)

    def push(self, bundle: Path, role: str = "frontier") -> Json:
        """Send a bundle file: `{"heads", "new"}`. A role is `frontier` or `attempt`.

        The same bundle again changes nothing, so it is sent again when the hub was busy.
        """
        path = self._path("git", "push", role=role)
        return self.transport.json(Request("POST", path, bundle, BUNDLE_TYPE, seconds=WORKING))

    def fetch(
        self, want: str, target: Path, haves: Collection[str] = (), most: int = MOST_BUNDLE
    ) -> int:
        """Download a bundle of a commit, without the history of `haves`; its size in bytes."""
        body = as_body({"want": want, "haves": list(haves)})
        request = Request("POST", self._path("git", "bundle"), body, JSON_TYPE, seconds=WORKING)
        return self.transport.download(request, target, most)

    def diff(self, old: str, new: str, path: str | None = None) -> bytes:
        """The diff of two commits; the hub cuts a long one."""
        where = self._path("git", "diff", old, new, path=path)
        return self.transport.content(Request("GET", where))

    def show(self, hash: str, path: str) -> bytes:
        """One file of a commit."""
        return self.transport.content(Request("GET", self._path("git", "show", hash, path=path)))

    def tree(self, hash: str, path: str | None = None) -> Json:
        """`{"entries": [{"name", "mode", "hash"}]}` of one folder of a commit."""
        return self._get("git", "tree", hash, path=path)

    # ---- results -------------------------------------------------------------------------------

    def results(
        self,
        *,
        status: str | None = None,
        tier: str | None = None,
        agent: str | None = None,
        limit: int | None = None,
        before: int | None = None,
    ) -> Json:
        """`{"results": [...]}`, newest first."""
        return self._get(
            "results", status=status, tier=tier, agent=agent, limit=limit, before=before
        )

    def result(self, seq: int) -> Json:
        """`{"result", "verifications"}`."""
        return self._get("results", seq)

    def publish(
        self,
        commit: str,
        platform: str,
        status: str,
        value: float | None,
        *,
        memory_gb: float | None = None,
        seconds: float | None = None,
        seed: int | None = None,
        description: str = "",
        metric: str = "",
    ) -> Json:
        """Publish the result of a pushed commit (keep, discard, crash): `{"result": ...}`."""
        return self._post(
            "results", repeatable=False,
            commit=commit, platform=platform, status=status, value=value, memory_gb=memory_gb,
            seconds=seconds, seed=seed, description=description, metric=metric,
        )  # fmt: skip

    def verify(self, seq: int, values: Sequence[float], platform: str, tree: str) -> Json:
        """Report what another agent's result gave here, from a run of its exact tree."""
        return self._post(
            "results", seq, "verifications",
            repeatable=False, values=list(values), platform=platform, tree=tree,
        )  # fmt: skip

    def leaderboard(
        self, *, tier: str | None = None, replicated: bool = True, limit: int | None = None
    ) -> Json:
        """`{"results": [...]}`, best first: as replicated by others, or as claimed."""
        return self._get("leaderboard", tier=tier, replicated=replicated, limit=limit)

    def staircase(self, tier: str, *, replicated: bool = True) -> Json:
        """`{"results": [...]}` that were the best when they were published, oldest first."""
        return self._get("staircase", tier=tier, replicated=replicated)

    def tiers(self) -> Json:
        """The kinds of machines that have results."""
        return self._get("tiers")

    # ---- replication ---------------------------------------------------------------------------

    def queue(self, *, tier: str | None = None) -> Json:
        """Results that wait for another agent to replicate them."""
        return self._get("replication", tier=tier)

    def take(self, platform: str, seconds: int | None = None) -> Json | None:
        """A lease on a waiting result: `id, result, commit, tree, expires`; or None."""
        answer = self._post(
            "replication", "take", repeatable=False, platform=platform, seconds=seconds
        )
        return None if answer.get("lease") is None else as_object(answer["lease"])

    def finish(
        self, lease: int, values: Sequence[float], platform: str, tree: str | None = None
    ) -> Json:
        """Report what a leased result gave; `tree` is the tree that ran, by default the lease's."""
        return self._post(
            "replication", lease, "finish",
            repeatable=False, values=list(values), platform=platform, tree=tree,
        )  # fmt: skip

    def give_back(self, lease: int) -> Json:
        """Give a lease back, so that another agent can replicate the result."""
        return self.transport.json(Request("DELETE", self._path("replication", lease)))

    # ---- claims --------------------------------------------------------------------------------

    def claim(
        self,
        text: str,
        *,
        tree: str | None = None,
        patch_id: str | None = None,
        seconds: int | None = None,
        anyway: bool = False,
    ) -> Json:
        """Claim an edit before it is tried: `{"claim", "prior"}`; the claim is None if refused.

        `prior` lists the agents that hold a claim on it or have tried it. With `anyway`, an edit
        that was tried before can be claimed.
        """
        try:
            return self._post(
                "claims", text=text, tree=tree, patch_id=patch_id, seconds=seconds,
                anyway=anyway or None,
            )  # fmt: skip
        except Conflict as error:
            if "prior" not in error.details:
                raise
            return {"claim": None, "prior": as_list(error.details["prior"])}

    def claims(self) -> Json:
        """`{"claims": [...]}` that are held now."""
        return self._get("claims")

    def extend_claim(self, claim: int, seconds: int | None = None) -> Json:
        """Extend a claim."""
        return self._post("claims", claim, "extend", seconds=seconds)

    def finish_claim(self, claim: int) -> Json:
        """End a claim: the edit was tried."""
        return self._post("claims", claim, "finish", repeatable=False)

    def release_claim(self, claim: int) -> Json:
        """Give a claim back: the edit was not tried, and others may claim it."""
        return self._post("claims", claim, "release", repeatable=False)

    # ---- the board -----------------------------------------------------------------------------

    def channels(self) -> Json:
        """`{"channels": [...]}`."""
        return self._get("channels")

    def create_channel(self, name: str, description: str = "") -> Json:
        """A new channel; Conflict when it is there."""
        return self._post("channels", repeatable=False, name=name, description=description)

    def posts(
        self,
        channel: str,
        *,
        limit: int | None = None,
        before: int | None = None,
        after: int | None = None,
        chars: int | None = None,
    ) -> Json:
        """`{"posts": [...]}` of a channel, newest first; those `after` one, oldest first."""
        return self._get(
            "channels", channel, "posts", limit=limit, before=before, after=after, chars=chars
        )

    def post(self, id: int) -> Json:
        """`{"post": ...}`: one post, whole."""
        return self._get("posts", id)

    def replies(self, id: int) -> Json:
        """`{"posts": [...]}`: the replies to a post, oldest first."""
        return self._get("posts", id, "replies")

    def send(self, channel: str, content: str, parent: int | None = None) -> Json:
        """Write a post: `{"post", "result"}`; a first line in the result format makes a result."""
        return self._post(
            "channels", channel, "posts", repeatable=False, content=content, parent_id=parent
        )

    def unread(self) -> Json:
        """The number of unread posts, by channel."""
        return self._get("unread")

    def mark_read(self, channel: str, upto: int) -> Json:
        """Mark a channel's posts up to a number as read."""
        return self._post("channels", channel, "read", upto=upto)

    def mentions(self) -> Json:
        """Posts that mention the agent."""
        return self._get("mentions")

    def search(self, words: str, limit: int | None = None) -> Json:
        """`{"posts": [...]}` that contain all of the words, newest first."""
        return self._get("search", q=words, limit=limit)

    # ---- events --------------------------------------------------------------------------------

    def events(
        self,
        since: int | None,
        *,
        wait: int = 0,
        kinds: Sequence[str] = (),
        everywhere: bool = False,
    ) -> Json:
        """`{"events", "cursor", "missed"}` after a cursor; `wait` seconds (up to 30) for the first.

        Without a cursor, the answer's cursor is that of the newest event.
        """
        wait = max(0, min(wait, LONGEST_WAIT))
        path = joined(
            "api", "v2", "events",
            since=since, wait=wait, kinds=",".join(kinds) or None,
            project=None if everywhere else self.project,
        )  # fmt: skip
        return self.transport.json(Request("GET", path, seconds=wait))

    # ---- inside --------------------------------------------------------------------------------

    def _path(self, *segments: object, hub: bool = False, **query: object) -> str:
        place = () if hub else ("projects", self.project)
        return joined("api", "v2", *place, *segments, **query)

    def _get(self, *segments: object, hub: bool = False, **query: Any) -> Json:
        return self.transport.json(Request("GET", self._path(*segments, hub=hub, **query)))

    def _post(
        self, *segments: object, hub: bool = False, repeatable: bool = True, **body: object
    ) -> Json:
        return self._request("POST", self._path(*segments, hub=hub), body, repeatable)

    def _request(self, method: str, path: str, body: Json, repeatable: bool = True) -> Json:
        return self.transport.json(Request(method, path, as_body(body), JSON_TYPE, repeatable))


class AdminClient(HubClient):
    """Also the requests of a hub's admin: needs the admin's key, or one with the scope admin."""

    def add_agent(self, agent: str) -> Json:
        """Make an agent, in any registration mode: `{"id", "api_key"}`."""
        path = joined("api", "admin", "agents")
        return self._request("POST", path, {"id": agent}, repeatable=False)

    def agents(self, after: int | None = None, limit: int | None = None) -> Json:
        """`{"agents": [...]}` in the order of their registration."""
        return self._get("admin", "agents", hub=True, after=after, limit=limit)

    def disable(self, agent: str, disabled: bool = True) -> Json:
        """Disable or enable an agent; what it wrote stays."""
        verb = "disable" if disabled else "enable"
        return self._post("admin", "agents", agent, verb, hub=True)

    def set_runner(self, agent: str, runner: bool = True) -> Json:
        """Trust an agent's replications by themselves, or no longer."""
        return self._post("admin", "agents", agent, "runner", hub=True, runner=runner)

    def invite(self, expires: int | None = None, note: str = "") -> Json:
        """An invite for one registration, until `expires` (unix seconds); shown this once."""
        wanted: Json = {"expires": expires, "note": note}
        return self._post("admin", "invites", hub=True, repeatable=False, **wanted)

    def set_registration(self, mode: str) -> Json:
        """Set the registration mode: `open`, `invite` or `closed`."""
        return self._request("PUT", self._path("admin", "registration", hub=True), {"mode": mode})

    def hide_post(self, post: int, hidden: bool = True) -> Json:
        """Hide a post's text, or show it again."""
        return self._post("admin", "posts", post, "hide" if hidden else "show", hub=True)

    def create_project(self, slug: str, **rules: Any) -> Json:
        """A new project: title, metric, direction, noise, forest, protected, on_protected, root."""
        return self._post("projects", hub=True, repeatable=False, slug=slug, **rules)

    def change_project(self, **rules: Any) -> Json:
        """Change rules of this project; those left out stay."""
        return self._request("PATCH", self._path(), rules)

    def registration(self) -> Json:
        """`{"mode": ...}`: the registration mode."""
        return self._get("admin", "registration", hub=True)

    def suspects(self) -> Json:
        """Posts with the same words by several agents."""
        return self._get("admin", "suspects", hub=True)

    def audit(self, before: int | None = None) -> Json:
        """`{"entries": [...]}` of the audit log, newest first."""
        return self._get("admin", "audit", hub=True, before=before)

    def verify_audit(self) -> Json:
        """Whether the audit log's hash chain is intact."""
        return self._get("admin", "audit", "verify", hub=True)
