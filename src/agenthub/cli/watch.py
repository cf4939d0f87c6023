"""watch: what happens on a hub, as it happens."""

from __future__ import annotations

import time

import click

from agenthub.cli.common import HubOptions, hub_options, line, moment, rows_of
from agenthub.client.hub_client import LONGEST_WAIT, Json
from agenthub.client.transport import Unreachable

PAGE = 200  # events of one answer
PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds while the hub is away


@click.command()
@click.option("--since", type=click.IntRange(0), help="Begin after this event; now unless said.")
@click.option("--kinds", default="", metavar="A,B", help="Only these: commit, result, post ...")
@click.option("--everywhere", is_flag=True, help="All projects, and who comes and goes.")
@click.option("--count", type=click.IntRange(1), help="End after so many events.")
@click.option("--seconds", type=click.FloatRange(0), help="End after so long; 0: what is there.")
@hub_options
def watch(
    options: HubOptions,
    since: int | None,
    kinds: str,
    everywhere: bool,
    count: int | None,
    seconds: float | None,
) -> None:
    """Wait for what happens, a line each, until Ctrl-C. A hub that is away is waited for.

    \b
    ah watch
    ah watch --kinds result,post --count 1      wait for the next one
    ah watch --since 0 --seconds 0 --json       all that is kept
    """
    client = options.client
    ends = None if seconds is None else time.monotonic() + seconds
    wanted = [kind.strip() for kind in kinds.split(",") if kind.strip()]
    told, pause, cursor = 0, 0.0, since
    while True:
        left = LONGEST_WAIT if ends is None else max(0, int(ends - time.monotonic()))
        try:
            wait = left if cursor is not None else 0
            page = client.events(cursor, wait=wait, kinds=wanted, everywhere=everywhere)
        except Unreachable as error:
            pause = _wait(pause, error, ends)
            continue
        pause = 0.0
        cursor, events = _cursor(page), rows_of(page, "events")
        for event in events[: None if count is None else count - told]:
            options.show(event, [_event_line(event)])
            told += 1
        more = not seconds and len(events) >= PAGE  # 0 s: all that is there, however long it takes
        if told == count or (ends is not None and time.monotonic() >= ends and not more):
            return


def _wait(pause: float, error: Unreachable, ends: float | None) -> float:
    """Sleep while a hub is away, longer each time; raises what is wrong once time is up."""
    if not pause:
        click.echo(f"note: {error} Waiting for it.", err=True)
    pause = min(LONGEST_PAUSE, 2 * pause or PAUSE)
    if ends is not None and time.monotonic() + pause > ends:
        raise error
    time.sleep(pause)
    return pause


def _cursor(page: Json) -> int:
    found = page.get("cursor")
    return found if isinstance(found, int) else 0


def _event_line(event: Json) -> str:
    words = [line(event.get("seq"), 20), moment(event.get("time"))]
    words += [f"{line(event.get('kind'), 40):<14}", f"{line(event.get('actor'), 63):<12}"]
    return "  ".join([*words, line(event.get("ref"), 63)])
