"""The verdict of a study in one plain sentence, and what a reader must be warned of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from autoresearch.report.failures import ALARM, Failures, failures
from autoresearch.report.story import Story
from autoresearch.store.rows import plain


@dataclass(frozen=True)
class Verdict:
    """A sentence with one value in it that stands out."""

    before: str
    value: str = ""
    after: str = ""

    @property
    def text(self) -> str:
        """The whole sentence."""
        return f"{self.before} {self.value}{self.after}" if self.value else self.before


def verdict(story: Story) -> Verdict:
    """What happened: best against baseline, that nothing better is kept, or that all failed."""
    summary, name = story.summary, plain(story.metric.name)
    failed = _all_alike(story)
    if summary.best is None or summary.baseline is None:
        return Verdict(f"{failed}." if failed else f"No trial has a usable {name} yet.")
    best = summary.digits.value(summary.best.value)
    if summary.change is None:
        if failed:
            return Verdict(f"{failed}; nothing is kept beside the baseline, {name}", best, ".")
        return Verdict(f"Nothing better than the baseline is kept yet: {name} stands at", best, ".")
    first = summary.digits.value(summary.baseline.value)
    of = f"trial #{summary.best.trial}"
    percent = f" ({summary.percent})" if summary.percent else ""
    if story.metric.better(summary.best.value, summary.baseline.value):
        return Verdict(f"{name} went from {first} to", best, f"{percent} in {of}; {_sure(story)}.")
    after = f" in {of}, the last keep, which is not better than the baseline's {first} as measured"
    return Verdict(f"{name} is", best, f"{after}{percent}; {_sure(story)}.")


def alarms(story: Story) -> tuple[str, ...]:
    """What may make the numbers worthless, in sentences."""
    return tuple(_alarms(story))


def _alarms(story: Story) -> Iterator[str]:
    ran = sum(not row.skipped for row in story.rows)
    for group in () if _all_alike(story) else failures(story.rows):
        if len(group.trials) >= ALARM:
            yield f"{len(group.trials)} of {ran} trials that ran crashed alike: {group.words}"
    gain = story.summary.gain
    if gain is not None and gain.low <= 0 and gain.low < gain.high:
        digits = story.summary.digits
        span = f"{digits.difference(gain.low)} to {digits.difference(gain.high)}"
        yield (
            f"The interval of the gain, {span}, includes no gain: "
            "autoresearch verify measures it on fresh seeds"
        )
    yield from story.alarms
    for one in story.proposers:
        if one.proposer == "noop" and one.kept:
            times = "once" if one.kept == 1 else f"{one.kept} times"
            yield f"The control noop, which changes nothing, was kept {times}: some keeps are luck"


def _all_alike(story: Story) -> str:
    """`12 of 12 crashed alike: ...`, where all that ran failed in one way; or empty."""
    groups = failures(story.rows)
    ran = [row for row in story.rows if not row.skipped]
    first = story.summary.baseline
    tried = [row for row in ran if first is None or row.number != first.trial]
    if len(groups) != 1 or set(groups[0].trials) != {row.number for row in tried}:
        return ""
    return _counted(groups[0], len(tried))


def _counted(group: Failures, of: int) -> str:
    if of == 1:
        return f"The only trial that ran crashed: {group.words}"
    return f"{len(group.trials)} of {of} crashed alike: {group.words}"


def _sure(story: Story) -> str:
    """How sure the gain is, in the words of the summary."""
    gain, summary = story.summary.gain, story.summary
    if gain is None:
        return "no confirmation is on record"
    if gain.low <= 0 and gain.low < gain.high:
        digits = summary.digits
        span = f"{digits.difference(gain.low)} to {digits.difference(gain.high)}"
        return f"its gain, {digits.difference(gain.estimate)}, is not sure: the interval is {span}"
    return summary.gain_text
