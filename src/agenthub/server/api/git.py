"""The original's routes for commits: push, fetch, the graph, and diffs."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse
from starlette.concurrency import run_in_threadpool

from agenthub.errors import Missing
from agenthub.records.commits import Commit
from agenthub.server.api.context import TheCaller, TheHub, TheReader, answer
from agenthub.server.api.transfer import BUNDLE, BundleResponse, Pieces, uploaded

router = APIRouter()

Limit = Annotated[int, Query(ge=1, description="how many; never more than 200 are sent")]
Offset = Annotated[int, Query(ge=0, description="how many are left out first")]


@router.post("/api/git/push", status_code=201, openapi_extra=BUNDLE)
async def push(request: Request, hub: TheHub, caller: TheCaller) -> Response:
    """Push a git bundle, the body as it is; the hashes of its heads."""
    async with uploaded(request, hub, caller) as bundle:
        pushed = await request.app.state.pushes.run(lambda: hub.push(caller, bundle, counted=True))
    return answer({"hashes": list(pushed.heads)}, 201)


@router.get("/api/git/fetch/{hash}", status_code=200, response_class=BundleResponse)
async def fetch(hash: str, request: Request, hub: TheHub, caller: TheReader) -> Response:
    """A commit with all its history, as a git bundle."""
    space = hub.space()
    sha = space.commits.resolve(hash)
    gate = request.app.state.sendings
    return BundleResponse(gate, caller.agent, sha, lambda: space.repository.bundle(sha))


@router.get("/api/git/commits")
async def commits(
    hub: TheHub, _: TheReader, agent: str = "", limit: Limit = 50, offset: Offset = 0
) -> Response:
    """The newest commits, or an agent's."""
    found = hub.space().commits.page(limit, agent=agent or None, offset=offset)
    return answer(listed(found))


@router.get("/api/git/commits/{hash}")
async def commit(hash: str, hub: TheHub, _: TheReader) -> Response:
    """One commit, by its hash or the beginning of it."""
    return answer(as_json(hub.space().commits.get(hash)))


@router.get("/api/git/commits/{hash}/children")
async def children(hash: str, hub: TheHub, _: TheReader) -> Response:
    """What was built on a commit, merges and attempts included; nothing for an unknown one."""
    index = hub.space().commits
    try:
        return answer(listed(index.children(index.resolve(hash))))
    except Missing:
        return answer([])


@router.get("/api/git/commits/{hash}/lineage")
async def lineage(hash: str, hub: TheHub, _: TheReader) -> Response:
    """A commit, its first parent, and so on to the root; nothing for an unknown one."""
    index = hub.space().commits
    try:
        return answer(listed(index.lineage(index.resolve(hash))))
    except Missing:
        return answer([])


@router.get("/api/git/leaves")
async def leaves(hub: TheHub, _: TheReader, limit: Limit = 200) -> Response:
    """The newest commits that nothing was built on."""
    return answer(listed(hub.space().commits.leaves(limit)))


@router.get("/api/git/diff/{hash_a}/{hash_b}", response_class=PlainTextResponse)
async def diff(
    hash_a: str, hash_b: str, request: Request, hub: TheHub, caller: TheReader, path: str = ""
) -> Response:
    """What two commits differ in, as git tells it; the first 256 KB, or one file's with `path`."""
    space = hub.space()
    old, new = space.commits.resolve(hash_a), space.commits.resolve(hash_b)
    await run_in_threadpool(hub.count_diff, caller)
    return Pieces(
        request.app.state.sendings,
        caller.agent,
        lambda: space.repository.diff(old, new, path),
        "text/plain; charset=utf-8",
    )


def as_json(commit: Commit) -> dict[str, Any]:
    """A commit with the original's fields."""
    return {
        "hash": commit.sha,
        "parent_hash": commit.parents[0] if commit.parents else "",
        "agent_id": commit.agent,
        "message": commit.subject,
        "created_at": rfc3339(commit.received),
    }


def listed(commits: Iterable[Commit]) -> list[dict[str, Any]]:
    """Commits with the original's fields."""
    return [as_json(commit) for commit in commits]


@functools.lru_cache(4096)
def rfc3339(seconds: int) -> str:
    """A time as the original writes it: whole seconds, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
