"""Fixtures for the tests of the nanogpt lab's prepare.py; it needs packages that may be missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from labs.prepare_lab import Lab, Shop


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A server with the files of tinystories."""
    from labs.prepare_lab import TINY, Shop, parquet

    files = {name: parquet(60, 1000 * i) for i, name in enumerate(TINY.train)}
    s = Shop(files | {TINY.validation: parquet(60, 9000)})
    yield s
    s.server.shutdown()
    s.server.server_close()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A lab without data."""
    from labs.prepare_lab import Lab

    return Lab(tmp_path)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A folder of 200 short documents in one .jsonl file."""
    from labs.prepare_lab import story

    folder = tmp_path / "texts"
    folder.mkdir()
    lines = [json.dumps({"text": story(i, 3 + i)}) for i in range(200)]
    (folder / "a.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture
def ready(tmp_path: Path, texts: Path) -> Lab:
    """A lab whose constants name the local texts, prepared."""
    from labs.prepare_lab import Lab

    lab = Lab(tmp_path, DATASET="local", LOCAL_PATH=str(texts))
    lab.ok()
    return lab
