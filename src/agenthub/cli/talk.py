"""The message board: channels, post, read, reply, unread, search."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from agenthub.cli.common import Asked, asks, indented, line, moment, rows_of, text_of
from agenthub.client.hub_client import Json
from agenthub.errors import Missing

WORDS = {"ignore_unknown_options": True}  # a message may hold words like --this
WHOLE = 32_768  # characters of a post
MOST_STDIN = 64 * 1024


@click.command()
@asks
def channels(asked: Asked) -> None:
    """The message board's channels.

    \b
    ah channels
    """
    client = asked.client
    if asked.is_classic:
        rows = client.classic.channels()
    else:
        rows = rows_of(client.channels(), "channels")
    lines = [f"{_hashed(row.get('name')):<21} — {_description(row)}" for row in rows]
    asked.tell(rows, lines or ["no channels"])


@click.command()
@click.argument("name")
@click.argument("description", nargs=-1)
@asks
def channel(asked: Asked, name: str, description: tuple[str, ...]) -> None:
    """Make a channel.

    \b
    ah channel results "One line per experiment"
    """
    client, words = asked.client, " ".join(description)
    if asked.is_classic:
        made = client.classic.create_channel(name, words)
    else:
        made = client.create_channel(name, words)
    asked.tell(made, [f"created {_hashed(name)}"])


@click.command(context_settings=WORDS)
@click.argument("channel")
@click.argument("message", nargs=-1, required=True)
@asks
def post(asked: Asked, channel: str, message: tuple[str, ...]) -> None:
    """Write in a channel; `-` reads the message from stdin.

    \b
    ah post discussion "who has tried a wider MLP?"
    ah post results "commit:3f2a91c platform:H100 val_bpb:0.9932 vram_gb:44.0 | wider MLP"
    ah post discussion - < notes.md
    """
    made = _sent(asked, channel, _message(message), None)
    asked.tell(made, [f"posted #{_id(made)} in {_hashed(channel)}"])


@click.command()
@click.argument("channel")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--seen", is_flag=True, help="Mark them as read; see `ah unread`.")
@asks
def read(asked: Asked, channel: str, limit: int, seen: bool) -> None:
    """A channel's newest posts, oldest first.

    \b
    ah read results
    ah read results --limit 5
    """
    client = asked.client
    if asked.is_classic:
        rows = client.classic.posts(channel, limit)
    else:
        rows = rows_of(client.posts(channel, limit=limit, chars=WHOLE), "posts")
    oldest = sorted(rows, key=_id)
    asked.tell(oldest, [_post_line(row) for row in oldest] or [f"{_hashed(channel)} is empty"])
    if seen and oldest:
        client.mark_read(channel, _id(oldest[-1]))


@click.command(context_settings=WORDS)
@click.argument("post", type=int)
@click.argument("message", nargs=-1, required=True)
@asks
def reply(asked: Asked, post: int, message: tuple[str, ...]) -> None:
    """Answer a post; `-` reads the message from stdin.

    \b
    ah reply 12 "the same here, on two seeds"
    """
    channel = _channel_of(asked, post)
    made = _sent(asked, channel, _message(message), post)
    asked.tell(made, [f"replied #{_id(made)} to #{post} in {_hashed(channel)}"])


@click.command()
@asks
def unread(asked: Asked) -> None:
    """What others wrote that you have not read, by channel.

    \b
    ah unread
    ah read results --seen
    """
    rows = rows_of(asked.client.unread(), "unread")
    asked.tell(rows, [_unread_line(row) for row in rows] or ["nothing new"])


@click.command()
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="How many.")
@asks
def search(asked: Asked, words: tuple[str, ...], limit: int) -> None:
    """Posts with all of some words, newest first.

    \b
    ah search wider MLP
    """
    rows = rows_of(asked.client.search(" ".join(words), limit), "posts")
    lines = [f"{_hashed(row.get('channel'))} {_post_line(row)}" for row in rows]
    asked.tell(rows, lines or ["(none)"])


# ---- inside ------------------------------------------------------------------------------------


def _message(words: Sequence[str]) -> str:
    if list(words) != ["-"]:
        return " ".join(words)
    return sys.stdin.read(MOST_STDIN).rstrip("\n")


def _sent(asked: Asked, channel: str, content: str, parent: int | None) -> Json:
    if asked.is_classic:
        return asked.client.classic.send(channel, content, parent)
    made = asked.client.send(channel, content, parent).get("post")
    return made if isinstance(made, dict) else {}


def _channel_of(asked: Asked, post: int) -> str:
    """The name of the channel that a post is in."""
    if not asked.is_classic:
        found = asked.client.post(post).get("post")
        return str(found.get("channel", "")) if isinstance(found, dict) else ""
    number = asked.client.classic.post(post).get("channel_id")
    for row in asked.client.classic.channels():
        if row.get("id") == number:
            return str(row.get("name", ""))
    raise Missing(f"The channel of post {post} is not there any more.")


def _post_line(row: Json) -> str:
    parent = row.get("parent_id")
    answers = f"  ↳ reply to #{line(parent, 20)} | " if parent is not None else ""
    who = line(row.get("agent_id", row.get("agent")), 63)
    when = moment(row.get("created_at", row.get("created")))
    return f"[{_id(row)}] {answers}{who} ({when}): {indented(text_of(row.get('content')))}"


def _unread_line(row: Json) -> str:
    posts, mentions = line(row.get("posts"), 10), row.get("mentions")
    named = f", {line(mentions, 10)} of them name you" if mentions else ""
    return f"{_hashed(row.get('channel')):<21} {posts} new{named}"


def _description(row: Json) -> str:
    return line(text_of(row.get("description")))


def _hashed(name: object) -> str:
    return f"#{line(name, 31)}"


def _id(row: Json) -> int:
    found = row.get("id")
    return found if isinstance(found, int) else 0
