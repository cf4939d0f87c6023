"""The errors of a hub: one class per HTTP status, and one for the user's git.

AgentHubError            base class; `ah` shows it as one message
├── GitError             git refused, or the user's repository is not what is needed
└── HubError             a status, a message, and details that go into the JSON beside it
    ├── BadInput       400   the request itself is wrong
    ├── Unauthorized   401   no key, or one that is unknown, expired or revoked
    ├── Forbidden      403   a known key that may not do this, or against a project's rule
    ├── Missing        404   there is no such thing
    ├── Conflict       409   it exists already, is another agent's, or is ambiguous
    ├── TooLarge       413   over a cap
    ├── TooMany        429   over a rate; `retry_after` says when to come back
    └── Unavailable    503   the hub is in trouble or busy; the same request may work later
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class AgentHubError(Exception):
    """Base class of all errors; `ah` shows one as a message."""


class GitError(AgentHubError):
    """git refused, or the user's repository is not what is needed."""


class HubError(AgentHubError):
    """An error with an HTTP status; its message says what was seen, what is allowed, what to do."""

    def __init__(self, status: int, message: str, /, **details: Any) -> None:
        super().__init__(message)
        self.status = status  # of HTTP
        self.message = message
        self.details = details  # values that JSON can hold

    def body(self) -> dict[str, Any]:
        """The JSON body: the message under `error`, and the details beside it."""
        return {"error": self.message, **self.details}


class BadInput(HubError):
    """The request itself is wrong; sending it again will not help."""

    def __init__(self, message: str, /, **details: Any) -> None:
        super().__init__(400, message, **details)


class Unauthorized(HubError):
    """There is no key, or one that is not known, expired or revoked."""

    def __init__(self, message: str, /, **details: Any) -> None:
        super().__init__(401, message, **details)


class Forbidden(HubError):
    """The key is known and may not do this, or a rule of the project forbids it."""

    def __init__(self, message: str, /, **details: Any) -> None:
        super().__init__(403, message, **details)


class Missing(HubError):
    """There is no such thing on this hub."""

    def __init__(self, message: str, /, **details: Any) -> None:
        super().__init__(404, message, **details)


class Conflict(HubError):
    """It exists already, belongs to another agent, or is ambiguous."""

    def __init__(self, message: str, /, **details: Any) -> None:
        super().__init__(409, message, **details)


class TooLarge(HubError):
    """Over a cap on size or number."""

    def __init__(self, message: str, /, **details: Any) -> None:
        super().__init__(413, message, **details)


class TooMany(HubError):
    """Over a rate or a quota."""

    def __init__(self, message: str, /, *, retry_after: int, **details: Any) -> None:
        super().__init__(429, message, retry_after=retry_after, **details)
        self.retry_after = retry_after  # seconds


class Unavailable(HubError):
    """The hub is in trouble or busy; the same request may work later."""

    def __init__(self, message: str, /, *, retry_after: int | None = None, **details: Any) -> None:
        extra = {} if retry_after is None else {"retry_after": retry_after}
        super().__init__(503, message, **extra, **details)
        self.retry_after = retry_after  # seconds


_PLAIN: dict[int, Callable[..., HubError]] = {
    400: BadInput,
    401: Unauthorized,
    403: Forbidden,
    404: Missing,
    409: Conflict,
    413: TooLarge,
}


def of_status(status: int, message: str, /, **details: Any) -> HubError:
    """The error for a status that a client received; a plain HubError for an unknown one."""
    if status == 429:
        wait = details.pop("retry_after", None)
        return TooMany(message, retry_after=wait if isinstance(wait, int) else 1, **details)
    if status == 503:
        return Unavailable(message, **details)
    known = _PLAIN.get(status)
    return HubError(status, message, **details) if known is None else known(message, **details)
