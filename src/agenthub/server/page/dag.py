"""The graph of commits as it is drawn: a colour for each agent, a ring for the frontier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agenthub.records.commits import ATTEMPT, Commit
from agenthub.records.results import Result
from agenthub.server.page.graph import Edge, Node, busiest, laid_out
from agenthub.server.page.rendering import number
from agenthub.validation import clean_line

SUBJECT = 120  # characters of a commit's subject in its mark's title


@dataclass(frozen=True)
class Palette:
    """The agents that have a colour of their own; all others share a quiet one."""

    agents: tuple[str, ...]
    others: bool  # whether there are any

    def of(self, agent: str) -> str:
        """The CSS class of an agent's colour."""
        return f"c{self.agents.index(agent)}" if agent in self.agents else "c-other"


@dataclass(frozen=True)
class Line:
    """An edge as an SVG path."""

    kind: str  # line, merge, rail
    path: str


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


@dataclass(frozen=True)
class Picture:
    """All that the template draws."""

    width: float
    height: float
    count: int  # of the newest commits
    edges: tuple[Line, ...]
    marks: tuple[Mark, ...]


def palette(commits: Sequence[Commit]) -> Palette:
    """Colours for the agents with the most commits."""
    agents = busiest(commits)
    return Palette(agents, any(commit.agent not in agents for commit in commits))


def picture(
    commits: Sequence[Commit],
    older: Sequence[Commit],
    colours: Palette,
    best: Mapping[str, Sequence[Result]],
) -> Picture:
    """The graph of `commits`. `best` maps the hash of a leading commit to its results."""
    graph = laid_out(commits, older, best)
    nodes = sorted(graph.nodes, key=lambda node: (node.commit.role != ATTEMPT, node.commit.seq))
    return Picture(
        graph.width,
        graph.height + 8,
        len(commits),
        tuple(Line(edge.kind, _path(edge)) for edge in graph.edges),
        tuple(_mark(node, colours, best.get(node.commit.sha, ())) for node in nodes),
    )


def _path(edge: Edge) -> str:
    x0, y0, x1, y1 = (f"{value:.1f}" for value in (edge.x0, edge.y0, edge.x1, edge.y1))
    if edge.kind == "rail":
        return f"M{x0} {y0}V{edge.y1 - 6:.1f}Q{x0} {y1} {edge.x0 + 6:.1f} {y1}H{x1}"
    if edge.kind == "merge":
        middle = f"{(edge.x0 + edge.x1) / 2:.1f}"
        return f"M{x0} {y0}C{middle} {y0} {middle} {y1} {x1} {y1}"
    if y0 == y1:
        return f"M{x0} {y0}H{x1}"
    bend = min(edge.x1 - edge.x0, 40) / 2
    turn = edge.x0 + 2 * bend
    return f"M{x0} {y0}C{edge.x0 + bend:.1f} {y0} {turn - bend:.1f} {y1} {turn:.1f} {y1}H{x1}"


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
