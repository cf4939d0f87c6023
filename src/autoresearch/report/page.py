"""The offline page: one HTML file that loads nothing and runs no script but its own.

Notes, diffs and facts come from strangers. Every text goes through `_e`, chart data through
`_json`, and the content security policy lists our scripts by hash, so that nothing else can run.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Iterator
from importlib.resources import files
from typing import Any

from autoresearch.report import curve_chart, draw
from autoresearch.report.chart import staircase_chart
from autoresearch.report.proposer_stats import HEAD, arm_cells, arm_line, noise_remark
from autoresearch.report.story import Position, Story, counted, number, percent, signed
from autoresearch.store.ledger import Status
from autoresearch.store.rows import Row, plain

_DIFF = 64_000  # characters of a diff that are shown
_JOINERS = dict.fromkeys(map(ord, "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"), "�")


def page(story: Story, picture: str = "") -> str:
    """The whole document. `picture`, an SVG, is shown where scripts do not run."""
    curves = curve_chart.chosen(story)
    data = {"staircase": draw.spec(staircase_chart(story, titled=False))}
    if curves:
        data["curves"] = draw.spec(curve_chart.curves_chart(curves))
    palettes = {"light": draw.palette() | {"background": "transparent"}, "dark": draw.palette(True)}
    scripts = [_bundle(), _asset("page.js")]
    sections = [
        _head(story),
        _figure(picture),
        _keeps(story),
        _findings(story),
        _arms(story),
        _curves(bool(curves)),
        _trials(story),
        _diffs(story),
        _facts(story),
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{_e(story.title)}</title>",
            f"<style>{_asset('page.css')}</style>",
            "<main>",
            *filter(None, sections),
            "</main>",
            _data("charts", data),
            _data("palettes", palettes),
            *(f"<script>{script}</script>" for script in scripts),
            "</html>",
            "",
        ]
    )


# ---- sections ------------------------------------------------------------------------------------


def _head(story: Story) -> str:
    first, best = story.baseline, story.best
    name = f'<span class="metric">{_e(story.metric.name)}</span>'
    if best is None or best.value is None:
        figure = f"{name} no usable value yet"
    elif first is None or first.value is None or best is first:
        figure = f"{name} <strong>{number(best.value)}</strong>"
    else:
        change = percent(best.value, first.value)
        figure = (
            f'{name} {number(first.value)} <span class="to">→</span> '
            f"<strong>{number(best.value)}</strong> "
            f'<span class="change">{_e(change)}</span>'
        )
    return f"""<header>
<h1>{_e(story.title)}</h1>
<p class="figure">{figure}</p>
<p class="counts">{" <i>·</i> ".join(_counts(story))}</p>
</header>"""


def _counts(story: Story) -> Iterator[str]:
    yield f"{len(story.rows)} trial{'' if len(story.rows) == 1 else 's'}"
    words = ((Status.KEEP, "kept"), (Status.DISCARD, "discarded"), (Status.CRASH, "crashed"))
    for status, word in words:
        more = " (baseline included)" if status is Status.KEEP and story.baseline else ""
        if count := story.count(status):
            yield f'<span class="{status}">{count} {word}</span>{more}'
    if story.skipped:
        yield f"{story.skipped} skipped"
    if (rate := story.trials_per_hour) is not None:
        yield f"{rate:,.0f} trials an hour" if rate >= 10 else f"{rate:.1f} trials an hour"


def _figure(picture: str) -> str:
    still = f"<noscript>{picture}</noscript>" if picture else ""
    return f"""<figure><div class="scroll"><div class="chart" id="staircase"></div></div>
{still}<figcaption>Every trial that ran is a mark; the line is the best so far. Hover for the note
and the score, click to see its row.</figcaption></figure>"""


def _keeps(story: Story) -> str:
    kept = [s for s in story.standings if s.row.status is Status.KEEP]
    if len(kept) < 2:
        return ""
    largest = max((abs(s.delta or 0.0) for s in kept), default=0.0) or 1.0
    rows = "\n".join(_keep(s, story, largest) for s in kept)
    return f"""<section><h2>What was kept</h2>
<div class="scroll"><table class="keeps">
<thead><tr><th class="n">#</th><th>change</th><th class="n">{_e(story.metric.name)}</th>
<th class="n">gain</th><th class="bar"></th></tr></thead>
<tbody>{rows}</tbody></table></div>
<p class="remark">Gain is against the best before it.</p></section>"""


def _keep(standing: Position, story: Story, largest: float) -> str:
    row, gain, share = standing.row, "", 0.0
    if row.value is not None and standing.before is not None:
        better = story.metric.gain(row.value, standing.before)
        gain, share = signed(better), max(0.0, better) / largest
    value = "–" if row.value is None else number(row.value)
    name = f'<a href="#diff-{row.number}">{_e(row.note)}</a>' if row.diff else _e(row.note)
    bar = f'<b style="width:{100 * share:.1f}%"></b>'
    return (
        f'<tr><td class="n">{row.number}</td><td>{name}</td><td class="n">{value}</td>'
        f'<td class="n">{gain}</td><td class="bar">{bar}</td></tr>'
    )


def _findings(story: Story) -> str:
    if not story.findings:
        return ""
    rows = "\n".join(
        f'<tr><td>{_e(one.about)}</td><td class="n">{_e(one.figure)}</td>'
        f'<td class="note">{_e(one.remark)}</td></tr>'
        for one in story.findings
    )
    return f"""<section><h2>Is it real?</h2>
<div class="scroll"><table class="findings"><tbody>{rows}</tbody></table></div></section>"""


def _arms(story: Story) -> str:
    """Which proposer earned what: a table, or a line where there is one."""
    if not story.arms:
        return ""
    if len(story.arms) == 1:
        return f'<p class="remark">{_e(arm_line(story.arms[0]))}</p>'
    head = "".join(f'<th class="{"n" if at else ""}">{name}</th>' for at, name in enumerate(HEAD))
    rows = "\n".join(
        "<tr>"
        + "".join(
            f'<td class="{"n" if at else "note"}">{_e(cell)}</td>'
            for at, cell in enumerate(arm_cells(arm))
        )
        + "</tr>"
        for arm in story.arms
    )
    told = " ".join(
        [
            *noise_remark(story.arms),
            "Gains are those that the study claims; steps that were proven together share the",
            "proof's gain by what each had shown.",
        ]
    )
    return f"""<section><h2>Which proposer earned what</h2>
<div class="scroll"><table class="arms"><thead><tr>{head}</tr></thead>
<tbody>{rows}</tbody></table></div>
<p class="remark">{_e(told)}</p></section>"""


def _curves(some: bool) -> str:
    if not some:
        return ""
    return """<section><h2>Training curves</h2>
<div class="scroll"><div class="chart" id="curves"></div></div></section>"""


def _trials(story: Story) -> str:
    columns = _Columns(story)
    words = [("keep", "kept"), ("discard", "discarded"), ("crash", "crashed")]
    words += [("skip", "skipped")] if story.skipped else []
    rows = "\n".join(columns.row(s) for s in story.standings)
    boxes = "".join(
        f'<label><input type="checkbox" value="{status}" checked> {word}</label>'
        for status, word in words
    )
    return f"""<section><h2>All trials</h2>
<form class="filter" id="filter" hidden><input type="search" placeholder="Filter notes and commits"
aria-label="Filter notes and commits">{boxes}<output></output></form>
<div class="scroll"><table class="trials" id="trials">
<thead><tr>{columns.head()}</tr></thead>
<tbody>{rows}</tbody></table></div></section>"""


class _Columns:
    """The table of all trials: columns that no row fills are left out."""

    def __init__(self, story: Story) -> None:
        self.story = story
        rows = story.rows
        self.memory = any(row.memory_gb for row in rows)
        self.seconds = any(row.seconds is not None for row in rows)
        self.seed = any(row.seed is not None for row in rows)
        self.proposer = len({row.proposer for row in rows}) > 1

    def head(self) -> str:
        names = [("#", "n"), ("status", ""), (self.story.metric.name, "n"), ("delta", "n")]
        names += [("GB", "n")] * self.memory + [("seconds", "n")] * self.seconds
        names += [("seed", "n")] * self.seed + [("commit", ""), ("note", "")]
        names += [("proposer", "")] * self.proposer
        return "".join(f'<th class="{kind}">{_e(name)}</th>' for name, kind in names)

    def row(self, standing: Position) -> str:
        row, delta = standing.row, standing.delta
        cells = [("n", str(row.number)), ("", f'<span class="{row.word}">{row.word}</span>')]
        cells.append(("n", "–" if row.value is None else number(row.value)))
        cells.append(("n", "" if delta is None else signed(delta)))
        if self.memory:
            cells.append(("n", f"{row.memory_gb:.1f}" if row.memory_gb else ""))
        if self.seconds:
            cells.append(("n", "" if row.seconds is None else f"{row.seconds:,.1f}"))
        if self.seed:
            cells.append(("n", "" if row.seed is None else str(row.seed)))
        cells.append(("", f"<code>{_e(row.commit[:8])}</code>"))
        cells.append(("note", _note(row)))
        if self.proposer:
            cells.append(("", _e(row.proposer)))
        body = "".join(f'<td class="{kind}">{cell}</td>' for kind, cell in cells)
        return f'<tr id="trial-{row.number}" data-status="{row.word}">{body}</tr>'


def _note(row: Row) -> str:
    reason = f' <span class="reason">{_e(row.reason)}</span>' if row.reason else ""
    return f"{_e(row.note)}{reason}"


def _diffs(story: Story) -> str:
    shown = [row for row in story.rows if row.diff and row.status is Status.KEEP]
    if not shown:
        return ""
    body = "\n".join(
        f'<details id="diff-{row.number}"><summary><span class="n">#{row.number}</span> '
        f"{_e(row.note)}</summary><pre>{_diff(row.diff)}</pre></details>"
        for row in shown
    )
    return f"<section><h2>Diffs of what was kept</h2>\n{body}</section>"


def _diff(text: str) -> str:
    cut = len(text) > _DIFF
    lines = "\n".join(_diff_line(line) for line in text[:_DIFF].splitlines())
    return lines + (f"\n<i>… {len(text) - _DIFF:,} characters more</i>" if cut else "")


def _diff_line(line: str) -> str:
    text = html.escape(line.translate(_JOINERS))
    if line.startswith(("+++", "---", "diff ", "index ")):
        return f"<i>{text}</i>"
    kind = {"+": "ins", "-": "del"}.get(line[:1])
    if kind:
        return f"<{kind}>{text}</{kind}>"
    return f"<i>{text}</i>" if line.startswith("@@") else text


def _facts(story: Story) -> str:
    if not story.facts:
        return f"<footer>{_e(counted(story))}.</footer>"
    pairs = "".join(f"<dt>{_e(k)}</dt><dd>{_e(v)}</dd>" for k, v in story.facts.items())
    return f"<footer><h2>How it was run</h2><dl>{pairs}</dl></footer>"


# ---- what keeps it safe --------------------------------------------------------------------------


def _e(text: object) -> str:
    """Untrusted text as HTML: one line, no control characters, quotes and brackets escaped."""
    return html.escape(plain(str(text)), quote=True)


def _json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _data(name: str, value: Any) -> str:
    return f'<script type="application/json" id="{name}">{_json(value)}</script>'


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
