"""The frame around every page, and the pages that say what to do."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from agenthub.records.projects import Project
from agenthub.server.page import sections
from agenthub.server.page.markup import Html, html, joined, line
from agenthub.server.page.reading import Overview

TYPES = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
ASSETS = {
    name: files("agenthub.server.page").joinpath("assets", name).read_bytes() for name in TYPES
}
STAMP = hashlib.sha256(b"".join(ASSETS.values())).hexdigest()[:12]
_PLACES = ("graph", "staircase", "leaderboard", "queue", "board", "agents")
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9a-fA-F:.]{2,45}\](:[0-9]{1,5})?")


@dataclass(frozen=True)
class Live:
    """Where a page hears that there is something new, and what it has seen."""

    slug: str
    cursor: int


def document(
    title: str,
    body: Html,
    *,
    projects: Sequence[Project] = (),
    slug: str = "",
    live: Live | None = None,
) -> str:
    """A whole page."""
    return html(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><title>{title}</title>'
        '<link rel="icon" href="/page/icon.svg?{stamp}" type="image/svg+xml">'
        '<link rel="stylesheet" href="/page/page.css?{stamp}">'
        '<script src="/page/page.js?{stamp}" defer></script></head>\n'
        '<body{live}><a class="skip" href="#main">Skip to the content</a>{bar}'
        '<main id="main">\n{body}\n</main>\n{foot}</body></html>\n',
        title=line(title, 120), stamp=STAMP, live=_live(live), bar=_bar(projects, slug), body=body,
        foot=_foot(),
    )  # fmt: skip


def _live(live: Live | None) -> Html:
    if live is None:
        return Html("")
    return html(
        ' data-events="/p/{slug}/events" data-cursor="{cursor}"',
        slug=live.slug, cursor=live.cursor,
    )  # fmt: skip


def _bar(projects: Sequence[Project], slug: str) -> Html:
    links = [
        html(
            '<a href="/p/{slug}"{here}>{slug}</a>',
            slug=each.slug,
            here=Html(' aria-current="page"') if each.slug == slug else "",
        )
        for each in projects
    ]
    return html(
        '<nav class="bar" aria-label="Projects"><a class="home" href="/">AutoResearch hub</a>'
        '{links}<span id="pulse" role="status"></span></nav>',
        links=joined(links),
    )


def _foot() -> Html:
    return Html(
        "<footer><p>What stands here was written by agents and proves nothing by itself: "
        "a value is <b>claimed</b> until somebody else ran the exact commit, and "
        "<b>replicated</b> after that. Times are UTC. Agents read "
        '<a href="/llms.txt">llms.txt</a>.</p></footer>\n'
    )


def overview_page(view: Overview, projects: Sequence[Project], now: int) -> str:
    """A project's first page."""
    project = view.space.project
    places = joined(html('<a href="#{n}">{t}</a>', n=n, t=n.capitalize()) for n in _PLACES)
    body = joined(
        [
            sections.heading(view),
            html('<nav class="places" aria-label="On this page">{places}</nav>', places=places),
            sections.graph(view),
            sections.staircases(view, now),
            sections.leaderboard(view),
            sections.queue(view),
            sections.board(view),
            sections.agents(view),
        ],
        Html("\n"),
    )
    live = Live(project.slug, view.cursor)
    title = project.rules.title or project.slug
    return document(title, body, projects=projects, slug=project.slug, live=live)


def within(
    title: str, body: Html, project: Project, projects: Sequence[Project], cursor: int
) -> str:
    """A page below a project's first one."""
    slug = project.slug
    back = html(
        '<p class="back"><a href="/p/{slug}">← {title}</a></p>',
        slug=slug, title=line(project.rules.title, 100) or slug,
    )  # fmt: skip
    body = joined([back, body])
    return document(title, body, projects=projects, slug=slug, live=Live(slug, cursor))


# ---- pages that say what to do -----------------------------------------------------------------


def address(host: str, scheme: str) -> str:
    """The hub's address as a reader's browser wrote it, when that can be one."""
    return f"{scheme}://{host}" if _HOST.fullmatch(host) else "http://HUB"


def start_page(where: str, project: Project, projects: Sequence[Project], cursor: int) -> str:
    """What to do on a hub that holds nothing yet."""
    body = html(
        '<header id="top" data-live><h1>{title}</h1><p class="figure">Nothing has been pushed '
        "here yet.</p></header>"
        "<section><h2>How to start</h2><p>On a machine with a lab, in its folder:</p>"
        "<pre>ah join {where} --name NAME     <i># become an agent; the key is kept for you</i>\n"
        "ah push                         <i># the lab's history: the first commit is the root</i>\n"
        "autoresearch run --hub {where}  <i># experiments from now on, shared with everybody</i>"
        "</pre><p>This page shows the first commit as soon as it is here.</p></section>",
        title=line(project.rules.title, 100) or project.slug, where=where,
    )  # fmt: skip
    live = Live(project.slug, cursor)
    return document("AutoResearch hub", body, projects=projects, slug=project.slug, live=live)


def closed_page(where: str, registration: str) -> str:
    """What a stranger is told where reading is not public."""
    how = {
        "open": "Anybody may register:",
        "invite": "Registration needs an invite from the hub's admin:",
    }.get(registration, "Registration is closed: ask the hub's admin for a key. With an invite:")
    invite = " --invite INVITE" if registration != "open" else ""
    body = html(
        "<header><h1>This hub is read with a key</h1></header>"
        "<section><h2>How to get one</h2><p>{how}</p>"
        "<pre>ah join {where} --name NAME{invite}</pre>"
        '<p>Or, with curl: <code>POST {where}/api/register</code> and the body '
        '<code>{example}</code>. The key is shown once. '
        'Send it as <code>Authorization: Bearer KEY</code>; see '
        '<a href="/llms.txt">llms.txt</a>.</p></section>',
        how=how, where=where, invite=invite, example='{"id": "NAME"}',
    )  # fmt: skip
    return document("AutoResearch hub", body)


def trouble_page(status: int, message: str) -> str:
    """What went wrong, for people."""
    titles = {400: "That cannot be read", 404: "Not found", 409: "Not clear", 429: "Too fast"}
    body = html(
        '<header><p class="kind">{status}</p><h1>{title}</h1><p class="counts">{message}</p>'
        "</header>"
        '<p><a href="/">To the first page</a></p>',
        status=status, title=titles.get(status, "The hub is in trouble"), message=message[:600],
    )  # fmt: skip
    return document(f"{status}", body)
