"""Records proposals to a file, and replays them byte for byte without a model.

One JSON object per line: a hash of the editable files before, the content of those that changed,
and the proposal. A failure is recorded like a proposal, and replayed as the same failure.
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
    Progress,
    Proposal,
    ProposalFailed,
    Proposer,
    Renewable,
    Rotating,
    max_seconds,
    pending_cost,
    progress,
)

FORMAT = "autoresearch proposals 1"
WAITS = ("retry_after", "ago")  # fields of a failure that are not recorded: a replay does not wait
LARGEST = 1 << 20  # bytes of an editable file

Files = Mapping[str, bytes | None]  # editable path -> content; None: not a regular file


class Recorder:
    """Wraps a proposer and appends each of its proposals to a file, durably, before it returns.

    >>> Recorder(LLMProposer("gpt-5-mini"), Path("night.jsonl"))
    """

    def __init__(self, proposer: Proposer, path: Path) -> None:
        self._proposer = proposer
        self._path = path
        self._last: dict[str, Any] = {}  # trial and parent of the last proposal
        _begin(path)

    @property
    def name(self) -> str:
        """Name of the recorded proposer."""
        return self._proposer.name

    @property
    def max_seconds(self) -> float:
        """Seconds that a proposal of the recorded proposer may take."""
        return max_seconds(self._proposer)

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """The recorded proposer's proposal or failure, written to the file first."""
        before = _files(workspace, brief)
        row: dict[str, Any] = {"trial": brief.number, "parent": _hash(before)}
        self._last = dict(row)
        row |= {"ahead": True} if brief.under_way else {}
        try:
            proposal = self._proposer.propose(workspace, brief)
        except ProposalFailed as failed:
            fields = {key: value for key, value in vars(failed).items() if key not in WAITS}
            self._append(row | {"failed": {"message": str(failed), **fields}})
            raise
        except ProposerError as error:
            self._append(row | {"over": str(error)})
            raise
        after = _files(workspace, brief)
        edited = {path: _encode(after[path]) for path in after if after[path] != before[path]}
        self._append(row | {"files": edited, "proposal": _as_dict(proposal)})
        return proposal

    @property
    def pending_cost(self) -> float:
        """Dollars that the recorded proposer's current call may cost."""
        return pending_cost(self._proposer)

    def progress(self) -> Progress | None:
        """What the recorded proposer reports of its current call."""
        return progress(self._proposer)

    @property
    def last_proposer(self) -> Proposer:
        """The recorded proposer."""
        return self._proposer

    def renew(self) -> bool:
        """Renew the recorded proposer; return whether it can be renewed."""
        return isinstance(self._proposer, Renewable) and self._proposer.renew()

    def rotate(self) -> str | None:
        """Rotate the recorded proposer, if it is a team."""
        return self._proposer.rotate() if isinstance(self._proposer, Rotating) else None

    def overtaken(self) -> None:
        """Record that the last proposal was paid for and is not run."""
        self._append({**self._last, "overtaken": True})

    def _append(self, row: Mapping[str, Any]) -> None:
        line = json.dumps({**row, "proposer": self.name}, ensure_ascii=True)
        _write_durably(self._path, f"{line}\n".encode(), os.O_APPEND)


class Replayer:
    """Replays a recording: the same edits, notes and costs for the same files, trial by trial.

    Raises ProposerError when the study's files differ from the recorded ones, and at the end of
    the recording. Recorded waits are skipped.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = _read(path)
        self._at = 0
        self.name = "replay"

    @property
    def max_seconds(self) -> float:
        """Above 0 where the next proposal was made ahead of time, so that it is again."""
        return float(any(row.get("ahead") for row in self._rows[self._at : self._at + 1]))

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Repeat what was recorded for this trial."""
        row = self._next(brief.number)
        before = _hash(_files(workspace, brief))
        self.name = row["proposer"]
        if row["parent"] != before:
            raise ProposerError(self._difference(row, before))
        outcome = _outcome(row)
        if isinstance(outcome, ProposerError):
            raise outcome
        for path, content in row["files"].items():
            _restore(workspace, path, content, brief)
        return outcome

    def _next(self, trial: int) -> dict[str, Any]:
        """The next row; rows of trials that are done are skipped."""
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

    def _difference(self, row: Mapping[str, Any], before: str) -> str:
        return (
            f"{self._path}: proposal {self._at} (trial {row['trial']}) was made for other files: "
            f"recorded {row['parent'][:12]}, here {before[:12]}. The lab has changed, or a trial "
            "was decided differently: a replay needs the same lab, strategy and seed."
        )


# ---- files and their encoding ------------------------------------------------------------------


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
        digest = "-" if content is None else hashlib.sha256(content).hexdigest()
        whole.update(f"{path}\0{digest}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def _encode(content: bytes | None) -> dict[str, str] | None:
    """As text if it is valid UTF-8, so that people can read the recording; else as base64."""
    if content is None:
        return None
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def _restore(workspace: Path, path: str, coded: Mapping[str, str] | None, brief: Brief) -> None:
    """Write a file as recorded; ProposerError for a path that is not editable."""
    if path not in brief.editable:
        raise ProposerError(f"The recording edits {path}, which may not be edited in this lab.")
    target = workspace / path
    target.unlink(missing_ok=True)
    if coded is not None:
        text = coded.get("text")
        content = base64.b64decode(coded["base64"]) if text is None else text.encode()
        target.write_bytes(content)


def _as_dict(proposal: Proposal) -> dict[str, Any]:
    return {**asdict(proposal), "details": dict(proposal.details)}


# ---- the recording -----------------------------------------------------------------------------


def _begin(path: Path) -> None:
    """Start a recording or continue one; a half-written last line is removed."""
    head = f"{json.dumps({'format': FORMAT})}\n".encode()
    if not path.exists() or not path.stat().st_size:
        _write_durably(path, head, os.O_TRUNC)
        sync_folder(path.parent)
        return
    _read(path)  # rejects a file that is not a recording, before anything is added
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        os.truncate(path, whole)


def _write_durably(path: Path, data: bytes, how: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o644)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> list[dict[str, Any]]:
    """All complete lines but the header."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise ProposerError(f"The recording cannot be read: {error}") from error
    if not lines or _parsed(lines[0]).get("format") != FORMAT:
        raise ProposerError(f"{path} is not a recording of proposals (--record FILE writes one).")
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
    """The row of a line; ProposerError when a field is missing or has the wrong type."""
    row = _parsed(line)
    kinds = {"trial": int, "parent": str, "proposer": str}
    try:
        if "overtaken" not in row:
            _outcome(row)
        whole = all(isinstance(row[key], kind) for key, kind in kinds.items())
    except (KeyError, TypeError, AttributeError, ValueError, ProposerError):
        whole = False
    if not whole:
        raise ProposerError(f"{path}, line {number}: this is not a recorded proposal.")
    return row


def _outcome(row: Mapping[str, Any]) -> Proposal | ProposerError:
    """The recorded proposal or failure."""
    if "over" in row:
        return ProposerError(row["over"])
    if "failed" in row:
        fields = dict(row["failed"])
        failed = ProposalFailed(
            fields.pop("kind"), fields.pop("message"), retry_after=0.0, **fields
        )
        failed.ago = math.inf  # so that nothing is waited for
        return failed
    row["files"].items()
    return Proposal(**row["proposal"])


def _lost(row: Mapping[str, Any], after: Mapping[str, Any] | None) -> bool:
    """Whether an edit was made twice for one trial because the loop was killed in between.

    An edit that was overtaken or must not run was followed by another in the study as well.
    """
    edits = row.get("files") or {}
    runs = bool(edits) and None not in edits.values() and not row["proposal"].get("fault")
    again = after is not None and after["trial"] == row["trial"] and "overtaken" not in after
    return runs and again
