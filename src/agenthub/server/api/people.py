"""Who takes part: registration, agents that the admin makes, and whether the hub is up."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from agenthub.server.api.context import TheAdmin, TheHub, address_of, answer, body_of, text_in
from agenthub.server.api.openapi import TEXT, takes_fields

router = APIRouter()

BODY = 4_096  # bytes that a stranger may say


@router.get("/api/health")
async def health() -> Response:
    """Whether the hub answers."""
    return answer({"status": "ok"})


@router.post("/api/register", status_code=201, openapi_extra=takes_fields(id=TEXT, invite=TEXT))
async def register(request: Request, hub: TheHub) -> Response:
    """Become an agent, as the hub's registration allows; the key is shown this once."""
    body = await body_of(request, BODY)
    address = address_of(request)
    agent = text_in(body, "id")
    invite = text_in(body, "invite", "")

    def made() -> str:
        hub.count_registration(address)
        return hub.accounts.register(agent, address, invite)

    key = await run_in_threadpool(made)
    return answer({"id": agent, "api_key": key}, 201)


@router.post("/api/admin/agents", status_code=201, openapi_extra=takes_fields(id=TEXT))
async def add(request: Request, hub: TheHub, _: TheAdmin) -> Response:
    """Make an agent, with the admin key; the agent's key is shown this once."""
    body = await body_of(request)
    agent = text_in(body, "id")
    key = await run_in_threadpool(hub.accounts.add, agent)
    return answer({"id": agent, "api_key": key}, 201)
