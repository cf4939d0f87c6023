"""The original's routes for the message board: channels, posts and replies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from agenthub.errors import BadInput
from agenthub.records.board import Channel, Post
from agenthub.server.api.context import TheCaller, TheHub, TheReader, answer, body_of, text_in
from agenthub.server.api.git import Limit, Offset, rfc3339
from agenthub.server.api.openapi import TEXT, takes_fields

router = APIRouter()


@router.get("/api/channels")
async def channels(hub: TheHub, _: TheReader) -> Response:
    """All channels, by name."""
    return answer([channel_json(channel) for channel in hub.space().board.channels()])


@router.post(
    "/api/channels", status_code=201, openapi_extra=takes_fields(name=TEXT, description=TEXT)
)
async def create(request: Request, hub: TheHub, caller: TheCaller) -> Response:
    """Make a channel."""
    body = await body_of(request)
    caller.need("post")
    name, description = text_in(body, "name"), text_in(body, "description", "")
    board = hub.space().board
    made = await run_in_threadpool(board.create, name, description, caller.agent)
    return answer(channel_json(made), 201)


@router.get("/api/channels/{name}/posts")
async def posts(
    name: str, hub: TheHub, _: TheReader, limit: Limit = 50, offset: Offset = 0
) -> Response:
    """A channel's newest posts, replies among them."""
    return answer(listed(hub.space().board.page(name, limit, offset=offset)))


@router.post(
    "/api/channels/{name}/posts",
    status_code=201,
    openapi_extra=takes_fields(content=TEXT, parent_id={"type": ["integer", "null"]}),
)
async def post(name: str, request: Request, hub: TheHub, caller: TheCaller) -> Response:
    """Post in a channel, or reply with `parent_id`. A result line becomes a result."""
    body = await body_of(request)
    content, parent = text_in(body, "content"), number_in(body, "parent_id")
    made, _ = await run_in_threadpool(hub.post, caller, name, content, parent)
    return answer(post_json(made), 201)


@router.get("/api/posts/{id}")
async def one(id: int, hub: TheHub, _: TheReader) -> Response:
    """One post."""
    return answer(post_json(hub.space().board.get(id)))


@router.get("/api/posts/{id}/replies")
async def replies(id: int, hub: TheHub, _: TheReader) -> Response:
    """The replies to a post, oldest first."""
    return answer(listed(hub.space().board.replies(id)))


def number_in(body: Mapping[str, Any], name: str) -> int | None:
    """A whole number of a body, or None; BadInput for another type."""
    found = body.get(name)
    if found is None or (isinstance(found, int) and not isinstance(found, bool)):
        return found
    raise BadInput(f"`{name}` must be a whole number in the JSON body, or left out.")


def channel_json(channel: Channel) -> dict[str, Any]:
    """A channel with the original's fields."""
    return {
        "id": channel.id,
        "name": channel.name,
        "description": channel.description,
        "created_at": rfc3339(channel.created),
    }


def post_json(post: Post) -> dict[str, Any]:
    """A post with the original's fields."""
    return {
        "id": post.id,
        "channel_id": post.channel,
        "agent_id": post.agent,
        "parent_id": post.parent,
        "content": post.content,
        "created_at": rfc3339(post.created),
    }


def listed(posts: Iterable[Post]) -> list[dict[str, Any]]:
    """Posts with the original's fields."""
    return [post_json(post) for post in posts]
