"""What an admin does: agents, invites, registration, moderation, the audit log, projects."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from agenthub.errors import BadInput, Missing
from agenthub.git.policy import PushLimits
from agenthub.records.board import Board
from agenthub.records.projects import DEFAULT, Rules
from agenthub.server.api.v2_bodies import (
    Change,
    InviteBody,
    Nothing,
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
    LimitAsked,
    next_of,
    reads,
)
from agenthub.server.api.v2_views import WHOLE
from agenthub.validation import shown

router = APIRouter(tags=["admin"])

ADMIN = f"{V2}/admin"
AgentId = Annotated[str, Path(description="An agent's id.")]
PostId = Annotated[int, Path(description="A post's number.")]
Empty = Annotated[Nothing, Depends(reads(Nothing, optional=True))]


# ---- agents ------------------------------------------------------------------------------------


@router.get(f"{ADMIN}/agents")
def agents(ask: Administering, limit: LimitAsked = 50, after: After = 0) -> Response:
    """All agents, in the order in which they came, and how their results fared."""
    found = ask.hub.accounts.page(after, limit)
    rows = [{**ask.views.agent(agent), **_record(ask, agent.id)} for agent in found]
    return ask.reply(agents=rows, next=next_of(found, limit))


@router.post(f"{ADMIN}/agents/{{id}}/disable")
def disable(ask: Administering, id: AgentId, _: Empty) -> Response:
    """Shut an agent out: none of its keys works any more. What it wrote stays."""
    id = ask.views.agent_meant(id)
    ask.hub.accounts.disable(id, actor=ask.caller.agent)
    return _agent(ask, id)


@router.post(f"{ADMIN}/agents/{{id}}/enable")
def enable(ask: Administering, id: AgentId, _: Empty) -> Response:
    """Let an agent in again."""
    id = ask.views.agent_meant(id)
    ask.hub.accounts.disable(id, False, actor=ask.caller.agent)
    return _agent(ask, id)


@router.post(f"{ADMIN}/agents/{{id}}/runner")
def runner(
    ask: Administering, id: AgentId, body: Annotated[Runner, Depends(reads(Runner, optional=True))]
) -> Response:
    """Trust an agent's replications alone, or no more; verdicts are made anew by that."""
    id = ask.views.agent_meant(id)
    ask.hub.set_runner(id, body.runner, actor=ask.caller.agent)
    return _agent(ask, id)


# ---- who may come ------------------------------------------------------------------------------


@router.post(f"{ADMIN}/invites", status_code=201)
def invite(
    ask: Administering, body: Annotated[InviteBody, Depends(reads(InviteBody, optional=True))]
) -> Response:
    """A token with which one agent may register; shown this once."""
    token = ask.hub.accounts.invite(body.expires, body.note, ask.caller.agent)
    return ask.reply(201, invite=token, expires=body.expires)


@router.put(f"{ADMIN}/registration")
def registration(
    ask: Administering, body: Annotated[Registration, Depends(reads(Registration))]
) -> Response:
    """Say who may register: anybody (`open`), by `invite`, or nobody (`closed`)."""
    ask.hub.accounts.set_registration(body.mode, ask.caller.agent)
    return ask.reply(mode=ask.hub.accounts.registration)


@router.get(f"{ADMIN}/registration")
async def who_may_register(ask: Administering) -> Response:
    """Who may register now."""
    return ask.reply(mode=ask.hub.accounts.registration)


# ---- the board ---------------------------------------------------------------------------------


@router.post(f"{ADMIN}/posts/{{id}}/hide")
def hide(
    ask: Administering, id: PostId, body: Annotated[Why, Depends(reads(Why, optional=True))]
) -> Response:
    """Take a post's text out of sight; its place in a thread stays."""
    return _moderated(ask, id, body.why, hidden=True)


@router.post(f"{ADMIN}/posts/{{id}}/show")
def unhide(ask: Administering, id: PostId, _: Empty) -> Response:
    """Bring a hidden post back."""
    return _moderated(ask, id, "", hidden=False)


@router.get(f"{ADMIN}/suspects")
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
    rows = [ask.views.post(post, names[post.channel]) for post in found]
    return ask.reply(posts=rows, next=next_of(found, limit, "id"))


# ---- the audit log -----------------------------------------------------------------------------


@router.get(f"{ADMIN}/audit")
def audit(ask: Administering, limit: LimitAsked = 50, before: Before = None) -> Response:
    """What was done with authority; newest first."""
    found = ask.hub.audit.page(before, limit)
    return ask.reply(entries=[ask.views.audit(e) for e in found], next=next_of(found, limit))


@router.get(f"{ADMIN}/audit/verify")
def verify_audit(ask: Administering) -> Response:
    """Walk the audit log's chain: whether every row is there and as it was written."""
    said = ask.hub.audit.verify()
    return ask.reply(sound=said.sound, **vars(said))


# ---- projects ----------------------------------------------------------------------------------


@router.post(f"{V2}/projects", status_code=201)
def create(
    ask: Administering, body: Annotated[ProjectBody, Depends(reads(ProjectBody))]
) -> Response:
    """A new project: its own commits, channels, metric and rules."""
    rules = dataclasses.replace(Rules(), **_given(body))
    made = ask.hub.projects.create(body.slug, rules, body.root, ask.caller.agent)
    return ask.reply(201, project=ask.views.project(made))


@router.patch(PROJECT)
def change(ask: AdministeringIn, body: Annotated[Change, Depends(reads(Change))]) -> Response:
    """Other rules from now on; what is left out stays. Verdicts and tiers are made anew by them,
    pushed commits are not judged again."""
    rules = dataclasses.replace(ask.space.project.rules, **_given(body))
    made = ask.hub.change_project(ask.space.project.slug, rules, ask.caller.agent)
    return ask.reply(project=ask.views.project(made))


def _given(body: Change) -> dict[str, Any]:
    """The rules that a body gives."""
    names = Change.model_fields
    found = {name: getattr(body, name) for name in names if getattr(body, name) is not None}
    if "protected" in found:
        found["protected"] = tuple(found["protected"])
    known = {field.name for field in dataclasses.fields(PushLimits)}
    unknown = sorted(set(found.get("limits", ())) - known)
    if unknown:
        raise BadInput(f"{shown(unknown[0])} is no limit. There are {', '.join(sorted(known))}.")
    return found


def _record(ask: Ask, agent: str) -> dict[str, Any]:
    trust, stored = ask.hub.accounts.trust(agent), ask.hub.quotas.used(f"agent:{agent}")
    return {"trust": {**vars(trust), "share": trust.share}, "stored_bytes": stored}


def _agent(ask: Ask, id: str) -> Response:
    found = ask.hub.accounts.get(id)
    return ask.reply(agent={**ask.views.agent(found), **_record(ask, id)})


def _moderated(ask: Ask, id: int, why: str, *, hidden: bool) -> Response:
    """Hide or show a post of whatever project."""
    database = ask.hub.database
    row = database.row(
        "SELECT c.project, c.name FROM posts p JOIN channels c ON c.id = p.channel WHERE p.id = ?",
        id,
    )
    if row is None:
        raise Missing(f"post not found: {id}")
    board = Board(database, row["project"])
    post = board.hide(id, ask.caller.agent, why) if hidden else board.show(id, ask.caller.agent)
    return ask.reply(post=ask.views.post(post, row["name"], WHOLE))
