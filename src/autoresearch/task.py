"""task.toml, the contract of a lab, read strictly: an unknown key is an error, never ignored."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, cast, get_args

from autoresearch.errors import TaskError
from autoresearch.executors import Limits
from autoresearch.metric import Direction, Metric, readable
from autoresearch.names import nearest

FILE = "task.toml"
PROGRAM = "program.md"  # the person's instructions: neither editable by a candidate nor fixed
SOURCES = ("log",)  # who may produce the number
FREE_DISK = 2 * 2**30  # bytes that must be free before an attempt
GIB = 2**30
Policy = Literal["auto", "required", "off"]


@dataclass(frozen=True)
class Budget:
    """What one attempt may spend."""

    timeout: float  # wall-clock seconds of the whole attempt, then it is killed
    seconds: float | None = None  # of training, handed to the command as AUTORESEARCH_BUDGET


@dataclass(frozen=True)
class Checks:
    """A command that must exit 0 before a candidate can be kept."""

    command: str
    timeout: float = 120.0


@dataclass(frozen=True)
class Bound:
    """A second number: recorded and shown; outside its limits a candidate cannot be kept."""

    name: str
    min: float | None = None
    max: float | None = None

    def problem(self, value: float | None) -> str | None:
        """Why a value is out of bounds, or None; a number that was not printed is not judged."""
        if value is None:
            return None
        if not math.isfinite(value):
            return f"{self.name} is {value}, not a finite number"
        if self.min is not None and value < self.min:
            return f"{self.name} is {value:g}, below its minimum {self.min:g}"
        if self.max is not None and value > self.max:
            return f"{self.name} is {value:g}, above its maximum {self.max:g}"
        return None


@dataclass(frozen=True)
class Access:
    """What a candidate may use of the machine, beside its own folder and the system's programs."""

    readable: tuple[Path, ...] = ()  # absolute
    network: bool = False
    gpu: bool = False


@dataclass(frozen=True)
class Task:
    """What task.toml says."""

    name: str
    folder: Path  # the lab
    command: str
    editable: tuple[str, ...]  # paths from the lab, regular files
    metric: Metric
    budget: Budget
    prepare: str | None = None
    source: str = "log"
    checks: Checks | None = None
    secondary: tuple[Bound, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)  # added to every command's environment
    limits: Limits = field(default_factory=Limits)
    access: Access = field(default_factory=Access)
    free_disk: int = FREE_DISK  # bytes; below it no attempt is started
    sandbox: Policy = "auto"

    @classmethod
    def load(cls, folder: Path) -> Task:
        """Read a lab's task.toml; TaskError names the key, what was seen and what is allowed."""
        path = folder / FILE
        try:
            table = Table(tomllib.loads(path.read_text(encoding="utf-8-sig")), path)
        except FileNotFoundError as error:
            raise TaskError(
                f"No {FILE} in {folder}. Go to a lab's folder, or make one: "
                "autoresearch init my-lab (see autoresearch init --help)."
            ) from error
        except OSError as error:
            raise TaskError(f"{path} cannot be read: {error.strerror}.") from error
        except (ValueError, RecursionError) as error:  # also of bytes that are no text
            raise TaskError(f"{path} is not valid TOML: {error}.") from error
        return _task(table, folder)

    @property
    def program(self) -> str:
        """The person's instructions, as they stand now; empty when there are none."""
        path = self.folder / PROGRAM
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


class Table:
    """One TOML table: each key is taken once, with its type; a key left over is an error."""

    def __init__(self, values: Mapping[str, Any], path: Path, prefix: str = "") -> None:
        self._values = dict(values)
        self._known: list[str] = []
        self.path = path
        self.prefix = prefix

    def text(self, key: str, default: str | None = None, *, required: bool = False) -> str | None:
        """A non-empty string."""
        value = self._take(key, default, required)
        if value is None or (isinstance(value, str) and value.strip() and "\0" not in value):
            return value
        raise self.error(key, value, 'a non-empty string, no NUL in it, such as "python train.py"')

    def number(
        self, key: str, default: float | None = None, *, positive: bool = False
    ) -> float | None:
        """A number; bool is not one."""
        value = self._take(key, default, required=False)
        if value is None:
            return None
        number = _float(value)
        if number is None:
            raise self.error(key, value, "a number")
        if positive and not 0 < number < math.inf:
            raise self.error(key, value, "a number above 0")
        return number

    def choice(self, key: str, allowed: Sequence[str], default: str) -> str:
        """One of a few words."""
        value = self._take(key, default, required=False)
        if value in allowed:
            return str(value)
        words = " or ".join(f'"{word}"' for word in allowed)
        raise self.error(key, value, words + nearest(str(value), allowed))

    def flag(self, key: str) -> bool:
        """true or false; false when it is not there."""
        value = self._take(key, False, required=False)
        if not isinstance(value, bool):
            raise self.error(key, value, "true or false")
        return value

    def texts(self, key: str, *, required: bool = True) -> tuple[str, ...]:
        """A list of strings; not an empty one, where one is required."""
        value = self._take(key, None, required)
        if value is None:
            return ()
        good = isinstance(value, list) and value and all(isinstance(v, str) and v for v in value)
        if not good:
            raise self.error(key, value, 'a list of file names, such as ["train.py"]')
        return tuple(value)

    def pair(self, key: str) -> tuple[float, float] | None:
        """Two numbers, the smaller first."""
        value = self._take(key, None, required=False)
        if value is None:
            return None
        two = value if isinstance(value, list) and len(value) == 2 else (None, None)
        low, high = map(_float, two)
        if low is None or high is None or not low < high:
            raise self.error(key, value, "two numbers, the smaller first, such as [0.1, 20.0]")
        return low, high

    def table(self, key: str, *, required: bool = False) -> Table | None:
        """A sub-table."""
        value = self._take(key, None, required)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.error(key, value, f"a table: [{self.prefix}{key}]")
        return Table(value, self.path, f"{self.prefix}{key}.")

    def tables(self) -> list[tuple[str, Table]]:
        """All that is left, each a sub-table named freely."""
        names = list(self._values)
        return [(name, table) for name in names if (table := self.table(name)) is not None]

    def variables(self) -> dict[str, str]:
        """All that is left, as environment variables."""
        for key, value in self._values.items():
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
                raise self.error(key, key, "a variable's name, such as OMP_NUM_THREADS")
            if not isinstance(value, str) or "\0" in value:
                raise self.error(key, value, 'a string, no NUL in it, such as "2"')
        return dict(self._values)

    def finish(self) -> None:
        """No key may be left over."""
        for key in self._values:
            known = ", ".join(self._known)
            raise TaskError(
                f"{self.path}: unknown key {self.prefix}{key}{nearest(key, self._known)}. "
                f"Allowed here: {known}."
            )

    def error(self, key: str, seen: object, allowed: str) -> TaskError:
        """The one form that all complaints about a value have."""
        return TaskError(f"{self.path}: {self.prefix}{key} is {seen!r}; allowed is {allowed}.")

    def _take(self, key: str, default: Any, required: bool) -> Any:
        self._known.append(key)
        if required and key not in self._values:
            raise TaskError(f"{self.path}: {self.prefix}{key} is missing, and a task needs it.")
        return self._values.pop(key, default)


def _float(value: object) -> float | None:
    """A TOML number as a float; None for all else: bool, NaN, an int beyond floats."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return None if math.isnan(value) else float(value)
    except OverflowError:
        return None


def _task(table: Table, folder: Path) -> Task:
    name = table.text("name", folder.resolve().name)
    command = table.text("command", required=True)
    editable = table.texts("editable")
    prepare = table.text("prepare")
    metric, source = _metric(table.table("metric", required=True))
    budget = _budget(table.table("budget"))
    checks = _checks(table.table("checks"))
    secondary = _secondary(table.table("secondary"))
    policy = cast(Policy, table.choice("sandbox", get_args(Policy), "auto"))
    limits, free_disk = _limits(table.table("limits"))
    access = _access(table.table("access"))
    variables = table.table("env")
    env = variables.variables() if variables else {}
    table.finish()
    assert name and command
    _check_editable(table, folder, editable)
    return Task(
        name,
        folder,
        command,
        editable,
        metric,
        budget,
        prepare,
        source,
        checks,
        secondary,
        env,
        limits,
        access,
        free_disk,
        policy,
    )


def _metric(table: Table | None) -> tuple[Metric, str]:
    assert table is not None
    name = table.text("name", required=True)
    direction = table.choice("direction", get_args(Direction), "minimize")
    source = table.choice("source", SOURCES, "log")
    allowed = table.pair("range")
    table.finish()
    assert name
    _check_readable(table, "name", name)
    return Metric(name, "maximize" if direction == "maximize" else "minimize", allowed), source


def _budget(table: Table | None) -> Budget:
    if table is None:
        return Budget(timeout=600.0)
    seconds = table.number("seconds", positive=True)
    timeout = table.number("timeout", 2 * seconds + 60 if seconds else 600.0, positive=True)
    table.finish()
    assert timeout is not None
    if seconds is not None and timeout <= seconds:
        raise table.error("timeout", timeout, f"more than budget.seconds, which is {seconds:g}")
    return Budget(timeout, seconds)


def _checks(table: Table | None) -> Checks | None:
    if table is None:
        return None
    command = table.text("command", required=True)
    timeout = table.number("timeout", 120.0, positive=True)
    table.finish()
    assert command and timeout
    return Checks(command, timeout)


def _secondary(table: Table | None) -> tuple[Bound, ...]:
    bounds = []
    for name, inner in table.tables() if table else ():
        low, high = inner.number("min"), inner.number("max")
        inner.finish()
        _check_readable(table, name, name)
        if low is not None and high is not None and low > high:
            raise inner.error("min", low, f"at most the max, which is {high:g}")
        bounds.append(Bound(name, low, high))
    return tuple(bounds)


def _limits(table: Table | None) -> tuple[Limits, int]:
    """What an attempt may take; sizes are given in GiB and kept in bytes."""
    if table is None:
        return Limits(), FREE_DISK
    memory, file, disk, free = (
        table.number(key, positive=True)
        for key in ("memory_gb", "file_gb", "disk_gb", "free_disk_gb")
    )
    processes = table.number("processes", positive=True)
    open_files = table.number("open_files", positive=True)
    table.finish()
    limits = Limits(
        _bytes(memory), _whole(processes), _bytes(file), _bytes(disk), _whole(open_files)
    )
    return limits, FREE_DISK if free is None else int(free * GIB)


def _bytes(gib: float | None) -> int | None:
    return None if gib is None else int(gib * GIB)


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _access(table: Table | None) -> Access:
    if table is None:
        return Access()
    readable = tuple(Path(name).expanduser() for name in table.texts("readable", required=False))
    for path in readable:
        if not path.is_absolute():
            raise table.error("readable", str(path), "absolute paths, or such as ~/data")
    network, gpu = table.flag("network"), table.flag("gpu")
    table.finish()
    return Access(readable, network, gpu)


def _check_readable(table: Table | None, key: str, name: str) -> None:
    if table is not None and not readable(name):
        raise table.error(key, name, "a name that a log line can begin with, such as val_bpb")


def _check_editable(table: Table, folder: Path, editable: tuple[str, ...]) -> None:
    """Every editable file is a regular file inside the lab, and not part of the contract."""
    for name in editable:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or name != str(path) or "\0" in name:
            raise table.error("editable", name, "a path inside the lab, such as train.py")
        if name in (FILE, PROGRAM):
            raise table.error("editable", name, f"any file but {FILE} and {PROGRAM}")
        if any((folder / part).is_symlink() for part in (path, *path.parents[:-1])):
            raise table.error("editable", name, "a regular file, not a link")
        if not (folder / path).is_file():
            raise TaskError(
                f"{table.path}: editable names {name}, and there is no such file in {folder}. "
                "Create and commit it, or correct the name."
            )
