"""Check that a hub or a backup is whole: count again what can be counted, verify every object."""

from __future__ import annotations

import contextlib
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from sqlite3 import Row

from agenthub.errors import BadInput, HubError
from agenthub.git.objects import MAX_COMMIT, Quarantine, Reader, parse_commit
from agenthub.git.repository import REPACKING, GitSettings, Repository
from agenthub.git.subprocesses import Leash, file_of
from agenthub.records.audit import Audit
from agenthub.records.commits import Commits
from agenthub.records.copies import PEPPER, PROJECTS, repository_of, snapshot, unchanging
from agenthub.records.database import Database
from agenthub.validation import clean_line

SHOWN = 20  # problems of one kind
PAGE = 1_000
WALKING = Leash(seconds=7_200, cpu=7_200, memory=16 << 30)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    where: str  # files, database, search, audit, bytes, or a project's slug
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


def check(data: Path) -> tuple[Problem, ...]:
    """Everything that is wrong with a hub's folder or a backup; empty when it is whole.

    Reads a copy of the database, changes nothing, and may run while the hub is served.
    """
    data = data.absolute()
    with tempfile.TemporaryDirectory(prefix="agenthub-check-") as name:
        folder = Path(name)
        try:
            snapshot(data, folder / "hub.db")
            database = Database(folder / "hub.db")
        except HubError as error:
            return (Problem("database", error.message),)
        (folder / "objects").mkdir()
        with contextlib.closing(database):
            return tuple(_all_problems(data, database, Quarantine(folder / "objects")))


def tips(database: Database, project: int) -> tuple[str, ...]:
    """Commits that are no other commit's parent, attempts too; oldest first."""
    rows = database.rows(
        "SELECT sha FROM commits c WHERE project = ? AND NOT EXISTS "
        "(SELECT 1 FROM edges WHERE parent = c.seq) ORDER BY seq",
        project,
    )
    return tuple(row["sha"] for row in rows)


def _all_problems(data: Path, database: Database, nothing: Quarantine) -> Iterator[Problem]:
    yield from _problems("files", lambda: _files(data))
    yield from _problems("database", database.faults)
    yield from _problems("search", lambda: _search(database))
    yield from _problems("audit", lambda: _audit(database))
    yield from _problems("bytes", lambda: _bytes(database))
    slugs = {row["slug"]: row["id"] for row in database.rows("SELECT id, slug FROM projects")}
    yield from _problems("files", lambda: _strangers(data, set(slugs)))
    for slug, project in slugs.items():
        yield from _problems(slug, Commits(database, project).faults)
        yield from _problems(slug, partial(_results, database, project))
        try:
            folder = repository_of(data, str(slug))
        except BadInput as error:
            yield Problem("database", error.message)
            continue
        if folder.is_dir():
            checked = _Project(database, project, folder, nothing)
            yield from _problems(slug, checked.objects)
            yield from _problems(slug, checked.commits)
        elif database.number("SELECT count(*) FROM commits WHERE project = ?", project):
            yield Problem(slug, f"its repository {folder} is missing")


def _problems(where: str, find: Callable[[], Iterable[str]]) -> Iterator[Problem]:
    """The problems that one check finds, `SHOWN` at most; its own failure is a problem, too."""
    count = 0
    try:
        for count, message in enumerate(find(), 1):
            if count <= SHOWN:
                yield Problem(where, clean_line(message, 500))
    except HubError as error:
        yield Problem(where, error.message)
    if count > SHOWN:
        yield Problem(where, f"and {count - SHOWN:,} more like these")


# ---- the database ------------------------------------------------------------------------------


def _files(data: Path) -> Iterator[str]:
    pepper = data / PEPPER
    if not pepper.is_file():
        yield "the pepper is missing: without it no key is known"
    elif pepper.stat().st_size != 32:
        yield f"the pepper has {pepper.stat().st_size} bytes, not 32: no key is known"
    for path in (data, data / "hub.db", pepper):
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield f"others may read {path}: chmod go= {path}"


def _strangers(data: Path, slugs: set[str]) -> Iterator[str]:
    folder = data / PROJECTS
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name not in slugs and any(path.glob("repo.git/objects/pack/*.idx")):
            yield f"{path} belongs to no project"


def _search(database: Database) -> tuple[str, ...]:
    with database.write() as connection:  # of the copy; raises when the index is wrong
        connection.execute("INSERT INTO posts_text(posts_text, rank) VALUES ('integrity-check', 1)")
    return ()


def _audit(database: Database) -> Iterator[str]:
    verdict = Audit(database).verify()
    if verdict.broken is not None:
        yield f"row {verdict.broken} of the audit log is not as it was written, or is gone"


def _bytes(database: Database) -> Iterator[str]:
    """The bytes of each push count for its agent and for its project, so the sums are equal."""
    query = "SELECT sum(bytes) FROM stored WHERE subject GLOB ?"
    agents, projects = database.number(query, "agent:*"), database.number(query, "project:*")
    if agents != projects:
        yield f"agents are counted {agents:,} stored bytes, projects {projects:,}"


def unsettled(database: Database, project: int) -> list[Row]:
    """Results without a commit although the named one is there: rows of `seq`, `named`, `sha`."""
    return database.rows(
        "SELECT r.seq, r.named, min(c.sha) AS sha FROM results r JOIN commits c "
        "ON c.project = r.project AND c.sha >= r.named AND c.sha < r.named || 'g' "
        'WHERE r.project = ? AND r."commit" IS NULL GROUP BY r.seq HAVING count(*) = 1',
        project,
    )


def _results(database: Database, project: int) -> Iterator[str]:
    for row in unsettled(database, project):
        yield (
            f"result {row['seq']} names {row['named']}, which is here, and has no commit: serve "
            "the hub once to link them"
        )


# ---- a project ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Project:
    """Compares a project's rows with its repository."""

    database: Database
    project: int
    folder: Path
    nothing: Quarantine

    def objects(self) -> Iterator[str]:
        """What git finds wrong: damaged objects, and missing ones that a commit needs."""
        repository = self._repository()
        with contextlib.closing(repository), unchanging(self.folder):
            yield from repository.check().splitlines()
            found = tips(self.database, self.project)
            kinds = zip(found, repository.info(found), strict=True)
            there = [sha for sha, info in kinds if info is not None and info.kind == "commit"]
            yield from unconnected(repository, there)

    def commits(self) -> Iterator[str]:
        """Commits whose object is missing or not as in the index, or whose edges are wrong."""
        repository = self._repository()
        with contextlib.closing(repository), repository.reader(self.nothing) as reader:
            query = "SELECT seq, sha, tree, parents FROM commits WHERE project = ? AND seq > ? "
            query += "ORDER BY seq LIMIT ?"
            for rows in self.database.batches(query, self.project, size=PAGE):
                edges = self._edges(rows)
                for row in rows:
                    parents = list(dict.fromkeys(row["parents"].split()))
                    if edges.get(row["seq"], []) != parents:
                        yield f"the edges of commit {row['sha']} are not its parents"
                yield from _unlike(reader, rows)

    def _edges(self, rows: list[Row]) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        query = (
            "SELECT e.child, p.sha FROM edges e JOIN commits p ON p.seq = e.parent "
            "WHERE e.child BETWEEN ? AND ? ORDER BY e.child, e.idx"
        )
        for child, sha in self.database.rows(query, rows[0]["seq"], rows[-1]["seq"]):
            found.setdefault(child, []).append(sha)
        return found

    def _repository(self) -> Repository:
        settings = GitSettings(reading=WALKING, sending=WALKING)
        return Repository(self.folder, self.folder.parent, settings)


def unconnected(repository: Repository, commits: Iterable[str]) -> Iterator[str]:
    """The first object that some commits need and the repository lacks, in git's words."""
    words = ("rev-list", "--objects", "--quiet", "--stdin")
    with file_of(commits) as stdin, repository.child(words, REPACKING, stdin) as child:
        for _ in child.chunks():
            pass
        ended = child.ended()
    if ended.code != 0 or ended.stopped:
        yield f"not all objects are there: {ended.errors or ended.stopped or ended.code}"


def _unlike(reader: Reader, rows: list[Row]) -> Iterator[str]:
    infos = reader.info([row["sha"] for row in rows])
    there = []
    for row, info in zip(rows, infos, strict=True):
        if info is None or info.kind != "commit":
            what = "is not in the repository" if info is None else f"is a {info.kind}"
            yield f"commit {row['sha']} {what}"
        else:
            there.append(row)
    contents = reader.read_all([row["sha"] for row in there], "commit", MAX_COMMIT)
    for row, raw in zip(there, contents, strict=True):
        commit = parse_commit(raw)
        if (commit.tree, " ".join(commit.parents)) != (row["tree"], row["parents"]):
            yield f"commit {row['sha']} has another tree, or other parents, than the index says"
