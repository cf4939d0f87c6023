"""Reads task.toml, which declares a lab. An unknown key is an error, never ignored."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, cast, get_args

from autoresearch.errors import TaskError
from autoresearch.executors import JobLimits
from autoresearch.files import not_utf8
from autoresearch.lab.metric import Direction, Metric, Scale, readable
from autoresearch.toml_table import Table

FILE = "task.toml"
PROGRAM = "program.md"  # the person's instructions: neither editable by a proposer nor fixed
SKILL = "skills/autoresearch/SKILL.md"
# Files that coding agents read by themselves; like program.md neither editable nor fixed.
FOR_AGENTS = ("AGENTS.md", "CLAUDE.md", "GEMINI.md", f".agents/{SKILL}", f".claude/{SKILL}")
SOURCES = ("log", "score", "judge")  # where the metric's number comes from
FREE_DISK = 2 * 2**30  # bytes that must be free before a run
GIB = 2**30
Policy = Literal["auto", "required", "off"]
Noisy = Literal["seed", "timing", "none"]  # what makes two runs of the same code differ
RULE = 2  # the newest version of the keep rule, with which new studies begin


@dataclass(frozen=True)
class Budget:
    """Time limits of one run."""

    timeout: float  # wall-clock seconds of the whole run, after which it is killed
    seconds: float | None = None  # of training; passed to the command as AUTORESEARCH_BUDGET


@dataclass(frozen=True)
class Checks:
    """A command that must exit 0 before a candidate can be kept."""

    command: str
    timeout: float = 120.0


@dataclass(frozen=True)
class Judge:
    """A command, run from the lab's own files beside each run, which alone knows its score."""

    command: str


@dataclass(frozen=True)
class Score:
    """A command, run from the lab's own files after each run, which scores the run's artefacts."""

    command: str
    artefacts: tuple[str, ...]  # files that a run must leave, relative to the lab's folder
    timeout: float = 120.0
    readable: tuple[Path, ...] = ()  # absolute; hidden from runs
    max_bytes: int = GIB  # size of one artefact


@dataclass(frozen=True)
class Bound:
    """A second number, recorded and shown; a candidate outside its limits cannot be kept."""

    name: str
    min: float | None = None
    max: float | None = None

    @property
    def is_guard(self) -> bool:
        """Whether it has a limit; without one the number is only recorded."""
        return self.min is not None or self.max is not None

    @property
    def allowed(self) -> str:
        """Its limits in words."""
        limits = (("at least", self.min), ("at most", self.max))
        return "allowed is " + " and ".join(f"{w} {v:g}" for w, v in limits if v is not None)

    def problem(self, value: float) -> str | None:
        """Why a value is out of bounds, or None."""
        if not math.isfinite(value):
            return f"{self.name} is {value}, not a finite number"
        if self.min is not None and value < self.min:
            return f"{self.name} is {value:g}, below its minimum {self.min:g}"
        if self.max is not None and value > self.max:
            return f"{self.name} is {value:g}, above its maximum {self.max:g}"
        return None


@dataclass(frozen=True)
class Keep:
    """When a candidate is kept; docs/honest-keeps.md explains the settings."""

    strategy: str = "confirm"
    confidence: float = 0.99  # 1 - this: chance that a trial without a gain is kept, at most
    min_delta: float = 0.0  # a keep must gain more than this, in the metric's unit
    noise: Noisy = "seed"
    runs: int = 4  # of the baseline, before the first trial, to measure the noise
    steps: int = 5  # that are confirmed together; 1: each alone
    rule: int | None = None  # its version; None: the study's own, or the newest for a new study

    @property
    def settings(self) -> str:
        """All settings but strategy and version, as the line that a study records."""
        return (
            f"confidence {self.confidence:.15g}, min_delta {self.min_delta:.15g}, "
            f"noise {self.noise}, runs {self.runs}, steps {self.steps}"
        )

    @classmethod
    def of(cls, settings: str) -> Keep:
        """The settings of such a line; those that it does not name have their defaults."""
        named = dict(part.split(" ", 1) for part in settings.split(", ") if " " in part)
        kinds = {"confidence": float, "min_delta": float, "noise": str, "runs": int, "steps": int}
        return cls(**{name: kinds[name](text) for name, text in named.items() if name in kinds})


@dataclass(frozen=True)
class Alarms:
    """When a person is warned; 0 switches a setting off."""

    same_crashes: int = 0  # crashes alike in a row after which the study pauses
    no_keep: int = 50  # experiments without a keep after which an alarm is shown


@dataclass(frozen=True)
class Access:
    """What a run may use of the machine, besides its folder and the system's programs."""

    readable: tuple[Path, ...] = ()  # absolute
    network: bool = False
    gpu: bool = False


@dataclass(frozen=True)
class Task:
    """The content of a lab's task.toml."""

    name: str
    folder: Path  # the lab
    command: str
    editable: tuple[str, ...]  # relative to the lab; regular files
    metric: Metric
    budget: Budget
    prepare: str | None = None
    source: str = "log"
    judge: Judge | None = None  # where source is "judge"
    score: Score | None = None  # where source is "score"
    keep: Keep = field(default_factory=Keep)
    checks: Checks | None = None
    secondary: tuple[Bound, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)  # added to every command's environment
    limits: JobLimits = field(default_factory=JobLimits)
    access: Access = field(default_factory=Access)
    free_disk: int = FREE_DISK  # bytes; with less free no run is started
    canary_off: str = ""  # why failing code may change nothing; else a study's start checks it
    sandbox: Policy = "auto"
    agents: Mapping[str, Any] = field(default_factory=dict)  # the tables [agent.NAME], unchecked
    alarms: Alarms = field(default_factory=Alarms)

    @classmethod
    def load(cls, folder: Path) -> Task:
        """Read a lab's task.toml; TaskError names the key, its value and what is allowed."""
        path = folder / FILE
        try:
            text = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError as error:
            raise TaskError(
                f"No {FILE} in {folder}. Go to a lab's folder, or make one: "
                "autoresearch init my-lab (see autoresearch init --help)."
            ) from error
        except OSError as error:
            raise TaskError(f"{path} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise TaskError(f"{not_utf8(path, error)}.") from error
        return cls.parse(text, path)

    @classmethod
    def parse(cls, text: str, path: Path) -> Task:
        """The task that a text declares; `path` is its file, in the lab's folder."""
        try:
            table = Table(tomllib.loads(text), path)
        except (ValueError, RecursionError) as error:
            raise TaskError(f"{path} is not valid TOML: {error}.") from error
        return _task(table, path.parent)

    @property
    def guards(self) -> tuple[Bound, ...]:
        """The secondary numbers that have a limit."""
        return tuple(bound for bound in self.secondary if bound.is_guard)

    @property
    def program(self) -> str:
        """The current text of program.md; empty when there is none. TaskError if it is no text."""
        path = self.folder / PROGRAM
        try:
            return path.read_text(encoding="utf-8-sig") if path.is_file() else ""
        except UnicodeDecodeError as error:
            raise TaskError(f"{not_utf8(path, error)}.") from error


def _task(table: Table, folder: Path) -> Task:
    name = table.text("name", folder.resolve().name)
    command = table.text("command", required=True)
    editable = table.texts("editable")
    prepare = table.text("prepare")
    metric, source = _metric(table.table("metric", required=True))
    judge = _judge(table.table("judge", required=source == "judge"))
    score = _score(table.table("score", required=source == "score"))
    budget = _budget(table.table("budget"))
    keep = _keep(table.table("keep"))
    checks = _checks(table.table("checks"))
    secondary = _secondary(table.table("secondary"))
    policy = cast(Policy, table.choice("sandbox", get_args(Policy), "auto"))
    limits, free_disk = _limits(table.table("limits"))
    access = _access(table.table("access"))
    variables = table.table("env")
    env = variables.variables() if variables else {}
    canary_off = _canary(table.table("canary"))
    agents = table.table("agent")
    alarms = _alarms(table.table("alarms"))
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
        judge,
        score,
        keep,
        checks,
        secondary,
        env,
        limits,
        access,
        free_disk,
        canary_off,
        policy,
        agents.anything() if agents else {},
        alarms,
    )


def _metric(table: Table | None) -> tuple[Metric, str]:
    assert table is not None
    name = table.text("name", required=True)
    direction = table.choice("direction", get_args(Direction), "minimize")
    source = table.choice("source", SOURCES, "log")
    allowed = table.pair("range")
    scale = cast(Scale, table.choice("scale", get_args(Scale), "linear"))
    table.finish()
    assert name
    _check_readable(table, "name", name)
    if scale == "log" and allowed and allowed[1] <= 0:
        raise table.error("range", list(allowed), 'numbers above 0, since metric.scale is "log"')
    return Metric(name, cast(Direction, direction), allowed, scale), source


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


def _judge(table: Table | None) -> Judge | None:
    if table is None:
        return None
    command = table.text("command", required=True)
    table.finish()
    assert command
    return Judge(command)


def _score(table: Table | None) -> Score | None:
    if table is None:
        return None
    command = table.text("command", required=True)
    artefacts = table.texts("artefacts", required=False)
    for name in artefacts:
        if not _is_inside(name):
            raise table.error("artefacts", name, "a path inside the lab, such as model.npz")
    timeout = table.number("timeout", 120.0, positive=True)
    size = table.number("max_gb", 1.0, positive=True)
    readable = _absolute(table)
    table.finish()
    assert command and timeout and size
    return Score(command, artefacts, timeout, readable, int(size * GIB))


def _keep(table: Table | None) -> Keep:
    if table is None:
        return Keep()
    strategy = table.text("strategy", "confirm")
    confidence = table.number("confidence", 0.99)
    min_delta = table.number("min_delta", 0.0)
    noise = cast(Noisy, table.choice("noise", get_args(Noisy), "seed"))
    runs, steps = table.whole("runs", 4, (2, 50)), table.whole("steps", 5, (1, 50))
    rule = table.whole("rule", 0, (0, RULE))
    table.finish()
    assert strategy and confidence is not None and min_delta is not None
    if not 0.5 <= confidence < 1:
        raise table.error("confidence", confidence, "0.5 to less than 1, such as 0.99")
    if not 0 <= min_delta < math.inf:
        raise table.error("min_delta", min_delta, "0, or a gain that is worth having")
    return Keep(strategy, confidence, min_delta, noise, runs, steps, rule or None)


def _alarms(table: Table | None) -> Alarms:
    if table is None:
        return Alarms()
    most = 10_000
    same_crashes = table.whole("same_crashes", 0, (0, most))
    no_keep = table.whole("no_keep", Alarms.no_keep, (0, most))
    table.finish()
    return Alarms(same_crashes, no_keep)


def _checks(table: Table | None) -> Checks | None:
    if table is None:
        return None
    command = table.text("command", required=True)
    timeout = table.number("timeout", 120.0, positive=True)
    table.finish()
    assert command and timeout
    return Checks(command, timeout)


def _canary(table: Table | None) -> str:
    if table is None:
        return ""
    reason = table.text("off", required=True)
    table.finish()
    assert reason
    return reason


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


def _limits(table: Table | None) -> tuple[JobLimits, int]:
    """The limits of a run, and the disk space to keep free; GiB in the file, bytes here."""
    if table is None:
        return JobLimits(), FREE_DISK
    memory, file, disk, free = (
        table.number(key, positive=True)
        for key in ("memory_gb", "file_gb", "disk_gb", "free_disk_gb")
    )
    processes = table.number("processes", positive=True)
    open_files = table.number("open_files", positive=True)
    table.finish()
    limits = JobLimits(
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
    readable = _absolute(table)
    network, gpu = table.flag("network"), table.flag("gpu")
    table.finish()
    return Access(readable, network, gpu)


def _absolute(table: Table) -> tuple[Path, ...]:
    """The paths in `readable`, which are absolute, not relative to the lab."""
    paths = tuple(Path(name).expanduser() for name in table.texts("readable", required=False))
    for path in paths:
        if not path.is_absolute():
            raise table.error("readable", str(path), "absolute paths, or such as ~/data")
    return paths


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not (path.is_absolute() or ".." in path.parts or name != str(path) or "\0" in name)


def _check_readable(table: Table | None, key: str, name: str) -> None:
    if table is not None and not readable(name):
        raise table.error(key, name, "a name that a log line can begin with, such as val_bpb")


def _check_editable(table: Table, folder: Path, editable: tuple[str, ...]) -> None:
    """Every editable path is a regular file in the lab, neither task.toml nor program.md."""
    for name in editable:
        path = PurePosixPath(name)
        if not _is_inside(name):
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
