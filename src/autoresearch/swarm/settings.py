"""How a study takes part in a hub, and what its machine is called there."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Trust = Literal["replicated", "claimed"]

_UNSAID = re.compile(r"[^a-zA-Z0-9 ._+/()@:-]+")  # what a hub does not take in a platform's name
_LONGEST = 63


@dataclass(frozen=True)
class SwarmSettings:
    """What a person says of it."""

    url: str
    key: str
    project: str = "main"
    trust: Trust = "replicated"  # which results of others are worth a run here
    replicate: float = 0.1  # share of the time that goes into running others' results again
    platform: str = ""  # empty: found out
    runs: int = 3  # of one replication: fewer cannot refute where the noise is not known
    max_seconds: int = 8  # own trials without a keep or a step, after which an idea is mixed in
    look: float = 60.0  # seconds between two looks at what others found
    parting: float = 20.0  # seconds to send what waits when the session ends
    agent: str = ""  # whose key it is; empty: only the hub knows


def this_platform() -> str:
    """What a hub is told that results were measured on: the GPU's name, else cpu- and its model."""
    return plain(_gpu() or f"cpu-{_processor()}")


def plain(name: str) -> str:
    """A platform's name as hubs take it."""
    words = " ".join(_UNSAID.sub(" ", name).split()).lstrip("._+/()@:- ")
    return words[:_LONGEST].strip() or "cpu"


def _gpu() -> str:
    """The first NVIDIA GPU's name; empty where there is none to ask."""
    if shutil.which("nvidia-smi") is None:
        return ""
    words = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.partition("\n")[0].strip()


def _processor() -> str:
    """The processor's model, as Linux tells it; its architecture elsewhere."""
    try:
        told = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        told = ""
    found = re.search(r"^model name\s*:\s*(.+)$", told, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()
