"""Which paths and environment variables a sandboxed job may see."""

from __future__ import annotations

import os
import re
import site
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from autoresearch.executors import Job

SYSTEM = ("/usr", "/nix/store")
TOP = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")  # links into /usr, or folders
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/sys/devices/system")
NETWORK_FILES = (
    *("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/gai.conf"),
    *("/etc/ssl", "/etc/pki", "/etc/ca-certificates"),
)
DEVICES = ("/dev/nvidia*", "/dev/kfd", "/dev/dri")
_ENV = re.compile(
    r"PATH|TERM|TZ|LANG|LC_\w+|PYTHON\w*|OMP_\w+|MKL_\w+|OPENBLAS_\w+|CUDA_\w+|NVIDIA_\w+|NCCL_\w+"
    r"|CUBLAS_\w+|CUDNN_\w+|HIP_\w+|HSA_\w+|ROCR_\w+|RCCL_\w+|GPU_DEVICE_ORDINAL|ZE_\w+"
    r"|ONEAPI_\w+|TORCH\w*|PYTORCH_\w+|JAX_\w+|XLA_\w+|TF_\w+|HF_HOME|AUTORESEARCH_\w+"
)


def system_files(job: Job) -> list[str]:
    """System files and folders that a job reads besides programs and libraries."""
    names = [
        *SYSTEM_FILES,
        *(NETWORK_FILES if job.network else ()),
        *(("/sys",) if job.gpu else ()),
    ]
    return [name for name in names if Path(name).exists()]


def devices(job: Job) -> list[str]:
    """Device nodes of accelerators, if the job may use them."""
    if not job.gpu:
        return []
    found = (Path("/dev").glob(pattern.removeprefix("/dev/")) for pattern in DEVICES)
    return sorted(str(path) for paths in found for path in paths)


def find_program(program: str) -> str | None:
    """Path of a program on PATH; like `shutil.which`, without its slow imports."""
    found = (Path(folder, program) for folder in os.get_exec_path())
    return next((str(path) for path in found if os.access(path, os.X_OK)), None)


def interpreter() -> list[Path]:
    """Folders of this Python and its packages outside the system's folders."""
    named = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.base_exec_prefix)]
    if site.ENABLE_USER_SITE and (user := site.getusersitepackages()):
        named.append(Path(user))
    named += [link.parent for link in _links(Path(sys.executable))]
    known = [Path(name) for name in SYSTEM]
    for path in (*named, *(path.resolve() for path in named)):
        if path.exists() and not any(path.is_relative_to(other) for other in known):
            known.append(path)
    return known[len(SYSTEM) :]


def environment(job: Job, home: str, temporary: str) -> dict[str, str]:
    """The environment of a sandboxed job: allowed names, and its own home and user."""
    own = {"LANG": "C.UTF-8", "HOME": home, "TMPDIR": temporary, "USER": "trial"}
    own |= {"LOGNAME": "trial", "PATH": os.defpath}
    if site.ENABLE_USER_SITE and site.USER_BASE:
        own["PYTHONUSERBASE"] = site.USER_BASE
    return own | _allowed(job.env, job.env_allowed)


def _allowed(env: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {key: text for key, text in env.items() if key in names or _ENV.fullmatch(key)}


def _links(path: Path) -> Iterator[Path]:
    """Each path from a name through its links to the file."""
    for _ in range(40):
        yield path
        if not path.is_symlink():
            return
        path = path.parent / path.readlink()
