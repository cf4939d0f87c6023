"""The NVIDIA GPUs that a run may use: their memory in use, and a wait until it is free."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from autoresearch.errors import NoRoom
from autoresearch.executors.processes import descendants, started

GPU_SLACK = 300  # MiB above the memory that was in use at the start
GPU_SECONDS = 60.0  # for the memory of the last run to be released
OTHERS_SHARE = 0.5  # of the memory that was free at the start: others may take as much
VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU, as nvidia-smi describes it."""

    index: int  # by the bus
    uuid: str
    name: str
    used: int  # MiB, by all processes together
    total: int  # MiB
    in_parts: bool  # by MIG: `used` is that of all parts, others' included

    @property
    def free(self) -> int:
        """MiB that nobody uses."""
        return self.total - self.used


@dataclass(frozen=True)
class GpuProcess:
    """A process that has memory of a GPU."""

    gpu: str  # uuid
    pid: int
    name: str
    used: int  # MiB


class GpuGuard:
    """Waits until the memory of the last run is released.

    It looks at the GPUs that `env` leaves a run; with None, for runs that use no GPU, at none.
    """

    def __init__(
        self,
        env: Mapping[str, str] | None,
        max_seconds: float = GPU_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._env = env
        self._max_seconds = max_seconds
        self._sleep = sleep
        self._before = {gpu.uuid: gpu for gpu in self._usable()}
        self._theirs = _by_gpu(_strangers()) if self._before else {}

    def wait(self) -> None:
        """Return once the GPUs have the room that they had at the start; NoRoom says who has it.

        Other people's processes are in the way only when they leave less than half of that room.
        """
        waited = 0.0
        while problem := self._problem(waited):
            if waited >= self._max_seconds:
                raise NoRoom(problem)
            self._sleep(1.0)
            waited += 1.0

    def _usable(self) -> list[Gpu]:
        return [] if self._env is None else usable_gpus(self._env)

    def _problem(self, waited: float) -> str:
        """What stands in the way of the next run; empty: nothing."""
        pairs = [(self._before[g.uuid], g) for g in self._grown()]
        strangers = _strangers() if pairs else []
        theirs = _by_gpu(strangers)
        for before, now in pairs:
            others = theirs.get(now.uuid, 0) - self._theirs.get(now.uuid, 0)
            if now.used - before.used - max(others, 0) > GPU_SLACK:
                return (
                    f"GPU {now.index} still uses {now.used:,} MiB, {waited:.0f} s after the last "
                    f"run, and used {before.used:,} when the study was opened; no process of "
                    "others accounts for that. `nvidia-smi` shows what it knows of it."
                )
            if now.free < OTHERS_SHARE * before.free:
                return _taken(now, before, [p for p in strangers if p.gpu == now.uuid])
        return ""

    def _grown(self) -> list[Gpu]:
        """The usable GPUs that have clearly more memory in use than at the start."""
        known = [gpu for gpu in self._usable() if gpu.uuid in self._before] if self._before else []
        return [gpu for gpu in known if gpu.used > self._before[gpu.uuid].used + GPU_SLACK]


def usable_gpus(env: Mapping[str, str]) -> list[Gpu]:
    """The GPUs that a process with this environment may use, by index; empty where none answers.

    GPUs that MIG has split are left out: nothing says how much memory one part has in use. So are
    indexes in CUDA_VISIBLE_DEVICES among different GPUs, unless CUDA_DEVICE_ORDER is PCI_BUS_ID:
    CUDA then counts in another order than nvidia-smi.
    """
    gpus = all_gpus()
    if VISIBLE in env:
        same_order = len({gpu.name for gpu in gpus}) < 2 or env.get(ORDER) == "PCI_BUS_ID"
        gpus = _chosen(gpus, env[VISIBLE], same_order=same_order)
    return [gpu for gpu in gpus if not gpu.in_parts]


def all_gpus() -> list[Gpu]:
    """The NVIDIA GPUs of this machine that report their memory, by index."""
    rows = _ask("--query-gpu=index,uuid,name,memory.used,memory.total,mig.mode.current")
    return [
        Gpu(int(row[0]), row[1], row[2], int(row[3]), int(row[4]), row[5] == "Enabled")
        for row in rows
        if len(row) == 6 and row[0].isdigit() and row[3].isdigit() and row[4].isdigit()
    ]


def _chosen(gpus: Sequence[Gpu], listed: str, *, same_order: bool) -> list[Gpu]:
    """The GPUs of CUDA_VISIBLE_DEVICES: the first entry that is none ends the list, as for CUDA."""
    found = set[int]()
    for word in map(str.strip, listed.split(",")):
        if word.startswith("MIG-"):
            continue
        by_uuid = [
            gpu.index for gpu in gpus if word.startswith("GPU-") and gpu.uuid.startswith(word)
        ]
        by_index = [gpu.index for gpu in gpus if word.isdigit() and gpu.index == int(word)]
        if len(by_uuid + by_index) != 1:
            break
        found |= {*by_uuid, *(by_index if same_order else ())}
    return [gpu for gpu in gpus if gpu.index in found]


def _strangers() -> list[GpuProcess]:
    """Running processes with memory of a GPU that neither this process nor a run of it started."""
    rows = _ask("--query-compute-apps=gpu_uuid,pid,process_name,used_memory")
    ours = {os.getpid(), *descendants(os.getpid())}
    return [
        GpuProcess(row[0], int(row[1]), ", ".join(row[2:-1]), int(row[-1]))
        for row in rows
        if len(row) >= 4 and row[1].isdigit() and row[-1].isdigit()
        if int(row[1]) not in ours and started(int(row[1]))
    ]


def _by_gpu(processes: Iterable[GpuProcess]) -> dict[str, int]:
    """MiB in use by these processes, by GPU."""
    found: dict[str, int] = {}
    for process in processes:
        found[process.gpu] = found.get(process.gpu, 0) + process.used
    return found


def _taken(now: Gpu, before: Gpu, strangers: Sequence[GpuProcess]) -> str:
    users = ", ".join(f"process {p.pid} ({p.name}) uses {p.used:,} MiB" for p in strangers)
    return (
        f"GPU {now.index} is used by others: {users}; of {now.total:,} MiB {now.free:,} are free, "
        f"and {before.free:,} were when the study was opened. The study waits until there is room; "
        f"{VISIBLE} gives its runs another GPU."
    )


def _ask(query: str) -> list[list[str]]:
    """The rows of an answer of nvidia-smi; empty where it is not there, or fails."""
    if shutil.which("nvidia-smi") is None:
        return []
    words = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, ValueError, subprocess.SubprocessError):
        return []
    return [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
