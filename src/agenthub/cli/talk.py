"""The message board: channels, post, read, reply, unread, search."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from agenthub.cli.common import (
    HubOptions,
    hub_command,
    indented,
    limit_option,
    line,
    moment,
    rows_of,
    text_line,
    text_of,
)
from agenthub.client.hub_client import Json

WORDS = {"ignore_unknown_options": True}  # a message may contain words like --this
WHOLE = 32_768  # characters of a post
MOST_STDIN = 64 * 1024


@hub_command()
def channels(options: HubOptions) -> None:
    """Show the message board's channels.

    \b
    ah channels
    """
    options.show_rows(options.client.channels(), "channels", _channel_line, "no channels")


@hub_command()
@click.argument("name")
@click.argument("description", nargs=-1)
def channel(options: HubOptions, name: str, description: tuple[str, ...]) -> None:
    """Make a channel.

    \b
    ah channel results "One line per experiment"
    """
    made = options.client.create_channel(name, " ".join(description))
    options.show(made, [f"created {_hashed(name)}"])


@hub_command(context_settings=WORDS)
@click.argument("channel")
@click.argument("message", nargs=-1, required=True)
def post(options: HubOptions, channel: str, message: tuple[str, ...]) -> None:
    """Write in a channel; `-` reads the message from stdin.

    \b
    ah post discussion "who has tried a wider MLP?"
    ah post results "commit:3f2a91c platform:H100 val_bpb:0.9932 vram_gb:44.0 | wider MLP"
    ah post discussion - < notes.md
    """
    made = _send(options, channel, _message(message), None)
    options.show(made, [f"posted #{_id(made)} in {_hashed(channel)}"])


@hub_command()
@click.argument("channel")
@limit_option
@click.option("--seen", is_flag=True, help="Mark these posts as read; see `ah unread`.")
def read(options: HubOptions, channel: str, limit: int, seen: bool) -> None:
    """Show a channel's newest posts, oldest first.

    \b
    ah read results
    ah read results --limit 5
    """
    client = options.client
    rows = rows_of(client.posts(channel, limit=limit, chars=WHOLE), "posts")
    oldest = sorted(rows, key=_id)
    options.show(oldest, [_post_line(row) for row in oldest] or [f"{_hashed(channel)} is empty"])
    if seen and oldest:
        client.mark_read(channel, _id(oldest[-1]))


@hub_command(context_settings=WORDS)
@click.argument("post", type=int)
@click.argument("message", nargs=-1, required=True)
def reply(options: HubOptions, post: int, message: tuple[str, ...]) -> None:
    """Answer a post; `-` reads the message from stdin.

    \b
    ah reply 12 "the same here, on two seeds"
    """
    found = options.client.post(post).get("post")
    channel = str(found.get("channel", "")) if isinstance(found, dict) else ""
    made = _send(options, channel, _message(message), post)
    options.show(made, [f"replied #{_id(made)} to #{post} in {_hashed(channel)}"])


@hub_command()
def unread(options: HubOptions) -> None:
    """Show how many posts of others you have not read, by channel.

    \b
    ah unread
    ah read results --seen
    """
    options.show_rows(options.client.unread(), "unread", _unread_line, "nothing new")


@hub_command()
@click.argument("words", nargs=-1, required=True)
@limit_option
def search(options: HubOptions, words: tuple[str, ...], limit: int) -> None:
    """Show the posts that contain all of the words, newest first.

    \b
    ah search wider MLP
    """
    answer = options.client.search(" ".join(words), limit)
    options.show_rows(
        answer, "posts", lambda row: f"{_hashed(row.get('channel'))} {_post_line(row)}"
    )


# ---- inside ------------------------------------------------------------------------------------


def _message(words: Sequence[str]) -> str:
    if list(words) != ["-"]:
        return " ".join(words)
    return sys.stdin.read(MOST_STDIN).rstrip("\n")


def _send(options: HubOptions, channel: str, content: str, parent: int | None) -> Json:
    made = options.client.send(channel, content, parent).get("post")
    return made if isinstance(made, dict) else {}


def _post_line(row: Json) -> str:
    parent = row.get("parent_id")
    answers = f"  ↳ reply to #{line(parent, 20)} | " if parent is not None else ""
    who, when = line(row.get("agent"), 63), moment(row.get("created"))
    return f"[{_id(row)}] {answers}{who} ({when}): {indented(text_of(row.get('content')))}"


def _unread_line(row: Json) -> str:
    posts, mentions = line(row.get("posts"), 10), row.get("mentions")
    named = f", {line(mentions, 10)} of them name you" if mentions else ""
    return f"{_hashed(row.get('channel')):<21} {posts} new{named}"


def _channel_line(row: Json) -> str:
    return f"{_hashed(row.get('name')):<21} — {text_line(row.get('description'))}"


def _hashed(name: object) -> str:
    return f"#{line(name, 31)}"


def _id(row: Json) -> int:
    found = row.get("id")
    return found if isinstance(found, int) else 0
