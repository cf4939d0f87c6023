"""Proposals written down as they come, and played back byte for byte without a model.

One JSON object a line: what the editable files were (a hash), what became of those that changed,
and what the proposer said. A failure is written down like a proposal, and fails again.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autoresearch.errors import ProposerError
from autoresearch.files import read_regular, sync_folder
from autoresearch.proposers import (
    Brief,
    Proposal,
    ProposalFailed,
    Proposer,
    Renewable,
    Yielding,
    max_seconds,
    owed,
)

FORMAT = "autoresearch proposals 1"
WAITS = ("retry_after", "ago")  # of a failure: what is not waited again
LARGEST = 1 << 20  # bytes of an editable file

Files = Mapping[str, bytes | None]  # editable path -> content; None: no regular file


class Recorder:
    """Passes on what another proposer does, and appends it to a file, on disk before it returns.

    >>> Recorder(LLMProposer("gpt-5-mini"), Path("night.jsonl"))
    """

    def __init__(self, proposer: Proposer, path: Path) -> None:
        self._proposer = proposer
        self._path = path
        self._last: dict[str, Any] = {}  # where the last proposal stood
        _begin(path)

    @property
    def name(self) -> str:
        """The other proposer's."""
        return self._proposer.name

    @property
    def max_seconds(self) -> float:
        """The other proposer's."""
        return max_seconds(self._proposer)

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """The other's proposal, or its failure, written down."""
        before = _files(workspace, brief)
        row: dict[str, Any] = {"trial": brief.number, "parent": _hash(before)}
        self._last = dict(row)
        row |= {"ahead": True} if brief.under_way else {}
        try:
            proposal = self._proposer.propose(workspace, brief)
        except ProposalFailed as failed:
            told = {key: value for key, value in vars(failed).items() if key not in WAITS}
            self._append(row | {"failed": {"message": str(failed), **told}})
            raise
        except ProposerError as error:
            self._append(row | {"over": str(error)})
            raise
        after = _files(workspace, brief)
        edited = {path: _coded(after[path]) for path in after if after[path] != before[path]}
        self._append(row | {"files": edited, "proposal": _plain(proposal)})
        return proposal

    @property
    def owed(self) -> float:
        """The other's."""
        return owed(self._proposer)

    @property
    def spoke(self) -> Proposer:
        """The other, or whoever spoke for it."""
        return self._proposer

    def renew(self) -> bool:
        """The other begins anew, if it can."""
        return isinstance(self._proposer, Renewable) and self._proposer.renew()

    def rotate(self) -> str | None:
        """The other gives way, if it can."""
        return self._proposer.rotate() if isinstance(self._proposer, Yielding) else None

    def overtaken(self) -> None:
        """What was made last is paid, and not run."""
        self._append({**self._last, "overtaken": True})

    def _append(self, row: Mapping[str, Any]) -> None:
        line = json.dumps({**row, "proposer": self.name}, ensure_ascii=True)
        _write(self._path, f"{line}\n".encode(), os.O_APPEND)


class Replayer:
    """Plays a recording back: the same edits, notes and costs for the same files, trial by trial.

    Raises ProposerError when the study stands at other files than the recorded one did, and when
    the recording is over. Waits that were recorded are not waited again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = _read(path)
        self._at = 0
        self.name = "replay"

    @property
    def max_seconds(self) -> float:
        """Something where the next proposal was made ahead, so that it is so again."""
        return float(any(row.get("ahead") for row in self._rows[self._at : self._at + 1]))

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Do what was done at this trial."""
        row = self._next(brief.number)
        before = _hash(_files(workspace, brief))
        self.name = row["proposer"]
        if row["parent"] != before:
            raise ProposerError(self._differs(row, before))
        outcome = _outcome(row)
        if isinstance(outcome, ProposerError):
            raise outcome
        for path, content in row["files"].items():
            _restore(workspace, path, content, brief)
        return outcome

    def _next(self, trial: int) -> dict[str, Any]:
        """The next row, those of trials that are done left out."""
        while self._at < len(self._rows) and self._rows[self._at]["trial"] < trial:
            self._at += 1
        if self._at == len(self._rows):
            raise ProposerError(f"{self._path}: the recording is over, at trial {trial}.")
        row = self._rows[self._at]
        if row["trial"] != trial:
            raise ProposerError(
                f"{self._path}: the recording goes on at trial {row['trial']}, and this study "
                f"is at trial {trial}. Replay it in a fresh study (--tag) of the lab it is from."
            )
        self._at += 1
        return row

    def _differs(self, row: Mapping[str, Any], before: str) -> str:
        return (
            f"{self._path}: proposal {self._at} (trial {row['trial']}) was made for other files: "
            f"recorded {row['parent'][:12]}, here {before[:12]}. The lab has changed, or a trial "
            "was judged otherwise than then: a replay needs the same lab, strategy and seed."
        )


# ---- files and their form ----------------------------------------------------------------------


def _files(workspace: Path, brief: Brief) -> Files:
    return {path: _content(workspace / path) for path in brief.editable}


def _content(path: Path) -> bytes | None:
    try:
        return read_regular(path, LARGEST)
    except OSError:
        return None


def _hash(files: Files) -> str:
    """One hash of all editable files and their names."""
    whole = hashlib.sha256()
    for path, content in sorted(files.items()):
        told = "-" if content is None else hashlib.sha256(content).hexdigest()
        whole.update(f"{path}\0{told}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def _coded(content: bytes | None) -> dict[str, str] | None:
    """Text where it is text, for people who read the recording; else base64."""
    if content is None:
        return None
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def _restore(workspace: Path, path: str, coded: Mapping[str, str] | None, brief: Brief) -> None:
    """Leave a file as the recorded proposer did; an unknown path is not ours to write."""
    if path not in brief.editable:
        raise ProposerError(f"The recording edits {path}, which may not be edited in this lab.")
    target = workspace / path
    target.unlink(missing_ok=True)
    if coded is not None:
        text = coded.get("text")
        content = base64.b64decode(coded["base64"]) if text is None else text.encode()
        target.write_bytes(content)


def _plain(proposal: Proposal) -> dict[str, Any]:
    return {**asdict(proposal), "details": dict(proposal.details)}


# ---- the recording -----------------------------------------------------------------------------


def _begin(path: Path) -> None:
    """A new recording, or one to go on with; a line that a power cut tore is taken off."""
    head = f"{json.dumps({'format': FORMAT})}\n".encode()
    if not path.exists() or not path.stat().st_size:
        _write(path, head, os.O_TRUNC)
        sync_folder(path.parent)
        return
    _read(path)  # refuses a file that is no recording, before anything is added to it
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        os.truncate(path, whole)


def _write(path: Path, data: bytes, how: int) -> None:
    """Write, and wait for the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o644)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> list[dict[str, Any]]:
    """All whole lines but the first; a torn last one is left out."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise ProposerError(f"The recording cannot be read: {error}") from error
    if not lines or _parsed(lines[0]).get("format") != FORMAT:
        raise ProposerError(f"{path} is no recording of proposals (--record FILE writes one).")
    rows = [_row(path, number, line) for number, line in enumerate(lines[1:], start=2)]
    pairs = zip(rows, [*rows[1:], None], strict=True)
    return [row for row, after in pairs if "overtaken" not in row and not _lost(row, after)]


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """A line, if it has what a replay needs."""
    row = _parsed(line)
    kinds = {"trial": int, "parent": str, "proposer": str}
    try:
        if "overtaken" not in row:
            _outcome(row)
        whole = all(isinstance(row[key], kind) for key, kind in kinds.items())
    except (KeyError, TypeError, AttributeError, ValueError):
        whole = False
    if not whole:
        raise ProposerError(f"{path}, line {number}: this is no recorded proposal.")
    return row


def _outcome(row: Mapping[str, Any]) -> Proposal | ProposerError:
    """What came of it then."""
    if "over" in row:
        return ProposerError(row["over"])
    if "failed" in row:
        told = dict(row["failed"])
        failed = ProposalFailed(told.pop("kind"), told.pop("message"), retry_after=0.0, **told)
        failed.ago = math.inf  # that wait is long over
        return failed
    row["files"].items()
    return Proposal(**row["proposal"])


def _lost(row: Mapping[str, Any], after: Mapping[str, Any] | None) -> bool:
    """Whether an edit was made twice for one trial: the loop was killed before it was recorded.

    One that was overtaken, or must not run, was followed by another in the study as well.
    """
    edits = row.get("files") or {}
    runs = bool(edits) and None not in edits.values() and not row["proposal"].get("fault")
    again = after is not None and after["trial"] == row["trial"] and "overtaken" not in after
    return runs and again
