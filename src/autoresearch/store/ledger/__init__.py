"""The record of all trials: one SQLite file, written before anything else moves."""

from autoresearch.store.ledger.explanation import Explanation, Kind
from autoresearch.store.ledger.schema import VERSION as SCHEMA_VERSION
from autoresearch.store.ledger.store import Ledger
from autoresearch.store.ledger.trial import (
    CLAIM,
    CONFIRM,
    FOREIGN,
    NOISE,
    REFRESH,
    SCREEN,
    SKIP,
    STEP,
    UNSTATED,
    Run,
    Spend,
    State,
    Status,
    Trial,
)

__all__ = [
    "CLAIM",
    "CONFIRM",
    "FOREIGN",
    "NOISE",
    "REFRESH",
    "SCHEMA_VERSION",
    "SCREEN",
    "SKIP",
    "STEP",
    "UNSTATED",
    "Explanation",
    "Kind",
    "Ledger",
    "Run",
    "Spend",
    "State",
    "Status",
    "Trial",
]
