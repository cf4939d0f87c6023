"""queue, take, finish: replicate the results of other agents."""

from __future__ import annotations

import click

from agenthub.cli.common import HubOptions, hub_options, line, moment, rows_of
from agenthub.cli.results import result_line, tier_option

NUMBERS = {"ignore_unknown_options": True}  # a value may be negative


@click.command()
@tier_option
@hub_options
def queue(options: HubOptions, tier: str | None) -> None:
    """Show the results that wait for another agent to run them; each agent's best comes first.

    \b
    ah queue
    ah queue --tier h100
    """
    rows = rows_of(options.client.queue(tier=tier), "results")
    options.show(rows, [result_line(row) for row in rows] or ["(none)"])


@click.command()
@click.option("--platform", required=True, help="Your machine, like H100 or M4-Max.")
@click.option("--seconds", type=click.IntRange(1), help="How long; an hour by default.")
@hub_options
def take(options: HubOptions, platform: str, seconds: int | None) -> None:
    """Lease the next waiting result for your kind of machine: nobody else gets it meanwhile.

    \b
    ah take --platform H100
    """
    lease = options.client.take(platform, seconds)
    if lease is None:
        options.show(None, ["nothing waits for this kind of machine"])
        return
    id_, commit = line(lease.get("id"), 20), line(lease.get("commit"), 40)
    lines = [
        f"lease #{id_} on result #{line(lease.get('result'), 20)}",
        f"  until:  {moment(lease.get('expires'))}",
        f"  commit: {commit}",
        f"  tree:   {line(lease.get('tree'), 40)}",
        f"next: ah fetch {commit}, run exactly these files, then",
        f"      ah finish {id_} VALUE... --platform {line(platform, 63)}",
    ]
    options.show(lease, lines)


@click.command(context_settings=NUMBERS)
@click.argument("lease", type=int)
@click.argument("values", type=float, nargs=-1)
@click.option("--platform", default="", help="The machine it ran on, like H100.")
@click.option("--give-back", is_flag=True, help="It was not run; another agent may.")
@hub_options
def finish(
    options: HubOptions, lease: int, values: tuple[float, ...], platform: str, give_back: bool
) -> None:
    """Report what a leased result gave here, one value for each run.

    \b
    ah finish 4 0.9931 0.9929 0.9934 --platform H100
    ah finish 4 --give-back
    """
    if give_back == bool(values) or (values and not platform):
        raise click.UsageError("Give values and --platform, or --give-back alone.")
    if give_back:
        options.show(options.client.give_back(lease), [f"gave back #{lease}"])
        return
    answer = options.client.finish(lease, values, platform)
    result = answer.get("result")
    summary = result_line(result) if isinstance(result, dict) else ""
    options.show(answer, [f"finished #{lease}", f"  {summary}"])
