"""Export a project into a folder that another hub can import.

It has the commits as one git bundle, and posts, results and verifications as lines of JSON. It has
nothing that another hub cannot check: no keys, addresses, audit log or verdicts.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import itertools
import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agenthub.errors import BadInput, Unavailable
from agenthub.git.bundle import write_header
from agenthub.git.repository import Repository
from agenthub.git.subprocesses import Leash, file_of
from agenthub.records.agents import read_pepper
from agenthub.records.checking import tips
from agenthub.records.commits import Commits
from agenthub.records.copies import (
    PEPPER,
    appearing,
    check_empty,
    repository_of,
    snapshot,
    unchanging,
)
from agenthub.records.database import Database
from agenthub.records.projects import Project, Projects

FORMAT = 1
MANIFEST, BUNDLE = "manifest.json", "objects.bundle"
PACKING = Leash(seconds=7_200, cpu=7_200, memory=16 << 30, output=1 << 40)
PAGE = 1_000

# The query for each file; rows are in order of creation.
_QUERIES = {
    "commits": (
        "SELECT seq AS key, sha AS hash, tree, parents, agent, role, received FROM commits "
        "WHERE project = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3"
    ),
    "channels": (
        "SELECT id AS key, name, description, agent, created FROM channels "
        "WHERE project = ?1 AND id > ?2 ORDER BY id LIMIT ?3"
    ),
    "posts": (
        "SELECT p.id AS key, p.id, c.name AS channel, p.agent, p.parent, p.content, p.created "
        "FROM posts p JOIN channels c ON c.id = p.channel "
        "WHERE c.project = ?1 AND p.hidden IS NULL AND p.id > ?2 ORDER BY p.id LIMIT ?3"
    ),
    "results": (
        'SELECT r.seq AS key, r.seq AS id, c.sha AS "commit", r.named, r.agent, r.metric, '
        "r.direction, r.value, r.platform, r.memory_gb, r.status, r.seconds, r.seed, "
        "r.description, r.source, r.post, r.created FROM results r "
        'LEFT JOIN commits c ON c.seq = r."commit" '
        "WHERE r.project = ?1 AND r.seq > ?2 ORDER BY r.seq LIMIT ?3"
    ),
    "verifications": (
        "SELECT v.seq AS key, v.seq AS id, v.result, v.verifier AS agent, v.platform, c.tree, "
        'v."values", v.created FROM verifications v JOIN results r ON r.seq = v.result '
        'JOIN commits c ON c.seq = r."commit" '
        "WHERE r.project = ?1 AND v.seq > ?2 ORDER BY v.seq LIMIT ?3"
    ),
}
KINDS = tuple(_QUERIES)


@dataclass(frozen=True)
class Exported:
    """The outcome of an export."""

    folder: Path
    rows: dict[str, int]  # of each kind
    bytes: int  # of all files


def export(data: Path, slug: str, target: Path) -> Exported:
    """Write a project, as of one moment, into a new or empty folder; the hub may be served.

    Missing when there is no such project, Conflict when the folder has something in it.
    """
    data, target = data.absolute(), target.absolute()
    check_empty(target, "Give a new folder for the export")
    with tempfile.TemporaryDirectory(prefix="agenthub-export-") as name:
        snapshot(data, Path(name) / "hub.db")
        with contextlib.closing(Database(Path(name) / "hub.db")) as database:
            project = Projects(database).get(slug)
            with appearing(target) as folder:
                files = {}
                for kind in KINDS:
                    file = folder / f"{kind}.jsonl"
                    files[file.name] = _write(file, _lines(kind, database, project))
                if project.counts.commits:
                    pack = _bundle(repository_of(data, slug), database, project)
                    files[BUNDLE] = _write(folder / BUNDLE, pack)
                _write(folder / MANIFEST, [_manifest(data, project, files, database.now())])
    rows = {kind: files[f"{kind}.jsonl"]["rows"] for kind in KINDS}
    return Exported(target, rows, sum(file["bytes"] for file in files.values()))


def hub_id(data: Path) -> str:
    """The public id of a hub: 12 hex digits, the same after a restore."""
    if not (data / PEPPER).is_file():  # creating one now would hide that it is lost
        raise Unavailable(f"{data} has no {PEPPER}. Put back the one that was there.")
    digest = hmac.new(read_pepper(data / PEPPER), b"the id of this hub", hashlib.sha256)
    return digest.hexdigest()[:12]


# ---- inside ------------------------------------------------------------------------------------


def _manifest(data: Path, project: Project, files: dict[str, Any], now: int) -> bytes:
    manifest = {
        "format": FORMAT,
        "hub": hub_id(data),
        "slug": project.slug,
        "root": project.root,
        "rules": asdict(project.rules),
        "exported": now,
        "files": files,
    }
    return json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n"


def _lines(kind: str, database: Database, project: Project) -> Iterator[bytes]:
    batches = database.batches(_QUERIES[kind], project.id, size=PAGE)
    for row in itertools.chain.from_iterable(batches):
        values = {name: row[name] for name in row.keys() if name != "key"}  # noqa: SIM118
        if kind == "commits":
            values["parents"] = values["parents"].split()
        if kind == "verifications":
            values["values"] = json.loads(values["values"])
        yield json.dumps(values, sort_keys=True).encode() + b"\n"


def _bundle(folder: Path, database: Database, project: Project) -> Iterator[bytes]:
    """A bundle of all commits of a project; a clone of it checks out the newest leaf."""
    found = tips(database, project.id)
    leaves = Commits(database, project.id).leaves(1)
    first = [(leaves[0].sha, name) for name in ("HEAD", "refs/heads/main") if leaves]
    yield write_header([*first, *((sha, f"refs/leaves/{sha}") for sha in found)])
    repository = Repository(folder, folder.parent)
    words = ("pack-objects", "--revs", "--stdout", "--delta-base-offset", "-q")
    with (
        contextlib.closing(repository),
        unchanging(folder),
        file_of(found) as stdin,
        repository.child(words, PACKING, stdin) as child,
    ):
        yield from child.chunks()
        ended = child.ended()
    if ended.code != 0 or ended.stopped:
        raise Unavailable(
            f"git could not pack the project ({ended.stopped or ended.errors.strip()[:200]}). "
            "Check the hub's folder."
        )


def _write(path: Path, pieces: Iterable[bytes]) -> dict[str, Any]:
    """Write pieces to a file; returns its entry in the manifest."""
    digest, size, count = hashlib.sha256(), 0, 0
    with path.open("xb") as file:
        for piece in pieces:
            file.write(piece)
            digest.update(piece)
            size, count = size + len(piece), count + 1
    entry = {"sha256": digest.hexdigest(), "bytes": size}
    return entry if path.name == BUNDLE else {**entry, "rows": count}


def read_manifest(source: Path) -> dict[str, Any]:
    """Read an export's manifest and check all files against it; BadInput when one differs."""
    try:
        raw = (source / MANIFEST).read_bytes()[: 1 << 20]
        found = json.loads(raw)
    except (OSError, ValueError) as error:
        raise BadInput(f"{source} is no export: its {MANIFEST} cannot be read.") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        seen = found.get("format") if isinstance(found, dict) else None
        raise BadInput(f"The export has format {seen}; this hub reads format {FORMAT}.")
    files = found.get("files")
    needed = {f"{kind}.jsonl" for kind in KINDS}
    if not isinstance(files, dict) or not needed <= set(files) <= needed | {BUNDLE}:
        raise BadInput(f"The manifest must name {', '.join(sorted(needed))} and {BUNDLE}.")
    for name, entry in files.items():
        try:
            with (source / name).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise BadInput(f"The export's {name} cannot be read: {error.strerror}.") from error
        if not isinstance(entry, dict) or entry.get("sha256") != digest:
            raise BadInput(f"The export's {name} is not as its manifest says. Export it again.")
    return found
