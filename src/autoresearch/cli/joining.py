"""The options of run that join a hub, and what status shows of it. Imported parts stay lazy."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from autoresearch.cli.common import duration
from autoresearch.errors import AutoResearchError, SwarmError
from autoresearch.lab.task import Task
from autoresearch.store.paths import StudyPaths
from autoresearch.study.study import Study

F = TypeVar("F", bound=Callable[..., Any])
Note = Callable[[str], None]

_OPTIONS = (
    click.option("--hub", metavar="URL", help="Take part in this hub (first: ah join URL)."),
    click.option("--hub-project", default="main", show_default=True, help="Which of its projects."),
    click.option(
        "--hub-trust",
        type=click.Choice(["replicated", "claimed"]),
        default="replicated",
        show_default=True,
        help="Which results of others are worth a run here.",
    ),
    click.option(
        "--hub-replicate",
        type=click.FloatRange(0, 0.9),
        default=0.1,
        show_default=True,
        help="Share of the time for running others' results again.",
    ),
    click.option("--platform", metavar="NAME", help="What the hub calls this machine."),
)


def hub_options(command: F) -> F:
    """--hub and what belongs to it."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@contextlib.contextmanager
def maybe_joined(study: Study, note: Note, asked: dict[str, Any]) -> Iterator[Callable[[], None]]:
    """Within: the study takes part in the hub that was asked for, if any; what to do between."""
    if asked["hub"] is None:
        yield lambda: None
        return
    from autoresearch.swarm.member import joined

    settings = _settings(asked)
    with joined(study, settings, note) as member:
        who = f"as {settings.agent}, " if settings.agent else ""
        here = f"{who}on {settings.platform}"
        note(f"Hub: {settings.url}, project {settings.project}, {here}.")
        yield member.between


def check_asked(task: Task, asked: dict[str, Any], note: Note) -> None:
    """Errors of what was asked for, before anything begins."""
    if asked["hub"] is not None:
        from autoresearch.swarm.member import check_hub

        check_hub(task, _settings(asked), note)


def shown_hubs(paths: StudyPaths) -> dict[str, object]:
    """What status shows: each hub of the study, what waits for it, when it last answered."""
    if not paths.hubs.is_dir():
        return {}
    from autoresearch.swarm.outbox import OutboxStatus, outbox_statuses

    def line(found: OutboxStatus) -> str:
        last = "never" if found.last is None else f"{duration(time.time() - found.last)} ago"
        refused = f", {found.refused} refused ({found.why})" if found.refused else ""
        who = f" as {found.agent}" if found.agent else ""
        where = f"{found.url}, project {found.project}{who}"
        return f"{where}: {found.waiting} letters wait{refused}, last contact {last}"

    told = [line(found) for found in outbox_statuses(paths.hubs)]
    return {"hub": "; ".join(told)} if told else {}


def _settings(asked: dict[str, Any]) -> Any:
    from agenthub.client import AgentHubError, config_path, membership
    from autoresearch.swarm.settings import SwarmSettings, plain, this_platform

    try:
        member = membership(asked["hub"])
    except AgentHubError as error:
        raise SwarmError(str(error)) from error
    if not member.key:
        raise AutoResearchError(
            f"No key for {member.url} is in {config_path().absolute()}. Join it: "
            f"ah join {member.url} --name ID; or set AUTORESEARCH_HUB_KEY."
        )
    return SwarmSettings(
        member.url,
        member.key,
        asked["hub_project"],
        asked["hub_trust"],
        asked["hub_replicate"],
        plain(asked["platform"]) if asked["platform"] else this_platform(),
        agent=member.agent,
    )
