"""The views of a session: a live panel on a terminal, plain lines elsewhere, or JSON lines."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import click

from autoresearch.cli.common import duration
from autoresearch.report.curves import read_curve
from autoresearch.store.heartbeat import Stage
from autoresearch.store.ledger import SKIP, STEP, Ledger, Trial
from autoresearch.store.results import jsonl
from autoresearch.strategies.summary import Summary, notation, summarize
from autoresearch.study.loop import StopLimits
from autoresearch.study.study import Study

if TYPE_CHECKING:
    from rich.console import RenderableType

_BLOCKS = "▁▂▃▄▅▆▇█"
_VERBS = {
    "propose": "is proposed by",
    "run": "runs:",
    "check": "is checked:",
    "wait": "waits for a measurement of:",
    "pause": "waits: paused, continue with `autoresearch resume`",
}
_STYLE = {"keep": "bold green", STEP: "green", "discard": "dim", "crash": "red", SKIP: "yellow"}


class View(Protocol):
    """Shows the events of a session."""

    def stage(self, stage: Stage) -> None:
        """A stage begins: a proposal, a run, a check, a wait."""

    def trial(self, trial: Trial) -> None:
        """A trial is finished."""

    def note(self, text: str) -> None:
        """A message for the person."""

    def end(self, why: str) -> None:
        """The session is over."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def make_view(study: Study, limits: StopLimits, *, as_json: bool) -> View:
    """JSON lines on request, a panel on a terminal, plain lines elsewhere."""
    if as_json:
        return JsonView()
    return LiveView(study, limits) if sys.stdout.isatty() else LineView(study)


class JsonView:
    """One JSON object for each finished trial, on stdout."""

    def stage(self, stage: Stage) -> None:
        """Nothing: stdout holds trials only."""

    def trial(self, trial: Trial) -> None:
        """Print the trial as `export` does."""
        click.echo(jsonl([trial]), nl=False)

    def note(self, text: str) -> None:
        """Print the message on stderr."""
        click.echo(text, err=True)

    def end(self, why: str) -> None:
        """Print the reason on stderr."""
        click.echo(f"Ended: {why}.", err=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()


class LineView:
    """One line when a run begins and one when a trial is finished."""

    def __init__(self, study: Study) -> None:
        self._study = study

    def stage(self, stage: Stage) -> None:
        """Print a line for a run or a wait; other stages have none."""
        if stage.verb == "wait":
            click.echo(f"{stage.who} waits: {stage.note} is measuring.")
        elif stage.verb == "run":
            again = f" ({stage.purpose})" if stage.purpose else ""
            click.echo(f"{stage.who} runs{again}: {stage.note}")

    def trial(self, trial: Trial) -> None:
        """Print a line with the outcome."""
        click.echo(trial_line(trial, self._study.ledger))

    def note(self, text: str) -> None:
        """Print the message as a line."""
        click.echo(text)

    def end(self, why: str) -> None:
        """Print the reason and the state of the study."""
        click.echo(f"Ended: {why}.")
        click.echo(summary_text(self._study))

    def __enter__(self) -> Self:
        click.echo(f"Study {self._study.paths.tag} of {self._study.task.name}.")
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()


class LiveView:
    """Finished trials scroll by; below them a panel shows the one that runs."""

    def __init__(self, study: Study, limits: StopLimits) -> None:
        from rich.console import Console
        from rich.live import Live

        self._study = study
        self._limits = limits
        self._counts = Counter(trial.word for trial in study.ledger.trials())
        self._stage: Stage | None = None
        self._began = self._stage_began = time.monotonic()
        self._done = 0
        self._console = Console(highlight=False)
        self._live = Live(
            console=self._console,
            get_renderable=self._panel,
            refresh_per_second=4,
            transient=True,
        )

    def stage(self, stage: Stage) -> None:
        """Show the stage in the panel."""
        self._stage, self._stage_began = stage, time.monotonic()

    def trial(self, trial: Trial) -> None:
        """Print a line above the panel."""
        self._stage = None
        self._done += 1
        self._counts[trial.word] += 1
        style = _STYLE[trial.word]
        self._console.print(trial_line(trial, self._study.ledger), style=style, markup=False)

    def note(self, text: str) -> None:
        """Print a line above the panel."""
        self._console.print(text, style="yellow", markup=False)

    def end(self, why: str) -> None:
        """Print the reason and the state of the study."""
        self._live.stop()
        self._console.print(f"Ended: {why}.\n{summary_text(self._study)}", markup=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    # ---- the panel -----------------------------------------------------------------------------

    def _panel(self) -> RenderableType:
        from rich.console import Group
        from rich.panel import Panel

        title = f"{self._study.task.name} · {self._study.paths.tag}"
        # The terminal prints ^C after the last line: without room for it, it would move the panel.
        width = max(20, self._console.width - 3)
        inner = Group(*self._stage_lines(), self._counts_line())
        return Panel(inner, title=title, title_align="left", width=width)

    def _stage_lines(self) -> list[RenderableType]:
        from rich.text import Text

        stage = self._stage
        if stage is None:
            return [Text("…", style="dim")]
        verb = _VERBS[stage.verb]
        lines: list[RenderableType] = [Text(f"{stage.who} {verb} {stage.note}", style="bold")]
        if self._study.ending:
            lines.append(Text("ends after this run; Ctrl-C once more ends at once", style="yellow"))
        if stage.purpose:
            lines.append(Text(f"again, {stage.purpose}", style="dim"))
        if self._study.workspaces.busy:
            lines.append(Text("the next proposal is being made", style="dim"))
        if stage.verb == "run" and stage.log is not None:
            curve = read_curve(stage.log)
            lines.append(self._budget_bar(curve[-1][0] if curve else None))
            if curve:
                drawn = sparkline([loss for _, loss in curve], 40)
                lines.append(Text(f"loss {drawn} {curve[-1][1]:.4f}", style="cyan"))
        return lines

    def _budget_bar(self, progress: float | None) -> RenderableType:
        from rich.columns import Columns
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        spent = time.monotonic() - self._stage_began
        budget = self._study.task.budget
        if progress is None:
            progress = 0.0 if budget.seconds else spent / budget.timeout
        limit = f"{duration(spent)}, limit {duration(budget.timeout)}"
        bar = ProgressBar(total=1.0, completed=min(progress, 1.0), width=40)
        return Columns([bar, Text(f"{progress:4.0%}  {limit}")])

    def _counts_line(self) -> RenderableType:
        from rich.text import Text

        counts, best = self._counts, self._study.ledger.best()
        digits = notation(self._study.ledger)
        best_text = (
            f"best {digits.value(best.value)} (#{best.number})" if best else "no baseline yet"
        )
        outcomes = " · ".join(_counted(counts))
        return Text(f"{best_text} · {outcomes} · {self._pace()}")

    def _pace(self) -> str:
        """Trials an hour, and when the session will end."""
        spent = time.monotonic() - self._began
        if not self._done:
            return f"{duration(spent)} so far"
        each = spent / self._done
        ends = [self._limits.until] if self._limits.until else []
        if self._limits.trials is not None:
            ends.append(time.time() + each * max(0, self._limits.trials - self._done))
        end = f"ends about {datetime.fromtimestamp(min(ends)):%H:%M}" if ends else "until Ctrl-C"
        return f"{3600 / each:.0f} trials/h · {end}"


_PAST = {
    "keep": "kept",
    STEP: "steps",
    "discard": "discarded",
    "crash": "crashed",
    SKIP: "skipped",
}
_RARE = {STEP, SKIP}  # shown only when there are some


def trial_line(trial: Trial, ledger: Ledger) -> str:
    """One finished trial: number, status, value, difference from what it started from, note."""
    start = None if trial.is_baseline else ledger.made(trial.parent)
    digits = notation(ledger, trial, start)
    delta = ""
    if trial.value is not None and start is not None and start.value is not None:
        delta = digits.difference(trial.value - start.value)
    score = f"{ledger.metric.name} {digits.value(trial.value):>9} {delta:>10}"
    return f"#{trial.number:<4}{trial.word:<8}{score}  {trial.note}{trial.why}"


def summary_lines(summary: Summary, branch: str) -> list[str]:
    """The state of a study, a sentence a line."""
    lines = [f"{summary.counts.text}.", f"{summary.headline}."]
    if summary.best is not None and summary.change is not None:
        lines[1] = f"{summary.headline}, #{summary.best.trial} on branch {branch}."
    for text in (summary.gain_text, summary.open_text):
        lines += [f"{text[0].upper()}{text[1:]}."] if text else []
    return lines


def summary_text(study: Study) -> str:
    """The state of a study as the end of a session shows it."""
    summary = summarize(study.ledger, study.paths.extra_runs)
    return "\n".join(summary_lines(summary, f"autoresearch/{study.paths.tag}"))


def _counted(counts: Counter[str]) -> list[str]:
    return [f"{counts[w]} {past}" for w, past in _PAST.items() if w not in _RARE or counts[w]]


def sparkline(values: Sequence[float], width: int) -> str:
    """A curve as one line of block characters."""
    shown = (
        [values[i * len(values) // width] for i in range(width)] if len(values) > width else values
    )
    low, high = min(shown), max(shown)
    scale = (len(_BLOCKS) - 1) / ((high - low) or 1.0)
    return "".join(_BLOCKS[round((value - low) * scale)] for value in shown)
