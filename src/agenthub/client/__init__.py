"""A hub as its users reach it: HTTP requests, the user's own git, the stored key.

A program that takes part in a hub imports from here alone. `agenthub.client.hub_client` has the
HTTP client, and is imported where a request is made.
"""

from agenthub.errors import (
    AgentHubError,
    BadInput,
    Conflict,
    Forbidden,
    HubError,
    Missing,
    TooLarge,
    TooMany,
    Unauthorized,
    Unavailable,
)
from agenthub.git.bundle import read_header, write_header
from agenthub.tiers import tier_of
from agenthub.validation import is_hash

__all__ = [
    "AgentHubError",
    "BadInput",
    "Conflict",
    "Forbidden",
    "HubError",
    "Missing",
    "TooLarge",
    "TooMany",
    "Unauthorized",
    "Unavailable",
    "is_hash",
    "read_header",
    "tier_of",
    "write_header",
]
