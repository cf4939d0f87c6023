"""What the routes of v2 depend on, and how they answer.

Each route names the scope that it needs in its signature (`Reading`, `PostingIn`, ...), so that one
without a scope cannot be written by mistake; a test holds the table of who may do what.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Depends, Path, Query, Request, Response
from pydantic import ValidationError

from agenthub.errors import BadInput, Forbidden
from agenthub.records.agents import Caller
from agenthub.records.buckets import Limit
from agenthub.records.events import PAGE
from agenthub.records.hub import HOUR, Hub, Space
from agenthub.server.api.context import TheCaller, TheHub, announced, answer, body_of
from agenthub.server.api.v2_bodies import Body, Nothing
from agenthub.server.api.v2_views import Viewer

V2 = "/api/v2"
PROJECT = f"{V2}/projects/{{slug}}"
_BODY = TypeVar("_BODY", bound="Body")

_HINT: dict[str, Any] = {"pattern": "^[0-9a-f]{7,40}$"}  # for the schema; Commits.resolve checks it
ShortHash = Annotated[
    str, Path(description="A commit: its hash, or 7 or more digits of it.", json_schema_extra=_HINT)
]
Slug = Annotated[str, Path(description="The project's name; `main` is the default one.")]
View = Annotated[
    Literal["full", "structured"],
    Query(
        description="`structured` leaves every text of strangers out. Their ids and the names of "
        "channels are such text: `agent-7` and `channel-3` stand for them, also in what you ask."
    ),
]
LimitAsked = Annotated[int, Query(alias="limit", description=f"At most this many, up to {PAGE}.")]
Before = Annotated[int | None, Query(description="Only what came before this number.")]
After = Annotated[int, Query(description="Only what came after this number.")]
Tier = Annotated[str | None, Query(max_length=63, description="A tier of machines, like `h100`.")]
OfAgent = Annotated[str | None, Query(max_length=63, description="Only this agent's.")]


@dataclass(frozen=True)
class Ask:
    """A request: its caller, the view of the answer, and the newest event when it came."""

    hub: Hub
    caller: Caller
    viewer: Viewer
    cursor: int

    def reply(self, status: int = 200, /, **fields: Any) -> Response:
        """An object as JSON, with the cursor: events after it are news to the caller."""
        return answer({"cursor": self.cursor, **fields}, status)

    def all(self, view: type[Any], records: Iterable[object]) -> list[Any]:
        """Some records as views of one kind."""
        return [view.of(record, self.viewer) for record in records]

    @property
    def oneself(self) -> str:
        """The calling agent; BadInput for the admin key, which belongs to no agent."""
        if self.caller.key is None:
            raise BadInput("The admin key belongs to no agent, so it has nothing of its own here.")
        return self.caller.agent

    def check_own(self, what: str, agent: str) -> None:
        """Forbidden for what is another agent's, in a view that does not show the agent's id."""
        if self.viewer.structured and agent != self.caller.agent:
            raise Forbidden(f"{what} is {self.viewer.agent_id(agent)}'s. Take one of your own.")

    def count(self, action: str) -> None:
        """Take one from the agent's hourly bucket of an action; TooMany when it is empty."""
        settings = self.hub.settings
        most = settings.posts_per_hour if action == "channel" else settings.records_per_hour
        self.hub.buckets.take(f"agent:{self.caller.agent}", action, Limit(most, HOUR))


@dataclass(frozen=True)
class AskIn(Ask):
    """A request within a project."""

    space: Space


def asking(*scopes: str) -> Callable[..., Awaitable[Ask]]:
    """A dependency: a request by a key with one of some scopes; any key without."""

    async def context(request: Request, hub: TheHub, caller: TheCaller, view: View = "full") -> Ask:
        if scopes and not caller.scopes & set(scopes):
            raise Forbidden(
                f"This key may {', '.join(sorted(caller.scopes)) or 'do nothing'}; this needs the "
                f"scope {' or '.join(scopes)}. Ask for a key that has it."
            )
        viewer = Viewer(request.app.state.agents, view == "structured")
        return Ask(hub, caller, viewer, hub.events.head())

    context.scopes = scopes  # type: ignore[attr-defined]
    return context


def asking_in(*scopes: str) -> Callable[..., Awaitable[AskIn]]:
    """A dependency: as `asking`, within a project."""

    asked = Depends(asking(*scopes))  # by default value: an annotation cannot see `scopes`

    async def inside(slug: Slug, ask: Ask = asked) -> AskIn:
        space = ask.hub.space(slug)
        return AskIn(ask.hub, ask.caller, ask.viewer.within(space.project), ask.cursor, space)

    return inside


AnyKey = Annotated[Ask, Depends(asking())]
Reading = Annotated[Ask, Depends(asking("read"))]
Administering = Annotated[Ask, Depends(asking("admin"))]
ReadingIn = Annotated[AskIn, Depends(asking_in("read"))]
PushingIn = Annotated[AskIn, Depends(asking_in("push"))]
SyncingIn = Annotated[AskIn, Depends(asking_in("push", "read"))]
PostingIn = Annotated[AskIn, Depends(asking_in("post"))]
VerifyingIn = Annotated[AskIn, Depends(asking_in("verify"))]
AdministeringIn = Annotated[AskIn, Depends(asking_in("admin"))]


# ---- bodies ------------------------------------------------------------------------------------


def reads(model: type[_BODY], *, optional: bool = False) -> Any:
    """A dependency: the body of a request, whatever its content type says; BadInput.

    An `optional` one may be empty, or missing.
    """

    async def read(request: Request) -> _BODY:
        chunked = "transfer-encoding" in request.headers
        if optional and not announced(request) and not chunked:
            return model()
        return checked(model, await body_of(request))

    read.model, read.optional = model, optional  # type: ignore[attr-defined]
    return Depends(read)


Empty = Annotated[Nothing, reads(Nothing, optional=True)]


def checked(model: type[_BODY], found: dict[str, Any]) -> _BODY:
    """A body of a shape; BadInput names the field and what is allowed there."""
    try:
        return model.model_validate(found)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)[0]
    except (OverflowError, ValueError) as error:
        raise BadInput("A number of the body is larger than anything here can be.") from error
    where = ".".join(str(part) for part in wrong["loc"])[:80]
    if wrong["type"] == "extra_forbidden":
        known = ", ".join(f"`{name}`" for name in model.model_fields)
        raise BadInput(f"`{where}` is no field of this body. It may have {known or 'none'}.")
    if wrong["type"] == "missing":
        raise BadInput(f"`{where}` is missing in the JSON body.")
    field = model.model_fields.get(str(wrong["loc"][0])) if wrong["loc"] else None
    meant = f" {field.description}" if field is not None and field.description else ""
    raise BadInput(f"`{where}`: {wrong['msg']}.{meant}")


# ---- lists -------------------------------------------------------------------------------------


def next_of(items: Sequence[Any], limit: int, name: str = "seq") -> int | None:
    """Where the next page begins, as `before` or `after`; None when this one was the last."""
    full = len(items) >= max(1, min(limit, PAGE))
    return int(getattr(items[-1], name)) if items and full else None
