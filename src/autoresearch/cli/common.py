"""Options that several commands share, and how they show moments and durations."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def lab_option(command: F) -> F:
    """--lab: the folder of the lab."""
    return click.option(
        "-C",
        "--lab",
        type=click.Path(path_type=Path, file_okay=False, resolve_path=True),
        default=".",
        help="The lab's folder; the current one by default.",
    )(command)


def tag_option(command: F) -> F:
    """--tag: the name of the study."""
    return click.option("--tag", help="Name of the study; the current one by default.")(command)


def clock_time(moment: str) -> str:
    """An ISO moment of the ledger as the local date and time: `01 Dec 10:00`; else a dash."""
    try:
        return f"{datetime.fromisoformat(moment).astimezone():%d %b %H:%M}"
    except ValueError:
        return "-"


def duration(seconds: float) -> str:
    """Seconds as 42 s, 3:05 min or 7:45 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
