"""NVIDIA GPUs of this machine: their memory in use, and a wait until it is free."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable

from autoresearch.errors import NoRoom

GPU_SLACK = 300  # MiB above the memory that was in use at the start
GPU_SECONDS = 60.0  # for the memory of the last run to be released


class GpuGuard:
    """Waits until the memory of the last run is released; does nothing without nvidia-smi."""

    def __init__(
        self,
        max_seconds: float = GPU_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._max_seconds = max_seconds
        self._sleep = sleep
        self._baseline = gpu_memory()

    def wait(self) -> None:
        """Return once each GPU uses as much memory as at the start; NoRoom after `max_seconds`."""
        waited = 0.0
        while busy := self._busy():
            if waited >= self._max_seconds:
                raise NoRoom(
                    f"GPU {busy[0]} still uses {busy[1]:,} MiB, {waited:.0f} s after the last "
                    f"run, and used {self._baseline[busy[0]]:,} when the study was opened. "
                    "`nvidia-smi` shows which processes use it."
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
    """MiB in use on each NVIDIA GPU; empty where there is none."""
    if shutil.which("nvidia-smi") is None:
        return []
    words = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(
            words, capture_output=True, text=True, timeout=30, check=True
        ).stdout
        return [int(line) for line in listed.split()]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []
