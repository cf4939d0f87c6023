"""What of this machine a sandboxed job may see, and which of its environment."""

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
SETTINGS = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/sys/devices/system")
ONLINE = (
    *("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/gai.conf"),
    *("/etc/ssl", "/etc/pki", "/etc/ca-certificates"),
)
DEVICES = ("/dev/nvidia*", "/dev/kfd", "/dev/dri")
_ENV = re.compile(
    r"PATH|TERM|TZ|LANG|LC_\w+|PYTHON\w*|OMP_\w+|MKL_\w+|OPENBLAS_\w+|CUDA_\w+|NVIDIA_\w+|NCCL_\w+"
    r"|TORCH\w*|HF_HOME|AUTORESEARCH_\w+"
)


def settings(job: Job) -> list[str]:
    """System files and folders to read, beside programs and libraries; those that exist."""
    names = [*SETTINGS, *(ONLINE if job.network else ()), *(("/sys",) if job.gpu else ())]
    return [name for name in names if Path(name).exists()]


def devices(job: Job) -> list[str]:
    """Device nodes of accelerators, when the job asks for one."""
    if not job.gpu:
        return []
    found = (Path("/dev").glob(pattern.removeprefix("/dev/")) for pattern in DEVICES)
    return sorted(str(path) for paths in found for path in paths)


def find(program: str) -> str | None:
    """Where on our own PATH a program is; `shutil.which`, without its slow imports."""
    found = (Path(folder, program) for folder in os.get_exec_path())
    return next((str(path) for path in found if os.access(path, os.X_OK)), None)


def interpreter() -> list[Path]:
    """Where this Python and its packages live, as far as outside the system's own folders."""
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
    """What a job is told: names from an allow-list, a home and a user of its own."""
    mine = {"LANG": "C.UTF-8", "HOME": home, "TMPDIR": temporary, "USER": "trial"}
    mine |= {"LOGNAME": "trial", "PATH": os.defpath}
    if site.ENABLE_USER_SITE and site.USER_BASE:
        mine["PYTHONUSERBASE"] = site.USER_BASE
    return mine | _allowed(job.env, job.env_allowed)


def _allowed(env: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {key: text for key, text in env.items() if key in names or _ENV.fullmatch(key)}


def _links(path: Path) -> Iterator[Path]:
    """Each station on the way from a name to the file it means."""
    for _ in range(40):
        yield path
        if not path.is_symlink():
            return
        path = path.parent / path.readlink()
