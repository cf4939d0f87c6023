"""Options that several commands share, and how they show a duration."""

from __future__ import annotations

from collections.abc import Callable
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


def duration(seconds: float) -> str:
    """Seconds as 42 s, 3:05 min or 7:45 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
