"""Import a project that another hub exported; nothing in it is trusted.

Objects meet the checks of a push, text is cleaned, and verdicts are computed here from the numbers.
Its authors become agents `NAME.HUB` without a key.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agenthub.errors import BadInput, Conflict, Missing
from agenthub.git.ingest import NewCommit, check
from agenthub.git.objects import Quarantine
from agenthub.git.repository import Repository
from agenthub.git.subprocesses import Leash
from agenthub.ops.exporting import BUNDLE, read_manifest
from agenthub.records.board import Board, Caps
from agenthub.records.commits import ATTEMPT, FRONTIER, Index
from agenthub.records.hub import Hub, Space
from agenthub.records.projects import Project, Rules
from agenthub.records.results import Draft, Result
from agenthub.validation import check_agent, check_hash, shown

CHANNELS = 1_000  # of a hub, for an import
PATIENT = Leash(seconds=7_200, cpu=7_200, memory=16 << 30, file=1 << 40, output=1 << 40)
LINE = 1 << 20  # bytes
_HUB_ID = 12
_RULES = ("title", "metric", "direction", "noise", "forest", "on_protected", "limits", "tiers")


@dataclass
class Imported:
    """How much was new to this hub, by kind."""

    agents: int = 0
    commits: int = 0
    channels: int = 0
    posts: int = 0
    results: int = 0
    verifications: int = 0


def import_(hub: Hub, source: Path, slug: str) -> Imported:
    """Import an export into a project, created if missing; all of it or nothing.

    Rows imported before, from this or an earlier export of the same project, stay as they are.
    BadInput, or any error of a push, says what is wrong; Conflict for another metric.
    """
    manifest = read_manifest(source)
    theirs, there = _origin(manifest)
    with hub.database.write():
        project = _project(hub, slug, manifest)
        taken = _Import(hub, hub.space(slug), source, theirs, there)
        repository = taken.repository()
        with contextlib.closing(repository), repository.quarantine() as folder:
            held = taken.commits(repository, folder)
            taken.channels()
            taken.posts()
            taken.results()
            taken.verifications()
            counts = {name: value for name, value in vars(taken.done).items() if value}
            hub.audit.append("admin", "import", project.slug, origin=theirs, of=there, **counts)
            if held is not None:
                repository.admit(held)  # last: a failure before it leaves nothing
    return taken.done


def _project(hub: Hub, slug: str, manifest: dict[str, Any]) -> Project:
    """The project to fill; Conflict when it measures something else."""
    try:
        rules = Rules(
            **{name: manifest["rules"][name] for name in _RULES},
            protected=tuple(map(str, manifest["rules"]["protected"])),
        )
        try:
            found = hub.projects.get(slug)
        except Missing:
            return hub.projects.create(slug, rules, str(manifest["root"]))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadInput("The export's manifest has no whole rules. Export it again.") from error
    ours = (found.rules.metric, found.rules.direction)
    if ours != (rules.metric, rules.direction):
        raise Conflict(
            f"Project {slug} measures {ours[0]} ({ours[1]} is better), and the export "
            f"{shown(str(rules.metric))}. Import it into a project of its own."
        )
    return found


def _origin(manifest: dict[str, Any]) -> tuple[str, str]:
    hub, slug = manifest.get("hub"), manifest.get("slug")
    if not (isinstance(hub, str) and len(hub) == _HUB_ID and set(hub) <= set("0123456789abcdef")):
        raise BadInput(f"The manifest's `hub` must be {_HUB_ID} of 0-9 and a-f.")
    if not isinstance(slug, str):
        raise BadInput("The manifest's `slug` must be a text.")
    return hub, slug


class _Import:
    """One running import, inside its one transaction."""

    def __init__(self, hub: Hub, space: Space, source: Path, theirs: str, slug: str) -> None:
        self.done = Imported()
        self._hub = hub
        self._db = hub.database
        self._space = space
        self._project = space.project
        self._source = source
        self._theirs = theirs  # that hub's id
        self._prefix = f"import/{theirs}/{slug}/{space.project.id}"
        self._agents: dict[str, str] = {}  # there -> here

    def repository(self) -> Repository:
        """The project's repository, with limits that suit a whole project."""
        found = self._space.repository
        patient = replace(found.settings, unpacking=PATIENT, reading=PATIENT)
        return Repository(found.folder, found.incoming, patient)

    # ---- commits -------------------------------------------------------------------------------

    def commits(self, repository: Repository, folder: Path) -> Quarantine | None:
        """Record the commits in that hub's order; returns their objects for the caller to admit."""
        lines = {line.text("hash"): line for line in self._lines("commits")}
        bundle = self._source / BUNDLE
        if not lines:
            return None
        index = Index(self._db, self._project.id, "")
        known = index.known(lines)
        held, new = None, {}
        if set(lines) - known:
            held = _unpacked(repository, folder, bundle)
            whole = dict.fromkeys(("objects", "commits", "walked_bytes"), sys.maxsize)
            whole["bundle_bytes"] = bundle.stat().st_size
            # Caps on one push do not bound a whole project; those on one commit do.
            limits = replace(self._hub.limits(self._space), **whole)
            protected = self._hub.protected(self._space)
            heads = _tips(lines)
            found = check(held, heads, repository, index, limits, protected)
            new = {commit.sha: commit for commit in found}
        if new.keys() != set(lines) - known:
            odd = min(new.keys() ^ (set(lines) - known))
            raise BadInput(f"Commit {odd} is only in one of {BUNDLE} and commits.jsonl.", hash=odd)
        self._record([(lines[sha], new[sha]) for sha in lines if sha in new])
        for sha in known:
            if lines[sha].text("role") == FRONTIER:
                agent = self._agent(lines[sha])
                Index(self._db, self._project.id, agent, admin=True).promote(sha)
        self._space.results.settle(list(new))
        for subject in ("agent:hub", f"project:{self._project.id}") if new else ():
            self._hub.quotas.add(subject, bundle.stat().st_size)  # the hub in place of an agent
        self.done.commits = len(new)
        return held

    def _record(self, pairs: Sequence[tuple[JsonLine, NewCommit]]) -> None:
        """Record consecutive commits of one agent and role together."""
        for (agent, role), group in itertools.groupby(pairs, lambda pair: self._by(pair[0])):
            several = list(group)
            index = Index(self._db, self._project.id, agent, role)
            index.record([commit for _, commit in several], lambda: None)
            with self._db.write() as connection:
                query = "UPDATE commits SET received = ? WHERE project = ? AND sha = ?"
                for line, commit in several:
                    when = self._when(line, "received")
                    connection.execute(query, (when, self._project.id, commit.sha))

    def _by(self, line: JsonLine) -> tuple[str, str]:
        role = line.text("role")
        if role not in (FRONTIER, ATTEMPT):
            raise BadInput(f"{line.where}: a role is {FRONTIER} or {ATTEMPT}, not {shown(role)}.")
        return self._agent(line), role

    # ---- posts ---------------------------------------------------------------------------------

    def channels(self) -> None:
        """Create the channels that are missing here."""
        board = self._board()
        there = {channel.name for channel in board.channels()}
        for line in self._lines("channels"):
            if line.text("name") not in there:
                board.create(line.text("name"), line.text("description"), self._agent(line))
                self.done.channels += 1

    def posts(self) -> None:
        """Write the posts that are missing here."""
        board = self._board()
        for line, key in self._unknown("posts"):
            parent = line.take("parent", int, type(None))
            above = None if parent is None else self._ours("posts", parent)
            agent, content = self._agent(line), line.text("content")
            post = board.post(line.text("channel"), agent, content, above)
            with self._db.write() as connection:
                connection.execute("DELETE FROM mentions WHERE post = ?", (post.id,))
                query = "UPDATE posts SET created = ? WHERE id = ?"
                connection.execute(query, (self._when(line), post.id))
            self._remember(key, post.id)
            self.done.posts += 1

    def _board(self) -> Board:
        return Board(self._db, self._project.id, Caps(hub=CHANNELS, agent=CHANNELS))

    # ---- results -------------------------------------------------------------------------------

    def results(self) -> None:
        """Record the results as claims; verifications follow."""
        for line, key in self._unknown("results"):
            result = self._result(line)
            if result is not None:
                with self._db.write() as connection:
                    query = "UPDATE results SET created = ? WHERE seq = ?"
                    connection.execute(query, (self._when(line), result.seq))
                self._remember(key, result.seq)
                self.done.results += 1

    def _result(self, line: JsonLine) -> Result | None:
        """Record one result; None for a posted one whose commit is not in the project."""
        post = line.take("post", int, type(None))
        ours = None if post is None else self._ours("posts", post)
        if ours is not None:
            content = self._space.board.get(ours, whole=True).content
            return self._space.results.from_post(self._agent(line), content, ours)
        if line.take("commit", str, type(None)) is None:
            return None
        return self._space.results.record(self._agent(line), _draft(line))

    def verifications(self) -> None:
        """Record the verifications; none of the verifiers is trusted alone here."""
        for line, key in self._unknown("verifications"):
            result = self._ours("results", line.take("result", int))
            if result is None:
                continue
            values = line.numbers("values")
            ran = {"tree": line.text("tree"), "platform": line.text("platform")}
            self._space.results.verify(result, self._agent(line), **ran, values=values)
            self._remember(key, 0)
            self.done.verifications += 1

    # ---- who and what it is here ---------------------------------------------------------------

    def _agent(self, line: JsonLine) -> str:
        """The agent here for an agent there; created at first sight, without a key."""
        there = check_agent(line.text("agent"))
        if there not in self._agents:
            origin = f"import:{self._theirs}:{there}"
            row = self._db.row("SELECT id FROM agents WHERE origin = ?", origin)
            self._agents[there] = row["id"] if row else self._add_agent(there, origin)
        return self._agents[there]

    def _add_agent(self, there: str, origin: str) -> str:
        base = f"{there[:48]}.{self._theirs[:6]}"
        names = itertools.chain([base], (f"{base}.{number}" for number in itertools.count(2)))
        taken = "SELECT 1 FROM agents WHERE lower(id) = lower(?)"
        name = next(name for name in names if self._db.row(taken, name) is None)
        columns = {"id": name, "created": self._db.now(), "disabled": 1, "origin": origin}
        with self._db.write():
            self._db.insert("agents", **columns)
            self._hub.events.append("agent", name, name)
        self.done.agents += 1
        return name

    def _when(self, line: JsonLine, name: str = "created") -> int:
        """A line's time, at most now."""
        return max(0, min(int(line.take(name, int)), self._db.now()))

    def _unknown(self, kind: str) -> Iterator[tuple[JsonLine, str]]:
        """The lines of a kind that were not imported before, each with its key in `facts`."""
        for line in self._lines(kind):
            key = self._key(kind, line.take("id", int))
            if self._db.row("SELECT 1 FROM facts WHERE key = ?", key) is None:
                yield line, key

    def _ours(self, kind: str, there: int) -> int | None:
        query = "SELECT value FROM facts WHERE key = ?"
        row = self._db.row(query, self._key(kind, there))
        return None if row is None else int(row["value"])

    def _key(self, kind: str, there: int) -> str:
        return f"{self._prefix}/{kind}/{there}"

    def _remember(self, key: str, ours: int) -> None:
        with self._db.write():
            self._db.insert("facts", key=key, value=str(ours))

    def _lines(self, kind: str) -> Iterator[JsonLine]:
        return lines_of(self._source / f"{kind}.jsonl")


# ---- lines of JSON that a stranger wrote -------------------------------------------------------


@dataclass(frozen=True)
class JsonLine:
    """One JSON object, with its file and line."""

    where: str
    values: dict[str, Any]

    def take(self, name: str, *types: type) -> Any:
        """A value of one of these types, else BadInput. A bool is no int."""
        found = self.values.get(name)
        if isinstance(found, types) and not (isinstance(found, bool) and bool not in types):
            return found
        allowed = " or ".join(kind.__name__ for kind in types)
        raise BadInput(f"{self.where}: `{name}` must be {allowed}. Export the project again.")

    def text(self, name: str) -> str:
        """A string, else BadInput."""
        found = self.take(name, str)
        assert isinstance(found, str)
        return found

    def number(self, name: str) -> float | None:
        """A number or None, else BadInput."""
        found = self.values.get(name)
        return None if found is None else self._number(found)

    def numbers(self, name: str) -> list[float]:
        """A list of numbers, else BadInput."""
        return [self._number(value) for value in self.take(name, list)]

    def _number(self, value: Any) -> float:
        with contextlib.suppress(OverflowError):
            if isinstance(value, int | float) and not isinstance(value, bool):
                return float(value)
        raise BadInput(f"{self.where}: a number is needed, not {shown(str(value))}.")


def lines_of(path: Path) -> Iterator[JsonLine]:
    """The lines of a file; BadInput for a line that is no JSON object or is over 1 MiB."""
    with path.open("rb") as file:
        for number, raw in enumerate(iter(lambda: file.readline(LINE + 1), b""), 1):
            where = f"{path.name} line {number}"
            try:
                found = json.loads(raw) if len(raw) <= LINE else None
            except (ValueError, RecursionError):
                found = None
            if not isinstance(found, dict):
                raise BadInput(f"{where} is not one JSON object of at most {LINE:,} bytes.")
            yield JsonLine(where, found)


# ---- inside ------------------------------------------------------------------------------------


def _unpacked(repository: Repository, folder: Path, bundle: Path) -> Quarantine:
    """Unpack a bundle into a quarantine, checked by git."""
    if not bundle.is_file():
        raise BadInput(f"The export has commits and no {BUNDLE}. Export it again.")
    size = bundle.stat().st_size
    with bundle.open("rb") as file:
        while line := file.readline(LINE):
            if line == b"\n":
                break
        start = file.tell()
    with bundle.open("rb", buffering=0) as pack:
        pack.seek(start)
        return repository.unpack(folder, pack, size)


def _tips(lines: dict[str, JsonLine]) -> list[str]:
    """Commits that are no other line's parent: the heads of the export."""
    parents = {str(parent) for line in lines.values() for parent in line.take("parents", list)}
    return [check_hash(sha) for sha in lines if sha not in parents]


def _draft(line: JsonLine) -> Draft:
    texts = ("commit", "platform", "status", "description", "metric")
    given: dict[str, Any] = {name: line.text(name) for name in texts}
    given |= {name: line.number(name) for name in ("value", "memory_gb", "seconds")}
    return Draft(**given, seed=line.take("seed", int, type(None)))
