"""Alarms: what a person should look at now, computed from the ledger and the task's settings.

`status`, the live view, plain lines, the end of a session and the page all take them from here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from statistics import stdev
from typing import Any, Literal

from autoresearch.lab.task import Alarms, Task
from autoresearch.store.ledger import CONFIRM, NOISE, Ledger, State, Status, Trial
from autoresearch.strategies import CONFIRMER
from autoresearch.strategies.summary import open_trials
from autoresearch.text import clean_line

ALIKE = 3  # crashes alike in a row that raise an alarm
SHARE = 0.8  # of a budget, at which its alarm is raised
LEAST_RISE = 3.0  # factor by which the sd must rise, besides being unlikely by chance
RISE, FALL = 0.005, 0.001  # chances of such a rise or fall of the sd under steady noise
PAIRS = 3  # of one confirmation that the noise is read from
_MESSAGE = 160  # characters of a crash's message

Kind = Literal["crashes", "budget", "noise", "no_keep", "sandbox"]


@dataclass(frozen=True)
class Alarm:
    """One thing that a person should look at. Equal kind and about: the same thing again."""

    kind: Kind
    about: str
    text: str
    trials: tuple[int, ...] = ()  # numbers of the trials that show it

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "kind": self.kind,
            "about": self.about,
            "text": self.text,
            "trials": [*self.trials],
        }


@dataclass(frozen=True)
class CrashGroup:
    """Experiments that crashed alike: the same reason and, but for numbers and paths, message."""

    message: str  # of the newest of them: its final error line
    reason: str  # as the ledger has it: failed, timeout, no_metric, ...
    trials: tuple[int, ...]  # their numbers, oldest first
    of: int  # experiments that ran, whatever came of them

    @property
    def text(self) -> str:
        """`12 of 12 crashed alike: ZeroDivisionError: division by zero`."""
        return f"{len(self.trials)} of {self.of} crashed alike: {self.message}"


def alarms(ledger: Ledger, task: Task, now: float | None = None) -> tuple[Alarm, ...]:
    """All alarms that stand, the most urgent first.

    `now` (seconds since the epoch) is given while a session runs: its time is a budget, too.
    """
    trials = _finished(ledger)
    found = [
        _crashes(trials),
        *_budgets(ledger, now),
        _noise(trials),
        _no_keep(ledger, trials, task.alarms),
        _sandbox(trials, task),
    ]
    return tuple(alarm for alarm in found if alarm is not None)


def crash_groups(trials: Iterable[Trial]) -> tuple[CrashGroup, ...]:
    """The crashed experiments among finished trials, grouped; the largest group first."""
    experiments = _experiments(trials)
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in experiments:
        if trial.status is Status.CRASH:
            groups.setdefault(_likeness(trial), []).append(trial)
    made = [
        CrashGroup(
            crash_message(alike[-1]), reason, tuple(t.number for t in alike), len(experiments)
        )
        for (reason, _), alike in groups.items()
    ]
    return tuple(sorted(made, key=lambda group: (-len(group.trials), -group.trials[-1])))


def crash_message(trial: Trial) -> str:
    """The final error line of a crash, as its log has it; else its reason in words."""
    failed = next((run for run in reversed(trial.own) if run.value is None), None)
    detail = re.sub(r"\s*\(exit code \d+\)$", "", failed.detail) if failed else ""
    return clean_line(detail or trial.reason.replace("_", " ") or "no reason is known", _MESSAGE)


def pause_due(ledger: Ledger, settings: Alarms) -> str:
    """Why the study should pause after its newest trial; empty when it should go on.

    Each further `same_crashes` crashes alike in a row pause it again.
    """
    trials = _finished(ledger)
    row = _crash_row(trials)
    if not settings.same_crashes or not row or len(row) % settings.same_crashes:
        return ""
    if row[-1] is not trials[-1]:  # a skip or a confirmation came after it
        return ""
    return f"the last {len(row)} experiments crashed alike: {crash_message(row[-1])}"


# ---- one alarm each ------------------------------------------------------------------------------


def _crashes(trials: Sequence[Trial]) -> Alarm | None:
    """The newest crashes are alike, or half of all experiments crashed alike."""
    groups, row = crash_groups(trials), _crash_row(trials)
    if not groups:
        return None
    if len(row) >= ALIKE:
        group = next(group for group in groups if row[-1].number in group.trials)
    elif len(groups[0].trials) >= max(ALIKE, groups[0].of / 2):
        group = groups[0]
    else:
        return None
    text = group.text
    if ALIKE <= len(row) < len(group.trials):
        text = f"{text} (the last {len(row)} in a row)"
    elif len(row) == len(group.trials) < group.of:
        text = f"the last {len(row)} in a row crashed alike: {group.message}"
    return Alarm("crashes", f"{group.reason}: {_pattern(group.message)}", text, group.trials)


def _budgets(ledger: Ledger, now: float | None) -> Iterator[Alarm]:
    """Dollars, tokens and time of which most is used."""
    facts, (usd, tokens) = ledger.facts, ledger.spent()
    if (most := _number(facts.get("max_usd"))) is not None and usd >= SHARE * most:
        yield Alarm("budget", "usd", f"${usd:.2f} of ${most:.2f} are spent{_percent(usd, most)}")
    if (most := _number(facts.get("max_tokens"))) is not None and tokens >= SHARE * most:
        text = f"{tokens:,} of {most:,.0f} tokens are spent{_percent(tokens, most)}"
        yield Alarm("budget", "tokens", text)
    began, until = (_moment(facts.get(f"session_{end}")) for end in ("began", "until"))
    if now is None or began is None or until is None or not began < until:
        return
    if began + SHARE * (until - began) <= now < until:
        end = f"it ends at {datetime.fromtimestamp(until):%H:%M}"
        share = _percent(now - began, until - began).strip(" ()")
        yield Alarm("budget", "time", f"{share} of the session's time is over: {end}")


def _noise(trials: Sequence[Trial]) -> Alarm | None:
    """Runs of one commit lie much farther apart than before, or much closer together."""
    groups = [(t.number, group) for t in trials if len(group := _same_commit(t)) > 1]
    if len(groups) < 2:
        return None
    squares = math.fsum(stdev(group) ** 2 * (len(group) - 1) for _, group in groups[:-1])
    df = sum(len(group) - 1 for _, group in groups[:-1])
    before, (number, newest) = math.sqrt(squares / df), groups[-1]
    sd = stdev(newest)
    if not _changed(before, df, sd, len(newest) - 1):
        return None
    which, advice = "higher", "look whether the machine is busy, or the change adds randomness"
    if sd < before:
        which, advice = "lower", "look whether the code still uses the seed"
    text = f"the noise is {which} since #{number}: sd of one run {sd:.2g}, before it {before:.2g}"
    text = f"{text}; {advice}"
    return Alarm("noise", f"#{number}", text, (number,))


def _no_keep(ledger: Ledger, trials: Sequence[Trial], settings: Alarms) -> Alarm | None:
    """Nothing was kept for a long time."""
    best = ledger.best()
    if best is None or not settings.no_keep:
        return None
    since = [t for t in trials if t.number > best.number]
    tried = sum(t.proposer != CONFIRMER and not t.is_baseline for t in since)
    if tried < settings.no_keep:
        return None
    last = "the baseline" if best.is_baseline else "the last keep"
    steps = len(open_trials(ledger))
    wait = f"; {steps} step{'s' * (steps != 1)} not confirmed" if steps else ""
    text = f"no keep in {tried} experiments since {last}, #{best.number}{wait}"
    return Alarm("no_keep", f"#{best.number}", text)


def _sandbox(trials: Sequence[Trial], task: Task) -> Alarm | None:
    """The newest run had no sandbox, although task.toml does not switch it off."""
    runs = next((trial.runs for trial in reversed(trials) if trial.runs), ())
    if task.sandbox == "off" or not runs or runs[-1].sandbox != "none":
        return None
    text = "runs have no sandbox here: they can read and write what you can (autoresearch doctor)"
    return Alarm("sandbox", "none", text)


# ---- parts of them -------------------------------------------------------------------------------


def _finished(ledger: Ledger) -> list[Trial]:
    return [trial for trial in ledger.trials() if trial.state is State.APPLIED]


def _experiments(trials: Iterable[Trial]) -> list[Trial]:
    """The experiments that ran: neither baselines nor confirmations nor skips."""
    return [t for t in trials if t.runs and not t.is_baseline and t.proposer != CONFIRMER]


def _crash_row(trials: Sequence[Trial]) -> list[Trial]:
    """The newest experiments, as far back as they all crashed alike; oldest first."""
    row: list[Trial] = []
    for trial in reversed(_experiments(trials)):
        crashed = trial.status is Status.CRASH
        if not crashed or (row and _likeness(trial) != _likeness(row[-1])):
            break
        row.append(trial)
    return row[::-1]


def _likeness(trial: Trial) -> tuple[str, str]:
    """Equal for crashes that are alike: the reason, and the message without what varies."""
    return trial.reason, _pattern(crash_message(trial))


@lru_cache(maxsize=4096)
def _pattern(message: str) -> str:
    """A message without what varies from crash to crash: paths, addresses, numbers."""
    for varies, sign in (
        (r"\b0x[0-9a-fA-F]+", "N"),
        (r"(?:\b[A-Za-z]:)?(?:~|\.{1,2}|[\w.@+-]+)?(?:[/\\][\w.@+-]+)+[/\\]?", "PATH"),
        (r"\b(?=[a-f]*\d)[0-9a-f]{7,}\b", "N"),
        (r"(?<![\w.])[-+]?\d[\d.,_]*(?:[eE][-+]?\d+)?|\d+", "N"),
    ):
        message = re.sub(varies, sign, message)
    return " ".join(message.split())


def _same_commit(trial: Trial) -> list[float]:
    """Values as far apart as runs of one commit: repeated runs, or differences of pairs."""
    if trial.proposer == CONFIRMER:
        runs = [run for run in trial.runs if run.purpose == CONFIRM]
        pairs = zip(runs[::2], runs[1::2], strict=False)
        return [
            (a.value - b.value) * (-1 if a.commit else 1) / math.sqrt(2)
            for a, b in pairs
            if a.value is not None and b.value is not None
        ][:PAIRS]
    if not any(run.purpose == NOISE for run in trial.runs):
        return []
    return [run.value for run in trial.own if run.value is not None]


def _changed(before: float, df: int, sd: float, more: int) -> bool:
    """Whether an sd of `more` degrees of freedom is no chance where it was `before`."""
    if not before or not sd:
        return sd != before
    ratio = (sd / before) ** 2
    if more == 1:
        return False  # two values say too little
    # Snedecor's F with 2 and df degrees of freedom; with more than 2 this is on the safe side.
    above = (1 + 2 * ratio / df) ** (-df / 2)
    return (above < RISE and sd >= LEAST_RISE * before) or 1 - above < FALL


def _percent(part: float, whole: float) -> str:
    return f" ({100 * part / whole:.0f} %)" if whole > 0 else ""


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _moment(text: str | None) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None
