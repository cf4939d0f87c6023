"""What a study takes from a hub's answers: numbers, hashes and ids that it checked, never text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from agenthub.client import HubError, is_hash
from agenthub.client.hub_client import HubClient, Timeouts
from autoresearch.errors import AutoResearchError
from autoresearch.lab.metric import Metric
from autoresearch.swarm.settings import SwarmSettings

SENDING = Timeouts(silence=30, whole=60, transfer=600, tries=2, waiting=5)
ASKING = Timeouts(silence=3, whole=5, transfer=5, tries=1)  # while the loop waits for the answer
DIRECTIONS = {"minimize": "lower", "maximize": "higher"}
_AGENT = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}")
MOST_NUMBER = 1 << 63
_VERDICTS = ("claimed", "confirmed", "refuted", "inconclusive")


class WrongProject(AutoResearchError):
    """The hub's project measures something else than the study."""


@dataclass(frozen=True)
class HubResult:
    """A result on the hub."""

    seq: int
    commit: str
    agent: str
    value: float  # as its agent claims
    verdict: str
    runs: int  # by other agents
    mean: float | None  # of these runs

    @property
    def replicated(self) -> bool:
        """Whether other agents confirmed it."""
        return self.verdict == "confirmed" and self.mean is not None

    @property
    def worth(self) -> float:
        """The mean of others' runs once it is replicated, else the value that is claimed."""
        return self.mean if self.replicated and self.mean is not None else self.value


def client_of(settings: SwarmSettings, timeouts: Timeouts) -> HubClient:
    """A new client; each thread has its own."""
    return HubClient(settings.url, settings.key, settings.project, timeouts)


def parse_results(rows: Any) -> list[HubResult]:
    """The results of an answer. Rows with a missing or wrong field are left out."""
    known = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return [result for result in map(_result, known) if result is not None]


def parse_project(answer: dict[str, object]) -> dict[str, object]:
    """The project of an answer."""
    inner = answer.get("project", answer)
    return inner if isinstance(inner, dict) else {}


def whoami(client: HubClient) -> str:
    """The id of the agent that the client's key belongs to."""
    answer = client.me()
    inner = answer.get("agent", answer)
    name = inner.get("id") if isinstance(inner, dict) else inner
    if not is_agent(name):
        raise HubError(502, f"{client.url} does not name the agent of this key. Is it a hub?")
    return str(name)


def is_agent(name: object) -> bool:
    """Whether a value is an agent's id."""
    return isinstance(name, str) and _AGENT.fullmatch(name) is not None


def is_commit(name: object) -> bool:
    """Whether a value is a whole commit hash."""
    return isinstance(name, str) and is_hash(name)


def finite_float(value: object) -> float | None:
    """A number as a finite float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # of an integer that no float can hold
        return None


def positive_int(value: object) -> int:
    """An integer from 1 to 2**63 - 1, as hubs number things; 0 for anything else."""
    known = isinstance(value, int) and not isinstance(value, bool) and 0 < value < MOST_NUMBER
    return value if known and isinstance(value, int) else 0


def is_temporary(error: Exception) -> bool:
    """Whether the same request may succeed later: no answer, a busy hub, a key not known (yet)."""
    if not isinstance(error, HubError):
        return isinstance(error, OSError)
    return error.status in (401, 408, 429) or error.status >= 500 or 300 <= error.status < 400


def check_metric(about: dict[str, Any], metric: Metric, project: str) -> None:
    """Raise WrongProject when a project has another metric or direction than the study."""
    theirs = (about.get("metric"), about.get("direction"))
    ours = (metric.name, DIRECTIONS[metric.direction])
    if theirs != ours:
        words = " ".join(str(word)[:63] for word in theirs)
        raise WrongProject(
            f"The hub's project {project} measures {words}, and this lab {' '.join(ours)}: the "
            "numbers would not compare. Name another project with --hub-project, or have one made: "
            f"metric {ours[0]}, direction {ours[1]}."
        )


def best_first(results: Iterable[HubResult], metric: Metric) -> list[HubResult]:
    """Results sorted by worth, the best one first."""
    return sorted(results, key=lambda result: -metric.gain(result.worth, 0.0))


def _result(row: dict[str, Any]) -> HubResult | None:
    value, mean = finite_float(row.get("value")), finite_float(row.get("mean"))
    seq, runs, verdict = positive_int(row.get("seq")), row.get("runs"), row.get("verdict")
    if not (is_commit(row.get("commit")) and is_agent(row.get("agent")) and value is not None):
        return None
    if not (seq and isinstance(runs, int) and 0 <= runs < MOST_NUMBER and verdict in _VERDICTS):
        return None
    return HubResult(seq, row["commit"], row["agent"], value, verdict, runs, mean)
