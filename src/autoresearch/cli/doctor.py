"""doctor: check this machine and this study."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from autoresearch.cli.common import lab_option, tag_option
from autoresearch.cli.diagnosis import (
    Check,
    examine_canary,
    examine_lab,
    examine_machine,
    examine_study,
)
from autoresearch.lab.task import FILE, Task
from autoresearch.store.paths import current_tag
from autoresearch.study.opening import read_study


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON list, for scripts.")
@tag_option
@lab_option
def doctor(as_json: bool, tag: str | None, lab: Path) -> None:
    """What this machine offers, and whether the study is sound.

    It changes nothing. In a lab with a study it checks what must hold between trials: every commit
    is there, the branch is at the best, each trial has its ref, results.tsv equals the ledger. In a
    lab without one it runs the command once with the editable files replaced by failing ones, for
    30 seconds at most: a run that does not fail does not measure them.
    Exit code 1 when the study needs repair.

    \b
    autoresearch doctor
    autoresearch doctor --json
    """
    machine = list(examine_machine(lab))
    study = list(_study_checks(lab, tag))
    machine += [] if study else list(examine_lab(lab))
    if as_json:
        click.echo(json.dumps([asdict(found) for found in machine + study], indent=1))
    else:
        for found in machine + study:
            click.echo(_check_line(found))
    if not all(found.good for found in study):
        raise click.exceptions.Exit(1)


def _study_checks(lab: Path, tag: str | None) -> list[Check]:
    if not (lab / FILE).is_file() or (tag or current_tag(lab)) is None:
        return []
    task = Task.load(lab)
    with read_study(task, tag) as (ledger, paths, git):
        return [*examine_study(task, ledger, paths, git), *examine_canary(ledger)]


def _check_line(found: Check) -> str:
    mark = "ok  " if found.good else "look"
    mend = f"\n{'':20}{found.mend}" if found.mend and not found.good else ""
    return f"{mark}  {found.name + ':':<14}{found.seen}{mend}"
