"""The result of `try`: a few lines for people and agents, or one JSON object."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

from autoresearch.cli.live import JsonView, View, make_view
from autoresearch.cli.words import trial_line
from autoresearch.digits import Digits
from autoresearch.store.ledger import Status, Trial
from autoresearch.store.results import jsonl
from autoresearch.strategies.summary import notation
from autoresearch.study.loop import StopLimits
from autoresearch.study.study import Study
from autoresearch.text import clean_line

WIDTH = 160  # characters of a line
_REASONS = {
    "": "it does not look better than what it started from",
    "adds_code": "the gain is too small for the code that it adds",
    "unconfirmed": "on fresh seeds the gain could not be confirmed",
}


class QuietView(JsonView):
    """Prints no trial: the caller reads only the result."""

    def trial(self, trial: Trial) -> None:
        """Nothing: the result has the trial."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one `try`, and the trials that had to be run before and after it."""

    trial: Trial
    start: Trial | None  # what the edit started from
    best: Trial
    steps: int  # on the best, not confirmed yet
    confirmation: Trial | None = None
    others: tuple[Trial, ...] = ()  # a baseline, or the trial of an earlier process
    restored: tuple[str, ...] = ()  # files that were put back
    replaced: str = ""  # folder of the edits that were made during the run

    @property
    def delta(self) -> float | None:
        """Against what it started from, in the metric's unit."""
        if self.trial.value is None or self.start is None or self.start.value is None:
            return None
        return self.trial.value - self.start.value

    @property
    def why(self) -> str:
        """The reason in words, with the last line of a failed run; empty for a keep or a step."""
        trial = self.trial
        if trial.status in (Status.KEEP, Status.TENTATIVE):
            return ""
        reason = _reason(trial)
        failed = trial.status is Status.CRASH and trial.detail
        return clean_line(f"{reason}: {trial.detail}" if failed else reason, 2 * WIDTH)


def try_view(study: Study, *, as_json: bool) -> View:
    """A panel on a terminal; elsewhere nothing is shown."""
    if as_json or not sys.stdout.isatty():
        return QuietView(study)
    return make_view(study, StopLimits(trials=1), as_json=False, by_hand=True)


def as_text(outcome: Outcome, study: Study) -> str:
    """At most a dozen lines, the last of which says what to do next."""
    trial, name = outcome.trial, study.task.metric.name
    digits = notation(study.ledger, trial, outcome.start)
    lines = [trial_line(other, study.ledger)[: 2 * WIDTH] for other in outcome.others]
    lines += [
        f"trial:  #{trial.number} {clean_line(trial.note, WIDTH)}",
        f"status: {trial.word}",
        f"{name + ':':<7} {digits.value(trial.value)}{_against(outcome, digits)}",
    ]
    if outcome.why:
        lines.append(f"why:    {outcome.why}")
    if outcome.confirmation is not None:
        lines.append(f"check:  {_confirmation(outcome.confirmation, name, digits)}")
    lines.append(f"next:   {next_step(outcome, study)}")
    return "\n".join(lines)


def as_json(outcome: Outcome, study: Study) -> str:
    """The trial as `export` prints it, with the further facts of `as_text`."""
    record: dict[str, Any] = json.loads(jsonl([outcome.trial]))
    confirmation, digits = outcome.confirmation, notation(study.ledger, outcome.trial)
    record |= {
        "word": outcome.trial.word,
        "delta": outcome.delta,
        "why": outcome.why,
        "best": outcome.best.value,
        "best_trial": outcome.best.number,
        "steps": outcome.steps,
        "confirmation": confirmation
        and _confirmation(confirmation, study.task.metric.name, digits),
        "next": next_step(outcome, study),
    }
    return json.dumps(record)


def next_step(outcome: Outcome, study: Study) -> str:
    """The best so far, and what to do now."""
    value = notation(study.ledger).value(outcome.best.value)
    best = f"#{outcome.best.number} ({study.task.metric.name} {value})"
    names = ", ".join(study.task.editable)
    if outcome.trial.is_baseline:
        return f"This is the number to beat: {best}. Edit {names}, then try."
    if outcome.confirmation is not None and outcome.confirmation.status is Status.KEEP:
        return f"Kept: the steps up to here are confirmed, the new best is {best}. Go on from here."
    if outcome.trial.status is Status.KEEP:
        return f"Kept: this is the new best, {best}. Go on from here."
    if outcome.restored:
        return _put_back(outcome, best)
    if outcome.trial.status is Status.TENTATIVE:
        return (
            f"A step: it looks better, and is confirmed later. Go on from here. The best is {best}."
        )
    return f"{names}: no change. The best is {best}. Try something else."


def _put_back(outcome: Outcome, best: str) -> str:
    """The files that were put back, and their content now."""
    steps = f"the {_steps(outcome.steps)} since the best, {best}, not confirmed yet"
    state = steps if outcome.steps else f"the best, {best}"
    aside = f" Your edits during the run are in {outcome.replaced}." if outcome.replaced else ""
    return f"Put back {', '.join(outcome.restored)} to {state}. Try something else.{aside}"


def _steps(count: int) -> str:
    return "step" if count == 1 else f"{count} steps"


def _against(outcome: Outcome, digits: Digits) -> str:
    if outcome.delta is None or outcome.start is None:
        return ""
    return f" ({digits.difference(outcome.delta)} to #{outcome.start.number}, its start)"


def _reason(trial: Trial) -> str:
    return trial.because if trial.explanation else _REASONS.get(trial.reason, trial.reason)


def _confirmation(trial: Trial, name: str, digits: Digits) -> str:
    """The outcome of the confirmation of the steps."""
    why = "" if trial.status is Status.KEEP else f" ({_reason(trial)})"
    return clean_line(
        f"#{trial.number} {trial.word} {name} {digits.value(trial.value)}{why}", WIDTH
    )
