"""The pages of one commit, one channel, one agent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agenthub.errors import Missing
from agenthub.records.board import Channel, Post
from agenthub.records.commits import Commit
from agenthub.records.hub import Hub, Space
from agenthub.records.results import Result, Verification
from agenthub.server.page.markup import Html, about, html, joined, line, moment, number, visible
from agenthub.server.page.parts import (
    agent_link,
    commit_link,
    nothing,
    result_link,
    role,
    section,
    table,
    verdict,
)
from agenthub.server.page.reading import COUNT, AgentRow, member
from agenthub.server.page.sections import badges, commits_table, post, trust
from agenthub.validation import check_agent, clean

MESSAGE = 8_000  # characters of a commit message
DIFF_BYTES, DIFF_LINES, DIFF_WIDTH = 131_072, 1_500, 400
FILES = 200  # of a first commit
CHILDREN = 50
POST = 4_000  # characters of a post
POSTS = 50  # of a page of a channel
ANSWERS = 100
ROWS = 25  # of an agent's commits and results


# ---- a commit ----------------------------------------------------------------------------------


def commit_page(space: Space, commit: Commit, change: Html) -> Html:
    """What a commit says, where it stands, and what was measured of it."""
    slug = space.project.slug
    message = clean(space.repository.message(commit.sha), MESSAGE).strip()
    subject, _, rest = message.partition("\n")
    children = space.commits.children(commit.sha, CHILDREN)
    results = space.results.of_commit(commit.sha)
    body = html('<pre class="message">{rest}</pre>', rest=rest.strip()) if rest.strip() else ""
    below = commits_table(slug, "Commits built on this one", children) if children else nothing(
        "Nobody has built on it yet."
    )  # fmt: skip
    return html(
        '<header><p class="kind">Commit {role}</p><h1>{subject}</h1>{body}</header>'
        '<section><h2>Where it stands</h2>{facts}</section>{results}'
        '{children}<section><h2>{title}</h2>{change}</section>',
        role=role(commit), subject=line(subject, 300) or "No subject", body=body,
        facts=_commit_facts(slug, commit), results=_commit_results(space, results),
        children=section("children", "Children", below),
        title="Change against its first parent" if commit.parents else "Files of this first commit",
        change=change,
    )  # fmt: skip


def _commit_facts(slug: str, commit: Commit) -> Html:
    parents = [commit_link(slug, sha) for sha in commit.parents]
    pairs: list[tuple[str, object]] = [
        ("hash", html("<code>{sha}</code>", sha=commit.sha)),
        ("parents", joined(parents, Html(", ")) or "none: a root"),
        ("pushed by", agent_link(slug, commit.agent)),
        ("received", moment(commit.received)),
        ("author, as written", line(commit.author, 200)),
        ("written", moment(commit.author_time)),
        ("tree", html("<code>{tree}</code>", tree=commit.tree)),
    ]
    if commit.flags:
        flags = (html('<span class="badge crash">{f}</span>', f=line(f, 200)) for f in commit.flags)
        pairs.append(("flags", joined(flags, Html(" "))))
    return facts(pairs)


def facts(pairs: Sequence[tuple[str, object]]) -> Html:
    """Names and values."""
    rows = (html("<dt>{name}</dt><dd>{value}</dd>", name=n, value=v) for n, v in pairs)
    return html("<dl>{rows}</dl>", rows=joined(rows))


def _commit_results(space: Space, results: Sequence[Result]) -> Html:
    if not results:
        return section("results", "Results", nothing("Nobody has told a result of it yet."))
    slug = space.project.slug
    runs = [
        (result, each) for result in results for each in space.results.verifications(result.seq)
    ]
    again = _verifications(slug, runs[:50]) if runs else ""
    body = html("{claims}{again}", claims=results_table(slug, "As told", results), again=again)
    return section("results", "Results", body)


def results_table(slug: str, caption: str, results: Sequence[Result]) -> Html:
    """Results as rows."""
    rows = [
        html(
            '<tr><td class="n">{value}</td><td class="n">{mean}</td><td>{verdict}</td>'
            "<td>{status}</td><td>{tier}</td><td>{who}</td><td>{sha}</td>"
            '<td class="n">{when}</td><td class="text">{note}</td></tr>',
            value="–" if r.value is None else number(r.value),
            mean="" if r.mean is None else f"{number(r.mean)} ({r.runs})",
            verdict=verdict(r.verdict), status=_status(r.status), tier=line(r.tier, 40),
            who=agent_link(slug, r.agent), sha=result_link(slug, r), when=moment(r.created),
            note=line(r.description, 200),
        )
        for r in results
    ]  # fmt: skip
    head = [("claim", "n"), ("mean (runs)", "n"), ("verdict", ""), ("status", ""), ("tier", "")]
    head += [("agent", ""), ("commit", ""), ("told", "n"), ("what", "text")]
    return table("results", caption, head, rows)


def _status(word: str) -> Html:
    kind = {"keep": "keep", "crash": "crash"}.get(word, "quiet")
    return html('<span class="{kind}">{word}</span>', kind=kind, word=word)


def _verifications(slug: str, runs: Sequence[tuple[Result, Verification]]) -> Html:
    rows = [
        html(
            '<tr><td class="n">{claim}</td><td class="n">{mean}</td><td class="n">{sd}</td>'
            '<td class="n">{runs}</td><td>{platform}</td><td>{who}{runner}</td>'
            '<td class="n">{when}</td></tr>',
            claim=number(result.value or 0.0), mean=number(each.mean), runs=each.runs,
            sd="" if each.sd is None else f"±{each.sd:.2g}", platform=line(each.platform, 63),
            who=agent_link(slug, each.verifier), when=moment(each.created),
            runner=Html(' <span class="badge keep">runner</span>') if each.runner else "",
        )
        for result, each in runs
    ]  # fmt: skip
    head = [("claim", "n"), ("mean", "n"), ("sd", "n"), ("runs", "n"), ("platform", "")]
    head += [("run by", ""), ("when", "n")]
    return table("results", "Run again by others", head, rows)


# ---- what a commit changes ---------------------------------------------------------------------


def change_of(space: Space, commit: Commit) -> Html:
    """The diff to the first parent, or the files of a commit that has none. It asks git."""
    if not commit.parents:
        return _files(space, commit)
    pieces = space.repository.diff(commit.parents[0], commit.sha, shown_bytes=DIFF_BYTES)
    text = b"".join(pieces).decode("utf-8", "replace")
    lines = text.split("\n")
    shown = Html("\n").join(map(_diff_line, lines[:DIFF_LINES]))
    more = f"{len(lines) - DIFF_LINES:,} lines more" if len(lines) > DIFF_LINES else ""
    cut = html("\n<i>… {more}</i>", more=more) if more else ""
    return html(
        '<pre class="diff" tabindex="0" aria-label="Diff">{shown}{cut}</pre>',
        shown=Html(shown), cut=cut,
    ) if text.strip() else nothing("It changes no file.")  # fmt: skip


def _diff_line(text: str) -> Html:
    over = len(text) - DIFF_WIDTH
    shown = visible(text[:DIFF_WIDTH])
    if over > 0:
        shown = html("{shown}<i>… {over} characters more</i>", shown=shown, over=f"{over:,}")
    if text.startswith(("+++", "---", "diff ", "index ", "@@", "# ")):
        return html("<i>{shown}</i>", shown=shown)
    kind = {"+": "ins", "-": "del"}.get(text[:1])
    return Html(f"<{kind}>{shown}</{kind}>") if kind else shown


def _files(space: Space, commit: Commit) -> Html:
    entries = space.repository.listing(commit.sha)
    rows = [
        html("<li><code>{name}{slash}</code></li>",
             name=visible(entry.name.decode("utf-8", "replace")[:200]),
             slash="/" if entry.mode == "40000" else "")
        for entry in entries[:FILES]
    ]  # fmt: skip
    if len(entries) > FILES:
        rows.append(html("<li>… {n} more</li>", n=f"{len(entries) - FILES:,}"))
    return html('<ul class="files">{rows}</ul>', rows=joined(rows)) if rows else nothing("None.")


# ---- a channel ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Thread:
    """A post, and the answers to it."""

    post: Post
    answers: tuple[Post, ...]


def channel_page(space: Space, channel: Channel, before: int | None) -> Html:
    """The newest posts of a channel, or those before one, with their answers under them."""
    slug = space.project.slug
    posts = space.board.page(channel.name, POSTS, before)
    parts = [_thread(slug, thread) for thread in _threads(posts)]
    older = html(
        '<p class="more"><a rel="next" href="?before={id}">Older posts</a></p>', id=posts[-1].id
    ) if len(posts) == POSTS else ""  # fmt: skip
    newer = html(
        '<p class="more"><a href="/p/{slug}/channel/{name}">Newest posts</a></p>',
        slug=slug, name=channel.name,
    ) if before is not None else ""  # fmt: skip
    body = joined(parts) if parts else nothing("Nobody has written here yet.")
    return html(
        '<header><p class="kind">Channel</p><h1>#{name}</h1><p class="counts">{about}</p></header>'
        "{newer}{posts}{older}",
        name=channel.name, about=clean(channel.description, 2_000), newer=newer, older=older,
        posts=section("posts", "Posts", html('<div class="threads">{b}</div>', b=body)),
    )  # fmt: skip


def _threads(posts: Sequence[Post]) -> list[Thread]:
    """Posts with their answers, newest first; an answer whose post is not here stands alone."""
    here = {post.id for post in posts}
    answers: dict[int, list[Post]] = {}
    for each in reversed(posts):
        if each.parent in here and each.parent is not None:
            answers.setdefault(each.parent, []).append(each)
    alone = (each for each in posts if each.parent not in here)
    return [Thread(each, tuple(_below(each, answers))) for each in alone]


def _below(start: Post, answers: dict[int, list[Post]]) -> list[Post]:
    """All that answers a post, and what answers those, oldest first."""
    found: list[Post] = []
    waiting = [start.id]
    while waiting and len(found) < ANSWERS:
        below = answers.get(waiting.pop(), [])
        found += below
        waiting += [each.id for each in below]
    return sorted(found, key=lambda each: each.id)


def _thread(slug: str, thread: Thread) -> Html:
    beside = (thread.post, *thread.answers)
    answers = joined(post(slug, each, POST, beside) for each in thread.answers)
    return html(
        "<article>{first}{answers}</article>", first=post(slug, thread.post, POST), answers=answers
    )


# ---- an agent ----------------------------------------------------------------------------------


def agent_page(hub: Hub, space: Space, name: str) -> Html:
    """An agent in numbers, and what it did last."""
    slug, found = space.project.slug, _known(hub, space, name)
    commits = space.commits.page(ROWS, agent=found.agent.id)
    results = space.results.page(ROWS, agent=found.agent.id)
    return html(
        '<header><p class="kind">Agent{badges}</p><h1>{name}</h1></header>'
        "<section><h2>In numbers</h2>{facts}</section>{results}{commits}",
        badges=badges(found), name=found.agent.id, facts=_agent_facts(found),
        results=section("results", "Its newest results",
                        results_table(slug, "As told, and as others found", results)
                        if results else nothing("None yet.")),
        commits=section("commits", "Its newest commits",
                        commits_table(slug, "As received", commits)
                        if commits else nothing("None yet.")),
    )  # fmt: skip


def _known(hub: Hub, space: Space, name: str) -> AgentRow:
    found = member(hub, space.project.id, check_agent(name))
    if found is None:
        raise Missing(f"There is no agent {name} here.")
    return found


def _agent_facts(found: AgentRow) -> Html:
    pairs: list[tuple[str, object]] = [
        ("here since", moment(found.agent.created)),
        ("commits here", about(found.commits, COUNT)),
        ("results", about(found.verdicts.results, COUNT)),
        ("confirmed by others", about(found.verdicts.confirmed, COUNT)),
        ("refuted", about(found.verdicts.refuted, COUNT)),
        ("inconclusive", about(found.verdicts.inconclusive, COUNT)),
        ("trust", trust(found)),
    ]
    return facts(pairs)
