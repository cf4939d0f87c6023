"""A job as one line of JSON, from the harness to a supervisor."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from autoresearch.executors import Job, JobLimits, Level

_PATHS = ("folder", "log")
_LISTS = ("readable", "writable")


def encode(job: Job, level: Level) -> bytes:
    """One line."""
    fields = {item.name: getattr(job, item.name) for item in dataclasses.fields(job)}
    del fields["cancelled"]  # the harness looks at that
    fields |= {name: str(fields[name]) for name in _PATHS}
    fields |= {name: list(map(str, fields[name])) for name in _LISTS}
    fields |= {"env": dict(job.env), "limits": dataclasses.asdict(job.limits)}
    return json.dumps({"level": level, "job": fields}).encode() + b"\n"


def decode(line: bytes) -> tuple[Job, Level]:
    """The job and the level it is to run at."""
    order = json.loads(line)
    fields: dict[str, Any] = order["job"]
    fields |= {name: Path(fields[name]) for name in _PATHS}
    fields |= {name: tuple(map(Path, fields[name])) for name in _LISTS}
    fields |= {"env_allowed": tuple(fields["env_allowed"]), "limits": JobLimits(**fields["limits"])}
    return Job(**fields), order["level"]
