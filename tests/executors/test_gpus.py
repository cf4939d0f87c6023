"""GPUs: a study looks at those that its runs may use, and knows its own memory from others'."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from autoresearch.errors import NoRoom
from autoresearch.executors import Job
from autoresearch.executors.gpus import GpuGuard, usable_gpus
from autoresearch.executors.local import LocalExecutor
from autoresearch.executors.visible_paths import environment
from autoresearch.lab.task import Task
from autoresearch.proposers.fake import ScriptedProposer
from autoresearch.strategies.greedy import Greedy
from autoresearch.study.opening import open_study
from tiny_lab import TASK, make_lab, scores

SMI = """#!{python}
import json, sys
from pathlib import Path
told = json.loads(Path({told!r}).read_text())
with open({calls!r}, "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
for word in sys.argv[1:]:
    name, _, fields = word.partition("=")
    rows = told["gpus"] if name == "--query-gpu" else told["apps"]
    if name in ("--query-gpu", "--query-compute-apps"):
        for row in rows:
            print(", ".join(str(row[field]) for field in fields.split(",")))
"""


@dataclass
class FakeSmi:
    """A program named nvidia-smi that answers from a file."""

    told: Path
    calls: Path

    def says(self, *used: int | str, apps: tuple[tuple[int, int, int | str], ...] = ()) -> None:
        """Memory in use on each GPU, and (GPU, pid, memory) of each process."""
        self._write(
            [{"memory.used": mib} for mib in used],
            [
                {"gpu_uuid": uuid(at), "pid": pid, "process_name": "train", "used_memory": mib}
                for at, pid, mib in apps
            ],
        )

    def has(self, **fields: tuple[Any, ...]) -> None:
        """Change fields of each GPU: `has(name=("A", "B"))`; an underscore is a dot."""
        told = json.loads(self.told.read_text())
        for name, values in fields.items():
            for row, value in zip(told["gpus"], values, strict=True):
                row[name.replace("_", ".")] = value
        self.told.write_text(json.dumps(told))

    def _write(self, gpus: list[dict[str, Any]], apps: list[dict[str, Any]]) -> None:
        usual = {"name": "NVIDIA H100", "memory.total": 80000, "mig.mode.current": "Disabled"}
        rows = [{"index": at, "uuid": uuid(at), **usual, **each} for at, each in enumerate(gpus)]
        self.told.write_text(json.dumps({"gpus": rows, "apps": apps}))


def uuid(at: int) -> str:
    """The UUID of a GPU of the fake."""
    return f"GPU-{at}{at}{at}{at}aaaa-0000"


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSmi:
    """Three equal GPUs, of which nobody uses any."""
    fake = FakeSmi(tmp_path / "told.json", tmp_path / "calls")
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(
        SMI.format(python=sys.executable, told=str(fake.told), calls=str(fake.calls))
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fake.calls.touch()
    fake.says(0, 0, 0)
    return fake


@pytest.fixture
def stranger() -> Iterator[int]:
    """The pid of a process that no study started: its parent has ended."""
    words = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    script = (
        "import os, subprocess, sys\n"
        f"child = subprocess.Popen({words!r}, stdin=0, stdout=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True)\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None and starter.stdin is not None
    pid = int(starter.stdout.readline())
    starter.wait()
    yield pid
    starter.stdin.close()
    starter.stdout.close()


def guard(**env: str) -> GpuGuard:
    """A guard of the GPUs that this environment leaves a run; it does not really sleep."""
    return GpuGuard(env, max_seconds=3, sleep=lambda _: None)


VISIBLE = [
    ({}, [0, 1, 2]),
    ({"CUDA_VISIBLE_DEVICES": "0"}, [0]),
    ({"CUDA_VISIBLE_DEVICES": "2, 1"}, [1, 2]),
    ({"CUDA_VISIBLE_DEVICES": ""}, []),
    ({"CUDA_VISIBLE_DEVICES": "-1"}, []),
    ({"CUDA_VISIBLE_DEVICES": "0,-1,1"}, [0]),
    ({"CUDA_VISIBLE_DEVICES": "7"}, []),
    ({"CUDA_VISIBLE_DEVICES": "1,7,2"}, [1]),
    ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, []),
    ({"CUDA_VISIBLE_DEVICES": uuid(1)}, [1]),
    ({"CUDA_VISIBLE_DEVICES": "GPU-22"}, [2]),
    ({"CUDA_VISIBLE_DEVICES": "GPU-"}, []),
    ({"CUDA_VISIBLE_DEVICES": f"{uuid(2)},GPU-0000"}, [0, 2]),
    ({"CUDA_VISIBLE_DEVICES": "MIG-1c3b7b4e-0000"}, []),
    ({"CUDA_VISIBLE_DEVICES": f"MIG-{uuid(0)}/1/0"}, []),
]


@pytest.mark.parametrize(("env", "indexes"), VISIBLE, ids=str)
def test_a_run_may_use_what_cuda_visible_devices_leaves_it(
    smi: FakeSmi, env: dict[str, str], indexes: list[int]
) -> None:
    """Indexes, UUIDs and their beginnings count up to the first that is none, as for CUDA."""
    assert [gpu.index for gpu in usable_gpus(env)] == indexes


def test_a_gpu_in_parts_is_not_looked_at(smi: FakeSmi) -> None:
    """Its memory in use is that of all parts, others' included."""
    smi.has(mig_mode_current=("Enabled", "[N/A]", "Disabled"))
    assert [gpu.index for gpu in usable_gpus({})] == [1, 2]
    assert [gpu.index for gpu in usable_gpus({"CUDA_VISIBLE_DEVICES": "0,2"})] == [2]


def test_an_index_among_different_gpus_names_none_unless_the_order_is_said(smi: FakeSmi) -> None:
    """CUDA counts the fastest first, nvidia-smi by the bus: index 0 may be two GPUs."""
    smi.has(name=("NVIDIA T4", "NVIDIA H100", "NVIDIA T4"))
    assert usable_gpus({"CUDA_VISIBLE_DEVICES": "0"}) == []
    by_bus = {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert [gpu.index for gpu in usable_gpus(by_bus)] == [0]
    assert [gpu.index for gpu in usable_gpus({"CUDA_VISIBLE_DEVICES": uuid(1)})] == [1]
    assert len(usable_gpus({})) == 3


@pytest.mark.parametrize("env", ["0", "", "-1", "MIG-1c3b7b4e-0000", uuid(0)])
def test_memory_on_a_gpu_that_the_run_may_not_use_stops_nothing(smi: FakeSmi, env: str) -> None:
    """Somebody fills GPU 1; runs that cannot use it do not wait."""
    mine = guard(CUDA_VISIBLE_DEVICES=env)
    smi.says(0, 70000, 0)
    mine.wait()


def test_the_memory_of_the_last_run_is_waited_for(smi: FakeSmi) -> None:
    """No process accounts for it any more: the driver has not released it yet."""
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            smi.says(0, 10, 0)

    mine = GpuGuard({}, sleep=sleep)
    mine.wait()
    assert waits == []
    smi.says(0, 40000, 0)
    mine.wait()
    assert len(waits) == 3


def test_memory_that_is_never_released_is_named(smi: FakeSmi) -> None:
    """After its patience the guard says which GPU holds how much, and that nobody else does."""
    mine = guard(CUDA_VISIBLE_DEVICES="1")
    smi.says(0, 40000, 0)
    with pytest.raises(NoRoom, match=r"GPU 1 still uses 40,000 MiB.*no process of others"):
        mine.wait()


def test_a_process_of_ours_is_not_taken_for_somebody_elses(smi: FakeSmi) -> None:
    """A process below this one is a run's: its memory is waited for."""
    mine = guard()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        smi.says(40000, 0, 0, apps=((0, child.pid, 40000),))
        with pytest.raises(NoRoom, match="GPU 0 still uses 40,000 MiB"):
            mine.wait()
        child.kill()


def test_others_may_use_our_gpu_while_it_has_room(smi: FakeSmi, stranger: int) -> None:
    """A process of somebody else stops nothing until it takes half of what was free."""
    mine = guard()
    smi.says(30000, 0, 0, apps=((0, stranger, 30000),))
    mine.wait()
    smi.says(70000, 0, 0, apps=((0, stranger, 70000),))
    with pytest.raises(NoRoom) as full:
        mine.wait()
    assert f"process {stranger} (train) uses 70,000 MiB" in str(full.value)
    assert "of 80,000 MiB 10,000 are free" in str(full.value)
    assert "last run" not in str(full.value)


def test_others_memory_does_not_hide_ours(smi: FakeSmi, stranger: int) -> None:
    """Two thirds are a stranger's, the rest is the last run's: that is waited for."""
    mine = guard()
    smi.says(30000, 0, 0, apps=((0, stranger, 20000),))
    with pytest.raises(NoRoom, match="GPU 0 still uses 30,000 MiB"):
        mine.wait()


def test_memory_that_cannot_be_told_is_no_reason_to_stop(smi: FakeSmi) -> None:
    """Some GPUs share the machine's memory and report none of their own."""
    smi.says("[N/A]", 0, 0)
    mine = guard()
    smi.says("[N/A]", 0, 0)
    mine.wait()
    assert [gpu.index for gpu in usable_gpus({})] == [1, 2]


def test_without_a_gpu_there_is_nothing_to_wait_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No nvidia-smi, or one that fails, is no GPU."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert usable_gpus({}) == []
    GpuGuard({}).wait()
    broken = tmp_path / "nvidia-smi"
    broken.write_text("#!/bin/sh\nexit 9\n")
    broken.chmod(0o755)
    assert usable_gpus({}) == []


def test_a_lab_without_gpus_looks_at_none(smi: FakeSmi, tmp_path: Path) -> None:
    """A whole study of a CPU lab on a machine with GPUs: nvidia-smi is not even started."""
    lab = make_lab(tmp_path / "lab")
    with open_study(Task.load(lab), "t", Greedy(), LocalExecutor()) as study:
        smi.says(70000, 70000, 70000)
        study.step(ScriptedProposer(scores(9)))
    assert smi.calls.read_text() == ""


def test_a_lab_with_a_gpu_goes_on_while_somebody_fills_another(
    smi: FakeSmi, tmp_path: Path
) -> None:
    """task.toml's own CUDA_VISIBLE_DEVICES counts, since the run gets it."""
    text = f'{TASK}\n[access]\ngpu = true\n[env]\nCUDA_VISIBLE_DEVICES = "2"\n'
    lab = make_lab(tmp_path / "lab", task_toml=text)
    with open_study(Task.load(lab), "t", Greedy(), LocalExecutor()) as study:
        smi.says(70000, 70000, 0)
        assert study.step(ScriptedProposer(scores(9))).value == 10.0


CHOOSE = (
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL", "HSA_OVERRIDE_GFX_VERSION", "ZE_AFFINITY_MASK", "ONEAPI_DEVICE_SELECTOR",
    "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF",
    "PYTORCH_MPS_HIGH_WATERMARK_RATIO", "CUBLAS_WORKSPACE_CONFIG", "XLA_FLAGS",
    "XLA_PYTHON_CLIENT_MEM_FRACTION", "JAX_PLATFORMS", "TF_FORCE_GPU_ALLOW_GROWTH",
)  # fmt: skip


@pytest.mark.parametrize("name", CHOOSE)
def test_what_chooses_a_device_and_its_memory_reaches_a_run(name: str, tmp_path: Path) -> None:
    """The sandbox's allow-list has the variables by which a person keeps off others' GPUs."""
    job = Job("true", tmp_path, tmp_path / "log", 9.0, {name: "x", "HF_TOKEN": "y"})
    seen = environment(job, "/tmp/home", "/tmp")
    assert seen.get(name) == "x"
    assert "HF_TOKEN" not in seen
