"""report and export: a page and pictures for people, files for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from autoresearch.cli.common import lab_option, tag_option
from autoresearch.errors import ReportError
from autoresearch.files import write_whole
from autoresearch.lab.metric import Direction, Metric
from autoresearch.lab.task import Task
from autoresearch.report import Story, write_report
from autoresearch.report.attribution import proposer_stats
from autoresearch.report.curves import read_curve
from autoresearch.report.findings import findings
from autoresearch.report.net_diff import NetDiff, net_diffs
from autoresearch.report.proposer_stats import stats_lines
from autoresearch.report.stacks import stacks_of
from autoresearch.report.table import staircase
from autoresearch.report.write import NAMES
from autoresearch.store.git import Git, is_tracked
from autoresearch.store.ledger import Ledger, State, Status, Trial
from autoresearch.store.paths import StudyPaths
from autoresearch.store.results import jsonl, results_tsv
from autoresearch.store.rows import Curve, from_trials, read_tsv
from autoresearch.strategies.alarms import alarms
from autoresearch.strategies.summary import summarize
from autoresearch.study.opening import read_study

_OVER = ", over a file that git tracks: `git diff` shows the change"


@click.command()
@click.option(
    "--results",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A results.tsv with five columns, instead of a study.",
)
@click.option(
    "--direction",
    type=click.Choice(get_args(Direction)),
    default="minimize",
    show_default=True,
    help="Which way is better, for --results.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder; default: .autoresearch/TAG/report, or that of --results.",
)
@click.option(
    "--interactive",
    is_flag=True,
    help="Draw the page's chart with Vega: 0.9 MB more, and scripts must run.",
)
@tag_option
@lab_option
def report(
    results: Path | None,
    direction: Direction,
    out: Path | None,
    interactive: bool,
    tag: str | None,
    lab: Path,
) -> None:
    """A page and pictures of the study, or of any results.tsv.

    Writes report.html (one file, works offline and without scripts), progress.svg and progress.png.
    A file that git tracks is written over only in a folder that --out names.

    \b
    autoresearch report
    autoresearch report --out .
    autoresearch report --results run7/results.tsv -o run7
    """
    if results is not None:
        name, rows = read_tsv(results)
        story = Story.of_rows(results.parent.resolve().name, Metric(name, direction), rows)
        folder = out or results.parent
    else:
        task = Task.load(lab)
        story = study_story(task, tag)
        with read_study(task, tag) as (_, paths, _):
            folder = out or paths.report
    tracked = [folder / name for name in NAMES if is_tracked(folder / name)]
    if tracked and out is None:
        raise ReportError(
            f"{', '.join(map(str, tracked))}: git tracks that. Name a folder for the report: "
            f"--out DIR; --out {folder} writes over it all the same."
        )
    summary = story.summary
    click.echo(staircase(story))
    for line in filter(None, (summary.counts.text, summary.gain_text, summary.open_text)):
        click.echo(f"  {line}")
    for one in story.findings:
        click.echo(f"  {one.about}: {one.figure}" + (f" ({one.remark})" if one.remark else ""))
    for line in stats_lines(story.proposers, summary.digits):
        click.echo(f"  {line}")
    written = write_report(story, folder, interactive=interactive)
    for path in written:
        click.echo(f"Wrote {path}{_OVER if path in tracked else ''}")
    if not any(path.suffix == ".png" for path in written):
        click.echo(
            "progress.png was not written: it needs vl-convert-python. "
            "Run: pip install 'autoresearch[report]'"
        )


def study_story(task: Task, tag: str | None) -> Story:
    """A study as its report shows it."""
    with read_study(task, tag) as (ledger, paths, git):
        trials = [trial for trial in ledger.trials() if trial.state is State.APPLIED]
        names = [git.prefix + name for name in task.editable]
        diffs = {
            t.number: git.diff(t.parent, t.commit, names)
            for t in trials
            if t.status is Status.KEEP and not t.is_baseline
        }
        summary = summarize(ledger, paths.extra_runs)
        rows = from_trials(trials, _curves(trials, paths), diffs, summary.values)
        found = findings(ledger, paths.extra_runs, summary)
        title = f"{task.name} · {paths.tag}"
        return Story(
            title,
            rows,
            summary,
            _facts(ledger),
            found,
            proposer_stats(ledger),
            stacks_of(ledger, paths.extra_runs, summary.digits),
            _net(ledger, git, names),
            alarms=[one.text for one in alarms(ledger, task) if one.kind != "crashes"],
        )


def _net(ledger: Ledger, git: Git, names: list[str]) -> tuple[NetDiff, ...]:
    """What the edits from the baseline to the best changed in all."""
    best = ledger.best()
    if best is None or best.is_baseline:
        return ()

    def read(commit: str, path: str) -> bytes | None:
        return git.read(commit, path) if git.listed(commit, [path]) else None

    return net_diffs(
        ledger.facts["base"], ledger.steps_to(best.commit, ledger.facts["base"]), names, read
    )


def _curves(trials: list[Trial], paths: StudyPaths) -> dict[int, Curve]:
    logs = {t.number: paths.log(t.number, t.runs[-1].number) for t in trials if t.runs}
    return {number: read_curve(log) for number, log in logs.items()}


def _facts(ledger: Ledger) -> dict[str, str]:
    """The page's facts: task, command, machine, budget, seeds."""
    facts = ledger.facts
    seeds = sorted({run.seed for trial in ledger.trials() for run in trial.runs})
    spread = f"{seeds[0]} to {seeds[-1]}, one a run" if seeds else "none"
    shown = {name: facts[name] for name in ("task", "command", "machine", "python", "strategy")}
    budget = f"{facts['budget'] or '-'} s of training, {facts['timeout']} s in all"
    return {**shown, "budget": budget, "seeds": spread, "base commit": facts["base"][:12]}


@click.command()
@click.option("--format", "form", type=click.Choice(["tsv", "jsonl"]), default="jsonl")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="A file; default: stdout."
)
@tag_option
@lab_option
def export(form: str, out: Path | None, tag: str | None, lab: Path) -> None:
    """All trials as results.tsv or JSON lines, to stdout or a file.

    \b
    autoresearch export > trials.jsonl
    autoresearch export --format tsv -o results.tsv
    """
    task = Task.load(lab)
    with read_study(task, tag) as (ledger, paths, _):
        trials = [trial for trial in ledger.trials() if trial.state is State.APPLIED]
        values = summarize(ledger, paths.extra_runs).values
    if form == "jsonl":
        text = jsonl(trials, values)
    else:
        text = results_tsv(from_trials(trials, values=values), task.metric)
    if out is None:
        click.echo(text, nl=False)
    else:
        over = _OVER if is_tracked(out) else ""
        write_whole(out, text)
        click.echo(f"Wrote {len(trials)} trials to {out}{over}", err=True)
