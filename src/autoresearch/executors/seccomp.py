"""A system call filter that refuses all sockets but Unix sockets."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct

from autoresearch.executors.linux import call

# processor: (its number in seccomp's data, `socket`, first number of another calling convention)
PROCESSORS = {
    "x86_64": (0xC000003E, 41, 0x40000000),
    "aarch64": (0xC00000B7, 198, 0xFFFFFFFF),
    "riscv64": (0xC00000F3, 198, 0xFFFFFFFF),
}
IO_URING_SETUP = 425  # on all processors; its sockets would bypass the filter
_PR_SET_SECCOMP, _FILTER = 22, 2
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_CALL, _ARCH, _FIRST = 0, 4, 16  # offsets in seccomp's data


def refuse_network() -> None:
    """Refuse all sockets but Unix sockets with EACCES; needs no-new-privileges."""
    processor = os.uname().machine
    if processor not in PROCESSORS:
        raise OSError(f"there is no filter for sockets on the processor {processor}")
    program = _program(*PROCESSORS[processor])
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(buffer))
    call("prctl", _PR_SET_SECCOMP, _FILTER, header, 0, 0)


def _program(arch: int, socket_call: int, foreign: int) -> list[tuple[int, int, int, int]]:
    """Instructions: code, lines to jump if true, lines to jump if false, operand."""
    return [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _KILL),  # calls of another processor mode
        (_LOAD, 0, 0, _CALL),
        (_AT_LEAST, 6, 0, foreign),
        (_EQUAL, 5, 0, IO_URING_SETUP),
        (_EQUAL, 1, 0, socket_call),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _FIRST),
        (_EQUAL, 0, 1, socket.AF_UNIX),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE | errno.EACCES),
    ]
