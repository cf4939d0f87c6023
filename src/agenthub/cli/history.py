"""Commits to and from a hub: push and fetch, log, children, leaves, lineage, diff."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click

from agenthub.cli.common import Asked, asks, line, moment, rows_of, short, text_of
from agenthub.client.hub_client import MOST_BUNDLE, HubClient, Json
from agenthub.client.local import Local
from agenthub.client.sending import send
from agenthub.client.v1_client import as_list
from agenthub.errors import Missing
from agenthub.validation import clean, is_hash

_HEX = re.compile(r"[0-9a-fA-F]{4,40}")

# ---- push and fetch ----------------------------------------------------------------------------


@click.command()
@click.argument("revision", default="HEAD")
@click.option("--attempt", is_flag=True, help="It was tried and put aside: a discard, a crash.")
@asks
def push(asked: Asked, revision: str, attempt: bool) -> None:
    """Send the current commit, or another one, with what the hub lacks of its history.

    \b
    ah push
    ah push --attempt            a discard: kept, but not on the frontier
    ah push HEAD~2
    """
    local = Local.discover(Path.cwd())
    tip, role = local.resolve(revision), "attempt" if attempt else "frontier"
    try:
        answer = send(local, asked.client, tip, role, _left)
    except Missing:
        if not asked.is_classic or attempt:
            raise
        answer = _push_all(asked.client, local, tip)
    heads = as_list(answer.get("heads", answer.get("hashes")))
    lines = [f"pushed {short(tip)}", *(f"  indexed: {line(head, 40)}" for head in heads)]
    asked.tell({"pushed": tip, **answer}, lines)


@click.command()
@click.argument("hash")
@click.option("--ref", default="", metavar="NAME", help="Make a branch of this name there.")
@asks
def fetch(asked: Asked, hash: str, ref: str) -> None:
    """Bring a commit into this repository; nothing is checked out.

    It stays until git clears away what nothing points to: go on from it soon, or give --ref.

    \b
    ah fetch 3f2a91c
    ah fetch 3f2a91c --ref hub/best
    git checkout 3f2a91c
    """
    local, client = Local.discover(Path.cwd()), asked.client
    whole = _whole(asked, hash)
    taken = not local.holds(whole)
    if taken:
        with tempfile.TemporaryDirectory(prefix="autoresearch-fetch-") as scratch:
            bundle = Path(scratch) / "bundle"
            _download(asked, client, whole, local, bundle)
            local.take(bundle, whole)
    made = local.create_ref(ref, whole) if ref else ""
    lines = [f"{whole} HEAD", f"fetched {line(hash, 40)}", *([f"  ref: {made}"] if made else ())]
    asked.tell({"fetched": whole, "new": taken, "ref": made or None}, lines)


def _left(commits: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"{commits:,} commits to send", err=True)


def _push_all(client: HubClient, local: Local, tip: str) -> Json:
    """To an original hub, which takes whole histories."""
    with tempfile.TemporaryDirectory(prefix="autoresearch-push-") as scratch:
        bundle = Path(scratch) / "bundle"
        local.write_bundle(tip, (), bundle)
        return client.classic.push(bundle)


def _named(revision: str) -> str:
    """A hash as it was given, for the hub to resolve; a name like HEAD~1 by this repository."""
    if _HEX.fullmatch(revision):
        return revision.lower()
    return Local.discover(Path.cwd()).resolve(revision)


def _whole(asked: Asked, hash: str) -> str:
    """The whole hash that the hub knows; the hub resolves a short one."""
    known = hash.lower()
    return known if is_hash(known) else str(_commit(asked, known).get("hash", ""))


def _download(asked: Asked, client: HubClient, want: str, local: Local, bundle: Path) -> None:
    try:
        client.fetch(want, bundle, local.haves())
    except Missing:
        if not asked.is_classic:
            raise
        client.classic.fetch(want, bundle, MOST_BUNDLE)


# ---- the graph ---------------------------------------------------------------------------------


@click.command()
@click.option("--agent", default="", metavar="ID", help="One agent's alone.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="How many.")
@asks
def log(asked: Asked, agent: str, limit: int) -> None:
    """The newest commits.

    \b
    ah log
    ah log --agent ada --limit 5
    """
    client = asked.client
    if asked.is_classic:
        rows = client.classic.commits(agent or None, limit)
    else:
        rows = _commits(client.commits(agent=agent or None, limit=limit))
    asked.tell(rows, (_log_line(row) for row in rows))


@click.command()
@click.argument("hash")
@asks
def children(asked: Asked, hash: str) -> None:
    """What was built on a commit.

    \b
    ah children 3f2a91c
    """
    client, commit = asked.client, _named(hash)
    _tell_rows(asked, lambda: client.classic.children(commit), lambda: client.children(commit))


@click.command()
@asks
def leaves(asked: Asked) -> None:
    """The frontier: commits that nobody has built on, newest first.

    \b
    ah leaves
    ah leaves --json
    """
    client = asked.client
    _tell_rows(asked, client.classic.leaves, client.leaves)


@click.command()
@click.argument("hash")
@asks
def lineage(asked: Asked, hash: str) -> None:
    """A commit and what it came from, itself first.

    \b
    ah lineage 3f2a91c
    """
    client, commit = asked.client, _named(hash)
    _tell_rows(asked, lambda: client.classic.lineage(commit), lambda: client.lineage(commit))


@click.command()
@click.argument("old")
@click.argument("new")
@click.option("--path", default=None, help="One file alone.")
@asks
def diff(asked: Asked, old: str, new: str, path: str | None) -> None:
    """What two commits differ in; cut where it is long, then ask with --path.

    \b
    ah diff 3f2a91c 77ab012
    ah diff 3f2a91c HEAD
    ah diff 3f2a91c 77ab012 --path train.py
    """
    client = asked.client
    old, new = _named(old), _named(new)
    whole = asked.is_classic and path is None
    content = client.classic.diff(old, new) if whole else client.diff(old, new, path)
    text = content.decode("utf-8", "replace")
    if asked.as_json:
        asked.tell({"old": old, "new": new, "diff": text}, ())
    elif sys.stdout.isatty():
        click.echo(clean(text), nl=False)
    else:
        click.echo(content, nl=False)  # as it is, for `git apply`


# ---- inside ------------------------------------------------------------------------------------


def _tell_rows(asked: Asked, classic: Callable[[], list[Json]], other: Callable[[], Json]) -> None:
    rows = classic() if asked.is_classic else _commits(other())
    asked.tell(rows, [_line(row) for row in rows] or ["(none)"])


def _commit(asked: Asked, hash: str) -> Json:
    if asked.is_classic:
        return asked.client.classic.commit(hash)
    found = asked.client.commit(hash).get("commit")
    return found if isinstance(found, dict) else {}


def _commits(answer: Json) -> list[Json]:
    """Commits of any project with the original's names beside the others."""
    return [
        {
            **row,
            "parent_hash": next(iter(as_list(row.get("parents"))), ""),
            "agent_id": row.get("agent", ""),
            "message": text_of(row.get("subject")),
            "created_at": f"{moment(row.get('received'))}Z",
        }
        for row in rows_of(answer, "commits")
    ]


def _log_line(row: Json) -> str:
    who = f"{_agent(row):<12}"
    return f"{short(row.get('hash'))}  {who}  {moment(row.get('created_at'))}  {_subject(row)}"


def _line(row: Json) -> str:
    return f"{short(row.get('hash'))}  {_agent(row)}  {_subject(row)}"


def _agent(row: Json) -> str:
    return line(row.get("agent_id"), 63) or "(seed)"


def _subject(row: Json) -> str:
    return line(row.get("message"))
