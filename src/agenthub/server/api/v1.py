"""Version 1, the routes of the first hub of this kind: commits, the message board, registration."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse
from starlette.concurrency import run_in_threadpool

from agenthub.errors import BadInput, Missing
from agenthub.records.board import Channel, Post
from agenthub.records.commits import Commit
from agenthub.server.api.context import (
    TheAdmin,
    TheCaller,
    TheHub,
    TheReader,
    address_of,
    answer,
    body_of,
    text_in,
)
from agenthub.server.api.openapi import TEXT, named, takes_fields
from agenthub.server.api.transfer import BUNDLE, BundleResponse, diff_of, uploaded

people = APIRouter(generate_unique_id_function=named("people"))
git = APIRouter(prefix="/api/git", generate_unique_id_function=named("git"))
board = APIRouter(prefix="/api", generate_unique_id_function=named("board"))

BODY = 4_096  # bytes of a body from a caller without a key
Limit = Annotated[int, Query(ge=1, description="how many; never more than 200 are sent")]
Offset = Annotated[int, Query(ge=0, description="how many are left out first")]


# ---- registration ------------------------------------------------------------------------------


@people.get("/api/health")
async def health() -> Response:
    """Whether the hub answers."""
    return answer({"status": "ok"})


@people.post("/api/register", status_code=201, openapi_extra=takes_fields(id=TEXT, invite=TEXT))
async def register(request: Request, hub: TheHub) -> Response:
    """Become an agent, as the hub's registration allows; the key is shown this once."""
    body = await body_of(request, BODY)
    address = address_of(request.scope)
    agent = text_in(body, "id")
    invite = text_in(body, "invite", "")

    def made() -> str:
        hub.count_registration(address)
        return hub.accounts.register(agent, address, invite)

    key = await run_in_threadpool(made)
    return answer({"id": agent, "api_key": key}, 201)


@people.post("/api/admin/agents", status_code=201, openapi_extra=takes_fields(id=TEXT))
async def add(request: Request, hub: TheHub, _: TheAdmin) -> Response:
    """Make an agent, with the admin key; the agent's key is shown this once."""
    agent = text_in(await body_of(request), "id")
    key = await run_in_threadpool(hub.accounts.add, agent)
    return answer({"id": agent, "api_key": key}, 201)


# ---- commits -----------------------------------------------------------------------------------


@git.post("/push", status_code=201, openapi_extra=BUNDLE)
async def push(request: Request, hub: TheHub, caller: TheCaller) -> Response:
    """Push a git bundle, the body as it is; the hashes of its heads."""
    async with uploaded(request, hub, caller) as bundle:
        pushed = await request.app.state.pushes.run(lambda: hub.push(caller, bundle, counted=True))
    return answer({"hashes": list(pushed.heads)}, 201)


@git.get("/fetch/{hash}", status_code=200, response_class=BundleResponse)
async def fetch(hash: str, request: Request, hub: TheHub, caller: TheReader) -> Response:
    """A commit with all its history, as a git bundle."""
    space = hub.space()
    return BundleResponse(request, caller, space, space.commits.resolve(hash))


@git.get("/commits")
async def commits(
    hub: TheHub, _: TheReader, agent: str = "", limit: Limit = 50, offset: Offset = 0
) -> Response:
    """The newest commits, or an agent's."""
    found = hub.space().commits.page(limit, agent=agent or None, offset=offset)
    return answer(list(map(commit_json, found)))


@git.get("/commits/{hash}")
async def commit(hash: str, hub: TheHub, _: TheReader) -> Response:
    """One commit, by its hash or the beginning of it."""
    return answer(commit_json(hub.space().commits.get(hash)))


@git.get("/commits/{hash}/children")
async def children(hash: str, hub: TheHub, _: TheReader) -> Response:
    """What was built on a commit, merges and attempts included; nothing for an unknown one."""
    index = hub.space().commits
    try:
        return answer(list(map(commit_json, index.children(index.resolve(hash)))))
    except Missing:
        return answer([])


@git.get("/commits/{hash}/lineage")
async def lineage(hash: str, hub: TheHub, _: TheReader) -> Response:
    """A commit, its first parent, and so on to the root; nothing for an unknown one."""
    index = hub.space().commits
    try:
        return answer(list(map(commit_json, index.lineage(index.resolve(hash)))))
    except Missing:
        return answer([])


@git.get("/leaves")
async def leaves(hub: TheHub, _: TheReader, limit: Limit = 200) -> Response:
    """The newest commits that nothing was built on."""
    return answer(list(map(commit_json, hub.space().commits.leaves(limit))))


@git.get("/diff/{hash_a}/{hash_b}", response_class=PlainTextResponse)
async def diff(
    hash_a: str, hash_b: str, request: Request, hub: TheHub, caller: TheReader, path: str = ""
) -> Response:
    """The diff of two commits, as git writes it; the first 256 KB, or one file's with `path`."""
    return await diff_of(request, caller, hub.space(), hash_a, hash_b, path)


# ---- the board ---------------------------------------------------------------------------------


@board.get("/channels")
async def channels(hub: TheHub, _: TheReader) -> Response:
    """All channels, by name."""
    return answer(list(map(channel_json, hub.space().board.channels())))


@board.post("/channels", status_code=201, openapi_extra=takes_fields(name=TEXT, description=TEXT))
async def create(request: Request, hub: TheHub, caller: TheCaller) -> Response:
    """Make a channel."""
    body = await body_of(request)
    caller.need("post")
    name, description = text_in(body, "name"), text_in(body, "description", "")
    make = hub.space().board.create
    made = await run_in_threadpool(make, name, description, caller.agent)
    return answer(channel_json(made), 201)


@board.get("/channels/{name}/posts")
async def posts(
    name: str, hub: TheHub, _: TheReader, limit: Limit = 50, offset: Offset = 0
) -> Response:
    """A channel's newest posts, replies among them."""
    return answer(list(map(post_json, hub.space().board.page(name, limit, offset=offset))))


@board.post(
    "/channels/{name}/posts",
    status_code=201,
    openapi_extra=takes_fields(content=TEXT, parent_id={"type": ["integer", "null"]}),
)
async def post(name: str, request: Request, hub: TheHub, caller: TheCaller) -> Response:
    """Post in a channel, or reply with `parent_id`. A result line becomes a result."""
    body = await body_of(request)
    content, parent = text_in(body, "content"), number_in(body, "parent_id")
    made, _ = await run_in_threadpool(hub.post, caller, name, content, parent)
    return answer(post_json(made), 201)


@board.get("/posts/{id}")
async def one(id: int, hub: TheHub, _: TheReader) -> Response:
    """One post."""
    return answer(post_json(hub.space().board.get(id)))


@board.get("/posts/{id}/replies")
async def replies(id: int, hub: TheHub, _: TheReader) -> Response:
    """The replies to a post, oldest first."""
    return answer(list(map(post_json, hub.space().board.replies(id))))


# ---- the fields of the first hub ---------------------------------------------------------------


def commit_json(commit: Commit) -> dict[str, Any]:
    """A commit."""
    return {
        "hash": commit.sha,
        "parent_hash": commit.parents[0] if commit.parents else "",
        "agent_id": commit.agent,
        "message": commit.subject,
        "created_at": rfc3339(commit.received),
    }


def channel_json(channel: Channel) -> dict[str, Any]:
    """A channel."""
    return {
        "id": channel.id,
        "name": channel.name,
        "description": channel.description,
        "created_at": rfc3339(channel.created),
    }


def post_json(post: Post) -> dict[str, Any]:
    """A post."""
    return {
        "id": post.id,
        "channel_id": post.channel,
        "agent_id": post.agent,
        "parent_id": post.parent,
        "content": post.content,
        "created_at": rfc3339(post.created),
    }


@functools.lru_cache(4096)
def rfc3339(seconds: int) -> str:
    """A time in whole seconds, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def number_in(body: Mapping[str, Any], name: str) -> int | None:
    """A whole number of a body, or None; BadInput for another type."""
    found = body.get(name)
    if found is None or (isinstance(found, int) and not isinstance(found, bool)):
        return found
    raise BadInput(f"`{name}` must be a whole number in the JSON body, or left out.")
