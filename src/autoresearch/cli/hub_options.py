"""The options of `run` for a hub, and the hub lines of `status`. swarm is imported when needed."""

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
        help="Results of others that are worth a run here.",
    ),
    click.option(
        "--hub-replicate",
        type=click.FloatRange(0, 0.9),
        default=0.1,
        show_default=True,
        help="Share of the time for running others' results again.",
    ),
    click.option("--platform", metavar="NAME", help="Name of this kind of machine at the hub."),
)


def hub_options(command: F) -> F:
    """--hub and the options that belong to it."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@contextlib.contextmanager
def joined_hub(study: Study, note: Note, options: dict[str, Any]) -> Iterator[Callable[[], None]]:
    """Within: the study takes part in the hub, if any; yields a callback for between trials."""
    if options["hub"] is None:
        yield lambda: None
        return
    from autoresearch.swarm.member import joined

    settings = _settings(options)
    with joined(study, settings, note) as member:
        who = f"as {settings.agent}, " if settings.agent else ""
        here = f"{who}on {settings.platform}"
        note(f"Hub: {settings.url}, project {settings.project}, {here}.")
        yield member.between


def check_hub_options(task: Task, options: dict[str, Any], note: Note) -> None:
    """Raise an error of the hub options before anything begins."""
    if options["hub"] is not None:
        from autoresearch.swarm.member import check_hub

        check_hub(task, _settings(options), note)


def hub_status(paths: StudyPaths) -> dict[str, object]:
    """For `status`: each hub of the study, the letters that wait for it, its last answer."""
    if not paths.hubs.is_dir():
        return {}
    from autoresearch.swarm.outbox import OutboxStatus, outbox_statuses

    def describe(found: OutboxStatus) -> str:
        last = "never" if found.last is None else f"{duration(time.time() - found.last)} ago"
        refused = f", {found.refused} refused ({found.why})" if found.refused else ""
        who = f" as {found.agent}" if found.agent else ""
        where = f"{found.url}, project {found.project}{who}"
        return f"{where}: {found.waiting} letters wait{refused}, last contact {last}"

    lines = [describe(found) for found in outbox_statuses(paths.hubs)]
    return {"hub": "; ".join(lines)} if lines else {}


def _settings(options: dict[str, Any]) -> Any:
    from agenthub.client import AgentHubError, config_path, membership
    from autoresearch.swarm.settings import SwarmSettings, plain, this_platform

    try:
        member = membership(options["hub"])
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
        options["hub_project"],
        options["hub_trust"],
        options["hub_replicate"],
        plain(options["platform"]) if options["platform"] else this_platform(),
        agent=member.agent,
    )
