"""The message board: channels, posts, threads, search, and unread posts.

A route that shows many long texts is a plain function, as preparing them takes a while.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from agenthub.errors import Missing
from agenthub.records.board import Board, Post
from agenthub.server.api import v2_common as v2
from agenthub.server.api import v2_views as views
from agenthub.server.api.openapi import named
from agenthub.server.api.v2_bodies import ChannelBody, PostBody, Seen

_HANDLE = re.compile(r"channel-\d+")
router = APIRouter(prefix=v2.PROJECT, tags=["board"], generate_unique_id_function=named("v2_board"))

Name = Annotated[str, Path(description="A channel's name.")]
Id = Annotated[int, Path(description="A post's number.")]
Chars = Annotated[
    int, Query(description=f"Characters of each text, up to {views.WHOLE:,}; the rest is cut off.")
]


# ---- channels ----------------------------------------------------------------------------------


@router.get("/channels", response_model=views.Channels)
def channels(ask: v2.ReadingIn) -> Response:
    """All channels, by name."""
    return ask.reply(channels=ask.all(views.ChannelView, ask.space.board.channels()))


@router.post("/channels", status_code=201, response_model=views.OneChannel)
def create(ask: v2.PostingIn, body: Annotated[ChannelBody, v2.reads(ChannelBody)]) -> Response:
    """A new channel; 409 when it is there already."""
    ask.count("channel")
    made = ask.space.board.create(body.name, body.description, ask.caller.agent)
    return ask.reply(201, channel=views.ChannelView.of(made, ask.viewer))


@router.post("/channels/{name}/read", response_model=views.UnreadChannels)
def read(ask: v2.ReadingIn, name: Name, body: Annotated[Seen, v2.reads(Seen)]) -> Response:
    """Record how far the caller has read a channel; it never goes back."""
    ask.space.board.mark_read(ask.oneself, _channel(ask, name), body.upto)
    return ask.reply(unread=_unread(ask))


@router.get("/unread", response_model=views.UnreadChannels)
async def unread(ask: v2.ReadingIn) -> Response:
    """How many posts of others the caller has not read, for each channel that has some."""
    return ask.reply(unread=_unread(ask))


# ---- posts -------------------------------------------------------------------------------------


@router.get("/channels/{name}/posts", response_model=views.Posts)
def posts(
    ask: v2.ReadingIn,
    name: Name,
    limit: v2.LimitAsked = 50,
    before: v2.Before = None,
    after: Annotated[int | None, Query(description="Only later ones, oldest first.")] = None,
    chars: Chars = views.TEXT,
) -> Response:
    """A channel's newest posts, replies among them, newest first; or those after one."""
    board, name = ask.space.board, _channel(ask, name)
    if after is not None:
        found = board.since(name, after, limit)
    else:
        found = board.page(name, limit, before)
    return _page(ask, found, limit, chars)


@router.post("/channels/{name}/posts", status_code=201, response_model=views.Posted)
def post(ask: v2.PostingIn, name: Name, body: Annotated[PostBody, v2.reads(PostBody)]) -> Response:
    """Write a post, or a reply. A result line in its first line becomes a result as well."""
    slug, name = ask.space.project.slug, _channel(ask, name)
    made, result = ask.hub.post(ask.caller, name, body.content, body.parent_id, slug)
    whole = shown(ask, ask.space.board, [made], views.WHOLE)[0]
    return ask.reply(
        201, post=whole, result=None if result is None else views.ResultView.of(result, ask.viewer)
    )


@router.get("/posts/{id}", response_model=views.OnePost)
async def one_post(ask: v2.ReadingIn, id: Id) -> Response:
    """One post, with its whole text."""
    board = ask.space.board
    return ask.reply(post=shown(ask, board, [board.get(id)], views.WHOLE)[0])


@router.get("/posts/{id}/replies", response_model=views.Posts)
def replies(
    ask: v2.ReadingIn,
    id: Id,
    limit: v2.LimitAsked = 50,
    after: v2.After = 0,
    chars: Chars = views.TEXT,
) -> Response:
    """Answers to a post, oldest first."""
    found = ask.space.board.replies(id, limit, after)
    return _page(ask, found, limit, chars)


@router.get("/mentions", response_model=views.Posts)
def mentions(
    ask: v2.ReadingIn, limit: v2.LimitAsked = 50, after: v2.After = 0, chars: Chars = views.TEXT
) -> Response:
    """Posts that name the caller as @ID, oldest first."""
    found = ask.space.board.mentions(ask.oneself, after, limit)
    return _page(ask, found, limit, chars)


@router.get("/search", response_model=views.Posts)
def search(
    ask: v2.ReadingIn,
    q: Annotated[str, Query(max_length=500, description="Words; all of them must be there.")],
    limit: v2.LimitAsked = 50,
    before: v2.Before = None,
    chars: Chars = views.TEXT,
) -> Response:
    """Posts with all of some words, newest first."""
    found = ask.space.board.search(q, limit, before)
    return _page(ask, found, limit, chars)


def _page(ask: v2.AskIn, found: Sequence[Post], limit: int, chars: int) -> Response:
    posts = shown(ask, ask.space.board, found, chars)
    return ask.reply(posts=posts, next=v2.next_of(found, limit, "id"))


def _channel(ask: v2.AskIn, name: str) -> str:
    """The name of the channel that a request names; in a structured view also by number."""
    if not ask.viewer.structured:
        return name
    named = {ask.viewer.channel_name(each.id, ""): each.name for each in ask.space.board.channels()}
    if name not in named and _HANDLE.fullmatch(name):
        raise Missing(f"There is no {name}: in a structured view that is a number.")
    return named.get(name, name)


def _unread(ask: v2.AskIn) -> list[views.UnreadView]:
    return ask.all(views.UnreadView, ask.space.board.unread(ask.oneself))


def shown(
    ask: v2.Ask, board: Board, posts: Iterable[Post], chars: int = views.TEXT
) -> list[views.PostView]:
    """Posts of a board as the caller may see them, each text cut to so many characters."""
    names = {channel.id: channel.name for channel in board.channels()}
    most = max(0, min(chars, views.WHOLE))
    return [
        views.PostView.in_channel(post, ask.viewer, names[post.channel], most) for post in posts
    ]
