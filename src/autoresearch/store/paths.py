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
        """The branch; it moves only to something better."""
        return f"refs/heads/autoresearch/{self.tag}"

    @property
    def pins(self) -> str:
        """The prefix of the trials' refs."""
        return f"refs/autoresearch/{self.tag}/"

    def pin(self, number: int) -> str:
        """The ref that keeps a trial's commit, kept or not."""
        return f"{self.pins}{number}"

    @property
    def owner(self) -> str:
        """The ref of the record that says which study the tag belongs to."""
        return f"{self.pins}owner"

    @property
    def met(self) -> str:
        """The prefix of refs for commits that were fetched from a hub."""
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
        """The lock of the one process that may write."""
        return self.home / "lock"

    @property
    def heartbeat(self) -> Path:
        """The loop's stage, its beginning and its time limit."""
        return self.home / "heartbeat.json"

    @property
    def reserve(self) -> Path:
        """A file that is deleted to make room when the disk is full."""
        return self.home / "reserve"

    @property
    def workspace(self) -> Path:
        """Where a proposer edits; emptied before each proposal."""
        return self.home / "workspace"

    @property
    def export(self) -> Path:
        """Where a candidate runs; emptied before each run."""
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
        """Where a run and its judge have their socket; emptied before each run."""
        return self.home / "channel"

    @property
    def steering(self) -> Path:
        """What a person adds to the next briefs."""
        return self.home / "steering.md"

    @property
    def pause(self) -> Path:
        """A file that exists while a person has paused the study."""
        return self.home / "pause"

    @property
    def extra_runs(self) -> Path:
        """Runs beside the record: of verify, ablate and replay."""
        return self.home / "again"

    @property
    def report(self) -> Path:
        """Where the page and the pictures are, unless another folder is named."""
        return self.home / "report"

    @property
    def hubs(self) -> Path:
        """The outboxes, one for each hub that the study is joined to."""
        return self.home / "hubs"

    @property
    def canary(self) -> Path:
        """Runs of the baseline with its editable files replaced."""
        return self.home / "canary"

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

    def log(self, number: int, run: int) -> Path:
        """The output of a run; older studies have it in a folder `attempt-N`."""
        old = self.trial(number) / f"attempt-{run}"
        folder = old if old.is_dir() else self.trial(number) / f"run-{run}"
        return folder / "run.log"


def state_folder(lab: Path) -> Path:
    """The lab's .autoresearch/, made when missing and ignored by git from within."""
    folder = lab / STATE_FOLDER
    folder.mkdir(exist_ok=True)
    if not (folder / ".gitignore").exists():
        write_whole(folder / ".gitignore", "*\n")
    return folder


def current_tag(lab: Path) -> str | None:
    """The tag of the study that was run last in a lab."""
    try:
        return (lab / STATE_FOLDER / "current").read_text().strip() or None
    except OSError:
        return None


def set_current_tag(lab: Path, tag: str) -> None:
    """Make a tag the default of commands."""
    write_whole(state_folder(lab) / "current", tag + "\n")


def tags(lab: Path) -> list[str]:
    """All studies of a lab, by name."""
    return sorted(path.parent.name for path in (lab / STATE_FOLDER).glob("*/ledger.db"))
