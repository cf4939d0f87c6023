"""Where the commits of a graph go: a straight line for the longest way, branches below it.

Columns are generations. A commit that nobody built on and that was only an attempt hangs with its
siblings on a rail under their parent. Units are pixels, y grows down.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from agenthub.records.commits import ATTEMPT, Commit

LANE = 22  # pixels between two lines
LEFT, TOP = 34, 30
WORD = 32  # pixels of a word above a commit, to both sides
WIDTH = 1040
NARROWEST, WIDEST = 24, 84  # between two generations
RAIL, RAIL_STEP, RAIL_START = 16, 11, 16  # attempts on one rail, and the room they take


@dataclass(frozen=True)
class Node:
    """A commit in its place."""

    commit: Commit
    x: float
    y: float
    older: bool  # only there because newer ones were built on it
    hangs: bool  # on a rail


@dataclass(frozen=True)
class Edge:
    """From a commit to one built on it; `kind` is line, merge or rail."""

    kind: str
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True)
class Graph:
    """A drawing of commits."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    width: float
    height: float


def laid_out(
    commits: Sequence[Commit], older: Sequence[Commit] = (), named: Collection[str] = ()
) -> Graph:
    """Places for commits, and for those that they were built on; `named` ones, by their hashes,
    have room for a word above them."""
    return _Layout(commits, older, named).graph()


@dataclass(eq=False)
class _Knot:
    """A commit on its way to a place."""

    commit: Commit
    older: bool
    parent: _Knot | None = None  # the first that is drawn
    others: list[_Knot] = field(default_factory=list)  # the other parents
    children: list[_Knot] = field(default_factory=list)  # that it is the parent of
    depth: int = 0
    reach: int = 0  # generations below it
    x: float = 0
    y: float = 0

    @property
    def hangs(self) -> bool:
        """Whether it goes on its parent's rail."""
        bare = not self.children and not self.others and self.parent is not None
        return bare and self.commit.role == ATTEMPT


class _Layout:
    def __init__(
        self, commits: Sequence[Commit], older: Sequence[Commit], named: Collection[str]
    ) -> None:
        self.named = named
        self.knots: dict[str, _Knot] = {}
        self.lanes: list[list[tuple[float, float]]] = []  # what is taken of each line
        self.edges: list[Edge] = []
        marked = [(c, False) for c in commits] + [(c, True) for c in older]
        for commit, old in sorted(marked, key=lambda each: each[0].seq):
            self._tie(_Knot(commit, old))
        for knot in reversed(self.knots.values()):
            if knot.parent is not None and not knot.hangs:
                knot.parent.reach = max(knot.parent.reach, knot.reach + 1)
        columns = max((k.depth for k in self.knots.values() if not k.hangs), default=0)
        room = (WIDTH - 2 * LEFT - 60) / max(1, columns)
        self.step = min(WIDEST, max(NARROWEST, room))

    def graph(self) -> Graph:
        for knot in self.knots.values():
            if knot.parent is None:
                self._place(knot)
        self._merges()
        nodes = [Node(k.commit, k.x, k.y, k.older, k.hangs) for k in self.knots.values()]
        right = max((node.x for node in nodes), default=0)
        return Graph(
            tuple(nodes),
            tuple(self.edges),
            right + LEFT,
            2 * TOP + LANE * max(0, len(self.lanes) - 1),
        )

    def _tie(self, knot: _Knot) -> None:
        above = [self.knots[sha] for sha in knot.commit.parents if sha in self.knots]
        if above:
            knot.parent, knot.others = above[0], above[1:]
            knot.parent.children.append(knot)
            knot.depth = 1 + max(parent.depth for parent in above)
        self.knots[knot.commit.sha] = knot

    def _place(self, root: _Knot) -> None:
        """A root and all below it: from each line first the branches at its right end, which so
        come nearest, and no branch further left has to cross them."""
        waiting = [(root, 0)]
        while waiting:
            start, above = waiting.pop()
            line = _line(start)
            lane = self._put(line, above)
            branches = []
            for knot in line:
                self._hang(knot, [child for child in knot.children if child.hangs], lane + 1)
                inner = [c for c in knot.children if not c.hangs and c not in line]
                branches += [(child, lane + 1) for child in inner]
            waiting += branches  # the last one is the rightmost, and is taken first

    def _put(self, line: Sequence[_Knot], above: int) -> int:
        """A line of commits in the first lane that has room for it."""
        start = line[0].parent
        for knot in line:
            knot.x = LEFT + self.step * knot.depth
        begin = line[0].x if start is None else start.x + 6
        names = [(k.x - WORD, k.x + WORD) for k in line if k.commit.sha in self.named]
        lane = self._free(above, begin, line[-1].x + 12, names)
        for knot in line:
            knot.y = TOP + LANE * lane
        for parent, child in zip([start, *line[:-1]], line, strict=True):
            if parent is not None:
                self.edges.append(Edge("line", parent.x, parent.y, child.x, child.y))
        return lane

    def _hang(self, parent: _Knot, attempts: Sequence[_Knot], above: int) -> None:
        for at in range(0, len(attempts), RAIL):
            some = attempts[at : at + RAIL]
            end = parent.x + RAIL_START + RAIL_STEP * (len(some) - 1)
            lane = self._free(above, parent.x - 2, end + 8)
            for index, knot in enumerate(some):
                knot.x = parent.x + RAIL_START + RAIL_STEP * index
                knot.y = TOP + LANE * lane
            self.edges.append(Edge("rail", parent.x, parent.y, end, TOP + LANE * lane))

    def _free(
        self, above: int, begin: float, end: float, names: Sequence[tuple[float, float]] = ()
    ) -> int:
        """The first lane with room for a span, and with room above it for some words."""
        lane = above
        while self._taken(lane, begin, end) or any(
            lane and self._taken(lane - 1, *name) for name in names
        ):
            lane += 1
        self._lane(lane).append((begin, end))
        if lane:
            self._lane(lane - 1).extend(names)
        return lane

    def _taken(self, lane: int, begin: float, end: float) -> bool:
        return any(b < end and begin < e for b, e in self._lane(lane))

    def _lane(self, lane: int) -> list[tuple[float, float]]:
        while len(self.lanes) <= lane:
            self.lanes.append([])
        return self.lanes[lane]

    def _merges(self) -> None:
        for knot in self.knots.values():
            for other in knot.others:
                self.edges.append(Edge("merge", other.x, other.y, knot.x, knot.y))


def _line(start: _Knot) -> list[_Knot]:
    """The longest way down from a commit."""
    found = [start]
    while below := [child for child in found[-1].children if not child.hangs]:
        found.append(max(below, key=lambda knot: (knot.reach, -knot.commit.seq)))
    return found


def busiest(commits: Iterable[Commit], most: int = 8) -> tuple[str, ...]:
    """The agents with the most commits, who get a colour of their own."""
    counts: dict[str, int] = {}
    for commit in commits:
        counts[commit.agent] = counts.get(commit.agent, 0) + 1
    return tuple(sorted(counts, key=lambda agent: (-counts[agent], agent))[:most])
