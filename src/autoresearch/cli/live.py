"""The views of a session: a live panel on a terminal, plain lines elsewhere, or JSON lines."""

from __future__ import annotations

import sys
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

import click

from autoresearch.cli.terminal import has_panel
from autoresearch.cli.words import AlarmWatch, end_text, stage_words, trial_line, warning
from autoresearch.store.heartbeat import Stage
from autoresearch.store.ledger import Trial
from autoresearch.store.results import jsonl
from autoresearch.study.loop import StopLimits
from autoresearch.study.study import Study


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


def make_view(study: Study, limits: StopLimits, *, as_json: bool, by_hand: bool = False) -> View:
    """JSON lines on request, a panel on a terminal, plain lines elsewhere and at TERM=dumb."""
    if as_json:
        return JsonView(study)
    if not has_panel():
        return LineView(study)
    from autoresearch.cli.live_view import LiveView

    return LiveView(study, limits, by_hand=by_hand)


class JsonView:
    """One JSON object for each finished trial, on stdout; messages on stderr."""

    def __init__(self, study: Study) -> None:
        self._alarms = AlarmWatch(study)

    def stage(self, stage: Stage) -> None:
        """Nothing: stdout holds trials only."""

    def trial(self, trial: Trial) -> None:
        """Print the trial as `export` does."""
        click.echo(jsonl([trial]), nl=False)
        for alarm in self._alarms.new():
            click.echo(warning(alarm), err=True)

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
    """A line with the time of day for each stage, finished trial, message and new alarm."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._alarms = AlarmWatch(study)

    def stage(self, stage: Stage) -> None:
        """Print that it begins; a proposal that was begun ahead has its line already."""
        if stage.verb == "propose" and self._study.workspaces.busy:
            if self._study.workspaces.under_way is not None:
                self._print(f"{stage.who} waits for the proposal of {stage.note}.")
            return
        if stage.verb in ("pause", "hold"):
            return  # a message says so
        self._print(f"{stage_words(stage, self._study.ledger)}")

    def trial(self, trial: Trial) -> None:
        """Print a line with the outcome, and new alarms."""
        self._print(trial_line(trial, self._study.ledger))
        for alarm in self._alarms.new():
            self._print(warning(alarm))

    def note(self, text: str) -> None:
        """Print the message as a line."""
        self._print(text)

    def end(self, why: str) -> None:
        """Print the reason, alarms and the state of the study."""
        self._print(end_text(self._study, why))

    def __enter__(self) -> Self:
        self._print(f"Study {self._study.paths.tag} of {self._study.task.name}.")
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()

    def _print(self, text: str) -> None:
        click.echo(f"{datetime.now():%H:%M:%S} {text}")
        sys.stdout.flush()
