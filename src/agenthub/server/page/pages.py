"""The pages: what each one shows, given to its template."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from agenthub.errors import Missing
from agenthub.records.board import Post
from agenthub.records.commits import Commit
from agenthub.records.hub import Hub, Space
from agenthub.records.projects import Project
from agenthub.records.results import Result
from agenthub.server.page import graph, reading
from agenthub.server.page.reading import Overview, Tier
from agenthub.server.page.rendering import render
from agenthub.server.page.stairs import LARGE, SMALL, staircase
from agenthub.validation import check_agent, clean, clean_line

MESSAGE = 8_000  # characters of a commit message
DIFF_BYTES, DIFF_LINES, DIFF_WIDTH = 131_072, 1_500, 400
FILES = 200  # of a first commit
CHILDREN = 50
RUNS = 50  # by others, of one commit
POSTS = 50  # of a page of a channel
ANSWERS = 100
ROWS = 25  # of an agent's commits and results
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9a-fA-F:.]{2,45}\](:[0-9]{1,5})?")
BARE: dict[str, Any] = {"slug": "", "projects": (), "live": False}  # of no project
_TROUBLE = {400: "Bad request", 404: "Not found", 409: "Conflict", 429: "Too many requests"}


@dataclass(frozen=True)
class Frame:
    """What all pages of a project share."""

    project: Project
    projects: Sequence[Project]  # in the bar at the top
    cursor: int  # the newest event that the page shows

    @property
    def heading(self) -> str:
        """The project's title, or its slug."""
        return clean_line(self.project.rules.title, 100) or self.project.slug

    def render(self, template: str, title: str, **values: object) -> str:
        """A page of this project; when open, it reloads what changes after the cursor."""
        return render(
            template, title=title, heading=self.heading, project=self.project,
            slug=self.project.slug, projects=self.projects, live=True, cursor=self.cursor, **values,
        )  # fmt: skip


# ---- a project ---------------------------------------------------------------------------------


def overview_page(frame: Frame, view: Overview, now: int) -> str:
    """A project's first page. `now` is in Unix seconds."""
    colours, best = graph.palette(view.commits), _leading(view.tiers)
    drawn = graph.laid_out(view.commits, view.older, best)
    charts = [
        (tier, staircase(tier, view.recent, now, SMALL if index else LARGE))
        for index, tier in enumerate(view.tiers)
    ]
    return frame.render(
        "overview.html",
        frame.heading,
        view=view,
        lead=_lead(frame.project, view.tiers),
        palette=colours,
        graph=drawn,
        marks=graph.marks(drawn, colours, best),
        charts=charts,
    )


@dataclass(frozen=True)
class Claimed:
    """The best claim of a tier, and how far its replication has come, in words."""

    value: float
    agent: str
    state: str


@dataclass(frozen=True)
class Lead:
    """The headline: the best claim where it is better than what is replicated, and the latter."""

    name: str  # of the tier
    claim: Claimed | None
    sure: Result | None


_STATES = {"claimed": "waits for a second machine", "inconclusive": "its replication is undecided"}


def _lead(project: Project, tiers: Sequence[Tier]) -> Lead | None:
    """The first tier that has a result; None while none has."""
    tier = next((tier for tier in tiers if tier.replicated or tier.claimed), None)
    if tier is None:
        return None
    sure = next(iter(tier.replicated), None)
    best = next((one for one in tier.claimed if one.verdict in _STATES), None)
    if best is None or best.value is None:
        return Lead(tier.name, None, sure)
    sign = 1.0 if project.rules.direction == "lower" else -1.0
    if sure is not None and sure.mean is not None and sign * best.value >= sign * sure.mean:
        return Lead(tier.name, None, sure)
    return Lead(tier.name, Claimed(best.value, best.agent, _STATES[best.verdict]), sure)


def _leading(tiers: Sequence[Tier]) -> Mapping[str, Sequence[Result]]:
    """The best result of each tier, replicated where there is one, by its commit."""
    found: dict[str, list[Result]] = {}
    for tier in tiers:
        for result in (tier.replicated or tier.claimed)[:1]:
            if result.commit is not None:
                found.setdefault(result.commit, []).append(result)
    return found


def start_page(frame: Frame, address: str) -> str:
    """How to start, on a project that holds nothing yet."""
    return frame.render("start.html", "AutoResearch hub", address=address)


# ---- a commit ----------------------------------------------------------------------------------


def commit_page(frame: Frame, space: Space, commit: Commit, changed: Markup) -> str:
    """A commit's message, its place in the graph, its results, and what it changes."""
    message = clean(space.repository.message(commit.sha), MESSAGE).strip()
    subject, _, rest = message.partition("\n")
    results = space.results.of_commit(commit.sha)
    runs = [(result, run) for result in results for run in space.results.verifications(result.seq)]
    return frame.render(
        "commit.html",
        f"{commit.sha[:10]} {commit.subject}",
        commit=commit,
        subject=clean_line(subject, 300),
        message=rest.strip(),
        results=results,
        runs=runs[:RUNS],
        children=space.commits.children(commit.sha, CHILDREN),
        change=changed,
    )


@dataclass(frozen=True)
class DiffLine:
    """A line of a diff. Its text is foreign."""

    text: str
    cut: int  # characters that are left out
    kind: str  # the element around it: ins, del, i; empty for none


def change_of(space: Space, commit: Commit) -> Markup:
    """The diff to the first parent, or the files of a commit that has none. It calls git."""
    if not commit.parents:
        entries = space.repository.listing(commit.sha)
        files = [
            entry.name.decode("utf-8", "replace")[:200] + ("/" if entry.mode == "40000" else "")
            for entry in entries[:FILES]
        ]
        problem = "" if files else "This commit has no files."
        return change(problem, files=files, more=max(0, len(entries) - FILES))
    pieces = space.repository.diff(commit.parents[0], commit.sha, shown_bytes=DIFF_BYTES)
    text = b"".join(pieces).decode("utf-8", "replace")
    lines = text.split("\n")
    shown = [_diff_line(line) for line in lines[:DIFF_LINES]]
    problem = "" if text.strip() else "This commit changes no file."
    return change(problem, lines=shown, more=max(0, len(lines) - DIFF_LINES))


def change(
    problem: str, files: Sequence[str] = (), lines: Sequence[DiffLine] = (), more: int = 0
) -> Markup:
    """What a commit changes, or the problem why it is not shown."""
    return render("change.html", problem=problem, files=files, lines=lines, more=more)


def _diff_line(text: str) -> DiffLine:
    if text.startswith(("+++", "---", "diff ", "index ", "@@", "# ")):
        kind = "i"
    else:
        kind = {"+": "ins", "-": "del"}.get(text[:1], "")
    return DiffLine(text[:DIFF_WIDTH], max(0, len(text) - DIFF_WIDTH), kind)


# ---- a channel ---------------------------------------------------------------------------------


def channel_page(frame: Frame, space: Space, name: str, before: int | None) -> str:
    """The newest posts of a channel, or those before one, with their answers under them."""
    channel = space.board.channel(name)
    posts = space.board.page(name, POSTS, before)
    return frame.render(
        "channel.html",
        f"#{channel.name}",
        channel=channel,
        threads=_threads(posts),
        before=before,
        older=posts[-1].id if len(posts) == POSTS else None,
    )


def _threads(posts: Sequence[Post]) -> list[list[Post]]:
    """Posts, newest first, each followed by its answers; one whose parent is elsewhere is first."""
    here = {post.id for post in posts}
    answers: dict[int | None, list[Post]] = {}
    for each in reversed(posts):
        answers.setdefault(each.parent, []).append(each)

    def below(start: Post) -> list[Post]:
        """The answers to a post, and the answers to those, oldest first."""
        found: list[Post] = []
        waiting = [start.id]
        while waiting and len(found) < ANSWERS:
            direct = answers.get(waiting.pop(), [])
            found += direct
            waiting += [each.id for each in direct]
        return sorted(found, key=lambda each: each.id)

    return [[each, *below(each)] for each in posts if each.parent not in here]


# ---- an agent ----------------------------------------------------------------------------------


def agent_page(frame: Frame, space: Space, hub: Hub, name: str) -> str:
    """An agent in numbers, and what it did last. Missing when there is no such agent."""
    row = reading.member(hub, space.project.id, check_agent(name))
    if row is None:
        raise Missing(f"There is no agent {name} here.")
    return frame.render(
        "agent.html",
        name,
        row=row,
        commits=space.commits.page(ROWS, agent=row.agent.id),
        results=space.results.page(ROWS, agent=row.agent.id),
    )


# ---- pages without a project -------------------------------------------------------------------


def address(host: str, scheme: str) -> str:
    """The hub's address as the reader's browser wrote it; `http://HUB` when no host has that name.

    The start page puts it into commands that people copy.
    """
    return f"{scheme}://{host}" if _HOST.fullmatch(host) else "http://HUB"


def closed_page(address: str, registration: str) -> str:
    """How to get a key, on a hub that is not public."""
    return render(
        "closed.html", title="AutoResearch hub", address=address, registration=registration, **BARE
    )


def trouble_page(status: int, message: str) -> str:
    """An error, for people."""
    heading = _TROUBLE.get(status, "The hub cannot answer")
    return render(
        "trouble.html", title=f"{status}", status=status, heading=heading, message=message, **BARE
    )
