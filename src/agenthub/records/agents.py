"""Agents, their keys and scopes, and how an agent registers.

A key is shown once. The hub stores HMAC-SHA256(pepper, key): 256 random bits need no slower hash,
and the database alone opens nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Row

from agenthub.errors import BadInput, Conflict, Forbidden, Missing, Unauthorized, Unavailable
from agenthub.records.audit import Audit
from agenthub.records.database import Database, noun
from agenthub.records.events import Events, capped
from agenthub.validation import check_agent, clean_line, shown

SCOPES = ("read", "push", "post", "verify", "admin")
USUAL = frozenset(SCOPES) - {"admin"}
MODES = ("open", "invite", "closed")
ADMIN = "admin"  # the id of the admin key's holder
RESERVED = frozenset({ADMIN, "all", "everyone", "here", "hub", "nobody", "root", "system"})
KEYS_EACH = 16  # keys of an agent that are neither revoked nor expired
SHORTEST_ADMIN_KEY = 16  # characters
_KEY = re.compile(r"ah_(?P<agent>.{1,63})_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class Agent:
    """An identity on the hub."""

    seq: int
    id: str
    created: int
    disabled: bool
    runner: bool  # trusted to replicate alone
    origin: str  # how it registered: an address, an invite, the admin


@dataclass(frozen=True)
class Key:
    """What may be shown of a key; never the key itself."""

    id: int
    agent: str
    scopes: frozenset[str]
    label: str
    created: int
    expires: int | None
    revoked: int | None
    last_used: int | None


@dataclass(frozen=True)
class Caller:
    """The agent behind a request, authenticated by its key."""

    agent: str
    key: int | None  # None: the admin key
    scopes: frozenset[str]
    runner: bool = False

    def need(self, scope: str) -> None:
        """Raise Forbidden unless the key has a scope."""
        if scope not in self.scopes:
            raise Forbidden(
                f"This key may {', '.join(sorted(self.scopes)) or 'do nothing'}; this needs the "
                f"scope {scope}. Ask for a key that has it."
            )


ENOUGH = 5  # clear verdicts from which a share says something


@dataclass(frozen=True)
class Trust:
    """The verdicts on an agent's results, counted."""

    results: int
    confirmed: int
    refuted: int
    inconclusive: int

    @property
    def clear(self) -> int:
        """Results with a clear verdict."""
        return self.confirmed + self.refuted

    @property
    def share(self) -> float | None:
        """The confirmed share of the clear verdicts; None while there are fewer than five."""
        return self.confirmed / self.clear if self.clear >= ENOUGH else None


class Accounts:
    """All agents, invites and keys of a hub."""

    def __init__(self, database: Database, pepper: bytes, admin_key: str | None = None) -> None:
        if admin_key is not None and len(admin_key) < SHORTEST_ADMIN_KEY:
            raise BadInput(
                f"The admin key has {len(admin_key)} characters; at least {SHORTEST_ADMIN_KEY} are "
                "needed. `openssl rand -hex 32` makes a good one."
            )
        self._db = database
        self._pepper = pepper
        self._admin = None if admin_key is None else self._digest(admin_key)
        self._nobody = self._digest(secrets.token_hex())
        self._audit = Audit(database)
        self._events = Events(database)
        self._noting: set[int] = set()  # keys whose use is about to be written
        self.later: Callable[[Callable[[], None]], object] = lambda note: note()

    # ---- becoming an agent ---------------------------------------------------------------------

    @property
    def registration(self) -> str:
        """How agents may register: `open`, `invite` or `closed`."""
        row = self._db.row("SELECT value FROM facts WHERE key = 'registration'")
        return str(row["value"]) if row else "open"

    def set_registration(self, mode: str, actor: str = ADMIN) -> None:
        """Set how agents may register: `open`, `invite` or `closed`."""
        if mode not in MODES:
            raise BadInput(f"Registration is {', '.join(MODES)}; {shown(mode)} is none of them.")
        with self._db.write() as connection:
            connection.execute("REPLACE INTO facts VALUES ('registration', ?)", (mode,))
            self._audit.append(actor, "registration", mode)

    def register(self, id: str, origin: str = "", invite: str = "") -> str:
        """Register an agent as the mode allows; returns its key, which is never shown again."""
        with self._db.write() as connection:
            mode = self.registration
            if mode == "closed":
                raise Forbidden("Registration is closed here. Ask the hub's admin for a key.")
            if mode == "invite":
                used = self._use_invite(invite)
                made = self.add(id, origin=f"invite {used}")
                connection.execute("UPDATE invites SET used_by = ? WHERE id = ?", (id, used))
                return made
            return self.add(id, origin=origin)

    def add(self, id: str, origin: str = ADMIN) -> str:
        """Add an agent, whatever the mode; returns its key, which is never shown again."""
        check_agent(id)
        if id.lower() in RESERVED:
            raise Conflict(f"The id {shown(id)} is the hub's own. Choose another one.")
        with self._db.write():
            taken = self._db.row("SELECT id FROM agents WHERE lower(id) = lower(?)", id)
            if taken:
                also = "" if taken["id"] == id else f" (as {taken['id']}: case makes no difference)"
                raise Conflict(f"agent id already taken: {id}{also}. Choose another one.")
            row = {"id": id, "created": self._db.now(), "origin": clean_line(origin, 100)}
            self._db.insert("agents", **row)
            self._audit.append(ADMIN if origin == ADMIN else id, "register", id, origin=origin)
            self._events.append("agent", id, id)
            return self.issue(id)

    def invite(self, expires: int | None = None, note: str = "", actor: str = ADMIN) -> str:
        """A token with which one agent may register; it is never shown again."""
        token = f"ahi_{secrets.token_urlsafe(32)}"
        row = {"digest": self._digest(token), "note": clean_line(note, 100), "expires": expires}
        with self._db.write():
            self._db.insert("invites", **row, created=self._db.now())
            self._audit.append(actor, "invite", note=row["note"])
        return token

    def _use_invite(self, token: str) -> int:
        row = self._db.row("SELECT * FROM invites WHERE digest = ?", self._digest(token))
        if row is None or row["used_by"] is not None or self._past(row["expires"]):
            raise Forbidden(
                "Registration here needs an invite that is unused and not expired. Ask the hub's "
                "admin for one."
            )
        return int(row["id"])

    # ---- keys ----------------------------------------------------------------------------------

    def authenticate(self, key: str) -> Caller:
        """The caller that holds a key; Unauthorized if unknown, revoked, expired or disabled."""
        digest = self._digest(key)
        if self._admin is not None and hmac.compare_digest(digest, self._admin):
            return Caller(ADMIN, None, frozenset({"admin", "read"}))
        row = self._find(key, digest)
        if row is None:
            raise Unauthorized("This key is not known here. Register, or check the key.")
        if row["revoked"] is not None and row["revoked"] <= self._db.now():
            raise Unauthorized("This key was revoked. Use the newer one, or ask for another.")
        if self._past(row["expires"]):
            raise Unauthorized("This key has expired. Ask for another.")
        if row["disabled"]:
            raise Unauthorized("This agent is disabled. Ask the hub's admin.")
        self._used(row["id"], row["last_used"])
        scopes = frozenset(json.loads(row["scopes"]))
        return Caller(row["agent"], row["id"], scopes, bool(row["runner"]))

    def issue(
        self,
        agent: str,
        scopes: Collection[str] = USUAL,
        *,
        expires: int | None = None,
        label: str = "",
        by: Caller | None = None,
    ) -> str:
        """Another key of an agent, never shown again. `by` gives its own scopes, an admin any."""
        wanted = frozenset(scopes)
        if not wanted or not wanted <= frozenset(SCOPES):
            raise BadInput(f"Scopes are {', '.join(SCOPES)}, at least one of them.")
        own = by is not None and by.agent == agent and wanted <= by.scopes
        if by is not None and not own and "admin" not in by.scopes:
            raise Forbidden("A key gives only what its maker holds, and only to the same agent.")
        secret = f"ah_{agent}_{secrets.token_urlsafe(32)}"
        with self._db.write():
            self.get(agent)
            if len([key for key in self.keys(agent) if self._live(key)]) >= KEYS_EACH:
                raise Conflict(f"There are {KEYS_EACH} keys, the most there may be. Revoke one.")
            row = self._db.insert(
                "keys", agent=agent, digest=self._digest(secret), created=self._db.now(),
                scopes=json.dumps(sorted(wanted)), label=clean_line(label, 60), expires=expires,
            )  # fmt: skip
            actor = agent if by is None else by.agent
            self._audit.append(actor, "key", agent, key=row["id"], scopes=sorted(wanted))
        return secret

    def rotate(self, agent: str, key: int, grace: int = 0) -> str:
        """Replace a key by a new one of the same scopes; the old one ends in `grace` seconds."""
        with self._db.write():
            old = self._key(agent, key)
            if not self._live(old):
                raise Conflict(f"Key {key} is not in use any more. Ask for a new one.")
            self.revoke(agent, key, grace)
            return self.issue(agent, old.scopes, expires=old.expires, label=old.label)

    def revoke(self, agent: str, key: int, grace: int = 0) -> None:
        """End a key, now or in `grace` seconds; an ended key stays ended."""
        with self._db.write() as connection:
            old = self._key(agent, key)
            ends = self._db.now() + max(0, grace)
            if old.revoked is None or old.revoked > ends:
                connection.execute("UPDATE keys SET revoked = ? WHERE id = ?", (ends, key))
                self._audit.append(agent, "revoke", agent, key=key, ends=ends)

    def keys(self, agent: str) -> tuple[Key, ...]:
        """All keys of an agent that are in use, and its newest ended ones; oldest first."""
        rows = self._db.rows(
            "SELECT * FROM keys WHERE agent = ?1 ORDER BY coalesce(expires > ?2, 1) "
            "AND coalesce(revoked > ?2, 1) DESC, id DESC LIMIT 200",
            *(agent, self._db.now()),
        )
        return tuple(sorted(map(_key, rows), key=lambda key: key.id))

    # ---- agents --------------------------------------------------------------------------------

    def get(self, id: str) -> Agent:
        """One agent; Missing when there is none."""
        row = self._db.row("SELECT * FROM agents WHERE id = ?", id)
        if row is None:
            raise Missing(f"There is no agent {shown(id)} here.")
        return _agent(row)

    def page(self, after: int = 0, limit: int = 50) -> tuple[Agent, ...]:
        """Agents after a seq, in order of registration."""
        query = "SELECT * FROM agents WHERE seq > ? ORDER BY seq LIMIT ?"
        return tuple(_agent(row) for row in self._db.rows(query, after, capped(limit)))

    def disable(self, id: str, disabled: bool = True, actor: str = ADMIN) -> None:
        """Disable an agent's keys, or enable them again; what it wrote stays."""
        self._mark(id, "disabled", disabled, actor)

    def set_runner(self, id: str, runner: bool = True, actor: str = ADMIN) -> None:
        """Trust an agent's verifications alone, or stop it."""
        self._mark(id, "runner", runner, actor)

    def trust(self, id: str) -> Trust:
        """The verdicts on an agent's results."""
        query = "SELECT verdict, count(*) FROM results WHERE agent = ? GROUP BY verdict"
        found = {row[0]: row[1] for row in self._db.rows(query, id)}
        verdicts = (found.get(name, 0) for name in ("confirmed", "refuted", "inconclusive"))
        return Trust(sum(found.values()), *verdicts)

    # ---- inside --------------------------------------------------------------------------------

    def _digest(self, secret: str) -> str:
        data = secret.encode(errors="replace")
        return hmac.new(self._pepper, data, hashlib.sha256).hexdigest()

    def _find(self, key: str, digest: str) -> Row | None:
        named = _KEY.fullmatch(key)
        rows = self._db.rows(
            "SELECT k.*, a.disabled, a.runner FROM keys k JOIN agents a ON a.id = k.agent "
            "WHERE k.agent = ? AND k.digest = ?",
            named["agent"] if named else "",
            digest,
        )
        known = rows[0]["digest"] if rows else self._nobody
        return rows[0] if hmac.compare_digest(known, digest) else None

    def _used(self, key: int, last: int | None) -> None:
        """Write a key's use, at most once a minute, through `later`: the request does not wait."""
        now = self._db.now()
        if (last is None or abs(now - last) >= 60) and key not in self._noting:
            self._noting.add(key)
            self.later(lambda: self._note_used(key, now))

    def _note_used(self, key: int, now: int) -> None:
        try:
            with self._db.write(durable=False) as connection:
                connection.execute("UPDATE keys SET last_used = ? WHERE id = ?", (now, key))
        finally:
            self._noting.discard(key)

    def _mark(self, id: str, column: str, on: bool, actor: str) -> None:
        with self._db.write() as connection:
            self.get(id)
            connection.execute(f"UPDATE agents SET {column} = ? WHERE id = ?", (on, id))
            self._audit.append(actor, column if on else f"not {column}", id)

    def _key(self, agent: str, key: int) -> Key:
        row = self._db.row("SELECT * FROM keys WHERE id = ? AND agent = ?", key, agent)
        if row is None:
            raise Missing(f"There is no such key: {key}. List the keys to see which there are.")
        return _key(row)

    def _past(self, expires: int | None) -> bool:
        return expires is not None and expires <= self._db.now()

    def _live(self, key: Key) -> bool:
        return not self._past(key.expires) and not self._past(key.revoked)


def read_pepper(path: Path) -> bytes:
    """The hub's secret of 32 bytes, created if there is none; only its owner may read it."""
    with contextlib.suppress(FileExistsError):
        beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(secrets.token_bytes(32))
                stream.flush()
                os.fsync(stream.fileno())
            path.hardlink_to(beside)  # refuses to replace one that another process made
        finally:
            beside.unlink()
    found = path.read_bytes()
    if len(found) != 32:
        raise Unavailable(
            f"{path} has {len(found)} bytes, not the 32 of a pepper, and without it no key is "
            "known. Put back the one that was there."
        )
    path.chmod(0o600)
    return found


def _agent(row: Row) -> Agent:
    return noun(Agent, row, disabled=bool(row["disabled"]), runner=bool(row["runner"]))


def _key(row: Row) -> Key:
    return noun(Key, row, scopes=frozenset(json.loads(row["scopes"])))
