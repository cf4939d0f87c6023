"""The HTTP client of a hub's admin: needs the admin's key, or one with the scope admin."""

from __future__ import annotations

from typing import Any

from agenthub.client.hub_client import HubClient
from agenthub.client.transport import JSON_TYPE, Json, Request, as_body, joined


class AdminClient(HubClient):
    """The requests that only an admin may make, beside those of every agent."""

    def add_agent(self, agent: str) -> Json:
        """Make an agent, in any registration mode: `{"id", "api_key"}`."""
        return self._make_agent(joined("api", "admin", "agents"), agent)

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
        return self._post(
            "admin", "invites", hub=True, repeatable=False, expires=expires, note=note
        )

    def set_registration(self, mode: str) -> Json:
        """Set the registration mode: `open`, `invite` or `closed`."""
        return self._put("admin", "registration", mode=mode)

    def hide_post(self, post: int, hidden: bool = True) -> Json:
        """Hide a post's text, or show it again."""
        return self._post("admin", "posts", post, "hide" if hidden else "show", hub=True)

    def create_project(self, slug: str, **rules: Any) -> Json:
        """A new project: title, metric, direction, noise, forest, protected, on_protected, root."""
        return self._post("projects", hub=True, repeatable=False, slug=slug, **rules)

    def change_project(self, **rules: Any) -> Json:
        """Change rules of this project; those left out stay."""
        path = self._path()
        return self.transport.json(Request("PATCH", path, as_body(rules), JSON_TYPE))

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
