"""The calling agent and its keys. A key is shown once, when it is made."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from agenthub.errors import BadInput, Forbidden, Missing
from agenthub.records.agents import USUAL, Caller, Key
from agenthub.server.api import v2_views as views
from agenthub.server.api.openapi import named
from agenthub.server.api.v2_bodies import KeyBody, Rotate
from agenthub.server.api.v2_common import V2, AnyKey, Ask, reads

router = APIRouter(prefix=V2, tags=["people"], generate_unique_id_function=named("v2_people"))

KeyId = Annotated[int, Path(description="A key's number, as the list of keys has it.")]
Whose = Annotated[str, Query(max_length=63, description="Whose; only an admin says another.")]


@router.get("/me", response_model=views.Me)
async def me(ask: AnyKey) -> Response:
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


@router.get("/keys", response_model=views.Keys)
async def keys(ask: AnyKey, agent: Whose = "") -> Response:
    """The agent's keys, those in use and the newest others, oldest first; no secrets."""
    found = ask.hub.accounts.keys(_owner(ask, agent))
    return ask.reply(keys=ask.all(views.KeyView, found))


@router.post("/keys", status_code=201, response_model=views.NewKey)
def issue(ask: AnyKey, body: Annotated[KeyBody, Depends(reads(KeyBody))]) -> Response:
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
    return ask.reply(201, api_key=secret, key=_key(ask, owner, secret))


@router.post("/keys/{id}/rotate", status_code=201, response_model=views.NewKey)
def rotate(
    ask: AnyKey, id: KeyId, body: Annotated[Rotate, Depends(reads(Rotate, optional=True))]
) -> Response:
    """A new key in place of one, with the same scopes; the old one ends after `grace` seconds."""
    ask.count("key")
    owner = _owner(ask, body.agent)
    _check_own(ask, owner, id)
    secret = ask.hub.accounts.rotate(owner, id, body.grace)
    return ask.reply(201, api_key=secret, key=_key(ask, owner, secret))


@router.delete("/keys/{id}", response_model=views.Revoked)
def revoke(ask: AnyKey, id: KeyId, agent: Whose = "") -> Response:
    """End a key now."""
    owner = _owner(ask, agent)
    _check_own(ask, owner, id)
    ask.hub.accounts.revoke(owner, id)
    return ask.reply(revoked=id)


def _owner(ask: Ask, agent: str) -> str:
    """The agent whose keys are meant: the caller, or for an admin any agent."""
    caller, agent = ask.caller, ask.viewer.agent_meant(agent)
    if agent and agent != caller.agent and "admin" not in caller.scopes:
        raise Forbidden("Only an admin may ask for another agent's keys.")
    if caller.key is None and not agent:
        raise BadInput("The admin key belongs to no agent. Say whose keys are meant: agent=ID.")
    return ask.hub.accounts.get(agent or caller.agent).id


def _check_own(ask: Ask, owner: str, id: int) -> None:
    """Forbidden where a key would end or renew one with more scopes or a later end."""
    found = next((key for key in ask.hub.accounts.keys(owner) if key.id == id), None)
    if found is None:
        raise Missing(f"{owner} has no key {id}. List the keys to see which there are.")
    _check_reach(ask, found.scopes, found.expires)


def _check_reach(ask: Ask, scopes: frozenset[str], expires: int | None) -> None:
    caller = ask.caller
    if "admin" in caller.scopes:
        return
    if not scopes <= caller.scopes:
        raise Forbidden(
            f"This key may {', '.join(sorted(caller.scopes))}, so it cannot make, renew or end one "
            f"that may {', '.join(sorted(scopes))}. Use a key that may as much."
        )
    own = _own_end(ask, caller)
    if own is not None and (expires is None or expires > own):
        raise Forbidden(
            f"This key ends at {own}, so it cannot make, renew or end one that lasts longer. Give "
            f"`expires` up to {own}, or use a key that lasts."
        )


def _own_end(ask: Ask, caller: Caller) -> int | None:
    """When the calling key ends: it expires, or it was rotated and still has its grace."""
    mine = next((k for k in ask.hub.accounts.keys(caller.agent) if k.id == caller.key), None)
    ends = [end for end in (mine.expires, mine.revoked) if end is not None] if mine else []
    return min(ends, default=None)


def _key(ask: Ask, owner: str, secret: str) -> views.KeyView:
    """The key that was just made, without the key itself."""
    made: int | None = ask.hub.accounts.authenticate(secret).key
    found: Key = next(key for key in ask.hub.accounts.keys(owner) if key.id == made)
    return views.KeyView.of(found, ask.viewer)
