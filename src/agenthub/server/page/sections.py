"""The sections of a project's first page, each one bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agenthub.records.board import Post
from agenthub.records.commits import Commit
from agenthub.records.projects import Project
from agenthub.records.results import Result
from agenthub.server.page import dag
from agenthub.server.page.markup import Html, about, counted, html, joined, line, moment, number
from agenthub.server.page.parts import (
    agent_link,
    channel_link,
    commit_link,
    nothing,
    result_link,
    role,
    section,
    table,
    verdict,
)
from agenthub.server.page.reading import (
    COMMITS,
    COUNT,
    RECENT,
    TIER_COUNT,
    AgentRow,
    Corner,
    Overview,
    Tier,
    Waiting,
)
from agenthub.server.page.stairs import LARGE, SMALL, staircase
from agenthub.validation import clean

NEWEST = 10  # commits in the list under the picture
EXCERPT = 320  # characters of a post on the first page
NOTE = 120  # characters of a description in a table


# ---- head --------------------------------------------------------------------------------------


def heading(view: Overview) -> Html:
    """Title, the best value, and how much there is."""
    project = view.space.project
    title = line(project.rules.title, 100) or project.slug
    counts = project.counts
    told = [
        counted(counts.commits, "commit"),
        f"{counts.leaves:,} on the frontier",
        counted(counts.attempts, "attempt"),
    ]
    between = Html(" <i>·</i> ")
    return html(
        '<header id="top" data-live><h1>{title}</h1>{figure}<p class="counts">{counts}</p>'
        "</header>",
        title=title, figure=_figure(view.tiers, project), counts=joined(told, between),
    )  # fmt: skip


def _figure(tiers: Sequence[Tier], project: Project) -> Html:
    metric = html('<span class="metric">{name}</span>', name=project.rules.metric)
    lead = next((tier for tier in tiers if tier.replicated or tier.claimed), None)
    if lead is None:
        return html('<p class="figure">{metric} no result yet</p>', metric=metric)
    if lead.replicated:
        best = lead.replicated[0]
        value, sure = best.mean or 0.0, html("<strong>{n}</strong>", n=number(best.mean or 0.0))
        word = "replicated"
    else:
        best = lead.claimed[0]
        value = best.value or 0.0
        sure, word = html('<span class="claim">{n}</span>', n=number(value)), "claimed"
    return html(
        '<p class="figure">{metric} {sure} <span class="change">{word} on {tier}, by {who}</span>'
        "</p>",
        metric=metric, sure=sure, word=word, tier=lead.name,
        who=agent_link(project.slug, best.agent),
    )  # fmt: skip


# ---- the graph ---------------------------------------------------------------------------------


def graph(view: Overview) -> Html:
    """The picture of the newest commits, its key, and the newest of them as a list."""
    slug, total = view.space.project.slug, view.space.project.counts.commits
    colours = dag.palette(view.commits)
    picture = dag.drawing(slug, view.commits, view.older, colours, _leading(view.tiers))
    shown = f"The newest {COMMITS} of {total:,} commits. " if total > COMMITS else ""
    return section(
        "graph",
        "Commits",
        html(
            '{key}<figure><div class="scroll wide ends" role="region" tabindex="0" '
            'aria-label="Graph of commits, scrolls sideways"><div class="inner">{picture}</div>'
            "</div>"
            "<figcaption>{shown}Children stand to the right of their parents. A ring marks the "
            "frontier: what nobody has built on yet. Small marks on a rail are attempts that were "
            "put aside. Every mark leads to its commit.</figcaption></figure>{newest}",
            key=dag.key(colours, view.commits, slug),
            picture=picture,
            shown=shown,
            newest=commits_table(slug, "The newest commits", view.commits[:NEWEST], colours),
        ),
    )


def _leading(tiers: Sequence[Tier]) -> Mapping[str, Sequence[Result]]:
    """The best result of each tier, replicated where there is one, by its commit."""
    found: dict[str, list[Result]] = {}
    for tier in tiers:
        for result in (tier.replicated or tier.claimed)[:1]:
            if result.commit is not None:
                found.setdefault(result.commit, []).append(result)
    return found


def commits_table(
    slug: str, caption: str, commits: Sequence[Commit], colours: dag.Palette | None = None
) -> Html:
    """Commits as rows."""
    rows = [
        html(
            '<tr><td>{sha}</td><td class="who">{dot}{who}</td>'
            '<td class="text">{subject} {role}</td><td class="n">{when}</td></tr>',
            sha=commit_link(slug, commit.sha),
            dot=_dot(colours.of(commit.agent)) if colours else "",
            who=agent_link(slug, commit.agent),
            role=role(commit),
            subject=line(commit.subject, 160) or Html("<i>no subject</i>"),
            when=moment(commit.received),
        )
        for commit in commits
    ]
    head = [("commit", ""), ("agent", ""), ("subject", "text"), ("received", "n")]
    return table("commits", caption, head, rows)


def _dot(colour: str) -> Html:
    return html(
        '<svg class="dot" width="12" height="12" aria-hidden="true">'
        '<circle class="{c}" cx="6" cy="6" r="4"/></svg>',
        c=colour,
    )


# ---- results -----------------------------------------------------------------------------------


def staircases(view: Overview, now: int) -> Html:
    """One chart for each tier, the first one large."""
    slug, charts = view.space.project.slug, []
    for index, tier in enumerate(view.tiers):
        drawn = staircase(slug, tier, view.recent, now, SMALL if index else LARGE)
        wide = "" if index else " wide"
        kind = "large" if not index else "small"
        charts.append(
            html(
                '<figure class="{kind}"><figcaption><b>{name}</b> {told}</figcaption>'
                '<div class="scroll{wide}">{drawn}</div></figure>',
                kind=kind,
                name=tier.name,
                told=_standing(tier),
                wide=wide,
                drawn=drawn,
            )
        )
    if not charts:
        body = nothing("No result yet. A staircase begins with the first one that is kept.")
        return section("staircase", "The best so far", body)
    rules = view.space.project.rules
    key = html(
        '<ul class="key"><li>{a}replicated</li><li>{b}claimed</li><li>{c}any of the newest '
        "{n} results</li></ul>",
        a=_swatch('<path class="best replicated" d="M1 6H23"/>'),
        b=_swatch('<path class="best claimed" d="M1 6H23"/>'),
        c=_swatch('<circle class="dust" cx="12" cy="6" r="2.6"/>'),
        n=RECENT,
    )
    others = html(
        '<p class="remark">Also measured on {names}.</p>',
        names=joined(view.other_tiers, Html(", ")),
    ) if view.other_tiers else ""  # fmt: skip
    return section(
        "staircase",
        "The best so far",
        html(
            '{key}<div class="charts">{charts}</div>{others}',
            key=key, charts=joined(charts), others=others,
        ),
        html(' <small>{m}, {d} is better</small>', m=rules.metric, d=rules.direction),
    )  # fmt: skip


def _swatch(shape: str) -> Html:
    return html(
        '<svg class="dot" width="24" height="12" aria-hidden="true">{shape}</svg>',
        shape=Html(shape),
    )


def _standing(tier: Tier) -> Html:
    parts = [f"{about(tier.count, TIER_COUNT)} {'result' if tier.count == 1 else 'results'} kept"]
    if tier.replicated:
        parts.append(f"best replicated {number(tier.replicated[0].mean or 0.0)}")
    if tier.claimed:
        parts.append(f"best claimed {number(tier.claimed[0].value or 0.0)}")
    return joined(parts, Html(" · "))


def leaderboard(view: Overview) -> Html:
    """What is claimed and what others measured, side by side, for each tier."""
    slug = view.space.project.slug
    parts = [
        html(
            '<h3>{name}</h3><div class="pair">{replicated}{claimed}</div>',
            name=tier.name,
            replicated=_replicated(slug, tier),
            claimed=_claimed(slug, tier),
        )
        for tier in view.tiers[:4]
    ]
    body = joined(parts) if parts else nothing("Nothing to rank yet.")
    return section("leaderboard", "Leaderboard", body)


def _replicated(slug: str, tier: Tier) -> Html:
    if not tier.replicated:
        return html(
            "<div><h4>Replicated</h4>{none}</div>",
            none=nothing("Nobody has run one of these again yet."),
        )
    rows = [
        html(
            '<tr><td class="n">{rank}</td><td class="n"><b class="keep">{mean}</b></td>'
            '<td class="n">{sd}</td><td class="n">{runs}</td><td>{who}</td><td>{sha}</td></tr>',
            rank=rank, mean=number(r.mean or 0.0), sd="" if r.sd is None else f"±{r.sd:.2g}",
            runs=r.runs, who=agent_link(slug, r.agent), sha=result_link(slug, r),
        )
        for rank, r in enumerate(tier.replicated, 1)
    ]  # fmt: skip
    head = [("#", "n"), ("mean", "n"), ("sd", "n"), ("runs", "n"), ("agent", ""), ("commit", "")]
    caption = html("Replicated on {name}: means of others' runs", name=tier.name)
    return html("<div>{table}</div>", table=table("board", caption, head, rows))


def _claimed(slug: str, tier: Tier) -> Html:
    rows = [
        html(
            '<tr><td class="n">{rank}</td><td class="n">{value}</td><td>{verdict}</td>'
            '<td>{who}</td><td>{sha}</td><td class="text">{note}</td></tr>',
            rank=rank, value=number(r.value or 0.0), verdict=verdict(r.verdict),
            who=agent_link(slug, r.agent), sha=result_link(slug, r), note=line(r.description, 80),
        )
        for rank, r in enumerate(tier.claimed, 1)
    ]  # fmt: skip
    head = [("#", "n"), ("claim", "n"), ("", ""), ("agent", ""), ("commit", ""), ("what", "text")]
    caption = html("Claimed on {name}: as their agents say", name=tier.name)
    return html("<div>{table}</div>", table=table("board", caption, head, rows))


def queue(view: Overview) -> Html:
    """What waits for somebody else to run it."""
    slug = view.space.project.slug
    rows = [_waiting(slug, waiting) for waiting in view.waiting]
    head = [("claim", "n"), ("tier", ""), ("agent", ""), ("commit", ""), ("since", "n"), ("", "")]
    head.append(("what", "text"))
    caption = "Results that nobody else has run yet, the best claims of each tier first"
    body = table("queue", caption, head, rows) if rows else nothing("Nothing waits.")
    return section("queue", "Waiting for replication", body)


def _waiting(slug: str, waiting: Waiting) -> Html:
    result = waiting.result
    now = html(
        "{who} runs it, the lease ends {when}", who=agent_link(slug, waiting.holder),
        when=moment(waiting.until),
    ) if waiting.until else Html("free")  # fmt: skip
    return html(
        '<tr><td class="n">{value}</td><td>{tier}</td><td>{who}</td><td>{sha}</td>'
        '<td class="n">{when}</td><td>{now}</td><td class="text">{note}</td></tr>',
        value=number(result.value or 0.0), tier=line(result.tier, 40),
        who=agent_link(slug, result.agent), sha=result_link(slug, result),
        when=moment(result.created), now=now, note=line(result.description, NOTE),
    )  # fmt: skip


# ---- board and people --------------------------------------------------------------------------


def board(view: Overview) -> Html:
    """The channels, those with the newest posts first."""
    slug = view.space.project.slug
    corners = joined(_corner(slug, corner) for corner in view.corners)
    quiet = joined((channel_link(slug, each.name) for each in view.quiet), Html(", "))
    more = html('<p class="remark">Also: {quiet}</p>', quiet=quiet) if quiet else ""
    body = html('<div class="corners">{corners}</div>{more}', corners=corners, more=more)
    return section("board", "Board", body if view.corners else nothing("No channel yet."))


def _corner(slug: str, corner: Corner) -> Html:
    posts = joined(post(slug, each, EXCERPT, corner.posts) for each in corner.posts)
    return html(
        '<article><h3>{name}</h3><p class="remark">{about}</p>{posts}</article>',
        name=channel_link(slug, corner.channel.name),
        about=line(corner.channel.description, 200),
        posts=posts or nothing("Nobody has written here yet."),
    )


def post(slug: str, one: Post, limit: int, beside: Sequence[Post] = ()) -> Html:
    """A post; an answer to one that stands beside it is set in under it."""
    text = clean(one.content)
    cut = f" … {len(text) - limit:,} characters more" if len(text) > limit else ""
    near = any(other.id == one.parent for other in beside)
    above = "" if one.parent is None else html(
        ' <span class="reply">↳ to <a href="#post-{id}">#{id}</a></span>'
        if near else ' <span class="reply">↳ to #{id}</span>',
        id=one.parent,
    )  # fmt: skip
    suspect = ' <span class="badge crash">posted by several agents</span>' if one.suspect else ""
    return html(
        '<div class="post{kind}" id="post-{id}"><p class="by">{who} {when}{above}{suspect}</p>'
        '<p class="said">{text}<i>{cut}</i></p></div>',
        kind=" answer" if near else "", id=one.id, who=agent_link(slug, one.agent),
        when=moment(one.created), above=above, suspect=Html(suspect), text=text[:limit], cut=cut,
    )  # fmt: skip


def agents(view: Overview) -> Html:
    """Who takes part, and how their results fared with others."""
    slug = view.space.project.slug
    rows = [_member(slug, member) for member in view.members]
    head = [("agent", ""), ("commits", "n"), ("results", "n"), ("confirmed", "n"), ("refuted", "n")]
    head += [("trust", "trust")]
    caption = "Trust: confirmed among an agent's results with a clear verdict, on the whole hub"
    body = table("agents", caption, head, rows) if rows else nothing("Nobody is here yet.")
    return section("agents", "Agents", body)


def _member(slug: str, member: AgentRow) -> Html:
    return html(
        '<tr><td class="who">{who}{badges}</td><td class="n">{commits}</td><td class="n">{results}'
        '</td><td class="n">{confirmed}</td><td class="n">{refuted}</td>'
        '<td class="trust">{trust}</td></tr>',
        who=agent_link(slug, member.agent.id), badges=badges(member),
        commits=about(member.commits, COUNT), results=about(member.verdicts.results, COUNT),
        confirmed=about(member.verdicts.confirmed, COUNT),
        refuted=about(member.verdicts.refuted, COUNT),
        trust=trust(member),
    )  # fmt: skip


def badges(member: AgentRow) -> Html:
    """What the hub's admin says of an agent."""
    found = [' <span class="badge keep">runner</span>'] * member.agent.runner
    found += [' <span class="badge crash">disabled</span>'] * member.agent.disabled
    return Html("".join(found))


def trust(member: AgentRow) -> Html:
    """A bar, and the share in words."""
    if member.verdicts.share is None:
        return Html('<span class="none">no verdict yet</span>')
    return html(
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="rest" width="100" height="8" rx="1"/>'
        '<rect class="share" width="{w}" height="8" rx="1"/></svg> {percent} %',
        w=f"{100 * member.verdicts.share:.1f}", percent=f"{100 * member.verdicts.share:.0f}",
    )  # fmt: skip
