"""The staircase as an SVG of our own: for the page with links, for a file with its title."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autoresearch.report import draw
from autoresearch.report.failures import failure_words
from autoresearch.report.labels import shortened, text_width
from autoresearch.report.plan import LABEL_SIZE, LARGE, SMALL, Plan, Size
from autoresearch.report.rendering import asset, templates
from autoresearch.report.story import Position, Story
from autoresearch.report.verdict import verdict
from autoresearch.store.ledger import Status
from autoresearch.store.rows import plain

if TYPE_CHECKING:
    from markupsafe import Markup

_NOTE = 90  # characters of a note in a tooltip
_SHAPES = {  # kind -> its outline, from the middle
    "kept": "m-4.2 0a4.2 4.2 0 1 0 8.4 0a4.2 4.2 0 1 0 -8.4 0z",
    "step": "m-4.8 0l4.8 -4.8l4.8 4.8l-4.8 4.8z",
    "discarded": "m-2.6 0a2.6 2.6 0 1 0 5.2 0a2.6 2.6 0 1 0 -5.2 0z",
    "not confirmed": "m-3.6 0a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0 -7.2 0z",
    "crashed": "m-3.4 -3.4l6.8 6.8m0 -6.8l-6.8 6.8",
    "off the scale": "m-4 3.2h8l-4 -6.8z",
    "no value": "m-4 0l4 -4l4 4l-4 4z",
}
_DOWN = "m-4 -3.2h8l-4 6.8z"  # off the scale, where better is above


@dataclass(frozen=True)
class Mark:
    """A trial as it is drawn."""

    trial: int
    kind: str  # a class of the style sheet
    path: str
    title: str


@dataclass(frozen=True)
class Key:
    """An entry of the legend."""

    x: float
    y: float
    kind: str
    path: str
    text: str


@dataclass(frozen=True)
class Frame:
    """The margins around a plot, in pixels."""

    left: float
    right: float
    top: float
    bottom: float


_LINE = 18.0  # pixels between two lines of the legend


class Drawing:
    """One staircase as its template draws it, in pixels from the plot's upper left corner."""

    def __init__(self, story: Story, size: Size) -> None:
        self.story, self.size, self.plan = story, size, Plan(story, size)
        ticks = max((text_width(text, LABEL_SIZE) for _, text in self.ticks()), default=0.0)
        self.left = max(76.0 if size is LARGE else 58.0, ticks + 14)
        self.keys = self._large_legend() if size is LARGE else self._small_legend()
        lines = 1 + (0 if size is LARGE else len({key.y for key in self.keys}))
        top = 22 + _LINE * lines
        right, bottom = (12.0, 44.0) if size is LARGE else (8.0, 42.0)
        self.frame = Frame(self.left, right, top, bottom)
        self.sentence = f"Staircase of {plain(story.title)}. {verdict(story).text}"
        better = "lower" if story.metric.direction == "minimize" else "higher"
        self.axis = f"{plain(story.metric.name)} ({better} is better)"

    @property
    def width(self) -> float:
        """Of the whole picture."""
        return self.frame.left + self.size.width + self.frame.right

    @property
    def height(self) -> float:
        """Of the whole picture."""
        return self.frame.top + self.size.height + self.frame.bottom

    def ticks(self) -> list[tuple[float, str]]:
        """Horizontal grid lines: place and text."""
        most = 7 if self.size is LARGE else 5
        return [(self.plan.height(v), text) for v, text in self.plan.scale.ticks(most)]

    def trials(self) -> list[tuple[float, int]]:
        """Trial numbers on the axis below: place and number."""
        return [(self.plan.x(number), number) for number in self.plan.trial_ticks()]

    def line(self) -> str:
        """The value of the last keep."""
        return self._path(self.plan.stairs())

    def tip(self) -> str:
        """From the last keep along the open steps to the tip."""
        return self._path(self.plan.tip_line())

    def marks(self) -> Iterator[Mark]:
        """Every trial that ran; the kept ones lie on top."""
        order = {Status.KEEP: 2, Status.TENTATIVE: 1}
        for position in sorted(self.plan.positions, key=lambda p: order.get(p.row.status, 0)):
            kind = self.plan.kind(position)
            at = self.plan.x(position.row.number), self.plan.y(position)
            yield Mark(position.row.number, _class(kind), self._shape(kind, *at),
                       self._title(position))  # fmt: skip

    def _large_legend(self) -> list[Key]:
        """One line, at the right above the plot."""
        entries = self._legend()
        x, found = self.size.width - sum(width for _, width in entries) + 10, []
        for kind, width in entries:
            found.append(self._key(kind, x, -_LINE))
            x += width
        return found

    def _small_legend(self) -> list[Key]:
        """As many lines as it takes, from the left, above the plot."""
        lines: list[list[tuple[str, float]]] = [[]]
        for kind, width in self._legend():
            if sum(w for _, w in lines[-1]) + width > self.size.width + self.left:
                lines.append([])
            lines[-1].append((kind, width))
        found = []
        for number, line in enumerate(lines):
            x = 6 - self.left
            for kind, width in line:
                found.append(self._key(kind, x, -_LINE * (len(lines) - number)))
                x += width
        return found

    def _legend(self) -> list[tuple[str, float]]:
        """The kinds of marks that are drawn, with the width of their entries."""
        present = {self.plan.kind(position) for position in self.plan.positions}
        kinds = [kind for kind in draw.KINDS if kind in present]
        return [(kind, text_width(kind, LABEL_SIZE) + 26) for kind in kinds]

    def _key(self, kind: str, x: float, y: float) -> Key:
        return Key(x, y, _class(kind), self._shape(kind, x + 5, y), kind)

    def _path(self, corners: Sequence[tuple[int, float]]) -> str:
        places = [(self.plan.x(number), self.plan.height(value)) for number, value in corners]
        if not places:
            return ""
        start = f"M{places[0][0]:.1f} {places[0][1]:.1f}"
        return start + "".join(f"H{x:.1f}V{y:.1f}" for x, y in places[1:])

    def _shape(self, kind: str, x: float, y: float) -> str:
        flipped = kind == "off the scale" and not self.plan.scale.best_is_low
        return f"M{x:.1f} {y:.1f}{_DOWN if flipped else _SHAPES[kind]}"

    def _title(self, position: Position) -> str:
        """What a pointer or a screen reader finds at a mark."""
        row, digits = position.row, self.story.summary.digits
        note = shortened(plain(row.note), _NOTE)
        head = f"#{row.number} {row.word}"
        if row.value is None:
            return f"{head}: {shortened(failure_words(row), _NOTE)} — {note}"
        value = f"{head} {digits.value(row.value)}"
        if position.delta is not None:
            value += f" ({digits.difference(position.delta)})"
        return value if self.size is SMALL else f"{value} — {note}"


def staircase_svg(story: Story) -> str:
    """The staircase as a file, with its title and headline, in the light colours."""
    return _rendered(Drawing(story, LARGE), alone=True)


def page_svg(story: Story, size: Size) -> Markup:
    """The staircase as a part of the page, which colours it; its marks link to the table."""
    from markupsafe import Markup

    return Markup(_rendered(Drawing(story, size), alone=False))


def _rendered(drawing: Drawing, *, alone: bool) -> str:
    from markupsafe import Markup

    style = Markup(draw.in_light(asset("chart.css"))) if alone else ""
    head = 66 if alone else 0
    return (
        templates()
        .get_template("staircase.svg")
        .render(chart=drawing, alone=alone, style=style, head=head, font=draw.FONT, size=LABEL_SIZE)
    )


def _class(kind: str) -> str:
    return kind.replace(" ", "-")
