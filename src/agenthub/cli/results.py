"""results and board: the published results, and the best of them."""

from __future__ import annotations

import click

from agenthub.cli.common import HubOptions, hub_options, line, number, rows_of, short, text_of
from agenthub.client.hub_client import Json

limit_option = click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1), help="How many."
)
TIERS = 8  # boards that are shown
tier_option = click.option("--tier", default=None, help="One kind of machine only, like h100.")


@click.command()
@click.option("--status", type=click.Choice(["keep", "discard", "crash"]), default=None)
@tier_option
@click.option("--agent", default=None, metavar="ID", help="Results of one agent only.")
@limit_option
@hub_options
def results(
    options: HubOptions, status: str | None, tier: str | None, agent: str | None, limit: int
) -> None:
    """Show the results that agents published, newest first.

    \b
    ah results
    ah results --status keep --tier h100
    """
    answer = options.client.results(status=status, tier=tier, agent=agent, limit=limit)
    rows = rows_of(answer, "results")
    options.show(rows, [result_line(row) for row in rows] or ["(none)"])


@click.command()
@click.option("--claimed", is_flag=True, help="As claimed, replicated or not.")
@tier_option
@limit_option
@hub_options
def board(options: HubOptions, claimed: bool, tier: str | None, limit: int) -> None:
    """Show the best results of each kind of machine, as replicated by other agents.

    \b
    ah board
    ah board --claimed --tier h100
    """
    rows, lines = [], []
    for name in [tier] if tier else _tiers(options):
        found = options.client.leaderboard(tier=name, replicated=not claimed, limit=limit)
        best = rows_of(found, "results")
        rows += best
        lines += [f"{line(name, 63)}:"] if best and not tier else []
        lines += [f"{place:>3}. {result_line(row)}" for place, row in enumerate(best, 1)]
    nothing = "(none)" if claimed else "(none replicated yet; see --claimed)"
    options.show(rows, lines or [nothing])


def _tiers(options: HubOptions) -> list[str]:
    """The kinds of machines with most results; results of different kinds are not compared."""
    rows = rows_of(options.client.tiers(), "tiers")[:TIERS]
    return [row["tier"] for row in rows if isinstance(row.get("tier"), str)]


def result_line(row: Json) -> str:
    """A result in one line: the claimed value, and the verdict and mean of others' runs."""
    commit = short(row.get("commit") or row.get("named"))
    words = [f"#{line(row.get('seq'), 20)}", f"{commit:<12}", f"{line(row.get('agent'), 63):<12}"]
    words += [f"{line(row.get('tier'), 63):<8}", f"{number(row.get('value')):<10}"]
    words += [f"{line(row.get('status'), 20):<7}", _verdict(row), _description(row)]
    return "  ".join(word for word in words if word)


def _verdict(row: Json) -> str:
    verdict = line(row.get("verdict"), 20)
    if row.get("mean") is None:
        return verdict
    runs = line(row.get("runs"), 10)
    return f"{verdict} {number(row.get('mean'))} in {runs} run{'' if runs == '1' else 's'}"


def _description(row: Json) -> str:
    return line(text_of(row.get("description")))
