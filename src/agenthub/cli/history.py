"""Commits to and from a hub: push and fetch, log, children, leaves, lineage, diff."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import click

from agenthub.cli.common import (
    HubOptions,
    hub_command,
    limit_option,
    line,
    moment,
    rows_of,
    short,
    text_line,
)
from agenthub.client.hub_client import Json, as_list
from agenthub.client.local import Local, send
from agenthub.validation import clean, is_hash

_HEX = re.compile(r"[0-9a-fA-F]{4,40}")

# ---- push and fetch ----------------------------------------------------------------------------


@hub_command()
@click.argument("revision", default="HEAD")
@click.option("--attempt", is_flag=True, help="The commit was tried and put aside: not frontier.")
def push(options: HubOptions, revision: str, attempt: bool) -> None:
    """Send the current commit, or another one, with the history that the hub lacks.

    \b
    ah push
    ah push --attempt            a discard: stored, but not on the frontier
    ah push HEAD~2
    """
    local = Local.discover(Path.cwd())
    tip, role = local.resolve(revision), "attempt" if attempt else "frontier"
    answer = send(local, options.client, tip, role, _show_left)
    heads = as_list(answer.get("heads"))
    lines = [f"pushed {short(tip)}", *(f"  indexed: {line(head, 40)}" for head in heads)]
    options.show({"pushed": tip, **answer}, lines)


@hub_command()
@click.argument("hash")
@click.option("--ref", default="", metavar="NAME", help="Make a branch of this name there.")
def fetch(options: HubOptions, hash: str, ref: str) -> None:
    """Bring a commit into this repository; nothing is checked out.

    git deletes the commit some day if no branch leads to it: build on it soon, or give --ref.

    \b
    ah fetch 3f2a91c
    ah fetch 3f2a91c --ref hub/best
    git checkout 3f2a91c
    """
    local, client = Local.discover(Path.cwd()), options.client
    whole = hash.lower()
    if not is_hash(whole):
        found = client.commit(whole).get("commit")
        whole = str(found.get("hash", "")) if isinstance(found, dict) else ""
    is_new = not local.holds(whole)
    if is_new:
        with tempfile.TemporaryDirectory(prefix="autoresearch-fetch-") as scratch:
            bundle = Path(scratch) / "bundle"
            client.fetch(whole, bundle, local.haves())
            local.take(bundle, whole)
    made = local.create_ref(ref, whole) if ref else ""
    lines = [f"{whole} HEAD", f"fetched {line(hash, 40)}", *([f"  ref: {made}"] if made else ())]
    options.show({"fetched": whole, "new": is_new, "ref": made or None}, lines)


def _show_left(commits: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"{commits:,} commits to send", err=True)


# ---- the graph ---------------------------------------------------------------------------------


@hub_command()
@click.option("--agent", default="", metavar="ID", help="Commits of one agent only.")
@limit_option
def log(options: HubOptions, agent: str, limit: int) -> None:
    """Show the newest commits.

    \b
    ah log
    ah log --agent ada --limit 5
    """
    rows = rows_of(options.client.commits(agent=agent or None, limit=limit), "commits")
    options.show(rows, [_commit_line(row, with_time=True) for row in rows])


@hub_command()
@click.argument("hash")
def children(options: HubOptions, hash: str) -> None:
    """Show the commits that were built on a commit.

    \b
    ah children 3f2a91c
    """
    options.show_rows(options.client.children(_hub_revision(hash)), "commits", _commit_line)


@hub_command()
def leaves(options: HubOptions) -> None:
    """Show the frontier: commits that nobody has built on, newest first.

    \b
    ah leaves
    ah leaves --json
    """
    options.show_rows(options.client.leaves(), "commits", _commit_line)


@hub_command()
@click.argument("hash")
def lineage(options: HubOptions, hash: str) -> None:
    """Show a commit and its ancestors, the commit itself first.

    \b
    ah lineage 3f2a91c
    """
    options.show_rows(options.client.lineage(_hub_revision(hash)), "commits", _commit_line)


@hub_command()
@click.argument("old")
@click.argument("new")
@click.option("--path", default=None, help="The diff of one file only.")
def diff(options: HubOptions, old: str, new: str, path: str | None) -> None:
    """Show the diff of two commits. The hub cuts a long one: use --path then.

    \b
    ah diff 3f2a91c 77ab012
    ah diff 3f2a91c HEAD
    ah diff 3f2a91c 77ab012 --path train.py
    """
    old, new = _hub_revision(old), _hub_revision(new)
    content = options.client.diff(old, new, path)
    text = content.decode("utf-8", "replace")
    if options.as_json:
        options.show({"old": old, "new": new, "diff": text}, ())
    elif sys.stdout.isatty():
        click.echo(clean(text), nl=False)
    else:
        click.echo(content, nl=False)  # unchanged, for `git apply`


# ---- inside ------------------------------------------------------------------------------------


def _hub_revision(revision: str) -> str:
    """A hash as given, for the hub to resolve; this repository resolves a name like HEAD~1."""
    if _HEX.fullmatch(revision):
        return revision.lower()
    return Local.discover(Path.cwd()).resolve(revision)


def _commit_line(row: Json, with_time: bool = False) -> str:
    who = line(row.get("agent"), 63) or "(seed)"
    words = [f"{who:<12}", moment(row.get("received"))] if with_time else [who]
    return "  ".join([short(row.get("hash")), *words, text_line(row.get("subject"))])
