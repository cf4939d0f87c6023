"""Projects: each has a history, a metric and rules of its own."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from sqlite3 import Row

from agenthub.errors import BadInput, Conflict, Forbidden, Missing
from agenthub.records.audit import Audit
from agenthub.records.database import Database, noun
from agenthub.records.events import Events, capped
from agenthub.validation import check_hash, check_project, clean_line, shown

DEFAULT = "main"  # the project of the original's routes
DIRECTIONS = ("lower", "higher")
ON_PROTECTED = ("refuse", "flag")
_METRIC = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True)
class Rules:
    """The rules of a project; an admin may change them."""

    title: str = ""
    metric: str = "val_bpb"
    direction: str = "lower"  # which values are better
    noise: float = 0.0  # how far two runs of one tree may differ; 0: estimated from runs
    forest: bool = False  # whether there may be other roots
    protected: tuple[str, ...] = ()  # paths that no commit may change
    on_protected: str = "refuse"
    limits: Mapping[str, float] = field(default_factory=dict)  # of a push, over the hub's own
    tiers: Mapping[str, str] = field(default_factory=dict)  # platform, lower case -> tier


@dataclass(frozen=True)
class Counts:
    """How many commits there are, by the counters in the database."""

    commits: int  # frontier and attempts
    attempts: int
    leaves: int


@dataclass(frozen=True)
class Project:
    """One search on the hub."""

    id: int
    slug: str
    root: str  # the canonical first commit; empty until it was pushed
    rules: Rules
    created: int
    counts: Counts


class Projects:
    """All projects of a hub."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._audit = Audit(database)
        self._events = Events(database)

    def default(self) -> Project:
        """The default project, created if missing: a forest, like the original's."""
        if self._row(DEFAULT) is None:
            with self._db.write():
                if self._row(DEFAULT) is None:
                    rules = Rules(title="The default project", forest=True)
                    return self.create(DEFAULT, rules, actor="hub")
        return self.get(DEFAULT)

    def create(self, slug: str, rules: Rules, root: str = "", actor: str = "admin") -> Project:
        """Create a project; without `root`, the first pushed commit without parents is its root."""
        check_project(slug)
        if root:
            check_hash(root)
        columns = {**_columns(rules), "slug": slug, "root": root, "created": self._db.now()}
        with self._db.write():
            if self._row(slug) is not None:
                raise Conflict(f"There is a project {slug} already. Choose another name.")
            row = self._db.insert("projects", **columns)
            self._audit.append(actor, "project", slug, root=root)
            self._events.append("project", slug, actor, row["id"])
            return _project(row)

    def change(self, slug: str, rules: Rules, actor: str = "admin") -> Project:
        """Change the rules; Conflict for another metric or direction once there are results."""
        with self._db.write() as connection:
            found = self.get(slug)
            ruler = (rules.metric, rules.direction) == (found.rules.metric, found.rules.direction)
            query = "SELECT 1 FROM results WHERE project = ? LIMIT 1"
            if not ruler and self._db.row(query, found.id):
                raise Conflict(
                    f"{slug} has results in {found.rules.metric} ({found.rules.direction} is "
                    "better), which another metric would put in a wrong order. Make a new project."
                )
            columns = _columns(rules)
            names = ", ".join(f"{name} = ?" for name in columns)
            values = (*columns.values(), found.id)
            connection.execute(f"UPDATE projects SET {names} WHERE id = ?", values)
            self._audit.append(actor, "rules", slug, **columns)
            self._events.append("project", slug, actor, found.id)
            return self.get(slug)

    def get(self, slug: str) -> Project:
        """One project; Missing when there is none."""
        row = self._row(slug)
        if row is None:
            raise Missing(f"There is no project {shown(slug)} on this hub.")
        return _project(row)

    def by_id(self, project: int) -> Project:
        """One project by its number."""
        row = self._db.row("SELECT * FROM projects WHERE id = ?", project)
        if row is None:
            raise Missing(f"There is no project number {project} on this hub.")
        return _project(row)

    def page(self, after: int = 0, limit: int = 50) -> tuple[Project, ...]:
        """Projects after an id, in order of creation."""
        query = "SELECT * FROM projects WHERE id > ? ORDER BY id LIMIT ?"
        return tuple(_project(row) for row in self._db.rows(query, after, capped(limit)))

    def admit_root(self, project: int, sha: str) -> None:
        """Accept a commit without parents, inside the transaction that records it; or Forbidden."""
        with self._db.write() as connection:
            row = self._db.row("SELECT slug, root, forest FROM projects WHERE id = ?", project)
            assert row is not None, "a project is never removed"
            if not row["root"]:
                connection.execute("UPDATE projects SET root = ? WHERE id = ?", (sha, project))
            elif sha != row["root"] and not row["forest"]:
                raise Forbidden(
                    f"{sha} has no parents, and project {row['slug']} keeps one history, which "
                    f"begins at {row['root']}. Fetch that commit and build on it.",
                    root=row["root"],
                )

    def _row(self, slug: str) -> Row | None:
        return self._db.row("SELECT * FROM projects WHERE slug = ?", slug)


def _columns(rules: Rules) -> dict[str, str | float | int]:
    _check(rules)
    return {
        "title": clean_line(rules.title, 100),
        "metric": rules.metric,
        "direction": rules.direction,
        "noise": float(rules.noise),
        "forest": int(rules.forest),
        "protected": json.dumps(sorted(set(rules.protected))),
        "on_protected": rules.on_protected,
        "limits": json.dumps(dict(rules.limits), sort_keys=True),
        "tiers": json.dumps({k.lower(): v for k, v in rules.tiers.items()}, sort_keys=True),
    }


def _check(rules: Rules) -> None:
    if not _METRIC.fullmatch(rules.metric):
        raise BadInput(f"{shown(rules.metric)} is not a metric's name: letters, digits, `_.-`.")
    if rules.direction not in DIRECTIONS:
        raise BadInput(f"A direction is lower or higher, not {shown(rules.direction)}.")
    if rules.on_protected not in ON_PROTECTED:
        raise BadInput(f"on_protected is refuse or flag, not {shown(rules.on_protected)}.")
    if not math.isfinite(rules.noise) or rules.noise < 0:
        raise BadInput(f"Noise is a number from 0 up, not {rules.noise}.")
    for path in rules.protected:
        parts = path.split("/")
        if not path or len(path) > 255 or not path.isprintable() or {"", ".", ".."} & {*parts}:
            raise BadInput(f"{shown(path)} is not a path in the project: like `lab/prepare.py`.")
    for name, limit in rules.limits.items():
        if not math.isfinite(limit) or limit < 0:
            raise BadInput(f"The limit {shown(name)} is a number from 0 up, not {limit}.")


def _project(row: Row) -> Project:
    texts = {name: json.loads(row[name]) for name in ("protected", "limits", "tiers")}
    texts |= {"protected": tuple(texts["protected"]), "forest": bool(row["forest"])}
    return noun(Project, row, rules=noun(Rules, row, **texts), counts=noun(Counts, row))
