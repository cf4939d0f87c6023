"""The part of git's wire protocol that the hub speaks itself: a push's commands, a fetch's wants.

It builds the answer to a push, too. git itself reads and writes the packs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from agenthub.errors import BadInput, TooLarge
from agenthub.validation import clean_line, is_hash, shown

FLUSH = b"0000"
NOTHING = "0" * 40  # stands for "no commit"
COMMANDS = 64  # of one push
SHALLOW = 10_000  # commits of a pusher without their parents
_REF = 250
_LONGEST = 65_520  # bytes of a packet
_BAND = _LONGEST - 5


@dataclass(frozen=True)
class Command:
    """What a push does to one ref."""

    old: str
    new: str
    ref: str  # chosen by the sender

    @property
    def deletes(self) -> bool:
        """Whether the push deletes the ref."""
        return self.new == NOTHING


@dataclass(frozen=True)
class Request:
    """The part of a push before its pack."""

    commands: tuple[Command, ...]
    capabilities: frozenset[str]
    size: int  # bytes up to where the pack begins


def packet(payload: bytes | str) -> bytes:
    """Frame bytes, or one line of text, as a packet."""
    raw = payload.encode() + b"\n" if isinstance(payload, str) else payload
    return b"%04x" % (len(raw) + 4) + raw


def read_request(stream: BinaryIO) -> Request:
    """Read the commands of a push up to its pack; BadInput, TooLarge."""
    commands: list[Command] = []
    capabilities: frozenset[str] = frozenset()
    shallow = 0
    for payload in _until_flush(stream):
        line, _, words = payload.partition(b"\0")
        if not commands and words:
            capabilities = frozenset(words.decode(errors="replace").split())
        if line.startswith(b"shallow "):
            shallow += 1
        else:
            commands.append(_command(line.rstrip(b"\n")))
        if len(commands) > COMMANDS or shallow > SHALLOW:
            raise TooLarge(f"A push may name at most {COMMANDS} refs. Push fewer at once.")
    refs = [command.ref for command in commands]
    if len(set(refs)) < len(refs):
        raise BadInput("The push names a ref twice. Name each once.")
    return Request(tuple(commands), capabilities, stream.tell())


def wants(stream: BinaryIO) -> frozenset[str]:
    """The hashes that a fetch wants, in any protocol version; BadInput when it is no fetch."""
    found = set()
    while (payload := _next(stream)) is not None:
        if payload.startswith(b"want "):
            name = payload[5:45].decode("ascii", "replace")
            if not is_hash(name):
                raise BadInput(f"A fetch asks for whole hashes, not {shown(name)}.")
            found.add(name)
    return frozenset(found)


def report(request: Request, refused: dict[str, str], lines: Sequence[str] = ()) -> bytes:
    """The answer to a push: the outcome of each ref (`refused`: ref -> why), and lines to show."""
    rows = [packet("unpack ok")]
    for command in request.commands:
        why = refused.get(command.ref)
        row = f"ok {command.ref}" if why is None else f"ng {command.ref} {clean_line(why, 900)}"
        rows.append(packet(row))
    status = b"".join([*rows, FLUSH]) if "report-status" in request.capabilities else b""
    if "side-band-64k" not in request.capabilities:
        return status
    shown_lines = [_banded(2, f"{clean_line(line, 900)}\n".encode()) for line in lines]
    return b"".join([*shown_lines, _banded(1, status), FLUSH])


def fatal(message: str) -> bytes:
    """The answer to a push that was refused unread; git shows the message."""
    return _banded(3, f"{clean_line(message, 900)}\n".encode()) + FLUSH


def error_packet(message: str) -> bytes:
    """A packet that git shows as `remote error: MESSAGE`."""
    return packet(b"ERR " + clean_line(message, 900).encode())


# ---- inside ------------------------------------------------------------------------------------


def _banded(band: int, content: bytes) -> bytes:
    pieces = (content[at : at + _BAND] for at in range(0, len(content), _BAND))
    return b"".join(packet(bytes([band]) + piece) for piece in pieces)


def _command(line: bytes) -> Command:
    words = line.decode(errors="replace").split(" ", 2)
    if len(words) != 3 or not all(map(is_hash, words[:2])):
        raise BadInput(
            f"This is no command of a push: {shown(line[:80].decode(errors='replace'))}. Signed "
            "pushes (--signed) are not taken; push without."
        )
    if not words[2].isprintable() or len(words[2]) > _REF:
        raise BadInput(f"A ref has at most {_REF} characters that can be seen; use a plain name.")
    return Command(*words)


def _until_flush(stream: BinaryIO) -> Iterator[bytes]:
    while payload := _next(stream):
        yield payload
    if payload is None:
        raise BadInput("The push ends within its commands. Send it again.")


def _next(stream: BinaryIO) -> bytes | None:
    """The next packet's bytes, empty for one that only separates; None at the end."""
    head = stream.read(4)
    if not head:
        return None
    try:
        size = int(head, 16)
    except ValueError:
        size = -1
    payload = stream.read(size - 4) if 4 <= size <= _LONGEST else b""
    if not 0 <= size <= _LONGEST or size == 3 or len(payload) != max(0, size - 4):
        raise BadInput("This is not git's protocol: a packet is cut off, or is none at all.")
    return payload
