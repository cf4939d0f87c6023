"""The offline page: one HTML file that loads nothing and runs no script but its own.

Notes, diffs and facts are untrusted. The templates escape every value, `_clean` removes its control
characters first, and the content security policy lists our scripts by hash.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from autoresearch.report import curve_chart, draw
from autoresearch.report.chart import staircase_chart
from autoresearch.report.proposer_stats import COLUMNS, noise_remark, stats_cells, stats_line
from autoresearch.report.story import Position, Story
from autoresearch.store.ledger import Status
from autoresearch.store.rows import Row, plain

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_DIFF = 64_000  # characters of a diff that are shown
_DIRECTIONS = dict.fromkeys(map(ord, "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"), "�")
_STATUSES = (("keep", "kept"), ("step", "steps"), ("discard", "discarded"), ("crash", "crashed"))


def page(story: Story, picture: str = "") -> str:
    """The whole document. `picture`, an SVG of ours, is shown where scripts do not run.

    ReportError when the extra `report` is missing.
    """
    templates = _templates()
    from markupsafe import Markup

    digits = story.summary.digits

    curves = curve_chart.chosen(story)
    charts = {"staircase": draw.spec(staircase_chart(story, titled=False))}
    if curves:
        charts["curves"] = draw.spec(curve_chart.curves_chart(curves))
    scripts = [_bundle(), _asset("page.js")]
    return templates.get_template("page.html").render(
        story=story,
        picture=Markup(picture),
        kept=_kept(story),
        positions=[(position.row, position.delta) for position in story.positions],
        columns=_Columns.of(story.rows),
        statuses=[(word, past) for word, past in _STATUSES if _count(story, word)],
        skipped=_count(story, "skip"),
        digits=digits,
        proposer_cells=[stats_cells(one, digits) for one in story.proposers],
        proposer_line=stats_line(story.proposers[0], digits) if story.proposers else "",
        noise_remarks=noise_remark(story.proposers, digits),
        charts=charts,
        palettes={
            "light": draw.palette() | {"background": "transparent"},
            "dark": draw.palette(dark=True),
        },
        policy=_policy(scripts),
        style=Markup(_asset("page.css")),
        scripts=[Markup(script) for script in scripts],
    )


# ---- what the templates show ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Kept:
    """A kept trial: its gain over the best before it, also as a share (0 to 1) of the largest."""

    row: Row
    gain: float | None
    share: float


def _kept(story: Story) -> list[_Kept]:
    kept = [position for position in story.positions if position.row.status is Status.KEEP]
    gains = [_gain(story, position) for position in kept]
    largest = max((abs(gain or 0.0) for gain in gains), default=0.0) or 1.0
    return [
        _Kept(position.row, gain, max(0.0, gain or 0.0) / largest)
        for position, gain in zip(kept, gains, strict=True)
    ]


def _count(story: Story, word: str) -> int:
    return sum(row.word == word for row in story.rows)


def _gain(story: Story, position: Position) -> float | None:
    """The gain that was confirmed; without a confirmation, that of the two values."""
    if (claim := story.summary.claims.get(position.row.number)) is not None:
        return claim.estimate
    if position.row.value is None or position.before is None:
        return None
    return story.metric.gain(position.row.value, position.before)


@dataclass(frozen=True)
class _Columns:
    """Which optional columns of the table of all trials have something to show."""

    memory: bool
    seconds: bool
    seed: bool
    proposer: bool

    @classmethod
    def of(cls, rows: Sequence[Row]) -> _Columns:
        return cls(
            memory=any(row.memory_gb for row in rows),
            seconds=any(row.seconds is not None for row in rows),
            seed=any(row.seed is not None for row in rows),
            proposer=len({row.proposer for row in rows}) > 1,
        )


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _diff(text: str) -> Markup:
    """A unified diff, cut to `_DIFF` characters: added and removed lines marked, all escaped."""
    from markupsafe import Markup

    lines = Markup("\n").join(_diff_line(line) for line in text[:_DIFF].splitlines())
    if len(text) <= _DIFF:
        return lines
    return lines + Markup("\n<i>… {:,} characters more</i>").format(len(text) - _DIFF)


def _diff_line(line: str) -> Markup:
    from markupsafe import Markup

    if line.startswith(("+++", "---", "diff ", "index ", "@@")):
        tag = "i"
    else:
        tag = {"+": "ins", "-": "del"}.get(line[:1], "")
    text = Markup(html.escape(line.translate(_DIRECTIONS)))
    return Markup("<{0}>{1}</{0}>").format(tag, text) if tag else text


# ---- what keeps it safe --------------------------------------------------------------------------


@cache
def _templates() -> Environment:
    """The page's templates. Values are cleaned, then escaped; an unknown name is an error."""
    jinja2 = draw.jinja2()
    made: Environment = jinja2.Environment(
        loader=jinja2.PackageLoader("autoresearch.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    made.filters |= {"rate": _rate, "diff": _diff}
    made.globals |= {"proposer_columns": COLUMNS}
    return made


def _clean(value: Any) -> Any:
    """A value as one line without control characters; markup of ours stays as it is."""
    return value if hasattr(value, "__html__") else plain(str(value))


def _policy(scripts: Iterable[str]) -> str:
    """Nothing is loaded, and no script runs but these."""
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    rest = "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; script-src {hashes}; {rest}"


def _bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script."""
    made = str(draw.vl_convert().javascript_bundle(vl_version=draw.vegalite_version()))
    return f"(()=>{{{made}\n}})();".replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _asset(name: str) -> str:
    return files("autoresearch.report").joinpath("assets", name).read_text(encoding="utf-8")
