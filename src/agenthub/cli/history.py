"""Commits to and from a hub: push and fetch, log, children, leaves, lineage, diff."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import click

from agenthub.cli.common import HubOptions, hub_options, line, moment, rows_of, short, text_of
from agenthub.client.hub_client import Json, as_list
from agenthub.client.local import Local
from agenthub.client.sending import send
from agenthub.validation import clean, is_hash

_HEX = re.compile(r"[0-9a-fA-F]{4,40}")

# ---- push and fetch ----------------------------------------------------------------------------


@click.command()
@click.argument("revision", default="HEAD")
@click.option("--attempt", is_flag=True, help="The commit was tried and put aside: not frontier.")
@hub_options
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


@click.command()
@click.argument("hash")
@click.option("--ref", default="", metavar="NAME", help="Make a branch of this name there.")
@hub_options
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


@click.command()
@click.option("--agent", default="", metavar="ID", help="Commits of one agent only.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="How many.")
@hub_options
def log(options: HubOptions, agent: str, limit: int) -> None:
    """Show the newest commits.

    \b
    ah log
    ah log --agent ada --limit 5
    """
    rows = rows_of(options.client.commits(agent=agent or None, limit=limit), "commits")
    lines = []
    for row in rows:
        who, when = f"{_agent(row):<12}", moment(row.get("received"))
        lines.append(f"{short(row.get('hash'))}  {who}  {when}  {_subject(row)}")
    options.show(rows, lines)


@click.command()
@click.argument("hash")
@hub_options
def children(options: HubOptions, hash: str) -> None:
    """Show the commits that were built on a commit.

    \b
    ah children 3f2a91c
    """
    _show_commits(options, options.client.children(_hub_revision(hash)))


@click.command()
@hub_options
def leaves(options: HubOptions) -> None:
    """Show the frontier: commits that nobody has built on, newest first.

    \b
    ah leaves
    ah leaves --json
    """
    _show_commits(options, options.client.leaves())


@click.command()
@click.argument("hash")
@hub_options
def lineage(options: HubOptions, hash: str) -> None:
    """Show a commit and its ancestors, the commit itself first.

    \b
    ah lineage 3f2a91c
    """
    _show_commits(options, options.client.lineage(_hub_revision(hash)))


@click.command()
@click.argument("old")
@click.argument("new")
@click.option("--path", default=None, help="The diff of one file only.")
@hub_options
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


def _show_commits(options: HubOptions, answer: Json) -> None:
    rows = rows_of(answer, "commits")
    lines = [f"{short(row.get('hash'))}  {_agent(row)}  {_subject(row)}" for row in rows]
    options.show(rows, lines or ["(none)"])


def _agent(row: Json) -> str:
    return line(row.get("agent"), 63) or "(seed)"


def _subject(row: Json) -> str:
    return line(text_of(row.get("subject")))
