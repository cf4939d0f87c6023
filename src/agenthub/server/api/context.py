"""What routes depend on: the hub, the caller, the body, and answers in JSON."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from starlette.datastructures import Headers
from starlette.types import Scope

from agenthub.errors import BadInput, TooLarge, Unauthorized
from agenthub.records.agents import Caller
from agenthub.records.buckets import address_subject
from agenthub.records.hub import Hub
from agenthub.server.limits import BodyMemory

BODY = 256 * 1024  # bytes of a JSON body: the longest post, however its letters are escaped
PUBLIC = "public"  # in the state of every request: the admin has another listener
WHO = "who"  # in the state of every request: what `who` found
PLAIN_GIT = "/git/"  # below it the key may be a password
DEPTH = 32  # of a JSON body


def who(hub: Hub, scope: Scope) -> Caller | Unauthorized | None:
    """The caller, by the key; the error for an unknown key, None without a key."""
    scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
    key = given.strip()
    if scheme.lower() == "basic" and scope["path"].startswith(PLAIN_GIT):
        key = _password(key)
    elif scheme.lower() != "bearer":
        key = ""
    try:
        return known(hub, scope, key) if key else None
    except Unauthorized as error:
        return error


def known(hub: Hub, scope: Scope, key: str) -> Caller:
    """The caller with a key; Unauthorized for an unknown one.

    Where the admin has a listener of its own, no key administers the hub through another one.
    """
    caller = hub.accounts.authenticate(key)
    if scope.get("state", {}).get(PUBLIC):
        if caller.key is None:
            raise Unauthorized("The admin key is for the admin's own listener (--admin-listen).")
        caller = replace(caller, scopes=caller.scopes - {"admin"})
    return caller


def require_caller(request: Request, lacking: str) -> Caller:
    """The caller; Unauthorized for an unknown key, and with the message `lacking` without a key.

    The middleware has counted the request already.
    """
    found: Caller | Unauthorized | None = request.scope["state"][WHO]
    if isinstance(found, Caller):
        return found
    raise found or Unauthorized(lacking)


def subject_of(scope: Scope) -> str:
    """The subject that a request counts for: an agent whose key is known, else an address."""
    found = scope["state"][WHO]
    return (
        f"agent:{found.agent}" if isinstance(found, Caller) else address_subject(address_of(scope))
    )


def address_of(scope: Scope) -> str:
    """The address that a request comes from, as a believed proxy reports it; empty for none."""
    client = scope.get("client")
    return str(client[0]) if client else ""


async def caller_of(request: Request) -> Caller:
    """The caller, by the bearer key; Unauthorized without one."""
    return require_caller(
        request, "A key is needed: send `Authorization: Bearer KEY`. See POST /api/register."
    )


def _who_may(scope: str) -> Any:
    async def caller_with(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
        caller.need(scope)
        return caller

    return Depends(caller_with)


async def _hub(request: Request) -> Hub:
    hub: Hub = request.app.state.hub
    return hub  # a plain function would be sent to a thread, which costs more


TheHub = Annotated[Hub, Depends(_hub)]
TheCaller = Annotated[Caller, Depends(caller_of)]  # any known key: the verb asks for its scope
TheAdmin = Annotated[Caller, _who_may("admin")]
TheReader = Annotated[Caller, _who_may("read")]


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as JSON; views leave out what was not set."""
    body = json.dumps(
        value,
        ensure_ascii=False,
        separators=(",", ":"),
        allow_nan=False,
        default=lambda view: view.model_dump(exclude_unset=True),
    )
    return Response(body.encode("utf-8", "replace"), status, headers, media_type="application/json")


async def body_of(request: Request, most: int = BODY) -> dict[str, Any]:
    """The JSON object in a body, whatever its content type; BadInput, or TooLarge over a cap."""
    too_large = TooLarge(f"The body has over {most:,} bytes, and no more are allowed.")
    if announced(request) > most:
        raise too_large
    pieces, size = [], 0
    pool: BodyMemory = request.app.state.body_memory
    with pool.holding(subject_of(request.scope)) as hold:
        async for piece in request.stream():
            size += len(piece)
            if size > most:
                raise too_large
            hold(len(piece))
            pieces.append(piece)
        return parsed(b"".join(pieces))


def announced(request: Request) -> int:
    """The bytes of body that the request announces; 0 if it does not."""
    length = request.headers.get("content-length", "")
    return int(length[:20]) if length.isdecimal() else 0


def parsed(raw: bytes) -> dict[str, Any]:
    """Bytes as a JSON object."""
    try:
        found = json.loads(raw, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise BadInput("invalid json: the body must be one JSON object.") from error
    if not isinstance(found, dict) or _deep(found, DEPTH):
        raise BadInput(f"invalid json: a JSON object is needed, at most {DEPTH} levels deep.")
    return found


def text_in(body: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A text of a body; BadInput when it is missing, or of another type."""
    found = body.get(name)
    found = default if found is None else found
    if not isinstance(found, str):
        raise BadInput(f"`{name}` must be a text in the JSON body.")
    return found


def _password(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


def _refused(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _deep(value: Any, levels: int) -> bool:
    inner: Iterable[Any] = ()
    if isinstance(value, dict):
        inner = value.values()
    elif isinstance(value, list):
        inner = value
    return levels < 0 or any(_deep(item, levels - 1) for item in inner)
