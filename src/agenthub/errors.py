"""The errors of a hub: one class for each HTTP status, and one for the user's git."""

from __future__ import annotations

from typing import Any, ClassVar


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


class _OneStatus(HubError):
    """An error whose class has one status."""

    classes: ClassVar[dict[int, type[_OneStatus]]] = {}
    its: ClassVar[int]

    def __init_subclass__(cls, status: int | None = None) -> None:
        if status is not None:  # else it has that of its base
            cls.its, cls.classes[status] = status, cls

    def __init__(self, message: str, /, **details: Any) -> None:
        super().__init__(self.its, message, **details)


class BadInput(_OneStatus, status=400):
    """The request itself is wrong; sending it again will not help."""


class Unauthorized(_OneStatus, status=401):
    """There is no key, or one that is not known, expired or revoked."""


class Forbidden(_OneStatus, status=403):
    """The key is known and may not do this, or a rule of the project forbids it."""


class Missing(_OneStatus, status=404):
    """There is no such thing on this hub."""


class Conflict(_OneStatus, status=409):
    """It exists already, belongs to another agent, or is ambiguous."""


class TooLarge(_OneStatus, status=413):
    """Over a cap on size or number."""


class TooMany(_OneStatus, status=429):
    """Over a rate or a quota."""

    def __init__(self, message: str, /, *, retry_after: int, **details: Any) -> None:
        super().__init__(message, retry_after=retry_after, **details)
        self.retry_after = retry_after  # seconds


class Unavailable(_OneStatus, status=503):
    """The hub is in trouble or busy; the same request may work later."""

    def __init__(self, message: str, /, *, retry_after: int | None = None, **details: Any) -> None:
        extra = {} if retry_after is None else {"retry_after": retry_after}
        super().__init__(message, **extra, **details)
        self.retry_after = retry_after  # seconds


def of_status(status: int, message: str, /, **details: Any) -> HubError:
    """The error for a status that a client received; a plain HubError for an unknown one."""
    known = _OneStatus.classes.get(status)
    if known is None:
        return HubError(status, message, **details)
    if status == 429 and not isinstance(details.get("retry_after"), int):
        details["retry_after"] = 1
    return known(message, **details)
