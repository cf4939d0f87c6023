"""The graph of commits as it is drawn: the longest line of descent is straight, branches lie below.

Columns are generations. An attempt that nobody built on hangs with its siblings on a rail under
their parent. Units are pixels, y grows down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from agenthub.records.commits import ATTEMPT, Commit
from agenthub.records.results import Result
from agenthub.server.page.rendering import number
from agenthub.validation import clean_line

LANE = 22  # pixels between two lines
LEFT, TOP = 34, 30
LABEL = 32  # pixels that a label above a commit needs, to each side
WIDTH = 1040
NARROWEST, WIDEST = 24, 84  # pixels between two generations
COLOURS = 8  # agents with a colour of their own
SUBJECT = 120  # characters of a commit's subject in its mark's title
RAIL, RAIL_STEP, RAIL_START = 16, 11, 16  # attempts on one rail; pixels between and before them


@dataclass(frozen=True)
class Node:
    """A commit with its place."""

    commit: Commit
    x: float
    y: float
    older: bool  # drawn only as a parent of newer ones
    hangs: bool  # on a rail


@dataclass(frozen=True)
class Edge:
    """An edge from a commit to its child; `kind` is line, merge or rail."""

    kind: str
    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def path(self) -> str:
        """The edge as an SVG path."""
        x0, y0, x1, y1 = (f"{value:.1f}" for value in (self.x0, self.y0, self.x1, self.y1))
        if self.kind == "rail":
            return f"M{x0} {y0}V{self.y1 - 6:.1f}Q{x0} {y1} {self.x0 + 6:.1f} {y1}H{x1}"
        if self.kind == "merge":
            middle = f"{(self.x0 + self.x1) / 2:.1f}"
            return f"M{x0} {y0}C{middle} {y0} {middle} {y1} {x1} {y1}"
        if y0 == y1:
            return f"M{x0} {y0}H{x1}"
        bend = min(self.x1 - self.x0, 40) / 2
        turn = self.x0 + 2 * bend
        return f"M{x0} {y0}C{self.x0 + bend:.1f} {y0} {turn - bend:.1f} {y1} {turn:.1f} {y1}H{x1}"


@dataclass(frozen=True)
class Graph:
    """Commits and edges with their places."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    width: float
    height: float


def laid_out(
    commits: Sequence[Commit], older: Sequence[Commit] = (), named: Collection[str] = ()
) -> Graph:
    """Place commits and their `older` parents, with room for a label above those whose hash is in
    `named`."""
    return _Layout(commits, older, named).graph()


@dataclass(eq=False)
class _Knot:
    """A commit while the layout places it."""

    commit: Commit
    older: bool
    parent: _Knot | None = None  # the first parent that is drawn
    others: list[_Knot] = field(default_factory=list)  # the other parents that are drawn
    children: list[_Knot] = field(default_factory=list)  # those whose first parent it is
    depth: int = 0
    reach: int = 0  # generations of descendants
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
        self.lanes: list[list[tuple[float, float]]] = []  # taken spans, by lane
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
        for knot in self.knots.values():
            for other in knot.others:
                self.edges.append(Edge("merge", other.x, other.y, knot.x, knot.y))
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
        """Place a root and its descendants. Branches at a line's right end come first and lie
        nearest, so that no branch further left crosses them."""
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
            waiting += branches  # the rightmost is last, and pop() takes it first

    def _put(self, line: Sequence[_Knot], above: int) -> int:
        """Put a line of commits into the first lane that has room; return the lane."""
        start = line[0].parent
        for knot in line:
            knot.x = LEFT + self.step * knot.depth
        begin = line[0].x if start is None else start.x + 6
        names = [(k.x - LABEL, k.x + LABEL) for k in line if k.commit.sha in self.named]
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
        """Take the first lane with room for a span, and above it for labels; return the lane."""
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


def _line(start: _Knot) -> list[_Knot]:
    """The longest line of descent from a commit."""
    found = [start]
    while below := [child for child in found[-1].children if not child.hangs]:
        found.append(max(below, key=lambda knot: (knot.reach, -knot.commit.seq)))
    return found


# ---- how it is drawn ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Palette:
    """The agents that have a colour of their own; all others share a quiet one."""

    agents: tuple[str, ...]
    others: bool  # whether there are any

    def of(self, agent: str) -> str:
        """The CSS class of an agent's colour."""
        return f"c{self.agents.index(agent)}" if agent in self.agents else "c-other"


def palette(commits: Sequence[Commit]) -> Palette:
    """Colours for the agents with the most commits."""
    counts = Counter(commit.agent for commit in commits)
    agents = sorted(counts, key=lambda agent: (-counts[agent], agent))
    return Palette(tuple(agents[:COLOURS]), len(agents) > COLOURS)


@dataclass(frozen=True)
class Mark:
    """A commit as it is drawn. Its title is foreign text."""

    commit: Commit
    x: float
    y: float
    classes: str
    colour: str
    radius: float
    title: str
    value: str  # above the mark; empty for a commit that does not lead


def marks(graph: Graph, colours: Palette, best: Mapping[str, Sequence[Result]]) -> tuple[Mark, ...]:
    """Marks for all commits, the frontier's on top. `best` maps a leading commit's hash to its
    results."""
    nodes = sorted(graph.nodes, key=lambda node: (node.commit.role != ATTEMPT, node.commit.seq))
    return tuple(_mark(node, colours, best.get(node.commit.sha, ())) for node in nodes)


def _mark(node: Node, colours: Palette, results: Sequence[Result]) -> Mark:
    commit = node.commit
    attempt = commit.role == ATTEMPT
    classes = ["node", "attempt" if attempt else "frontier"]
    classes += ["leaf"] * commit.is_leaf + ["older"] * node.older
    values = (
        f"{number(r.value)} {r.metric} on {r.tier}, {r.verdict}"
        for r in results
        if r.value is not None
    )
    where = "frontier" if commit.is_leaf else commit.role
    subject = clean_line(commit.subject, SUBJECT)
    return Mark(
        commit,
        node.x,
        node.y,
        " ".join(classes),
        colours.of(commit.agent),
        2.8 if attempt else 5,
        " · ".join([commit.sha[:12], commit.agent, subject, *values, where]),
        _value(results[0]) if results else "",
    )


def _value(result: Result) -> str:
    """The value above a leading commit; a tick where others confirmed it."""
    value = result.value if result.mean is None else result.mean
    return f"{number(value)}{' ✓' if result.verdict == 'confirmed' else ''}"
