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

_NOT_ALLOWED = re.compile(r"[^a-zA-Z0-9 ._+/()@:-]+")  # in the name of a platform
_LONGEST = 63


@dataclass(frozen=True)
class SwarmSettings:
    """The settings of a study's link to a hub."""

    url: str
    key: str
    project: str = "main"
    trust: Trust = "replicated"  # which results of others are worth a run here
    replicate: float = 0.1  # share of the time that is spent on replicating others' results
    platform: str = ""  # empty: found out
    runs: int = 3  # of one replication: fewer cannot refute where the noise is not known
    mix_after: int = 8  # own trials without a gain, after which others' edits are mixed in
    look: float = 60.0  # seconds between two looks at others' results
    parting: float = 20.0  # seconds to send what waits when the session ends
    agent: str = ""  # the key's agent; empty: only the hub knows


def this_platform() -> str:
    """This machine's platform: the name of its first GPU, else cpu- and the processor's model."""
    return plain(_gpu() or f"cpu-{_processor()}")


def plain(name: str) -> str:
    """A platform's name without the characters that hubs reject."""
    words = " ".join(_NOT_ALLOWED.sub(" ", name).split()).lstrip("._+/()@:- ")
    return words[:_LONGEST].strip() or "cpu"


def _gpu() -> str:
    """The first NVIDIA GPU's name; empty when there is none."""
    if shutil.which("nvidia-smi") is None:
        return ""
    words = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.partition("\n")[0].strip()


def _processor() -> str:
    """The processor's model, where Linux names it; elsewhere its architecture."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        cpuinfo = ""
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()
