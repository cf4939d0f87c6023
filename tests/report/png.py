"""A PNG taken apart, to see what is in it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from html import escape

Pixels = list[bytearray]


def decode(data: bytes) -> tuple[int, int, Pixels]:
    """Width, height and lines of RGBA bytes of an 8-bit, not interlaced PNG."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed, header = 8, b"", b""
    while at < len(data):
        (size,), kind = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + size]
        assert (
            zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0]
        )
        packed += body if kind == b"IDAT" else b""
        header = body if kind == b"IHDR" else header
        at += 12 + size
    width, height, depth, colour, *_, interlaced = struct.unpack(">IIBBBBB", header)
    assert (depth, colour, interlaced) == (8, 6, 0)
    return width, height, _unfiltered(zlib.decompress(packed), width, height)


def ink_widths(texts: Sequence[str], size: float) -> list[float]:
    """How wide each text is when vl-convert draws it, in pixels."""
    import vl_convert

    from autoresearch.report.draw import FONT

    lines = "".join(
        f'<text x="0" y="{20 * i + 14}" font-family="{FONT}" font-size="{size}">{escape(t)}</text>'
        for i, t in enumerate(texts)
    )
    box = f'width="400" height="{20 * len(texts)}"'
    drawn = f'<svg xmlns="http://www.w3.org/2000/svg" {box}>{lines}</svg>'
    width, height, pixels = decode(bytes(vl_convert.svg_to_png(drawn, scale=1)))
    assert (width, height) == (400, 20 * len(texts))
    widths = []
    for i in range(len(texts)):
        inked = [
            x for line in pixels[20 * i : 20 * i + 20] for x in range(width) if line[4 * x + 3] > 32
        ]
        widths.append(float(max(inked) + 1))
    return widths


def _unfiltered(raw: bytes, width: int, height: int) -> Pixels:
    stride, lines, above = 4 * width, [], bytearray(4 * width)
    for y in range(height):
        start = y * (stride + 1)
        line = bytearray(raw[start + 1 : start + 1 + stride])
        _unfilter(raw[start], line, above)
        lines.append(line)
        above = line
    return lines


def _unfilter(kind: int, line: bytearray, above: bytearray) -> None:
    for i in range(len(line)):
        left, corner = (line[i - 4], above[i - 4]) if i >= 4 else (0, 0)
        up = above[i]
        guess = left + up - corner
        nearest = min(
            (abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner)
        )
        line[i] = (line[i] + (0, left, up, (left + up) // 2, nearest[2])[kind]) & 255
