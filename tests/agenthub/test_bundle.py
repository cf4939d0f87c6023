"""Headers of bundles, read and written."""

from __future__ import annotations

import io

import pytest

from agenthub.errors import BadInput, HubError, TooLarge
from agenthub.git.bundle import read_header, read_object_count, write_header
from conftest import MakeRepo, Repo
from hub_git import World, bundle_of

A, B = "a" * 40, "b" * 40


def refused(text: str | bytes, kind: type[HubError], match: str) -> None:
    """A header that cannot be read."""
    with pytest.raises(kind, match=match):
        read_header(io.BytesIO(text.encode() if isinstance(text, str) else text))


def test_what_is_written_is_read() -> None:
    """Heads, prerequisites and the place of the pack come through; each hash once."""
    raw = write_header([(A, "HEAD"), (A, "refs/x y"), (B, "refs/z")], [B]) + b"PACK"
    stream = io.BytesIO(raw)
    header = read_header(stream)
    assert (header.version, header.heads, header.prerequisites) == (2, (A, B), (B,))
    assert raw[header.size :] == stream.read() == b"PACK"


def test_bundles_of_git(lab: Repo, make_repo: MakeRepo, hub: World) -> None:
    """Versions 2 and 3 as git writes them, with HEAD or refs; SHA-256 and filters by name."""
    head = lab.git("rev-parse", "HEAD")
    for version in (2, 3):
        bundle = bundle_of(lab, "HEAD", "main", version=version)
        header = read_header(io.BytesIO(bundle))
        assert (header.version, header.heads) == (version, (head,))
        stream = io.BytesIO(bundle[header.size :])
        assert read_object_count(stream) == 4
    assert hub.push(bundle_of(lab, "HEAD", version=3)).heads == (head,)
    hub.refuses(bundle_of(lab, "--filter=blob:none", "HEAD", version=3), 400, "@filter=blob:none")
    long = make_repo({"a": "a"}, "long", "--object-format=sha256")
    hub.refuses(bundle_of(long, "HEAD", version=3), 400, "@object-format=sha256")


def test_headers_that_are_none() -> None:
    """The error names what was seen and what is needed, for any bytes."""
    start = "# v2 git bundle\n"
    refused(b"", BadInput, "ends within its header")
    refused(b"\x1f\x8b\x08" + b"x" * 9_000, BadInput, "first line does not end")
    refused("hello\n", BadInput, 'begins with "hello"')
    refused("# v4 git bundle\n", BadInput, "v4 git bundle")
    refused(f"{start}\nPACK", BadInput, "names no head")
    refused(f"{start}{A} HEAD\n", BadInput, "ends within its header")
    refused(f"{start}{A[1:]} HEAD\n\n", BadInput, "HASH NAME")
    refused(f"{start}{A.upper()} HEAD\n\n", BadInput, "HASH NAME")
    refused(f"{start}{A}\n\n", BadInput, "HASH NAME")
    refused(f"{start}-x\n{A} HEAD\n\n", BadInput, "HASH NAME")
    refused(f"{start}@object-format=sha1\n{A} HEAD\n\n", BadInput, "@object-format=sha1")
    refused(f"# v3 git bundle\n@new\n{A} HEAD\n\n", BadInput, '"@new"')


def test_caps() -> None:
    """64 heads, 1,000 prerequisites and a quarter of a megabyte are enough."""
    start = "# v2 git bundle\n"
    heads = "".join(f"{number:040x} r\n" for number in range(65))
    refused(f"{start}{heads}\n", TooLarge, "over 64 heads")
    needs = "".join(f"-{number:040x} r\n" for number in range(1_001))
    refused(f"{start}{needs}{A} r\n\n", TooLarge, "over 1,000 prerequisites")
    refused(f"{start}{A} {'r' * 5_000}\n\n", TooLarge, "a line over 4,096")
    same = f"{A} {'r' * 4_000}\n" * 70
    refused(f"{start}{same}\n", TooLarge, "over 262,144 bytes")
