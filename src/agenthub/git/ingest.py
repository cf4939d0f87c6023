"""The line of one push: spool, header, known?, unpack, judge, record, admit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from agenthub.errors import BadInput, TooLarge, Unavailable
from agenthub.git.bundle import Header, read_header, read_object_count
from agenthub.git.objects import Quarantine
from agenthub.git.policy import Judged, NewCommit, Protected, PushLimits, examine
from agenthub.git.repository import Repository

__all__ = ["Index", "NewCommit", "Pushed", "check", "receive"]

_CHUNK = 1 << 16
PATCHED_COMMITS, PATCHED_BYTES = 200, 16 << 20  # of a push; over that no patch ids are made
_NOTHING = Protected()
_USUAL = PushLimits()


class Index(Protocol):
    """Which commits one project has; bound to the agent who pushes."""

    def known(self, shas: Collection[str]) -> set[str]:
        """Those of some commits that the project has."""
        ...

    def record(self, new: Sequence[NewCommit], admit: Callable[[], None]) -> None:
        """Add commits and all their parent edges in one transaction.

        `admit()` makes their objects durable; it is called just before the commit, and what it
        raises takes everything back. Parents come first. A commit that somebody else recorded
        in the meantime is passed over.
        """
        ...


@dataclass(frozen=True)
class Pushed:
    """What came of a push."""

    heads: tuple[str, ...]
    new: tuple[NewCommit, ...]  # parents first; empty when all was known


def receive(
    body: BinaryIO | Path,
    repository: Repository,
    index: Index,
    limits: PushLimits = _USUAL,
    protected: Protected = _NOTHING,
    recorded: Callable[[Sequence[NewCommit]], None] = lambda _: None,
) -> Pushed:
    """Take a bundle in, whole or not at all; HubError says what is wrong with it.

    `recorded` is told of what is new in the transaction that it is recorded in.
    """
    with repository.quarantine() as folder:
        path = body if isinstance(body, Path) else _spool(body, folder / "bundle", limits)
        _check_size(path.stat().st_size, limits)
        with path.open("rb") as stream:
            header = read_header(stream)
            if index.known(header.heads) >= set(header.heads):
                return Pushed(header.heads, ())
            _check_prerequisites(header, index)
            _check_count(read_object_count(stream), limits)
        with path.open("rb", buffering=0) as pack:
            pack.seek(header.size)
            held = repository.unpack(folder, pack, limits.bundle_bytes)
        new = check(held, header.heads, repository, index, limits, protected)

        def admit() -> None:
            recorded(new)
            repository.admit(held)  # last: objects are durable before the rows are

        if new:
            index.record(new, admit)
    repository.tidy()
    return Pushed(header.heads, new)


def check(
    held: Quarantine,
    heads: Sequence[str],
    repository: Repository,
    index: Index,
    limits: PushLimits = _USUAL,
    protected: Protected = _NOTHING,
) -> tuple[NewCommit, ...]:
    """Judge what a quarantine holds; the new commits in it, parents first, with patch ids.

    git must have checked that nothing they name is missing, as `index-pack --strict` does.
    """
    with repository.reader(held) as reader:
        judged = examine(
            reader, held.names(), heads, index.known, repository.info, limits, protected
        )
    if not judged.new or not _few(judged):
        return judged.new
    pairs = [(row.sha, row.parents[0] if row.parents else "") for row in judged.new]
    ids = repository.patch_ids(held, pairs)
    return tuple(dataclasses.replace(row, patch_id=ids.get(row.sha, "")) for row in judged.new)


def _few(judged: Judged) -> bool:
    return len(judged.new) <= PATCHED_COMMITS and judged.text_bytes <= PATCHED_BYTES


def _spool(body: BinaryIO, path: Path, limits: PushLimits) -> Path:
    """Put a body on disk piece by piece; TooLarge as soon as it is over the cap."""
    size = 0
    try:
        with path.open("xb") as file:
            while piece := body.read(_CHUNK):
                size += len(piece)
                _check_size(size, limits)
                file.write(piece)
    except OSError as error:
        raise Unavailable(f"The hub cannot store the push now: {error.strerror}.") from error
    return path


def _check_size(size: int, limits: PushLimits) -> None:
    if size > limits.bundle_bytes:
        raise TooLarge(
            f"The bundle has over {limits.bundle_bytes:,} bytes, and no more are allowed. Push "
            "only what the hub lacks (git bundle create FILE HEAD --not BASE), or fewer commits."
        )


def _check_prerequisites(header: Header, index: Index) -> None:
    unknown = set(header.prerequisites) - index.known(header.prerequisites)
    if unknown:
        raise BadInput(
            f"The bundle builds on {min(unknown)}, which is not on this hub. Push that first, or "
            "make the bundle with more history.",
            hash=min(unknown),
        )


def _check_count(count: int, limits: PushLimits) -> None:
    if count > limits.pack_objects:
        raise TooLarge(
            f"The pack says it has {count:,} objects; at most {limits.pack_objects:,} are allowed. "
            "Push only what the hub lacks (git bundle create FILE HEAD --not BASE)."
        )
