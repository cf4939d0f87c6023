"""The panel of a live session: slots, what the study has found, alarms, keeps, the staircase.

It is a list of rows, each one line of the terminal. Which rows there are depends on the height of
the terminal alone, so that the panel's height never changes while a session runs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from autoresearch.cli.common import duration
from autoresearch.cli.terminal import Line
from autoresearch.cli.words import note_of
from autoresearch.lab.task import Task
from autoresearch.report.story import Story
from autoresearch.report.table import staircase
from autoresearch.store.ledger import Ledger, State, Trial
from autoresearch.store.paths import StudyPaths
from autoresearch.store.rows import from_trials, plain
from autoresearch.strategies.alarms import Alarm, alarms
from autoresearch.strategies.summary import Summary, summarize

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

NAME = 9  # columns of a slot's name
_BLOCKS = "▁▂▃▄▅▆▇█"
_AXIS = 4  # lines of a staircase besides its plot: legend and axis, two each


@dataclass(frozen=True)
class SlotRow:
    """A slot of the panel: its name, what happens there, and one more line about it."""

    name: str
    doing: Text
    detail: Text


@dataclass(frozen=True)
class Layout:
    """The rows of a panel for a terminal of some height."""

    border: bool = True
    details: bool = True  # a second line for each slot
    findings: bool = True  # open steps and counts
    alarms: int = 1
    keeps: int = 0  # recent ones, below a heading
    plot: int = 0  # lines of the staircase's plot

    @classmethod
    def of(cls, lines: int) -> Layout:
        """For a terminal of so many lines; at least as many are left for finished trials."""
        if lines < 10:
            return cls(border=False, details=False, findings=False, alarms=0)
        if lines < 20:
            return cls(details=False, findings=False)
        if lines < 34:
            return cls()
        if lines < 46:
            return cls(keeps=3, plot=8)
        return cls(alarms=3, keeps=5, plot=12)


@dataclass(frozen=True)
class Snapshot:
    """A study as the panel shows it, read at one moment."""

    summary: Summary
    story: Story
    keeps: tuple[Trial, ...] = ()  # newest first, without the baseline
    notes: tuple[str, ...] = ()  # of the keeps
    alarms: tuple[Alarm, ...] = ()
    spent: tuple[float, int] = (0.0, 0)  # dollars and tokens of all proposals

    @classmethod
    def of(cls, ledger: Ledger, task: Task, paths: StudyPaths, now: float) -> Snapshot:
        """Read a study."""
        summary = summarize(ledger, paths.extra_runs)
        trials = [trial for trial in ledger.trials() if trial.state is State.APPLIED]
        story = Story(paths.tag, from_trials(trials, values=summary.values), summary)
        keeps = tuple(keep for keep in reversed(ledger.kept()) if not keep.is_baseline)
        notes = tuple(note_of(keep, ledger) for keep in keeps[:10])
        return cls(summary, story, keeps[:10], notes, alarms(ledger, task, now), ledger.spent())


@dataclass(frozen=True)
class Session:
    """What the panel shows of the session itself."""

    title: str
    end: str  # when it ends, in words
    slots: Sequence[SlotRow] = ()
    budget: tuple[float | None, int | None] = (None, None)  # most dollars and tokens
    warnings: Sequence[str] = field(default=())  # besides the alarms


def draw(session: Session, seen: Snapshot, console: Console, size: os.terminal_size) -> list[Line]:
    """The lines of the panel; their number depends on the size and the slots alone."""
    from rich.panel import Panel
    from rich.text import Text

    layout, width = Layout.of(size.lines), max(20, size.columns - 1)
    inner = width - 4 if layout.border else width
    ascii_only = console.options.ascii_only
    rows = [*_slot_rows(session, layout), *_facts(session, seen, layout)]
    rows += _alarm_rows(session, seen, layout)
    rows += _keep_rows(seen, layout)
    rows += _staircase_rows(seen, layout, inner, ascii_only)
    for row in rows:
        row.no_wrap, row.overflow = True, "ellipsis"
        row.truncate(inner, overflow="ellipsis")
    body = Text("\n", no_wrap=True, overflow="ellipsis").join(rows)
    shown = body
    if layout.border:
        shown = Panel(body, title=Text(session.title), title_align="left", width=width)  # type: ignore[assignment]
    with console.capture() as captured:
        console.print(shown, width=width, no_wrap=True, overflow="ellipsis")
    return [Line(text, width) for text in captured.get().rstrip("\n").split("\n")]


# ---- rows ----------------------------------------------------------------------------------------


def _slot_rows(session: Session, layout: Layout) -> list[Text]:
    from rich.text import Text

    rows = []
    for slot in session.slots:
        rows.append(Text(f"{slot.name:<{NAME}}", style="cyan").append_text(slot.doing))
        if layout.details:
            rows.append(Text(" " * NAME).append_text(slot.detail))
    return rows


def _facts(session: Session, seen: Snapshot, layout: Layout) -> list[Text]:
    """Best, open steps, counts, and the session's pace, budget and end."""
    from rich.text import Text

    summary = seen.summary
    best = f", #{summary.best.trial}" if summary.best and summary.change is not None else ""
    gain = f" · {summary.gain_text}" if summary.gain_text else ""
    pace = summary.trials_per_hour
    rate = f"{pace:,.0f} trials an hour" if pace else "no pace yet"
    head = Text(f"{summary.headline}{best}{gain}", style="bold")
    now = Text(f"{session.end} · {rate}{_spent(session, seen)}")
    steps = Text(summary.open_text or "no step is open", style="green" if summary.open else "dim")
    return [head, steps, Text(summary.counts.text), now] if layout.findings else [head, now]


def _spent(session: Session, seen: Snapshot) -> str:
    (usd, tokens), (most_usd, most_tokens) = seen.spent, session.budget
    words = ""
    if usd or most_usd is not None:
        words += f" · ${usd:.2f}" + (f" of ${most_usd:.2f}" if most_usd is not None else "")
    if tokens or most_tokens is not None:
        most = f" of {most_tokens:,}" if most_tokens is not None else ""
        words += f" · {tokens:,}{most} tokens"
    return words


def _alarm_rows(session: Session, seen: Snapshot, layout: Layout) -> list[Text]:
    """Warnings; where they do not fit, how many more there are."""
    from rich.text import Text

    texts = [*session.warnings, *(f"Warning: {alarm.text}" for alarm in seen.alarms)]
    shown = texts[: layout.alarms]
    if len(texts) > len(shown) > 0:
        shown[-1] = f"({len(texts) - len(shown) + 1} warnings) {shown[-1]}"
    rows = [Text(text, style="bold yellow") for text in shown]
    return _filled(rows, layout.alarms)


def _keep_rows(seen: Snapshot, layout: Layout) -> list[Text]:
    """The newest keeps: number, value, note."""
    from rich.text import Text

    if not layout.keeps:
        return []
    digits, rows = seen.summary.digits, [Text("recent keeps", style="bright_black")]
    for keep, note in zip(seen.keeps[: layout.keeps], seen.notes, strict=False):
        value = digits.value(seen.summary.value_of(keep))
        rows.append(Text(f"#{keep.number:<5}{value}  {plain(note)}", style="green"))
    if not seen.keeps:
        rows.append(Text("none yet", style="dim"))
    return _filled(rows, layout.keeps + 1)


def _staircase_rows(seen: Snapshot, layout: Layout, width: int, ascii_only: bool) -> list[Text]:
    if not layout.plot:
        return []
    picture = staircase(seen.story, width, layout.plot).text(width, ascii_only)
    return _filled([*picture.split("\n")], layout.plot + _AXIS)


def _filled(rows: Iterable[Text], count: int) -> list[Text]:
    """Exactly so many rows."""
    from rich.text import Text

    made = list(rows)[:count]
    return made + [Text("") for _ in range(count - len(made))]


# ---- parts of slots ------------------------------------------------------------------------------


def bar(share: float, width: int, ascii_only: bool = False) -> Text:
    """A bar of which a share is full."""
    from rich.text import Text

    full = round(max(0.0, min(share, 1.0)) * width)
    sign, rest = ("#", "-") if ascii_only else ("━", "─")
    return Text(sign * full, style="green").append(rest * (width - full), style="bright_black")


def sparkline(values: Sequence[float], width: int) -> str:
    """A curve as one line of block characters."""
    shown = (
        [values[i * len(values) // width] for i in range(width)] if len(values) > width else values
    )
    low, high = min(shown), max(shown)
    scale = (len(_BLOCKS) - 1) / ((high - low) or 1.0)
    return "".join(_BLOCKS[round((value - low) * scale)] for value in shown)


def end_words(
    done: int, trials: int | None, until: float | None, per_hour: float | None, ending: bool
) -> str:
    """`12 of 20 trials, ends about 07:30`: when the session will end."""
    if ending:
        return "ends after this run"
    ends = [until] if until is not None else []
    if trials is not None and per_hour and trials > done:
        ends.append(time.time() + (trials - done) * 3600 / per_hour)
    about = "" if until is not None and ends and min(ends) == until else "about "
    words = [f"{done} of {trials} trials"] if trials is not None else []
    words += [f"ends at {about}{datetime.fromtimestamp(min(ends)):%H:%M}"] if ends else []
    return ", ".join(words) or "goes on until Ctrl-C"


def clock(since: float) -> str:
    """The time since a moment of the monotonic clock."""
    return duration(max(0.0, time.monotonic() - since))
