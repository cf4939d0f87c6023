"""A hub as its users reach it: HTTP requests, the user's own git, the stored key.

Other programs import this package alone: errors, ids, tiers, bundle headers and the configuration
from here, the HTTP client from `agenthub.client.hub_client`. httpx2 is imported at the first
request.
"""

from agenthub.client.address import parse_address
from agenthub.client.config import Membership, config_path, membership
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
    "Membership",
    "Missing",
    "TooLarge",
    "TooMany",
    "Unauthorized",
    "Unavailable",
    "config_path",
    "is_hash",
    "membership",
    "parse_address",
    "read_header",
    "tier_of",
    "write_header",
]
