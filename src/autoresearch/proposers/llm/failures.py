"""Classifies a server's error: wait, call a person, or start over."""

from __future__ import annotations

import email.utils
import json
import math
import time
from collections.abc import Mapping

from autoresearch.proposers import Kind, ProposalFailed
from autoresearch.proposers.llm.settings import PREFIX, LLMSettings, redact
from autoresearch.text import clean_line

WAIT = frozenset({408, 409, 425, 429})  # and all above 499
NO_CREDIT = ("insufficient_quota", "billing_not_active", "billing_hard_limit_reached")
FILTERED = ("content_filter", "content_policy_violation", "flagged", "moderation")
LONGEST = 300  # characters of a server's message


def http_failure(
    settings: LLMSettings, key: str, status: int, headers: Mapping[str, str], body: object
) -> ProposalFailed:
    """The failure for an error status, its headers and its body."""
    kind = _kind(status, json.dumps(body, default=str).lower())
    seconds = retry_after(headers) if kind == "busy" else None
    text = f"{settings.host} answered {status}: {_message(body, key).rstrip('.')}."
    advice = _advice(settings, status, kind)
    return ProposalFailed(kind, f"{text} {advice}".strip(), retry_after=seconds)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server requests to wait, by its headers; None when it names none."""
    milliseconds = _seconds(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after", "").strip()
    seconds = _seconds(text)
    if seconds is not None or not text:
        return seconds
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _kind(status: int, body: str) -> Kind:
    """The kind of a failure. 429 means a rate limit, or no credit: the body's code tells which."""
    if status in (400, 403) and any(word in body for word in FILTERED):
        return "refusal"
    if status == 429 and any(f'"{code}"' in body for code in NO_CREDIT):
        return "stop"
    return "busy" if status in WAIT or status >= 500 else "stop"


def _advice(settings: LLMSettings, status: int, kind: Kind) -> str:
    """What a person can do about a `stop`, or nothing."""
    if kind != "stop":
        return ""
    if status in (401, 403):
        if not settings.key_env:
            return f"Set {PREFIX}KEY_ENV to the name of the variable that holds its key."
        return f"Check the key in {settings.key_env}."
    if status in (402, 429):
        return f"The account behind {settings.key_env or 'the key'} has no credit left: top it up."
    if status == 404:
        return f"Check the model {settings.model!r} and the address {settings.base_url}."
    return f"The server does not accept the request for model {settings.model!r}."


def _message(body: object, key: str) -> str:
    """The server's message as one line, without the key."""
    found = body
    # {"error": {"message": ...}}, or a list of such
    while isinstance(found, (dict, list)) and found:
        if isinstance(found, list):
            found = found[0]
        else:
            found = found.get("message") or found.get("error") or found.get("detail") or str(found)
    text = redact(str(found or "no message"), key)  # before it is cut, so that no part remains
    return clean_line(text[: 4 * LONGEST], LONGEST)


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
