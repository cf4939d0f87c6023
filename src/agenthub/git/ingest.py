"""How the hub takes a push in: spool, announcement, known?, unpack, examine, record, admit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from agenthub.errors import BadInput, TooLarge, Unavailable
from agenthub.git.bundle import read_header, read_object_count
from agenthub.git.objects import Quarantine
from agenthub.git.policy import NewCommit, Protected, PushLimits, examine
from agenthub.git.repository import Repository

__all__ = ["Announced", "Index", "NewCommit", "Pushed", "check", "receive"]

_CHUNK = 1 << 16
PATCHED_COMMITS, PATCHED_BYTES = 200, 16 << 20  # of a push; over that no patch ids are made
_LESS = "git bundle create FILE HEAD --not BASE, or git -c push.negotiate=true push"
_NOTHING = Protected()
_USUAL = PushLimits()


class Index(Protocol):
    """Which commits one project has, on behalf of the agent who pushes."""

    def known(self, shas: Collection[str]) -> set[str]:
        """The subset of `shas` that the project has."""
        ...

    def record(self, new: Sequence[NewCommit], admit: Callable[[], None]) -> None:
        """Add commits, parents first, and all their parent edges in one transaction.

        `admit()` makes their objects durable: it is called just before COMMIT, and an error in it
        rolls everything back. A commit that another push recorded meanwhile is passed over.
        """
        ...


@dataclass(frozen=True)
class Announced:
    """What a push says before its pack: in a bundle's header, or in the commands of git."""

    heads: tuple[str, ...]
    pack_at: int  # bytes of the body before its pack
    prerequisites: tuple[str, ...] = ()  # commits that the hub must have


@dataclass(frozen=True)
class Pushed:
    """The outcome of a push."""

    heads: tuple[str, ...]
    new: tuple[NewCommit, ...]  # parents first; empty when all was known


def receive(
    body: BinaryIO | Path,
    repository: Repository,
    index: Index,
    limits: PushLimits = _USUAL,
    protected: Protected = _NOTHING,
    on_new: Callable[[Sequence[NewCommit]], object] = lambda _: None,
    announced: Announced | None = None,
) -> Pushed:
    """Take a push in, whole or not at all; HubError says what is wrong with it.

    The body is a bundle, or begins with what was `announced` already: both meet the same caps.
    `on_new` gets the new commits inside the transaction that records them.
    """
    with repository.quarantine() as folder:
        path = body if isinstance(body, Path) else _spool(body, folder / "body", limits)
        _check_size(path.stat().st_size, limits)
        with path.open("rb") as stream:
            push = announced
            if push is None:
                header = read_header(stream)
                push = Announced(header.heads, header.size, header.prerequisites)
            if index.known(push.heads) >= set(push.heads):
                return Pushed(push.heads, ())
            if unknown := set(push.prerequisites) - index.known(push.prerequisites):
                raise BadInput(
                    f"The bundle builds on {min(unknown)}, which is not on this hub. Push that "
                    "first, or make the bundle with more history.",
                    hash=min(unknown),
                )
            stream.seek(push.pack_at)
            _check_count(read_object_count(stream), limits)
        with path.open("rb", buffering=0) as pack:
            pack.seek(push.pack_at)
            held = repository.unpack(folder, pack, limits.bundle_bytes)
        new = check(held, push.heads, repository, index, limits, protected)

        def admit() -> None:
            on_new(new)
            repository.admit(held)  # last: objects are durable before the rows are

        if new:
            index.record(new, admit)
    repository.tidy()
    return Pushed(push.heads, new)


def check(
    held: Quarantine,
    heads: Sequence[str],
    repository: Repository,
    index: Index,
    limits: PushLimits = _USUAL,
    protected: Protected = _NOTHING,
) -> tuple[NewCommit, ...]:
    """Examine what a quarantine holds; its new commits, parents first, with patch ids.

    git must have checked that no object they name is missing, as `index-pack --strict` does.
    """
    with repository.reader(held) as reader:
        examined = examine(
            reader, held.names(), heads, index.known, repository.info, limits, protected
        )
    if not 0 < len(examined.new) <= PATCHED_COMMITS or examined.text_bytes > PATCHED_BYTES:
        return examined.new
    pairs = [(row.sha, row.parents[0] if row.parents else "") for row in examined.new]
    ids = repository.patch_ids(held, pairs)
    return tuple(dataclasses.replace(row, patch_id=ids.get(row.sha, "")) for row in examined.new)


def _spool(body: BinaryIO, path: Path, limits: PushLimits) -> Path:
    """Write a body to disk piece by piece; TooLarge as soon as it is over the cap."""
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
            f"The push has over {limits.bundle_bytes:,} bytes, and no more are allowed. Push only "
            f"what the hub lacks ({_LESS}), or fewer commits."
        )


def _check_count(count: int, limits: PushLimits) -> None:
    if count > limits.pack_objects:
        raise TooLarge(
            f"The pack says it has {count:,} objects; at most {limits.pack_objects:,} are allowed. "
            f"Push only what the hub lacks: {_LESS}."
        )
