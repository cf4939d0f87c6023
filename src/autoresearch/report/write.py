"""Write the report to disk: each file appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

from autoresearch.errors import ReportError
from autoresearch.files import write_whole
from autoresearch.report.story import Story

PAGE, PICTURE, DRAWING = NAMES = ("report.html", "progress.png", "progress.svg")


def write_report(story: Story, folder: Path) -> tuple[Path, Path, Path]:
    """Write report.html, progress.png and progress.svg; return their paths in this order.

    ReportError when no trial is finished, the extra `report` is missing, or a write fails.
    """
    from autoresearch.report.chart import staircase_chart
    from autoresearch.report.draw import png, svg
    from autoresearch.report.page import page

    if not story.rows:
        raise ReportError("There is no finished trial to show yet. Run some: autoresearch run")
    chart = staircase_chart(story)
    picture = svg(chart)
    return (
        _write(folder / PAGE, page(story, picture)),
        _write(folder / PICTURE, png(chart)),
        _write(folder / DRAWING, picture),
    )


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
