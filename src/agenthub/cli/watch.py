"""watch: the events of a hub, as they happen."""

from __future__ import annotations

import time

import click

from agenthub.cli.common import HubOptions, hub_command, line, moment, rows_of
from agenthub.client.hub_client import LONGEST_WAIT, Json
from agenthub.client.transport import Unreachable

PAGE = 200  # events of one answer
PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds while the hub is away


@hub_command()
@click.option(
    "--since", type=click.IntRange(0), help="Begin after this event; by default with the next one."
)
@click.option(
    "--kinds",
    default="",
    metavar="A,B",
    help="Only events of these kinds: commit, result, post ...",
)
@click.option("--everywhere", is_flag=True, help="Events of all projects, and of agents.")
@click.option("--count", type=click.IntRange(1), help="End after N events.")
@click.option(
    "--seconds", type=click.FloatRange(0), help="End after this time; 0: show stored events only."
)
def watch(
    options: HubOptions,
    since: int | None,
    kinds: str,
    everywhere: bool,
    count: int | None,
    seconds: float | None,
) -> None:
    """Show events as they happen, one a line, until Ctrl-C. It waits for a hub that is away.

    \b
    ah watch
    ah watch --kinds result,post --count 1      wait for the next one
    ah watch --since 0 --seconds 0 --json       all stored events
    """
    client = options.client
    ends = None if seconds is None else time.monotonic() + seconds
    wanted = [kind.strip() for kind in kinds.split(",") if kind.strip()]
    shown, pause, cursor = 0, 0.0, since
    while True:
        left = LONGEST_WAIT if ends is None else max(0, int(ends - time.monotonic()))
        try:
            wait = left if cursor is not None else 0
            page = client.events(cursor, wait=wait, kinds=wanted, everywhere=everywhere)
        except Unreachable as error:
            pause = _wait(pause, error, ends)
            continue
        pause = 0.0
        found, events = page.get("cursor"), rows_of(page, "events")
        cursor = found if isinstance(found, int) else 0
        for event in events[: None if count is None else count - shown]:
            options.show(event, [_event_line(event)])
            shown += 1
        more = not seconds and len(events) >= PAGE  # 0 s: all stored events, however long it takes
        if shown == count or (ends is not None and time.monotonic() >= ends and not more):
            return


def _wait(pause: float, error: Unreachable, ends: float | None) -> float:
    """Sleep while a hub is away, longer each time; once the time is up, raise the error."""
    if not pause:
        click.echo(f"note: {error} Waiting for the hub.", err=True)
    pause = min(LONGEST_PAUSE, 2 * pause or PAUSE)
    if ends is not None and time.monotonic() + pause > ends:
        raise error
    time.sleep(pause)
    return pause


def _event_line(event: Json) -> str:
    words = [line(event.get("seq"), 20), moment(event.get("time"))]
    words += [f"{line(event.get('kind'), 40):<14}", f"{line(event.get('actor'), 63):<12}"]
    return "  ".join([*words, line(event.get("ref"), 63)])
