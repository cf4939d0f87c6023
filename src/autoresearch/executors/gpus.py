"""NVIDIA GPUs of this machine: how much of their memory is in use, and waiting until it is free."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable

from autoresearch.errors import NoRoom

GPU_SLACK = 300  # MiB above the memory that was in use at the start
GPU_PATIENCE = 60.0  # seconds for the memory of the last attempt to come back


class GpuGuard:
    """Waits until the memory of the attempt before has come back; idle without nvidia-smi."""

    def __init__(
        self,
        max_seconds: float = GPU_PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._patience = max_seconds
        self._sleep = sleep
        self._baseline = gpu_memory()

    def wait(self) -> None:
        """Return when all GPUs are back at their baseline; NoRoom when they are not in time."""
        waited = 0.0
        while busy := self._busy():
            if waited >= self._patience:
                raise NoRoom(
                    f"GPU {busy[0]} still holds {busy[1]:,} MiB, {waited:.0f} s after the last "
                    f"attempt, and held {self._baseline[busy[0]]:,} when the study was opened. See "
                    "`nvidia-smi` for whose they are."
                )
            self._sleep(1.0)
            waited += 1.0

    def _busy(self) -> tuple[int, int] | None:
        now = gpu_memory() if self._baseline else []
        for index, (used, before) in enumerate(zip(now, self._baseline, strict=False)):
            if used > before + GPU_SLACK:
                return index, used
        return None


def gpu_memory() -> list[int]:
    """MiB in use on each NVIDIA GPU; empty where there is none to ask."""
    if shutil.which("nvidia-smi") is None:
        return []
    words = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True).stdout
        return [int(line) for line in said.split()]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []
