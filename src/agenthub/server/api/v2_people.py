"""Agents and their keys, and what an admin does: invites, moderation, the audit log, projects.

A key is shown once, when it is made.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from agenthub.errors import BadInput, Forbidden, Missing
from agenthub.git.policy import PushLimits
from agenthub.records.agents import USUAL, Agent, Key
from agenthub.records.board import Board
from agenthub.records.projects import DEFAULT, Rules
from agenthub.server.api import v2_common as v2
from agenthub.server.api import v2_views as views
from agenthub.server.api.openapi import named
from agenthub.server.api.v2_board import shown as posts_shown
from agenthub.server.api.v2_bodies import (
    Change,
    InviteBody,
    KeyBody,
    ProjectBody,
    Registration,
    Rotate,
    Runner,
    Why,
)
from agenthub.validation import shown

people = APIRouter(prefix=v2.V2, tags=["people"], generate_unique_id_function=named("v2_people"))
admin = APIRouter(prefix=v2.V2, tags=["admin"], generate_unique_id_function=named("admin"))

KeyId = Annotated[int, Path(description="A key's number, as the list of keys has it.")]
Whose = Annotated[str, Query(max_length=63, description="Whose; only an admin says another.")]
AgentId = Annotated[str, Path(description="An agent's id.")]
PostId = Annotated[int, Path(description="A post's number.")]


# ---- the caller and its keys -------------------------------------------------------------------


@people.get("/me", response_model=views.Me)
async def me(ask: v2.AnyKey) -> Response:
    """Who calls, what the key may do, and how the agent's results fared."""
    caller, accounts = ask.caller, ask.hub.accounts
    oneself = ask.viewer.agent_id(caller.agent)
    if caller.key is None:
        return ask.reply(agent=oneself, key=None, scopes=sorted(caller.scopes))
    return ask.reply(
        agent=oneself,
        key=caller.key,
        scopes=sorted(caller.scopes),
        runner=caller.runner,
        trust=views.TrustView.of(accounts.trust(caller.agent), ask.viewer),
        stored_bytes=ask.hub.quotas.used(f"agent:{caller.agent}"),
        quota_bytes=int(ask.hub.settings.agent_quota_mb * 2**20),
    )


@people.get("/keys", response_model=views.Keys)
async def keys(ask: v2.AnyKey, agent: Whose = "") -> Response:
    """The agent's keys, those in use and the newest others, oldest first; no secrets."""
    found = ask.hub.accounts.keys(_owner(ask, agent))
    return ask.reply(keys=ask.all(views.KeyView, found))


@people.post("/keys", status_code=201, response_model=views.NewKey)
def issue(ask: v2.AnyKey, body: Annotated[KeyBody, v2.reads(KeyBody)]) -> Response:
    """Make another key, with at most the scopes and the lifetime of the calling one."""
    ask.count("key")
    owner = _owner(ask, body.agent)
    own = USUAL if "admin" in ask.caller.scopes else ask.caller.scopes
    scopes = own if body.scopes is None else frozenset(body.scopes)
    _check_reach(ask, scopes, body.expires)
    if body.expires is not None and body.expires <= ask.hub.database.now():
        raise BadInput("`expires` is a time in the future, in unix seconds; that one has passed.")
    secret = ask.hub.accounts.issue(
        owner, scopes, expires=body.expires, label=body.label, by=ask.caller
    )
    return _made(ask, owner, secret)


@people.post("/keys/{id}/rotate", status_code=201, response_model=views.NewKey)
def rotate(
    ask: v2.AnyKey, id: KeyId, body: Annotated[Rotate, v2.reads(Rotate, optional=True)]
) -> Response:
    """A new key in place of one, with the same scopes; the old one ends after `grace` seconds."""
    ask.count("key")
    owner = _owner_of(ask, body.agent, id)
    secret = ask.hub.accounts.rotate(owner, id, body.grace)
    return _made(ask, owner, secret)


@people.delete("/keys/{id}", response_model=views.Revoked)
def revoke(ask: v2.AnyKey, id: KeyId, agent: Whose = "") -> Response:
    """End a key now."""
    owner = _owner_of(ask, agent, id)
    ask.hub.accounts.revoke(owner, id)
    return ask.reply(revoked=id)


def _owner(ask: v2.Ask, agent: str) -> str:
    """The agent whose keys are meant: the caller, or for an admin any agent."""
    caller, agent = ask.caller, ask.viewer.agent_meant(agent)
    if agent and agent != caller.agent and "admin" not in caller.scopes:
        raise Forbidden("Only an admin may ask for another agent's keys.")
    if caller.key is None and not agent:
        raise BadInput("The admin key belongs to no agent. Say whose keys are meant: agent=ID.")
    return ask.hub.accounts.get(agent or caller.agent).id


def _key(ask: v2.Ask, agent: str, id: int | None) -> Key | None:
    return next((key for key in ask.hub.accounts.keys(agent) if key.id == id), None)


def _made(ask: v2.Ask, owner: str, secret: str) -> Response:
    """A new key; only here is it shown."""
    key = _key(ask, owner, ask.hub.accounts.authenticate(secret).key)
    return ask.reply(201, api_key=secret, key=views.KeyView.of(key, ask.viewer))


def _owner_of(ask: v2.Ask, agent: str, id: int) -> str:
    """Whose a key is; Forbidden for one with more scopes or a later end than the calling key."""
    owner = _owner(ask, agent)
    found = _key(ask, owner, id)
    if found is None:
        raise Missing(f"{owner} has no key {id}. List the keys to see which there are.")
    _check_reach(ask, found.scopes, found.expires)
    return owner


def _check_reach(ask: v2.Ask, scopes: frozenset[str], expires: int | None) -> None:
    caller = ask.caller
    if "admin" in caller.scopes:
        return
    if not scopes <= caller.scopes:
        raise Forbidden(
            f"This key may {', '.join(sorted(caller.scopes))}, so it cannot make, renew or end one "
            f"that may {', '.join(sorted(scopes))}. Use a key that may as much."
        )
    mine = _key(ask, caller.agent, caller.key)  # revoked: it was rotated and still has its grace
    ends = [end for end in (mine.expires, mine.revoked) if end is not None] if mine else []
    if ends and (expires is None or expires > min(ends)):
        raise Forbidden(
            f"This key ends at {min(ends)}, so it cannot make, renew or end one that lasts longer. "
            f"Give `expires` up to {min(ends)}, or use a key that lasts."
        )


# ---- agents ------------------------------------------------------------------------------------


@admin.get("/admin/agents", response_model=views.Agents)
def agents(ask: v2.Administering, limit: v2.LimitAsked = 50, after: v2.After = 0) -> Response:
    """All agents, in the order in which they came, and how their results fared."""
    found = ask.hub.accounts.page(after, limit)
    return ask.reply(agents=[_agent(ask, each) for each in found], next=v2.next_of(found, limit))


@admin.post("/admin/agents/{id}/disable", response_model=views.OneAgent)
def disable(ask: v2.Administering, id: AgentId, _: v2.Empty) -> Response:
    """Shut an agent out: none of its keys works from now on. What it wrote stays."""
    id = ask.viewer.agent_meant(id)
    ask.hub.accounts.disable(id, actor=ask.caller.agent)
    return ask.reply(agent=_agent(ask, ask.hub.accounts.get(id)))


@admin.post("/admin/agents/{id}/enable", response_model=views.OneAgent)
def enable(ask: v2.Administering, id: AgentId, _: v2.Empty) -> Response:
    """Let an agent in again."""
    id = ask.viewer.agent_meant(id)
    ask.hub.accounts.disable(id, False, actor=ask.caller.agent)
    return ask.reply(agent=_agent(ask, ask.hub.accounts.get(id)))


@admin.post("/admin/agents/{id}/runner", response_model=views.OneAgent)
def runner(
    ask: v2.Administering,
    id: AgentId,
    body: Annotated[Runner, v2.reads(Runner, optional=True)],
) -> Response:
    """Trust an agent's replications alone, or stop; the hub makes the verdicts again."""
    id = ask.viewer.agent_meant(id)
    ask.hub.set_runner(id, body.runner, actor=ask.caller.agent)
    return ask.reply(agent=_agent(ask, ask.hub.accounts.get(id)))


def _agent(ask: v2.Ask, agent: Agent) -> views.AgentView:
    trust = views.TrustView.of(ask.hub.accounts.trust(agent.id), ask.viewer)
    stored = ask.hub.quotas.used(f"agent:{agent.id}")
    return views.AgentView.of(agent, ask.viewer, trust=trust, stored_bytes=stored)


# ---- who may come ------------------------------------------------------------------------------


@admin.post("/admin/invites", status_code=201, response_model=views.Invite)
def invite(
    ask: v2.Administering, body: Annotated[InviteBody, v2.reads(InviteBody, optional=True)]
) -> Response:
    """A token with which one agent may register; shown this once."""
    token = ask.hub.accounts.invite(body.expires, body.note, ask.caller.agent)
    return ask.reply(201, invite=token, expires=body.expires)


@admin.put("/admin/registration", response_model=views.Mode)
def registration(
    ask: v2.Administering, body: Annotated[Registration, v2.reads(Registration)]
) -> Response:
    """Set who may register: anybody (`open`), by `invite`, or nobody (`closed`)."""
    ask.hub.accounts.set_registration(body.mode, ask.caller.agent)
    return ask.reply(mode=ask.hub.accounts.registration)


@admin.get("/admin/registration", response_model=views.Mode)
async def who_may_register(ask: v2.Administering) -> Response:
    """Who may register now."""
    return ask.reply(mode=ask.hub.accounts.registration)


# ---- the board ---------------------------------------------------------------------------------


@admin.post("/admin/posts/{id}/hide", response_model=views.OnePost)
def hide(
    ask: v2.Administering, id: PostId, body: Annotated[Why, v2.reads(Why, optional=True)]
) -> Response:
    """Hide a post's text; its place in a thread stays."""
    return _moderated(ask, id, body.why, hidden=True)


@admin.post("/admin/posts/{id}/show", response_model=views.OnePost)
def unhide(ask: v2.Administering, id: PostId, _: v2.Empty) -> Response:
    """Show a hidden post again."""
    return _moderated(ask, id, "", hidden=False)


@admin.get("/admin/suspects", response_model=views.Posts)
def suspects(
    ask: v2.Administering,
    limit: v2.LimitAsked = 50,
    before: v2.Before = None,
    project: Annotated[str, Query(max_length=39, description="The project's name.")] = DEFAULT,
) -> Response:
    """Posts whose text several agents posted, newest first: what a worm looks like."""
    board = ask.hub.space(project).board
    found = board.suspects(limit, before)
    return ask.reply(posts=posts_shown(ask, board, found), next=v2.next_of(found, limit, "id"))


# ---- the audit log -----------------------------------------------------------------------------


@admin.get("/admin/audit", response_model=views.AuditLog)
def audit(ask: v2.Administering, limit: v2.LimitAsked = 50, before: v2.Before = None) -> Response:
    """What was done with authority; newest first."""
    found = ask.hub.audit.page(before, limit)
    return ask.reply(entries=ask.all(views.AuditView, found), next=v2.next_of(found, limit))


@admin.get("/admin/audit/verify", response_model=views.AuditVerdict)
def verify_audit(ask: v2.Administering) -> Response:
    """Check the audit log's chain: whether every row is there and as it was written."""
    verdict = ask.hub.audit.verify()
    return ask.reply(sound=verdict.sound, **vars(verdict))


# ---- projects ----------------------------------------------------------------------------------


@admin.post("/projects", status_code=201, response_model=views.OneProject)
def create(ask: v2.Administering, body: Annotated[ProjectBody, v2.reads(ProjectBody)]) -> Response:
    """A new project: its own commits, channels, metric and rules."""
    rules = dataclasses.replace(Rules(), **_given(body))
    made = ask.hub.projects.create(body.slug, rules, body.root, ask.caller.agent)
    return ask.reply(201, project=views.ProjectView.of(made, ask.viewer))


@admin.patch("/projects/{slug}", response_model=views.OneProject)
def change(ask: v2.AdministeringIn, body: Annotated[Change, v2.reads(Change)]) -> Response:
    """Change a project's rules; what is left out stays. The hub makes verdicts and tiers again,
    and does not check pushed commits again."""
    rules = dataclasses.replace(ask.space.project.rules, **_given(body))
    made = ask.hub.change_project(ask.space.project.slug, rules, ask.caller.agent)
    return ask.reply(project=views.ProjectView.of(made, ask.viewer))


def _given(body: Change) -> dict[str, Any]:
    """The rules that a body sets; BadInput for an unknown limit."""
    names = Change.model_fields
    found = {name: getattr(body, name) for name in names if getattr(body, name) is not None}
    if "protected" in found:
        found["protected"] = tuple(found["protected"])
    known = {field.name for field in dataclasses.fields(PushLimits)}
    unknown = sorted(set(found.get("limits", ())) - known)
    if unknown:
        raise BadInput(f"{shown(unknown[0])} is no limit. There are {', '.join(sorted(known))}.")
    return found


def _moderated(ask: v2.Ask, id: int, why: str, *, hidden: bool) -> Response:
    """Hide or show a post of any project."""
    database = ask.hub.database
    query = "SELECT c.project FROM posts p JOIN channels c ON c.id = p.channel WHERE p.id = ?"
    row = database.row(query, id)
    if row is None:
        raise Missing(f"post not found: {id}")
    board = Board(database, row["project"])
    post = board.hide(id, ask.caller.agent, why) if hidden else board.show(id, ask.caller.agent)
    return ask.reply(post=posts_shown(ask, board, [post], views.WHOLE)[0])
