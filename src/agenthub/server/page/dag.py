"""The graph of commits as SVG: a colour for each agent, a ring for the frontier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agenthub.records.commits import ATTEMPT, Commit
from agenthub.records.results import Result
from agenthub.server.page.graph import Edge, Node, busiest, laid_out
from agenthub.server.page.markup import Html, html, joined, line, number

SUBJECT = 120  # characters of a commit's subject that are shown at once


@dataclass(frozen=True)
class Palette:
    """Which agent has which colour; one beyond them has the last, a quiet one."""

    agents: tuple[str, ...]

    def of(self, agent: str) -> str:
        """The class of an agent's colour."""
        return f"c{self.agents.index(agent)}" if agent in self.agents else "c-other"


def palette(commits: Sequence[Commit]) -> Palette:
    """Colours for the agents with the most commits."""
    return Palette(busiest(commits))


def drawing(
    slug: str,
    commits: Sequence[Commit],
    older: Sequence[Commit],
    colours: Palette,
    best: Mapping[str, Sequence[Result]],
) -> Html:
    """The picture. `best` has the results that are told of a commit, by its hash."""
    graph = laid_out(commits, older, best)
    height = graph.height + 8
    nodes = sorted(graph.nodes, key=lambda node: (node.commit.role != ATTEMPT, node.commit.seq))
    return html(
        '<svg class="dag" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="group" '
        'aria-labelledby="dag-title"><title id="dag-title">{title}</title>'
        "<g>{edges}</g><g>{nodes}</g></svg>",
        w=f"{graph.width:.0f}",
        h=f"{height:.0f}",
        title=f"The newest {len(commits)} commits, from parents on the left to children",
        edges=joined(_edge(edge) for edge in graph.edges),
        nodes=joined(_node(slug, node, colours, best) for node in nodes),
    )


def key(colours: Palette, commits: Sequence[Commit], slug: str) -> Html:
    """What the colours and marks mean."""
    names = [
        html(
            '<li><svg class="dot" width="12" height="12" aria-hidden="true">'
            '<circle class="{c}" cx="6" cy="6" r="5"/></svg>'
            '<a href="/p/{slug}/agent/{name}">{name}</a></li>',
            c=colours.of(name),
            slug=slug,
            name=name,
        )
        for name in colours.agents
    ]
    if any(commit.agent not in colours.agents for commit in commits):
        names.append(_mark('<circle class="c-other" cx="6" cy="6" r="5"/>', "others"))
    names.append(_mark('<circle class="ring" cx="8" cy="8" r="7"/>'
                       '<circle class="ink" cx="8" cy="8" r="4"/>', "frontier", 16))  # fmt: skip
    names.append(_mark('<circle class="ink" cx="6" cy="6" r="2.6"/>', "attempt"))
    return html('<ul class="key">{names}</ul>', names=joined(names))


def _mark(shape: str, word: str, size: int = 12) -> Html:
    return html(
        '<li><svg class="dot" width="{size}" height="{size}" aria-hidden="true">{shape}</svg>'
        "{word}</li>",
        size=size, shape=Html(shape), word=word,
    )  # fmt: skip


def _edge(edge: Edge) -> Html:
    x0, y0, x1, y1 = (f"{value:.1f}" for value in (edge.x0, edge.y0, edge.x1, edge.y1))
    if edge.kind == "rail":
        path = f"M{x0} {y0}V{edge.y1 - 6:.1f}Q{x0} {y1} {edge.x0 + 6:.1f} {y1}H{x1}"
    elif edge.kind == "merge":
        middle = f"{(edge.x0 + edge.x1) / 2:.1f}"
        path = f"M{x0} {y0}C{middle} {y0} {middle} {y1} {x1} {y1}"
    elif y0 == y1:
        path = f"M{x0} {y0}H{x1}"
    else:
        bend = min(edge.x1 - edge.x0, 40) / 2
        turn = edge.x0 + 2 * bend
        path = f"M{x0} {y0}C{edge.x0 + bend:.1f} {y0} {turn - bend:.1f} {y1} {turn:.1f} {y1}H{x1}"
    return html('<path class="{kind}" d="{path}"/>', kind=edge.kind, path=path)


def _node(slug: str, node: Node, colours: Palette, best: Mapping[str, Sequence[Result]]) -> Html:
    commit, at = node.commit, {"x": f"{node.x:.1f}", "y": f"{node.y:.1f}"}
    results = best.get(commit.sha, ())
    return html(
        '<a href="/p/{slug}/commit/{sha}" tabindex="-1" class="{classes}">{ring}'
        '<circle class="hit" cx="{x}" cy="{y}" r="9"/>'
        '<circle class="{c}" cx="{x}" cy="{y}" r="{r}"/><title>{told}</title>{label}</a>',
        slug=slug,
        sha=commit.sha,
        classes=" ".join(_classes(node)),
        ring=html('<circle class="ring" cx="{x}" cy="{y}" r="8.5"/>', **at)
        if commit.is_leaf
        else "",
        c=colours.of(commit.agent),
        r=2.8 if commit.role == ATTEMPT else 5,
        told=_told(commit, results),
        label=_label(node, results),
        **at,
    )


def _classes(node: Node) -> list[str]:
    found = ["node", "attempt" if node.commit.role == ATTEMPT else "frontier"]
    found += ["leaf"] if node.commit.is_leaf else []
    return [*found, "older"] if node.older else found


def _label(node: Node, results: Sequence[Result]) -> Html:
    """The value of a commit that leads."""
    if not results:
        return Html("")
    result = results[0]
    value = result.value if result.mean is None else result.mean
    text = f"{number(value or 0.0)}{' ✓' if result.verdict == 'confirmed' else ''}"
    return html(
        '<text class="lead" x="{x}" y="{y}" text-anchor="middle">{text}</text>',
        x=f"{node.x:.1f}", y=f"{node.y - 13:.1f}", text=text,
    )  # fmt: skip


def _told(commit: Commit, results: Sequence[Result]) -> Html:
    values = (
        f"{number(r.value)} {r.metric} on {r.tier}, {r.verdict}"
        for r in results
        if r.value is not None
    )
    where = "frontier" if commit.is_leaf else commit.role
    parts = [commit.sha[:12], commit.agent, line(commit.subject, SUBJECT), *values, where]
    return joined(parts, Html(" · "))
