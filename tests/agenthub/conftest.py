"""Fixtures of the hub's git side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import MakeRepo, Repo
from hub_git import World, world_in


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    """An empty hub."""
    world = world_in(tmp_path / "hub")
    yield world
    world.repository.close()


@pytest.fixture
def lab(make_repo: MakeRepo) -> Repo:
    """An agent's repository with one commit."""
    return make_repo({"train.py": "x = 1\n", "prepare.py": "fixed = True\n"}, "lab")
