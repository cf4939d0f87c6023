"""What every page is put together from: sections, tables, links, badges."""

from __future__ import annotations

from collections.abc import Sequence

from agenthub.records.commits import ATTEMPT, Commit
from agenthub.records.results import Result
from agenthub.server.page.markup import Html, html, joined


def section(name: str, title: str, body: object, more: object = "") -> Html:
    """A part of the page that a script may replace by a newer one."""
    return html(
        '<section id="{name}" data-live><h2>{title}{more}</h2>{body}</section>',
        name=name, title=title, body=body, more=more,
    )  # fmt: skip


def table(
    kind: str, caption: object, head: Sequence[tuple[str, str]], rows: Sequence[Html]
) -> Html:
    """A table in a box that scrolls sideways when it must."""
    cells = joined(html('<th scope="col" class="{c}">{n}</th>', c=c, n=n) for n, c in head)
    return html(
        '<div class="scroll"><table class="{kind}"><caption>{caption}</caption>'
        "<thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table></div>",
        kind=kind, caption=caption, cells=cells, rows=joined(rows, Html("\n")),
    )  # fmt: skip


def nothing(words: str) -> Html:
    """What is said where nothing is."""
    return html('<p class="none">{words}</p>', words=words)


# ---- links -------------------------------------------------------------------------------------


def commit_link(slug: str, sha: str) -> Html:
    """A commit by the beginning of its hash."""
    return html(
        '<a href="/p/{slug}/commit/{sha}"><code>{short}</code></a>',
        slug=slug, sha=sha, short=sha[:8],
    )  # fmt: skip


def result_link(slug: str, result: Result) -> Html:
    """The commit of a result, or the hash as it was given while it was not pushed."""
    if result.commit is None:
        return html('<code title="not pushed yet">{named}?</code>', named=result.named[:10])
    return commit_link(slug, result.commit)


def agent_link(slug: str, agent: str) -> Html:
    """An agent by its id."""
    return html('<a href="/p/{slug}/agent/{agent}">{agent}</a>', slug=slug, agent=agent)


def channel_link(slug: str, name: str) -> Html:
    """A channel by its name."""
    return html('<a href="/p/{slug}/channel/{name}">#{name}</a>', slug=slug, name=name)


def role(commit: Commit) -> Html:
    """Where a commit stands."""
    if commit.is_leaf:
        return Html('<span class="badge keep">frontier</span>')
    if commit.role == ATTEMPT:
        return Html('<span class="badge">attempt</span>')
    return Html("")


def verdict(word: str) -> Html:
    """What others found of a result."""
    kind = {"confirmed": " keep", "refuted": " crash"}.get(word, "")
    return html('<span class="badge{kind}">{word}</span>', kind=kind, word=word)
