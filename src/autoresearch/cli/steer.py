"""brief and steer: what a proposer is told, and a word to it while the study runs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from autoresearch.cli.common import lab_option, tag_option
from autoresearch.files import write_whole
from autoresearch.opening import read_study
from autoresearch.overview import next_brief
from autoresearch.study import read_steering
from autoresearch.task import Task


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
