"""The sentences of a session: stages, finished trials, the state of a study, new alarms."""

from __future__ import annotations

import time

from autoresearch.cli.common import duration
from autoresearch.store.heartbeat import Stage
from autoresearch.store.ledger import CLAIM, NOISE, REFRESH, Ledger, Trial
from autoresearch.strategies import CONFIRMER
from autoresearch.strategies.alarms import Alarm, alarms
from autoresearch.strategies.progress import confirmation_progress
from autoresearch.strategies.summary import Summary, notation, summarize
from autoresearch.study.study import Study

_CONFIRMATION = "confirmation of "  # begins the note of a confirmation, and the words for its runs


def run_words(stage: Stage, ledger: Ledger) -> str:
    """What a run is for; empty for the first run of an edit.

    `confirmation of 5 steps: pair 2 of 3, tip, gain so far +0.02`.
    """
    if stage.number is None:
        return ""
    side = "incumbent" if stage.of_incumbent else "tip"
    at = confirmation_progress(ledger.trial(stage.number), ledger)
    if at is not None:
        steps = f"{_CONFIRMATION}{_steps(len(at.steps))}"
        if stage.purpose == CLAIM:
            return f"{steps}: one more pair, to measure the gain, {side}"
        gain = ""
        if at.gain is not None:
            gain = f", gain so far {notation(ledger).difference(at.gain)}"
        return f"{steps}: pair {at.pair} of {at.pairs}, {side}{gain}"
    if stage.purpose == NOISE:
        return f"run {stage.run + 1}, to measure the noise"
    if stage.purpose == REFRESH:
        return "the tip once more, after many trials without a step"
    return f"run {stage.run + 1}, since it looks better" if stage.run else ""


def stage_words(stage: Stage, ledger: Ledger) -> str:
    """A stage as a sentence, without the note of a run that is not the trial's first."""
    if stage.verb == "propose":
        return f"{stage.who} is proposed by {stage.note}"
    if stage.verb == "ahead":
        return f"{stage.who} is proposed by {stage.note}, while the trial before it runs"
    if stage.verb == "check":
        return f"{stage.who} is checked, since it looks better"
    if stage.verb == "wait":
        return f"{stage.who} waits: another study measures time on this machine now ({stage.note})"
    if stage.verb == "pause":
        return "Waits: the study is paused, `autoresearch resume` goes on"
    if stage.verb == "hold":
        return f"Waits {duration(stage.seconds)} before the next try"
    words = run_words(stage, ledger)
    if stage.run:
        return f"{stage.who} runs: {words}"
    if stage.note.startswith(_CONFIRMATION) and words.startswith(_CONFIRMATION):
        return f"{stage.who} runs: {words}: {stage.note.removeprefix(_CONFIRMATION)}"
    return f"{stage.who} runs: {stage.note}" + (f" ({words})" if words else "")


def note_of(trial: Trial, ledger: Ledger) -> str:
    """The note of a finished trial; of a confirmation its steps by number, not all their notes."""
    if trial.proposer != CONFIRMER:
        return trial.note
    steps = ledger.steps_to(trial.commit, trial.parent)
    numbers = ", ".join(f"#{step.number}" for step in steps)
    return f"confirmation of {_steps(len(steps))} ({numbers})" if steps else trial.note


def trial_line(trial: Trial, ledger: Ledger) -> str:
    """One finished trial: number, status, value, difference from what it started from, note."""
    start = None if trial.is_baseline else ledger.made(trial.parent)
    digits = notation(ledger, trial, start)
    delta = ""
    if trial.value is not None and start is not None and start.value is not None:
        delta = digits.difference(trial.value - start.value)
    score = f"{ledger.metric.name} {digits.value(trial.value):>9} {delta:>10}"
    return f"#{trial.number:<4}{trial.word:<8}{score}  {note_of(trial, ledger)}{trial.why}"


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


def end_text(study: Study, why: str) -> str:
    """Why a session ended, the alarms that stand, and the state of the study."""
    warnings = [warning(alarm) for alarm in alarms(study.ledger, study.task)]
    return "\n".join([f"Ended: {why}.", *warnings, summary_text(study)])


def warning(alarm: Alarm) -> str:
    """An alarm as a line."""
    return f"Warning: {alarm.text}."


class AlarmWatch:
    """Finds alarms that a session has not shown yet."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._shown: set[tuple[str, str]] = set()

    def new(self) -> list[Alarm]:
        """The alarms that stand now and were not among those of an earlier call."""
        standing = alarms(self._study.ledger, self._study.task, time.time())
        new = [alarm for alarm in standing if (alarm.kind, alarm.about) not in self._shown]
        self._shown |= {(alarm.kind, alarm.about) for alarm in new}
        return new


def _steps(count: int) -> str:
    return f"{count} step{'' if count == 1 else 's'}"
