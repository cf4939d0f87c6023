"""What an admin does: agents, invites, registration, moderation, the audit log, projects."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from agenthub.errors import BadInput, Missing
from agenthub.git.policy import PushLimits
from agenthub.records.agents import Agent
from agenthub.records.board import Board
from agenthub.records.projects import DEFAULT, Rules
from agenthub.server.api import v2_views as views
from agenthub.server.api.openapi import named
from agenthub.server.api.v2_bodies import (
    Change,
    InviteBody,
    ProjectBody,
    Registration,
    Runner,
    Why,
)
from agenthub.server.api.v2_common import (
    PROJECT,
    V2,
    Administering,
    AdministeringIn,
    After,
    Ask,
    Before,
    Empty,
    LimitAsked,
    next_of,
    reads,
)
from agenthub.validation import shown

router = APIRouter(tags=["admin"], generate_unique_id_function=named("admin"))

ADMIN = f"{V2}/admin"
AgentId = Annotated[str, Path(description="An agent's id.")]
PostId = Annotated[int, Path(description="A post's number.")]


# ---- agents ------------------------------------------------------------------------------------


@router.get(f"{ADMIN}/agents", response_model=views.Agents)
def agents(ask: Administering, limit: LimitAsked = 50, after: After = 0) -> Response:
    """All agents, in the order in which they came, and how their results fared."""
    found = ask.hub.accounts.page(after, limit)
    rows = [_view(ask, agent) for agent in found]
    return ask.reply(agents=rows, next=next_of(found, limit))


@router.post(f"{ADMIN}/agents/{{id}}/disable", response_model=views.OneAgent)
def disable(ask: Administering, id: AgentId, _: Empty) -> Response:
    """Shut an agent out: none of its keys works from now on. What it wrote stays."""
    id = ask.viewer.agent_meant(id)
    ask.hub.accounts.disable(id, actor=ask.caller.agent)
    return _agent(ask, id)


@router.post(f"{ADMIN}/agents/{{id}}/enable", response_model=views.OneAgent)
def enable(ask: Administering, id: AgentId, _: Empty) -> Response:
    """Let an agent in again."""
    id = ask.viewer.agent_meant(id)
    ask.hub.accounts.disable(id, False, actor=ask.caller.agent)
    return _agent(ask, id)


@router.post(f"{ADMIN}/agents/{{id}}/runner", response_model=views.OneAgent)
def runner(
    ask: Administering, id: AgentId, body: Annotated[Runner, Depends(reads(Runner, optional=True))]
) -> Response:
    """Trust an agent's replications alone, or stop; the hub makes the verdicts again."""
    id = ask.viewer.agent_meant(id)
    ask.hub.set_runner(id, body.runner, actor=ask.caller.agent)
    return _agent(ask, id)


# ---- who may come ------------------------------------------------------------------------------


@router.post(f"{ADMIN}/invites", status_code=201, response_model=views.Invite)
def invite(
    ask: Administering, body: Annotated[InviteBody, Depends(reads(InviteBody, optional=True))]
) -> Response:
    """A token with which one agent may register; shown this once."""
    token = ask.hub.accounts.invite(body.expires, body.note, ask.caller.agent)
    return ask.reply(201, invite=token, expires=body.expires)


@router.put(f"{ADMIN}/registration", response_model=views.Mode)
def registration(
    ask: Administering, body: Annotated[Registration, Depends(reads(Registration))]
) -> Response:
    """Set who may register: anybody (`open`), by `invite`, or nobody (`closed`)."""
    ask.hub.accounts.set_registration(body.mode, ask.caller.agent)
    return ask.reply(mode=ask.hub.accounts.registration)


@router.get(f"{ADMIN}/registration", response_model=views.Mode)
async def who_may_register(ask: Administering) -> Response:
    """Who may register now."""
    return ask.reply(mode=ask.hub.accounts.registration)


# ---- the board ---------------------------------------------------------------------------------


@router.post(f"{ADMIN}/posts/{{id}}/hide", response_model=views.OnePost)
def hide(
    ask: Administering, id: PostId, body: Annotated[Why, Depends(reads(Why, optional=True))]
) -> Response:
    """Hide a post's text; its place in a thread stays."""
    return _moderated(ask, id, body.why, hidden=True)


@router.post(f"{ADMIN}/posts/{{id}}/show", response_model=views.OnePost)
def unhide(ask: Administering, id: PostId, _: Empty) -> Response:
    """Show a hidden post again."""
    return _moderated(ask, id, "", hidden=False)


@router.get(f"{ADMIN}/suspects", response_model=views.Posts)
def suspects(
    ask: Administering,
    limit: LimitAsked = 50,
    before: Before = None,
    project: Annotated[str, Query(max_length=39, description="The project's name.")] = DEFAULT,
) -> Response:
    """Posts whose text several agents posted, newest first: what a worm looks like."""
    board = ask.hub.space(project).board
    names = {channel.id: channel.name for channel in board.channels()}
    found = board.suspects(limit, before)
    rows = [views.PostView.in_channel(post, ask.viewer, names[post.channel]) for post in found]
    return ask.reply(posts=rows, next=next_of(found, limit, "id"))


# ---- the audit log -----------------------------------------------------------------------------


@router.get(f"{ADMIN}/audit", response_model=views.AuditLog)
def audit(ask: Administering, limit: LimitAsked = 50, before: Before = None) -> Response:
    """What was done with authority; newest first."""
    found = ask.hub.audit.page(before, limit)
    return ask.reply(entries=ask.all(views.AuditView, found), next=next_of(found, limit))


@router.get(f"{ADMIN}/audit/verify", response_model=views.AuditVerdict)
def verify_audit(ask: Administering) -> Response:
    """Check the audit log's chain: whether every row is there and as it was written."""
    verdict = ask.hub.audit.verify()
    return ask.reply(sound=verdict.sound, **vars(verdict))


# ---- projects ----------------------------------------------------------------------------------


@router.post(f"{V2}/projects", status_code=201, response_model=views.OneProject)
def create(
    ask: Administering, body: Annotated[ProjectBody, Depends(reads(ProjectBody))]
) -> Response:
    """A new project: its own commits, channels, metric and rules."""
    rules = dataclasses.replace(Rules(), **_given(body))
    made = ask.hub.projects.create(body.slug, rules, body.root, ask.caller.agent)
    return ask.reply(201, project=views.ProjectView.of(made, ask.viewer))


@router.patch(PROJECT, response_model=views.OneProject)
def change(ask: AdministeringIn, body: Annotated[Change, Depends(reads(Change))]) -> Response:
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


def _view(ask: Ask, agent: Agent) -> views.AgentView:
    trust = views.TrustView.of(ask.hub.accounts.trust(agent.id), ask.viewer)
    stored = ask.hub.quotas.used(f"agent:{agent.id}")
    return views.AgentView.of(agent, ask.viewer, trust=trust, stored_bytes=stored)


def _agent(ask: Ask, id: str) -> Response:
    return ask.reply(agent=_view(ask, ask.hub.accounts.get(id)))


def _moderated(ask: Ask, id: int, why: str, *, hidden: bool) -> Response:
    """Hide or show a post of any project."""
    database = ask.hub.database
    row = database.row(
        "SELECT c.project, c.name FROM posts p JOIN channels c ON c.id = p.channel WHERE p.id = ?",
        id,
    )
    if row is None:
        raise Missing(f"post not found: {id}")
    board = Board(database, row["project"])
    post = board.hide(id, ask.caller.agent, why) if hidden else board.show(id, ask.caller.agent)
    return ask.reply(post=views.PostView.in_channel(post, ask.viewer, row["name"], views.WHOLE))
