"""Summary: the few numbers of a study that its outputs show, computed in this one place.

The terminal, the page, the chart, status, log, show, the brief, exports, the MCP server and letters
to a hub take best, baseline, change, gain, counts and rates from here, so they cannot disagree.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Literal

from autoresearch.digits import Digits
from autoresearch.lab.metric import Metric
from autoresearch.store.extra_runs import VERIFIED
from autoresearch.store.ledger import Ledger, State, Status, Trial
from autoresearch.strategies import CONFIRMER
from autoresearch.strategies.confirmation import Climb, SequentialConfirmation
from autoresearch.strategies.screening_test import Claim, stack_due_at

_CONFIRM = "autoresearch run --trials 0"  # confirms the open steps, and tries nothing new
_BREAK = 60.0  # seconds between two trials, above ten usual ones: nobody ran the study then


@dataclass(frozen=True)
class Figure:
    """The one measured value of a trial: the mean of `runs` runs, of verify's where it ran."""

    trial: int
    value: float
    runs: int
    verified: bool = False


@dataclass(frozen=True)
class NoiseEstimate:
    """How far two runs of one commit differ where the study stands: what every output shows."""

    sd: float  # of one run, in the metric's unit, at that level
    level: float  # of the tip, as the study believes it
    runs: int  # that the sd rests on
    how: Literal["none", "pooled", "recent", "relative", "log"]

    @property
    def share(self) -> float | None:
        """The sd as a share of the level, where it is proportional to it."""
        return abs(self.sd / self.level) if self.how in ("relative", "log") else None

    @property
    def words(self) -> str:
        """`sd of one run at 2.31: 0.0204, from the last 14 runs`."""
        runs = f"{self.runs} runs"
        if self.how == "none":
            return f"no noise: {runs} of one commit were equal"
        start = f"sd of one run at {self.level:.4g}: {self.sd:.3g}"
        if self.share is not None:
            return f"{start}, {100 * self.share:.2g} % of the level, from {runs}"
        return f"{start}, from {'the last ' if self.how == 'recent' else ''}{runs}"


@dataclass(frozen=True)
class OpenSteps:
    """Steps on the best that no confirmation has decided yet."""

    count: int
    value: float | None  # of the newest of them, the tip
    tip: int  # its number
    due_at: int | None  # steps at which the next confirmation begins; None under another rule


@dataclass(frozen=True)
class Counts:
    """How the finished trials ended. Baselines and confirmations are no experiments."""

    experiments: int = 0
    keeps: int = 0  # not counting the baseline
    kept_steps: int = 0  # that confirmations kept
    open_steps: int = 0
    dropped_steps: int = 0  # given up after a confirmation failed
    discarded: int = 0  # experiments that ran and did not look better
    crashed: int = 0  # experiments that ran and gave no usable number
    skipped: int = 0  # experiments that never ran: duplicates, no change
    confirmations: int = 0  # that ran, whatever came of it
    failed_baselines: int = 0

    @property
    def text(self) -> str:
        """`150 experiments, 4 confirmations: 4 keeps (19 steps), 131 discarded, 0 crashed`."""
        begun = _plural(self.experiments, "experiment")
        if self.confirmations:
            begun += f", {_plural(self.confirmations, 'confirmation')}"
        kept = _plural(self.keeps, "keep")
        if self.kept_steps:
            kept += f" ({_plural(self.kept_steps, 'step')})"
        ends = [kept]
        ends += [f"{_plural(self.open_steps, 'step')} not confirmed"] if self.open_steps else []
        ends += [f"{_plural(self.dropped_steps, 'step')} given up"] if self.dropped_steps else []
        ends += [f"{self.discarded} discarded", f"{self.crashed} crashed"]
        ends += [f"{self.skipped} skipped"] if self.skipped else []
        if self.failed_baselines:
            ends.append(f"{_plural(self.failed_baselines, 'baseline')} failed")
        return f"{begun}: {', '.join(ends)}"


@dataclass(frozen=True)
class Summary:
    """What a study has found so far. Values are in the metric's unit; a gain is positive."""

    metric: Metric
    counts: Counts = field(default_factory=Counts)
    baseline: Figure | None = None
    best: Figure | None = None  # the last keep; the baseline while nothing else is kept
    gain: Claim | None = None  # of best over baseline, with its interval; None where none is known
    open: OpenSteps | None = None
    noise: NoiseEstimate | None = None  # where the study stands; None where it is not measured
    trials_per_hour: float | None = None  # of wall clock, proposals included, breaks left out
    values: Mapping[int, float | None] = field(default_factory=dict)  # shown value, by trial
    kept: frozenset[int] = frozenset()  # numbers of the keeps, the baseline's among them
    claims: Mapping[int, Claim] = field(default_factory=dict)  # confirmed gain over the keep before

    @cached_property
    def digits(self) -> Digits:
        """The notation of all values of this study."""
        known = [one.value for one in (self.baseline, self.best, self.open) if one is not None]
        shown = [value for value in (*known, *self.values.values()) if value is not None]
        return Digits.of(shown, self.noise.sd if self.noise is not None else 0.0)

    @property
    def change(self) -> float | None:
        """Best less baseline, as the two are shown; None while there is no keep."""
        if self.baseline is None or self.best is None or self.best.trial == self.baseline.trial:
            return None
        digits = self.digits
        return digits.rounded(self.best.value) - digits.rounded(self.baseline.value)

    @property
    def percent(self) -> str:
        """The change in percent of the baseline, from the two values shown; or empty."""
        if self.change is None or self.baseline is None or self.best is None:
            return ""
        return self.digits.percent(self.best.value, self.baseline.value)

    @property
    def headline(self) -> str:
        """`val_bpb 0.997900 → 0.969686 (-2.83 %)`: two measured values, and nothing else."""
        name = self.metric.name
        if self.best is None or self.baseline is None:
            return f"no trial has a usable {name} yet"
        if self.change is None:
            return f"{name} {self.digits.value(self.best.value)}, nothing better is confirmed yet"
        shown = [self.digits.value(one.value) for one in (self.baseline, self.best)]
        return f"{name} {' → '.join(shown)}" + (f" ({self.percent})" if self.percent else "")

    @property
    def gain_text(self) -> str:
        """How much better the best is, how that was measured, and how sure it is.

        `confirmed side by side on fresh seeds: better by 0.012 (95 % interval 0.008 to 0.016)`.
        """
        if self.gain is None:
            return ""
        gain, value = self.gain, self.digits.value
        if self.best is not None and self.best.verified:
            start = "measured by verify, side by side on fresh seeds"
        elif gain.low == gain.high == 0:
            return "as good as the baseline, and simpler: runs of one commit are equal"
        elif gain.low == gain.high:
            return f"better by {value(gain.estimate)}, exactly: runs of one commit are equal"
        else:
            word = "confirmed" if gain.low > 0 else "measured"
            start = f"{word} side by side on fresh seeds"
        word = "better" if gain.estimate >= 0 else "worse"
        text = f"{start}: {word} by {value(abs(gain.estimate))}"
        if gain.low == gain.high:
            return text
        span = f"{text} (95 % interval {value(gain.low)} to {value(gain.high)})"
        return f"{span}; not sure" if gain.low <= 0 else span

    @property
    def open_text(self) -> str:
        """How many steps no confirmation has decided, where they stand, and what to do.

        `3 steps look better, the last one measured 2.305 (#7); not confirmed yet: that begins at
        5 steps, or now, with autoresearch run --trials 0`.
        """
        steps = self.open
        if steps is None:
            return ""
        value = f"{self.digits.value(steps.value)} (#{steps.tip})"
        start = f"1 step looks better, it measured {value}"
        if steps.count > 1:
            start = f"{steps.count} steps look better, the last one measured {value}"
        text = f"{start}; not confirmed yet"
        if steps.due_at is None:
            return text
        if steps.count >= steps.due_at:
            return f"{text}: that comes next, or alone with {_CONFIRM}"
        return f"{text}: that begins at {steps.due_at} steps, or now, with {_CONFIRM}"

    def value_of(self, trial: Trial) -> float | None:
        """The value of a trial that every output shows."""
        return self.values.get(trial.number, trial.value)

    def as_dict(self) -> dict[str, Any]:
        """All of it in full precision, for JSON."""
        return {
            "metric": self.metric.name,
            "direction": self.metric.direction,
            "headline": self.headline,
            **asdict(self.counts),
            "baseline": self.baseline and asdict(self.baseline),
            "best": self.best and asdict(self.best),
            "change": self.change,
            "gain": self.gain and asdict(self.gain),
            "open": self.open and asdict(self.open),
            "noise": self.noise and asdict(self.noise),
            "trials_per_hour": self.trials_per_hour,
        }


def summarize(ledger: Ledger, extra_runs: Path | None = None) -> Summary:
    """The summary of a study; `extra_runs` is the folder where verify left its result."""
    trials = [trial for trial in ledger.trials() if trial.state is State.APPLIED]
    counts, kept = count(ledger, trials), ledger.kept()
    values = {trial.number: trial.value for trial in trials}
    made = Summary(ledger.metric, counts, trials_per_hour=pace(trials), values=values)
    if not kept:
        return made
    first, best = kept[0], kept[-1]
    rule = SequentialConfirmation.of(ledger)
    at = rule.standing(ledger) if rule is not None else None
    verified = _verified(extra_runs, best) if extra_runs is not None else None
    baseline, top = _figure(first), _figure(best)
    gain = None if at is None else total_gain(at)
    if verified is not None:
        old, new, seeds, gain = verified
        baseline = Figure(first.number, old, seeds, verified=True)
        top = Figure(best.number, new, seeds, verified=True)
        values |= {first.number: old, best.number: new}
    return Summary(
        ledger.metric,
        counts,
        baseline,
        top,
        gain=None if best.is_baseline else gain,
        open=_open_steps(ledger, rule, at, best),
        noise=noise_of(ledger),
        trials_per_hour=made.trials_per_hour,
        values=values,
        kept=frozenset(trial.number for trial in kept),
        claims={} if at is None else {keep.trial: keep.claim for keep in at.confirmed},
    )


def notation(ledger: Ledger, *trials: Trial | None) -> Digits:
    """The notation of a line about these trials: cheap, however long the study."""
    noise, kept = noise_of(ledger), ledger.kept()
    values = [trial.value for trial in (*kept[:1], *kept[-2:], *trials) if trial is not None]
    return Digits.of([value for value in values if value is not None], noise.sd if noise else 0.0)


def noise_of(ledger: Ledger) -> NoiseEstimate | None:
    """The one noise of a study, where its tip stands now.

    None before the baseline, and under a rule that does not measure it.
    """
    rule = SequentialConfirmation.of(ledger)
    if rule is None or ledger.best() is None:
        return None
    at = rule.standing(ledger)
    log = ledger.metric.scale == "log"
    how = "none" if at.exact else "log" if log else at.noises.how
    level, sd = believed(at, ledger.metric)
    return NoiseEstimate(sd, level, at.noises.runs, how)


def believed(at: Climb, metric: Metric) -> tuple[float, float]:
    """The level of the tip as the rule believes it and the sd of one run, in the metric's unit."""
    level = metric.value_of(at.level.value)
    return level, at.noise.sd * (level if metric.scale == "log" else 1.0)


def claimed_gain(ledger: Ledger) -> float:
    """The gain of the best over the baseline as the study claims it; positive when better."""
    if (rule := SequentialConfirmation.of(ledger)) is not None:
        claim = total_gain(rule.standing(ledger))
        return claim.estimate if claim is not None else 0.0
    first, best = ledger.kept()[0], ledger.kept()[-1]
    assert best.value is not None and first.value is not None
    return ledger.metric.gain(best.value, first.value)


def total_gain(at: Climb) -> Claim | None:
    """The gain of the best over the baseline: the sum of what was confirmed, keep by keep.

    The claims rest on different runs, so the distances to their ends add up as squares.
    """
    claims = [keep.claim for keep in at.confirmed]
    if not claims:
        return None
    whole = math.fsum(claim.estimate for claim in claims)
    below = math.hypot(*(claim.estimate - claim.low for claim in claims))
    above = math.hypot(*(claim.high - claim.estimate for claim in claims))
    return Claim(whole, whole - below, whole + above)


def count(ledger: Ledger, trials: Sequence[Trial]) -> Counts:
    """How finished trials ended."""
    best = ledger.best()
    kept: set[int] = set()
    for old, new in pairwise(ledger.kept()):
        kept |= {step.number for step in ledger.steps_to(new.commit, old.commit)}
    tip = trials[-1] if trials else None
    standing = open_trials(ledger) if best is not None and tip is not None else ()
    still_open = {step.number for step in standing}
    experiments = [t for t in trials if not t.is_baseline and t.proposer != CONFIRMER]
    steps = [trial.number for trial in experiments if trial.status is Status.TENTATIVE]
    kept_steps, open_steps = sum(n in kept for n in steps), sum(n in still_open for n in steps)
    return Counts(
        experiments=len(experiments),
        keeps=sum(trial.status is Status.KEEP and not trial.is_baseline for trial in trials),
        kept_steps=kept_steps,
        open_steps=open_steps,
        dropped_steps=len(steps) - kept_steps - open_steps,
        discarded=sum(trial.status is Status.DISCARD for trial in experiments),
        crashed=sum(t.status is Status.CRASH and not t.is_skipped for t in experiments),
        skipped=sum(trial.is_skipped for trial in experiments),
        confirmations=sum(t.proposer == CONFIRMER and bool(t.runs) for t in trials),
        failed_baselines=sum(t.is_baseline and t.status is not Status.KEEP for t in trials),
    )


def open_trials(ledger: Ledger) -> tuple[Trial, ...]:
    """The steps on the best that are not confirmed yet, oldest first."""
    best, rule = ledger.best(), SequentialConfirmation.of(ledger)
    if best is None or rule is None:
        return ()
    return tuple(ledger.trial(number) for number in rule.standing(ledger).steps)


def pace(trials: Sequence[Trial]) -> float | None:
    """Trials an hour of wall clock: what lies between their beginnings, breaks left out."""
    moments = [_seconds(trial.created) for trial in trials]
    gaps = [
        (later - earlier, trial.seconds)
        for trial, (earlier, later) in zip(trials, pairwise(moments), strict=False)
        if earlier is not None and later is not None and later >= earlier
    ]
    if not gaps:
        return None
    usual = max(_BREAK, 10 * median(gap for gap, _ in gaps))
    spent = math.fsum(gap if gap <= usual + seconds else seconds for gap, seconds in gaps)
    return len(gaps) * 3600 / spent if spent > 0 else None


def _figure(trial: Trial) -> Figure:
    assert trial.value is not None, "a keep has a value"
    return Figure(trial.number, trial.value, len(trial.counted_values))


def _open_steps(
    ledger: Ledger, rule: SequentialConfirmation | None, at: Climb | None, best: Trial
) -> OpenSteps | None:
    if rule is None or at is None or not at.steps or at.tip == best.commit:
        return None
    tip = ledger.trial(at.steps[-1])
    due_at = stack_due_at(rule.rule, open_at=at.open_at)
    return OpenSteps(len(at.steps), tip.value, tip.number, due_at)


def _verified(folder: Path, best: Trial) -> tuple[float, float, int, Claim] | None:
    """Baseline, best, seeds and gain as verify measured them; None where it has not."""
    try:
        found = json.loads((folder / VERIFIED).read_text(encoding="utf-8"))
        one = found["compared"][0]
        gain = one["gain"]
        if found["best"] != best.number:
            return None
        mean = float(gain["mean"])
        low, high = (mean if gain[end] is None else float(gain[end]) for end in ("low", "high"))
        return float(one["old"]), float(one["new"]), int(found["seeds"]), Claim(mean, low, high)
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None


def _seconds(created: str) -> float | None:
    try:
        return datetime.fromisoformat(created).timestamp()
    except ValueError:
        return None


def _plural(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
