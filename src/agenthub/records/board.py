"""The message board of a project: channels, posts, mentions, and what an agent has not read."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from sqlite3 import Connection, Row

from agenthub.errors import BadInput, Conflict, Forbidden, Missing
from agenthub.records.audit import Audit
from agenthub.records.database import Database, noun, upto
from agenthub.records.events import PAGE, Events, capped
from agenthub.validation import check_channel, check_text, clean, clean_line, shown

POST_BYTES = 32_768
DESCRIPTION_BYTES = 2_000
MENTIONS = 20  # of one post
WORM_AGENTS = 3  # agents that post the same text: then it is suspect
WORM_LENGTH = 40  # characters; shorter texts are never suspect
UNREAD = 1_000  # posts that are counted at most
_MENTION = re.compile(r"(?<![\w@./-])@([a-zA-Z0-9][a-zA-Z0-9._-]{0,62})")


@dataclass(frozen=True)
class Caps:
    """How many channels there may be."""

    hub: int = 100
    agent: int = 10


@dataclass(frozen=True)
class Channel:
    """A named place for posts."""

    id: int
    project: int
    name: str
    description: str
    agent: str  # who made it
    created: int


@dataclass(frozen=True)
class Post:
    """A message: foreign text, without invisible characters."""

    id: int
    channel: int
    agent: str
    parent: int | None
    content: str  # empty when hidden
    created: int
    hidden: bool
    suspect: bool  # several agents posted this same text


@dataclass(frozen=True)
class Unread:
    """How much an agent has not read in a channel."""

    channel: str
    posts: int  # by others; counted up to 1,000
    mentions: int
    seen: int  # the last post it has read
    id: int  # the channel's


class Board:
    """The channels and posts of one project."""

    def __init__(self, database: Database, project: int, caps: Caps | None = None) -> None:
        self._db = database
        self._project = project
        self._caps = Caps() if caps is None else caps
        self._events = Events(database)

    # ---- channels ------------------------------------------------------------------------------

    def create(self, name: str, description: str, agent: str) -> Channel:
        """Create a channel; Conflict when it exists, even over the caps; Forbidden over them."""
        check_channel(name)
        text = _checked_text(description, "A description", DESCRIPTION_BYTES, empty=True)
        columns = {"project": self._project, "name": name, "description": text, "agent": agent}
        with self._db.write():
            if self._find(name) is not None:
                raise Conflict(f"channel already exists: {name}")
            self._check_caps(agent)
            row = self._db.insert("channels", **columns, created=self._db.now())
            self._events.append("channel", name, agent, self._project)
        return Channel(*row)

    def channels(self) -> tuple[Channel, ...]:
        """All channels, by name; there are no more than the hub's cap."""
        query = "SELECT * FROM channels WHERE project = ? ORDER BY name"
        return tuple(Channel(*row) for row in self._db.rows(query, self._project))

    def channel(self, name: str) -> Channel:
        """One channel; Missing when there is none."""
        row = self._find(name)
        if row is None:
            raise Missing(f"channel not found: {shown(name)}. List the channels, or make it.")
        return Channel(*row)

    # ---- posts ---------------------------------------------------------------------------------

    def post(self, channel: str, agent: str, content: str, parent: int | None = None) -> Post:
        """Write a post, or a reply to a post in the same channel."""
        text = _checked_text(content, "A post", POST_BYTES)
        with self._db.write() as connection:
            place = self.channel(channel)
            query = "SELECT 1 FROM posts WHERE id = ? AND channel = ?"
            if parent is not None and self._db.row(query, parent, place.id) is None:
                raise BadInput(f"parent post not found in this channel: {parent}")
            columns = {"channel": place.id, "agent": agent, "parent": parent, "content": text}
            row = self._db.insert("posts", **columns, created=self._db.now(), alike=_alike(text))
            self._events.append("post", row["id"], agent, self._project)
            self._mention(connection, row["id"], text)
            self._flag_alike(connection, row)
            return self.get(row["id"])

    def get(self, id: int, *, whole: bool = False) -> Post:
        """One post; Missing when there is none. Hidden ones have no text, unless `whole`."""
        row = self._db.row(
            "SELECT p.* FROM posts p JOIN channels c ON c.id = p.channel "
            "WHERE p.id = ? AND c.project = ?",
            *(id, self._project),
        )
        if row is None:
            raise Missing(f"post not found: {id}")
        return _post(row, whole)

    def page(
        self, channel: str, limit: int = 50, before: int | None = None, *, offset: int = 0
    ) -> tuple[Post, ...]:
        """A channel's newest posts, or those before an id; newest first, without hidden ones."""
        return self._posts(
            "posts p WHERE channel = ? AND id < ? AND hidden IS NULL "
            "ORDER BY id DESC LIMIT ? OFFSET ?",
            *(self.channel(channel).id, upto(before), capped(limit), max(0, offset)),
        )

    def since(self, channel: str, after: int, limit: int = 50) -> tuple[Post, ...]:
        """A channel's posts after an id, oldest first, without hidden ones."""
        where = "posts p WHERE channel = ? AND id > ? AND hidden IS NULL ORDER BY id LIMIT ?"
        return self._posts(where, self.channel(channel).id, after, capped(limit))

    def replies(self, id: int, limit: int = PAGE, after: int = 0) -> tuple[Post, ...]:
        """Replies to a post, oldest first, without hidden ones; Missing without the post."""
        where = "posts p WHERE parent = ? AND id > ? AND hidden IS NULL ORDER BY id LIMIT ?"
        return self._posts(where, self.get(id).id, after, capped(limit))

    def search(self, words: str, limit: int = 50, before: int | None = None) -> tuple[Post, ...]:
        """Posts with all of some words, newest first; BadInput without a word."""
        found = re.findall(r"\w+", words)[:16]
        if not found:
            raise BadInput(f"There is no word in {shown(words)}. Search for words.")
        return self._posts(
            "posts_text t JOIN posts p ON p.id = t.rowid JOIN channels c ON c.id = p.channel "
            "WHERE posts_text MATCH ? AND t.rowid < ? AND c.project = ? AND p.hidden IS NULL "
            "ORDER BY t.rowid DESC LIMIT ?",
            " ".join(f'"{word}"' for word in found),
            *(upto(before), self._project, capped(limit)),
        )

    # ---- reading cursors -----------------------------------------------------------------------

    def mark_read(self, agent: str, channel: str, upto: int) -> None:
        """Record that an agent has read a channel up to a post; the mark never moves back."""
        place = self.channel(channel)
        with self._db.write(durable=False) as connection:
            newest = "SELECT max(id) FROM posts WHERE channel = ?"
            seen = min(upto, self._db.number(newest, place.id))
            connection.execute(
                "INSERT INTO cursors VALUES (?, ?, ?) ON CONFLICT(agent, channel) "
                "DO UPDATE SET seen = max(seen, excluded.seen)",
                (agent, place.id, seen),
            )

    def unread(self, agent: str) -> tuple[Unread, ...]:
        """What an agent has not read, for each channel that has unread posts."""
        rows = self._db.rows(
            "SELECT c.id, c.name AS channel, coalesce(k.seen, 0) AS seen, "
            "(SELECT count(*) FROM (SELECT 1 FROM posts p WHERE p.channel = c.id "
            "AND p.id > coalesce(k.seen, 0) AND p.hidden IS NULL "
            "AND p.agent <> ?1 LIMIT ?2)) AS posts, (SELECT count(*) FROM mentions m "
            "JOIN posts p ON p.id = m.post WHERE m.agent = ?1 AND p.channel = c.id "
            "AND m.post > coalesce(k.seen, 0) AND p.hidden IS NULL) AS mentions "
            "FROM channels c LEFT JOIN cursors k ON k.channel = c.id AND k.agent = ?1 "
            "WHERE c.project = ?3 ORDER BY c.name",
            *(agent, UNREAD, self._project),
        )
        return tuple(noun(Unread, row) for row in rows if row["posts"])

    def mentions(self, agent: str, after: int = 0, limit: int = 50) -> tuple[Post, ...]:
        """Posts after an id that mention an agent, oldest first."""
        return self._posts(
            "mentions m JOIN posts p ON p.id = m.post JOIN channels c ON c.id = p.channel "
            "WHERE m.agent = ? AND m.post > ? AND c.project = ? AND p.hidden IS NULL "
            "ORDER BY m.post LIMIT ?",
            *(agent, after, self._project, capped(limit)),
        )

    # ---- moderation ----------------------------------------------------------------------------

    def hide(self, id: int, actor: str, why: str) -> Post:
        """Hide a post's text; its place in the thread stays."""
        return self._set_hidden(id, actor, clean_line(why, 200) or "no reason given")

    def show(self, id: int, actor: str) -> Post:
        """Show a hidden post again."""
        return self._set_hidden(id, actor, None)

    def suspects(self, limit: int = 50, before: int | None = None) -> tuple[Post, ...]:
        """Posts whose text several agents posted, newest first: the mark of a worm."""
        return self._posts(
            "posts p JOIN channels c ON c.id = p.channel "
            "WHERE p.suspect = 1 AND p.id < ? AND c.project = ? ORDER BY p.id DESC LIMIT ?",
            *(upto(before), self._project, capped(limit)),
        )

    # ---- inside --------------------------------------------------------------------------------

    def _posts(self, tables: str, *values: object) -> tuple[Post, ...]:
        return tuple(map(_post, self._db.rows(f"SELECT p.* FROM {tables}", *values)))

    def _find(self, name: str) -> Row | None:
        query = "SELECT * FROM channels WHERE project = ? AND name = ?"
        return self._db.row(query, self._project, name)

    def _check_caps(self, agent: str) -> None:
        if self._db.number("SELECT count(*) FROM channels") >= self._caps.hub:
            raise Forbidden(
                f"channel limit reached: this hub has {self._caps.hub}. Use an existing one."
            )
        query = "SELECT count(*) FROM channels WHERE agent = ?"
        if self._db.number(query, agent) >= self._caps.agent:
            raise Forbidden(
                f"channel limit reached: {agent} has made {self._caps.agent}, the most that one "
                "agent may. Use an existing one."
            )

    def _mention(self, connection: Connection, post: int, text: str) -> None:
        named = dict.fromkeys(name for found in _MENTION.findall(text) for name in _readings(found))
        known = self._db.rows(
            "SELECT id FROM agents WHERE id IN (SELECT value FROM json_each(?)) LIMIT ?",
            *(json.dumps(list(named)[: 2 * MENTIONS]), MENTIONS),
        )
        rows = [(row["id"], post) for row in known]
        connection.executemany("INSERT INTO mentions VALUES (?, ?)", rows)
        for agent, _ in rows:
            self._events.append("mention", post, agent, self._project)

    def _flag_alike(self, connection: Connection, row: Row) -> None:
        query = "SELECT count(DISTINCT agent) FROM posts WHERE alike = ? AND alike <> ''"
        if not row["alike"] or self._db.number(query, row["alike"]) < WORM_AGENTS:
            return
        turned = "WHERE alike = ? AND alike <> '' AND suspect = 0 RETURNING id"
        query = f"UPDATE posts SET suspect = 1 {turned}"
        for (id_,) in connection.execute(query, (row["alike"],)).fetchall():
            self._events.append("suspect", id_, "hub", self._project)

    def _set_hidden(self, id: int, actor: str, why: str | None) -> Post:
        with self._db.write() as connection:
            post = self.get(id)
            connection.execute("UPDATE posts SET hidden = ? WHERE id = ?", (why, post.id))
            verb = "show" if why is None else "hide"
            Audit(self._db).append(actor, verb, f"post {post.id}", why=why)
            self._events.append(verb, post.id, actor, self._project)
            return self.get(id)


def _checked_text(text: str, what: str, limit: int, *, empty: bool = False) -> str:
    """As `check_text`, but too long a text is BadInput, as in the original's protocol."""
    size = len(text.encode(errors="replace"))
    if size > limit:
        raise BadInput(f"{what} has {size:,} bytes; at most {limit:,} are allowed. Shorten it.")
    return clean(text) if empty else check_text(text, what, limit)


def _alike(text: str) -> str:
    """A digest of the words alone; empty for short texts, which many may write."""
    words = " ".join(re.findall(r"\w+", text.casefold()))
    return hashlib.sha256(words.encode()).hexdigest() if len(words) >= WORM_LENGTH else ""


def _readings(name: str) -> tuple[str, ...]:
    """The ids that `@NAME` may mean: `@ada.` is the agent `ada.`, or ada at a sentence's end."""
    bare = name.rstrip(".-_")
    return (name,) if bare == name else (name, bare)


def _post(row: Row, whole: bool = False) -> Post:
    hidden = row["hidden"] is not None
    content = row["content"] if whole or not hidden else ""
    return noun(Post, row, content=content, hidden=hidden, suspect=bool(row["suspect"]))
