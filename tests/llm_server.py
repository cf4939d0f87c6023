"""The llm proposer of a test: its settings point at a scripted server, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.proposers import Brief
from autoresearch.proposers.llm.settings import LLMSettings

KEY = "sk-test-0123456789-secret"
KEY_ENV = "SCRIPTED_KEY"
TRAIN = "LR = 0.1\nWIDTH = 64\n"


def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of the test's own, no other setting, and no proxy before the server."""
    import os

    for name in os.environ:
        if name.startswith(("AUTORESEARCH_LLM_", "OPENAI_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv(KEY_ENV, KEY)


def settings(
    url: str, model: str = "scripted-1", timeout: float = 20.0, **more: float
) -> LLMSettings:
    """A model that no price list knows, at this address."""
    cap = more.get("max_usd_per_call", 0.25)
    tokens = int(more.get("max_tokens", 1000))
    return LLMSettings(model, url, KEY_ENV, cap, tokens, timeout)


def workspace(folder: Path) -> Path:
    """The files of a lab."""
    (folder / "train.py").write_text(TRAIN)
    (folder / "prepare.py").write_text("SEED = 'the judge'\n")
    return folder


def brief() -> Brief:
    """The proposer's brief."""
    return Brief("Make the loss small.", ("train.py",), "c0")


def block(old: str, new: str, note: str = "a change") -> str:
    """A reply with one edit."""
    return f"NOTE: {note}\n<<<<<<< SEARCH train.py\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n"
