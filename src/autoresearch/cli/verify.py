"""verify, ablate, replay: is the gain real, what is each change worth, does a trial repeat."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from autoresearch.cli.common import lab_option, tag_option
from autoresearch.digits import Digits
from autoresearch.errors import LedgerError
from autoresearch.lab.task import Task
from autoresearch.store.extra_runs import Gain
from autoresearch.store.heartbeat import Stage
from autoresearch.store.paths import current_tag
from autoresearch.strategies.registry import make_strategy
from autoresearch.strategies.summary import notation
from autoresearch.study.collaborators import CallbackListener
from autoresearch.study.opening import begun_with, open_study
from autoresearch.study.study import Study
from autoresearch.study.verify import Ablated, Replayed, Verified
from autoresearch.study.verify import ablate as ablated
from autoresearch.study.verify import replay as replayed
from autoresearch.study.verify import verify as verified

_seeds = click.IntRange(1, 1000)


@click.command()
@click.option("--seeds", type=_seeds, default=3, show_default=True, help="Fresh seeds, for each.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for machines.")
@tag_option
@lab_option
def verify(seeds: int, as_json: bool, tag: str | None, lab: Path) -> None:
    """Baseline and best once more, on fresh seeds: how much of the gain is real.

    The two take turns, on seeds that no trial has used; a lab with a judge measures its sealed
    holdout text as well. Runs are saved: a second call, or one with more seeds, makes only the
    missing ones.

    \b
    autoresearch verify
    autoresearch verify --seeds 10 --json
    """
    with _open(lab, tag, quiet=as_json) as study:
        found = verified(study, seeds)
    record = asdict(found) | {"survived": found.survived}
    click.echo(json.dumps(record) if as_json else _verify_table(found, _digits(found)))


@click.command()
@click.option("--seeds", type=_seeds, default=2, show_default=True, help="Fresh seeds, for each.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a change, for machines.")
@tag_option
@lab_option
def ablate(seeds: int, as_json: bool, tag: str | None, lab: Path) -> None:
    """Take each kept change out of the best: how much is lost?

    \b
    autoresearch ablate
    autoresearch ablate --seeds 5
    """
    with _open(lab, tag, quiet=as_json) as study:
        digits = notation(study.ledger)
        for found in ablated(study, seeds):
            click.echo(json.dumps(asdict(found)) if as_json else _ablate_line(found, digits))


@click.command()
@click.argument("trial", type=int)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for machines.")
@tag_option
@lab_option
def replay(trial: int, as_json: bool, tag: str | None, lab: Path) -> None:
    """Run a trial again from its commit, on its seed, and compare.

    Exit code 1 when the two differ by more than the noise of the task explains.

    \b
    autoresearch replay 7
    """
    with _open(lab, tag, quiet=as_json) as study:
        found, digits = replayed(study, trial), notation(study.ledger)
    record = asdict(found) | {"agrees": found.agrees}
    click.echo(json.dumps(record) if as_json else _replay_line(found, digits))
    if not found.agrees:
        raise click.exceptions.Exit(1)


@contextlib.contextmanager
def _open(lab: Path, tag: str | None, *, quiet: bool) -> Iterator[Study]:
    """Within: an existing study, locked while it is measured."""
    task, name = Task.load(lab), tag or current_tag(lab)
    rule = begun_with(task, name) if name else None
    if name is None or rule is None:
        raise LedgerError(f"No study {name or ''} here yet. Start one: autoresearch run")
    with open_study(task, name, make_strategy(rule, task.keep)) as study:
        for notice in study.notices:
            click.echo(notice, err=True)
        if not quiet:
            study.collaborators.attach(listener=CallbackListener(on_stage=_print_stage))
        yield study


def _print_stage(stage: Stage) -> None:
    click.echo(f"runs: {stage.note}", err=True)


def _digits(found: Verified) -> Digits:
    noise = found.noise.sd if found.noise is not None else 0.0
    values = [value for one in found.compared for value in (one.old, one.new)]
    return Digits.of(values, noise)


def _verify_table(found: Verified, digits: Digits) -> str:
    seeds = f"{found.seeds} fresh seed{'s' if found.seeds > 1 else ''}, taking turns"
    lines = [f"{found.metric}, baseline and best (#{found.best}) on {seeds}", ""]
    lines.append(f"{'':<12}{'baseline':>12}{'best':>12}{'gain':>12}   95 % interval")
    for one in found.compared:
        shown = (digits.value(one.old), digits.value(one.new), digits.difference(one.gain.mean))
        values = "".join(f"{text:>12}" for text in shown)
        lines.append(f"{one.name:<12}{values}   {_interval(one.gain, digits)}")
    survived = "" if found.survived is None else f", {found.survived:.0%} of it found again"
    lines += ["", f"claimed     {digits.difference(found.claimed)}{survived}"]
    if found.noise is not None:
        lines.append(f"noise       {found.noise.sd:.2g} (sd of one run)")
    return "\n".join(lines)


def _interval(gain: Gain, digits: Digits) -> str:
    if gain.low is None or gain.high is None:
        return "- (a single pair gives none)"
    return f"{digits.difference(gain.low)} to {digits.difference(gain.high)}"


def _ablate_line(found: Ablated, digits: Digits) -> str:
    if found.gain is None:
        return f"#{found.trial:<4}{'-':>10}  {found.note} ({found.why_not})"
    interval = "" if found.gain.low is None else f" ({_interval(found.gain, digits)})"
    return f"#{found.trial:<4}{digits.difference(found.gain.mean):>10}  {found.note}{interval}"


def _replay_line(found: Replayed, digits: Digits) -> str:
    recorded = f"#{found.trial} on seed {found.seed}: recorded {digits.value(found.recorded)}"
    because = f" ({found.reason})" if found.reason else ""
    verdict = "agrees" if found.agrees else "does not agree"
    sd = "" if found.noise is None else f" (runs of one commit: sd {found.noise.sd:.2g})"
    return f"{recorded}, now {digits.value(found.replayed)}{because}: {verdict}{sd}."
