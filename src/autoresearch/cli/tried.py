"""What `try` says at its end: a few lines for people and agents, one JSON object for machines."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

from autoresearch.cli.common import number
from autoresearch.cli.live import JsonView, View, make_view, trial_line
from autoresearch.store.ledger import Status, Trial
from autoresearch.store.results import jsonl
from autoresearch.study.loop import StopLimits
from autoresearch.study.study import Study
from autoresearch.text import clean_line

WIDTH = 160  # characters of a line
_WHY = {
    "": "it does not look better than what it started from",
    "adds_code": "the gain is too small for the code that it adds",
    "unconfirmed": "on fresh seeds the gain could not be proven",
}


class QuietView(JsonView):
    """Says nothing until the end: who called reads that and no more."""

    def trial(self, trial: Trial) -> None:
        """It is told with the outcome."""


@dataclass(frozen=True)
class Outcome:
    """What became of one `try`, and of what had to be run beside it."""

    trial: Trial
    before: Trial | None  # the best when it was begun
    best: Trial
    steps: int  # that stand on the best, not proven yet
    proof: Trial | None = None
    others: tuple[Trial, ...] = ()  # a baseline, or what an earlier process left
    restored: tuple[str, ...] = ()  # files that were put back
    replaced: str = ""  # where an edit is that was made meanwhile

    @property
    def delta(self) -> float | None:
        """Against the best before it, in the metric's unit."""
        if self.trial.value is None or self.before is None or self.before.value is None:
            return None
        return self.trial.value - self.before.value

    @property
    def why(self) -> str:
        """The reason in words, with the last line of a failed run; empty for a keep or a step."""
        trial = self.trial
        if trial.status in (Status.KEEP, Status.TENTATIVE):
            return ""
        reason = _WHY.get(trial.reason, trial.reason)
        failed = trial.status is Status.CRASH and trial.detail
        return clean_line(f"{reason}: {trial.detail}" if failed else reason, 2 * WIDTH)


def try_view(study: Study, *, as_json: bool) -> View:
    """A panel on a terminal; elsewhere silence."""
    if as_json or not sys.stdout.isatty():
        return QuietView()
    return make_view(study, StopLimits(trials=1), as_json=False)


def as_text(outcome: Outcome, study: Study) -> str:
    """At most a dozen lines, the last of which says what to do next."""
    trial, name = outcome.trial, study.task.metric.name
    told = [trial_line(other, None, study)[: 2 * WIDTH] for other in outcome.others]
    told += [
        f"trial:  #{trial.number} {clean_line(trial.note, WIDTH)}",
        f"status: {trial.word}",
        f"{name + ':':<7} {number(trial.value)}{_against(outcome)}",
    ]
    if outcome.why:
        told.append(f"why:    {outcome.why}")
    if outcome.proof is not None:
        told.append(f"proof:  {_proof(outcome.proof, name)}")
    told.append(f"next:   {next_step(outcome, study)}")
    return "\n".join(told)


def as_json(outcome: Outcome, study: Study) -> str:
    """The trial as the export has it, and what `as_text` says beside it."""
    record: dict[str, Any] = json.loads(jsonl([outcome.trial]))
    record |= {
        "word": outcome.trial.word,
        "delta": outcome.delta,
        "why": outcome.why,
        "best": outcome.best.value,
        "best_trial": outcome.best.number,
        "steps": outcome.steps,
        "proof": _proof(outcome.proof, study.task.metric.name) if outcome.proof else None,
        "next": next_step(outcome, study),
    }
    return json.dumps(record)


def next_step(outcome: Outcome, study: Study) -> str:
    """Where the best stands, and what to do now."""
    best = f"#{outcome.best.number} ({study.task.metric.name} {number(outcome.best.value)})"
    names = ", ".join(study.task.editable)
    if outcome.trial.is_baseline:
        return f"This is the number to beat: {best}. Edit {names}, then try."
    if outcome.proof is not None and outcome.proof.status is Status.KEEP:
        return f"Kept: the steps up to here are proven, the new best is {best}. Go on from here."
    if outcome.trial.status is Status.KEEP:
        return f"Kept: this is the new best, {best}. Go on from here."
    if outcome.restored:
        return _put_back(outcome, best)
    if outcome.trial.status is Status.TENTATIVE:
        return f"A step: it looks better, and is proven later. Go on from here. The best is {best}."
    return f"{names} holds what it held before. The best is {best}. Try something else."


def _put_back(outcome: Outcome, best: str) -> str:
    """What the files hold now."""
    unproven = f"the {_steps(outcome.steps)} since the best, {best}, not proven yet"
    what = unproven if outcome.steps else f"the best, {best}"
    aside = f" What you wrote meanwhile is in {outcome.replaced}." if outcome.replaced else ""
    return f"Put back {', '.join(outcome.restored)} to {what}. Try something else.{aside}"


def _steps(count: int) -> str:
    return "step" if count == 1 else f"{count} steps"


def _against(outcome: Outcome) -> str:
    if outcome.delta is None or outcome.before is None:
        return ""
    return f" ({outcome.delta:+.6f} against #{outcome.before.number}, the best before it)"


def _proof(proof: Trial, name: str) -> str:
    """What became of the steps that were proven together."""
    why = "" if proof.status is Status.KEEP else f" ({_WHY.get(proof.reason, proof.reason)})"
    return clean_line(f"#{proof.number} {proof.word} {name} {number(proof.value)}{why}", WIDTH)
