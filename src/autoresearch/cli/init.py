"""init and prepare: make a lab, and its data."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import click

from autoresearch.cli.common import lab_option
from autoresearch.cli.scaffold import create_blank, create_lab, presets, shipped_labs
from autoresearch.errors import RunFailed, TaskError
from autoresearch.evaluation.jobs import job_env, job_path
from autoresearch.lab.metric import Metric, read_numbers
from autoresearch.lab.task import Task
from autoresearch.store.git import Git


class SplitCommand(click.Command):
    """A command that keeps the words after `--` apart: they are the user's own command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words before the first `--`; store the rest."""
        cut = args.index("--") if "--" in args else len(args)
        ctx.meta["command"] = args[cut + 1 :]
        return super().parse_args(ctx, args[:cut])


@click.command(cls=SplitCommand)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
@click.option("--lab", default="nanogpt", show_default=True, help="Which lab, or blank.")
@click.option("--preset", help="Constants for a machine (nanogpt: demo, cpu, mac, rtx, h100).")
@click.option("--edit", "editable", multiple=True, help="blank: a file that may change; repeat it.")
@click.option("--metric", "name", help="blank: the number's name; by default the last one printed.")
@click.option("--maximize", is_flag=True, help="blank: higher is better.")
@click.option("--timeout", type=float, default=600.0, show_default=True, help="blank: seconds.")
@click.pass_context
def init(
    ctx: click.Context,
    folder: Path,
    lab: str,
    preset: str | None,
    editable: tuple[str, ...],
    name: str | None,
    maximize: bool,
    timeout: float,
) -> None:
    """Make a lab: a folder with a task, a program and a file to edit.

    \b
    autoresearch init my-lab                          a small GPT, on this CPU
    autoresearch init my-lab --preset rtx             the same on a GPU
    autoresearch init my-lab --lab numpy-bigram       a model of bytes in plain NumPy, seconds a run
    autoresearch init my-lab --lab speed              make a function faster
    autoresearch init --lab blank --edit solve.py -- python solve.py
                                                      any command that prints `name: number`
    """
    command: list[str] = ctx.meta["command"]
    if lab == "blank":
        _blank(folder, command, list(editable), name, maximize=maximize, timeout=timeout)
        return
    if command:
        raise click.UsageError("A command after -- goes with --lab blank.")
    create_lab(folder, lab, preset)
    click.echo(f"Made {folder}: the {lab} lab{f', preset {preset}' if preset else ''}.")
    if presets(lab) and preset is None and shutil.which("nvidia-smi"):
        click.echo("A GPU was found, and the default preset does not use it: --preset rtx or h100.")
    click.echo(f"Next: cd {folder} && autoresearch prepare && autoresearch run")
    click.echo('Or open a coding agent there, and say: "read program.md and kick off".')


def _blank(
    folder: Path,
    command: list[str],
    editable: list[str],
    name: str | None,
    *,
    maximize: bool,
    timeout: float,
) -> None:
    if not command:
        labs = ", ".join([*shipped_labs(), "blank"])
        raise click.UsageError(
            "--lab blank needs a command: autoresearch init --lab blank --edit FILE -- COMMAND. "
            f"Labs are: {labs}."
        )
    Git.discover(folder)
    editable = editable or [word for word in command if (folder / word).is_file()]
    if not editable:
        raise TaskError(
            "No file of the command was found in the folder; name one with --edit FILE."
        )
    for file in editable:
        if not (folder / file).is_file():
            raise TaskError(
                f"--edit names {file}, and there is no such file in {folder.resolve()}."
            )
    metric = Metric(name or _last_name(folder, command), "maximize" if maximize else "minimize")
    for path in create_blank(folder, command, editable, metric, timeout):
        click.echo(f"Wrote {path}")
    click.echo(f"Editable: {', '.join(editable)}. Metric: {metric.name}, {metric.direction}.")
    click.echo(
        "Next: read task.toml, write in program.md what you want, commit (git add -A; git commit)"
    )
    click.echo("and start: autoresearch run")


def _last_name(folder: Path, command: Sequence[str]) -> str:
    """Run the command once; the name of the last number it prints."""
    click.echo(f"Running the command once, to see what it prints: {' '.join(command)}")
    words: str | Sequence[str] = command[0] if len(command) == 1 else command
    try:
        ended = subprocess.run(
            words,
            cwd=folder,
            env=os.environ | {"PATH": job_path()},  # the PATH of a trial
            shell=len(command) == 1,
            capture_output=True,
            text=True,
        )
    except OSError as error:
        raise RunFailed(f"The command cannot be started: {error}.") from error
    numbers = read_numbers((ended.stdout + "\n" + ended.stderr).splitlines())
    if ended.returncode != 0 or not numbers:
        last = (ended.stdout + ended.stderr).strip().splitlines()[-1:] or ["nothing"]
        raise RunFailed(
            f"The command ended with exit code {ended.returncode} and no line `name: number` "
            f"(the last line is: {last[0]}). Print one, or name it with --metric."
        )
    return list(numbers)[-1]


@click.command()
@lab_option
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def prepare(lab: Path, options: tuple[str, ...]) -> None:
    """Run the lab's preparation: data, tokenizer. A second call is quick and changes nothing.

    Options after -- go to the lab's own command.

    \b
    autoresearch prepare
    autoresearch prepare -- --check
    """
    task = Task.load(lab)
    if task.prepare is None:
        click.echo(f"{task.name} needs no preparation.")
        return
    words = " ".join([task.prepare, *map(shlex.quote, options)])
    env = {**os.environ, **job_env(task)}  # with the user's access tokens: a download may need them
    ended = subprocess.run(words, shell=True, cwd=lab, env=env)
    if ended.returncode == 2:  # the lab's exit code for a wrong use; it has printed why
        raise click.exceptions.Exit(2)
    if ended.returncode != 0:
        raise RunFailed(f"`{words}` ended with exit code {ended.returncode}; see above.")
