"""Where a study keeps its things: predictable names below the lab's .autoresearch/ folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autoresearch.files import write_whole

STATE_FOLDER = ".autoresearch"
RESULTS = "results.tsv"


@dataclass(frozen=True)
class StudyPaths:
    """All places of one study."""

    lab: Path
    tag: str

    @property
    def branch(self) -> str:
        """The ref that only ever moves to something better."""
        return f"refs/heads/autoresearch/{self.tag}"

    @property
    def pins(self) -> str:
        """Where the refs of the trials stand."""
        return f"refs/autoresearch/{self.tag}/"

    def pin(self, number: int) -> str:
        """The ref that keeps a trial's commit, kept or not."""
        return f"{self.pins}{number}"

    @property
    def met(self) -> str:
        """Where the refs of others' commits stand, fetched from a hub."""
        return f"{self.pins}hub/"

    @property
    def home(self) -> Path:
        """The study's own folder."""
        return self.lab / STATE_FOLDER / self.tag

    @property
    def ledger(self) -> Path:
        """The SQLite file."""
        return self.home / "ledger.db"

    @property
    def lock(self) -> Path:
        """Held by the one process that may write."""
        return self.home / "lock"

    @property
    def heartbeat(self) -> Path:
        """What the loop is at, since when, and until when that may take."""
        return self.home / "heartbeat.json"

    @property
    def reserve(self) -> Path:
        """Bytes that are given up when the disk is full."""
        return self.home / "reserve"

    @property
    def workspace(self) -> Path:
        """Where a proposer edits; made anew each time."""
        return self.home / "workspace"

    @property
    def export(self) -> Path:
        """Where a candidate runs; made anew each time."""
        return self.home / "export"

    @property
    def agent(self) -> Path:
        """Where a coding agent has its HOME, its brief and its log."""
        return self.home / "agent"

    @property
    def pristine(self) -> Path:
        """Where a judge or a score command runs: the files that the study began with."""
        return self.home / "pristine"

    @property
    def channel(self) -> Path:
        """Where a run and its judge meet; made anew each time."""
        return self.home / "channel"

    @property
    def steering(self) -> Path:
        """What a person adds to the next briefs."""
        return self.home / "steering.md"

    @property
    def pause(self) -> Path:
        """There while a person wants no new trial to begin."""
        return self.home / "pause"

    @property
    def again(self) -> Path:
        """Runs beside the record: of verify, ablate and replay."""
        return self.home / "again"

    @property
    def hubs(self) -> Path:
        """What is kept for each hub that the study is joined to: its outbox."""
        return self.home / "hubs"

    @property
    def results(self) -> Path:
        """The table that the ecosystem's tools read."""
        return self.lab / RESULTS

    @property
    def trials(self) -> Path:
        """The folder of all trials' folders."""
        return self.home / "trials"

    def trial(self, number: int) -> Path:
        """A trial's folder."""
        return self.trials / str(number)

    def log(self, number: int, attempt: int) -> Path:
        """What an attempt printed."""
        return self.trial(number) / f"attempt-{attempt}" / "run.log"


def state_folder(lab: Path) -> Path:
    """The lab's .autoresearch/, made when missing and ignored by git from within."""
    folder = lab / STATE_FOLDER
    folder.mkdir(exist_ok=True)
    if not (folder / ".gitignore").exists():
        write_whole(folder / ".gitignore", "*\n")
    return folder


def current_tag(lab: Path) -> str | None:
    """The tag that was last run in a lab."""
    try:
        return (lab / STATE_FOLDER / "current").read_text().strip() or None
    except OSError:
        return None


def set_current_tag(lab: Path, tag: str) -> None:
    """Make a tag the one that commands mean when none is named."""
    write_whole(state_folder(lab) / "current", tag + "\n")


def tags(lab: Path) -> list[str]:
    """All studies of a lab, by name."""
    return sorted(path.parent.name for path in (lab / STATE_FOLDER).glob("*/ledger.db"))
