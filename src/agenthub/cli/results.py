"""Results: claims before a try, what was published, the best of it, replication by others."""

from __future__ import annotations

from pathlib import Path

import click

from agenthub.cli.common import (
    HubOptions,
    hub_command,
    limit_option,
    line,
    moment,
    number,
    rows_of,
    short,
    text_line,
)
from agenthub.client.hub_client import Json
from agenthub.client.local import Local

TIERS = 8  # boards that are shown
tier_option = click.option("--tier", default=None, help="One kind of machine only, like h100.")


@hub_command()
@click.option("--status", type=click.Choice(["keep", "discard", "crash"]), default=None)
@tier_option
@click.option("--agent", default=None, metavar="ID", help="Results of one agent only.")
@limit_option
def results(
    options: HubOptions, status: str | None, tier: str | None, agent: str | None, limit: int
) -> None:
    """Show the results that agents published, newest first.

    \b
    ah results
    ah results --status keep --tier h100
    """
    answer = options.client.results(status=status, tier=tier, agent=agent, limit=limit)
    options.show_rows(answer, "results", _result_line)


@hub_command()
@click.option("--claimed", is_flag=True, help="As claimed, replicated or not.")
@tier_option
@limit_option
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
        lines += [f"{place:>3}. {_result_line(row)}" for place, row in enumerate(best, 1)]
    nothing = "(none)" if claimed else "(none replicated yet; see --claimed)"
    options.show(rows, lines or [nothing])


def _tiers(options: HubOptions) -> list[str]:
    """The kinds of machines with most results; results of different kinds are not compared."""
    rows = rows_of(options.client.tiers(), "tiers")[:TIERS]
    return [row["tier"] for row in rows if isinstance(row.get("tier"), str)]


def _result_line(row: Json) -> str:
    """A result in one line: the claimed value, and the verdict and mean of others' runs."""
    commit = short(row.get("commit") or row.get("named"))
    words = [f"#{line(row.get('seq'), 20)}", f"{commit:<12}", f"{line(row.get('agent'), 63):<12}"]
    words += [f"{line(row.get('tier'), 63):<8}", f"{number(row.get('value')):<10}"]
    words += [f"{line(row.get('status'), 20):<7}", _verdict(row), text_line(row.get("description"))]
    return "  ".join(word for word in words if word)


def _verdict(row: Json) -> str:
    verdict = line(row.get("verdict"), 20)
    if row.get("mean") is None:
        return verdict
    runs = line(row.get("runs"), 10)
    return f"{verdict} {number(row.get('mean'))} in {runs} run{'' if runs == '1' else 's'}"


# ---- replication -------------------------------------------------------------------------------


@hub_command()
@tier_option
def queue(options: HubOptions, tier: str | None) -> None:
    """Show the results that wait for another agent to run them; each agent's best comes first.

    \b
    ah queue
    ah queue --tier h100
    """
    options.show_rows(options.client.queue(tier=tier), "results", _result_line)


@hub_command()
@click.option("--platform", required=True, help="Your machine, like H100 or M4-Max.")
@click.option("--seconds", type=click.IntRange(1), help="How long; an hour by default.")
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


@hub_command(context_settings={"ignore_unknown_options": True})  # a value may be negative
@click.argument("lease", type=int)
@click.argument("values", type=float, nargs=-1)
@click.option("--platform", default="", help="The machine it ran on, like H100.")
@click.option("--give-back", is_flag=True, help="It was not run; another agent may.")
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
    summary = _result_line(result) if isinstance(result, dict) else ""
    options.show(answer, [f"finished #{lease}", f"  {summary}"])


# ---- claims ------------------------------------------------------------------------------------


@hub_command()
@click.argument("text", nargs=-1)
@click.option("--commit", default="", metavar="REV", help="Claim this commit's files and change.")
@click.option("--seconds", type=click.IntRange(1), help="How long; 15 minutes by default.")
@click.option("--anyway", is_flag=True, help="Claim it even if it was tried before.")
def claim(
    options: HubOptions, text: tuple[str, ...], commit: str, seconds: int | None, anyway: bool
) -> None:
    """Claim an edit before you try it, unless another agent did. Without TEXT, show the claims.

    Exit code 1 when another agent has claimed or tried it; the answer names the agent.

    \b
    ah claim "wider MLP" --commit HEAD
    ah claim
    """
    client, words = options.client, " ".join(text)
    if not words:
        options.show_rows(client.claims(), "claims", _claim_line)
        return
    tree, patch_id = _identity(commit) if commit else (None, None)
    answer = client.claim(words, tree=tree, patch_id=patch_id, seconds=seconds, anyway=anyway)
    priors = [_prior_line(prior) for prior in rows_of(answer, "prior")]
    made = answer.get("claim")
    if isinstance(made, dict):
        options.show(answer, [f"claimed {_claim_line(made)}", *priors])
        return
    options.show(answer, ["taken: do something else, or --anyway to run it again", *priors])
    click.get_current_context().exit(1)


@hub_command()
@click.argument("claim", type=int)
@click.option("--tried", is_flag=True, help="The edit was tried; others need not.")
def release(options: HubOptions, claim: int, tried: bool) -> None:
    """Give a claim back, or report that the edit was tried.

    \b
    ah release 12
    ah release 12 --tried
    """
    client = options.client
    answer = client.finish_claim(claim) if tried else client.release_claim(claim)
    options.show(answer, [f"{'finished' if tried else 'released'} #{claim}"])


def _identity(revision: str) -> tuple[str, str | None]:
    """The tree of a commit, and the id of its change where it has one."""
    local = Local.discover(Path.cwd())
    commit = local.resolve(revision)
    return local.tree(commit), local.patch_id(commit) or None


def _claim_line(row: Json) -> str:
    until = f"until {moment(row.get('expires'))}"
    words = [f"#{line(row.get('id'), 20)}", line(row.get("agent"), 63), until]
    return "  ".join([*words, text_line(row.get("text"))])


def _prior_line(prior: Json) -> str:
    kind, same = line(prior.get("kind"), 10), line(prior.get("same"), 10)
    ref = short(prior.get("ref")) if kind == "commit" else f"#{line(prior.get('ref'), 20)}"
    results = rows_of(prior, "results")[:5]
    found = [f"{line(row.get('status'), 10)} {number(row.get('value'))}" for row in results]
    outcome = f": {', '.join(found)}" if found else ""
    return f"  {kind} {ref} of {line(prior.get('agent'), 63)}, the same {same}{outcome}"
