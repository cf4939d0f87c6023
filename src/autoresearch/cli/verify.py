"""verify, ablate, replay: is it real, what does each change bring, does it happen again."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from autoresearch.cli.common import lab_option, number, tag_option
from autoresearch.errors import LedgerError
from autoresearch.lab.task import Task
from autoresearch.store.extra_runs import Gain
from autoresearch.store.heartbeat import Stage
from autoresearch.store.paths import current_tag
from autoresearch.strategies.registry import make_strategy
from autoresearch.study.collaborators import CallbackListener
from autoresearch.study.opening import begun_with, open_study
from autoresearch.study.study import Study
from autoresearch.study.verify import Ablated, Replayed, Verified
from autoresearch.study.verify import ablate as ablated
from autoresearch.study.verify import replay as replayed
from autoresearch.study.verify import verify as verified

_seeds = click.IntRange(1, 1000)


@click.command()
@click.option("--seeds", type=_seeds, default=3, show_default=True, help="Fresh ones, for each.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for machines.")
@tag_option
@lab_option
def verify(seeds: int, as_json: bool, tag: str | None, lab: Path) -> None:
    """Baseline and best once more, on fresh seeds: how much of the gain is real.

    They take turns, on seeds that no trial has used; where the lab has a judge also on its sealed
    holdout text. Runs are kept: asking again, or for more seeds, makes only what is missing.

    \b
    autoresearch verify
    autoresearch verify --seeds 10 --json
    """
    with _opened(lab, tag, quiet=as_json) as study:
        found = verified(study, seeds)
    click.echo(
        json.dumps(asdict(found) | {"survived": found.survived}) if as_json else _told(found)
    )


@click.command()
@click.option("--seeds", type=_seeds, default=2, show_default=True, help="Fresh ones, for each.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a change, for machines.")
@tag_option
@lab_option
def ablate(seeds: int, as_json: bool, tag: str | None, lab: Path) -> None:
    """Take each kept change out of the best: what does it still bring?

    \b
    autoresearch ablate
    autoresearch ablate --seeds 5
    """
    with _opened(lab, tag, quiet=as_json) as study:
        for found in ablated(study, seeds):
            click.echo(json.dumps(asdict(found)) if as_json else _taken_out(found))


@click.command()
@click.argument("trial", type=int)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for machines.")
@tag_option
@lab_option
def replay(trial: int, as_json: bool, tag: str | None, lab: Path) -> None:
    """Run a trial again from its commit, on its seed, and compare.

    Exit code 1 when the two lie further apart than the noise of the task explains.

    \b
    autoresearch replay 7
    """
    with _opened(lab, tag, quiet=as_json) as study:
        found = replayed(study, trial)
    click.echo(json.dumps(asdict(found) | {"agrees": found.agrees}) if as_json else _again(found))
    if not found.agrees:
        raise click.exceptions.Exit(1)


@contextlib.contextmanager
def _opened(lab: Path, tag: str | None, *, quiet: bool) -> Iterator[Study]:
    """A study that exists, held while it is measured."""
    task, name = Task.load(lab), tag or current_tag(lab)
    rule = begun_with(task, name) if name else None
    if name is None or rule is None:
        raise LedgerError(f"No study {name or ''} here yet. Start one: autoresearch run")
    with open_study(task, name, make_strategy(rule, task.keep)) as study:
        if not quiet:
            study.collaborators.attach(listener=CallbackListener(on_stage=_say))
        yield study


def _say(stage: Stage) -> None:
    click.echo(f"runs: {stage.note}", err=True)


def _told(found: Verified) -> str:
    seeds = f"{found.seeds} fresh seed{'s' if found.seeds > 1 else ''}, taking turns"
    lines = [f"{found.metric}, baseline and best (#{found.best}) on {seeds}", ""]
    lines.append(f"{'':<12}{'baseline':>12}{'best':>12}{'gain':>12}   95 % interval")
    for one in found.compared:
        values = f"{number(one.old):>12}{number(one.new):>12}{one.gain.mean:>+12.6f}"
        lines.append(f"{one.name:<12}{values}   {_interval(one.gain)}")
    survived = "" if found.survived is None else f", {found.survived:.0%} of it found again"
    lines += ["", f"claimed     {found.claimed:+.6f}{survived}"]
    if found.noise is not None:
        lines.append(f"noise       {found.noise.sd:.6f} (sd of one run)")
    return "\n".join(lines)


def _interval(gain: Gain) -> str:
    if gain.low is None or gain.high is None:
        return "- (a single pair tells none)"
    return f"{gain.low:+.6f} to {gain.high:+.6f}"


def _taken_out(found: Ablated) -> str:
    if found.gain is None:
        return f"#{found.trial:<4}{'-':>10}  {found.note} ({found.why_not})"
    interval = "" if found.gain.low is None else f" ({_interval(found.gain)})"
    return f"#{found.trial:<4}{found.gain.mean:>+10.6f}  {found.note}{interval}"


def _again(found: Replayed) -> str:
    said = f"#{found.trial} on seed {found.seed}: recorded {number(found.recorded)}"
    because = f" ({found.reason})" if found.reason else ""
    verdict = "agrees" if found.agrees else "does not agree"
    sd = "" if found.noise is None else f" (runs of one commit: sd {number(found.noise.sd)})"
    return f"{said}, now {number(found.replayed)}{because}: {verdict}{sd}."
