"""LiveView: finished trials scroll by; below them a panel shows what is under way."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from autoresearch.cli.common import duration
from autoresearch.cli.panel import (
    Session,
    SlotRow,
    Snapshot,
    bar,
    clock,
    draw,
    end_words,
    sparkline,
)
from autoresearch.cli.terminal import FRAME, Line, PanelScreen
from autoresearch.cli.words import AlarmWatch, end_text, run_words, stage_words, trial_line, warning
from autoresearch.errors import LedgerError
from autoresearch.proposers import max_seconds
from autoresearch.report.curves import read_curve
from autoresearch.store.heartbeat import Stage
from autoresearch.store.ledger import SKIP, STEP, Ledger, Trial
from autoresearch.store.pause import read_pause
from autoresearch.strategies import CONFIRMER
from autoresearch.study.loop import StopLimits
from autoresearch.study.study import Study
from autoresearch.text import clean_line

if TYPE_CHECKING:
    from rich.text import Text

QUIET = 60.0  # seconds without output of an agent after which that is shown
BAR, CURVE = 20, 24  # columns
_STYLE = {"keep": "bold green", STEP: "green", "discard": "dim", "crash": "red", SKIP: "yellow"}


class LiveView:
    """A session on a terminal."""

    def __init__(self, study: Study, limits: StopLimits, *, by_hand: bool = False) -> None:
        from rich.console import Console

        self._study, self._limits = study, limits
        self._proposals = not by_hand  # whether there is a slot for proposals
        self._console = Console(file=sys.stdout, highlight=False)
        self._screen = PanelScreen(sys.stdout, self)
        self._alarms = AlarmWatch(study)
        self._stage: Stage | None = None
        self._words, self._last_note = "", ""  # of the stage; of the last message
        self._stage_began = time.monotonic()
        self._done = 0
        self._seen = self._read(study.ledger)
        self._reader: Ledger | None = None  # the panel's thread has its own connection
        self._mark: object = None  # of what was read last
        self._next_read = 0.0
        self._lock = threading.Lock()  # of the console, which keeps what it captures in one place

    # ---- what a session reports ----------------------------------------------------------------

    def stage(self, stage: Stage) -> None:
        """Show the stage in its slot."""
        if stage.verb == "ahead":
            return  # the slot for proposals shows it
        self._words = run_words(stage, self._study.ledger) if stage.verb == "run" else ""
        self._stage, self._stage_began = stage, time.monotonic()

    def trial(self, trial: Trial) -> None:
        """Print a line above the panel, and new alarms below it."""
        self._stage = None
        self._done += not trial.is_baseline and trial.proposer != CONFIRMER
        self._print(trial_line(trial, self._study.ledger), _STYLE[trial.word])
        for alarm in self._alarms.new():
            self._print(warning(alarm), "bold yellow")

    def note(self, text: str) -> None:
        """Print a line above the panel."""
        self._last_note = text
        self._print(text, "yellow", clip=False)

    def end(self, why: str) -> None:
        """Print the reason, alarms and the state of the study."""
        self._screen.stop()
        self._console.print(end_text(self._study, why), markup=False)

    def __enter__(self) -> Self:
        self._screen.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._screen.stop()

    # ---- the panel -----------------------------------------------------------------------------

    def draw(self, size: os.terminal_size) -> Sequence[Line]:
        """The panel now."""
        seen, study = self._seen, self._study
        slots = [self._run_slot()]
        slots += [self._proposal_slot()] if self._proposals else []
        limits, pace = self._limits, seen.summary.trials_per_hour
        end = end_words(self._done, limits.trials, limits.until, pace, study.ending)
        ending = ["ends after this run; Ctrl-C once more ends at once"] if study.ending else []
        title = f"{study.task.name} · {study.paths.tag}"
        session = Session(title, end, slots, (limits.usd, limits.tokens), ending)
        with self._lock:
            return draw(session, seen, self._console, size)

    def refresh(self) -> None:
        """Read the study again after a change, in the panel's thread."""
        now = time.monotonic()
        if now < self._next_read:
            return
        with contextlib.suppress(LedgerError, OSError):  # busy: the next frame reads it
            ledger = self._reader or Ledger(self._study.paths.ledger, self._study.task.metric)
            self._reader = ledger
            mark = (len(ledger), ledger.trials(len(ledger) - 1), ledger.spent())
            if mark != self._mark or self._limits.until is not None:
                self._seen, self._mark = self._read(ledger), mark
        self._next_read = time.monotonic() + max(FRAME, 4 * (time.monotonic() - now))

    def close(self) -> None:
        """Close the connection of the panel's thread."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    # ---- inside --------------------------------------------------------------------------------

    def _read(self, ledger: Ledger) -> Snapshot:
        return Snapshot.of(ledger, self._study.task, self._study.paths, time.time())

    def _print(self, text: str, style: str, *, clip: bool = True) -> None:
        """Print a line above the panel, clipped to the terminal's width or wrapped to it."""
        from rich.text import Text

        width = self._screen.size.columns
        line = Text(text, style=style)
        if clip:
            line.truncate(width, overflow="ellipsis")
        with self._lock, self._console.capture() as captured:
            self._console.print(line, width=width, overflow="fold")
        self._screen.print(*captured.get().rstrip("\n").split("\n"))

    def _run_slot(self) -> SlotRow:
        """What runs, is checked or waits."""
        from rich.text import Text

        stage, study = self._stage, self._study
        if stage is None or stage.verb == "propose":
            idle = "waits for a proposal" if stage is not None else "between two trials"
            return SlotRow("run", Text(idle, style="dim"), Text(""))
        note = clean_line(stage.note, 500)
        if stage.verb == "run":
            words = f"{self._words}: {note}" if self._words else note
            return SlotRow("run", Text(f"{stage.who} {words}", style="bold"), self._curve(stage))
        if stage.verb == "check":
            spent = f"{clock(self._stage_began)} of at most {duration(stage.seconds)}"
            return SlotRow("check", Text(f"{stage.who} {note}", style="bold"), Text(spent))
        if stage.verb == "pause":
            pause = read_pause(study.paths)
            why = f"paused {pause.text}" if pause else "paused"
            return SlotRow(
                "pause", Text(why, style="yellow"), Text("`autoresearch resume` goes on")
            )
        if stage.verb == "hold":
            left = duration(max(0.0, stage.seconds - (time.monotonic() - self._stage_began)))
            doing = Text(f"tries again in {left}", style="yellow")
            return SlotRow("wait", doing, Text(clean_line(self._last_note, 500)))
        doing = Text(stage_words(stage, study.ledger), style="yellow")
        return SlotRow("wait", doing, Text(f"for {clock(self._stage_began)}"))

    def _curve(self, stage: Stage) -> Text:
        """How far a run is, its time, and its loss."""
        curve = read_curve(stage.log) if stage.log is not None else ()
        spent, budget = time.monotonic() - self._stage_began, self._study.task.budget
        share = curve[-1][0] if curve else None
        if share is None:
            share = 0.0 if budget.seconds else spent / budget.timeout
        ascii_only = self._console.options.ascii_only
        text = bar(share, BAR, ascii_only)
        text.append(f" {min(share, 1.0):4.0%}  {duration(spent)} of at most ")
        text.append(duration(budget.timeout))
        if curve:
            text.append(f"  loss {curve[-1][1]:.4f}", style="cyan")
        if curve and not ascii_only:
            text.append(f" {sparkline([loss for _, loss in curve], CURVE)}", style="cyan")
        return text

    def _proposal_slot(self) -> SlotRow:
        """The proposal that is being made: by whom, for how long, its cost, its last line."""
        from rich.text import Text

        under_way, stage = self._study.workspaces.under_way, self._stage
        if under_way is None:
            busy = stage is not None and stage.verb == "propose"
            text = f"{stage.note} works" if stage is not None and busy else "nothing under way"
            return SlotRow("propose", Text(text, style="" if busy else "dim"), Text(""))
        most, at = max_seconds(under_way.proposer), under_way.progress
        text = f"{under_way.proposer.name}: {clock(under_way.began)} of at most {duration(most)}"
        if at is None:
            return SlotRow("propose", Text(text), Text(""))
        cost = f"${at.usd:.2f}" if at.usd else ""
        cost += f"{', ' if cost else ''}{at.tokens:,} tokens" if at.tokens else ""
        doing = Text(f"{text}, {f'{cost} so far' if cost else 'no cost reported yet'}")
        quiet = at.quiet is not None and at.quiet > QUIET
        silence = f"no output for {duration(at.quiet or 0.0)}; last: " if quiet else ""
        detail = Text(silence, style="yellow").append(at.line or "no output yet", style="dim")
        return SlotRow("propose", doing, detail)
