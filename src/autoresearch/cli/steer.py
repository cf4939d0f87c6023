"""brief, steer, pause, resume: read and direct a study while it runs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from autoresearch.cli.common import lab_option, tag_option
from autoresearch.files import write_whole
from autoresearch.lab.task import Task
from autoresearch.store.pause import write_pause
from autoresearch.study.opening import read_study, running
from autoresearch.study.overview import next_brief
from autoresearch.study.proposing import read_steering


@click.command()
@tag_option
@lab_option
def brief(tag: str | None, lab: Path) -> None:
    """The brief that the next proposer would get.

    \b
    autoresearch brief
    autoresearch brief | wc -c
    """
    task = Task.load(lab)
    with read_study(task, tag) as (ledger, paths, git):
        click.echo(next_brief(task, ledger, paths, git), nl=False)


@click.command()
@click.argument("words", nargs=-1)
@click.option("--clear", is_flag=True, help="Remove all notes.")
@tag_option
@lab_option
def steer(words: tuple[str, ...], clear: bool, tag: str | None, lab: Path) -> None:
    """Add a note to the next briefs, while the study runs; without words show the notes.

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
    """Begin no new trial; the one that runs is finished, then the study waits.

    \b
    autoresearch pause      the GPU is needed for something else
    autoresearch resume

    The pause outlives restarts: a run that is started meanwhile waits as well.
    """
    with read_study(Task.load(lab), tag) as (ledger, paths, _):
        write_pause(paths)
        trial = ledger.unfinished() if running(paths) else None
        after = f" after trial {trial.number}, which runs now" if trial else ""
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
        was_paused = paths.pause.exists()
        paths.pause.unlink(missing_ok=True)
        holder = running(paths)
    now = "goes on" if holder else "can go on: start it with `autoresearch run`"
    click.echo(f"Study {paths.tag} {now}." if was_paused else f"Study {paths.tag} was not paused.")
