"""The staircase and the table of trials in a terminal.

Both are rich renderables, and their `str` is plain text. Where the output cannot take UTF-8 they
use ASCII.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from autoresearch.digits import Digits
from autoresearch.report.scale import Scale, fit
from autoresearch.report.story import Position, Story
from autoresearch.report.text_canvas import Canvas, Cell, Signs, signs
from autoresearch.store.ledger import Status
from autoresearch.store.rows import plain

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.text import Text

_STYLES = {"keep": "bold green", "step": "cyan", "discard": "bright_black", "crash": "red"}
_STYLES |= {"off": "yellow", "line": "green", "axis": "bright_black", "title": "bold"}
_KIND = {
    Status.KEEP: "keep",
    Status.TENTATIVE: "step",
    Status.DISCARD: "discard",
    Status.CRASH: "crash",
}
_PAST = {"keep": "kept", "step": "step", "discard": "discarded", "crash": "crashed"}


def staircase(story: Story, width: int | None = None, height: int = 16) -> Staircase:
    """The last keep as a line and every trial as a mark, to print with rich."""
    return Staircase(story, width, height)


def trials_table(story: Story) -> TrialsTable:
    """All rows as a table, to print with rich."""
    return TrialsTable(story)


@dataclass(frozen=True)
class Staircase:
    """The value of the last keep over the trials; `width` columns, or all of the terminal's."""

    story: Story
    width: int | None = None
    height: int = 16  # lines of the plot itself

    def __str__(self) -> str:
        return _printed(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        del console
        width = min(self.width or options.max_width, options.max_width)
        yield self.text(width, ascii_only=options.ascii_only)

    def text(self, width: int, ascii_only: bool = False) -> Text:
        """The picture as rich text: legend, plot, axis."""
        from rich.text import Text

        sign, text = signs(ascii_only), Text(no_wrap=True, overflow="crop", end="")
        for line in _picture(self, max(width, 24), sign):
            for cell in line:
                text.append(cell.sign, _STYLES.get(cell.kind))
            text.append("\n")
        return text


@dataclass(frozen=True)
class TrialsTable:
    """Number, status, value, change, memory, seconds, commit and note of every row."""

    story: Story

    def __str__(self) -> str:
        return _printed(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.table import Table
        from rich.text import Text

        del console
        narrow, sign = options.max_width < 72, signs(options.ascii_only)
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bright_black")
        table.add_column("#", justify="right", no_wrap=True)
        table.add_column("status", no_wrap=True)
        table.add_column(sign.fit(plain(self.story.metric.name)), justify="right", no_wrap=True)
        for name in () if narrow else ("change", "GiB", "s"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("commit", no_wrap=True)
        table.add_column("note", ratio=1, overflow="fold")
        digits = self.story.summary.digits
        for position in self.story.positions:
            row = position.row
            style = _STYLES["axis" if row.skipped else _KIND[row.status]]
            cells = _cells(position, digits, narrow)
            table.add_row(*(Text(sign.fit(cell)) for cell in cells), style=style)
        yield table


def _printed(picture: Staircase | TrialsTable) -> str:
    """As plain text for this process's terminal, without colours."""
    from rich.console import Console

    console = Console(no_color=True, force_terminal=False, highlight=False)
    with console.capture() as captured:
        console.print(picture)
    return captured.get().rstrip("\n")


def _cells(position: Position, digits: Digits, narrow: bool) -> list[str]:
    row = position.row
    more = [
        digits.difference(position.delta),
        f"{row.memory_gb:.1f}" if row.memory_gb else "",
        "" if row.seconds is None else f"{row.seconds:,.0f}",
    ]
    note = f"{plain(row.note)} ({plain(row.reason)})" if row.reason else plain(row.note)
    value = digits.value(row.value)
    end = [plain(row.commit)[:8], note]
    return [str(row.number), row.word, value, *([] if narrow else more), *end]


def _picture(picture: Staircase, width: int, sign: Signs) -> list[list[Cell]]:
    """Every line of the picture."""
    height = max(picture.height, 5)
    rows = picture.story.rows
    scale = fit(rows, picture.story.metric).padded(best=0.05, worst=0.12)
    some = any(row.value is not None for row in rows)
    ticks = _ticks(scale, height) if some else {0: ""}
    gutter = max(map(len, ticks.values())) + 2
    canvas = Canvas(max(width - gutter, 10), height, sign)
    numbers = [row.number for row in rows] or [0]
    _draw(canvas, picture, scale, _Across(min(numbers), max(numbers)))
    lines = _legend(picture, sign, width)
    for at, cells in enumerate(canvas.lines()):
        name, wall = ticks.get(at, ""), sign.tick if at in ticks else sign.wall
        lines.append([Cell(f"{name:>{gutter - 2}} {wall}", "axis"), *cells])
    return lines + _axis(canvas.width, gutter, _Across(min(numbers), max(numbers)), sign)


@dataclass(frozen=True)
class _Across:
    """The horizontal axis: trial numbers to shares of the width."""

    first: int
    last: int

    def at(self, number: int) -> float:
        return (number - self.first + 0.5) / (self.last - self.first + 1)


def _ticks(scale: Scale, height: int) -> dict[int, str]:
    """Every fourth line of the plot -> the value in its middle."""
    form = ".4g" if scale.log else f",.{min(6, scale.decimals)}f"
    return {at: f"{scale.value(1 - (at + 0.5) / height):{form}}" for at in range(1, height, 4)}


def _draw(canvas: Canvas, picture: Staircase, scale: Scale, across: _Across) -> None:
    """Draw the staircase, the kept trials on it, the others beside it."""
    positions = picture.story.positions
    records = [(s.row.number, s.best) for s in positions if s.record and s.best is not None]
    steps = [(across.at(trial), 1 - scale.at(best)) for trial, best in records]
    canvas.stairs([*steps, (1.0, steps[-1][1])] if steps else [])
    edge, aside = (0.0, -1) if scale.best_is_low else (1.0, 1)
    for row in sorted(picture.story.rows, key=lambda row: row.status is Status.DISCARD):
        x = across.at(row.number)
        if row.skipped:
            continue
        if row.value is None or scale.off(row.value):
            canvas.mark(x, edge, "crash" if row.value is None else "off")
        elif row.status in (Status.KEEP, Status.TENTATIVE):
            canvas.mark(x, 1 - scale.at(row.value), _KIND[row.status])
        else:
            canvas.dot(x, 1 - scale.at(row.value), aside)


def _legend(picture: Staircase, sign: Signs, width: int) -> list[list[Cell]]:
    """The outcome and the counts, on one line where they fit."""
    story = picture.story
    title = [Cell(sign.fit(plain(story.summary.headline)), "title")]
    counts = []
    for status, kind in _KIND.items():
        if any(row.status is status and not row.skipped for row in story.rows):
            counts += [Cell("   "), Cell(sign.marks[kind], kind)]
            counts.append(Cell(f" {_PAST[kind]}", "axis"))
    values = [row.value for row in story.rows if row.value is not None]
    if any(map(fit(story.rows, story.metric).off, values)):
        counts += [Cell("   "), Cell(sign.marks["off"], "off"), Cell(" off the scale", "axis")]
    fits = sum(len(cell.sign) for cell in title + counts) <= width
    return [title + counts] if fits else [title, counts[1:]]


def _axis(width: int, gutter: int, across: _Across, sign: Signs) -> list[list[Cell]]:
    """The bottom line, and below it trial numbers that do not touch."""
    floor = " " * (gutter - 1) + sign.corner + sign.floor * width
    names, end, label = [" "] * width, -2, "trial"
    steps = (s * 10**k for k in range(12) for s in (1, 2, 5))
    step = next(s for s in steps if s * width >= 7 * (across.last - across.first))
    for trial in range(-(-across.first // step) * step, across.last + 1, step):
        at, name = int(across.at(trial) * width), str(trial)
        if at > end + 1 and at + len(name) <= width:
            names[at : at + len(name)] = name
            end = at + len(name)
    if end + 2 + len(label) <= width:
        names[-len(label) :] = label
    return [[Cell(floor, "axis")], [Cell(" " * gutter + "".join(names), "axis")]]
