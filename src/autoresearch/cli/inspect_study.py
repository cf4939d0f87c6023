"""status, log, show, diff, best: read a study, also while it runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from autoresearch.cli.common import clock_time, duration, lab_option, tag_option
from autoresearch.cli.hub_options import hub_status
from autoresearch.evaluation.parsing import tail
from autoresearch.lab.task import Task
from autoresearch.report.attribution import proposer_stats
from autoresearch.report.proposer_stats import stats_line
from autoresearch.store.artefacts import read_details
from autoresearch.store.ledger import SCREEN, Ledger, Run, Trial
from autoresearch.store.paths import StudyPaths
from autoresearch.store.pause import read_pause
from autoresearch.store.results import jsonl
from autoresearch.strategies.summary import Summary, summarize
from autoresearch.study.canary import Canary
from autoresearch.study.fixed_files import differs_now
from autoresearch.study.opening import read_study
from autoresearch.study.overview import Overview, activity_of, changes, overview
from autoresearch.study.study import restore_files
from autoresearch.text import clean_line

DETAIL = 200  # characters of one detail of a proposal
TIME = len("01 Dec 10:00")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for machines.")
@tag_option
@lab_option
def status(as_json: bool, tag: str | None, lab: Path) -> None:
    """Where the study stands.

    \b
    autoresearch status
    autoresearch status --tag wider --json
    """
    task = Task.load(lab)
    with read_study(task, tag) as (ledger, paths, _):
        seen, proposers = overview(task, ledger, paths), proposer_stats(ledger)
        facts = _status_facts(seen, ledger, paths)
    if as_json:
        more = {
            "proposers": [asdict(stats) for stats in proposers],
            "alarms": [alarm.as_dict() for alarm in seen.alarms],
        }
        click.echo(json.dumps(facts | _status_numbers(seen) | more))
        return
    for name, value in facts.items():
        click.echo(f"{name + ':':<12}{'-' if value is None else value}")
    for at, stats in enumerate(proposers):
        click.echo(f"{'' if at else 'proposers:':<12}{stats_line(stats, seen.summary.digits)}")
    for alarm in seen.alarms:
        click.echo(f"{'warning:':<12}{alarm.text}")


def _status_facts(seen: Overview, ledger: Ledger, paths: StudyPaths) -> dict[str, object]:
    summary = seen.summary
    return {
        "study": seen.study,
        "task": seen.task,
        "running": _running(paths),
        "trials": summary.counts.text,
        "result": summary.headline,
        "gain": summary.gain_text or None,
        "best": summary.best and f"#{summary.best.trial} on branch {seen.branch}",
        "steps": summary.open_text or None,
        "noise": summary.noise and summary.noise.words,
        "now": seen.now,
        "time used": duration(seen.seconds),
        **_spent(ledger),
        "differs": differs_now(ledger),
        "canary": canary.words if (canary := Canary.read(ledger.facts.get("canary"))) else None,
        **hub_status(paths),
    }


def _status_numbers(seen: Overview) -> dict[str, object]:
    """What stands in words for people, as numbers for machines."""
    summary = seen.summary
    return {
        **summary.as_dict(),
        "trials": len(summary.values),
        "baseline": summary.baseline and summary.baseline.value,
        "best": summary.best and summary.best.value,
        "best trial": summary.best and summary.best.trial,
        "best runs": summary.best and summary.best.runs,
        "verified": bool(summary.best and summary.best.verified),
        "steps": summary.counts.open_steps,
        "branch": seen.branch,
    }


def _spent(ledger: Ledger) -> dict[str, object]:
    """What the proposals cost, and their limits."""
    facts, (usd, tokens) = ledger.facts, ledger.spent()
    most_usd, most_tokens = facts.get("max_usd"), facts.get("max_tokens")
    unstated = ledger.unstated()
    not_told = f" ({unstated:.2f} not told: limits of sessions)" if unstated else ""
    return {
        "dollars": f"{usd:.2f}{f' of {float(most_usd):.2f}' if most_usd else ''}{not_told}",
        "tokens": f"{tokens}" + (f" of {most_tokens}" if most_tokens else ""),
        "target": facts.get("target") or None,
        "session": facts.get("session") or None,
    }


def _running(paths: StudyPaths) -> str:
    """The process that runs the study, what it does, and whether it is stalled."""
    held = activity_of(paths)
    if held is None:
        return f"no, and paused {pause.text}" if (pause := read_pause(paths)) else "no"
    if held.beat is None:
        return held.holder
    if held.beat.verb == "pause":
        pause = read_pause(paths)
        why = f" ({pause.reason})" if pause and pause.reason else ""
        return f"{held.holder}, paused for {duration(held.spent)}{why}: autoresearch resume"
    if held.left is not None:
        return f"{held.holder}, waiting: it tries again in {duration(held.left)}"
    doing = f"{held.holder}, {held.beat.doing} for {duration(held.spent)}"
    if held.beat.stalled:
        return f"stalled: {doing}, and its limit is {duration(held.beat.limit)}"
    return doing


@click.command()
@click.option("--kept", is_flag=True, help="Only the kept ones.")
@click.option("-n", "--last", type=click.IntRange(min=1), help="Only the last N.")
@tag_option
@lab_option
def log(kept: bool, last: int | None, tag: str | None, lab: Path) -> None:
    """All trials, a line each, oldest first; the time is when a trial was proposed.

    \b
    autoresearch log
    autoresearch log --kept -n 10
    """
    task = Task.load(lab)
    with read_study(task, tag) as (ledger, paths, _):
        trials = ledger.kept() if kept else ledger.trials()
        summary = summarize(ledger, paths.extra_runs)
    load = f"  {'load':>5}" if task.keep.noise == "timing" else ""
    name = task.metric.name
    head = f"{'trial':>5}  {'time':<{TIME}}  {'commit':<8}{name:>10}"
    click.echo(f"{head}  {'GiB':>5}{load}  {'status':<8}note")
    for trial in trials[-last:] if last else trials:
        click.echo(_log_line(trial, summary, with_load=bool(load)))


def _log_line(trial: Trial, summary: Summary, *, with_load: bool) -> str:
    status = trial.word if trial.status else trial.state.value
    loads = [run.load for run in trial.runs if run.load is not None]
    load = f"  {max(loads):>5.1f}" if loads else f"  {'-':>5}"
    value, when = summary.digits.value(summary.value_of(trial)), clock_time(trial.created)
    return (
        f"{trial.number:>5}  {when:<{TIME}}  {trial.commit[:7]:<8}{value:>10}  "
        f"{trial.memory_gb:>5.1f}{load if with_load else ''}  {status:<8}{trial.note}{trial.why}"
    )


@click.command()
@click.argument("trial", type=int)
@click.option("--lines", default=20, show_default=True, help="Lines of the log's end.")
@click.option("--json", "as_json", is_flag=True, help="The trial as one JSON object.")
@tag_option
@lab_option
def show(trial: int, lines: int, as_json: bool, tag: str | None, lab: Path) -> None:
    """One trial: its change, its runs, the end of its log.

    \b
    autoresearch show 7
    autoresearch show 7 --lines 200
    """
    task = Task.load(lab)
    with read_study(task, tag) as (ledger, paths, _):
        found, summary = ledger.trial(trial), summarize(ledger, paths.extra_runs)
    if as_json:
        click.echo(jsonl([found], summary.values), nl=False)
    else:
        click.echo(_describe(found, summary, task, paths, lines))


def _describe(trial: Trial, summary: Summary, task: Task, paths: StudyPaths, lines: int) -> str:
    shown = [
        f"trial:    #{trial.number} {trial.note}",
        f"status:   {trial.word if trial.status else trial.state}"
        + (f" ({trial.because})" if trial.because else ""),
        f"{task.metric.name + ':':<10}{summary.digits.value(summary.value_of(trial))}",
        f"commit:   {trial.commit or '-'} (parent {trial.parent[:12]})",
        f"proposer: {trial.proposer}, {clock_time(trial.created)}",
    ]
    details = read_details(paths.trial(trial.number))
    shown += [f"          {clean_line(f'{k}: {v}', DETAIL)}" for k, v in details.items() if v]
    for run in trial.runs:
        shown.append(
            f"run:      {run.number}: {_purpose(run)}{task.metric.name} "
            f"{summary.digits.value(run.value)}, seed {run.seed}, {duration(run.seconds)}, "
            f"{run.memory_gb:.1f} GiB, trust level {run.trust}, sandbox {run.sandbox}"
            f"{_load(run) if task.keep.noise == 'timing' else ''}"
        )
        if run.detail:
            shown.append(f"          {run.detail}")
        shown += [f"          feedback: {line}" for line in run.feedback.splitlines()]
        shown += [f"          {problem}" for problem in run.unread.values()]
    if trial.runs:
        log = paths.log(trial.number, trial.runs[-1].number)
        shown += [f"log:      {log}", "", *tail(log, lines)]
    return "\n".join(shown)


def _load(run: Run) -> str:
    """The machine's load when the run began; empty where it was not measured."""
    return "" if run.load is None else f", load {run.load:.1f}"


def _purpose(run: Run) -> str:
    """The purpose of a run, with its commit if that is another's; empty for a screening run."""
    of = f" of {run.commit[:7]}" if run.commit else ""
    return f"{run.purpose}{of}, " if of or run.purpose != SCREEN else ""


@click.command()
@click.argument("trial", type=int)
@click.argument("other", type=int, required=False)
@tag_option
@lab_option
def diff(trial: int, other: int | None, tag: str | None, lab: Path) -> None:
    """What a trial changed; with two trials, the difference from the first to the second.

    \b
    autoresearch diff 7
    autoresearch diff 0 7 | less
    """
    task = Task.load(lab)
    with read_study(task, tag) as (ledger, _, git):
        click.echo(changes(task, ledger, git, trial, other), nl=False)


@click.command()
@click.option("--restore", is_flag=True, help="Write its files into the lab.")
@click.option("--json", "as_json", is_flag=True, help="The trial as one JSON object.")
@tag_option
@lab_option
def best(restore: bool, as_json: bool, tag: str | None, lab: Path) -> None:
    """The best trial so far; --restore writes its editable files into the lab.

    \b
    autoresearch best
    autoresearch best --restore
    """
    task = Task.load(lab)
    with read_study(task, tag) as (ledger, paths, git):
        found, summary = ledger.best(), summarize(ledger, paths.extra_runs)
        if found is None:
            click.echo("Nothing is kept yet, not even the baseline.")
            return
        if as_json:
            click.echo(jsonl([found], summary.values), nl=False)
        else:
            click.echo(_describe(found, summary, task, paths, 0))
        if restore:
            replaced = paths.home / "replaced"
            changed = restore_files(git, task, found.commit, replaced)
            names = f"{', '.join(changed)}; the earlier files are in {replaced}" if changed else ""
            click.echo(f"Restored: {names or 'nothing, the files are the best'}.", err=True)
