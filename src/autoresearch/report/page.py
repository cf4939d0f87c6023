"""The offline page: one HTML file that loads nothing and runs no script but its own.

Notes, diffs and facts are untrusted. The templates escape every value, `clean` removes its control
characters first, and the content security policy lists our scripts by hash.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from autoresearch.report import curve_chart, draw
from autoresearch.report.failures import failure_words, failures
from autoresearch.report.net_diff import NetDiff
from autoresearch.report.picture import page_svg
from autoresearch.report.plan import LARGE, SMALL
from autoresearch.report.proposer_stats import COLUMNS, noise_remark, stats_cells, stats_line
from autoresearch.report.rendering import asset, templates
from autoresearch.report.stacks import Step
from autoresearch.report.story import Position, Story
from autoresearch.report.verdict import alarms, verdict
from autoresearch.store.ledger import Status
from autoresearch.store.rows import Row

if TYPE_CHECKING:
    from markupsafe import Markup

_DIFF = 64_000  # characters of a diff that are shown
_DIFFS = 120_000  # of all diffs together
_DIRECTIONS = dict.fromkeys(map(ord, "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"), "�")
_STATUSES = (("keep", "kept"), ("step", "steps"), ("discard", "discarded"), ("crash", "crashed"))


def page(story: Story, *, interactive: bool = False) -> str:
    """The whole document. `interactive` adds Vega, 0.9 MB, which draws the chart again.

    ReportError when the extra `report` is missing.
    """
    made = templates()
    from markupsafe import Markup

    digits = story.summary.digits
    curves = curve_chart.chosen(story)
    scripts = [asset("page.js"), *(_vega_scripts() if interactive else ())]
    return made.get_template("page.html").render(
        story=story,
        verdict=verdict(story),
        alarms=alarms(story),
        large=page_svg(story, LARGE),
        small=page_svg(story, SMALL),
        curves=curve_chart.curves_svg(curves) if curves else "",
        kept=_kept(story),
        failures=failures(story.rows),
        net=_net(story.net),
        trials=[_Shown.of(position, story.members) for position in story.positions],
        columns=_Columns.of(story.rows),
        statuses=[(word, past) for word, past in _STATUSES if _count(story, word)],
        skipped=_count(story, "skip"),
        digits=digits,
        proposer_columns=COLUMNS,
        proposer_cells=[stats_cells(one, digits) for one in story.proposers],
        proposer_line=stats_line(story.proposers[0], digits) if story.proposers else "",
        noise_remarks=noise_remark(story.proposers, digits),
        vega=_vega(story) if interactive else {},
        policy=_policy(scripts),
        light=Markup(draw.css_variables(draw.LIGHT)),
        dark=Markup(draw.css_variables(draw.DARK)),
        style=Markup(asset("page.css") + asset("chart.css")),
        scripts=[Markup(script) for script in scripts],
        rate=_rate,
    )


# ---- what the templates show ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Kept:
    """A keep: its gain over the one before, also as a share (0 to 1) of the largest, its steps."""

    row: Row
    gain: float | None
    share: float
    steps: Sequence[Step]
    diff: Markup | str


def _kept(story: Story) -> list[_Kept]:
    kept = [position for position in story.positions if position.row.status is Status.KEEP]
    gains = [_gain(story, position) for position in kept]
    largest = max((abs(gain or 0.0) for gain in gains), default=0.0) or 1.0
    found, left = [], _DIFFS
    for position, gain in zip(kept, gains, strict=True):
        row, stack = position.row, story.stacks.get(position.row.number)
        steps = stack.steps if stack is not None and len(stack.steps) > 1 else ()
        diff = _diff(row.diff, min(_DIFF, left)) if row.diff else ""
        left -= min(_DIFF, left, len(row.diff))
        found.append(_Kept(row, gain, max(0.0, gain or 0.0) / largest, steps, diff))
    return found


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
class _Shown:
    """A row of the table of all trials."""

    row: Row
    delta: float | None
    time: str  # clock time in UTC: `12-01 09:02`
    reason: str
    alone: str  # what is known of a kept step alone

    @classmethod
    def of(cls, position: Position, members: Mapping[int, Step]) -> _Shown:
        row = position.row
        step = members.get(row.number)
        failed = row.status is Status.CRASH
        reason = failure_words(row) if failed else row.because or row.reason.replace("_", " ")
        return cls(row, position.delta, _clock(row.created), reason, step.alone if step else "")


def _clock(created: str) -> str:
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return ""
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC)
    return f"{moment:%m-%d %H:%M:%S}"


@dataclass(frozen=True)
class _Columns:
    """Which optional columns of the table of all trials have something to show."""

    memory: bool
    seconds: bool
    time: bool
    reason: bool
    proposer: bool

    @classmethod
    def of(cls, rows: Sequence[Row]) -> _Columns:
        return cls(
            memory=any(row.memory_gb for row in rows),
            seconds=any(row.seconds is not None for row in rows),
            time=any(_clock(row.created) for row in rows),
            reason=any(row.reason or row.because or row.detail for row in rows),
            proposer=len({row.proposer for row in rows}) > 1,
        )


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _diff(text: str, most: int) -> Markup:
    """A unified diff, cut to `most` characters: added and removed lines marked, all escaped."""
    from markupsafe import Markup

    lines = Markup("\n").join(_diff_line(line) for line in text[:most].splitlines())
    if len(text) <= most:
        return lines
    return lines + Markup("\n<i>… {:,} characters more</i>").format(len(text) - most)


def _diff_line(line: str) -> Markup:
    if line.startswith(("+++", "---", "diff ", "index ", "@@")):
        return _line("i", line)
    return _line({"+": "ins", "-": "del"}.get(line[:1], ""), line)


def _line(tag: str, text: str, trial: int | None = None) -> Markup:
    """A line of a diff in its tag, with a link to the trial that brought it."""
    from markupsafe import Markup

    shown = Markup(html.escape(text.translate(_DIRECTIONS)))
    if trial is not None:
        shown = Markup('<a href="#trial-{0}">#{0}</a>{1}').format(trial, shown)
    return Markup("<{0}>{1}</{0}>").format(tag, shown) if tag else shown


def _net(files: Sequence[NetDiff]) -> list[tuple[str, Markup]]:
    """The diffs from baseline to best, a file each, cut to `_DIFF` characters together."""
    from markupsafe import Markup

    found, left = [], _DIFF
    for file in files:
        lines = []
        for line in file.lines:
            tag = {"+": "ins", "-": "del", "@": "i"}.get(line.sign, "")
            left -= len(line.text) + 1
            if left < 0:
                lines.append(Markup("<i>… cut here</i>"))
                break
            text = line.text if line.sign == "@" else line.sign + line.text
            lines.append(_line(tag, text, line.trial))
        found.append((file.path, Markup("\n").join(lines)))
    return found


# ---- Vega, for the interactive page --------------------------------------------------------------


def _vega(story: Story) -> dict[str, Any]:
    """The staircase as Vega-Lite, and the colours for light and dark."""
    from autoresearch.report.chart import staircase_chart

    return {
        "staircase": draw.spec(staircase_chart(story)),
        "light": draw.palette(),
        "dark": draw.palette(dark=True),
    }


def _vega_scripts() -> tuple[str, str]:
    """Vega, Vega-Lite and Vega-Embed in one script, and what calls them."""
    made = str(draw.vl_convert().javascript_bundle(vl_version=draw.vegalite_version()))
    safe = made.replace("</script", "<\\/script").replace("<!--", "<\\!--")
    return f"(()=>{{{safe}\n}})();", asset("vega.js")


# ---- what keeps it safe --------------------------------------------------------------------------


def _policy(scripts: Iterable[str]) -> str:
    """Nothing is loaded, and no script runs but these."""
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    rest = "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; script-src {hashes}; {rest}"
