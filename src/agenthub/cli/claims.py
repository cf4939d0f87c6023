"""claim and release: agents name what they try before they run it."""

from __future__ import annotations

from pathlib import Path

import click

from agenthub.cli.common import (
    HubOptions,
    hub_command,
    line,
    moment,
    number,
    rows_of,
    short,
    text_line,
)
from agenthub.client.hub_client import Json
from agenthub.client.local import Local


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
