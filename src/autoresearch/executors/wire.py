"""Encodes a job as one line of JSON for a supervisor."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from autoresearch.executors import Job, JobLimits, Level

_PATHS = ("folder", "log")
_LISTS = ("readable", "writable")


def encode(job: Job, level: Level) -> bytes:
    """The line for a job and its level."""
    fields = {item.name: getattr(job, item.name) for item in dataclasses.fields(job)}
    del fields["cancelled"]  # the harness checks that
    fields |= {name: str(fields[name]) for name in _PATHS}
    fields |= {name: list(map(str, fields[name])) for name in _LISTS}
    fields |= {"env": dict(job.env), "limits": dataclasses.asdict(job.limits)}
    return json.dumps({"level": level, "job": fields}).encode() + b"\n"


def decode(line: bytes) -> tuple[Job, Level]:
    """The job and the level of a line."""
    order = json.loads(line)
    fields: dict[str, Any] = order["job"]
    fields |= {name: Path(fields[name]) for name in _PATHS}
    fields |= {name: tuple(map(Path, fields[name])) for name in _LISTS}
    fields |= {"env_allowed": tuple(fields["env_allowed"]), "limits": JobLimits(**fields["limits"])}
    return Job(**fields), order["level"]
