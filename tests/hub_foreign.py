"""Hostile texts, and an HTML parser that fails when one of them became markup."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

MARK = "window.broken=1"
CORPUS = (
    f"<script>{MARK}</script>",
    f'"><img src=x onerror={MARK}>',
    f"' onmouseover='{MARK}' x='",
    f'" autofocus onfocus="{MARK}',
    f"<svg onload={MARK}>",
    f"</title></text></svg><script>{MARK}</script>",
    f"</style></pre></textarea><script>{MARK}</script>",
    f"<iframe srcdoc='<script>parent.{MARK[7:]}</script>'></iframe>",
    f"<a href=javascript:{MARK}>here</a>",
    f"[here](javascript:{MARK})",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<style>main{display:none}</style>",
    "<link rel=stylesheet href=//evil.example/a.css>",
    f"<!--><script>{MARK}</script>-->",
    f"<![CDATA[<script>{MARK}</script>]]>",
    "{slug} {0.__class__} {title!r} %s ${1}",
    "&lt;b&gt; &amp;lt; &#60;i&#62;",
    "a\u202eb\u200bc\u2066d\x1be\x00f",
    f"<scr\u0000ipt>{MARK}</scr\u0000ipt>",
    f"＜script＞{MARK}＜/script＞",
    "﷽" * 20 + "Z\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301",
)
TAGS = {
    "html", "head", "meta", "title", "link", "script", "body", "a", "nav", "span", "main", "header",
    "h1", "h2", "h3", "h4", "p", "strong", "i", "b", "small", "section", "figure", "figcaption",
    "div", "ul", "li", "svg", "g", "path", "circle", "text", "rect", "table", "caption", "thead",
    "tbody", "tr", "th", "td", "code", "pre", "ins", "del", "dl", "dt", "dd", "time", "article",
    "footer",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "name", "content", "rel", "href", "type", "src", "defer", "class", "id",
    "scope", "title", "tabindex", "datetime", "data-live", "data-events", "data-cursor", "role",
    "aria-label", "aria-labelledby", "aria-hidden", "aria-current", "width", "height", "viewbox",
    "d", "cx", "cy", "r", "x", "y", "rx", "text-anchor", "preserveaspectratio",
}  # fmt: skip
VOID = {"meta", "link", "path", "circle", "rect"}
_HREF = re.compile(r"/[a-zA-Z0-9/._?=-]*|#[a-z0-9-]+|\?before=[0-9]+")


@dataclass
class Reading(HTMLParser):
    """A parsed page: its texts, links and ids. Fails on any markup that is not our own."""

    page: str
    texts: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    scripts: int = 0

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.page)
        self.close()
        assert self.open == [], self.open
        assert self.scripts == 1

    @property
    def text(self) -> str:
        """All text of the page, with white space collapsed."""
        return " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Only elements and attributes that our templates write."""
        assert tag in TAGS, tag
        named = dict(attrs)
        assert set(named) <= ATTRIBUTES, (tag, named)
        assert len(named) == len(attrs), (tag, attrs)
        href = named.get("href")
        assert href is None or _HREF.fullmatch(href), href
        if tag == "script":
            self.scripts += 1
            assert re.fullmatch(r"/page/page\.js\?[0-9a-f]+", named.get("src") or "")
        self.links += [href] if href and tag == "a" else []
        self.ids += [named["id"] or ""] if "id" in named else []
        self.texts += [named[name] or "" for name in ("title", "aria-label") if name in named]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """`<path/>` and the like."""
        assert tag in VOID, tag
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        """Elements close in order."""
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        """Text."""
        if self.open and self.open[-1] == "script":
            assert not data.strip()
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        """Our templates write no comments."""
        raise AssertionError(f"a comment: {data}")

    def unknown_decl(self, data: str) -> None:
        """Our templates write no declarations."""
        raise AssertionError(f"a declaration: {data}")
