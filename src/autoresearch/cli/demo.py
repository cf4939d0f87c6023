"""demo: a whole study on this machine, from nothing to a staircase."""

from __future__ import annotations

from pathlib import Path

import click

from autoresearch.cli.init import prepare
from autoresearch.cli.report import report
from autoresearch.cli.run import run
from autoresearch.cli.scaffold import create_lab
from autoresearch.store.paths import StudyPaths


@click.command()
@click.option("--trials", type=click.IntRange(min=1), default=12, show_default=True)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, resolve_path=True),
    default="autoresearch-demo",
    show_default=True,
    help="The lab's folder; an existing demo goes on.",
)
@click.pass_context
def demo(ctx: click.Context, trials: int, folder: Path) -> None:
    """Try it: a small GPT, a dozen experiments, the staircase.

    Needs no GPU, no download and no key: the text is Python's own library, the proposer is the
    offline one, and a run takes 10 seconds of CPU time. A trial that looks better is a step; at
    the end all steps are confirmed together on fresh seeds.

    \b
    autoresearch demo
    autoresearch demo --trials 30 --folder /tmp/demo
    """
    if not (folder / "task.toml").exists():
        create_lab(folder, "nanogpt", "demo")
        click.echo(f"Made {folder}: the nanogpt lab, preset demo.")
    ctx.invoke(prepare, lab=folder, options=())
    ctx.invoke(run, lab=folder, tag="demo", trials=trials)
    ctx.invoke(report, lab=folder, tag="demo")
    page = StudyPaths(folder, "demo").report / "report.html"
    click.echo(f"Look at {page}; go on with: cd {folder} && autoresearch run")
