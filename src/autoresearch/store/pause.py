"""The pause of a study: a file that exists while no new trial may begin, with when and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from autoresearch.files import write_whole
from autoresearch.store.paths import StudyPaths
from autoresearch.text import clean_line


@dataclass(frozen=True)
class Pause:
    """Since when a study is paused, and why."""

    since: str  # local time, as `01 Dec 10:00`
    reason: str = ""  # empty: a person paused it

    @property
    def text(self) -> str:
        """`since 01 Dec 10:00: the last 4 experiments crashed alike: ...`."""
        since = f"since {self.since}" if self.since else "now"
        return f"{since}: {self.reason}" if self.reason else since


def write_pause(paths: StudyPaths, reason: str = "") -> None:
    """Pause a study; `reason` is empty when a person does."""
    write_whole(paths.pause, f"{datetime.now():%d %b %H:%M}\n{clean_line(reason, 300)}\n")


def read_pause(paths: StudyPaths) -> Pause | None:
    """The pause of a study, or None; a file that cannot be read is a pause all the same."""
    try:
        lines = paths.pause.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return None
    except OSError:
        return Pause("")
    since, reason = (clean_line(line, 300) for line in [*lines, "", ""][:2])
    return Pause(since, reason)
