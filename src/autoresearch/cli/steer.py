"""What a person says while a study runs: brief and steer, pause and resume."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from autoresearch.cli.common import lab_option, tag_option
from autoresearch.files import write_whole
from autoresearch.lab.task import Task
from autoresearch.study.opening import read_study, running
from autoresearch.study.overview import next_brief
from autoresearch.study.proposing import read_steering


@click.command()
@tag_option
@lab_option
def brief(tag: str | None, lab: Path) -> None:
    """What the next proposer would be told.

    \b
    autoresearch brief
    autoresearch brief | wc -c
    """
    task = Task.load(lab)
    with read_study(task, tag) as (ledger, paths, git):
        click.echo(next_brief(task, ledger, paths, git), nl=False)


@click.command()
@click.argument("words", nargs=-1)
@click.option("--clear", is_flag=True, help="Take back all that was added.")
@tag_option
@lab_option
def steer(words: tuple[str, ...], clear: bool, tag: str | None, lab: Path) -> None:
    """Add a note to the next briefs, while the study runs; without words show them.

    \b
    autoresearch steer "no wider models: memory is short"
    autoresearch steer --clear
    """
    with read_study(Task.load(lab), tag) as (_, paths, _):
        if clear:
            paths.steering.unlink(missing_ok=True)
        if words:
            line = f"- {datetime.now():%d %b %H:%M}: {' '.join(words)}\n"
            write_whole(paths.steering, read_steering(paths) + line)
        click.echo(read_steering(paths), nl=False)


@click.command()
@tag_option
@lab_option
def pause(tag: str | None, lab: Path) -> None:
    """Let no new trial begin: the one that runs is finished, then the study waits.

    \b
    autoresearch pause      the GPU is needed for something else
    autoresearch resume

    It holds across restarts: a run that is started meanwhile waits as well.
    """
    with read_study(Task.load(lab), tag) as (ledger, paths, _):
        write_whole(paths.pause, f"{datetime.now():%d %b %H:%M}\n")
        runs = ledger.unfinished() if running(paths) else None
        after = f" after trial {runs.number}, which runs" if runs else ""
        click.echo(f"Study {paths.tag} pauses{after}. `autoresearch resume` goes on.")


@click.command()
@tag_option
@lab_option
def resume(tag: str | None, lab: Path) -> None:
    """Go on after a pause.

    \b
    autoresearch resume
    """
    with read_study(Task.load(lab), tag) as (_, paths, _):
        was = paths.pause.exists()
        paths.pause.unlink(missing_ok=True)
        here = running(paths)
    now = "goes on" if here else "can go on: start it with `autoresearch run`"
    click.echo(f"Study {paths.tag} {now}." if was else f"Study {paths.tag} was not paused.")
