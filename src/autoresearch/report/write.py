"""Write the report to disk: each file appears whole or not at all."""

from __future__ import annotations

import contextlib
from pathlib import Path

from autoresearch.errors import ReportError
from autoresearch.files import write_whole
from autoresearch.report.story import Story

PAGE, PICTURE, DRAWING = NAMES = ("report.html", "progress.png", "progress.svg")


def write_report(story: Story, folder: Path, *, interactive: bool = False) -> tuple[Path, ...]:
    """Write report.html, progress.svg and, where vl-convert is installed, progress.png.

    Returns their paths in this order. `interactive` draws the page's chart with Vega. ReportError
    when no trial is finished, the extra `report` is missing, or a write fails.
    """
    from autoresearch.report.draw import png, vl_convert
    from autoresearch.report.page import page
    from autoresearch.report.picture import staircase_svg

    if not story.rows:
        raise ReportError("There is no finished trial to show yet. Run some: autoresearch run")
    picture = staircase_svg(story)
    written = [
        _write(folder / PAGE, page(story, interactive=interactive)),
        _write(folder / DRAWING, picture),
    ]
    with contextlib.suppress(ReportError):
        vl_convert()
        written.append(_write(folder / PICTURE, png(picture)))
    return tuple(written)


def _write(path: Path, content: bytes | str) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise ReportError(
            f"{path} cannot be written: {error.strerror or error}. "
            "Free some space, or name another folder with --out."
        ) from error
    return path
