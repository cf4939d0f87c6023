"""What is asked of a hub, and what its answers may mean: numbers, hashes and ids, never text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from agenthub.client import HubError, is_hash
from agenthub.client.hub_client import HubClient, Patience
from autoresearch.errors import AutoResearchError
from autoresearch.lab.metric import Metric
from autoresearch.swarm.settings import SwarmSettings

SENDING = Patience(silence=30, whole=60, transfer=600, tries=2, waiting=5)
ASKING = Patience(silence=3, whole=5, transfer=5, tries=1)  # while the loop waits for the answer
DIRECTIONS = {"minimize": "lower", "maximize": "higher"}
_AGENT = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}")
MOST_NUMBER = 1 << 63
_VERDICTS = ("claimed", "confirmed", "refuted", "inconclusive")


class Unfit(AutoResearchError):
    """The hub answers, and this study cannot take part in it as it was told to."""


@dataclass(frozen=True)
class Seen:
    """A result of somebody on the hub."""

    seq: int
    commit: str
    agent: str
    value: float  # as claimed
    verdict: str
    runs: int  # of others
    mean: float | None  # of these

    @property
    def replicated(self) -> bool:
        """Whether others found the same."""
        return self.verdict == "confirmed" and self.mean is not None

    @property
    def worth(self) -> float:
        """What it may be believed to be worth."""
        return self.mean if self.replicated and self.mean is not None else self.value


def client_of(settings: SwarmSettings, max_seconds: Patience) -> HubClient:
    """A client of one's own: each thread has one."""
    return HubClient(settings.url, settings.key, settings.project, max_seconds)


def seen(rows: Any) -> list[Seen]:
    """The results of an answer that are what they must be; others are passed over."""
    found = (_seen(row) for row in rows if isinstance(row, dict)) if isinstance(rows, list) else ()
    return [each for each in found if each is not None]


def is_agent(name: object) -> bool:
    """Whether something is an agent's id."""
    return isinstance(name, str) and _AGENT.fullmatch(name) is not None


def is_commit(name: object) -> bool:
    """Whether something is a whole hash."""
    return isinstance(name, str) and is_hash(name)


def number(value: object) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # of whole numbers without end
        return None


def whole(value: object) -> int:
    """A number that something on a hub may have: whole, over 0, under 2**63; else 0."""
    known = isinstance(value, int) and not isinstance(value, bool) and 0 < value < MOST_NUMBER
    return value if known and isinstance(value, int) else 0


def passes(error: Exception) -> bool:
    """Whether time may mend an error: no answer, too busy, a key that is not known (yet)."""
    if not isinstance(error, HubError):
        return isinstance(error, OSError)
    return error.status in (401, 408, 429) or error.status >= 500 or 300 <= error.status < 400


def check_ruler(about: dict[str, Any], metric: Metric, project: str) -> None:
    """Unfit when a project measures something else than the study."""
    theirs = (about.get("metric"), about.get("direction"))
    ours = (metric.name, DIRECTIONS[metric.direction])
    if theirs != ours:
        words = " ".join(str(word)[:63] for word in theirs)
        raise Unfit(
            f"The hub's project {project} measures {words}, and this lab {' '.join(ours)}: the "
            "numbers would not compare. Name another one with --hub-project, or have one made: "
            f"metric {ours[0]}, direction {ours[1]}."
        )


def best_first(found: Iterable[Seen], metric: Metric) -> list[Seen]:
    """The best one first."""
    return sorted(found, key=lambda each: -metric.gain(each.worth, 0.0))


def _seen(row: dict[str, Any]) -> Seen | None:
    value, mean = number(row.get("value")), number(row.get("mean"))
    seq, runs, verdict = whole(row.get("seq")), row.get("runs"), row.get("verdict")
    if not (is_commit(row.get("commit")) and is_agent(row.get("agent")) and value is not None):
        return None
    if not (seq and isinstance(runs, int) and 0 <= runs < MOST_NUMBER and verdict in _VERDICTS):
        return None
    return Seen(seq, row["commit"], row["agent"], value, verdict, runs, mean)
