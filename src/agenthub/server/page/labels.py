"""Places for the labels of a curve: near their points, off the curve and off each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_NARROW, _WIDE = set("iljtfrI.,:;'|!()[] -·"), set("mwMW@%—…")
_HALF = 7.0  # half the height of a line of text
_AWAY = (9.0, 16.0, 26.0, 40.0, 58.0, 80.0, 104.0)  # distances to try, in pixels


@dataclass(frozen=True)
class Box:
    """A rectangle; y grows down."""

    x0: float
    y0: float
    x1: float
    y1: float

    def meets(self, other: Box) -> bool:
        """Whether the two overlap."""
        return (
            self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1
        )


@dataclass(frozen=True)
class Wish:
    """A point that wants a label."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Label:
    """A label with its place; `start` says whether the text begins at x or ends there."""

    wish: Wish
    x: float
    y: float  # of the text's middle
    start: bool

    @property
    def leader(self) -> bool:
        """Whether the label is so far from its point that a line must join them."""
        return abs(self.x - self.wish.x) > 14 or abs(self.y - self.wish.y) > 18


def placed(wishes: Sequence[Wish], room: Box, walls: Sequence[Box], size: float) -> list[Label]:
    """Labels inside the room and off the walls, for as many wishes as fit; the first win."""
    taken, found = list(walls), []
    for wish in wishes:
        for label, box in _places(wish, size):
            inside = room.x0 <= box.x0 and box.x1 <= room.x1
            inside = inside and room.y0 <= box.y0 and box.y1 <= room.y1
            if inside and not any(box.meets(other) for other in taken):
                taken.append(box)
                found.append(label)
                break
    return found


def width_of(text: str, size: float) -> float:
    """The width of a line of text in pixels, in Helvetica and the like; never too small."""
    shares = (
        0.36 if c in _NARROW
        else 0.93 if c in _WIDE
        else 1.05 if ord(c) > 0x2E7F
        else 0.72 if c.isupper()
        else 0.58
        for c in text
    )  # fmt: skip
    return size * sum(shares)


def shortened(text: str, limit: int) -> str:
    """A text cut to `limit` characters, between words where possible."""
    if len(text) <= limit:
        return text
    cut = text[: limit - 1]
    words = cut.rsplit(" ", 1)[0]
    return (words if len(words) > limit // 2 else cut).rstrip(" ,;:(") + "…"


def _places(wish: Wish, size: float) -> Iterator[tuple[Label, Box]]:
    """All places to try: above right first, where a falling staircase leaves room."""
    width = width_of(wish.text, size)
    for away in _AWAY:
        for up, start in ((-1, True), (1, False), (-1, False), (1, True)):
            for aside in (5.0, 18.0, 36.0):
                x = wish.x + aside if start else wish.x - aside
                y = wish.y + up * (away + _HALF - 4)
                left = x if start else x - width
                yield (
                    Label(wish, x, y, start),
                    Box(left - 2, y - _HALF, left + width + 2, y + _HALF),
                )
